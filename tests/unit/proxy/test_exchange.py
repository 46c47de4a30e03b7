"""The exchange as scripts: events in, calls out (`tests.support.exchange`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.events import CHUNKED, END, UNTIL_CLOSE, End, ResponseHead
from proxy.errors import Reason
from proxy.routing.decision import Policy
from proxy.routing.names import Endpoint
from proxy.routing.table import RoutingTable
from tests.support.exchange import (
    BASELINE,
    HOP,
    SANDBOX,
    SANDBOX_2,
    TAGGED,
    WORKLOAD,
    RecordingUpstream,
    Script,
    request_head,
    route_table,
)
from tests.support.h2script import connect_head

UPLOAD = "Content-Length: 4"


def tagged(*lines: str, method: str = "GET") -> Script:
    """A tagged request that was sent to the sandbox over a new connection."""
    script = Script()
    script.start(request_head(TAGGED, *lines, method=method))
    script.connected()
    return script


# --- the way through -----------------------------------------------------------------------------------------------


def test_a_request_and_its_response() -> None:
    script = Script()
    assert script.start(request_head()) == ["connect base:1"]
    assert script.connected() == ["up(base:1).head"]
    assert script.response_head() == ["down.head 200"]
    assert script.response_body(b"ok") == ["down.body"]
    assert script.response_end() == ["down.end"]
    assert (script.down.body, script.down.is_last) == (b"ok", False)
    script.assert_finished(errors.NO_KEY, 200)


def test_a_pooled_connection_is_used_at_once() -> None:
    script = Script(idle=[BASELINE])
    assert script.start(request_head(UPLOAD, method="POST")) == ["up(base:1).head"]
    assert script.down.pauses == 0


@pytest.mark.parametrize(("line", "endpoint"), [("X: y", BASELINE), (TAGGED, SANDBOX)])
def test_the_head_is_forwarded_as_it_came(line: str, endpoint: Endpoint) -> None:
    """Only a sandbox route adds its hop; order, case and duplicates stay."""
    script = Script()
    script.start(request_head("x-b: 2", "X-A:1", line, "x-b: 1"))
    script.connected()
    assert script.up.endpoint == endpoint
    expected = [b"GET / HTTP/1.1", b"Host: location", b"x-b: 2", b"X-A:1", line.encode(), b"x-b: 1"]
    assert script.up.lines == expected + [HOP] * (endpoint is SANDBOX)


def test_bodies_stream_both_ways() -> None:
    script = tagged("Transfer-Encoding: chunked", method="PUT")
    assert script.request_body(b"ab") == ["up(box:1).body"]
    assert script.response_head(body=CHUNKED) == ["down.head 200 last"]
    assert script.response_body(b"12") == ["down.body"]
    assert script.request_body(b"cd") == ["up(box:1).body"]
    assert script.request_end(End([b"X-Sum: 1"])) == ["up(box:1).end"]
    assert script.response_body(b"34") == ["down.body"]
    assert script.response_end(End([b"X-Sum: 2"])) == ["down.end"]
    assert (script.up.body, script.up.trailers) == (b"abcd", [b"X-Sum: 1"])
    assert (script.down.body, script.down.trailers) == (b"1234", [b"X-Sum: 2"])
    script.assert_finished(errors.ROUTE, 200)


def test_interim_heads_pass_and_do_not_count_as_the_answer() -> None:
    script = tagged()
    assert script.response_head(103) == ["down.interim 103"]
    assert script.response_head(100) == ["down.interim 100"]
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["down.head 502", "down.body", "down.end"]
    script.assert_finished(errors.UPSTREAM_CLOSED, 502)


def test_flush_is_passed_on() -> None:
    script = tagged()
    script.response_head()
    assert script.does(script.exchange.flush) == ["down.flush"]


def test_an_early_final_response() -> None:
    """CHECKLIST 25: it is passed on; what the upstream did not want of the request is not sent after it."""
    script = tagged(UPLOAD, method="POST")
    script.request_body(b"ab")
    assert script.response_head(413) == ["down.head 413 last"]
    script.response_body()
    assert script.response_end() == ["down.end"]
    assert script.request_body(b"cd") == []
    assert not script.exchange.request_ended
    script.assert_finished(errors.ROUTE, 413)


@pytest.mark.parametrize("status", [200, 304, 404, 500, 599])
def test_every_status_is_the_upstreams(status: int) -> None:
    script = tagged()
    script.response_head(status, body=0)
    script.response_end()
    script.assert_finished(errors.ROUTE, status)


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_beyond_599_is_passed_on_and_counted(status: int) -> None:
    """RFC 9110 section 15 knows none, but some servers send 999; the codec lets it pass."""
    script = tagged()
    script.response_head(status, body=0)
    assert script.response_end() == ["down.end"]
    script.assert_finished(errors.ROUTE, status)


# --- Host ----------------------------------------------------------------------------------------------------------


def test_authority_destination() -> None:
    """Each destination gets its own name; the baseline the request's."""
    script = Script(route_table(SANDBOX, SANDBOX_2, authority="destination"), failure_to_baseline=True)
    script.start(request_head("X: y", TAGGED))
    script.connected()
    assert script.up.lines == [b"GET / HTTP/1.1", b"Host: box:1", b"X: y", TAGGED.encode(), HOP]

    script = Script(route_table(SANDBOX, SANDBOX_2, authority="destination"), failure_to_baseline=True)
    script.start(request_head("X: y", TAGGED))
    script.connect_failed()
    script.connected()
    assert script.up.lines[1] == b"Host: box:2"

    script = Script(route_table(SANDBOX, SANDBOX_2, authority="destination"), failure_to_baseline=True)
    script.start(request_head("X: y", TAGGED))
    script.connect_failed()
    script.connect_failed()
    script.connected()
    assert script.up.lines == [b"GET / HTTP/1.1", b"Host: location", b"X: y", TAGGED.encode()]


def test_http_1_0_without_host_gets_one() -> None:
    script = Script()
    script.start(request_head("X: y", version="1.0", host=""))
    script.connected()
    assert script.up.lines == [b"GET / HTTP/1.1", b"Host: base:1", b"X: y"]


# --- several lines -------------------------------------------------------------------------------------------------


def test_lines_are_joined_at_the_first_ones_place() -> None:
    script = Script()
    lines = ("BAGGAGE: a=1,,", "X: y", "tracestate: v=1", "baggage: sd-routing-key=key", "TraceState: ,w=2", "Z: z")
    script.start(request_head(*lines))
    script.connected()
    assert script.up.endpoint == SANDBOX
    joined = [b"BAGGAGE: a=1,sd-routing-key=key", b"X: y", b"tracestate: v=1,w=2", b"Z: z"]
    assert script.up.lines[2:] == [*joined, HOP]
    assert script.metrics.lines_not_joined == 0


def test_one_line_is_left_alone() -> None:
    script = Script()
    script.start(request_head("baggage: a=1,,b=2", "tracestate:  ,x=1"))
    script.connected()
    assert script.up.lines[2:] == [b"baggage: a=1,,b=2", b"tracestate:  ,x=1"]


def test_lines_too_long_to_join_stay_and_are_counted() -> None:
    script = Script()
    long = f"baggage: a={'x' * 8190}"
    script.start(request_head(long, "baggage: b=2", "tracestate: a=1", "tracestate: b=2"))
    script.connected()
    assert script.up.lines[2:] == [long.encode(), b"baggage: b=2", b"tracestate: a=1,b=2"]
    assert script.metrics.lines_not_joined == 1


# --- backpressure --------------------------------------------------------------------------------------------------


def test_a_full_side_pauses_the_other() -> None:
    script = tagged(UPLOAD, method="POST")
    exchange = script.exchange
    assert script.does(exchange.downstream_is_full) == ["up(box:1).pause"]
    assert script.does(exchange.upstream_is_full) == ["down.pause"]
    assert script.does(exchange.downstream_is_free) == ["up(box:1).resume"]
    assert script.does(exchange.upstream_is_free) == ["down.resume"]
    assert (script.up.pauses, script.down.pauses) == (0, 0)


def test_a_full_downstream_without_an_upstream() -> None:
    script = Script()
    script.start(request_head())
    assert script.does(script.exchange.downstream_is_full) == []
    assert script.does(script.exchange.downstream_is_free) == []
    script.connected()
    script.response_head()
    script.response_end()
    assert script.does(script.exchange.downstream_is_full) == []


def test_the_request_waits_for_its_connection() -> None:
    script = Script()
    assert script.start(request_head(UPLOAD, method="POST")) == ["down.pause", "connect base:1"]
    assert script.connected() == ["up(base:1).head", "down.resume"]
    assert script.down.pauses == 0


def test_the_head_goes_before_what_reading_on_brings() -> None:
    script = Script()
    script.start(request_head(UPLOAD, method="POST"))

    def read_on() -> None:
        script.exchange.request_body(b"abcd")
        script.exchange.request_end(End())

    script.down.on_resume = read_on
    assert script.connected() == ["up(base:1).head", "down.resume", "up(base:1).body", "up(base:1).end"]


def test_a_request_that_was_read_whole_pauses_nothing() -> None:
    script = Script()
    assert script.start(request_head("Content-Length: 0", method="POST")) == ["connect base:1"]


def test_waiting_pauses_once_however_many_destinations_are_tried() -> None:
    script = Script(route_table(SANDBOX, SANDBOX_2), failure_to_baseline=True)
    assert script.start(request_head(TAGGED, UPLOAD, method="POST")) == ["down.pause", "connect box:1"]
    assert script.connect_failed() == ["connect box:2"]
    assert script.connect_failed() == ["connect base:1"]
    assert script.connected() == ["up(base:1).head", "down.resume"]
    assert script.down.pauses == 0


def test_a_pooled_connection_to_the_baseline_ends_the_waiting() -> None:
    script = Script(failure_to_baseline=True, idle=[BASELINE])
    script.start(request_head(TAGGED, UPLOAD, method="POST"))
    script.connect_failed()
    assert script.up.endpoint == BASELINE
    assert script.down.pauses == 0, "the request's body is never read: the request hangs"


# --- no connection -------------------------------------------------------------------------------------------------


def test_every_destination_is_tried_once() -> None:
    script = Script(route_table(SANDBOX, SANDBOX_2))
    assert script.start(request_head(TAGGED)) == ["connect box:1"]
    assert script.connect_failed() == ["connect box:2"]
    assert script.connect_failed(errors.SANDBOX_TIMEOUT) == ["down.head 504", "down.body", "down.end"]
    assert script.down.decision == "sandbox=pr-1; reason=sandbox_unreachable"
    details = 'details="sandbox_unreachable: pr-1, box:2"'
    assert script.down.proxy_status == f"pointsman; error=connection_timeout; {details}"
    script.assert_finished(errors.SANDBOX_TIMEOUT, 504)
    assert script.metrics.upstream_failures == {("sandbox", "pr-1", "sandbox_unreachable"): 2}


def test_a_later_destination_is_routed_like_the_first() -> None:
    script = Script(route_table(SANDBOX, SANDBOX_2))
    script.start(request_head(TAGGED))
    script.connect_failed()
    script.connected()
    assert script.up.lines.count(HOP) == 1
    script.response_head()
    assert script.down.decision == "sandbox=pr-1; reason=route"


@pytest.mark.parametrize(
    ("reason", "named", "status"),
    [
        (errors.SANDBOX_UNREACHABLE, errors.BASELINE_UNREACHABLE, 503),
        (errors.SANDBOX_TIMEOUT, errors.BASELINE_TIMEOUT, 504),
        (errors.DESTINATION_REFUSED, errors.DESTINATION_REFUSED, 503),
        (errors.INTERNAL_ERROR, errors.INTERNAL_ERROR, 500),
    ],
)
def test_a_failure_of_the_baseline_is_named_so(reason: Reason, named: Reason, status: int) -> None:
    script = Script(failure_to_baseline=True)
    script.start(request_head())
    assert script.connect_failed(reason) == [f"down.head {status}", "down.body", "down.end"]
    assert script.down.decision == f"baseline; reason={named}"
    script.assert_finished(named, status)


def test_a_failure_to_connect_before_the_body_was_read() -> None:
    """Reading goes on, so that the connection notices its end; the answer is the connection's last."""
    script = Script()
    script.start(request_head(TAGGED, UPLOAD, method="POST"))
    assert script.connect_failed() == ["down.resume", "down.head 503 last", "down.body", "down.end"]
    assert script.down.pauses == 0


def test_a_body_that_waited_whole_does_not_cost_the_connection() -> None:
    script = Script()
    script.start(request_head(TAGGED, UPLOAD, method="POST"))
    script.down.on_resume = lambda: script.exchange.request_end(End())
    assert script.connect_failed() == ["down.resume", "down.head 503", "down.body", "down.end"]


def test_a_bad_body_that_waited_is_answered_once() -> None:
    """Reading on shows a fault: the downstream says so and answers by itself. That must be the only answer."""
    script = Script()
    script.start(request_head(TAGGED, "Transfer-Encoding: chunked", method="POST"))
    script.down.on_resume = lambda: script.exchange.downstream_failed(errors.BAD_REQUEST)
    assert script.connect_failed() == ["down.resume"]
    script.assert_finished(errors.BAD_REQUEST, 0)


def test_a_bad_body_behind_a_new_connection() -> None:
    script = Script()
    script.start(request_head(TAGGED, "Transfer-Encoding: chunked", method="POST"))
    script.down.on_resume = lambda: script.exchange.downstream_failed(errors.BAD_REQUEST)
    assert script.connected() == ["up(box:1).head", "down.resume", "up(box:1).cancel"]
    script.assert_finished(errors.BAD_REQUEST, 0)


# --- --on-sandbox-failure baseline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [errors.DESTINATION_REFUSED, errors.OUT_OF_FILES, errors.INTERNAL_ERROR])
def test_no_fall_back_from_what_is_no_failure_of_the_sandbox(reason: Reason) -> None:
    """The table breaks a rule, or we lack something; that is not a sandbox that happens to be down."""
    script = Script(failure_to_baseline=True)
    script.start(request_head(TAGGED))
    status = reason.status
    assert script.connect_failed(reason) == [f"down.head {status}", "down.body", "down.end"]
    script.assert_finished(reason, status)


def test_fall_back_where_no_destination_answers() -> None:
    script = Script(failure_to_baseline=True)
    script.start(request_head(TAGGED, "X: y"))
    assert script.connect_failed() == ["connect base:1"]
    script.connected()
    assert script.up.lines == [b"GET / HTTP/1.1", b"Host: location", TAGGED.encode(), b"X: y"]
    script.response_head()
    script.response_end()
    assert script.down.decision == "baseline; reason=sandbox_unreachable"
    script.assert_finished(errors.SANDBOX_UNREACHABLE, 200)
    assert script.finishes[0][0] == "baseline"
    assert script.metrics.upstream_failures == {("sandbox", "pr-1", errors.SANDBOX_UNREACHABLE.name): 1}


def test_fall_back_where_the_route_has_no_destination() -> None:
    script = Script(route_table(), failure_to_baseline=True)
    assert script.start(request_head(TAGGED)) == ["connect base:1"]
    script.connected()
    assert HOP not in script.up.lines
    script.response_head()
    assert script.down.decision == "baseline; reason=no_destination"


def test_the_baseline_may_fail_too() -> None:
    script = Script(failure_to_baseline=True)
    script.start(request_head(TAGGED))
    script.connect_failed()
    assert script.connect_failed()[0] == "down.head 503"
    assert script.down.decision == "baseline; reason=baseline_unreachable"
    details = 'details="baseline_unreachable: base:1"'
    assert script.down.proxy_status == f"pointsman; error=connection_refused; {details}"
    script.assert_finished(errors.BASELINE_UNREACHABLE, 503)


@pytest.mark.parametrize("is_allowed", [False, True])
@pytest.mark.parametrize("strict", ["X: y", "tracestate: sd-strict=1"])
def test_no_fall_back_unless_allowed_and_not_strict(is_allowed: bool, strict: str) -> None:
    falls_back = is_allowed and strict == "X: y"
    script = Script(failure_to_baseline=is_allowed)
    script.start(request_head(TAGGED, strict))
    assert (script.connect_failed() == ["connect base:1"]) == falls_back
    script = Script(route_table(), failure_to_baseline=is_allowed)
    assert (script.start(request_head(TAGGED, strict)) == ["connect base:1"]) == falls_back
    if not falls_back:
        script.assert_finished(errors.NO_DESTINATION, 503)


def test_no_fall_back_for_another_port_or_a_dead_baseline() -> None:
    script = Script(route_table(SANDBOX, port=9), failure_to_baseline=True)
    assert script.start(request_head(TAGGED))[0] == "down.head 503"
    assert script.down.decision == "sandbox=pr-1; reason=port_not_mapped"


@pytest.mark.parametrize("reason", [errors.UPSTREAM_CLOSED, errors.UPSTREAM_INVALID, errors.UPSTREAM_TIMEOUT])
def test_no_fall_back_once_bytes_were_sent(reason: Reason) -> None:
    script = Script(failure_to_baseline=True)
    script.start(request_head(TAGGED))
    script.connected()
    assert script.upstream_failed(reason) == [f"down.head {reason.status}", "down.body", "down.end"]


def test_no_fall_back_behind_a_retry() -> None:
    """SPEC 4: "only before any byte was sent". The stale connection got the whole request."""
    script = Script(failure_to_baseline=True, idle=[SANDBOX])
    script.start(request_head(TAGGED))
    script.upstream_failed(errors.UPSTREAM_CLOSED)
    assert script.connect_failed() == ["down.head 503", "down.body", "down.end"]
    script.assert_finished(errors.SANDBOX_UNREACHABLE, 503)


# --- a stale pooled connection -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_an_idempotent_request_is_sent_again_once(method: str) -> None:
    script = Script(idle=[SANDBOX])
    script.start(request_head(TAGGED, method=method))
    first = script.up.lines
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["connect box:1"]
    script.connected()
    assert script.up.lines == first
    assert script.metrics.upstream_retries == 1
    script.response_head()
    script.response_end()
    script.assert_finished(errors.ROUTE, 200)


def test_so_is_the_request_for_a_tunnel_over_http2() -> None:
    """To an HTTP/1.1 upstream it is a GET, whatever its method is called in HTTP/2."""
    script = Script(idle=[BASELINE])
    script.start(connect_head())
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["connect base:1"]


def test_a_retry_goes_to_a_new_connection_even_if_others_are_idle() -> None:
    script = Script(idle=[SANDBOX, SANDBOX])
    script.start(request_head(TAGGED))
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["connect box:1"]


def test_a_second_failure_is_final() -> None:
    script = Script(idle=[SANDBOX])
    script.start(request_head(TAGGED))
    script.upstream_failed(errors.UPSTREAM_CLOSED)
    script.connected()
    script.up.is_reused = True  # never so, but the count must do by itself
    assert script.upstream_failed(errors.UPSTREAM_CLOSED)[0] == "down.head 502"
    assert script.metrics.upstream_failures == {("sandbox", "pr-1", errors.UPSTREAM_CLOSED.name): 2}
    script.assert_finished(errors.UPSTREAM_CLOSED, 502)


NEVER_REPEATED = {
    "not idempotent": (request_head(TAGGED, method="POST"), errors.UPSTREAM_CLOSED),
    "not idempotent, own method": (request_head(TAGGED, method="PURGE"), errors.UPSTREAM_CLOSED),
    "PATCH": (request_head(TAGGED, method="PATCH"), errors.UPSTREAM_CLOSED),
    "a body": (request_head(TAGGED, UPLOAD, method="PUT"), errors.UPSTREAM_CLOSED),
    "a chunked body": (request_head(TAGGED, "Transfer-Encoding: chunked", method="PUT"), errors.UPSTREAM_CLOSED),
    "half a response head": (request_head(TAGGED), errors.UPSTREAM_INVALID),
    "a timeout": (request_head(TAGGED), errors.UPSTREAM_TIMEOUT),
}


@pytest.mark.parametrize("case", NEVER_REPEATED)
def test_what_may_have_been_executed_is_never_repeated(case: str) -> None:
    head, reason = NEVER_REPEATED[case]
    script = Script(idle=[SANDBOX])
    script.start(head)
    assert script.upstream_failed(reason)[0].startswith(f"down.head {reason.status}")
    assert (script.pool.pending, script.metrics.upstream_retries) == ([], 0)


def test_nothing_is_repeated_on_a_fresh_connection() -> None:
    script = tagged()
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["down.head 502", "down.body", "down.end"]


def test_nothing_is_repeated_behind_the_head() -> None:
    script = Script(idle=[SANDBOX])
    script.start(request_head(TAGGED))
    script.response_head()
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["down.abort"]


def test_a_retry_that_finds_no_connection() -> None:
    script = Script(idle=[SANDBOX])
    script.start(request_head(TAGGED))
    script.upstream_failed(errors.UPSTREAM_CLOSED)
    assert script.connect_failed() == ["down.head 503", "down.body", "down.end"]
    script.assert_finished(errors.SANDBOX_UNREACHABLE, 503)


# --- the upstream breaks off ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [errors.UPSTREAM_CLOSED, errors.UPSTREAM_INVALID])
@pytest.mark.parametrize("body", [b"", b"o"])
def test_a_truncated_response_is_aborted(reason: Reason, body: bytes) -> None:
    script = tagged()
    script.response_head()
    if body:
        script.response_body(body)
    assert script.upstream_failed(reason) == ["down.abort"]
    script.assert_finished(errors.UPSTREAM_TRUNCATED, 200)
    assert script.metrics.upstream_failures == {("sandbox", "pr-1", reason.name): 1}


@pytest.mark.parametrize(
    "reason",
    [errors.UPSTREAM_CLOSED, errors.UPSTREAM_INVALID, errors.UPSTREAM_HEAD_TOO_LARGE, errors.UPSTREAM_TIMEOUT],
)
def test_no_response_head_is_answered(reason: Reason) -> None:
    script = tagged()
    assert script.upstream_failed(reason) == [f"down.head {reason.status}", "down.body", "down.end"]
    assert script.down.decision == f"sandbox=pr-1; reason={reason}"
    details = f'details="{reason}: pr-1, box:1"'
    assert script.down.proxy_status == f"pointsman; error={reason.proxy_error}; {details}"
    assert script.down.body == f"pointsman: {reason}: {reason.text}\n".encode()
    script.assert_finished(reason, reason.status)


def test_a_failure_while_the_request_is_sent() -> None:
    """The answer is the connection's last: the rest of the request is not read."""
    script = tagged(UPLOAD, method="POST")
    script.request_body(b"ab")
    assert script.upstream_failed(errors.UPSTREAM_CLOSED) == ["down.head 502 last", "down.body", "down.end"]


# --- the downstream leaves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [errors.DOWNSTREAM_CLOSED, errors.BAD_REQUEST, errors.DRAINED])
@pytest.mark.parametrize("has_head", [False, True])
def test_the_upstream_is_cancelled(reason: Reason, has_head: bool) -> None:
    script = tagged()
    if has_head:
        script.response_head()
    assert script.does(lambda: script.exchange.downstream_failed(reason)) == ["up(box:1).cancel"]
    script.assert_finished(reason, 200 if has_head else 0)


def test_left_while_connecting() -> None:
    script = Script(route_table(SANDBOX, SANDBOX_2))
    script.start(request_head(TAGGED))
    assert script.does(script.exchange.downstream_failed) == []
    assert script.connect_failed() == []
    script.assert_finished(errors.DOWNSTREAM_CLOSED, 0)
    assert not script.metrics.upstream_failures


@pytest.mark.parametrize("has_ended", [False, True])
def test_nothing_counts_twice(has_ended: bool) -> None:
    """Whatever else is reported of an exchange that is over."""
    script = tagged()
    script.response_head()
    if has_ended:
        script.response_end()
    else:
        script.does(script.exchange.downstream_failed)
    exchange = script.exchange
    for event in (
        exchange.downstream_failed,
        lambda: exchange.upstream_failed(errors.UPSTREAM_CLOSED),
        lambda: exchange.connect_failed(errors.SANDBOX_UNREACHABLE),
        exchange.downstream_is_full,
        exchange.downstream_is_free,
        lambda: exchange.request_body(b"late"),
        lambda: exchange.request_end(End()),
    ):
        assert script.does(event) == []
    assert len(script.finishes) == 1
    assert not script.metrics.upstream_failures


# --- nothing moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "is_sent", "reason"),
    [
        ((), True, errors.UPSTREAM_TIMEOUT),
        ((UPLOAD,), True, errors.UPSTREAM_TIMEOUT),
        ((UPLOAD,), False, errors.REQUEST_TIMEOUT),
    ],
)
def test_a_stream_timeout_before_the_head(lines: tuple[str, ...], is_sent: bool, reason: Reason) -> None:
    script = tagged(*lines, method="POST")
    if lines and is_sent:
        script.request_body(b"abcd")
        script.request_end()
    answer = [f"down.head {reason.status}" + " last" * (not is_sent), "down.body", "down.end"]
    assert script.does(script.exchange.stream_timed_out) == ["up(box:1).cancel", *answer]
    script.assert_finished(reason, reason.status)


def test_a_stream_timeout_behind_the_head() -> None:
    script = tagged()
    script.response_head()
    assert script.does(script.exchange.stream_timed_out) == ["up(box:1).cancel", "down.abort"]
    script.assert_finished(errors.STREAM_TIMEOUT, 200)


def test_a_stream_timeout_without_a_connection() -> None:
    script = Script()
    script.start(request_head(TAGGED, UPLOAD, method="POST"))
    answer = ["down.head 408 last", "down.body", "down.end"]
    assert script.does(script.exchange.stream_timed_out) == ["down.resume", *answer]
    assert script.connect_failed() == []
    script.assert_finished(errors.REQUEST_TIMEOUT, 408)


def test_when_the_upstream_moved_last() -> None:
    script = Script()
    script.start(request_head())
    assert script.exchange.upstream_active_at_s == 0
    script.connected()
    assert script.exchange.upstream_active_at_s == script.up.active_at_s
    script.response_head()
    script.response_end()
    assert script.exchange.upstream_active_at_s == 0


# --- our own answers -----------------------------------------------------------------------------------------------

HOPPED = f"{HOP.decode()}"
REFUSED: dict[str, tuple[tuple[str, ...], int, str, str]] = {
    "loop": ((HOPPED,), 508, "none; reason=loop", "loop"),
    "strict without a key": (("baggage: sd-strict=1",), 424, "none; reason=no_key", "no_key"),
    "strict, no key": (("baggage: sd-routing-key=-,sd-strict=1",), 424, "none; reason=invalid_key", "invalid_key"),
    "strict and unknown": (("baggage: sd-routing-key=x,sd-strict=1",), 424, "none; reason=unknown_key", "unknown_key"),
    "gone": (("baggage: sd-routing-key=gone",), 424, "none; reason=gone_key", "gone_key"),
    "ambiguous": ((TAGGED, "baggage: sd-routing-key=x,sd-strict=1"), 424, "none; reason=ambiguous_key", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_the_decision(case: str) -> None:
    lines, status, decision, reason = REFUSED[case]
    script = Script()
    assert script.start(request_head(*lines)) == [f"down.head {status}", "down.body", "down.end"]
    assert script.down.decision == decision
    assert script.down.proxy_status.endswith(f'; details="{reason or "ambiguous_key"}"')
    assert [finish[2] for finish in script.finishes] == [status // 100]
    assert (b"(the request is strict)" in script.down.body) == ("sd-strict" in str(lines))


def test_no_destination() -> None:
    script = Script(route_table())
    script.start(request_head(TAGGED))
    assert script.down.decision == "sandbox=pr-1; reason=no_destination"
    assert script.down.proxy_status == 'pointsman; error=destination_unavailable; details="no_destination: pr-1"'


def test_no_table_yet() -> None:
    script = Script(table=None)
    assert script.start(request_head(TAGGED))[0] == "down.head 503"
    assert script.down.decision == "none; reason=not_synced"
    script = Script(table=None)
    assert script.start(request_head()) == ["connect base:1"], "without a key it is the baseline's, synced or not"


def test_a_connection_of_our_own_is_a_loop() -> None:
    """Whatever was decided: it would spin."""
    for lines in ((), (TAGGED,), ("baggage: sd-routing-key=gone",)):
        script = Script(is_looped=True)
        assert script.start(request_head(*lines)) == ["down.head 508", "down.body", "down.end"]
        assert script.down.decision == "none; reason=loop"
        assert script.down.proxy_status.startswith("pointsman; error=proxy_loop_detected; ")
        script.assert_finished(errors.LOOP, 508)


def test_an_answer_to_head_has_no_body() -> None:
    script = Script()
    assert script.start(request_head("baggage: sd-routing-key=gone", method="HEAD")) == ["down.head 424", "down.end"]
    assert script.down.values(b"content-length") != ["0"]


def test_an_answer_before_the_body_is_the_connections_last() -> None:
    script = Script()
    calls = script.start(request_head("baggage: sd-routing-key=gone", UPLOAD, method="POST"))
    assert calls == ["down.head 424 last", "down.body", "down.end"]
    assert script.down.head is not None
    assert script.down.head.body == len(script.down.body)
    assert script.down.values(b"content-length") == [str(len(script.down.body))]


# --- the decision header -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "baseline; reason=no_key"),
        ((TAGGED,), "sandbox=pr-1; reason=route"),
        (("baggage: sd-routing-key=-",), "baseline; reason=invalid_key"),
        (("baggage: sd-routing-key=nobody",), "baseline; reason=unknown_key"),
        (("baggage: sd-routing-key=alive",), "baseline; reason=not_forked"),
        (("baggage: sd-routing-key=x", TAGGED), "sandbox=pr-1; reason=route; note=ambiguous_key"),
    ],
)
def test_the_decision_header_of_what_is_forwarded(lines: tuple[str, ...], expected: str) -> None:
    script = Script()
    script.start(request_head(*lines))
    script.connected()
    script.response_head(103)
    script.response_head()
    assert script.down.decision == expected


@pytest.mark.parametrize("key", ["key", "gone"])
def test_no_decision_header_unless_asked_for(key: str) -> None:
    script = Script(decision_field=False)
    script.start(request_head(f"baggage: sd-routing-key={key}"))
    if key == "key":
        script.connected()
        script.response_head()
    assert script.down.values(b"pointsman-decision") == []


# --- any order of events -------------------------------------------------------------------------------------------


class Play:
    """Random events, each legal by what the interfaces promise."""

    def __init__(self, script: Script, is_chunked: bool) -> None:
        self.script = script
        self.left = 3 if is_chunked else 0  # events of the request's body
        self.is_down_full = False
        self.is_up_full: RecordingUpstream | None = None

    @property
    def upstream(self) -> RecordingUpstream | None:
        """The one that works for the exchange."""
        used = self.script.used
        return used[-1] if used and used[-1].has_request else None

    def legal(self, *, may_end: bool = True) -> list[Callable[[], object]]:
        script = self.script
        exchange, down, upstream = script.exchange, script.down, self.upstream
        events: list[Callable[[], object]] = []
        if script.pool.pending:
            events += [
                script.connect_failed,
                lambda: script.connect_failed(errors.SANDBOX_TIMEOUT),
                lambda: script.connect_failed(errors.DESTINATION_REFUSED),
            ]
            if not exchange.is_over:
                events.append(script.connected)
        if exchange.is_over:
            return events
        events.append(self.toggle_down)
        if may_end:
            events += [exchange.downstream_failed, exchange.stream_timed_out]
        if self.left and not down.pauses:
            events.append(self.request)
        if upstream is not None:
            reasons = (errors.UPSTREAM_CLOSED, errors.UPSTREAM_CLOSED, errors.UPSTREAM_INVALID, errors.UPSTREAM_TIMEOUT)
            events += [partial(script.upstream_failed, reason) for reason in reasons]
            events += [self.toggle_up, exchange.flush]
            if not upstream.pauses:
                if down.head is None:
                    events += [lambda: script.response_head(103), script.response_head]
                    events.append(lambda: script.response_head(503, CHUNKED))
                else:
                    events += [script.response_body, script.response_body, script.response_end]
        return events

    def request(self) -> None:
        self.left -= 1
        if self.left:
            self.script.request_body()
        else:
            self.script.request_end()

    def toggle_down(self) -> None:
        exchange = self.script.exchange
        (exchange.downstream_is_free if self.is_down_full else exchange.downstream_is_full)()
        self.is_down_full = not self.is_down_full

    def toggle_up(self) -> None:
        exchange, upstream = self.script.exchange, self.upstream
        if self.is_up_full is upstream:
            self.is_up_full = None
            exchange.upstream_is_free()
        else:
            self.is_up_full = upstream
            exchange.upstream_is_full()


@st.composite
def scripts(draw: st.DrawFn) -> Play:
    usual = route_table(SANDBOX, SANDBOX_2)
    tables = [usual, usual, usual, None, route_table(), route_table(SANDBOX), route_table(SANDBOX, port=9)]
    script = Script(
        table=draw(st.sampled_from(tables)),
        failure_to_baseline=draw(st.booleans()),
        idle=draw(st.sets(st.sampled_from([BASELINE, SANDBOX, SANDBOX_2]))),
        policy=Policy(draw(st.booleans()), draw(st.booleans())),
        is_looped=draw(st.integers(0, 9)) == 0,
    )
    key = draw(st.sampled_from(["key", "key", "key", "key", "gone", "nobody", "-", "key,sd-strict=1"]))
    is_chunked = draw(st.booleans())
    lines = [f"baggage: sd-routing-key={key}"] * draw(st.sampled_from([1, 1, 1, 0, 2])) + [
        "Transfer-Encoding: chunked"
    ] * is_chunked
    script.start(request_head(*lines, method=draw(st.sampled_from(["GET", "POST", "HEAD"]))))
    return Play(script, is_chunked)


@settings(max_examples=300, deadline=None)
@given(scripts(), st.lists(st.integers(0, 1000), max_size=40))
def test_any_order_of_events_ends_once(play: Play, choices: list[int]) -> None:
    """Nothing is raised, nothing is sent after the end (the kit checks it), and each exchange is counted once."""
    script = play.script
    exchange, down, metrics = script.exchange, script.down, script.metrics
    for choice in choices:
        legal = play.legal()
        if not legal:
            break
        legal[choice % len(legal)]()
        assert len(script.finishes) == exchange.is_over
        assert len([up for up in script.used if up.has_request]) <= 1
        assert exchange.is_over or not down.is_over
        if exchange.is_over:
            assert play.upstream is None
    if not exchange.is_over:
        assert play.upstream is not None or script.pool.pending, "nobody works for it: it hangs"
        exchange.downstream_failed()
    while script.pool.pending:
        assert script.connect_failed() == []
    assert len(script.finishes) == 1
    assert (down.head.status if down.head is not None else 0) // 100 == script.finishes[0][2]
    assert metrics.upstream_retries <= 1
    assert all(up.endpoint == BASELINE or up.lines.count(HOP) == 1 for up in script.used)
    assert all(up.endpoint != BASELINE or HOP not in up.lines for up in script.used)


@settings(max_examples=300, deadline=None)
@given(scripts(), st.lists(st.integers(0, 1000), max_size=40))
def test_a_request_is_read_while_its_upstream_has_room(play: Play, choices: list[int]) -> None:
    """Whoever is paused has been paused by somebody: else the request hangs."""
    script = play.script
    for choice in choices:
        legal = play.legal(may_end=False)
        if script.exchange.is_over or not legal:
            break
        legal[choice % len(legal)]()
        if not script.exchange.is_over and script.used and play.upstream is script.used[-1] and play.left:
            assert script.down.pauses == (play.is_up_full is play.upstream)


# --- tunnels -------------------------------------------------------------------------------------------------------

OFFER = ("Connection: Upgrade", "Upgrade: websocket")


def tunnel() -> Script:
    script = Script(idle=(SANDBOX,))
    head = request_head(TAGGED, *OFFER)
    head.upgrade = [b"websocket"]
    script.start(head)
    script.does(lambda: script.exchange.response_head(ResponseHead(101, [b"HTTP/1.1 101 x"], UNTIL_CLOSE, False)))
    script.up.is_request_complete = False
    assert script.down.head is not None
    assert (script.down.head.status, script.down.is_last, script.exchange.request_ended) == (101, False, False)
    return script


def test_a_tunnel_passes_bytes_both_ways() -> None:
    script = tunnel()
    assert script.does(lambda: script.exchange.request_body(b"a")) == ["up(box:1).body"]
    assert script.does(lambda: script.exchange.response_body(b"b")) == ["down.body"]


@pytest.mark.parametrize("first", ["request", "response"])
def test_a_tunnel_is_over_when_both_sides_are(first: str) -> None:
    script = tunnel()
    ends = {
        "request": lambda: script.exchange.request_end(END),
        "response": lambda: script.exchange.response_end(END),
    }
    script.does(ends.pop(first))
    assert not script.exchange.is_over
    assert script.finishes == []
    ((_, other),) = ends.items()
    script.does(other)
    assert script.exchange.is_over
    assert script.finishes == [("sandbox", "route", 1)]


def test_a_tunnels_upstream_that_hears_no_more_had_said_all() -> None:
    script = tunnel()
    script.does(lambda: script.exchange.response_end(END))
    script.does(lambda: script.exchange.upstream_failed(errors.UPSTREAM_CLOSED))
    assert script.finishes == [("sandbox", "route", 1)]
    assert not script.down.is_aborted


def test_a_tunnels_upstream_that_dies() -> None:
    script = tunnel()
    script.does(lambda: script.exchange.upstream_failed(errors.UPSTREAM_CLOSED))
    assert script.down.is_aborted
    assert script.finishes == [("sandbox", "upstream_truncated", 1)]


def test_a_refused_upgrade_is_the_last_request() -> None:
    script = Script(idle=(SANDBOX,))
    head = request_head(TAGGED, *OFFER)
    head.upgrade = [b"websocket"]
    script.start(head)
    script.response_head(403)
    assert script.down.is_last


def test_whether_a_tunnel_is_still_routed() -> None:
    script = tunnel()
    assert script.exchange.is_routed
    assert script.place is not None
    script.place.view = route_table(Endpoint("other", 1), SANDBOX).view(WORKLOAD)
    assert script.exchange.is_routed
    for table in (route_table(Endpoint("other", 1)), RoutingTable("2", [])):
        script.place.view = table.view(WORKLOAD)
        assert not script.exchange.is_routed
    script.does(script.exchange.route_ended)
    assert script.used[0].is_cancelled
    assert script.down.is_aborted
    assert script.finishes == [("sandbox", "route_removed", 1)]


def test_our_own_answer_to_an_upgrade_is_the_last() -> None:
    """What follows may be meant for the tunnel."""
    script = Script()
    head = request_head("baggage: sd-routing-key=gone", *OFFER)
    head.upgrade = [b"websocket"]
    script.start(head)
    assert script.down.is_last
