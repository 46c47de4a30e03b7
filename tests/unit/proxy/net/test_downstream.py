"""One downstream HTTP/1.1 connection: bytes in, writes out; its upstreams are played (`tests.support.net`)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, UNTIL_CLOSE
from proxy.codec.h1.reader import HeadLimits
from tests.support.loop import FakeLoop
from tests.support.net import DownstreamScript

HOST = b"Host: location\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nok"


def get(target: str = "/", *lines: str) -> bytes:
    return b"GET %b HTTP/1.1\r\n" % target.encode() + HOST + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def post(body: bytes, *lines: str, target: str = "/", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return get(target, f"Content-Length: {length}", *lines).replace(b"GET", b"POST", 1) + body


@pytest.fixture
def down(loop: FakeLoop) -> DownstreamScript:
    return DownstreamScript()


# --- one request after another -------------------------------------------------------------------------------------


def test_requests_over_one_connection(down: DownstreamScript) -> None:
    for target in ("/1", "/2", "/3"):
        down.receive(get(target))
        down.up.answer()
        assert down.transport.take() == TWO
    assert down.targets == ["/1", "/2", "/3"]
    assert down.transport.calls == []


def test_byte_by_byte(down: DownstreamScript) -> None:
    down.receive(*(bytes([byte]) for byte in post(b"hello")))
    assert down.up.body == b"hello"
    down.up.answer()
    assert down.transport.take() == TWO


def test_pipelined_requests_are_served_in_order_and_one_at_a_time(down: DownstreamScript) -> None:
    """The next head is not even parsed before the last response is out."""
    down.receive(get("/1") + post(b"hi", target="/2") + get("/3"))
    assert down.targets == ["/1"]
    down.up.head()
    assert down.targets == ["/1"]
    down.up.exchange.response_body(b"ok")
    down.up.end()
    assert down.targets == ["/1", "/2"]
    assert down.up.body == b"hi"
    assert down.transport.take() == TWO
    down.up.answer(b"second")
    down.up.answer(b"3")
    bodies = [b"second", b"3"]
    assert down.transport.take() == b"".join(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
    assert down.targets == ["/1", "/2", "/3"]


def test_answers_of_our_own_to_many_pipelined_requests(down: DownstreamScript) -> None:
    """Given at once, so without a loop they would nest."""
    down.receive(get("/", "baggage: sd-routing-key=gone") * 2000 + get("/last"))
    assert down.transport.take().count(b"HTTP/1.1 424 ") == 2000
    assert down.targets == ["/last"]


@pytest.mark.parametrize("chunk_size", [1, 7, 10_000])
def test_a_fault_behind_a_request(down: DownstreamScript, chunk_size: int) -> None:
    """CHECKLIST 16: the first is answered, then the fault; what follows the fault is never a request."""
    data = get("/1") + b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n" + get("/smuggled")
    pieces = [data[start : start + chunk_size] for start in range(0, len(data), chunk_size)]
    down.receive(*pieces)
    assert down.transport.take() == b""
    down.up.answer()
    answer = down.transport.take()
    assert answer.startswith(TWO + b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert down.targets == ["/1"]
    assert down.transport.ending == "eof"


# --- how a response is framed, and what becomes of the connection --------------------------------------------------

CASES = [
    # request line's version and fields, the upstream's framing, what the downstream gets behind the status line
    ("1.1", "", 2, b"Content-Length: 2\r\n\r\nok", "open"),
    ("1.1", "Connection: keep-alive\r\n", 2, b"Content-Length: 2\r\n\r\nok", "open"),
    ("1.1", "Connection: close\r\n", 2, b"Content-Length: 2\r\nConnection: close\r\n\r\nok", "close"),
    ("1.1", "", CHUNKED, b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "open"),
    ("1.1", "", UNTIL_CLOSE, b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "open"),
    ("1.0", "", 2, b"Content-Length: 2\r\nConnection: close\r\n\r\nok", "close"),
    ("1.0", "Connection: keep-alive\r\n", 2, b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok", "open"),
    ("1.0", "Connection: keep-alive\r\n", CHUNKED, b"Connection: close\r\n\r\nok", "close"),
    ("1.0", "Connection: keep-alive\r\n", UNTIL_CLOSE, b"Connection: close\r\n\r\nok", "close"),
]


@pytest.mark.parametrize(("version", "lines", "body", "expected", "ending"), CASES)
def test_framing(down: DownstreamScript, version: str, lines: str, body: int, expected: bytes, ending: str) -> None:
    down.receive(f"GET / HTTP/{version}\r\n{lines}".encode() + HOST + b"\r\n")
    down.up.head(body)
    down.up.exchange.response_body(b"ok")
    down.up.end()
    assert down.transport.take() == OK + expected
    assert down.transport.ending == ending


def test_trailers(down: DownstreamScript) -> None:
    down.receive(get())
    down.up.head(CHUNKED)
    down.up.end(b"X-Sum: 1")
    assert down.transport.take().endswith(b"\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_a_head_goes_out_with_the_first_piece_or_when_flushed(down: DownstreamScript) -> None:
    down.receive(get())
    down.up.head(4)
    assert down.transport.writes == []
    down.up.exchange.response_body(b"ab")
    assert len(down.transport.writes) == 1
    down.up.exchange.response_body(b"cd")
    down.up.end()
    down.receive(get())
    down.up.head(2)
    down.transport.take()
    down.up.exchange.flush()
    assert down.transport.take() == OK + b"Content-Length: 2\r\n\r\n"
    down.up.exchange.flush()
    assert down.transport.writes == []


def test_a_large_piece_is_not_copied(down: DownstreamScript) -> None:
    down.receive(get())
    down.up.head(20_000)
    down.up.exchange.response_body(b"x" * 20_000)
    assert [len(data) for data in down.transport.writes] == [len(OK) + 25, 20_000]


@pytest.mark.parametrize(("version", "sent"), [("1.1", True), ("1.0", False)])
def test_interim_heads(down: DownstreamScript, version: str, sent: bool) -> None:
    """RFC 9110 section 15.2: HTTP/1.0 knows none."""
    down.receive(f"GET / HTTP/{version}\r\n".encode() + HOST + b"\r\n")
    down.up.head(0, status=103)
    assert down.take_status() == (103 if sent else 0)
    down.up.answer()
    assert down.take_status() == 200


def test_interim_heads_that_are_not_read(down: DownstreamScript) -> None:
    """An HTTP/2 upstream, whose heads nothing holds back, may send any number."""
    down.receive(get())
    down.transport.fill()
    down.up.head(0, status=103)
    assert down.transport.writes == []
    down.transport.read_all()
    down.up.head(0, status=103)
    assert down.take_status() == 103


# --- the peer ends its side ----------------------------------------------------------------------------------------


def test_an_idle_connection_ends(down: DownstreamScript) -> None:
    down.receive(get())
    down.up.answer()
    down.transport.receive_eof()
    assert down.transport.ending == "close"


def test_half_closed_requests_are_answered(down: DownstreamScript) -> None:
    """All that were complete, and then the connection ends."""
    down.receive(get("/1") + get("/2") + b"GET /unfinished")
    down.transport.receive_eof()
    down.transport.take()
    assert down.transport.ending == "open"
    down.up.answer()
    assert (down.take_status(), down.transport.ending) == (200, "open")
    down.up.answer()
    assert (down.take_status(), down.transport.ending) == (200, "close")
    assert down.targets == ["/1", "/2"]


def test_half_closed_in_a_head(down: DownstreamScript) -> None:
    down.receive(b"GET / HTTP/1.1\r\n")
    down.transport.receive_eof()
    assert (down.take_status(), down.transport.ending) == (0, "close")


def test_half_closed_in_a_body(down: DownstreamScript) -> None:
    """Never a complete request: the upstream's connection dies."""
    down.receive(post(b"ab", length=4))
    down.transport.receive_eof()
    assert down.up.is_cancelled
    assert (down.take_status(), down.transport.ending) == (400, "close")
    assert down.metrics.refused == {errors.BAD_REQUEST: 1}


@pytest.mark.parametrize(("length", "status"), [(4, 200), (5, 400)])
def test_half_closed_while_connecting(down: DownstreamScript, length: int, status: int) -> None:
    """The body waits; when it is read its end, or its cut, is seen."""
    down.pool.is_connecting = True
    down.receive(post(b"abcd", length=length))
    down.transport.receive_eof()
    assert down.transport.ending == "open"
    down.pool.connected()
    assert down.up.body == b"abcd"
    if status == 200:
        assert down.up.is_request_complete
        down.up.answer()
    assert (down.take_status(), down.transport.ending) == (status, "close")


def test_half_closed_while_it_does_not_read(down: DownstreamScript) -> None:
    """A pipelined request that waits for the peer to read is a complete request all the same."""
    down.transport.high_mark = 1000
    down.receive(get("/1") + get("/2"))
    down.up.answer(b"x" * 2000)
    assert down.targets == ["/1"]
    down.transport.receive_eof()
    assert down.transport.ending == "open"
    down.transport.read_all()
    assert down.targets == ["/1", "/2"]
    down.up.answer()
    assert down.transport.ending == "close"


def test_half_closed_before_it_does_not_read(down: DownstreamScript) -> None:
    down.transport.high_mark = 1000
    down.receive(get("/1") + get("/2"))
    down.transport.receive_eof()
    down.up.answer(b"x" * 2000)
    assert down.transport.ending == "open"
    down.transport.read_all()
    down.up.answer()
    assert (down.targets, down.transport.ending) == (["/1", "/2"], "close")


def test_lost_in_the_middle(down: DownstreamScript) -> None:
    down.receive(get())
    down.transport.lose(ConnectionResetError())
    assert down.up.is_cancelled
    assert len(down.connections) == 0
    assert list(down.metrics.requests()) == [("baseline", "", "downstream_closed", 0, 1)]


def test_cut_off_before_the_head_was_out(down: DownstreamScript) -> None:
    """The peer hears what it would hear, had head and fault come apart: silence would look like a stale connection."""
    down.receive(get())
    down.up.head(CHUNKED)
    down.up.exchange.upstream_failed(errors.UPSTREAM_INVALID)
    assert down.transport.take() == OK + b"Transfer-Encoding: chunked\r\n\r\n"
    assert down.transport.ending == "close"


# --- close, linger, abort ------------------------------------------------------------------------------------------


def test_behind_a_fault_the_connection_lingers(down: DownstreamScript) -> None:
    """RFC 9112 section 9.6: our side ends; what comes is dropped, so that no reset overtakes the answer."""
    down.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert (down.take_status(), down.transport.ending) == (400, "eof")
    down.wait(1.9)
    down.receive(get("/smuggled"), b"x" * 100_000)  # gives it no more time
    assert (down.targets, down.take_status()) == ([], 0)
    assert down.transport.ending == "eof"
    down.wait(0.2)
    assert down.transport.ending == "abort"


def test_a_lingering_connection_ends_with_its_peer(down: DownstreamScript) -> None:
    down.receive(b"nonsense\r\n")
    down.transport.receive_eof()
    assert down.transport.ending == "close"


def test_what_waits_behind_the_last_request_makes_it_linger(down: DownstreamScript) -> None:
    down.receive(get("/", "Connection: close") + get("/behind"))
    down.up.answer()
    assert (down.targets, down.transport.ending) == (["/"], "eof")


@pytest.mark.parametrize("is_paused", [False, True])
def test_an_early_answer(down: DownstreamScript, is_paused: bool) -> None:
    """CHECKLIST 25: the rest of the request is read and dropped; no other request can follow."""
    down.receive(post(b"ab", length=1000))
    if is_paused:
        down.up.exchange.upstream_is_full()
    down.up.answer()
    assert (down.take_status(), down.transport.ending) == (200, "eof")
    down.receive(b"c" * 998 + get("/smuggled"))
    assert down.targets == ["/"]


def test_an_early_answer_of_our_own(down: DownstreamScript) -> None:
    """It says that it is the last; and a connection that waits, paused, is read again."""
    down.pool.is_connecting = True
    down.receive(post(b"ab", length=1000))
    down.pool.pending[0][1].connect_failed(errors.SANDBOX_UNREACHABLE)
    answer = down.transport.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert down.transport.ending == "eof"
    assert down.transport.is_reading()


@pytest.mark.parametrize("body", [4, CHUNKED, UNTIL_CLOSE])
def test_a_cut_response(down: DownstreamScript, body: int) -> None:
    """The peer sees it: a length that is not reached, a last chunk that does not come."""
    down.receive(get("/1") + get("/2"))
    down.up.head(body)
    down.up.exchange.response_body(b"ab")
    down.up.has_request = False
    down.up.exchange.upstream_failed(errors.UPSTREAM_CLOSED)
    assert not down.transport.take().endswith(b"0\r\n\r\n")
    assert (down.targets, down.transport.ending, down.transport.socket.options) == (["/1"], "close", [])


def test_a_cut_response_that_only_the_end_of_the_connection_ends(down: DownstreamScript) -> None:
    """RFC 9112 section 8: it must be reset."""
    down.receive(b"GET / HTTP/1.0\r\n\r\n")
    down.up.head(UNTIL_CLOSE)
    down.up.exchange.response_body(b"ab")
    down.up.has_request = False
    down.up.exchange.upstream_failed(errors.UPSTREAM_CLOSED)
    assert down.transport.ending == "abort"
    assert down.transport.socket.options == [(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))]


@pytest.mark.parametrize(
    ("begin", "status", "ending"),
    [
        (lambda up: None, 400, "eof"),
        (lambda up: up.head(CHUNKED), 200, "close"),
        (lambda up: (up.head(4), up.exchange.response_body(b"ab")), 200, "close"),
    ],
)
def test_a_bad_body(down: DownstreamScript, begin: Callable[..., None], status: int, ending: str) -> None:
    """One answer where none was begun; both connections end in any case."""
    down.receive(get("/", "Transfer-Encoding: chunked").replace(b"GET", b"POST") + b"2\r\nab\r\n")
    begin(down.up)
    down.receive(b"zz\r\n" + get("/smuggled"))
    assert down.up.is_cancelled
    assert (down.take_status(), down.targets, down.transport.ending) == (status, ["/"], ending)


def test_the_answer_to_a_fault_names_the_decision(loop: FakeLoop) -> None:
    down = DownstreamScript(decision_field=True)
    down.receive(b"nonsense\r\n\r\n")
    answer = down.transport.take()
    assert b"\r\nConnection: close\r\npointsman-decision: none; reason=bad_request\r\n" in answer
    assert b'\r\nProxy-Status: pointsman; error=http_request_error; details="bad_request"\r\n' in answer


def test_limits_of_a_head(loop: FakeLoop) -> None:
    down = DownstreamScript(limits=HeadLimits(max_bytes=100))
    down.receive(get("/", "X: " + "x" * 100))
    assert (down.take_status(), down.transport.ending) == (431, "eof")
