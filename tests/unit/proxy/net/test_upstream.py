"""One upstream HTTP/1.1 connection: requests out, responses in, and whether the pool gets it back."""

from __future__ import annotations

import pytest

from proxy import errors
from tests.support.loop import FakeLoop
from tests.support.net import UpstreamScript
from tests.support.transport import OWN

pytestmark = pytest.mark.usefixtures("loop")

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: location\r\n\r\n"
DONE = ["down.head 200", "down.body", "down.end"]


def reused(method: str = "GET") -> UpstreamScript:
    """A request over a connection that has served another one."""
    up = UpstreamScript()
    up.receive(TWO)
    up.transport.take()
    up.reuse(method=method)
    return up


def answered(up: UpstreamScript) -> tuple[int, str]:
    """The status and the reason that the downstream got."""
    head = up.script.down.head
    return head.status if head is not None else 0, up.script.exchange.reason.name


# --- requests out --------------------------------------------------------------------------------------------------


def test_a_request_without_a_body() -> None:
    up = UpstreamScript()
    assert up.transport.take() == GET


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Content-Length: 4", b"abcd"),
        ("Transfer-Encoding: chunked", b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
    ],
)
def test_a_request_with_a_body(line: str, expected: bytes) -> None:
    up = UpstreamScript(line, method="POST")
    assert up.transport.take().endswith(line.encode() + b"\r\n\r\n")
    up.script.request_body(b"ab")
    up.script.request_body(b"cd")
    up.script.request_end()
    assert up.transport.take() == expected


def test_a_full_upstream_pauses_the_downstream() -> None:
    up = UpstreamScript("Content-Length: 4000", method="POST")
    up.transport.high_mark = 1000
    assert up.script.request_body(b"x" * 2000) == ["down.pause"]
    assert up.script.does(up.transport.read_all) == ["down.resume"]


# --- responses in --------------------------------------------------------------------------------------------------

RESPONSES = [
    # the response's bytes, the calls, whether the connection is free afterwards
    (TWO, DONE, True),
    (OK + b"Content-Length: 0\r\n\r\n", ["down.head 200", "down.end"], True),
    (CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n", DONE, True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", ["down.head 204", "down.end"], True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ["down.head 304", "down.end"], True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + TWO, ["down.interim 100", *DONE], True),
    (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + TWO, ["down.interim 103"] * 2 + DONE, True),
    (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", DONE, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", DONE, False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", DONE, True),
    (TWO + b"HTTP", DONE, False),  # CHECKLIST 22: bytes that nobody asked for
    (TWO + TWO, DONE, False),
]


@pytest.mark.parametrize(("data", "calls", "is_free"), RESPONSES)
def test_responses(data: bytes, calls: list[str], is_free: bool) -> None:
    up = UpstreamScript()
    assert up.receive(data) == calls
    assert up.is_idle is is_free
    assert up.transport.ending == ("open" if is_free else "close")
    up.script.assert_finished(errors.NO_KEY, int(calls[-2 if calls[-2] != "down.body" else -3][-3:]))


@pytest.mark.parametrize(("data", "calls", "is_free"), RESPONSES[:10])
def test_responses_byte_by_byte(data: bytes, calls: list[str], is_free: bool) -> None:
    up = UpstreamScript()
    got = up.receive(*(bytes([byte]) for byte in data))
    assert [call for call in got if call not in ("down.flush", "down.body")] == [c for c in calls if c != "down.body"]
    assert up.script.down.body == b"ok" * ("down.body" in calls)
    assert up.is_idle is is_free


def test_head_requests_have_no_body() -> None:
    up = UpstreamScript(method="HEAD")
    assert up.receive(OK + b"Content-Length: 9\r\n\r\n") == ["down.head 200", "down.end"]
    assert up.is_idle


def test_each_response_belongs_to_its_request() -> None:
    """HEAD before GET must not leave its rule behind."""
    up = UpstreamScript(method="HEAD")
    up.receive(OK + b"Content-Length: 9\r\n\r\n")
    up.reuse()
    assert up.upstream.is_reused
    assert up.receive(TWO) == DONE


def test_what_has_arrived_is_flushed() -> None:
    up = UpstreamScript()
    assert up.receive(OK + b"Content-Length: 2\r\n\r\n") == ["down.head 200", "down.flush"]
    assert up.receive(b"o") == ["down.body", "down.flush"]
    assert up.receive(b"k") == ["down.body", "down.end"]


def test_until_close() -> None:
    up = UpstreamScript()
    assert up.receive(OK + b"\r\nok") == ["down.head 200", "down.body", "down.flush"]
    assert up.receive_eof() == ["down.end"]
    assert (up.is_idle, up.transport.ending) == (False, "close")
    assert up.lose() == []


def test_an_early_response() -> None:
    """CHECKLIST 25: the connection carries half a request and can't be used again."""
    up = UpstreamScript("Content-Length: 4", method="POST")
    up.script.request_body(b"ab")
    up.transport.take()
    assert up.receive(TWO) == ["down.head 200 last", *DONE[1:]]
    assert (up.is_idle, up.transport.ending) == (False, "close")
    up.script.request_body(b"cd")
    assert up.transport.take() == b""


# --- what is no response -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"X: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
    ],
)
def test_no_valid_head(data: bytes) -> None:
    """CHECKLIST 20, 23: 502, and nothing more is read."""
    up = UpstreamScript()
    up.receive(data)
    assert answered(up) == (502, "upstream_invalid")
    assert up.transport.ending == "abort"


def test_a_head_that_is_too_large() -> None:
    up = UpstreamScript()
    up.receive(OK + b"X: " + b"x" * 70_000)
    assert answered(up) == (502, "upstream_head_too_large")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (502, "upstream_closed")),
        (b"HTTP/1.1 103 Hints\r\n\r\n", (502, "upstream_closed")),
        (b"HTTP/1.1 200", (502, "upstream_invalid")),
        (OK + b"Content-Length: 4\r\n\r\n", (200, "upstream_truncated")),
        (OK + b"Content-Length: 4\r\n\r\nab", (200, "upstream_truncated")),
        (CHUNKED + b"2\r\nab\r\n", (200, "upstream_truncated")),
        (CHUNKED + b"2\r\nab\r\n0\r\n", (200, "upstream_truncated")),
    ],
)
@pytest.mark.parametrize("end", ["eof", "reset"])
def test_cut_responses(data: bytes, expected: tuple[int, str], end: str) -> None:
    """CHECKLIST 3: before the head an answer, after it never a clean end."""
    up = UpstreamScript()
    if data:
        up.receive(data)
    if end == "eof":
        up.receive_eof()
    up.lose(ConnectionResetError() if end == "reset" else None)
    assert answered(up) == expected
    assert up.script.down.is_aborted is (expected[0] == 200)
    assert not up.is_idle


def test_until_close_and_reset() -> None:
    up = UpstreamScript()
    up.receive(OK + b"\r\nok")
    assert up.lose(ConnectionResetError()) == ["down.abort"]


def test_a_bad_chunk_behind_the_head() -> None:
    up = UpstreamScript()
    assert up.receive(CHUNKED + b"2\r\nokzz") == ["down.head 200", "down.abort"]
    assert up.transport.ending == "abort"


# --- pooled connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "data", "is_retried"),
    [
        ("GET", b"", True),
        ("DELETE", b"", True),
        ("POST", b"", False),
        ("GET", b"HTTP/1.1 2", False),  # it was executed
        ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\n", False),  # so was this
    ],
)
@pytest.mark.parametrize("end", ["eof", "reset"])
def test_a_stale_pooled_connection(method: str, data: bytes, is_retried: bool, end: str) -> None:
    up = reused(method)
    if data:
        up.receive(data)
    calls = up.receive_eof() if end == "eof" else up.lose(ConnectionResetError())
    assert (calls == ["connect base:1"]) is is_retried
    if not is_retried:
        assert answered(up)[0] == 502


def test_bytes_on_an_idle_connection() -> None:
    """CHECKLIST 22: a response that nobody asked for is never taken for the next one."""
    up = UpstreamScript()
    up.receive(TWO)
    assert up.receive(TWO) == []
    assert (up.is_idle, up.transport.ending) == (False, "abort")
    up.lose()


def test_an_idle_connection_that_its_peer_ends() -> None:
    """From then on nobody gets it, also before it is gone: a POST over it would be lost."""
    up = UpstreamScript()
    up.receive(TWO)
    up.receive_eof()
    assert (up.is_idle, up.transport.ending) == (False, "close")
    up.lose()
    assert not up.is_idle


def test_cancel() -> None:
    up = UpstreamScript()
    up.receive(OK + b"Content-Length: 4\r\n\r\n")
    assert up.script.does(up.script.exchange.downstream_failed) == []
    assert up.transport.ending == "abort"
    assert up.lose() == []
    assert not up.is_idle


# --- backpressure --------------------------------------------------------------------------------------------------


def test_pauses_are_counted() -> None:
    up = UpstreamScript()
    up.receive(OK + b"Content-Length: 6\r\n\r\n")
    up.upstream.pause_reading()
    up.upstream.pause_reading()
    assert up.transport.calls == ["pause"]
    assert up.script.does(lambda: up.upstream.data_received(b"ab")) == []  # was under way
    up.upstream.resume_reading()
    assert up.script.down.body == b""
    up.upstream.resume_reading()
    assert (up.transport.calls, up.script.down.body) == (["pause", "resume"], b"ab")
    up.upstream.resume_reading()  # one too many
    assert up.receive(b"cdef") == ["down.body", "down.end"]


def paused_at(up: UpstreamScript, data: bytes) -> None:
    """The downstream is full as soon as it gets any body."""
    exchange = up.script.exchange
    down = up.script.down
    send_body = down.send_body

    def full(piece: bytes) -> None:
        send_body(piece)
        exchange.downstream_is_full()

    down.send_body = full  # type: ignore[method-assign, assignment]
    up.receive(data)
    down.send_body = send_body  # type: ignore[method-assign]


@pytest.mark.parametrize("data", [TWO, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"])
def test_a_downstream_that_is_full_at_the_end(data: bytes) -> None:
    """The connection goes back to the pool reading: else no answer to its next request is ever seen."""
    up = UpstreamScript()
    paused_at(up, data)
    up.script.does(up.script.exchange.downstream_is_free)
    assert up.script.down.is_over
    assert up.transport.is_reading()
    up.reuse()
    assert up.receive(TWO) == DONE


@pytest.mark.parametrize(
    ("data", "calls"),
    [
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", ["down.end"]),
        (CHUNKED + b"2\r\nok\r\n", ["down.abort"]),
        (OK + b"\r\nok", ["down.end"]),
        (OK + b"Content-Length: 4\r\n\r\nok", ["down.abort"]),
    ],
)
@pytest.mark.parametrize("is_lost_first", [True, False])
def test_the_end_arrives_during_a_pause(data: bytes, calls: list[str], is_lost_first: bool) -> None:
    """What was read whole before is handed on, though the connection is long gone."""
    up = UpstreamScript()
    paused_at(up, data)
    assert up.receive_eof() == []
    if is_lost_first:
        assert up.lose() == []
    assert up.script.does(up.script.exchange.downstream_is_free) == calls
    assert not up.is_idle


def test_a_reset_during_a_pause() -> None:
    up = UpstreamScript()
    paused_at(up, OK + b"\r\nok")
    assert up.lose(ConnectionResetError()) == ["down.abort"]


# --- time ----------------------------------------------------------------------------------------------------------


def test_no_response_in_time() -> None:
    up = UpstreamScript()
    start_s = up.pool.now_s
    up.pool.check_time(start_s + 19)
    assert not up.script.down.is_over
    up.pool.check_time(start_s + 22)
    assert answered(up) == (504, "upstream_timeout")
    assert up.transport.ending == "abort"


@pytest.mark.parametrize("sent", [b"", b"ab"])
def test_the_response_has_time_until_the_request_is_sent(sent: bytes) -> None:
    up = UpstreamScript("Content-Length: 4", method="POST")
    start_s = up.pool.now_s
    up.pool.check_time(start_s + 100)
    up.script.request_body(b"abcd")
    up.script.request_end()
    up.pool.check_time(start_s + 119)
    assert not up.script.down.is_over
    up.pool.check_time(start_s + 122)
    assert answered(up) == (504, "upstream_timeout")


def test_a_response_that_has_begun_has_no_such_limit() -> None:
    up = UpstreamScript()
    up.receive(OK + b"Content-Length: 4\r\n\r\n")
    up.pool.check_time(up.pool.now_s + 10_000)
    assert up.transport.ending == "open"


def test_an_idle_connection_closes() -> None:
    up = UpstreamScript()
    up.receive(TWO)
    start_s = up.pool.now_s
    up.pool.check_time(start_s + 39)
    assert up.transport.ending == "open"
    up.pool.check_time(start_s + 41)
    assert (up.is_idle, up.transport.ending) == (False, "close")


def test_a_peer_that_never_reads_does_not_stay() -> None:
    """Closing waits for the rest of a request to be sent, but not for ever."""
    up = UpstreamScript("Content-Length: 4000", method="POST")
    up.transport.high_mark = 1000
    up.script.request_body(b"x" * 2000)
    up.receive(TWO)
    assert up.transport.ending == "close"
    up.pool.check_time(up.pool.now_s + 41)
    assert up.transport.ending == "abort"


def test_counts_and_addresses(loop: FakeLoop) -> None:
    up = UpstreamScript()
    assert up.upstream.ends[0] == OWN
    assert OWN in up.pool.own_ends
    up.lose()
    assert OWN not in up.pool.own_ends
