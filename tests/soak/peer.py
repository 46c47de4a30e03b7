"""A client's end of one connection: what came is kept even if a reset follows it, and reading can stop."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import cast

import h11

from tests.soak import HANG_S


@dataclass
class Got:
    """What came back. `status` 0: no head of a response. `is_whole`: its framing said so.

    `reset`: the code with which the proxy ended the stream.
    """

    status: int = 0
    fields: list[tuple[bytes, bytes]] | None = None
    body: bytes = b""
    is_whole: bool = False
    error: str = ""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    reset: int | None = None

    def value(self, name: bytes) -> str:
        """The values of a field, joined; empty where it is absent."""
        return _value(self.fields or [], name)

    def trailer(self, name: bytes) -> str:
        return _value(self.trailers, name)

    @property
    def is_last(self) -> bool:
        """No other response can follow it."""
        return not self.is_whole or "close" in self.value(b"connection").lower()

    def told(self) -> str:
        head = {name.decode(): value.decode("latin-1") for name, value in self.fields or ()}
        body = f"body={len(self.body)}:{self.body[:200]!r}"
        return f"{self.status} {head} whole={self.is_whole} {self.error} {body} trailers={self.trailers}"


def _value(fields: list[tuple[bytes, bytes]], name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for other, value in fields if other == name)


class Peer(asyncio.Protocol):
    def __init__(self) -> None:
        self._came = bytearray()
        self._ended = False
        self.error: str = ""
        self._news = asyncio.Event()

    @classmethod
    async def connect(cls, port: int) -> Peer:
        async with asyncio.timeout(HANG_S):
            _, peer = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._came += data
        self._news.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._news.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self.error = repr(exc) if exc is not None else self.error
        self._news.set()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def recv(self) -> bytes:
        """What came; nothing at the end, and TimeoutError if that is not in sight."""
        async with asyncio.timeout(HANG_S):
            while not self._came and not self._ended:
                self._news.clear()
                await self._news.wait()
        data = bytes(self._came)
        self._came.clear()
        return data

    def unread(self, data: bytes) -> None:
        self._came[:0] = data

    async def response(self, method: str, *, upgrade: bool = False) -> Got:
        """The next response, as h11 reads it. After 101 the rest is left unread."""
        http = h11.Connection(h11.CLIENT)
        headers = [("Host", "x"), *[("Upgrade", "websocket"), ("Connection", "upgrade")] * upgrade]
        http.send(h11.Request(method=method, target="/", headers=headers))
        http.send(h11.EndOfMessage())
        got = Got()
        pieces: list[bytes] = []
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await self.recv())
                elif isinstance(event, h11.Response | h11.InformationalResponse):
                    got.status = event.status_code
                    got.fields = list(event.headers)
                elif isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                    got.is_whole = True
                    self.unread(http.trailing_data[0])
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    got.error = "closed"
                    break
        except h11.RemoteProtocolError as error:
            got.error = f"{error!r} {self.error}"
        except TimeoutError:
            got.error = f"hangs: nothing for {HANG_S:g} s"
        got.body = b"".join(pieces)
        return got

    def reset(self) -> None:
        """Ends the connection as a killed process does."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        self.transport.close()
