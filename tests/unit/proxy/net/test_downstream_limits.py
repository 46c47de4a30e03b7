"""One downstream connection (`proxy/net/downstream.py`): backpressure, time, drain, loops, too many connections."""

from __future__ import annotations

import dataclasses

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, UNTIL_CLOSE
from proxy.codec.h1.reader import HeadLimits
from tests.support.loop import FakeLoop
from tests.support.net import TIMEOUTS, DownstreamScript

HOST = b"Host: location\r\n"


def get(target: str = "/") -> bytes:
    return b"GET %b HTTP/1.1\r\n" % target.encode() + HOST + b"\r\n"


def post(body: bytes, length: int) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % length + body


@pytest.fixture
def down(loop: FakeLoop) -> DownstreamScript:
    return DownstreamScript()


# --- backpressure --------------------------------------------------------------------------------------------------


def test_a_body_waits_for_the_connection(down: DownstreamScript) -> None:
    down.pool.is_connecting = True
    down.receive(post(b"ab", 6))
    assert down.transport.calls == ["pause"]
    down.pool.connected()
    assert down.transport.calls == ["pause", "resume"]
    down.receive(b"cdef")
    assert (down.up.body, down.up.is_request_complete) == (b"abcdef", True)


def test_without_a_body_nothing_pauses(down: DownstreamScript) -> None:
    down.pool.is_connecting = True
    down.receive(get())
    down.pool.connected()
    assert down.transport.calls == []


def test_pauses_are_counted(down: DownstreamScript) -> None:
    """Reading goes on when the last party agrees; what was read before waits as well."""
    down.receive(post(b"ab", 8))
    down.up.exchange.upstream_is_full()
    down.up.exchange.upstream_is_full()
    assert down.transport.calls == ["pause"]
    down.protocol.data_received(b"cd")  # was under way
    assert down.up.body == b"ab"
    down.up.exchange.upstream_is_free()
    assert (down.transport.calls, down.up.body) == (["pause"], b"ab")
    down.up.exchange.upstream_is_free()
    assert (down.transport.calls, down.up.body) == (["pause", "resume"], b"abcd")


def test_the_next_request_starts_unpaused(down: DownstreamScript) -> None:
    """Who paused and is over does not resume any more, and a late resume is not somebody else's."""
    down.receive(post(b"abcd", 4))
    exchange = down.up.exchange
    exchange.upstream_is_full()
    down.up.answer()
    assert down.transport.is_reading()
    down.receive(post(b"ab", 4))
    down.up.exchange.upstream_is_full()
    assert not down.transport.is_reading()
    down.up.exchange.upstream_is_free()
    exchange.upstream_is_free()
    down.receive(b"cd")
    assert (down.up.body, down.transport.is_reading()) == (b"abcd", True)


def test_pipelined_bytes_are_bounded(down: DownstreamScript) -> None:
    """CHECKLIST 16: they wait in memory only so far; later all are served."""
    request = get("/" + "x" * 5000)
    down.receive(request, *[request] * 13)
    assert down.transport.calls == []
    down.receive(request)
    assert down.transport.calls == ["pause"]
    while not down.up.is_cancelled and down.up.has_request:
        down.up.answer(b"")
    assert len(down.used) == 15
    assert down.transport.is_reading()
    assert down.transport.take().count(b"HTTP/1.1 200 ") == 15


def test_pipelined_bytes_are_bounded_for_who_does_not_read(down: DownstreamScript) -> None:
    """No request is under way then, but one waits to be taken."""
    down.transport.high_mark = 1000
    request = get("/" + "x" * 5000)
    down.receive(get("/1"), request)
    down.up.answer(b"x" * 2000)
    sent = 0
    while down.transport.is_reading():
        down.receive(request)
        sent += 1
        assert sent < 20, "it reads on and on"
    down.transport.read_all()
    down.transport.high_mark = 1 << 30
    while down.up.has_request:
        down.up.answer(b"")
    assert len(down.used) == sent + 2
    assert down.transport.is_reading()


def test_a_large_head_behind_a_slow_reader(loop: FakeLoop) -> None:
    """It is more than may wait, and still arrives."""
    down = DownstreamScript(limits=HeadLimits(max_bytes=200_000))
    down.transport.high_mark = 1000
    head = get("/" + "x" * 100_000)
    down.receive(get("/1"))
    down.up.answer(b"x" * 2000)
    down.receive(head[:90_000])
    assert not down.transport.is_reading()
    down.transport.read_all()
    down.receive(head[90_000:])
    assert len(down.used) == 2


def test_a_full_downstream_pauses_the_upstream(down: DownstreamScript) -> None:
    down.transport.high_mark = 1000
    down.receive(get())
    down.up.head(CHUNKED)
    down.up.exchange.response_body(b"x" * 500)
    assert down.up.pauses == 0
    down.up.exchange.response_body(b"x" * 1000)
    assert down.up.pauses == 1
    down.transport.read_all()
    assert down.up.pauses == 0


def test_a_full_downstream_gets_no_next_response(down: DownstreamScript) -> None:
    down.transport.high_mark = 1000
    down.receive(get("/1") + get("/2"))
    down.up.answer(b"x" * 2000)
    assert down.targets == ["/1"]
    down.receive(get("/3"))
    assert down.targets == ["/1"]
    down.transport.read_all()
    assert down.targets == ["/1", "/2"]


def test_nothing_is_taken_for_a_connection_that_ends(down: DownstreamScript) -> None:
    """It may become writable once more while its last bytes go out."""
    down.transport.high_mark = 1000
    down.receive(get("/1") + get("/2"))
    down.up.head(4000)
    down.up.exchange.response_body(b"x" * 2000)
    down.up.has_request = False
    down.up.exchange.upstream_failed(errors.UPSTREAM_CLOSED)
    assert down.transport.ending == "close"
    down.transport.read_all()
    assert down.targets == ["/1"]


# --- time ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection(down: DownstreamScript) -> None:
    down.receive(get())
    down.wait(20)
    down.up.answer()
    down.wait(59)
    assert down.transport.ending == "open"
    down.wait(2)
    assert down.transport.ending == "close"


def test_no_limit_for_idle_connections(loop: FakeLoop) -> None:
    down = DownstreamScript(timeouts=dataclasses.replace(TIMEOUTS, idle_timeout_s=0))
    down.wait(100_000)
    assert down.transport.ending == "open"


def test_a_slow_head(down: DownstreamScript) -> None:
    """Every byte gives an idle connection more time, a head not."""
    down.receive(b"GET / HTTP/1.1\r\n")
    for _ in range(5):
        down.wait(2)
        down.receive(b"X: y\r\n")
    assert (down.take_status(), down.transport.ending) == (0, "open")
    down.wait(1)
    assert (down.take_status(), down.transport.ending) == (408, "eof")
    assert down.metrics.refused == {errors.REQUEST_TIMEOUT: 1}


def test_a_head_has_its_own_time(down: DownstreamScript) -> None:
    """Whatever was before it: another slow head, a long response."""
    for _ in range(3):
        down.receive(get()[:-2])
        down.wait(9)
        down.receive(b"\r\n")
        down.wait(20)
        down.up.answer()
        assert down.take_status() == 200


def test_a_blank_line_is_no_slow_head(down: DownstreamScript) -> None:
    """RFC 9112 section 2.2: it is skipped; not even in two pieces does it start the clock."""
    down.receive(b"\r", b"\n")
    down.wait(1)
    down.wait(20)
    assert (down.take_status(), down.transport.ending) == (0, "open")
    down.receive(get()[:-2])
    down.wait(9)
    down.receive(b"\r\n")
    down.up.answer()
    assert down.take_status() == 200


def test_a_whole_head_that_waits_is_no_slow_head(down: DownstreamScript) -> None:
    """The peer reads slowly; that is not its request's fault."""
    down.transport.high_mark = 1000
    down.receive(get("/1") + get("/2"))
    down.up.answer(b"x" * 2000)
    down.transport.take()
    down.wait(11)
    assert down.take_status() == 0
    down.transport.read_all()
    down.up.answer()
    assert down.take_status() == 200


def test_a_silent_upstream(down: DownstreamScript) -> None:
    down.receive(get())
    down.wait(30)
    assert down.take_status() == 0
    down.wait(1)
    assert (down.take_status(), down.up.is_cancelled, down.transport.ending) == (504, True, "open")


def test_a_silent_body(down: DownstreamScript) -> None:
    down.receive(post(b"ab", 4))
    down.wait(31)
    assert (down.take_status(), down.up.is_cancelled, down.transport.ending) == (408, True, "eof")


def test_a_silent_response(down: DownstreamScript) -> None:
    down.receive(get())
    down.up.head(4)
    down.up.exchange.response_body(b"ab")
    down.wait(31)
    assert (down.up.is_cancelled, down.transport.ending) == (True, "close")


def test_either_side_keeps_a_stream_alive(down: DownstreamScript) -> None:
    down.receive(post(b"ab", 1000))
    for _ in range(4):
        down.wait(20)
        down.receive(b"x")
    for _ in range(4):
        down.up.active_at_s = down.connections.now_s
        down.wait(20)
    assert down.transport.ending == "open"
    down.wait(20)
    assert down.take_status() == 408


def test_no_limit_for_streams(loop: FakeLoop) -> None:
    down = DownstreamScript(timeouts=dataclasses.replace(TIMEOUTS, stream_idle_timeout_s=0))
    down.receive(get())
    down.wait(100_000)
    assert down.take_status() == 0


@pytest.mark.parametrize(
    ("lines", "behind", "high_mark", "ending"),
    [
        (b"", b"", 1000, "open"),
        (b"", get("/2"), 1000, "open"),
        (b"Connection: close\r\n", b"", 1000, "close"),
        (b"Connection: close\r\n", b"", 5000, "close"),
    ],
)
def test_who_never_reads_does_not_stay(
    down: DownstreamScript, lines: bytes, behind: bytes, high_mark: int, ending: str
) -> None:
    """A response waits for its last bytes to be read, but not for ever, even where the connection closes."""
    down.transport.high_mark = high_mark
    down.receive(get("/1")[:-2] + lines + b"\r\n" + behind)
    down.up.answer(b"x" * 2000)
    down.wait(29)
    assert down.transport.ending == ending
    down.wait(2)
    assert (down.transport.ending, down.targets) == ("abort", ["/1"])


def test_a_cut_stream_that_nobody_reads_does_not_stay(down: DownstreamScript) -> None:
    down.transport.high_mark = 1000
    down.receive(get())
    down.up.head(UNTIL_CLOSE)
    down.up.exchange.response_body(b"x" * 2000)
    down.wait(31)
    down.wait(1)
    assert down.transport.ending == "abort"


# --- loops, limits, drain ------------------------------------------------------------------------------------------


def test_a_connection_of_our_own(down: DownstreamScript) -> None:
    """SPEC 4: led back to itself the proxy answers 508. It is asked at the first request, not when it is accepted."""
    _, transport = down.accept(peer=("10.0.0.1", 50_001))
    down.upstream_pool.own_ends[("10.0.0.1", 50_001)] = [("10.0.0.2", 80)]
    transport.receive(get())
    assert transport.take().startswith(b"HTTP/1.1 508 Loop Detected\r\n")
    assert down.targets == []
    down.receive(get("/other"))
    assert down.targets == ["/other"]


def test_too_many_connections(loop: FakeLoop) -> None:
    down = DownstreamScript(max_connections=1)
    _, second = down.accept()
    answer = second.take()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"error=connection_limit_reached" in answer
    assert second.ending == "eof"
    second.receive(get())
    assert down.targets == []
    assert down.metrics.refused == {errors.CONNECTION_LIMIT: 1}
    second.lose()
    down.transport.lose()
    _, third = down.accept()
    third.receive(get("/third"))
    assert (down.targets, down.metrics.downstream_connections) == (["/third"], 1)
    assert down.metrics.downstream_connections_total == 3


@pytest.mark.parametrize(
    ("received", "idle_s", "ending"),
    [
        (b"", 1.0, "close"),
        (b"", -1.0, "open"),  # it was active since
        (b"\r\n", 1.0, "close"),
        (b"GET /", 1.0, "open"),
        (get(), 1.0, "open"),
        (b"nonsense\r\n\r\n", 1.0, "eof"),
    ],
)
def test_drain(down: DownstreamScript, received: bytes, idle_s: float, ending: str) -> None:
    """Only who has nothing under way ends."""
    if received:
        down.receive(received)
    down.protocol.drain(down.connections.now_s + idle_s)
    assert down.transport.ending == ending


def test_the_last_response_of_a_drain_says_so(down: DownstreamScript) -> None:
    down.receive(get("/1"))
    down.connections.is_draining = True
    down.up.answer()
    assert b"\r\nConnection: close\r\n" in down.transport.take()
    assert down.transport.ending == "close"


def test_cut(down: DownstreamScript) -> None:
    down.receive(get())
    down.protocol.cut()
    assert (down.up.is_cancelled, down.transport.ending) == (True, "abort")
    assert list(down.metrics.requests()) == [("baseline", "", "drained", 0, 1)]
    down.transport.lose()
    assert len(down.connections) == 0
