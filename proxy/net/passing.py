"""The application's side of a connection that passes as it is, and how either side is reset.

What both sides of a passed connection keep: bytes in order; each side's end (half-close) by itself; a reset as a reset;
and a side that does not read stops the other one, by the marks of its write buffer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from proxy.net.targets import Address

if TYPE_CHECKING:
    from proxy.net.pool import Pool

_RESET: Final = struct.pack("ii", 1, 0)
# A database's connection may be idle for days, so nothing ends it for that; the kernel asks whether the peer is still
# there, and where it is not, what waits for it ends after 2 minutes.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


class Client(Protocol):
    """The other side."""

    def connected(self, upstream: PassedUpstream) -> None: ...

    def application_said(self, data: bytes) -> None: ...

    def application_ended(self) -> None: ...

    def application_lost(self) -> None: ...

    def application_is_full(self) -> None: ...

    def application_is_free(self) -> None: ...


class PassedUpstream:
    """A connection of the pool's that serves one client and carries no HTTP."""

    __slots__ = ("_client", "_pool", "address", "ends", "transport")

    transport: asyncio.Transport

    def __init__(self, pool: Pool, address: Address, client: Client) -> None:
        self._pool = pool
        self._client: Client | None = client
        self.address = address
        self.ends: tuple[object, object] = (None, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pool.opened(self, self.transport)
        if self._client is not None:
            self._client.connected(self)

    def leave(self) -> None:
        """The client needs it no more: it speaks HTTP, or is gone."""
        self._client = None
        self.transport.close()

    def reset(self) -> None:
        self._client = None
        reset(self.transport)

    def data_received(self, data: bytes) -> None:
        if self._client is not None:
            self._client.application_said(data)

    def eof_received(self) -> bool:
        if self._client is None:
            return False
        self._client.application_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        client, self._client = self._client, None
        if client is not None:
            client.application_lost()

    def pause_writing(self) -> None:
        if self._client is not None:
            self._client.application_is_full()

    def resume_writing(self) -> None:
        if self._client is not None:
            self._client.application_is_free()

    # --- from the pool ---

    def check_time(self, now_s: float, idle_timeout_s: float, response_timeout_s: float) -> None:
        """No limit is its own (`_KEEPALIVE`)."""

    def close(self) -> None:
        self.transport.close()


def keep_alive(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    for option in _KEEPALIVE:
        sock.setsockopt(*option)


def reset(transport: asyncio.Transport) -> None:
    """Ends it by a reset, so that nobody takes what came for the whole."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
