"""CHECKLIST F, end to end: routing headers that are long, odd or hostile.

Each is sent three times and decided the same way each time, never by an error of ours (save where SPEC 4 says so), and
reaches the service as it came. Nothing in it names a place, a line of the log, a metric or a field of the answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proxy.routing.key import KeyReader, KeySettings
from tests.corpus.routing import KEY, ROUTINGS, SLOW
from tests.support.client import connected
from tests.support.proxy import Proxy, route, run_proxy, table
from tests.support.wire import Fields, WireOrigin

SANDBOX = "sandbox=local-location; reason=route"
NO_KEY = "baseline; reason=no_key"
INVALID = "baseline; reason=invalid_key"
UNKNOWN = "baseline; reason=unknown_key"
NOTE = "; note=ambiguous_key"

# Where the headers lead that do not lead to the sandbox: SPEC 3, SPEC 4.
LEADS = {
    "two keys": SANDBOX + NOTE,
    "two keys, the other last": UNKNOWN + NOTE,
    "two lines, two keys": UNKNOWN + NOTE,
    "a bad escape": INVALID,
    "half an escape": INVALID,
    "nothing": NO_KEY,
    "commas": NO_KEY,
    "8-bit text in the key": NO_KEY,
    "a key between no-break spaces": NO_KEY,
    "a key before \\x85": NO_KEY,
    "a key before \\xa0": NO_KEY,
    "quotes": NO_KEY,
    "too long": INVALID,
    "tracestate: a tenant and a name of ours": NO_KEY,
    "tracestate: our name twice": SANDBOX + NOTE,
    "tracestate: our name twice, the other first": UNKNOWN + NOTE,
    "tracestate: a blank before =": NO_KEY,
    "tracestate: a blank behind =": INVALID,
    "tracestate: encoded": INVALID,
    "the name of another header": NO_KEY,
    "an authority's": NO_KEY,
}
# Of an injected value, by its name; in a plain header and in `tracestate` it is not decoded, and no key either way.
INJECTED = {"an unknown key": UNKNOWN, "a metadata address": UNKNOWN, "a name": UNKNOWN}
# Broken members, which are not there at all.
NOT_THERE = {"a label of a metric in baggage"}


def leads(name: str) -> str:
    value, _, header = name.rpartition(" in ")
    if name in NOT_THERE:
        return NO_KEY
    if header in ("baggage", "tracestate", "x-route"):
        return INJECTED.get(value, INVALID)
    return LEADS.get(name, SANDBOX)


@dataclass(frozen=True)
class Scene:
    """A proxy with one route, before a baseline."""

    proxy: Proxy
    origins: dict[str, WireOrigin]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    origins = {name: WireOrigin(name) for name in ("baseline", "sandbox")}
    document = table(route(KEY.decode(), [origins["sandbox"].port]))
    flags = ("--decision-header", "--key-header", "x-route")
    folder = tmp_path_factory.mktemp("routing")
    with run_proxy(folder, origins["baseline"].port, document=document, flags=flags) as proxy:
        yield Scene(proxy, origins)
    for origin in origins.values():
        origin.close()


def received(lines: tuple[bytes, ...], decision: str) -> Fields:
    """What the origin is to get: several lines joined within the limit, hop-by-hop fields out, our mark."""
    parted = [line.split(b":", 1) for line in lines]
    fields = [(name.lower(), value.strip(b" \t")) for name, value in parted if name.lower() != b"connection"]
    for joinable in (b"baggage", b"tracestate"):
        values = [value for name, value in fields if name == joinable]
        joined = b",".join(value for value in values if value)
        if len(values) > 1 and len(joined) <= 8192:
            first = fields.index((joinable, values[0]))
            others = [field for field in fields[first:] if field[0] != joinable]
            fields = [*fields[:first], (joinable, joined), *others]
    mark = [(b"pointsman-hop", b"hotrod/Deployment/location")] if decision.startswith("sandbox") else []
    return [(b"host", b"location"), *fields, *mark]


@pytest.mark.parametrize("name", ROUTINGS)
def test_the_same_route_each_time(scene: Scene, name: str) -> None:
    """And the same bytes for the service."""
    lines, decision = ROUTINGS[name].lines, leads(name)
    head = b"\r\n".join([b"GET /x HTTP/1.1", b"Host: location", *lines, b"", b""])
    place = decision.partition(";")[0].partition("=")[0]
    for _ in range(3):
        with connected(scene.proxy.port) as client:
            response = client.ask(head)
        assert (response.status, response.origin, response.decision) == (200, place, decision)
        (seen,) = scene.origins[place].take()
        assert (seen.target, seen.fields) == (b"/x", received(lines, decision))


def test_nothing_was_forged(scene: Scene) -> None:
    """After every injected value: no line of the log, no series of a metric, no field of an answer shows any of it."""
    logged = len(scene.proxy.lines)
    injected = [name for name in ROUTINGS if leads(name) != SANDBOX]
    for name in injected:
        lines = ROUTINGS[name].lines
        with connected(scene.proxy.port) as client:
            response = client.ask(b"\r\n".join([b"GET / HTTP/1.1", b"Host: location", *lines, b"", b""]))
        names = [field.lower() for field, _ in response.fields]
        assert names == [b"x-origin", b"content-length", b"pointsman-decision"]
    exposed = scene.proxy.page("/metrics")[1].decode()
    labels = set(re.findall(r'(?:reason|route|sandbox|status)="([^"]*)"', exposed))
    known = {
        "route",
        "no_key",
        "invalid_key",
        "unknown_key",
        "sandbox",
        "baseline",
        "none",
        "local-location",
        "2xx",
        "",
        # these are there before anything happens
        "5xx",
        "loop",
        "not_synced",
        "connection_limit",
    }
    assert labels <= known
    assert not re.search(r"evil|etc|passwd|nobody|169\.254|jndi", exposed)
    assert scene.proxy.lines[logged:] == []


def test_an_injected_key_has_no_place_of_its_own(scene: Scene) -> None:
    """Whatever a key names, the only connections are those that the table and the flags name."""
    for name in ("an endpoint in baggage", "a URL in baggage", "a metadata address in tracestate", "a name in x-route"):
        lines = ROUTINGS[name].lines
        body = b"\r\n".join([b"GET / HTTP/1.1", b"Host: location", *lines, b"", b""])
        status, explained = scene.proxy.page("/explain?format=text", "POST", body)
        assert status == 200
        assert b"forwarded to baseline (" in explained
        assert explained.isascii()
        assert all(line.isprintable() for line in explained.decode().splitlines())


READER = KeyReader(KeySettings(headers=(b"x-route",)))


@pytest.mark.parametrize("name", SLOW)
def test_64_kb_are_read_in_5_ms(name: str) -> None:
    """CHECKLIST 47; that the cost is linear is shown by tests/property/test_routing.py. The best of ten: of the CPU."""
    line = SLOW[name]

    def cpu_s() -> float:
        began = time.thread_time()
        READER.read([line], [line], [(b"x-route", line)])
        return time.thread_time() - began

    assert min(cpu_s() for _ in range(10)) < 0.005
