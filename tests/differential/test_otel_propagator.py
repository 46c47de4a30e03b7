"""Our reading of `baggage` and `tracestate` beside OpenTelemetry's Python API: on well-formed headers the service and
the proxy must see the same value, or a request is routed by one key and traced under another.

`BAGGAGE_DEVIATIONS` and `TRACESTATE_DEVIATIONS` (tests/support/otel.py) list what we read differently
on purpose, reviewed. Each has a sample that fails here when either side changes its mind, so the lists stay true.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.otel import (
    BAGGAGE_DEVIATIONS,
    NAME,
    TRACESTATE_DEVIATIONS,
    Deviation,
    check_tracestate,
    our_baggage,
    our_tracestate,
    sdk_baggage,
    sdk_tracestate,
    understood,
)

QUICK = settings(deadline=None, max_examples=300, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The propagators warn of every fault that they are given here."""
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


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


# --- where we differ, and why ---


@pytest.mark.parametrize("deviation", BAGGAGE_DEVIATIONS, ids=lambda deviation: deviation.why)
def test_baggage_deviation(deviation: Deviation) -> None:
    ours, theirs = our_baggage(*deviation.lines), sdk_baggage(*deviation.lines)
    assert (ours, theirs) == (deviation.ours, deviation.theirs)
    assert ours != theirs
    if deviation.concerns is None:
        assert understood(theirs) == ours
    else:
        assert deviation.concerns(deviation.lines)


@pytest.mark.parametrize("deviation", TRACESTATE_DEVIATIONS, ids=lambda deviation: deviation.why)
def test_tracestate_deviation(deviation: Deviation) -> None:
    ours, theirs = our_tracestate(*deviation.lines), sdk_tracestate(*deviation.lines)
    assert (ours, theirs) == (deviation.ours, deviation.theirs)
    assert ours != theirs
    check_tracestate(*deviation.lines)


def test_tracestate_routes_without_a_traceparent() -> None:
    """SPEC 3 departs from W3C Trace Context 3.3: SDKs must not read it then."""
    context = TraceContextTextMapPropagator().extract({"tracestate": ["sd-routing-key=abc"]})
    assert not get_current_span(context).get_span_context().trace_state
    assert our_tracestate("sd-routing-key=abc") == "abc"
