"""An HTTP/2 connection on a transport: what both sides do alike."""

from __future__ import annotations

import asyncio

from proxy.codec.h2.connection import Connection
from proxy.codec.h2.hpack import Decoder
from proxy.net.outbox import Outbox


class H2Transport(Connection):
    """Writes once for all that one piece of data, or one free transport, led to."""

    __slots__ = ("_outbox", "_transport", "active_at_s")

    _transport: asyncio.Transport

    def __init__(
        self, decoder: Decoder, outbox: Outbox, now_s: float, *, is_server: bool, max_block_bytes: int
    ) -> None:
        super().__init__(decoder, is_server=is_server, max_block_bytes=max_block_bytes, now_s=now_s)
        self._outbox = outbox
        self.active_at_s = now_s

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
