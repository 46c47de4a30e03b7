"""HTTP/2 as client and origin of the benchmarks need it: frames in and out, settings, windows, pings.

Independent of the proxy's codec, as a peer must be. Correct but narrow: padding and continuations, which nothing here
sends, end the connection, and so the round is void.

Spec: RFC 9113.
"""

import asyncio
from struct import Struct
from typing import cast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5

# As gRPC's core library (1.85) announces them; both sides.
WINDOW_BYTES = 4 * 1024 * 1024
_COMMON_SETTINGS = ((INITIAL_WINDOW_SIZE, WINDOW_BYTES), (MAX_FRAME_SIZE, WINDOW_BYTES))
CLIENT_SETTINGS = ((ENABLE_PUSH, 0), (MAX_CONCURRENT_STREAMS, 0), *_COMMON_SETTINGS)
SERVER_SETTINGS = _COMMON_SETTINGS

_HEADER = Struct(">BHBBI")  # length as 8 and 16 bits, type, flags, stream
_SETTING = Struct(">HI")
DEFAULT_WINDOW = 65_535
_NO_LIMIT = 2**31 - 1


class Violation(Exception):
    """The peer sent what no peer of a benchmark should send."""


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return header(len(payload), kind, flags, stream) + payload


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def form(kind: int, flags: int, payload: bytes) -> bytes:
    """A frame for `%` with a slot for the stream, as four bytes."""
    start = header(len(payload), kind, flags, 0)[:5]
    return start.replace(b"%", b"%%") + b"%b" + payload.replace(b"%", b"%%")


class Peer(asyncio.Protocol):
    """One end of a connection. What it writes while it reads goes out in one write at the end of the turn.

    Subclasses send DATA only after `take_window` said yes. They have no use for windows of single streams: a peer that
    opens less than one message there is refused.
    """

    smallest_window = 0  # of a stream, that the peer must open

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.peer_settings = {HEADER_TABLE_SIZE: 4096, MAX_CONCURRENT_STREAMS: _NO_LIMIT}
        self.trouble = ""
        self._pending = b""
        self._window = DEFAULT_WINDOW
        self._unreported = 0  # bytes of DATA whose credit the peer did not get back yet

    # What subclasses answer.

    def on_settings(self) -> None:
        """The peer's settings have come and their acknowledgement is in `out`."""

    def on_headers(self, stream: int, flags: int, block: bytes) -> None:
        raise NotImplementedError

    def on_data(self, stream: int, flags: int, payload: bytes) -> None:
        raise NotImplementedError

    def on_reset(self, stream: int, code: int) -> None:
        """The peer gave up a stream."""

    def on_goaway(self, last_stream: int) -> None:
        """The peer takes no stream after this one."""

    def on_window(self) -> None:
        """There is more room for DATA."""

    # What they use.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, which derives from neither

    def take_window(self, size: int) -> bool:
        if self._window < size:
            return False
        self._window -= size
        return True

    def flush(self) -> None:
        if self.out:
            self.transport.write(b"".join(self.out))
            self.out.clear()

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        try:
            self._pending = data[self._read(data) :]
        except Violation as why:
            self.trouble = self.trouble or str(why)
            self.transport.abort()
            return
        if self._unreported > WINDOW_BYTES // 4:
            self.out.append(window_update(0, self._unreported))
            self._unreported = 0
        self.flush()

    def _read(self, data: bytes) -> int:
        """Handles whole frames. Returns where the first incomplete one starts."""
        at, size = 0, len(data)
        unpack, on_headers, on_data = _HEADER.unpack_from, self.on_headers, self.on_data
        while at + 9 <= size:
            high, low, kind, flags, stream = unpack(data, at)
            start = at + 9
            end = start + (high << 16 | low)
            if end > size:
                break
            at = end
            if kind == DATA:
                if flags & PADDED:
                    raise Violation("padded DATA")
                self._unreported += end - start
                on_data(stream, flags, data[start:end])
            elif kind == HEADERS:
                if flags & (PADDED | PRIORITY | END_HEADERS) != END_HEADERS:
                    raise Violation("HEADERS with padding, priority or continuation")
                on_headers(stream, flags, data[start:end])
            else:
                self._control(kind, flags, stream, data[start:end])
        return at

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
                self.on_window()
        elif kind == SETTINGS and not flags & ACK:
            self.peer_settings.update(_SETTING.iter_unpack(payload))
            if self.peer_settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW) < self.smallest_window:
                raise Violation("the window of a stream is smaller than one message")
            self.out.append(frame(SETTINGS, ACK, 0, b""))
            self.on_settings()
        elif kind == PING and not flags & ACK:
            self.out.append(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self.on_reset(stream, int.from_bytes(payload, "big"))
        elif kind == GOAWAY:
            code = int.from_bytes(payload[4:8], "big")
            if code:
                self.trouble = self.trouble or f"GOAWAY {code} {payload[8:]!r}"
            self.on_goaway(int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF)
        elif kind == CONTINUATION:
            raise Violation("CONTINUATION")
