"""A transport without a socket: bytes in, writes out. It does what uvloop's does, checked against its sources:

- `close` ends reading at once, and the connection when all is written; `abort` ends both;
- `pause_reading` and `resume_reading` may be repeated, and do nothing on a closing transport;
- writing is an error after `write_eof` and after the end, and is dropped in between;
- `pause_writing` is called inside the `write` that goes over the mark.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Protocol

PEER = ("192.0.2.1", 40000)
OWN = ("192.0.2.2", 8080)


class StreamProtocol(Protocol):
    """What a transport calls. The data path's protocols are classes without asyncio's base."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class FakeSocket:
    """What `get_extra_info("socket")` gives."""

    def __init__(self, original: tuple[str, int] | None = None) -> None:
        self.options: list[tuple[object, ...]] = []
        self.original = original  # where the peer was going before it was redirected
        self.family = socket.AF_INET6 if original is not None and ":" in original[0] else socket.AF_INET

    def setsockopt(self, *option: object) -> None:
        self.options.append(option)

    def getsockopt(self, *option: object) -> bytes:
        if self.original is None:
            raise OSError("not redirected")
        host, port = self.original
        packed = socket.inet_pton(self.family, host)
        if self.family == socket.AF_INET6:
            assert option == (socket.IPPROTO_IPV6, 80, 28)
            return struct.pack("=H", self.family) + struct.pack("!H4s16s4s", port, b"flow", packed, b"zone")
        assert option == (socket.SOL_IP, 80, 16)
        return struct.pack("=H", self.family) + struct.pack("!H4s8x", port, packed)

    def fileno(self) -> int:
        raise OSError("nothing to read")


class FakeTransport(asyncio.Transport):
    """One connection of `protocol`; the test is its peer."""

    def __init__(
        self, protocol: StreamProtocol, peer: object = PEER, own: object = OWN, original: tuple[str, int] | None = None
    ) -> None:
        self.socket = FakeSocket(original)
        super().__init__({"peername": peer, "sockname": own, "socket": self.socket})
        self._protocol = protocol
        self.writes: list[bytes] = []  # one per call, until taken
        self.calls: list[str] = []  # of the others, those that did something
        self.high_mark = 1 << 30  # bytes that may wait for the peer
        self._unread = 0
        self._is_full = False
        self._is_reading = True
        self._is_closing = False
        self._has_ended = False  # no more bytes from us
        self.is_lost = False
        protocol.connection_made(self)

    # --- what the peer does ---

    def receive(self, *pieces: bytes) -> None:
        """The peer sent this, and it was read."""
        for data in pieces:
            assert self._is_reading, "nothing is read now"
            assert not self._is_closing, "nothing is read any more"
            self._protocol.data_received(data)

    def receive_eof(self) -> None:
        """The peer ended its side; a protocol that does not object loses the connection."""
        assert not self._is_closing
        if not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is over: after our close, or because it was reset."""
        assert not self.is_lost
        self._is_closing = self.is_lost = True
        self._protocol.connection_lost(error)

    def read_all(self) -> None:
        """The peer reads what was written."""
        self._unread = 0
        if self._is_full:
            self._is_full = False
            self._protocol.resume_writing()

    def fill(self) -> None:
        """The peer does not read."""
        self._is_full = True
        self._protocol.pause_writing()

    def take(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self.writes)
        self.writes.clear()
        return data

    # --- what the protocol does ---

    def write(self, data: Any) -> None:
        if self.is_lost:
            raise RuntimeError("the handler is closed")
        if self._has_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._is_closing:
            return
        self.writes.append(bytes(data))
        self._unread += len(data)
        if self._unread > self.high_mark and not self._is_full:
            self.fill()

    def write_eof(self) -> None:
        if self.is_lost:
            raise RuntimeError("the handler is closed")
        if not self._has_ended:
            self._has_ended = True
            self.calls.append("eof")

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        if self._is_reading and not self._is_closing:
            self._is_reading = False
            self.calls.append("pause")

    def resume_reading(self) -> None:
        if not self._is_reading and not self._is_closing:
            self._is_reading = True
            self.calls.append("resume")

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.calls.append("close")

    def abort(self) -> None:
        if not self.is_lost and "abort" not in self.calls:
            self._is_closing = True
            self.calls.append("abort")

    @property
    def ending(self) -> str:
        """How far the protocol ended the connection: `open`, `eof` (it lingers), `close` or `abort`."""
        calls = [call for call in self.calls if call in ("eof", "close", "abort")]
        return calls[-1] if calls else "open"
