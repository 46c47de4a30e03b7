"""What supervisor and worker tell each other: words over a socket pair, each as its length and a tuple in `marshal`.

It is read by the same interpreter that wrote it, and only these two hold the pair: as with `tableload`.

    worker -> supervisor    ("up", lines)          it accepts; what it has to say about that
                            ("beat", why)          it lives; why it is not ready, or None
                            ("reply", number, content)
                            ("last", families)     what it has counted, before it leaves
    supervisor -> worker    ("drain",)
                            ("ask", number, what, ...)    see `member`
"""

from __future__ import annotations

import asyncio
import marshal
from collections.abc import Callable
from typing import Any, Final, cast

_LENGTH_BYTES: Final = 4
# Nobody reads: beats are left out, so that they do not pile up.
_FULL_BYTES: Final = 1 << 16

Word = tuple[Any, ...]  # Any: its first part says what is in it


class Channel(asyncio.Protocol):
    """One end."""

    def __init__(self, take: Callable[[Word], None], ended: Callable[[], None]) -> None:
        self._take: Final = take
        self._ended: Final = ended
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def is_full(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > _FULL_BYTES

    def say(self, *word: Any) -> None:
        """To one who is not there yet, or has ended: nothing."""
        if self._transport is not None and not self._transport.is_closing():
            raw = marshal.dumps(word)
            self._transport.write(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)

    def close(self) -> None:
        """When all is written."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "big")
            if len(buffer) < end:
                return
            raw = bytes(buffer[_LENGTH_BYTES:end])
            del buffer[:end]
            self._take(marshal.loads(raw))
