from __future__ import annotations

import json

import pytest

from proxy.routing.decision import Decider, Policy
from proxy.routing.explain import Explanation, MemberLine, RoutingInputs, explain, routing_inputs
from proxy.routing.gone import GoneMemory
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Route, RoutingTable

ME = Workload("hotrod", "Deployment", "location")
SETTINGS = KeySettings(headers=(b"x-key",))
READER = KeyReader(SETTINGS)
DECIDER = Decider(ME, Policy())
TABLE = RoutingTable(
    "42",
    [Route("abc", "pr-1", ME, (Mapping(80, "grpc", "destination", (Endpoint("fork", 9000), Endpoint("::1", 9000))),))],
    live_keys=[b"live", b"taken"],
    gone_keys=[b"gone"],
    gone_routes=[GoneRoute("taken", ME)],
)


def explained(*fields: tuple[bytes, bytes], port: int = 80, table: RoutingTable | None = TABLE) -> Explanation:
    return explain(routing_inputs(fields, SETTINGS), READER, DECIDER, table, port)


def test_routing_inputs_are_found_in_any_case_and_kept_in_order() -> None:
    fields = [
        (b"Host", b"x"),
        (b"Baggage", b"a=1"),
        (b"TRACESTATE", b"b=2"),
        (b"X-Key", b"k"),
        (b"baggage", b"c=3"),
        (b"Pointsman-Hop", b"a/b/c"),
        (b"x-key", b"l"),
    ]
    assert routing_inputs(fields, SETTINGS) == RoutingInputs(
        (b"a=1", b"c=3"), (b"b=2",), ((b"x-key", b"k"), (b"x-key", b"l")), (b"a/b/c",)
    )


def test_a_route() -> None:
    found = explained((b"baggage", b"user=alice,sd-routing-key=abc;p=1"))
    assert (found.header, found.name, found.value, found.key) == ("baggage", "sd-routing-key", "abc", "abc")
    assert (found.goes_to, found.sandbox, found.reason, found.status) == ("sandbox", "pr-1", "route", 0)
    assert (found.app_protocol, found.authority) == ("grpc", "destination")
    assert found.destinations == ("fork:9000", "[::1]:9000")
    assert found.table_version == "42"
    assert found.steps == (
        "read 1 baggage line(s), 0 tracestate line(s)",
        "key: baggage member sd-routing-key decides, its value 'abc': abc",
        "table '42': live key, sandbox pr-1 forks this workload, mapped: 80 (asked: 80)",
        "decision: sandbox pr-1 at fork:9000, [::1]:9000, route",
    )


def test_every_member_has_a_state() -> None:
    found = explained(
        (b"baggage", b"a b=1,sd-routing-key=old,sd-sandbox=x,,sd-strict=0,user=alice"),
        (b"baggage", b"sd-routing-key=abc"),
        (b"tracestate", b"sd-routing-key=t,sd-sandbox =u"),
        (b"x-key", b"k"),
    )
    last = "the last"
    assert found.members == (
        MemberLine("baggage", 1, "a b=1", "broken", "its name is not a token"),
        MemberLine("baggage", 1, "sd-routing-key=old", "ignored", f"another member of this name counts: {last}"),
        MemberLine("baggage", 1, "sd-sandbox=x", "ignored", "baggage sd-routing-key has precedence"),
        MemberLine("baggage", 1, "sd-strict=0", "counts", "asks for strict routing unless empty or 0"),
        MemberLine("baggage", 1, "user=alice", "ignored", "not a key name"),
        MemberLine("baggage", 2, "sd-routing-key=abc", "decides", "the last member of the first name found"),
        MemberLine("tracestate", 1, "sd-routing-key=t", "ignored", "baggage sd-routing-key has precedence"),
        MemberLine("tracestate", 1, "sd-sandbox =u", "broken", "whitespace before its '='"),
        MemberLine("x-key", 1, "k", "ignored", "a configured key header"),
    )
    assert found.ambiguous
    assert found.note == "ambiguous_key"
    assert "the deciding name stands with two different values: ambiguous" in found.steps


def test_the_first_counts_in_tracestate() -> None:
    found = explained((b"tracestate", b"sd-sandbox=abc,sd-sandbox=x"))
    assert [member.state for member in found.members] == ["decides", "ignored"]
    assert found.members[0].why == "the first member of the first name found"
    assert found.sandbox == "pr-1"


@pytest.mark.parametrize(
    ("baggage", "known", "reason"),
    [
        (b"sd-sandbox=live", "live key, no route for this workload", "not_forked"),
        (b"sd-sandbox=taken", "live key, its route was taken away within the hour", "gone_route"),
        (b"sd-sandbox=gone", "gone key (by the table)", "gone_key"),
        (b"sd-sandbox=x", "unknown key", "unknown_key"),
        (b"sd-sandbox=", "no key to look up", "invalid_key"),
        (b"", "no key to look up", "no_key"),
    ],
)
def test_what_the_table_knows(baggage: bytes, known: str, reason: str) -> None:
    found = explained((b"baggage", baggage))
    assert (found.known, found.reason) == (known, reason)


def test_what_the_proxy_remembers() -> None:
    view = TABLE.view(ME, GoneMemory({b"left": 1.0}, {}))
    inputs = routing_inputs([(b"baggage", b"sd-sandbox=left")], SETTINGS)
    found = explain(inputs, READER, DECIDER, TABLE, 80, view)
    assert (found.known, found.reason, found.status) == ("gone key (it left this proxy's table)", "gone_key", 424)


def test_no_table() -> None:
    found = explained((b"baggage", b"sd-sandbox=abc"), table=None)
    assert (found.table_version, found.known, found.reason, found.status) == (None, "no table", "not_synced", 503)
    assert found.steps[-2] == "table: none received yet"


def test_refusals_say_so() -> None:
    found = explained((b"baggage", b"sd-sandbox=abc"), port=81)
    assert found.steps[-1].startswith("decision: answer 503, port_not_mapped: ")
    found = explained((b"baggage", b"sd-strict=1"))
    assert found.strict
    assert "strict: no silent baseline is accepted (sd-strict)" in found.steps
    assert found.to_text().startswith("hotrod/Deployment/location port 80: answered with 424 (no_key: ")


def test_hops() -> None:
    hop = b"hotrod/Deployment/location"
    met = explained((b"pointsman-hop", hop))
    assert met.reason == "loop"
    assert f"pointsman-hop {hop.decode()}: the request met the proxy of {ME} before" in met.steps
    passed = explained((b"pointsman-hop", hop + b";baseline"))
    assert any("did not meet" in step for step in passed.steps)


def test_a_plain_header_decides() -> None:
    found = explained((b"x-key", b"abc"), (b"x-key", b"def"))
    assert found.key is None
    assert any("another line of it has another value" in step for step in found.steps)
    found = explained((b"x-key", b"abc"))
    assert (found.header, found.name, found.key) == ("x-key", None, "abc")
    assert found.members == (MemberLine("x-key", 1, "abc", "decides", "a configured key header"),)
    assert "key: x-key decides, its value 'abc': abc" in found.steps


def test_text_and_json_are_printable_whatever_was_sent() -> None:
    hostile = b"sd-routing-key=\x1b[31m\r\nx\xff," + b"y" * 10**5
    found = explained((b"baggage", hostile), (b"x-key", b"\x1b]0;x\x07"), (b"pointsman-hop", b"\x1b[0m" * 10**4))
    assert all(line.isascii() and line.isprintable() for line in found.to_text().splitlines())
    assert len(found.to_text()) < 3000
    assert json.loads(json.dumps(found.to_dict()))["reason"] == "invalid_key"


def test_many_members_are_cut() -> None:
    assert len(explained((b"baggage", b"a=1," * 10_000)).members) <= 256


def test_text_has_steps_and_members() -> None:
    assert explained((b"baggage", b"sd-sandbox=abc")).to_text() == (
        "hotrod/Deployment/location port 80: forwarded to sandbox pr-1"
        " (route: a live key with a route for this workload and port)\n"
        "  1. read 1 baggage line(s), 0 tracestate line(s)\n"
        "  2. key: baggage member sd-sandbox decides, its value 'abc': abc\n"
        "  3. table '42': live key, sandbox pr-1 forks this workload, mapped: 80 (asked: 80)\n"
        "  4. decision: sandbox pr-1 at fork:9000, [::1]:9000, route\n"
        "members:\n"
        "  baggage: sd-sandbox=abc  [decides: the last member of the first name found]\n"
    )
