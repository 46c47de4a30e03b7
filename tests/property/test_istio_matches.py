"""What a mesh is told against how the proxy reads: they never differ on what `Maker.defined()` makes.

`tests/differential/test_mesh_*.py` asks a real Envoy; here is volume, and releases of Envoy that are not installed.
"""

from __future__ import annotations

import re
from random import Random

import pytest

from controller.istio import matches as istio
from controller.istio.matches import HeaderMatch, any_key_matches, gateway_key_matches, key_matches
from proxy.routing.decision import Decider, Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload
from tests.support.keyheaders import Headers, Maker
from tests.support.re2match import MIDDLE, NEW, OLD, PINNED, compiled, matches, re2

ME = Workload("hotrod", "Deployment", "location")
KEY = "qwblp48fpmb30"
KEYS = (KEY, "a", "A.b-c_d", "k" * 63, "a." * 31 + "b", "0-0")
NAMES = [
    istio.NAMES,
    ("k",),
    ("sd-sandbox", "sd-routing-key"),
    ("ab", "abc", "a"),  # one is the beginning of another
    ("a^-x", "$.|*", "`~!"),  # what expressions are made of, and may stand in a token
    tuple(f"team-{number}-key" for number in range(12)),
]
ENGINES = {"old": OLD, "middle": MIDDLE, "new": NEW, "pinned": PINNED}
SIZE = 4_000


def reader(names: tuple[str, ...]) -> KeyReader:
    return KeyReader(KeySettings(tuple(name.encode() for name in names)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_strict_is_the_proxys_reading(names: tuple[str, ...], engine: str) -> None:
    make, read = Maker(Random(7), names, KEYS), reader(names)
    told = {key: key_matches(key, "strict", names) for key in KEYS}
    tried = hits = 0
    for _ in range(SIZE):
        headers = make.defined()
        if not (ENGINES[engine].latin1 or headers.is_utf8):
            continue
        if not (ENGINES[engine].joined or headers.lines_agree(read)):
            continue
        key = headers.key(read)
        found = {one: matches(told[one], headers, engine=ENGINES[engine]) for one in told}
        assert found == {one: int(one == key) for one in told}, (headers, key)  # and by one alternative only
        tried, hits = tried + 1, hits + (key in told)
    assert tried > SIZE // 2
    assert tried // 4 < hits < tried * 3 // 4  # the headers are worth reading


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("names", NAMES[:4], ids=lambda names: names[0])
def test_fan_in_misses_nothing_that_a_router_would_decide(names: tuple[str, ...], engine: str) -> None:
    make, read, told = Maker(Random(8), names, KEYS), reader(names), any_key_matches(ME, names)
    detours = 0
    for _ in range(SIZE):
        headers = make.wild()
        if ENGINES[engine] == MIDDLE and not headers.is_utf8 and len(headers.baggage) + len(headers.tracestate) > 1:
            continue
        reading = read.read(headers.baggage, headers.tracestate)
        found = matches(told, headers, engine=ENGINES[engine])
        if reading.key is not None or reading.invalid or reading.strict:
            assert found, headers
        elif found:
            detours += 1
    assert detours < SIZE // 5


HOPS = [
    (),
    (b"",),
    (b"hotrod/Deployment/driver",),
    (b"hotrod/Deployment/location",),
    (b"a/b/c , \thotrod/Deployment/location\t;baseline",),
    (b"a/b/c;baseline", b"hotrod/Deployment/location;baseline,x/y/z"),
    (b"hotrod/Deployment/location2", b"xhotrod/Deployment/location"),
    (b"hotrod/Deployment/location/x,hotrod/Deployment",),
    (b"a;hotrod/Deployment/location",),
    (b"hotrod/Deployment/location x",),
]


@pytest.mark.parametrize("hops", HOPS, ids=repr)
def test_a_request_that_a_router_decided_does_not_come_back(hops: tuple[bytes, ...]) -> None:
    is_loop = Decider(ME, Policy(), router=True).is_loop(hops)
    headers = Headers((f"sd-routing-key={KEY}".encode(),), (f"sd-routing-key={KEY}".encode(),))
    assert bool(matches(any_key_matches(ME), headers, hops)) is not is_loop


def test_an_unmarked_request_takes_no_detour() -> None:
    for headers in [
        Headers((), ()),
        Headers((b"",), (b"",)),
        Headers((b"user=alice,sd-routing-keys=1", b"x=sd-sandbox"), (b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",)),
        Headers((f"user=1;sd-routing-key={KEY}".encode(),), (b"a@sd-routing-key=1",)),
    ]:
        assert not matches(any_key_matches(ME), headers)


@pytest.mark.parametrize("names", NAMES[:4], ids=lambda names: names[0])
def test_gateway_rules_in_order_are_the_proxys_reading(names: tuple[str, ...]) -> None:
    """The rules as `GatewayMatches` says: every key's baggage, the guard, every key's tracestate; the first decides.
    Where lines are joined: the names' precedence stands inside the expressions."""
    make, read = Maker(Random(9), names, KEYS), reader(names)
    told = {key: gateway_key_matches(key, "strict", names) for key in KEYS}
    for _ in range(SIZE):
        headers = make.defined()
        rules = [
            *((_alternative(match), key) for key in KEYS for match in told[key].baggage),
            *((_alternative(match), None) for match in told[KEY].guard),
            *((_alternative(match), key) for key in KEYS for match in told[key].tracestate),
        ]
        first = next((key for match, key in rules if matches([match], headers, engine=PINNED)), None)
        key = headers.key(read)
        assert first == (key if key in told else None), headers


def _alternative(match: dict[str, list[dict[str, str]]]) -> HeaderMatch:
    return HeaderMatch({header["name"]: {"regex": header["value"]} for header in match["headers"]})


def regexes(alternatives: tuple[HeaderMatch, ...]) -> list[str]:
    return [
        condition["regex"]
        for match in alternatives
        for conditions in (match.headers, match.without_headers)
        for condition in conditions.values()
    ]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_programs_are_within_what_istio_allows(names: tuple[str, ...]) -> None:
    """Istio 1.9's own limit was 1024 instructions, today's is 32768: these fit both."""
    workload = Workload("n" * 63, "Deployment", "w" * 63)
    told = [any_key_matches(workload, names), *(key_matches(key, form, names) for key in KEYS for form in istio.FORMS)]
    for regex in {regex for one in told for regex in regexes(one)}:
        assert len(regex) <= istio.MAX_REGEX
        assert regex.isascii()
        size = compiled(regex).programsize  # reading UTF-8, which takes more
        assert size <= 1024 <= istio.MAX_PROGRAM_SIZE, (size, regex)


def test_a_longer_program_is_measured() -> None:
    """The measure can fail: counted repetition makes large programs of short texts."""
    assert re2.compile(r"(?:[^,]{1,100},){1,10}x").programsize > 1024


def test_the_loose_form_against_its_model() -> None:
    """Python's engine, with the same words: what SPEC 8's expression finds, found by two engines."""
    make = Maker(Random(10), istio.NAMES, KEYS)
    for _ in range(SIZE):
        headers = make.wild()
        for key in KEYS:
            pattern = rf"^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\b{re.escape(key)}\b.*$".encode()
            expected = any(re.fullmatch(pattern, line) for lines in headers for line in lines)
            assert bool(matches(key_matches(key, "signadot"), headers)) is expected, (headers, key)
