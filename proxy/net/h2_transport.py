"""An HTTP/2 connection on a transport: what both sides do alike."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.codec.h2.connection import Connection
from proxy.codec.h2.hpack import Decoder
from proxy.net.outbox import Outbox

_PING_WITHIN_S: Final = 20.0
_ALIVE: Final = b"\0\0alive\0"


class H2Transport(Connection):
    """Writes once for all that one piece of data, or one free transport, led to."""

    __slots__ = ("_outbox", "_ping_since_s", "_transport", "active_at_s")

    _transport: asyncio.Transport

    def __init__(
        self, decoder: Decoder, outbox: Outbox, now_s: float, *, is_server: bool, max_block_bytes: int
    ) -> None:
        super().__init__(decoder, is_server=is_server, max_block_bytes=max_block_bytes, now_s=now_s)
        self._outbox = outbox
        self._ping_since_s = 0.0  # when a ping was sent that is not answered; 0: none
        self.active_at_s = now_s

    def take(self, data: bytes, now_s: float) -> None:
        """What the peer sent, and whatever follows from it."""
        self.now_s = self.active_at_s = now_s
        self._ping_since_s = 0.0
        self._outbox.begin()
        try:
            self.receive(data)
            self.on_taken()
        finally:
            self._outbox.end()

    def on_taken(self) -> None:
        """All that came was worked off, and nothing is written yet."""

    def check_alive(self, now_s: float, ping_after_s: float) -> None:
        """A peer that is silent while streams are open is asked whether it is still there."""
        if self._ping_since_s:
            if now_s - self._ping_since_s > _PING_WITHIN_S:
                self._transport.abort()
        elif now_s - self.active_at_s > ping_after_s:
            self._ping_since_s = self.now_s
            self.write_ping(_ALIVE)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self.unread = 0
        self._outbox.begin()
        try:
            self.write_blocked()
        finally:
            self._outbox.end()

    def on_output(self) -> None:
        self._outbox.add(self)

    def flush(self) -> None:
        data = self.take_output()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close_written(self) -> None:
        """Ends the connection behind what is written. Whatever came behind its end in the same piece is not read."""
        self.is_broken = True
        self.flush()
        self._transport.close()
