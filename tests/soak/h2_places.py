"""A place's end of an HTTP/2 connection, by the h2 library: gRPC calls, other requests, WebSocket by CONNECT.

How it is ill: as HTTP/1.1 is, connection or stream alone; and it resets streams, refuses them, or goes away (GOAWAY).
A restless place does in good health what a server may: refuses a stream unread, though never one request twice; says
GOAWAY, finishes what it took and lets the proxy close; closes a connection that stood idle for a moment. The first two
lose nothing (RFC 9113 section 8.7), the last only what may not be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.soak.asking import body_of, events_of, sum_of
from tests.soak.calls import GRPC, messages_of, start_of_body
from tests.soak.h2_side import CONNECT, DATA, GOAWAY, HEADERS, RST_STREAM, STREAMS, WINDOW, Side, frame

if TYPE_CHECKING:
    from tests.soak.books import Record
    from tests.soak.places import Place

_REFUSED_STREAM = 7
_CODES = (0, 1, 2, 8, 11)  # of a reset that says nothing of what was read
_GARBAGE = (b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(HEADERS, 0, 0), b"\0" * 9)
_IDLE_S = 0.03
_SETTLED_S = 0.5
Fields = list[tuple[str, str]]


class _Stream:
    def __init__(self, number: int, target: str, method: str, record: Record) -> None:
        self.number = number
        self.verb, self.ident, *self.rest = target.split("/")[1:]
        self.is_head = method == "HEAD"
        self.record = record
        self.upload = bytearray()
        self.answering: asyncio.Task[None] | None = None
        self.dialog: ServerProtocol | None = None


class H2Serving(Side):
    """Made when a connection begins with HTTP/2's preface."""

    def __init__(self, place: Place, transport: asyncio.Transport) -> None:
        window = place.rng.choice([1000, 65535, 65535, 1 << 20])
        super().__init__({STREAMS: place.streams, WINDOW: window, CONNECT: 1}, is_client=False)
        self.transport = transport
        self._place = place
        self._streams: dict[int, _Stream] = {}
        self._opened_s = 0.0
        self._served = 0
        self._last_id = 1 << 30  # that is served
        self._has_left = False
        if place.illness == "garbage" and place.rng.random() < 0.5:
            self.transport.write(place.rng.choice(_GARBAGE))
            self._end()
        elif place.illness != "silent":
            self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._place.connections.discard(self)
        for number in list(self._streams):
            self._forget(number)

    def met(self, error: ProtocolError) -> None:
        self._place.books.faults.append(f"{self._place.name}: what arrived is no HTTP/2: {error!r}")
        self.reset()

    def _end(self) -> None:
        if self._place.rng.random() < 0.5:
            self.reset()
        else:
            self.transport.close()

    def _forget(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None and stream.answering is not None:
            stream.answering.cancel()

    # --- requests ---

    def took(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            if not self._has_left and not self.transport.is_closing():
                self._begin_stream(event)
        elif isinstance(event, DataReceived):
            self.give_window(event.stream_id, event.flow_controlled_length)
            if (stream := self._streams.get(event.stream_id)) is not None:
                self._hear(stream, event.data)
        elif isinstance(event, StreamEnded):
            if (stream := self._streams.get(event.stream_id)) is not None and stream.dialog is None:
                self._arrived(stream)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id)

    def _begin_stream(self, event: RequestReceived) -> None:
        place, number = self._place, event.stream_id
        fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        values = dict(fields)
        target = values[":path"]
        ident = target.split("/")[2]
        if number > self._last_id or self._refuses(number, ident):
            place.books.refused[ident] += 1
            return
        self._opened_s = self._opened_s or time.monotonic()
        self._served += 1
        baggage = ",".join(value for name, value in fields if name == "baggage")
        record = place.books.arrived(ident, place.name, self._opened_s, baggage, "2")
        stream = self._streams[number] = _Stream(number, target, values[":method"], record)
        if place.illness == "closes unanswered":
            self._end()
        elif place.illness == "resets" and place.rng.random() < 0.5:
            self._reset_stream(number, place.rng.choice(_CODES))
        elif ":protocol" in values:
            stream.dialog = ServerProtocol(state=State.OPEN, max_size=None)
            record.whole += 1
            self._head(stream, [])

    def _refuses(self, number: int, ident: str) -> bool:
        """Unread, this stream alone or with all that follow."""
        place, chance = self._place, self._place.rng.random()
        if place.illness == "refuses":
            self._reset_stream(number, _REFUSED_STREAM)
        elif place.illness == "goes away":
            self._go_away(number - 2)
            asyncio.get_running_loop().call_later(place.rng.uniform(0, 0.05), self._end)
        elif place.is_restless and not place.illness and not place.books.refused[ident] and chance < 0.04:
            if chance < 0.03:
                self._reset_stream(number, _REFUSED_STREAM)
            else:
                self._go_away(number - 2)
        else:
            return False
        return True

    def _go_away(self, last: int) -> None:
        self._last_id = last
        self.flush()
        self.transport.write(frame(GOAWAY, 0, 0, max(0, last).to_bytes(4) + bytes(4)))

    def _reset_stream(self, number: int, code: int) -> None:
        try:
            self.http.reset_stream(number, code)
        except ProtocolError:  # it is over
            return
        self.flush()
        self._forget(number)

    def _arrived(self, stream: _Stream) -> None:
        record, illness = stream.record, self._place.illness
        record.whole += 1
        record.upload = sum_of(bytes(stream.upload))
        if illness == "silent":
            return
        answer = self._answer_badly if illness in ("half", "garbage", "resets") else self._answer
        stream.answering = asyncio.get_running_loop().create_task(answer(stream))

    # --- answers ---

    def _head(self, stream: _Stream, fields: Fields, *, end: bool = False) -> None:
        head = [(":status", "200"), ("x-place", self._place.name), ("x-id", stream.ident)]
        if stream.dialog is None:
            head.append(("x-upload", sum_of(bytes(stream.upload))))
        self.http.send_headers(stream.number, [*head, *fields], end_stream=end)
        self.flush()

    async def _answer(self, stream: _Stream) -> None:
        ways: dict[str, Callable[..., Awaitable[None]]]
        ways = {"echo": self._echo, "events": self._events, "call": self._call}
        with contextlib.suppress(ProtocolError):  # the stream was over when more was to be said
            await ways[stream.verb](stream, *stream.rest)
        stream.answering = None
        self._forget(stream.number)
        if self._place.is_restless and not self._streams and self._place.rng.random() < 0.2:
            asyncio.get_running_loop().call_later(_IDLE_S, self._close_if_idle, self._served)

    async def _echo(self, stream: _Stream, size: str, form: str, delay_ms: str) -> None:
        if delay_ms != "0":
            await asyncio.sleep(int(delay_ms) / 1000)
        self._head(stream, [("content-length", size)] if form == "length" else [], end=stream.is_head)
        if not stream.is_head:
            await self.send(stream.number, body_of(stream.ident, int(size)), end=True)

    async def _events(self, stream: _Stream, number: str) -> None:
        self._head(stream, [("content-type", "text/event-stream")])
        for event in events_of(stream.ident, int(number)):
            await asyncio.sleep(self._place.rng.uniform(0, 0.1))
            await self.send(stream.number, event)
        await self.send(stream.number, b"", end=True)

    async def _call(self, stream: _Stream, number: str, size: str, pause_ms: str) -> None:
        self._head(stream, [("content-type", GRPC)])
        for message in messages_of(stream.ident, int(number), int(size)):
            if pause_ms != "0":
                await asyncio.sleep(self._place.rng.uniform(0, int(pause_ms) / 500))
            if not await self.send(stream.number, message):
                return
        self.http.send_headers(stream.number, [("grpc-status", "0")], end_stream=True)
        self.flush()

    def _close_if_idle(self, served: int) -> None:
        """Not by a reset, which would take from the proxy what it has not read yet."""
        is_idle = self._served == served and not self._streams and not self.transport.is_closing()
        if is_idle and time.monotonic() - self._opened_s > _SETTLED_S:
            self._has_left = True
            self.transport.write_eof()

    async def _answer_badly(self, stream: _Stream) -> None:
        """A part of the answer, or none; then the stream's end, or the connection's. HEAD has no parts: its head alone
        is all that an HTTP/1.1 client waits for, who then takes the end of its own connection for a lost request."""
        rng, illness, number = self._place.rng, self._place.illness, stream.number
        body = start_of_body(stream.verb, stream.ident, *stream.rest)[:1000]
        if stream.is_head:
            pass
        elif illness == "garbage":
            self.transport.write(rng.choice(_malformed(number, rng.choice(_CODES))))
            if rng.random() < 0.5:
                return  # the proxy ends the stream
        elif rng.random() < 0.8:
            cut = rng.randint(0, len(body) - 1)
            self._head(stream, [("content-length", str(len(body)))] if rng.random() < 0.5 else [])
            await self.send(number, body[:cut])
        stream.answering = None
        if illness == "resets" or (illness == "half" and rng.random() < 0.5):
            self._reset_stream(number, rng.choice(_CODES))
        else:
            self._end()

    # --- WebSocket ---

    def _hear(self, stream: _Stream, data: bytes) -> None:
        dialog = stream.dialog
        if dialog is None:
            stream.upload += data
            return
        dialog.receive_data(data)
        for event in dialog.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                dialog.send_frame(event)
        out = dialog.data_to_send()
        said = b"".join(out)
        previous = stream.answering
        stream.answering = asyncio.get_running_loop().create_task(self._say(stream, said, previous, end=b"" in out))

    async def _say(self, stream: _Stream, data: bytes, previous: asyncio.Task[None] | None, *, end: bool) -> None:
        if previous is not None:
            await previous
        await self.send(stream.number, data, end=end)
        if end:
            self._streams.pop(stream.number, None)


def _malformed(number: int, code: int) -> list[bytes]:
    """What HTTP/2 does not allow: on the stream alone, and of the connection. Nothing is indexed."""
    literal = b"\x00\x07:status\x03%b"
    return [
        frame(HEADERS, 4, number, literal % b"200" + b"\x00\x04X-Up\x011"),
        frame(HEADERS, 4, number, literal % b"2x0"),
        frame(HEADERS, 4, number, b"\x00\x01a\x011"),
        frame(HEADERS, 4, number, literal % b"101"),
        frame(HEADERS, 5, number, literal % b"200" + b"\x00\x0econtent-length\x015"),
        frame(DATA, 1, number, b"no head"),
        frame(HEADERS, 4, number + 1000, literal % b"200"),
        frame(HEADERS, 4, number, b"\xff\xff\xff\xff\xff"),
        frame(RST_STREAM, 0, number, code.to_bytes(4)[1:]),
        frame(77, 0, 0, bytes(20_000)),
    ]
