"""One downstream HTTP/2 connection: streams to exchanges and back, its limits, its end."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, END, UNTIL_CLOSE, ResponseHead
from proxy.codec.h1.reader import HeadLimits
from tests.support.exchange import HOP
from tests.support.h2script import (
    HEADERS,
    PREFACE,
    H2DownstreamScript,
    data,
    frame,
    goaway,
    headers,
    http2_response,
    ping,
    request,
    rst,
    settings,
    window,
)
from tests.support.net import DownstreamScript

pytestmark = pytest.mark.usefixtures("loop")

TAGGED = ("baggage", "sd-routing-key=key")
CONNECT = request(1, (":protocol", "websocket"), method="CONNECT", end=False)
ALIVE, DRAINING = "PING '\\x00\\x00alive\\x00'", "PING 'draining'"


def tunnel() -> H2DownstreamScript:
    down = H2DownstreamScript()
    down.send(CONNECT)
    down.up.is_request_complete = False
    down.up.exchange.response_head(ResponseHead(101, [b"HTTP/1.1 101 x"], UNTIL_CLOSE, True))
    assert down.peer.take() == ["HEADERS 1 :status=200"]
    return down


# --- turning to HTTP/2 ---------------------------------------------------------------------------------------------


def test_the_connection_is_counted_once() -> None:
    down = H2DownstreamScript()
    assert (len(down.connections), down.metrics.downstream_connections) == (1, 1)
    down.transport.lose()
    assert (len(down.connections), down.metrics.downstream_connections) == (0, 0)
    assert down.metrics.downstream_connections_total == 1


def test_what_came_behind_the_preface_is_read() -> None:
    down = H2DownstreamScript(hello=PREFACE + settings() + request(1))
    assert down.targets == ["/"]


def test_only_the_first_message_may_be_the_preface() -> None:
    down = DownstreamScript()
    down.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    down.up.answer()
    down.transport.take()
    down.receive(PREFACE + settings())
    assert down.transport.take().startswith(b"HTTP/1.1 505 ")


def test_what_comes_behind_the_end_in_the_same_piece_is_not_read() -> None:
    """Its answer could not be written any more."""
    down = H2DownstreamScript()
    down.transport.receive(goaway(0) + request(1))
    assert (down.used, down.transport.ending) == ([], "close")


# --- requests and answers ------------------------------------------------------------------------------------------


def test_each_stream_is_routed_by_itself() -> None:
    down = H2DownstreamScript()
    down.send(request(1, TAGGED, ("x-a", "1")), request(3, ("x-b", "2")))
    box, base = down.used
    assert [str(upstream.endpoint) for upstream in down.used] == ["box:1", "base:1"]
    hop = tuple(HOP.split(b": "))
    assert box.fields[4:] == [(b"baggage", b"sd-routing-key=key"), (b"x-a", b"1"), hop]
    assert base.fields[4:] == [(b"x-b", b"2")]
    base.answer(b"second")
    box.answer(b"first")
    assert [line for line in down.peer.take() if "DATA" in line] == ["DATA 3 end 'second'", "DATA 1 end 'first'"]
    down.assert_nothing_is_left()


def test_bodies_stream_both_ways() -> None:
    down = H2DownstreamScript()
    down.send(request(1, method="POST", end=False))
    down.send(data(1, b"ab"))
    down.up.head(CHUNKED)
    assert down.peer.take() == ["HEADERS 1 :status=200"]
    down.up.exchange.response_body(b"12")
    assert down.peer.take() == ["DATA 1 '12'"]
    down.send(data(1, b"cd"), headers(1, ("x-sum", "1"), end=True))
    assert (down.up.body, down.up.trailers) == (b"abcd", [b"x-sum: 1"])
    down.up.end(b"X-Sum: 2")
    assert down.peer.take() == ["HEADERS 1 end x-sum=2"]
    down.assert_nothing_is_left()


def test_interim_heads() -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    down.up.exchange.response_head(ResponseHead(103, [b"HTTP/1.1 103 x", b"Link: a"], 0, True))
    down.up.exchange.response_head(http2_response(("link", "b"), status=103))
    down.up.answer(b"")
    assert down.peer.take() == [
        "HEADERS 1 :status=103 link=a",
        "HEADERS 1 :status=103 link=b",
        "HEADERS 1 end :status=200 content-length=0",
    ]


def test_interim_heads_that_are_not_read() -> None:
    """They need no window, so those are left out that nobody reads."""
    down = H2DownstreamScript()
    down.send(request(1))
    down.transport.fill()
    for _ in range(1000):
        down.up.exchange.response_head(http2_response(("link", "x" * 1000), status=103))
    assert 60 < len(down.peer.take()) < 70
    down.transport.read_all()
    down.up.exchange.response_head(http2_response(("link", "b"), status=103))
    down.up.answer(b"")
    assert down.peer.take() == ["HEADERS 1 :status=103 link=b", "HEADERS 1 end :status=200 content-length=0"]


def test_head_requests() -> None:
    down = H2DownstreamScript()
    down.send(request(1, method="HEAD"))
    down.up.exchange.response_head(ResponseHead(200, [b"HTTP/1.1 200 x", b"Content-Length: 9"], 0, True))
    down.up.end()
    assert down.peer.take() == ["HEADERS 1 end :status=200 content-length=9"]


@pytest.mark.parametrize(("code", "told"), [(-1, "INTERNAL_ERROR"), (8, "CANCEL"), (11, "ENHANCE_YOUR_CALM")])
def test_an_answer_that_breaks_off(code: int, told: str) -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    down.up.head(5)
    down.up.has_request = False
    down.up.exchange.upstream_failed(errors.UPSTREAM_CLOSED, code)
    assert down.peer.take() == ["HEADERS 1 :status=200 content-length=5", f"RST 1 {told}"]
    down.assert_nothing_is_left()


def test_the_caller_gives_up() -> None:
    down = H2DownstreamScript()
    down.send(request(1), rst(1))
    assert down.calls == ["up(base:1).head", "up(base:1).cancel"]
    down.assert_nothing_is_left()


def test_the_caller_leaves() -> None:
    down = H2DownstreamScript()
    down.send(request(1), request(3))
    down.transport.receive_eof()
    assert down.transport.ending == "close"
    down.transport.lose()
    assert [upstream.is_cancelled for upstream in down.used] == [True, True]


def test_a_request_that_waits_for_a_connection() -> None:
    """Its body waits with it."""
    down = H2DownstreamScript()
    down.pool.is_connecting = True
    down.send(request(1, method="POST", end=False), data(1, b"ab"), data(1, b"c", end=True))
    assert not down.used
    down.pool.connected()
    assert (down.up.body, down.up.is_request_complete) == (b"abc", True)


def test_the_decision_is_told_where_asked_for() -> None:
    down = H2DownstreamScript(decision_field=True)
    down.send(request(1, TAGGED))
    down.up.answer(b"")
    (told,) = down.peer.take()
    assert "pointsman-decision=sandbox" in told


# --- refusing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (headers(1, (":method", "CONNECT"), (":authority", "a:1"), end=False), 405),
        (request(1, ("x", "y" * 2000)), 431),
        (request(1, *[("x", "y")] * 120), 431),
    ],
)
def test_an_answer_without_an_exchange(sent: bytes, status: int) -> None:
    down = H2DownstreamScript(limits=HeadLimits(max_bytes=1900), decision_field=True)
    head, body, *rest = down.send(sent)
    assert head.startswith(f"HEADERS 1 :status={status} ")
    assert "pointsman-decision=none" in head
    assert body.startswith("DATA 1 end ")
    assert rest == ["RST 1 NO_ERROR"] * (status == 405), "what else belongs to it is not wanted"
    assert not down.used
    assert sum(down.metrics.refused.values()) == 1
    down.assert_nothing_is_left()


def test_no_more_streams_than_announced() -> None:
    down = H2DownstreamScript()
    for number in range(1, 201, 2):
        down.send(request(number))
    assert down.send(request(201, method="POST", end=False), data(201, b"late")) == ["RST 201 REFUSED_STREAM"]
    assert down.send(rst(1), request(203)) == []
    assert len(down.used) == 101


def test_malformed_requests_are_counted() -> None:
    down = H2DownstreamScript()
    down.send(headers(1, ("x", "y"), end=True), headers(3, ("X", "y"), end=True))
    assert down.metrics.refused == {errors.BAD_REQUEST: 2}


def _answer_long(down: H2DownstreamScript) -> None:
    down.up.exchange.response_head(http2_response(("x", "y" * 1000), end=True))
    down.up.end()


def test_answers_that_nobody_reads() -> None:
    """Those without a body need no window: heads alone would fill the memory."""
    down = H2DownstreamScript()
    down.transport.high_mark = 65536
    number = 1
    while down.transport.ending == "open" and number < 20000:
        down.transport.receive(request(number, method="HEAD"))
        if down.transport.ending == "open":
            _answer_long(down)
        number += 2
    assert sum(map(len, down.transport.writes)) < 5_000_000
    assert down.transport.ending == "eof"


def test_a_caller_that_reads_late_is_no_such() -> None:
    down = H2DownstreamScript()
    down.transport.high_mark = 65536
    for number in range(1, 20001, 2):
        down.transport.receive(request(number, method="HEAD"))
        _answer_long(down)
        if number % 1000 == 1:
            down.transport.read_all()
    assert down.transport.ending == "open"


# --- tunnels -------------------------------------------------------------------------------------------------------


def test_a_tunnel() -> None:
    down = tunnel()
    assert down.metrics.tunnels == 1
    down.send(data(1, b"ping"))
    down.up.exchange.response_body(b"pong")
    assert (down.up.body, down.peer.take()) == (b"ping", ["DATA 1 'pong'"])
    down.send(data(1, b"", end=True))
    assert down.up.is_request_complete
    assert down.metrics.tunnels == 1
    down.up.end()
    assert down.peer.take() == ["DATA 1 end ''"]
    assert down.metrics.tunnels == 0
    down.assert_nothing_is_left()


def test_what_comes_before_the_tunnel_stands_waits() -> None:
    down = H2DownstreamScript()
    down.send(CONNECT, data(1, b"early"))
    assert down.up.body == b""
    down.up.is_request_complete = False
    down.up.exchange.response_head(ResponseHead(101, [b"HTTP/1.1 101 x"], UNTIL_CLOSE, True))
    assert down.up.body == b"early"


def test_a_refused_tunnel_drops_what_came_early() -> None:
    """CHECKLIST 38."""
    down = H2DownstreamScript()
    down.send(CONNECT, data(1, b"GET / HTTP/1.1\r\n\r\n"))
    down.up.head(status=403)
    down.up.exchange.response_body(b"no")
    down.up.end()
    assert down.peer.take() == ["HEADERS 1 :status=403 content-length=2", "DATA 1 end 'no'", "RST 1 NO_ERROR"]
    assert down.up.body == b""
    down.assert_nothing_is_left()


def test_the_upstream_ends_a_tunnel_first() -> None:
    down = tunnel()
    down.up.exchange.response_end(END)
    assert down.peer.take() == ["DATA 1 end ''"]
    assert down.metrics.tunnels == 1
    down.send(data(1, b"x", end=True))
    assert (down.up.body, down.up.is_request_complete) == (b"x", True)
    down.up.has_request = False
    assert down.metrics.tunnels == 0
    down.assert_nothing_is_left()


def test_a_tunnel_whose_upstream_says_all_and_goes() -> None:
    """The caller is told; else it would send on, to nobody."""
    down = tunnel()
    down.up.exchange.response_end(END)
    assert down.peer.take() == ["DATA 1 end ''"]
    down.up.has_request = False
    down.up.exchange.upstream_failed(errors.UPSTREAM_CLOSED)
    assert down.peer.take() == ["RST 1 NO_ERROR"]
    assert down.metrics.tunnels == 0
    down.assert_nothing_is_left()


# --- time ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_ends() -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    down.up.answer()
    down.peer.take()
    down.wait(60)
    assert down.transport.ending == "open"
    down.wait(1)
    assert down.peer.take() == ["GOAWAY 1 NO_ERROR"]
    assert down.transport.ending == "close"


@pytest.mark.parametrize("hello", [PREFACE, PREFACE[:20], PREFACE + settings()[:5]])
def test_a_start_that_does_not_come(hello: bytes) -> None:
    down = H2DownstreamScript.__new__(H2DownstreamScript)
    DownstreamScript.__init__(down)
    down.receive(hello)
    down.wait(10)
    assert down.transport.ending == "open"
    down.wait(1)
    assert down.transport.ending == "eof"
    assert down.metrics.refused == {errors.REQUEST_TIMEOUT: 1}


def test_a_head_that_takes_too_long() -> None:
    down = H2DownstreamScript()
    down.send(request(1), frame(HEADERS, 1, 3, b"\0"))
    down.wait(10)
    assert down.transport.ending == "open"
    down.wait(1)
    assert down.peer.take() == ["GOAWAY 1 NO_ERROR"]
    assert down.up.is_cancelled
    assert down.metrics.refused == {errors.REQUEST_TIMEOUT: 1}


def test_who_waits_is_asked_whether_it_is_there() -> None:
    down = H2DownstreamScript()
    down.send(request(1, ("content-type", "application/grpc"), method="POST", end=False))
    down.wait(30)
    assert down.peer.take() == []
    down.wait(1)
    assert down.peer.take() == [ALIVE]
    down.wait(10)
    assert down.peer.take() == [], "asked once"
    down.wait(10)
    assert down.transport.ending == "open"
    down.wait(1)
    assert down.transport.ending == "abort"


def test_whoever_answers_is_there() -> None:
    down = H2DownstreamScript()
    down.send(request(1, ("content-type", "application/grpc"), method="POST", end=False))
    down.wait(31)
    assert down.peer.take() == [ALIVE]
    down.wait(10)
    down.send(ping(b"\0\0alive\0", ack=True))
    down.wait(15)
    assert (down.peer.take(), down.transport.ending) == ([], "open")


def test_a_stream_where_nothing_moves() -> None:
    down = H2DownstreamScript()
    down.send(request(1, method="POST", end=False))
    down.up.head(CHUNKED)
    down.peer.take()
    down.wait(31)
    assert down.peer.take() == ["RST 1 INTERNAL_ERROR", ALIVE]
    assert down.up.is_cancelled
    down.assert_nothing_is_left()


def test_a_grpc_stream_may_be_silent_for_longer() -> None:
    down = H2DownstreamScript()
    down.send(request(1, ("content-type", "application/grpc"), method="POST", end=False))
    for _ in range(8):
        down.wait(10)
        down.send(ping(b"\0\0alive\0", ack=True))
    assert down.h2.streams
    down.wait(11)
    assert not down.h2.streams


def test_an_answer_that_is_read_slowly() -> None:
    down = H2DownstreamScript()
    down.send(settings((4, 0)), request(1))
    down.up.answer()
    for _ in range(2):
        down.wait(20)
        down.send(ping(b"\0\0alive\0", ack=True))
        assert down.h2.streams
        assert "RST 1 CANCEL" not in down.send(window(1, 1))
    down.assert_nothing_is_left()


def test_an_answer_that_is_not_read() -> None:
    down = H2DownstreamScript()
    down.send(settings((4, 0)), request(1))
    down.up.answer()
    down.wait(31)
    assert "RST 1 CANCEL" in down.peer.take()
    down.assert_nothing_is_left()


def test_the_last_words_are_read_or_not() -> None:
    """A peer that goes on sending does not keep a broken connection."""
    down = H2DownstreamScript()
    down.send(data(9, b"x"))
    assert down.transport.ending == "eof"
    for _ in range(3):
        down.transport.receive(ping())
        down.wait(1)
    assert down.transport.ending == "abort"


def test_a_closing_connection_has_time_for_what_was_written() -> None:
    down = H2DownstreamScript()
    down.send(request(1), goaway(0))
    down.up.answer(b"x" * 60000)
    assert down.transport.ending == "close"
    down.wait(30)
    assert down.transport.ending == "close"
    down.wait(1)
    assert down.transport.ending == "abort"


# --- draining ------------------------------------------------------------------------------------------------------


def drained(down: H2DownstreamScript) -> list[str]:
    down.h2.drain(down.connections.now_s)
    return down.peer.take()


def test_a_drain_in_two_steps() -> None:
    """Section 6.8: requests that were under way are served, and later ones go elsewhere."""
    down = H2DownstreamScript()
    down.send(request(1))
    assert drained(down) == ["GOAWAY 2147483647 NO_ERROR", DRAINING]
    assert drained(down) == []
    assert down.send(request(3)) == []
    assert down.send(ping(b"draining", ack=True)) == ["GOAWAY 3 NO_ERROR"]
    assert down.send(request(5, method="POST", end=False), data(5, b"x"), window(5, 1)) == []
    assert len(down.used) == 2
    for upstream in list(down.used):
        upstream.answer(b"")
    assert down.peer.take() == [
        "HEADERS 1 end :status=200 content-length=0",
        "HEADERS 3 end :status=200 content-length=0",
    ]
    assert down.transport.ending == "close"


def test_a_drain_of_a_peer_that_does_not_answer() -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    drained(down)
    down.wait(1.1)
    assert drained(down) == ["GOAWAY 1 NO_ERROR"]
    assert down.transport.ending == "open"
    down.up.answer(b"")
    assert down.transport.ending == "close"


def test_an_idle_connection_drains_at_once() -> None:
    down = H2DownstreamScript()
    drained(down)
    assert down.send(ping(b"draining", ack=True)) == ["GOAWAY 0 NO_ERROR"]
    assert down.transport.ending == "close"


def test_a_ping_is_no_answer_to_a_drain_that_is_none() -> None:
    down = H2DownstreamScript()
    assert down.send(ping(b"draining", ack=True)) == []


def test_cut() -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    down.h2.cut()
    assert (down.up.is_cancelled, down.transport.ending) == (True, "abort")
    assert down.up.exchange.reason is errors.DRAINED
