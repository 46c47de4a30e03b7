"""Properties of the routing core: whatever comes in, only our own exception, the same reading in every shape."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.routing import baggage
from proxy.routing.baggage import joined_lines, processed
from proxy.routing.decision import Decider, Policy
from proxy.routing.explain import explain, routing_inputs
from proxy.routing.gone import NOTHING_GONE, remember
from proxy.routing.key import KeyReader, KeyReading, KeySettings
from proxy.routing.names import Endpoint, Workload, is_routing_key
from proxy.routing.table import GoneRoute, Mapping, Preview, Route, RoutingTable, Service
from proxy.routing.text import TableError, parse_text
from proxy.routing.wire import read_document, read_route
from tests.support.badtables import YAML_PIECES
from tests.support.keys import PIECES, parts, plain_reading

NAMES = (b"sd-routing-key", b"sd-sandbox")
READER = KeyReader(KeySettings())
OTHER_NAMES = (b"k", b"key", b"a.key")
OTHER_READER = KeyReader(KeySettings(names=OTHER_NAMES, headers=(b"x-key",)))
QUICK = settings(deadline=None, max_examples=300, derandomize=True)
FEWER = settings(QUICK, max_examples=100)  # where an example is a whole table

LINE = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join) | st.binary(max_size=40)
LINES = st.lists(LINE, max_size=3)


# --- the key reader ---


@QUICK
@given(LINES, LINES)
def test_reader_is_the_specification(lines: list[bytes], states: list[bytes]) -> None:
    for reader, names in ((READER, NAMES), (OTHER_READER, OTHER_NAMES)):
        reading = reader.read(lines, states)
        assert (reading.key, reading.invalid, reading.ambiguous, reading.strict) == plain_reading(lines, states, names)


@QUICK
@given(LINES, LINES)
def test_joining_lines_keeps_the_reading(lines: list[bytes], states: list[bytes]) -> None:
    joined, joined_states = joined_lines(lines), joined_lines(states)
    assert joined is not None
    assert joined_states is not None
    assert parts(READER.read([joined], [joined_states])) == parts(READER.read(lines, states))
    assert [m.raw for m in baggage.members([joined])] == [m.raw for m in baggage.members(lines)]
    assert len(joined) <= sum(map(len, lines)) + len(lines)
    assert joined_lines([joined]) == joined


@QUICK
@given(LINES, LINES, st.lists(st.tuples(st.just(b"x-key"), LINE), max_size=2))
def test_a_key_that_is_read_is_a_key(
    lines: list[bytes], states: list[bytes], fields: list[tuple[bytes, bytes]]
) -> None:
    reading = OTHER_READER.read(lines, states, fields)
    assert reading.key is None or is_routing_key(reading.key)
    assert not (reading.key is not None and reading.invalid)
    assert (reading.value is None) == (reading.key is None and not reading.invalid)


@QUICK
@given(st.lists(st.tuples(st.sampled_from([b"Baggage", b"tracestate", b"X-Key", b"pointsman-hop"]), LINE), max_size=5))
def test_explain_agrees_with_the_decision(fields: list[tuple[bytes, bytes]]) -> None:
    me = Workload("hotrod", "Deployment", "location")
    table = RoutingTable("1", [Route("abc", "s", me, (Mapping(80, None, "preserve", ()),))], [b"x"], [b"v"])
    inputs = routing_inputs(fields, OTHER_READER.settings)
    decider = Decider(me, Policy())
    explanation = explain(inputs, OTHER_READER, decider, table, 80)
    reading = OTHER_READER.read(inputs.baggage, inputs.tracestate, inputs.key_fields)
    decision = decider.decide(reading, table.view(me), 80, inputs.hops)
    assert (explanation.reason, explanation.status) == (decision.reason.name, decision.status)
    assert json.loads(json.dumps(explanation.to_dict()))
    assert all(line.isascii() and line.isprintable() for line in explanation.to_text().splitlines())
    deciding = [member for member in explanation.members if member.state == "decides"]
    assert len(deciding) >= (reading.header is not None)


LINEAR = [b",", b";", b"=", b"%", b" ", b"\t,", b"%61", b"a%61", b"k,", b"sd-,", b"sd-routing-key", b"sd-routing-key="]
LINEAR += [b"sd-routing-key,", b"sd-routing-key=a,", b"sd-routing-key=a ", b" sd-routing-key=", b"sd-sandbox=%zz,"]
LINEAR += [b"sd-strict=0,", b"sd-routing-key=\x80,", b'sd-sandbox=",sd-strict=%30,', b"sd-routing-key = a ; b , "]


@pytest.mark.parametrize("piece", LINEAR, ids=repr)
@pytest.mark.parametrize("start", [b"", b"sd-routing-key=", b'"'])
@pytest.mark.parametrize("end", [b"", b"\x80"])
def test_cost_is_linear(piece: bytes, start: bytes, end: bytes) -> None:
    """64 KiB cost at most about 16 times what 4 KiB do (quadratic cost: 256 times), whatever they are made of."""

    def elapsed(size: int) -> float:
        line = (start + piece * size)[:size] + end

        def work() -> None:
            READER.read([line], [line])
            joined_lines([line, line])
            processed(line)
            for _ in baggage.members([line]):
                pass

        return min(_timed(work) for _ in range(3))

    small = elapsed(4096)
    assert elapsed(65536) < 100 * max(small, 50e-6)


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- documents ---

KEYS = st.sampled_from(["a", "b", "A", "a.b", "a_b-c", "0", "12e5", "qwblp48fpmb30", "k" * 63])
PORTS = st.integers(1, 65535)
ENDPOINTS = st.builds(Endpoint, st.sampled_from(["fork", "fork.svc.", "10.0.0.1", "2001:db8::1"]), PORTS)
WORKLOADS = st.builds(Workload, st.sampled_from(["n1", "n2"]), st.just("Deployment"), st.sampled_from(["a", "b.c"]))
MAPPINGS = st.lists(
    st.builds(
        Mapping,
        PORTS,
        st.sampled_from([None, "http", "http2", "grpc"]),
        st.sampled_from(["preserve", "destination"]),
        st.lists(ENDPOINTS, max_size=2).map(tuple),
    ),
    max_size=3,
    unique_by=lambda mapping: mapping.port,
).map(tuple)
ROUTES = st.lists(
    st.builds(Route, KEYS, st.sampled_from(["pr-1", "team/pr_2"]), WORKLOADS, MAPPINGS),
    max_size=5,
    unique_by=lambda route: (route.baseline, route.routing_key),
)
BYTES_KEYS = st.lists(KEYS.map(str.encode), max_size=3)
TABLES = st.builds(
    RoutingTable,
    st.sampled_from(["1", "42", "v é"]),
    ROUTES,
    BYTES_KEYS,
    BYTES_KEYS,
    st.lists(st.builds(GoneRoute, KEYS, WORKLOADS), max_size=2),
    st.lists(st.builds(Service, st.just(("host",)), PORTS, WORKLOADS, ENDPOINTS), max_size=1),
    st.lists(st.builds(Preview, st.just("p.example"), st.just("web"), ENDPOINTS), max_size=1),
)


@FEWER
@given(TABLES)
def test_document_round_trip(table: RoutingTable) -> None:
    document = table.document()
    again = read_document(document)
    assert again.document() == document
    assert read_document(parse_text(json.dumps(document).encode())).document() == document
    assert (again.live, again.gone, again.routes_of) == (table.live, table.gone, table.routes_of)


@FEWER
@given(TABLES, st.randoms(use_true_random=False), KEYS, PORTS)
def test_decisions_do_not_depend_on_the_order_of_the_document(
    table: RoutingTable, random: Any, key: str, port: int
) -> None:
    document: dict[str, Any] = table.document()
    for part in ("routes", "liveKeys", "goneKeys", "goneRoutes"):
        random.shuffle(document.get(part, []))
    for route in document["routes"]:
        random.shuffle(route["mappings"])
    shuffled = read_document(document)
    for workload in {route.baseline for route in table.routes} | {Workload("n1", "Deployment", "a")}:
        decider = Decider(workload, Policy())
        keys = {*table.live, *table.gone, key.encode()}
        ports = {port, *(mapping.port for route in table.routes for mapping in route.mappings)}
        for each in keys:
            for where in ports:
                reading = KeyReading(each, False, False, False, None, None, None)
                one = decider.decide(reading, table.view(workload), where)
                two = decider.decide(reading, shuffled.view(workload), where)
                assert (one.reason, one.kind, one.sandbox, one.mapping) == (
                    two.reason,
                    two.kind,
                    two.sandbox,
                    two.mapping,
                )


@FEWER
@given(TABLES, TABLES)
def test_no_live_key_is_silently_forgotten(old: RoutingTable, new: RoutingTable) -> None:
    memory = remember(old, new, NOTHING_GONE, 0.0)
    for workload, routes in old.routes_of.items():
        view = new.view(workload, memory)
        decider = Decider(workload, Policy())
        for key in routes:
            decision = decider.decide(KeyReading(key, False, False, True, None, None, None), view, 80)
            assert decision.kind != "baseline"  # strict: a route that was there is never the baseline's


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoiled_documents(draw: st.DrawFn) -> object:
    """A good document with one value, anywhere, replaced by any other, or one field added or taken away."""
    document: Any = json.loads(json.dumps(draw(TABLES).document()))
    place: Any = document
    while True:
        steps = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not steps:
            break
        step = draw(st.sampled_from(steps))
        if isinstance(place[step], dict | list) and draw(st.integers(0, 3)):
            place = place[step]
            continue
        if draw(st.booleans()):
            place[step] = draw(VALUES)
        else:
            del place[step]
        break
    if isinstance(place, dict) and draw(st.booleans()):
        place[draw(st.text(max_size=5))] = draw(VALUES)
    return document


@FEWER
@given(spoiled_documents() | VALUES)
def test_documents_are_read_or_refused_by_name(document: object) -> None:
    faults: list[str] = []
    try:
        table = read_document(document)
    except TableError as error:
        faults = error.faults
    if faults:
        assert all(fault.isascii() and fault.isprintable() and len(fault) < 400 for fault in faults)
    else:
        assert table.document() == read_document(table.document()).document()


@FEWER
@given(spoiled_documents())
def test_the_shortcut_accepts_nothing_else(document: Any) -> None:
    """A route that stands among others (the shortcut knows its workload) is read as it is alone."""
    for route in document.get("routes", []) if isinstance(document.get("routes"), list) else []:
        alone, faults = read_route(route, "routes[0]")
        first = {
            "routingKey": "first",
            "sandbox": "s",
            "baseline": route.get("baseline") if isinstance(route, dict) else None,
            "mappings": [],
        }
        whole = {
            "apiVersion": "pointsman.dev/v1alpha1",
            "kind": "RoutingTable",
            "version": "1",
            "routes": [first, route],
        }
        if alone is None or alone.routing_key == "first":
            with pytest.raises(TableError):
                read_document(whole)
            assert alone is not None or faults
        else:
            assert read_document(whole).routes[1] == alone


@QUICK
@given(st.binary(max_size=60) | st.lists(st.sampled_from(YAML_PIECES), max_size=20).map("".join).map(str.encode))
def test_text_is_read_or_refused(data: bytes) -> None:
    for text in (data, b"{" + data):
        faults = []
        try:
            parse_text(text)
        except TableError as error:
            faults = error.faults
        assert all(fault.isascii() and fault.isprintable() and len(fault) < 200 for fault in faults)


@QUICK
@given(VALUES)
def test_json_text_is_its_value(value: object) -> None:
    wrapped = {"value": value}
    assert parse_text(json.dumps(wrapped).encode()) == wrapped
