"""Our reading of `baggage` and `tracestate` beside OpenTelemetry's Python API: on well-formed headers the service and
the proxy must see the same value, or a request is routed by one key and traced under another.

`DEVIATIONS` is the reviewed list of what we read differently on purpose. Each has a sample that fails when either side
changes its mind, so that the list stays true.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.baggage import get_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.routing.key import KeyReader, KeyReading, KeySettings

NAME = "sd-routing-key"
READER = KeyReader(KeySettings(names=(NAME.encode(),)))
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
QUICK = settings(deadline=None, max_examples=300, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The propagators warn of every fault that they are given here."""
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def sdk_baggage(*lines: str) -> str | None:
    """The value that a service sees for the key's name."""
    value = get_baggage(NAME, W3CBaggagePropagator().extract({"baggage": list(lines)}))
    return None if value is None else str(value)


def sdk_tracestate(*lines: str) -> str | None:
    carrier = {"traceparent": [TRACEPARENT], "tracestate": list(lines)}
    context = TraceContextTextMapPropagator().extract(carrier)
    return get_current_span(context).get_span_context().trace_state.get(NAME)


def outcome(reading: KeyReading) -> str | None:
    """Our key; "" where a value was found that is none."""
    if reading.key is not None:
        return reading.key.decode()
    return "" if reading.invalid else None


def our_baggage(*lines: str) -> str | None:
    return outcome(READER.read([line.encode() for line in lines], []))


def our_tracestate(*lines: str) -> str | None:
    return outcome(READER.read([], [line.encode() for line in lines]))


# --- where both agree ---


@pytest.mark.parametrize(
    "line",
    [
        "sd-routing-key=abc",
        "user=alice,sd-routing-key=abc,x=1",
        "sd-routing-key=abc,sd-routing-key=abd",  # the last wins
        "sd-routing-key=abd , user=x ,\tsd-routing-key = abc",
        "sd-routing-key=%61%62c",
        "sd-routing-key=a%2Db.c",
        "user=alice",
        "x-sd-routing-key=abc",
        "SD-ROUTING-KEY=abc",
        "other=1;sd-routing-key=abc",
        "sd-routing-key=abc,",
        ",,sd-routing-key=abc,,",
        "sd-routing-key",
        'sd-routing-key="abc"',
        "sd-routing-key=a b",
        "sd-routing-key=a\\b",
        "sd-routing-key=ä",
        "",
    ],
)
def test_baggage(line: str) -> None:
    assert our_baggage(line) == sdk_baggage(line)


@pytest.mark.parametrize(
    "lines",
    [
        ("sd-routing-key=abc",),
        ("rojo=00f067aa0ba902b7,sd-routing-key=abc,congo=t61rcWkgMzE",),
        (" sd-routing-key=abc\t,\trojo=1",),
        ("rojo=1", "sd-routing-key=abc"),
        ("rojo=1,,sd-routing-key=abc,",),
        ("tenant@sd-routing-key=abc",),
        ("rojo=1",),
        ("",),
    ],
)
def test_tracestate(lines: tuple[str, ...]) -> None:
    assert our_tracestate(*lines) == sdk_tracestate(*lines)


OWS = st.sampled_from(["", "", "", " ", "\t", " \t"])
VALUES = st.sampled_from(["abc", "a.b_c-d", "Q9", "%61bc", "a%2Db", "k" * 63])
OTHERS = st.sampled_from(["user=alice", "x-sd-routing-key=no", "a=b%20c", "b=1;p=2", "c=d=e", ""])


@st.composite
def well_formed_lines(draw: st.DrawFn) -> str:
    members = []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            members.append(f"{draw(OWS)}{NAME}{draw(OWS)}={draw(OWS)}{draw(VALUES)}{draw(OWS)}")
        else:
            members.append(draw(OWS) + draw(OTHERS) + draw(OWS))
    return ",".join(members)


@QUICK
@given(well_formed_lines())
def test_well_formed_baggage(line: str) -> None:
    assert our_baggage(line) == sdk_baggage(line)


@QUICK
@given(
    st.lists(st.sampled_from(["a=1", "b@c=2", " d=3 "]), unique=True),
    st.sampled_from(["abc", "Q9", "a.b"]),
    st.integers(0, 3),
)
def test_well_formed_tracestate(others: list[str], value: str, place: int) -> None:
    others.insert(place, f"{NAME}={value}")
    line = ",".join(others)
    assert our_tracestate(line) == sdk_tracestate(line) == value


@QUICK
@given(VALUES, st.sampled_from(["", ";p=1", " ;p=1", ";p=1;q"]))
def test_what_the_sdk_sends_on_is_read_as_what_it_received(value: str, properties: str) -> None:
    """SPEC 3: the SDK folds properties into the value and encodes both again; the key survives any number of hops."""
    propagator = W3CBaggagePropagator()
    line = f"user=al%20ice,{NAME}={value}{properties}"
    expected = our_baggage(line)
    for _ in range(3):
        carrier: dict[str, str] = {}
        propagator.inject(carrier, propagator.extract({"baggage": [line]}))
        line = carrier["baggage"]
        assert our_baggage(line) == expected


# --- where we differ, and why: (lines, our reading, the SDK's) ---

DEVIATIONS: list[tuple[str, tuple[str, ...], str | None, str | None]] = [
    ("properties are not the value; the SDK folds them in", ("sd-routing-key=abc;p=1",), "abc", "abc;p=1"),
    ("so they are cut even where they come encoded", ("sd-routing-key=abc%3Bp%3D1",), "abc", "abc;p=1"),
    ("whitespace before properties, likewise", ("sd-routing-key=abc ;p=1",), "abc", "abc ;p=1"),
    ("a plus at the end is the SDK's own space", ("sd-routing-key=abc+%3Bp%3D1",), "abc", "abc ;p=1"),
    ("a value that is no key is found; the SDK takes it", ("sd-routing-key=%zz",), "", "%zz"),
    ("a plus inside is no space", ("sd-routing-key=a+c",), "", "a c"),
    ("names are not decoded (SPEC 3: match exactly)", ("sd%2Drouting-key=abc",), None, "abc"),
    ("several lines are one list; the SDK reads the first", ("user=alice", "sd-routing-key=abc"), "abc", None),
    ("only space and tab are trimmed", ("sd-routing-key=abc%0B",), "", "abc"),
    ("no limit but the head's; the SDK: 8192 bytes", ("sd-routing-key=abc," + "x" * 8192,), "abc", None),
    ("no limit of members; the SDK: 180", ("a=1," * 180 + "sd-routing-key=abc",), "abc", None),
    ("no limit of a member; the SDK: 4096 bytes", ("sd-routing-key=abc;" + "p" * 4096,), "abc", None),
]


@pytest.mark.parametrize(("lines", "ours", "theirs"), [d[1:] for d in DEVIATIONS], ids=[d[0] for d in DEVIATIONS])
def test_baggage_deviation(lines: tuple[str, ...], ours: str | None, theirs: str | None) -> None:
    assert (our_baggage(*lines), sdk_baggage(*lines)) == (ours, theirs)
    assert ours != theirs


TRACESTATE_DEVIATIONS: list[tuple[str, tuple[str, ...], str | None, str | None]] = [
    ("of two members the first counts; the SDK drops all", ("sd-routing-key=abc,sd-routing-key=abd",), "abc", None),
    ("a broken member breaks itself only; the SDK drops all", ("sd-routing-key=abc,BROKEN",), "abc", None),
    ("a value with whitespace before it is found and no key", ("sd-routing-key= abc",), "", " abc"),
    ("a value that is no key is found", ("sd-routing-key=a;b",), "", "a;b"),
    ("no limit of members; the SDK: 32", ("sd-routing-key=abc" + "".join(f",k{n}=1" for n in range(32)),), "abc", None),
]


@pytest.mark.parametrize(
    ("lines", "ours", "theirs"), [d[1:] for d in TRACESTATE_DEVIATIONS], ids=[d[0] for d in TRACESTATE_DEVIATIONS]
)
def test_tracestate_deviation(lines: tuple[str, ...], ours: str | None, theirs: str | None) -> None:
    assert (our_tracestate(*lines), sdk_tracestate(*lines)) == (ours, theirs)
    assert ours != theirs


def test_tracestate_routes_without_a_traceparent() -> None:
    """SPEC 3 departs from W3C Trace Context 3.3: SDKs must not read it then."""
    context = TraceContextTextMapPropagator().extract({"tracestate": ["sd-routing-key=abc"]})
    assert not get_current_span(context).get_span_context().trace_state
    assert our_tracestate("sd-routing-key=abc") == "abc"
