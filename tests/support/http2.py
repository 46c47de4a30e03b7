"""HTTP/2 as bytes: frames and header blocks, right or wrong as a test wants them (RFC 9113 section 4, RFC 7541).

Nothing here checks anything. Blocks are literals without indexing, so they stand alone whatever a table holds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65535
MAX_FRAME: Final = 16384  # of a peer that announces nothing else
SIZE_0: Final = b"\x20"  # a table size update to 0 (RFC 7541 section 6.3)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

Fields = list[tuple[bytes, bytes]]


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 0xEE


class Code(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self) -> str:
        name = Kind(self.kind).name if self.kind in set(Kind) else f"type {self.kind}"
        return f"{name} flags={self.flags:#x} stream={self.stream} {self.payload[:24].hex()}({len(self.payload)})"


# --- frames ---


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, length: int | None = None) -> bytes:
    """A frame. `stream` may have the reserved bit, `length` may lie."""
    size = len(payload) if length is None else length
    return struct.pack("!IBI", size << 8 | kind, flags, stream) + payload


def _padded(payload: bytes, pad: int | None) -> tuple[int, bytes]:
    return (0, payload) if pad is None else (PADDED, bytes([pad]) + payload + bytes(pad))


def data(stream: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    flags, payload = _padded(payload, pad)
    return frame(Kind.DATA, payload, flags=flags | (END_STREAM if end else 0), stream=stream)


def headers(
    stream: int,
    block: bytes,
    *,
    end: bool = False,
    whole: bool = True,
    pad: int | None = None,
    priority: tuple[int, int] | None = None,
) -> bytes:
    """`priority`: (the stream that it depends on, weight). `whole`: no CONTINUATION follows."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
    if priority is not None:
        block = struct.pack("!IB", *priority) + block
        flags |= PRIORITY
    padding, block = _padded(block, pad)
    return frame(Kind.HEADERS, block, flags=flags | padding, stream=stream)


def continuation(stream: int, block: bytes = b"", *, whole: bool = True) -> bytes:
    return frame(Kind.CONTINUATION, block, flags=END_HEADERS if whole else 0, stream=stream)


def in_frames(stream: int, block: bytes, *, end: bool = False, size: int = MAX_FRAME) -> bytes:
    """A block as HEADERS and as many CONTINUATION frames as it takes."""
    pieces = [block[index : index + size] for index in range(0, len(block), size)] or [b""]
    said = headers(stream, pieces[0], end=end, whole=len(pieces) == 1)
    for number, piece in enumerate(pieces[1:], 2):
        said += continuation(stream, piece, whole=number == len(pieces))
    return said


def priority(stream: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(Kind.PRIORITY, struct.pack("!IB", depends_on, weight), stream=stream)


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, struct.pack("!I", code), stream=stream)


def settings(values: Mapping[int, int] | list[tuple[int, int]] = {}) -> bytes:  # noqa: B006 (never changed)
    pairs = values if isinstance(values, list) else list(values.items())
    return frame(Kind.SETTINGS, b"".join(struct.pack("!HI", *pair) for pair in pairs))


SETTINGS_ACK: Final = frame(Kind.SETTINGS, flags=ACK)


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame(Kind.PING, payload, flags=ACK if ack else 0)


def goaway(last: int = 0, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, struct.pack("!II", last, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, struct.pack("!I", increment), stream=stream)


def push_promise(stream: int, promised: int, block: bytes) -> bytes:
    return frame(Kind.PUSH_PROMISE, struct.pack("!I", promised) + block, flags=END_HEADERS, stream=stream)


# --- header blocks ---


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1: a number in the low `bits` of a byte that begins as `first`, and in those that follow."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    said, value = [first | most], value - most
    while value > 127:
        said.append(value & 127 | 128)
        value >>= 7
    return bytes([*said, value])


def string(text: bytes) -> bytes:
    return integer(len(text), 7) + text


def literal(name: bytes, value: bytes, *, first: int = 0) -> bytes:
    """`first`: 0 without indexing, 0x10 never indexed, 0x40 with indexing."""
    return bytes([first]) + string(name) + string(value)


def indexed(index: int) -> bytes:
    return integer(index, 7, 0x80)


def block(*fields: tuple[str | bytes, str | bytes]) -> bytes:
    return b"".join(literal(_raw(name), _raw(value)) for name, value in fields)


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def head(
    path: str = "/", *more: tuple[str | bytes, str | bytes], method: str = "GET", authority: str = "location"
) -> bytes:
    """The block of a request."""
    pseudo = ((":method", method), (":scheme", "http"), (":authority", authority), (":path", path))
    return block(*pseudo, *more)


def get(stream: int, path: str = "/", *more: tuple[str | bytes, str | bytes], method: str = "GET") -> bytes:
    """A whole request."""
    return headers(stream, head(path, *more, method=method), end=True)


def post(stream: int, path: str = "/", *more: tuple[str | bytes, str | bytes], method: str = "POST") -> bytes:
    """A request whose body is still to come."""
    return headers(stream, head(path, *more, method=method))


def answer(status: int = 200, *more: tuple[str | bytes, str | bytes]) -> bytes:
    """The block of a response."""
    return block((":status", str(status)), *more)
