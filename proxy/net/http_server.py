"""A very small HTTP/1.1 server for the proxy's own pages (admin), on the codec that the data path uses.

aiohttp would do it, at 15 MB and a quarter of the start time of every sidecar. One request at a time, bodies in memory
up to a limit, answers whole or as an iterator of pieces, at once or later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from proxy import errors
from proxy.background import spawn
from proxy.codec.events import NO_BODY, End, RequestHead
from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.h1.writer import LAST_CHUNK, chunk, head_bytes
from proxy.errors import ProtocolError

_MAX_BODY: Final = 1 << 20
_IDLE_S: Final = 60.0
_AT_ONCE: Final = 64  # connections to one listener: probes, a few scrapers, somebody who looks
_PHRASES: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says. `pieces` instead of `body` for what is too large to make at once. `fields`: more lines of the
    head."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain; charset=utf-8"
    pieces: Iterable[bytes] | AsyncIterator[bytes] | None = None
    fields: tuple[bytes, ...] = ()


class AnswerBroken(Exception):
    """The rest of an answer's pieces can't be had: the connection ends, and nobody takes it for whole."""


Handler = Callable[[RequestHead, bytes], Answer | Awaitable[Answer]]


class PageConnections:
    """Makes the connections to one listener's pages, and bounds them: what many may reach must not take the files that
    the data path needs. Of too many the one goes that has asked for nothing for the longest time, so a probe is served
    whatever else is open."""

    __slots__ = ("_all", "_ended", "_handler", "_kinds")

    def __init__(self, handler: Handler, kinds: FieldKinds, ended: Callable[[], None] = lambda: None) -> None:
        self._handler = handler
        self._kinds = kinds
        self._ended = ended
        self._all: dict[PageConnection, None] = {}  # who asked last is last

    def __call__(self) -> PageConnection:
        return PageConnection(self._handler, self._kinds, self)

    def asks(self, connection: PageConnection) -> None:
        """It is new, or asks for a page."""
        self._all.pop(connection, None)
        self._all[connection] = None
        if len(self._all) > _AT_ONCE:
            longest = next(iter(self._all))
            del self._all[longest]
            longest.cut()

    def ended(self, connection: PageConnection) -> None:
        self._all.pop(connection, None)
        self._ended()


class PageConnection(asyncio.Protocol):
    """One connection to the pages."""

    __slots__ = ("_all", "_body", "_handler", "_head", "_is_busy", "_reader", "_timer", "_transport", "_writable")

    _transport: asyncio.Transport
    _timer: asyncio.TimerHandle

    def __init__(self, handler: Handler, kinds: FieldKinds, all_: PageConnections) -> None:
        self._handler = handler
        self._all = all_
        self._reader = RequestReader(kinds, HeadLimits())
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._is_busy = False
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class
        self._start_timer()
        self._all.asks(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._writable.set()
        self._all.ended(self)

    def cut(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._reader.receive(data)
        if not self._is_busy:
            self._pull()

    def eof_received(self) -> bool:
        return self._is_busy  # half-closed: the answer still goes out, and _answer closes

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self._transport.close)

    def _pull(self) -> None:
        try:
            while not self._is_busy and (event := self._reader.next_event()) is not None:
                if isinstance(event, RequestHead):
                    self._head, self._body = event, []
                    if event.body == NO_BODY:
                        self._serve(event)
                elif isinstance(event, End) and self._head is not None:
                    self._serve(self._head)
                elif isinstance(event, bytes):
                    self._body.append(event)
                    if sum(map(len, self._body)) > _MAX_BODY:
                        raise ProtocolError(errors.BAD_REQUEST, "a body over 1 MiB")
        except ProtocolError as fault:
            self._write(Answer(fault.reason.status, f"{fault.text}\n".encode()), keep_alive=False)

    def _serve(self, head: RequestHead) -> None:
        self._timer.cancel()
        self._start_timer()
        self._all.asks(self)
        answer = self._handler(head, b"".join(self._body))
        if isinstance(answer, Answer):
            self._say(answer, head)
        else:
            self._is_busy = True
            spawn(self._say_later(answer, head), "admin answer")

    def _say(self, answer: Answer, head: RequestHead) -> None:
        if answer.pieces is None:
            self._write(answer, keep_alive=head.keep_alive)
        else:
            self._is_busy = True
            pieces = answer.pieces if head.method != b"HEAD" else ()
            spawn(self._write_pieces(answer, pieces, head), "admin answer")

    async def _say_later(self, coming: Awaitable[Answer], head: RequestHead) -> None:
        answer = await coming
        if self._transport.is_closing():
            return
        self._is_busy = False
        self._say(answer, head)
        if not self._transport.is_closing():
            self._pull()  # what came meanwhile

    def _lines(self, answer: Answer) -> list[bytes]:
        phrase = _PHRASES.get(answer.status, "Error")
        first = [f"HTTP/1.1 {answer.status} {phrase}".encode(), f"Content-Type: {answer.media_type}".encode()]
        return [*first, *answer.fields]

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        lines = [*self._lines(answer), b"Content-Length: %d" % len(answer.body)]
        if not keep_alive:
            lines.append(b"Connection: close")
        is_head = self._head is not None and self._head.method == b"HEAD"
        self._transport.write(head_bytes(lines) + (b"" if is_head else answer.body))
        self._head = None
        if keep_alive:
            self._reader.start_next()
        else:
            self._transport.close()

    async def _write_pieces(
        self, answer: Answer, pieces: Iterable[bytes] | AsyncIterator[bytes], head: RequestHead
    ) -> None:
        """Piece by piece, letting the data path work between two. HTTP/1.0 knows no chunks (RFC 9112 section 6.1)."""
        is_chunked = not head.http10
        framing = [b"Transfer-Encoding: chunked"] if is_chunked else []
        self._transport.write(head_bytes([*self._lines(answer), *framing, b"Connection: close"]))
        try:
            async for piece in pieces if isinstance(pieces, AsyncIterator) else _one_by_one(pieces):
                self._transport.write(chunk(piece) if is_chunked else piece)
                await asyncio.sleep(0)
                await self._writable.wait()
                if self._transport.is_closing():
                    return
        except AnswerBroken:
            self._transport.abort()
            return
        if is_chunked and head.method != b"HEAD":
            self._transport.write(LAST_CHUNK)
        self._transport.close()


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
