"""The services behind the proxies, for gRPC: every call gets one message of 32 bytes and status OK, for little CPU.
A program: `python -m benchmarks.grpc.origin --mark sandbox --port 1 --count-port 2`.

It does not read requests' fields. What ends a stream at once is a unary call. A message that leaves its stream open is
answered too, and the stream ended when the other side ends it: a stream of a bidirectional method.

Frames and header blocks are those of a server of gRPC's core library (captured from grpcio 1.85.3): what it knows is
indexed, `x-origin` is not. A peer that allows no dynamic table gets literals.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable

from benchmarks.grpc import frames
from benchmarks.origin import run_origin

MESSAGE = b"\x00\x00\x00\x00\x20" + b"Rachel's Floral Designs, 115,277"
_HEAD = (b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity, deflate, gzip")
_STATUS = (b"grpc-status", b"0")
SMALLEST_TABLE = 4096  # of the peer; a smaller one is not used
_NO_MESSAGE = b"\x00\x0cgrpc-message\x00"


def _literal(first: int, name: bytes, value: bytes) -> bytes:
    return b"%c%c%b%c%b" % (first, len(name), name, len(value), value)


class Blocks:
    """Header blocks of responses. Indexes count back from the newest entry: 62 (0xbe) is the one added last."""

    def __init__(self, mark: bytes) -> None:
        origin = _literal(0x00, b"x-origin", mark)
        self.head_literal = b"\x88" + b"".join(_literal(0x00, *field) for field in _HEAD) + origin
        self.head_first = b"\x88" + b"".join(_literal(0x40, *field) for field in _HEAD) + origin
        self.head_before_status = b"\x88\xbf\xbe" + origin
        self.head = b"\x88\xc0\xbf" + origin
        self.end_literal = _literal(0x00, *_STATUS) + _NO_MESSAGE
        self.end_first = _literal(0x40, *_STATUS) + _NO_MESSAGE
        self.end = b"\xbe" + _NO_MESSAGE
        self.form_literal = _form(self.head_literal, self.end_literal)
        self.form = _form(self.head, self.end)


def _form(head: bytes, end: bytes) -> bytes:
    """The answer to a unary call, with three slots for the stream."""
    return (
        frames.form(frames.HEADERS, frames.END_HEADERS, head)
        + frames.form(frames.DATA, 0, MESSAGE)
        + frames.form(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, end)
    )


class Answering(frames.Peer):
    served = 0  # calls and streams that came to their end
    smallest_window = len(MESSAGE)

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self._blocks = blocks
        self._form = b""  # the quick way, once the peer knows what it refers to
        self._literal = self._head_known = False
        self._update = b""  # of the table's size, before the first block
        self.streams: set[int] = set()
        self._waiting: deque[tuple[Callable[[int], None], int]] = deque()
        self._greeting = len(frames.PREFACE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.out += [
            frames.settings(*frames.SERVER_SETTINGS),
            frames.window_update(0, frames.WINDOW_BYTES - frames.DEFAULT_WINDOW),
        ]
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._greeting:
            taken = min(self._greeting, len(data))
            self._greeting -= taken
            data = data[taken:]
        super().data_received(data)

    def on_settings(self) -> None:
        literal = self.peer_settings[frames.HEADER_TABLE_SIZE] < SMALLEST_TABLE
        if self._head_known and literal != self._literal:
            raise frames.Violation("the size of the table changed in the middle")
        self._literal = literal
        if literal:
            self._update = b"\x20"

    def on_headers(self, stream: int, flags: int, block: bytes) -> None:
        if flags & frames.END_STREAM:
            self._unary(stream)

    def on_data(self, stream: int, flags: int, payload: bytes) -> None:
        if not flags & frames.END_STREAM:
            self._message(stream)
        elif stream in self.streams:
            self._end(stream)
        else:
            self._unary(stream)

    def on_reset(self, stream: int, code: int) -> None:
        self.streams.discard(stream)

    def on_window(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for act, stream in waiting:
            act(stream)

    def _room(self, act: Callable[[int], None], stream: int) -> bool:
        if self.take_window(len(MESSAGE)):
            return True
        self._waiting.append((act, stream))
        return False

    def _unary(self, stream: int) -> None:
        if not self._room(self._unary, stream):
            return
        if self._form:
            Answering.served += 1
            number = stream.to_bytes(4, "big")
            self.out.append(self._form % (number, number, number))
        else:
            self._head(stream)
            self.out.append(frames.frame(frames.DATA, 0, stream, MESSAGE))
            self._end(stream)

    def _message(self, stream: int) -> None:
        if not self._room(self._message, stream):
            return
        if stream not in self.streams:
            self.streams.add(stream)
            self._head(stream)
        self.out.append(frames.frame(frames.DATA, 0, stream, MESSAGE))

    def _head(self, stream: int) -> None:
        blocks = self._blocks
        if self._literal:
            block = self._update + blocks.head_literal
            self._update = b""
        elif self._form:
            block = blocks.head
        else:
            block = blocks.head_before_status if self._head_known else blocks.head_first
        self._head_known = True
        self.out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block))

    def _end(self, stream: int) -> None:
        self.streams.discard(stream)
        Answering.served += 1
        blocks = self._blocks
        if self._literal:
            block, self._form = blocks.end_literal, blocks.form_literal
        else:
            block, self._form = blocks.end if self._form else blocks.end_first, blocks.form
        flags = frames.END_HEADERS | frames.END_STREAM
        self.out.append(frames.frame(frames.HEADERS, flags, stream, block))


def _answering(mark: str) -> Callable[[], Answering]:
    blocks = Blocks(mark.encode())
    return lambda: Answering(blocks)


if __name__ == "__main__":
    gc.freeze()
    run_origin(_answering, lambda: Answering.served)
