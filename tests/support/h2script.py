"""HTTP/2 connections as scripts: a peer that writes and reads frames by itself, and what stands behind a connection.

The peer takes what is written apart with an HPACK decoder that is not ours, and checks all of it: that windows and
frame sizes hold, which it allowed; that nothing comes on a stream after its end. What it read are lines of text:

    HEADERS 1 end :status=200 x=y       DATA 1 end 'ok'       RST 1 CANCEL       GOAWAY 1 PROTOCOL_ERROR
    SETTINGS 1=0 3=100      SETTINGS ack      PING '12345678'      PING ack '12345678'      WINDOW 0 +983041
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import hpack

from proxy.codec.events import RequestHead, ResponseHead
from proxy.codec.fields import FieldLine
from proxy.codec.h2 import frames
from proxy.codec.h2.heads import RequestHeads, response_head
from proxy.codec.h2.hpack import Decoder
from proxy.net.h2_downstream import H2Downstream
from proxy.net.h2_upstream import H2Upstream
from proxy.net.pool import Pool
from proxy.net.targets import Address
from tests.support.exchange import BASELINE, Script
from tests.support.hpack import decoder, response_decoder
from tests.support.loop import FakeLoop
from tests.support.net import DownstreamScript, new_pool
from tests.support.transport import FakeTransport

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = ("DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW", "CONTINUATION")
CODES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
)
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
_SHOWN_BYTES = 20

Pairs = Iterable[tuple[str | bytes, str | bytes]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


# --- writing -------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END * end, stream, payload)


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">I", increment))


def rst(stream: int, code: int = frames.CANCEL) -> bytes:
    return frame(RST, 0, stream, struct.pack(">I", code))


def goaway(last: int, code: int = frames.NO_ERROR) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame(PING, ACK * ack, 0, payload)


def block(*pairs: tuple[str | bytes, str | bytes]) -> bytes:
    """A field block of plain literals, which nobody remembers."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in pairs)


def _string(text: str | bytes) -> bytes:
    text = text.encode("latin-1") if isinstance(text, str) else text
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, octets = len(text) - 127, b"\x7f"
    while rest >= 128:
        octets += bytes([rest % 128 + 128])
        rest //= 128
    return octets + bytes([rest]) + text


def headers(stream: int, *pairs: tuple[str | bytes, str | bytes], end: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | END * end, stream, block(*pairs))


def request(
    stream: int, *pairs: tuple[str | bytes, str | bytes], method: str = "GET", path: str = "/", end: bool = True
) -> bytes:
    return headers(stream, *request_pairs(*pairs, method=method, path=path), end=end)


def request_pairs(
    *pairs: tuple[str | bytes, str | bytes], method: str = "GET", path: str = "/", host: str = "location"
) -> list[tuple[str | bytes, str | bytes]]:
    return [(":method", method), (":scheme", "http"), (":authority", host), (":path", path), *pairs]


def response(stream: int, *pairs: tuple[str | bytes, str | bytes], status: int = 200, end: bool = False) -> bytes:
    return headers(stream, (":status", str(status)), *pairs, end=end)


def lines(*pairs: tuple[str | bytes, str | bytes], of: Decoder | None = None) -> list[FieldLine]:
    """As the codec reads them."""
    return (of or decoder()).read(block(*pairs))


def http2_head(
    *pairs: tuple[str | bytes, str | bytes], method: str = "GET", path: str = "/", end: bool = True
) -> RequestHead:
    """A request's head as the codec makes it."""
    return RequestHeads().read(lines(*request_pairs(*pairs, method=method, path=path)), is_end=end)


def http2_response(*pairs: tuple[str | bytes, str | bytes], status: int = 200, end: bool = False) -> ResponseHead:
    fields = lines((":status", str(status)), *pairs, of=response_decoder())
    return response_head(fields, is_head_request=False, is_end=end)


def connect_head(protocol: str = "websocket", *pairs: tuple[str | bytes, str | bytes]) -> RequestHead:
    """An extended CONNECT's."""
    return http2_head((":protocol", protocol), *pairs, method="CONNECT", end=False)


# --- reading -------------------------------------------------------------------------------------------------------


def frames_of(stream: bytes) -> Iterator[Frame]:
    """Whole frames only."""
    while stream:
        length = int.from_bytes(stream[:3], "big")
        kind, flags, number = struct.unpack_from(">BBI", stream, 3)
        assert len(stream) >= 9 + length, "a frame that is not whole"
        yield Frame(kind, flags, number, stream[9 : 9 + length])
        stream = stream[9 + length :]


class Peer:
    """The other end of a connection of ours.

    `is_client`: of which sort the peer is. Frames that it sends go one by one, so that its account of the windows is
    always right when something comes back.
    """

    def __init__(self, transport: FakeTransport, *, is_client: bool) -> None:
        self._transport = transport
        self._is_client = is_client
        self._decoder = hpack.Decoder()
        self._decoder.max_header_list_size = 1 << 24
        self._decoder.max_allowed_table_size = 0
        self._has_preface = is_client
        self._initial = 65535  # the window of each stream of theirs, at first
        self._more: dict[int, int] = {}  # what was given on top of it less what was used
        self.window = 65535  # the connection's
        self.frame_bytes = 16384  # the longest one that they may send
        self._block: list[bytes] = []
        self._block_start = Frame(0, 0, 0, b"")
        self._ended: set[int] = set()
        self._begun: set[int] = set()
        self.bodies: dict[int, bytes] = {}
        self.heads: dict[int, list[list[tuple[bytes, bytes]]]] = {}  # of each stream, trailers too
        self.ends: set[int] = set()  # streams that ended well
        self.resets: dict[int, int] = {}
        self.frames: list[Frame] = []  # all that came
        self._lines: list[str] = []
        self.given: dict[int, int] = {}  # new window that they gave, by stream
        self.their_initial = 65535  # window of each stream of ours, by their settings
        self.is_gone = False  # they sent a GOAWAY

    def send(self, *pieces: bytes) -> list[str]:
        """Frames, one after another; what came back."""
        for piece in pieces:
            for one in frames_of(piece):
                self._note(one)
                self._transport.receive(frame(*one))
                self._read()
        return self.take()

    def send_raw(self, *pieces: bytes) -> list[str]:
        """Any bytes; windows are not accounted for."""
        self._transport.receive(*pieces)
        return self.take()

    def stream_window(self, stream: int) -> int:
        return self._initial + self._more.get(stream, 0)

    def take(self) -> list[str]:
        """What came since the last time."""
        self._read()
        taken, self._lines = self._lines, []
        return taken

    def _note(self, one: Frame) -> None:
        if one.kind == WINDOW and len(one.payload) == 4:
            (increment,) = struct.unpack(">I", one.payload)
            if one.stream:
                self._more[one.stream] = self._more.get(one.stream, 0) + increment
            else:
                self.window += increment
        elif one.kind == SETTINGS and len(one.payload) % 6 == 0:
            for number, value in struct.iter_unpack(">HI", one.payload):
                if number == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                    self._initial = value
                elif number == frames.SETTINGS_MAX_FRAME_SIZE:
                    self.frame_bytes = value

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FakeLoop)
        loop.settle()
        written = self._transport.take()
        if written and not self._has_preface:
            assert written.startswith(PREFACE)
            self._has_preface = True
            written = written[len(PREFACE) :]
        new = list(frames_of(written))
        self.frames += new
        self._lines += filter(None, map(self._told, new))

    def _told(self, one: Frame) -> str:
        kind, flags, stream, payload = one
        assert len(payload) <= self.frame_bytes
        assert bool(self._block) == (kind == CONTINUATION), "a header block stands alone"
        end = " end" if kind in (DATA, HEADERS) and flags & END else ""
        match kind:
            case 0:
                self._take_data(one)
                shown = repr(payload)[1:] if len(payload) <= _SHOWN_BYTES else str(len(payload))
                return f"DATA {stream}{end} {shown}"
            case 1 | 9:
                self._block.append(payload)
                if kind == HEADERS:
                    self._block_start = one
                if not flags & END_HEADERS:
                    return ""
                return self._told_block()
            case 3:
                assert stream in self._begun or self._is_client, "a reset of a stream that is idle"
                self._ended.add(stream)
                self.resets[stream] = int.from_bytes(payload, "big")
                return f"RST {stream} {CODES[int.from_bytes(payload, 'big')]}"
            case 4:
                if flags & ACK:
                    assert not payload
                    return "SETTINGS ack"
                pairs = dict(struct.iter_unpack(">HI", payload))
                self.their_initial = pairs.get(frames.SETTINGS_INITIAL_WINDOW_SIZE, self.their_initial)
                return " ".join(["SETTINGS", *(f"{number}={value}" for number, value in pairs.items())])
            case 6:
                return f"PING{' ack' * (flags & ACK)} {repr(payload)[1:]}"
            case 7:
                last, code = struct.unpack_from(">II", payload)
                self.is_gone = True
                return f"GOAWAY {last} {CODES[code]}"
            case 8:
                (increment,) = struct.unpack(">I", payload)
                assert increment
                self.given[stream] = self.given.get(stream, 0) + increment
                return f"WINDOW {stream} +{increment}"
        raise AssertionError(f"a frame that is never sent: {KINDS[kind]}")

    def _take_data(self, one: Frame) -> None:
        stream, length = one.stream, len(one.payload)
        assert stream in self._begun, "DATA without a head"
        assert stream not in self._ended, "DATA behind the end"
        self._more[stream] = self._more.get(stream, 0) - length
        self.window -= length
        if length:
            assert self.stream_window(stream) >= 0, "more than the stream's window"
            assert self.window >= 0, "more than the connection's window"
        self.bodies[stream] = self.bodies.get(stream, b"") + one.payload
        if one.flags & END:
            self._end(stream)

    def _end(self, stream: int) -> None:
        self._ended.add(stream)
        self.ends.add(stream)

    def _told_block(self) -> str:
        start, parts, self._block = self._block_start, self._block, []
        stream = start.stream
        assert stream not in self._ended, "HEADERS behind the end"
        if stream not in self._begun and not self._is_client:
            assert stream & 1
            assert stream > max(self._begun, default=0), "stream ids only grow"
        self._begun.add(stream)
        if start.flags & END:
            self._end(stream)
        pairs = self._decoder.decode(b"".join(parts), raw=True)
        self.heads.setdefault(stream, []).append([(bytes(name), bytes(value)) for name, value in pairs])
        text = " ".join(f"{name.decode()}={value.decode('latin-1')}" for name, value in pairs)
        return f"HEADERS {stream}{' end' if start.flags & END else ''} {text}"


# --- what stands behind a connection -------------------------------------------------------------------------------


class H2DownstreamScript(DownstreamScript):
    """A caller that speaks HTTP/2, real exchanges, and upstreams that the test plays."""

    def __init__(self, *, hello: bytes = PREFACE + settings(), **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.peer = Peer(self.transport, is_client=True)
        self.transport.receive(hello)
        self.greeting = self.peer.take()
        for one in frames_of(hello[len(PREFACE) :]):
            self.peer._note(one)

    @property
    def h2(self) -> H2Downstream:
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, H2Downstream)
        return protocol

    def send(self, *pieces: bytes) -> list[str]:
        return self.peer.send(*pieces)

    def assert_nothing_is_left(self) -> None:
        assert not self.h2.streams
        assert not self.h2.blocked
        assert self.h2.spare_window == SPARE_WINDOW
        for upstream in self.used:
            assert not upstream.has_request, "an upstream that nobody told"


class H2UpstreamScript:
    """One HTTP/2 connection of a real pool; requests of exchanges whose downstreams are recorded."""

    def __init__(self, *, hello: bytes = settings(), pool: Pool | None = None, reads: bool = True) -> None:
        """`reads`: the peer takes the first words."""
        self.pool = pool or new_pool()
        self.address = Address(BASELINE, "10.0.0.9")
        self.upstream = H2Upstream(self.pool, self.address)
        self.transport = FakeTransport(self.upstream)
        self.peer = Peer(self.transport, is_client=False)
        self.greeting = self.peer.take() if reads else []
        if hello:
            self.peer.send(hello)

    def request(self, head: RequestHead | None = None, **options: object) -> Script:
        """Another one, on a stream of its own."""
        script = Script(**options)  # type: ignore[arg-type]
        script.start(head or http2_head())
        script.pool.pending.clear()
        script.exchange.connected(self.upstream.open())
        return script

    def send(self, *pieces: bytes) -> list[str]:
        return self.peer.send(*pieces)

    def wait(self, seconds: float) -> None:
        self.pool.now_s += seconds
        self.upstream.check_time(self.pool.now_s, 40, 20)

    def assert_nothing_is_left(self) -> None:
        assert not self.upstream.streams
        assert not self.upstream.blocked
        assert self.upstream.spare_window == SPARE_WINDOW


SPARE_WINDOW = 4194304
STREAM_WINDOW = 65536
CONNECTION_WINDOW = 1048576
