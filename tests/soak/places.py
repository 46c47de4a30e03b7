"""Origins, the baseline among them: what they answer, how they fail, and how they come back.

A place is a port with servers behind it. It dies as a process does: the port closes and every connection is reset. Or
it stays and does its work badly: closes before or after it read a head, answers by half, or with what is no HTTP. Some
answers are late, which is no failure. A restless place now and then closes a connection that it served before when the
next request arrives, as if that had met an idle time's end; that is no illness either, and what can be sent again must
get its answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import cast

import h11
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.soak.asking import body_of, events_of, sum_of
from tests.soak.books import Books, Record
from tests.soak.calls import GRPC, messages_of, start_of_body
from tests.soak.h2_places import H2Serving
from tests.soak.h2_side import PREFACE
from tests.soak.history import History

_RESET = struct.pack("ii", 1, 0)
_GARBAGE = (b"\x00\x01\x02\r\n\r\n", b"220 mail ready\r\n", b"HTTP/1.1\r\n\r\n")
# The second line is of HTTP/2 alone; in HTTP/1.1 all is well then.
ILLNESSES = (
    *("dead", "closes at once", "closes unanswered", "half", "garbage", "silent"),
    *("resets", "refuses", "goes away"),
)


class Place:
    def __init__(self, name: str, host: str, port: int, books: Books, history: History, rng: Random) -> None:
        self.name = name
        self.address = (host, port)
        self.books = books
        self.rng = rng
        self.illness = ""
        self.is_restless = False
        self.streams = 100  # at once on one HTTP/2 connection
        self.connections: set[_Connection | H2Serving] = set()
        self._history = history
        self._server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        host, port = self.address
        return f"{host}:{port}"

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), *self.address, backlog=1024)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.reset()

    async def suffer(self, illness: str, for_s: float, noticed: Callable[[], Awaitable[None]]) -> None:
        """Is ill for a while. `noticed` returns once the proxy has seen all that happened before it was called."""
        self._history.fell_ill(self.name, illness, time.monotonic())
        self.illness = illness
        if illness == "dead":
            self.close()
        await asyncio.sleep(for_s)
        if illness == "dead":
            await self.open()
        else:
            for connection in list(self.connections):
                connection.reset()
        self.illness = ""
        await noticed()
        self._history.is_well(self.name, time.monotonic())


class _Connection(asyncio.Protocol):
    """One connection to a place. HTTP/1.1 is read by h11, WebSocket by websockets; neither is ours.

    What begins as HTTP/2 is handed over.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opened_s = 0.0
        self._first: bytes | None = b""  # None: it is HTTP/1.1
        self._http = h11.Connection(h11.SERVER)
        self._dialog: ServerProtocol | None = None
        self._served = 0
        self._request: h11.Request | None = None
        self._record: Record | None = None
        self._upload = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._place.connections.add(self)
        if self._place.illness == "closes at once":
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._place.connections.discard(self)
        self._may_write.set()
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _end(self) -> None:
        if self._place.rng.random() < 0.5:
            self.reset()
        else:
            self._transport.close()

    # --- a request ---

    def data_received(self, data: bytes) -> None:
        if self._first is not None:
            data = self._first + data
            if PREFACE.startswith(data) and data != PREFACE:
                self._first = data
                return
            self._first = None
            if data.startswith(PREFACE):
                self._hand_over(data)
                return
        if self._dialog is not None:
            self._hear(data)
        elif self._answering is not None:
            self._place.books.faults.append(f"{self._place.name}: {data[:200]!r} came before the answer was out")
        else:
            self._http.receive_data(data)
            self._read()

    def _hand_over(self, data: bytes) -> None:
        connections = self._place.connections
        connections.discard(self)
        serving = H2Serving(self._place, self._transport)
        connections.add(serving)
        self._transport.set_protocol(serving)
        serving.data_received(data)

    def _read(self) -> None:
        try:
            while not self._transport.is_closing():
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._upload += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._arrived()
                    return
                else:
                    return
        except h11.RemoteProtocolError as error:
            self._place.books.faults.append(f"{self._place.name}: what arrived is no request: {error!r}")
            self.reset()

    def _begin(self, request: h11.Request) -> None:
        place = self._place
        self._opened_s = self._opened_s or time.monotonic()
        ident = request.target.decode().split("/")[2]
        baggage = ",".join(value.decode() for name, value in request.headers if name == b"baggage")
        self._request = request
        self._record = place.books.arrived(ident, place.name, self._opened_s, baggage, "1.1")
        self._upload.clear()
        self._served += 1
        is_leaving = place.is_restless and self._served > 1 and place.rng.random() < 0.1
        if is_leaving or place.illness == "closes unanswered":
            self._end()

    def _arrived(self) -> None:
        assert self._request is not None
        assert self._record is not None
        self._record.whole += 1
        self._record.upload = sum_of(bytes(self._upload))
        verb, ident, *rest = self._request.target.decode().split("/")[1:]
        if self._place.illness in ("half", "garbage"):
            self._answer_badly(ident, start_of_body(verb, ident, *rest))
        elif self._place.illness == "silent":
            return
        elif verb == "dialog":
            self._open_dialog()
        else:
            ways: dict[str, Callable[..., Coroutine[None, None, None]]]
            ways = {"echo": self._echo, "events": self._events, "call": self._call}
            self._answering = asyncio.get_running_loop().create_task(ways[verb](ident, *rest))

    # --- answers ---

    async def _echo(self, ident: str, size: str, form: str, delay_ms: str) -> None:
        if delay_ms != "0":
            await asyncio.sleep(int(delay_ms) / 1000)
        body = b"" if self._is_head else body_of(ident, int(size))
        framing = {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked"}.get(form, "")
        self._transport.write(self._head(ident, framing or "Connection: close"))
        if form == "chunked" and not self._is_head:
            cut = self._place.rng.randint(0, len(body))
            for piece in (body[:cut], body[cut:]):
                if piece:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await self._may_write.wait()
            self._transport.write(b"0\r\n\r\n")
        else:
            for start in range(0, len(body), 65536):
                self._transport.write(body[start : start + 65536])
                await self._may_write.wait()
        self._answered(is_last=not framing)

    async def _events(self, ident: str, count: str) -> None:
        self._transport.write(self._head(ident, "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"))
        for event in events_of(ident, int(count)):
            await asyncio.sleep(self._place.rng.uniform(0, 0.1))
            await self._may_write.wait()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._transport.write(b"0\r\n\r\n")
        self._answered()

    async def _call(self, ident: str, number: str, size: str, pause_ms: str) -> None:
        self._transport.write(self._head(ident, f"content-type: {GRPC}\r\nTransfer-Encoding: chunked"))
        for message in messages_of(ident, int(number), int(size)):
            if pause_ms != "0":
                await asyncio.sleep(self._place.rng.uniform(0, int(pause_ms) / 500))
            await self._may_write.wait()
            self._transport.write(b"%x\r\n%b\r\n" % (len(message), message))
        self._transport.write(b"0\r\ngrpc-status: 0\r\n\r\n")
        self._answered()

    def _answered(self, *, is_last: bool = False) -> None:
        self._answering = None
        if is_last:
            self._transport.close()
            return
        self._http = h11.Connection(h11.SERVER)
        self._request = self._record = None

    @property
    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    def _head(self, ident: str, framing: str) -> bytes:
        lines = ["HTTP/1.1 200 OK", f"x-place: {self._place.name}", f"x-id: {ident}"]
        lines.append(f"x-upload: {sum_of(bytes(self._upload))}")
        return "\r\n".join([*lines, framing, "", ""]).encode()

    def _answer_badly(self, ident: str, body: bytes) -> None:
        if self._place.illness == "garbage":
            self._transport.write(self._place.rng.choice(_GARBAGE))
            self._end()
            return
        head = self._head(ident, f"Content-Length: {len(body)}")
        chunked = self._head(ident, "Transfer-Encoding: chunked") + b"%x\r\n" % len(body)
        choices = [head[:40], head, head + body[:500], chunked + body[:500], chunked + body + b"\r\n"]
        choices.append(chunked + body + b"\r\nzz\r\n")
        self._transport.write(self._place.rng.choice(choices))
        self._end()

    # --- WebSocket ---

    def _open_dialog(self) -> None:
        assert self._request is not None
        self._dialog = ServerProtocol(max_size=None)
        fields = b"".join(b"%b: %b\r\n" % field for field in self._request.headers.raw_items())
        early = self._http.trailing_data[0]
        self._hear(b"GET %b HTTP/1.1\r\n%b\r\n" % (self._request.target, fields) + early)

    def _hear(self, data: bytes) -> None:
        dialog = self._dialog
        assert dialog is not None
        dialog.receive_data(data)
        for event in dialog.events_received():
            if isinstance(event, Request):
                response = dialog.accept(event)
                response.headers["x-place"] = self._place.name
                response.headers["x-id"] = event.path.split("/")[2]
                dialog.send_response(response)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                dialog.send_frame(event)
        for out in dialog.data_to_send():
            if out:
                self._transport.write(out)
            elif not self._transport.is_closing():
                self._transport.close()
