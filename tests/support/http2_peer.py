"""One side of an HTTP/2 connection over a blocking socket: sends bytes as they are, and books every frame that comes.

It reads only when it is told to. It acknowledges settings and answers pings unless told otherwise, and it fails a test
at once when the other side sends beyond a window or a frame size: no test has to look for that.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import hpack

from tests.support.http2 import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    SETTINGS_ACK,
    SIZE_0,
    Fields,
    Frame,
    Kind,
    Setting,
    data,
    head,
    headers,
    ping,
    settings,
    window_update,
)

WIDE: Final[Mapping[int, int]] = {Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}


@dataclass
class Stream:
    """What came on one stream. It reads as an origin's `Received` where it is a request, as a `Response` else."""

    number: int
    heads: list[Fields] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    never_indexed: set[bytes] = field(default_factory=set)  # names
    body: bytearray = field(default_factory=bytearray)
    is_complete: bool = False
    reset: int | None = None
    window: int = 0  # what the other side may still send
    credit: int = 0  # what we may

    @property
    def is_over(self) -> bool:
        return self.is_complete or self.reset is not None

    @property
    def interim(self) -> list[int]:
        return [int(dict(head)[b":status"]) for head in self.heads if dict(head).get(b":status", b"").startswith(b"1")]

    @property
    def fields(self) -> Fields:
        """The final head's; empty before it."""
        heads = self.heads[len(self.interim) :]
        return heads[0] if heads else []

    @property
    def trailers(self) -> Fields:
        heads = self.heads[len(self.interim) + 1 :]
        return heads[0] if heads else []

    @property
    def status(self) -> int:
        """0 before the final head."""
        return int(self.value(":status") or 0)

    @property
    def method(self) -> bytes:
        return self.value(":method").encode()

    @property
    def target(self) -> bytes:
        return self.value(":path").encode()

    @property
    def origin(self) -> str:
        return self.value("x-origin")

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    def value(self, name: str) -> str:
        return ", ".join(value.decode("latin-1") for value in self.values(name.encode()))


class Peer:
    """`announced`: our settings, sent at once. `window`: of the connection."""

    def __init__(
        self,
        connection: socket.socket,
        announced: Mapping[int, int] = WIDE,
        window: int = MAX_WINDOW,
        *,
        preface: bytes = b"",
        silent: bool = False,
    ) -> None:
        self.socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams: dict[int, Stream] = {}
        self.frames: deque[Frame] = deque(maxlen=4096)
        self.settings: dict[int, int] = {}  # the other side's
        self.goaways: list[tuple[int, int]] = []
        self.pongs: list[bytes] = []
        self.is_closed = self.was_reset = False
        self.acks_settings = self.answers_pings = True
        self.heads_sent = 0  # for a sender that wants to know
        self.window, self.credit = window, DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW  # of a stream, as far as the other side has acknowledged
        self._announced: list[Mapping[int, int]] = [announced]  # what is not acknowledged yet
        self._max_frame = announced.get(Setting.MAX_FRAME_SIZE, MAX_FRAME)
        self.encoder = hpack.Encoder()  # for a test that wants one
        self._decoder = hpack.Decoder(max_header_list_size=1 << 26)
        self._block: tuple[int, bool] | None = None  # a header block that is not whole yet: its stream, and END_STREAM
        self._fragments = b""
        self._data = bytearray()
        self._numbers = itertools.count(1)
        more = window - DEFAULT_WINDOW
        if silent:
            return
        self.send(preface, settings(announced), window_update(0, more) if more > 0 else b"")

    # --- out ---

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def announce(self, values: Mapping[int, int]) -> None:
        """More settings. Until they are acknowledged, both what was and what is announced are fair."""
        self._announced.append(values)
        self.send(settings(values))

    def allow(self, stream: int, increment: int) -> None:
        """A larger window: a stream's, or with 0 the connection's."""
        if stream:
            self.stream(stream).window += increment
        else:
            self.window += increment
        self.send(window_update(stream, increment))

    def send_body(self, stream: int, body: bytes, *, end: bool = True, timeout_s: float = 10.0) -> None:
        """Within the windows of the other side; reads while there is no room."""
        booked = self.stream(stream)
        while body:
            room = min(booked.credit, self.credit, self.settings.get(Setting.MAX_FRAME_SIZE, MAX_FRAME))
            if room <= 0:
                assert self.read(timeout_s) is not None, "the connection ended in the middle of a body"
                continue
            piece, body = body[:room], body[room:]
            booked.credit -= len(piece)
            self.credit -= len(piece)
            self.send(data(stream, piece, end=end and not body))

    # --- in ---

    def stream(self, number: int) -> Stream:
        if number not in self.streams:
            credit = self.settings.get(Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
            self.streams[number] = Stream(number, window=self._initial, credit=credit)
        return self.streams[number]

    def read(self, timeout_s: float = 5.0) -> Frame | None:
        """The next frame, booked; None at the end of the connection. Raises: TimeoutError."""
        header = self._read(9, timeout_s)
        if header is None:
            return None
        size_and_kind, flags, stream = struct.unpack("!IBI", header)
        payload = self._read(size_and_kind >> 8, timeout_s)
        if payload is None:
            return None
        assert len(payload) <= self._max_frame, f"a frame of {len(payload)} bytes"
        assert not stream >> 31, "the reserved bit is set"
        frame = Frame(size_and_kind & 0xFF, flags, stream, payload)
        self.frames.append(frame)
        self._book(frame)
        return frame

    def _read(self, size: int, timeout_s: float) -> bytes | None:
        while len(self._data) < size:
            self.socket.settimeout(timeout_s)
            try:
                piece = self.socket.recv(262144)
            except (ConnectionResetError, BrokenPipeError):
                self.was_reset = True
                piece = b""
            if not piece:
                self.is_closed = True
                return None
            self._data += piece
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def until(self, condition: Callable[[], object], what: str = "what was waited for", timeout_s: float = 5.0) -> None:
        """Reads until the condition holds. Raises: TimeoutError, EOFError."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            try:
                is_open = self.read(max(end_s - time.monotonic(), 0.001)) is not None
            except TimeoutError:
                raise TimeoutError(f"{what}: not within {timeout_s:g} s, got {self.heard()}") from None
            if not is_open and not condition():
                raise EOFError(f"{what}: the connection ended, got {self.heard()}")

    def over(self, stream: int, timeout_s: float = 5.0) -> Stream:
        """What came on a stream, once it is complete or reset."""
        booked = self.stream(stream)
        self.until(lambda: booked.is_over, f"the end of stream {stream}", timeout_s)
        return booked

    def headed(self, stream: int) -> Stream:
        """What came on a stream, once its head is there."""
        booked = self.stream(stream)
        self.until(lambda: booked.fields or booked.is_over, f"a head on stream {stream}")
        return booked

    def next_stream(self, timeout_s: float = 5.0) -> Stream:
        """The next that the other side opens and that nobody asked for here yet."""
        before = set(self.streams)
        self.until(lambda: set(self.streams) - before, "another stream", timeout_s)
        return self.headed(min(set(self.streams) - before))

    def sync(self) -> None:
        """Returns when all that was sent before is understood."""
        payload = struct.pack("!Q", next(self._numbers))
        self.send(ping(payload))
        self.until(lambda: payload in self.pongs, "the answer to a ping")

    def end(self, timeout_s: float = 5.0) -> int | None:
        """Reads to the end of the connection: the code of its last GOAWAY."""
        end_s = time.monotonic() + timeout_s
        while self.read(max(end_s - time.monotonic(), 0.001)) is not None:
            pass
        return self.goaways[-1][1] if self.goaways else None

    def heard(self) -> str:
        return "; ".join(map(str, list(self.frames)[-12:])) or "nothing"

    # --- books ---

    def _book(self, frame: Frame) -> None:
        is_next = frame.kind == Kind.CONTINUATION and self._block is not None and frame.stream == self._block[0]
        assert is_next == (self._block is not None), f"in the middle of a header block, or outside of one: {frame}"
        if frame.kind == Kind.DATA:
            self._book_data(frame)
        elif frame.kind == Kind.HEADERS:
            block = self._unpadded(frame)
            self._block = frame.stream, bool(frame.flags & END_STREAM)
            self._book_fragment(frame, block[5:] if frame.flags & PRIORITY else block)
        elif frame.kind == Kind.CONTINUATION:
            self._book_fragment(frame, frame.payload)
        elif frame.kind == Kind.RST_STREAM:
            self.stream(frame.stream).reset = struct.unpack("!I", frame.payload)[0]
        elif frame.kind == Kind.SETTINGS:
            self._book_settings(frame)
        elif frame.kind == Kind.PING and frame.flags & ACK:
            self.pongs.append(frame.payload)
        elif frame.kind == Kind.PING and self.answers_pings:
            self._answer(ping(frame.payload, ack=True))
        elif frame.kind == Kind.GOAWAY:
            self.goaways.append(struct.unpack("!II", frame.payload[:8]))
        elif frame.kind == Kind.WINDOW_UPDATE:
            (increment,) = struct.unpack("!I", frame.payload)
            if frame.stream:
                self.stream(frame.stream).credit += increment
            else:
                self.credit += increment

    def _book_data(self, frame: Frame) -> None:
        stream = self.stream(frame.stream)
        stream.window -= len(frame.payload)
        self.window -= len(frame.payload)
        if frame.payload:
            sizes = [each.get(Setting.INITIAL_WINDOW_SIZE, 0) for each in self._announced]
            assert stream.window + max([0, *(size - self._initial for size in sizes)]) >= 0, (
                f"beyond the window of stream {frame.stream}: {stream.window}"
            )
            assert self.window >= 0, f"beyond the connection's window: {self.window}"
        assert not stream.is_over, f"DATA behind the end of stream {frame.stream}"
        assert stream.fields, f"DATA before a final head on stream {frame.stream}"
        stream.body += self._unpadded(frame)
        stream.is_complete = bool(frame.flags & END_STREAM)

    def _book_settings(self, frame: Frame) -> None:
        if frame.flags & ACK:
            self._book_acknowledgement()
            return
        values = dict(struct.iter_unpack("!HI", frame.payload))
        before = self.settings.get(Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        self.settings |= values
        for stream in self.streams.values():
            stream.credit += self.settings.get(Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW) - before
        if self.acks_settings:
            self._answer(SETTINGS_ACK)

    def _book_acknowledgement(self) -> None:
        values = self._announced.pop(0) if self._announced else {}  # what was sent as bytes is not in the books
        change = values.get(Setting.INITIAL_WINDOW_SIZE, self._initial) - self._initial
        self._initial += change
        for stream in self.streams.values():
            stream.window += change
        if Setting.HEADER_TABLE_SIZE in values:
            self._decoder.max_allowed_table_size = values[Setting.HEADER_TABLE_SIZE]

    def _book_fragment(self, frame: Frame, fragment: bytes) -> None:
        self._fragments += fragment
        if not frame.flags & END_HEADERS:
            return
        assert self._block is not None
        block, ends = self._fragments, self._block[1]
        self._fragments, self._block = b"", None
        stream = self.stream(frame.stream)
        assert not stream.is_over, f"HEADERS behind the end of stream {frame.stream}"
        stream.blocks.append(block)
        fields = self._decoder.decode(block, raw=True)
        stream.never_indexed |= {bytes(each[0]) for each in fields if isinstance(each, hpack.NeverIndexedHeaderTuple)}
        stream.heads.append([(bytes(name), bytes(value)) for name, value in fields])
        stream.is_complete = ends

    def _answer(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # it may have closed behind what we read
            self.send(frame)

    @staticmethod
    def _unpadded(frame: Frame) -> bytes:
        if not frame.flags & PADDED:
            return frame.payload
        pad = frame.payload[0]
        assert pad < len(frame.payload)
        return frame.payload[1 : len(frame.payload) - pad]


def connect(port: int, announced: Mapping[int, int] = WIDE, window: int = MAX_WINDOW, *, first: bool = True) -> Peer:
    """A client. With `first`, a request is answered on stream 1 before this returns: its block begins with the size
    update that any block may owe, so that what follows owes none.
    """
    peer = Peer(socket.create_connection(("127.0.0.1", port), timeout=10), announced, window, preface=PREFACE)
    if first:
        peer.send(headers(1, SIZE_0 + head("/first"), end=True))
        assert peer.over(1).status == 200, peer.heard()
    return peer


@contextlib.contextmanager
def connected(
    port: int, announced: Mapping[int, int] = WIDE, window: int = MAX_WINDOW, *, first: bool = True
) -> Iterator[Peer]:
    peer = connect(port, announced, window, first=first)
    try:
        yield peer
    finally:
        peer.socket.close()
