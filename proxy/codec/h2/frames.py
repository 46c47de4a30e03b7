"""HTTP/2 frames: their numbers, and how those that we send are written.

Spec: RFC 9113 sections 4 (format), 6 (types), 7 (error codes), RFC 8441 (ENABLE_CONNECT_PROTOCOL).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6
SETTINGS_ENABLE_CONNECT_PROTOCOL: Final = 8

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

DEFAULT_WINDOW: Final = 65535
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
# We announce no other, so that no peer may send more at once.
MAX_FRAME_BYTES: Final = 16384
LARGEST_FRAME_BYTES: Final = 2**24 - 1

# Length (24 bits as 8 and 16), type, flags, stream.
_HEADER: Final = Struct(">BHBBI")
_SETTING: Final = Struct(">HI")
_WORDS: Final = Struct(">II")
_WORD: Final = Struct(">I")


class ConnectionFault(Exception):
    """The connection must end with this error code (RFC 9113 section 5.4.1)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings(*pairs: tuple[int, int]) -> bytes:
    payload = b"".join(_SETTING.pack(number, value) for number, value in pairs)
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


def settings_pairs(payload: bytes) -> list[tuple[int, int]]:
    """(number, value) in order; the payload's length is a multiple of 6."""
    return [_SETTING.unpack_from(payload, offset) for offset in range(0, len(payload), 6)]


SETTINGS_ACK: Final = frame_header(0, SETTINGS, ACK, 0)


def ping(payload: bytes, *, is_ack: bool = False) -> bytes:
    return frame_header(8, PING, ACK if is_ack else 0, 0) + payload


def goaway(last_stream_id: int, code: int, text: str = "") -> bytes:
    payload = _WORDS.pack(last_stream_id, code) + text.encode("ascii", "backslashreplace")[:200]
    return frame_header(len(payload), GOAWAY, 0, 0) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame_header(4, RST_STREAM, 0, stream_id) + _WORD.pack(code)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + _WORD.pack(increment)


def word(payload: bytes, offset: int = 0) -> int:
    """The 32 bits at this place."""
    return int.from_bytes(payload[offset : offset + 4], "big")
