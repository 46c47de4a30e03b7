"""Streams whose two directions end at different times, and what still waits for its reader then."""

from __future__ import annotations

import pytest

from proxy.codec.events import UNTIL_CLOSE, End, ResponseHead
from tests.support.h2script import (
    H2DownstreamScript,
    H2UpstreamScript,
    connect_head,
    data,
    http2_head,
    request,
    response,
    rst,
    settings,
)

pytestmark = pytest.mark.usefixtures("loop")


def test_an_answer_before_the_end_of_the_request() -> None:
    """Section 8.1: the rest is not wanted."""
    down = H2DownstreamScript()
    down.send(request(1, method="POST", end=False))
    down.up.answer()
    assert down.peer.take() == ["HEADERS 1 :status=200 content-length=2", "DATA 1 end 'ok'", "RST 1 NO_ERROR"]
    assert down.send(data(1, b"x" * 100)) == []
    down.assert_nothing_is_left()


def test_a_response_that_waits_outlives_the_end_of_its_request() -> None:
    """The upstream has answered and ended, the reader is slow, and then the last of the request goes out."""
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    up.send(response(1))
    script.exchange.downstream_is_full()
    up.send(data(1, b"slow"), data(1, b"ly", end=True))
    script.request_body(b"x")
    script.request_end()
    assert up.peer.take()[-1] == "DATA 1 end 'x'"
    script.exchange.downstream_is_free()
    assert (script.down.body, script.down.is_over) == (b"slowly", True)
    up.assert_nothing_is_left()


def test_a_response_that_waits_outlives_a_reset_behind_it() -> None:
    """Section 8.1: a server that does not want the rest of a request resets with NO_ERROR behind its answer, which
    must not be thrown away then."""
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    up.send(response(1))
    script.exchange.downstream_is_full()
    up.send(data(1, b"whole", end=True), rst(1, 0))
    script.request_body(b"nobody takes it")
    script.exchange.downstream_is_free()
    assert (script.down.body, script.down.is_aborted, script.down.is_over) == (b"whole", False, True)
    assert not any(line.startswith("DATA") for line in up.peer.take())
    up.assert_nothing_is_left()


def test_a_response_that_waits_outlives_its_connection() -> None:
    """As with HTTP/1.1: what was read whole is handed on."""
    up = H2UpstreamScript()
    script = up.request()
    up.send(response(1))
    script.exchange.downstream_is_full()
    up.send(data(1, b"whole", end=True))
    up.transport.receive_eof()
    up.transport.lose()
    script.exchange.downstream_is_free()
    assert (script.down.body, script.down.is_aborted, script.down.is_over) == (b"whole", False, True)


def test_a_tunnel_is_over_with_a_reset() -> None:
    up = H2UpstreamScript(hello=settings((8, 1)))
    script = up.request(connect_head())
    up.send(response(1))
    script.exchange.downstream_is_full()
    up.send(data(1, b"x", end=True), rst(1))
    assert script.exchange.is_over
    up.assert_nothing_is_left()


def test_what_else_is_queued_for_an_upstream_that_stopped_reading() -> None:
    """A request that waits for window is given up with the reset behind the answer, and its reader may go on."""
    up = H2UpstreamScript(hello=settings((4, 3)))
    script = up.request(http2_head(method="POST", end=False))
    assert script.request_body(b"abcdef") == ["down.pause"]
    up.send(response(1))
    script.exchange.downstream_is_full()
    assert script.does(lambda: up.send(data(1, b"x", end=True), rst(1, 0))) == ["down.resume"]
    assert not up.upstream.blocked
    script.exchange.downstream_is_free()
    assert (script.down.body, script.down.is_over) == (b"x", True)
    up.assert_nothing_is_left()


def test_half_a_response_that_waits_does_not() -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.send(response(1))
    script.exchange.downstream_is_full()
    up.send(data(1, b"half"))
    up.transport.lose()
    assert script.down.is_aborted


def test_the_rest_of_a_tunnel_outlives_the_other_directions_end() -> None:
    """What the caller said last waits for a slow upstream, which has ended its own side already."""
    down = H2DownstreamScript()
    down.send(request(1, (":protocol", "websocket"), method="CONNECT", end=False))
    upstream = down.up
    upstream.is_request_complete = False
    upstream.exchange.response_head(ResponseHead(101, [b"HTTP/1.1 101 x"], UNTIL_CLOSE, True))
    upstream.exchange.upstream_is_full()
    down.send(data(1, b"last "), data(1, b"words", end=True))
    upstream.exchange.response_end(End())
    upstream.exchange.upstream_is_free()
    assert upstream.body == b"last words"
    assert upstream.exchange.is_over
    assert not down.h2.streams
