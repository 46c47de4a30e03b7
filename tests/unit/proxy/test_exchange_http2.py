"""The exchange where HTTP/2 or gRPC matters: versions, replays, statuses, tunnels. The rest is `test_exchange`'s."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, END, UNTIL_CLOSE, End, ResponseHead
from proxy.codec.h2.heads import end_of
from proxy.codec.translate import response_fields, trailer_fields
from proxy.errors import Reason
from proxy.routing.decision import AS_IT_CAME, HTTP1, HTTP2
from proxy.routing.table import Mapping, Route, RoutingTable
from tests.support.exchange import BASELINE, HOP, PORT, SANDBOX, TAGGED, WORKLOAD, Script, request_head, route_table
from tests.support.h2script import connect_head, http2_head, http2_response, lines
from tests.support.hpack import kinds, pairs

KEY = ("baggage", "sd-routing-key=key")
GRPC = ("content-type", "application/grpc")


def table(app_protocol: str | None) -> RoutingTable:
    mapping = Mapping(PORT, app_protocol, "preserve", (SANDBOX,))
    return RoutingTable("1", [Route("key", "pr-1", WORKLOAD, (mapping,))], live_keys=[], gone_keys=[])


def call(*fields: tuple[str, str], **options: object) -> Script:
    """A gRPC call whose request has begun, over a new connection."""
    script = Script(**options)  # type: ignore[arg-type]
    script.start(http2_head(GRPC, *fields, method="POST", end=False))
    script.connected()
    return script


def upload(**options: object) -> Script:
    script = Script(**options)  # type: ignore[arg-type]
    script.start(http2_head(method="POST", end=False))
    script.connected()
    return script


def trailers(script: Script) -> dict[str, str]:
    return {field.name.decode(): field.value.decode() for field in trailer_fields(script.down.end)}


def grpc_calls(script: Script) -> dict[int, int]:
    """How many calls ended with each gRPC status."""
    found: dict[int, int] = {}
    for _, _, status, count in script.metrics.grpc_calls():
        found[status] = found.get(status, 0) + count
    return found


# --- which version -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app_protocol", "from_http1", "from_http2"),
    [(None, 1, 2), ("auto", 1, 2), ("http", 1, 1), ("http2", 2, 2), ("grpc", 2, 2)],
)
def test_the_routes_version(app_protocol: str | None, from_http1: int, from_http2: int) -> None:
    for head, version in ((request_head(TAGGED), from_http1), (http2_head(KEY), from_http2)):
        script = Script(table=table(app_protocol), baseline_version=3 - version)
        script.start(head)
        assert set(script.pool.versions) == {version}


@pytest.mark.parametrize(("version", "from_http1", "from_http2"), [(AS_IT_CAME, 1, 2), (HTTP1, 1, 1), (HTTP2, 2, 2)])
def test_the_baselines_version(version: int, from_http1: int, from_http2: int) -> None:
    for head, expected in ((request_head(), from_http1), (http2_head(), from_http2)):
        script = Script(table=table("http"), baseline_version=version)
        script.start(head)
        assert set(script.pool.versions) == {expected}


def test_a_fallback_goes_in_the_baselines_version() -> None:
    script = Script(table=table("grpc"), failure_to_baseline=True, baseline_version=HTTP1)
    script.start(http2_head(KEY))
    assert script.pool.versions == [2, 2]
    script.connect_failed()
    assert script.pool.versions == [2, 2, 1, 1]


# --- heads ---------------------------------------------------------------------------------------------------------


def test_the_head_is_forwarded_as_it_came() -> None:
    head = http2_head(("x-b", "2"), ("x-a", "1"), KEY, ("x-b", "1"))
    before = pairs(head.fields)
    script = Script()
    script.start(head)
    script.connected()
    assert script.up.fields == [*before, tuple(HOP.split(b": "))]


def test_several_routing_lines_become_one() -> None:
    script = Script()
    script.start(http2_head(("baggage", "a=b"), ("x", "y"), KEY, ("tracestate", "c=d"), ("tracestate", "e=f")))
    script.connected()
    assert script.up.fields[4:-1] == [
        (b"baggage", b"a=b,sd-routing-key=key"),
        (b"x", b"y"),
        (b"tracestate", b"c=d,e=f"),
    ]


def test_authority_destination() -> None:
    script = Script(route_table(SANDBOX, authority="destination"))
    script.start(http2_head(KEY))
    script.connected()
    assert dict(script.up.fields)[b":authority"] == b"box:1"
    assert len(script.up.fields) == 6


def test_forwarded() -> None:
    script = Script(appends_forwarded=True)
    script.start(http2_head(("x-forwarded-for", "1.1.1.1")))
    script.connected()
    assert script.up.fields[4:] == [(b"x-forwarded-for", b"1.1.1.1, 192.0.2.9"), (b"x-forwarded-proto", b"http")]


def test_a_fallback_carries_no_hop() -> None:
    script = Script(failure_to_baseline=True)
    script.start(http2_head(KEY))
    script.connect_failed()
    script.connected()
    assert (script.up.endpoint, len(script.up.fields)) == (BASELINE, 5)


def test_the_decision_stands_in_answers_of_both_forms() -> None:
    for head in (http2_response(end=True), ResponseHead(200, [b"HTTP/1.1 200 x"], 0, True)):
        script = Script()
        script.start(http2_head(KEY))
        script.connected()
        script.does(lambda script=script, head=head: script.exchange.response_head(head))  # type: ignore[misc]
        assert script.down.decision.startswith("sandbox")


# --- what was refused unread is sent again (RFC 9113 section 8.7) --------------------------------------------------


def test_a_refused_request_goes_elsewhere_with_its_body() -> None:
    script = upload()
    script.request_body(b"ab")
    assert script.upstream_failed(errors.UPSTREAM_REFUSED, 7) == ["down.pause", "connect base:1"]
    assert script.connected() == ["up(base:1).head", "up(base:1).body", "down.resume"]
    assert script.up.body == b"ab"
    script.request_body(b"cd")
    script.request_end(end_of(lines(("x-sum", "1")), kinds()))
    assert (script.up.body, script.up.trailers) == (b"abcd", [b"x-sum: 1"])
    assert script.metrics.upstream_retries == 1
    script.response_head()
    script.response_body()
    script.response_end()
    script.assert_finished(errors.NO_KEY, 200)


def test_one_that_had_ended_is_ended_again() -> None:
    script = upload()
    script.request_body(b"ab")
    script.request_end(end_of(lines(("x-sum", "1")), kinds()))
    assert script.upstream_failed(errors.UPSTREAM_REFUSED) == ["connect base:1"], "nothing to pause"
    script.connected()
    assert (script.up.body, script.up.trailers, script.up.is_request_complete) == (b"ab", [b"x-sum: 1"], True)


def test_one_that_had_ended_without_content() -> None:
    script = upload()
    script.request_end()
    script.upstream_failed(errors.UPSTREAM_REFUSED)
    assert script.connected() == ["up(base:1).head", "up(base:1).end"]


def test_a_refused_request_without_a_body() -> None:
    script = Script()
    script.start(http2_head(method="POST"))
    script.connected()
    script.upstream_failed(errors.UPSTREAM_REFUSED)
    assert script.connected() == ["up(base:1).head"]


def test_twice_and_no_more() -> None:
    script = upload()
    for _ in range(2):
        script.upstream_failed(errors.UPSTREAM_REFUSED)
        script.connected()
    assert script.upstream_failed(errors.UPSTREAM_REFUSED) == ["down.head 503 last", "down.body", "down.end"]
    assert script.exchange.reason is errors.UPSTREAM_REFUSED


@pytest.mark.parametrize(
    ("sizes", "may"), [([65536], True), ([65537], False), ([60000, 5536], True), ([60000, 5537], False)]
)
def test_so_much_of_a_body_is_kept(sizes: list[int], may: bool) -> None:
    script = upload()
    for size in sizes:
        script.request_body(b"x" * size)
    calls = script.upstream_failed(errors.UPSTREAM_REFUSED)
    assert ("connect base:1" in calls) is may
    if may:
        script.connected()
        assert len(script.up.body) == sum(sizes)


def test_nothing_is_sent_again_behind_a_response_head() -> None:
    script = upload()
    script.request_body(b"ab")
    script.response_head(body=CHUNKED)
    script.upstream_failed(errors.UPSTREAM_REFUSED, 7)
    assert (script.down.is_aborted, script.down.abort_code) == (True, 7)


def test_a_body_that_came_by_http1_is_kept_too() -> None:
    script = Script(baseline_version=HTTP2)
    script.start(request_head("Content-Length: 4", method="POST"))
    script.connected()
    script.request_body(b"ab")
    script.upstream_failed(errors.UPSTREAM_REFUSED)
    script.connected()
    assert script.up.body == b"ab"


def test_a_caller_that_leaves_meanwhile() -> None:
    script = upload()
    script.request_body(b"ab")
    script.upstream_failed(errors.UPSTREAM_REFUSED)
    script.does(script.exchange.downstream_failed)
    assert script.exchange.is_over
    script.pool.pending.clear()
    assert script.does(script.exchange.connect_failed) == []


def test_a_refused_request_that_finds_nobody() -> None:
    """Not the baseline: something of it was sent to the sandbox."""
    script = Script(failure_to_baseline=True)
    script.start(http2_head(KEY, method="POST", end=False))
    script.connected()
    script.upstream_failed(errors.UPSTREAM_REFUSED)
    assert script.connect_failed()[-3:] == ["down.head 503 last", "down.body", "down.end"]
    assert script.exchange.reason is errors.SANDBOX_UNREACHABLE


# --- gRPC ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (errors.UPSTREAM_CLOSED, 14),
        (errors.UPSTREAM_INVALID, 14),
        (errors.UPSTREAM_TIMEOUT, 14),
        (errors.UPSTREAM_REFUSED, 14),
    ],
)
def test_a_call_that_fails_is_answered_by_trailers_only(reason: Reason, status: int) -> None:
    script = call()
    for _ in range(3 if reason is errors.UPSTREAM_REFUSED else 1):
        calls = script.upstream_failed(reason)
        if script.pool.pending:
            script.connected()
    assert calls == ["down.head 200 last", "down.end"]
    assert script.down.values(b"grpc-status") == [str(status)]
    assert script.down.values(b"content-type") == ["application/grpc"]
    (message,) = script.down.values(b"grpc-message")
    assert message == f"pointsman: {reason}: base:1: {reason.text}"
    assert script.finishes == [("baseline", reason.name, min(reason.status // 100, 5))], "counted as the failure it is"
    assert grpc_calls(script) == {status: 1}


@pytest.mark.parametrize(
    ("fields", "options", "status"),
    [
        ([("baggage", "sd-routing-key=gone")], {}, 9),
        ([KEY, ("pointsman-hop", "hotrod/Deployment/location")], {}, 9),
        ([KEY], {"table": None}, 14),
        ([], {"is_looped": True}, 9),
        ([KEY], {"table": route_table()}, 14),
    ],
)
def test_a_call_that_is_refused(fields: list[tuple[str, str]], options: dict[str, object], status: int) -> None:
    script = Script(**options)  # type: ignore[arg-type]
    assert script.start(http2_head(GRPC, *fields, method="POST", end=False)) == ["down.head 200 last", "down.end"]
    assert script.down.values(b"grpc-status") == [str(status)]
    assert grpc_calls(script) == {status: 1}


def test_a_call_that_finds_nobody() -> None:
    script = Script()
    script.start(http2_head(GRPC, KEY, method="POST", end=False))
    script.connect_failed(errors.SANDBOX_TIMEOUT)
    assert script.down.values(b"grpc-status") == ["14"]


@pytest.mark.parametrize(("timeout", "status"), [("1n", 4), ("1H", 14), ("x", 14), (None, 14)])
def test_the_deadline_passed_only_if_there_was_one(timeout: str | None, status: int) -> None:
    script = call(*([("grpc-timeout", timeout)] if timeout else []))
    script.upstream_failed(errors.UPSTREAM_TIMEOUT)
    assert script.down.values(b"grpc-status") == [str(status)]


def test_a_deadline_is_no_excuse_for_other_failures() -> None:
    script = call(("grpc-timeout", "1n"))
    script.upstream_failed(errors.UPSTREAM_CLOSED)
    assert script.down.values(b"grpc-status") == ["14"]


def test_a_call_that_breaks_off_gets_trailers() -> None:
    script = call()
    script.does(lambda: script.exchange.response_head(http2_response(("content-type", "application/grpc"))))
    script.response_body(b"message")
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["down.end"]
    assert trailers(script)["grpc-status"] == "14"
    assert "upstream_truncated" in trailers(script)["grpc-message"]
    assert grpc_calls(script) == {14: 1}
    assert script.finishes == [("baseline", "upstream_truncated", 2)]


def test_a_code_of_the_upstream_is_passed_on() -> None:
    """The caller's library gives it a status by itself."""
    script = call()
    script.does(lambda: script.exchange.response_head(http2_response()))
    assert script.upstream_failed(errors.UPSTREAM_CLOSED, 11) == ["down.abort"]
    assert script.down.abort_code == 11
    assert grpc_calls(script) == {2: 1}


@pytest.mark.parametrize("code", [-1, 8])
def test_other_responses_are_cut(code: int) -> None:
    script = upload()
    script.response_head(body=CHUNKED)
    assert script.upstream_failed(errors.UPSTREAM_CLOSED, code) == ["down.abort"]
    assert script.down.abort_code == code
    assert grpc_calls(script) == {}


def test_statuses_are_counted() -> None:
    """Of trailers, of a trailers-only answer, or none at all."""
    script = call()
    script.does(lambda: script.exchange.response_head(http2_response()))
    script.response_end(end_of(lines(("grpc-status", "5")), kinds()))
    assert grpc_calls(script) == {5: 1}
    script = call()
    script.does(lambda: script.exchange.response_head(http2_response(("grpc-status", "12"), end=True)))
    script.response_end()
    assert grpc_calls(script) == {12: 1}
    script = call()
    script.does(lambda: script.exchange.response_head(http2_response(status=503, end=True)))
    script.response_end()
    assert grpc_calls(script) == {2: 1}
    script = call()
    script.does(script.exchange.downstream_failed)
    assert grpc_calls(script) == {1: 1}


def test_calls_by_http1_are_none() -> None:
    script = Script()
    script.start(request_head("Content-Type: application/grpc", "Content-Length: 1", method="POST"))
    script.connect_failed()
    assert script.down.head is not None
    assert script.down.head.status == 503
    assert grpc_calls(script) == {}


# --- our own answers -----------------------------------------------------------------------------------------------


def test_an_answer_of_ours_translates() -> None:
    script = Script()
    script.start(http2_head(KEY))
    script.connect_failed()
    assert script.down.head is not None
    told = {field.name: field.value for field in response_fields(script.down.head)}
    assert told[b":status"] == b"503"
    assert told[b"content-length"] == b"%d" % len(script.down.body)
    assert told[b"proxy-status"].startswith(b"pointsman; error=connection_refused")
    assert told[b"pointsman-decision"].startswith(b"sandbox")


def test_a_head_request_gets_no_body() -> None:
    script = Script()
    script.start(http2_head(KEY, method="HEAD"))
    assert script.connect_failed() == ["down.head 503", "down.end"]


# --- tunnels -------------------------------------------------------------------------------------------------------


def test_an_extended_connect_becomes_a_tunnel() -> None:
    script = Script()
    assert script.start(connect_head()) == ["connect base:1"], "nothing to pause: the stream waits by itself"
    script.connected()
    script.response_head(101, UNTIL_CLOSE)
    script.up.is_request_complete = False  # the other direction of the tunnel is open
    assert not script.exchange.request_ended
    assert script.does(lambda: script.exchange.response_end(END)) == ["down.end"]
    assert not script.exchange.is_over
    assert script.does(lambda: script.exchange.request_end(End()))[-1] == "down.end"
    assert script.exchange.is_over


@pytest.mark.parametrize("status", [200, 204, 299])
def test_an_upstream_that_ignores_the_upgrade(status: int) -> None:
    """In HTTP/2 a 2xx would say that the tunnel stands."""
    script = Script()
    script.start(connect_head())
    script.connected()
    assert script.response_head(status, 0) == ["up(base:1).cancel", "down.head 502 last", "down.body", "down.end"]
    assert script.exchange.reason is errors.UPGRADE_REFUSED


@pytest.mark.parametrize("status", [300, 400, 404, 503])
def test_an_upstream_that_refuses_it(status: int) -> None:
    script = Script()
    script.start(connect_head())
    script.connected()
    assert script.response_head(status) == [f"down.head {status} last"]


def test_an_upgrade_by_http1_may_be_ignored() -> None:
    script = Script()
    script.start(request_head("Upgrade: websocket", "Connection: Upgrade"))
    script.connected()
    assert script.response_head(200) == ["down.head 200 last"]
