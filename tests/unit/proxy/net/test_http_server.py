"""A connection to the proxy's own pages: bytes in, answers out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.codec.fields import request_kinds
from proxy.net.http_server import Answer, AnswerBroken, PageConnections
from tests.support.loop import FakeLoop
from tests.support.transport import FakeTransport

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
PIECES_HEAD = OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def get(target: bytes = b"/", lines: bytes = b"", method: bytes = b"GET") -> bytes:
    return GET.replace(b"GET", method) % (target, lines)


def page(text: bytes, *, closes: bool = False) -> bytes:
    return OK + b"Content-Length: %d\r\n" % len(text) + b"Connection: close\r\n" * closes + b"\r\n" + text


class Page:
    """A connection whose pages say what they were asked: method, target, body. `/pieces` comes in pieces, `/later...`
    when `go` is set, `/broken` breaks off."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.asked: list[bytes] = []
        self.pieces: list[bytes] = [b"ab", b"cde"]
        self.go = asyncio.Event()
        self.transport = FakeTransport(PageConnections(self._answer, request_kinds(errors.BAD_REQUEST))())

    def _answer(self, head: RequestHead, body: bytes) -> Answer | Awaitable[Answer]:
        text = b"%b %b %b" % (head.method, head.target, body[:16])
        self.asked.append(text)
        if head.target == b"/pieces":
            return Answer(200, pieces=self._pieces())
        if head.target.startswith(b"/later"):
            return self._later(text, in_pieces=head.target == b"/later/pieces")
        if head.target == b"/broken":
            return Answer(200, pieces=self._pieces_later(breaks=True))
        return Answer(200, text)

    async def _later(self, text: bytes, *, in_pieces: bool) -> Answer:
        await self.go.wait()
        return Answer(200, pieces=self._pieces_later(breaks=False)) if in_pieces else Answer(200, text)

    async def _pieces_later(self, *, breaks: bool) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(1)
            yield piece
        if breaks:
            raise AnswerBroken

    def _pieces(self) -> Iterator[bytes]:
        yield from self.pieces

    def says(self, *pieces: bytes) -> bytes:
        self.transport.receive(*pieces)
        return self.transport.take()


@pytest.fixture
def server(loop: FakeLoop) -> Page:
    return Page(loop)


# --- one request after another -------------------------------------------------------------------------------------


def test_a_page(server: Page) -> None:
    assert server.says(get(b"/livez")) == page(b"GET /livez ")
    assert server.transport.ending == "open"


def test_keep_alive(server: Page) -> None:
    for target in (b"/1", b"/2", b"/3"):
        assert server.says(get(target)) == page(b"GET %b " % target)
    assert server.transport.ending == "open"


def test_byte_by_byte(server: Page) -> None:
    request = get(b"/a", b"Content-Length: 3\r\n", b"POST") + b"xyz"
    assert server.says(*(bytes([byte]) for byte in request + request)) == page(b"POST /a xyz") * 2


def test_pipelining(server: Page) -> None:
    post = get(b"/2", b"Transfer-Encoding: chunked\r\n", b"POST") + b"2\r\nhi\r\n0\r\n\r\n"
    assert server.says(get(b"/1") + post + get(b"/3")) == page(b"GET /1 ") + page(b"POST /2 hi") + page(b"GET /3 ")


@pytest.mark.parametrize(
    ("request_bytes", "closes"),
    [
        (get(b"/"), False),
        (get(b"/", b"Connection: close\r\n"), True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
    ],
)
def test_who_asked_for_the_end_gets_it(server: Page, request_bytes: bytes, closes: bool) -> None:
    """And what is pipelined behind it is not answered."""
    behind = get(b"/behind", b"Connection: close\r\n")
    answer = server.says(request_bytes + behind)
    assert answer == page(b"GET / ", closes=closes) + page(b"GET /behind ", closes=True) * (not closes)
    assert server.transport.ending == "close"


@pytest.mark.parametrize("lines", [b"", b"Connection: close\r\n"])
def test_head(server: Page, lines: bytes) -> None:
    whole = page(b"HEAD / ", closes=bool(lines))
    assert server.says(get(b"/", lines, b"HEAD")) == whole[: whole.index(b"\r\n\r\n") + 4]


def test_a_body_belongs_to_its_own_request(server: Page) -> None:
    server.says(get(b"/1", b"Content-Length: 2\r\n", b"POST") + b"hi" + get(b"/2"))
    assert server.asked == [b"POST /1 hi", b"GET /2 "]


# --- bad requests and limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (get(b"/", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
        (get(b"/", b"Transfer-Encoding: chunked\r\n", b"POST") + b"x\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (get(b"/", b"X: " + b"x" * 62_000 + b"\r\n"), 431),
        (get(b"/", b"X: x\r\n" * 101), 431),
        (b"GET /" + b"x" * 70_000, 414),
        (get(b"/", b"Content-Length: 1048577\r\n", b"POST") + b"x" * 1_048_577, 400),
    ],
)
def test_bad_requests(server: Page, request_bytes: bytes, status: int) -> None:
    """One answer, the end, and no page; what follows is not looked at."""
    answer = server.says(request_bytes + get(b"/behind"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert server.asked == []
    assert server.transport.ending == "close"


def test_a_body_up_to_the_limit(server: Page) -> None:
    body = b"x" * (1 << 20)
    assert server.says(get(b"/", b"Content-Length: 1048576\r\n", b"POST"), body).startswith(b"HTTP/1.1 200 ")


def test_a_large_body_is_refused_before_it_is_there(server: Page) -> None:
    server.transport.receive(get(b"/", b"Transfer-Encoding: chunked\r\n", b"POST"))
    for _ in range(17):
        if server.transport.ending == "open":
            server.transport.receive(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert server.transport.take().startswith(b"HTTP/1.1 400 ")
    assert server.transport.ending == "close"


def test_a_fault_behind_a_head_request_is_explained(server: Page) -> None:
    """Only the answer to HEAD goes without its body."""
    server.says(get(b"/", method=b"HEAD"))
    head, _, body = server.says(b"nonsense\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert body


def test_silence_ends_a_connection(server: Page) -> None:
    server.loop.advance(59)
    assert server.transport.ending == "open"
    server.loop.advance(2)
    assert server.transport.ending == "close"


def test_every_request_gives_it_more_time(server: Page) -> None:
    server.loop.advance(50)
    server.says(get())
    server.loop.advance(50)
    assert server.transport.ending == "open"
    server.transport.receive(b"GET")  # no request
    server.loop.advance(11)
    assert server.transport.ending == "close"


def test_no_timer_is_left_of_a_lost_connection(server: Page) -> None:
    server.says(get())
    assert server.loop.timers == 1
    server.transport.lose()
    assert server.loop.timers == 0


def test_end_of_input_ends_it(server: Page) -> None:
    assert server.says(get()) == page(b"GET / ")
    server.transport.receive_eof()
    assert server.transport.ending == "close"


# --- answers in pieces ---------------------------------------------------------------------------------------------


def test_pieces(server: Page) -> None:
    assert server.says(get(b"/pieces")) == b""
    server.loop.settle()
    assert server.transport.take() == PIECES_HEAD + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert server.transport.ending == "close"


def test_nothing_overtakes_the_pieces(server: Page) -> None:
    """The connection ends behind them, so a pipelined request is not even looked at."""
    server.says(get(b"/pieces") + get(b"/2"), get(b"/3"))
    server.loop.settle()
    assert server.transport.take().count(b"HTTP/1.1 ") == 1
    assert server.asked == [b"GET /pieces "]


def test_half_closed_in_the_middle(server: Page) -> None:
    server.says(get(b"/pieces"))
    server.transport.receive_eof()
    assert server.transport.ending == "open"
    server.loop.settle()
    assert server.transport.take().endswith(b"0\r\n\r\n")
    assert server.transport.ending == "close"


def test_pieces_wait_for_a_slow_reader(server: Page) -> None:
    server.pieces = [b"z" * 1000] * 20
    server.transport.high_mark = 5000
    server.says(get(b"/pieces"))
    server.loop.settle()
    first = server.transport.take()
    assert 5000 < len(first) < 7000
    server.transport.high_mark = 1 << 30
    server.transport.read_all()
    server.loop.settle()
    rest = server.transport.take()
    assert (first + rest).count(b"z") == 20_000
    assert rest.endswith(b"0\r\n\r\n")


def test_lost_in_the_middle(server: Page, caplog: pytest.LogCaptureFixture) -> None:
    """The task ends, without a word."""
    server.transport.high_mark = 0
    server.says(get(b"/pieces"))
    server.loop.settle()
    server.transport.lose()
    server.loop.settle()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert b"cde" not in server.transport.take()


def test_pieces_to_head(server: Page) -> None:
    """RFC 9110 section 9.3.2: no content."""
    server.says(get(b"/pieces", method=b"HEAD"))
    server.loop.settle()
    assert server.transport.take() == PIECES_HEAD
    assert server.transport.ending == "close"


def test_pieces_to_http_1_0(server: Page) -> None:
    """RFC 9112 section 6.1: no transfer coding; the end of the connection is the end of the body."""
    server.says(b"GET /pieces HTTP/1.0\r\n\r\n")
    server.loop.settle()
    assert server.transport.take() == OK + b"Connection: close\r\n\r\nabcde"
    assert server.transport.ending == "close"


# --- answers that come later ---------------------------------------------------------------------------------------


def test_an_answer_that_comes_later(server: Page) -> None:
    """What is pipelined behind it waits for it."""
    assert server.says(get(b"/later") + get(b"/2"), get(b"/3")) == b""
    server.loop.settle()
    assert server.asked == [b"GET /later "]
    server.go.set()
    server.loop.settle()
    assert server.transport.take() == page(b"GET /later ") + page(b"GET /2 ") + page(b"GET /3 ")
    assert server.transport.ending == "open"


def test_who_leaves_meanwhile_gets_nothing(server: Page, caplog: pytest.LogCaptureFixture) -> None:
    server.says(get(b"/later"))
    server.loop.settle()
    server.transport.lose()
    server.go.set()
    server.loop.settle()
    assert server.transport.take() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_last_request_may_be_answered_later(server: Page) -> None:
    server.says(get(b"/later", b"Connection: close\r\n"))
    server.go.set()
    server.loop.settle()
    assert server.transport.take() == page(b"GET /later ", closes=True)
    assert server.transport.ending == "close"


def test_pieces_that_come_later(server: Page) -> None:
    server.says(get(b"/later/pieces"))
    server.go.set()
    server.loop.advance(3)
    assert server.transport.take() == PIECES_HEAD + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert server.transport.ending == "close"


def test_pieces_that_break_off_are_not_taken_for_all(server: Page) -> None:
    server.says(get(b"/broken"))
    server.loop.advance(3)
    assert server.transport.take() == PIECES_HEAD + b"2\r\nab\r\n3\r\ncde\r\n"
    assert server.transport.ending == "abort"
