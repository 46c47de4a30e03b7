"""Writes HTTP/1.1 messages: heads from their lines, bodies as they are or in chunks."""

from __future__ import annotations

from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"


def head_bytes(lines: list[bytes]) -> bytes:
    """A head as bytes: its lines and the empty line."""
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body. Spec: RFC 9112 section 7.1. `data` is not empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + head_bytes(trailers)
