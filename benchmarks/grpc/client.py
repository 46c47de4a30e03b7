"""One connection of a gRPC client: calls out, answers checked.

An answer is right if it has a head with status 200, exactly the origin's message and trailers with grpc-status 0; it
counts for the origin that its head names. Anything else is counted as refused or failed, and not repeated.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hpack import Decoder, HPACKError

from benchmarks.grpc import calls, frames
from benchmarks.grpc.origin import MESSAGE
from benchmarks.grpc.values import Values
from benchmarks.probe import Answer

_TIMEOUT_S = 3.0
REQUEST = b"\x00\x00\x00\x00\x20" + b"customer=392,district=north,v=01"


class Fields(NamedTuple):
    status: str
    origin: str
    grpc_status: str


class Reader:
    """Header blocks of one connection to what we want to know of them.

    Peers repeat a few blocks. One that was read before means the same as long as nothing was added to the table since.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, Fields] = {}

    def read(self, block: bytes) -> Fields:
        known = self._known.get(block)
        return known or self._decode(block)

    def _decode(self, block: bytes) -> Fields:
        table = self._decoder.header_table
        before = table.maxsize, next(iter(table.dynamic_entries), None)
        try:
            decoded = {str(field[0]): str(field[1]) for field in self._decoder.decode(block)}
        except HPACKError as error:
            raise frames.Violation(f"header block {block.hex()}: {error!r}") from None
        fields = Fields(*(decoded.get(name, "") for name in (":status", "x-origin", "grpc-status")))
        after = table.maxsize, next(iter(table.dynamic_entries), None)
        if after[0] != before[0] or after[1] is not before[1]:
            self._known.clear()
        else:
            self._known[block] = fields
        return fields


class Tally:
    """What came back on all connections."""

    def __init__(self) -> None:
        self.origins: Counter[str] = Counter()  # right answers
        self.refused: Counter[str] = Counter()  # answers that are not right, by what they were
        self.failed: Counter[str] = Counter()  # calls without an answer, by why
        self.goaways = 0


class Connection(frames.Peer):
    """`ended` is called with the connection and the call's own number when a call has come to its end, well or not."""

    smallest_window = len(REQUEST)

    def __init__(
        self, tally: Tally, ended: Callable[["Connection", int], None], style: calls.Style, values: Values
    ) -> None:
        super().__init__()
        self.ready = asyncio.Event()  # the peer's settings are here, or it is lost
        self.leaving = self.lost = False
        self.flying: dict[int, int] = {}  # stream to the call's own number
        self._tally, self._ended, self._style, self._values = tally, ended, style, values
        self._reader = Reader()
        # The core library says at once that it wants to read a message's first five bytes.
        update = frames.form(frames.WINDOW_UPDATE, 0, b"\x00\x00\x00\x05") if style == "core" else b""
        self._last = update + frames.form(frames.DATA, frames.END_STREAM, REQUEST)
        self._message = update + frames.form(frames.DATA, 0, REQUEST)
        self._slots = 2 if update else 1
        self._next_stream = 1
        self._heads: dict[int, str] = {}  # stream to its origin, from the head to the message
        self._messages: dict[int, str] = {}  # the same, after the message
        self._parts: dict[int, bytes] = {}
        self._waiting: list[tuple[int, bool]] = []

    @property
    def most_streams(self) -> int:
        return self.peer_settings[frames.MAX_CONCURRENT_STREAMS]

    @property
    def answered_streams(self) -> int:
        """Streams that got a whole message and have not ended."""
        return len(self._messages)

    def call(self, number: int, *, is_last: bool = True) -> None:
        """Puts a call into `out`, or lets it wait for the peer's window. `is_last`: this message ends the request."""
        if self._waiting or not self.take_window(len(REQUEST)):
            self._waiting.append((number, is_last))
            return
        stream = self._next_stream
        self._next_stream = stream + 2
        block = self._blocks.next()
        form = self._last if is_last else self._message
        start = frames.header(len(block), frames.HEADERS, frames.END_HEADERS, stream)
        self.out += (start, block, form % ((stream.to_bytes(4, "big"),) * self._slots))
        self.flying[stream] = number

    def end(self, stream: int) -> None:
        """Half-closes a stream whose call was not the last message."""
        self.out.append(frames.frame(frames.DATA, frames.END_STREAM, stream, b""))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        more = frames.window_update(0, frames.WINDOW_BYTES - frames.DEFAULT_WINDOW)
        self.out += (frames.PREFACE, frames.settings(*frames.CLIENT_SETTINGS), more)
        self.flush()

    def on_settings(self) -> None:
        if not self.ready.is_set():
            self._blocks = calls.blocks(self._style, self._values, self.peer_settings[frames.HEADER_TABLE_SIZE])
            self.ready.set()

    def on_window(self) -> None:
        waiting, self._waiting = self._waiting, []
        for number, is_last in waiting:
            self.call(number, is_last=is_last)

    def on_headers(self, stream: int, flags: int, block: bytes) -> None:
        fields = self._reader.read(block)
        if flags & frames.END_STREAM:
            origin = self._messages.pop(stream, None)
            if origin and fields.grpc_status == "0":
                self._tally.origins[origin] += 1
            else:
                self._heads.pop(stream, None)
                self._tally.refused[f"status {fields.status or 200}, grpc-status {fields.grpc_status or '-'}"] += 1
            self._over(stream)
        elif fields.status == "200" and fields.origin:
            self._heads[stream] = fields.origin

    def on_data(self, stream: int, flags: int, payload: bytes) -> None:
        if flags & frames.END_STREAM:
            raise frames.Violation("a response ended without trailers")
        if payload != MESSAGE:
            payload = self._parts.pop(stream, b"") + payload
            if payload != MESSAGE:
                self._parts[stream] = payload
                return
        origin = self._heads.pop(stream, None)
        if origin:
            self._messages[stream] = origin

    def on_reset(self, stream: int, code: int) -> None:
        self._tally.failed[f"RST_STREAM {code}"] += 1
        self._over(stream)

    def on_goaway(self, last_stream: int) -> None:
        self._tally.goaways += 1
        self.leaving = True
        for stream in [stream for stream in self.flying if stream > last_stream]:
            self._tally.failed["after GOAWAY"] += 1
            self._over(stream)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.ready.set()
        if self.flying or self._waiting or self.trouble:
            self._tally.failed[self.trouble or f"connection lost: {exc}"] += len(self.flying) + len(self._waiting) or 1
        self._waiting.clear()
        for stream in list(self.flying):
            self._over(stream)

    def _over(self, stream: int) -> None:
        number = self.flying.pop(stream, None)
        if number is None:
            raise frames.Violation(f"an end of stream {stream}, which is not open")
        self._ended(self, number)


async def connect(
    port: int, tally: Tally, ended: Callable[[Connection, int], None], style: calls.Style, values: Values
) -> Connection:
    """Returns when the peer's settings have come. Raises: OSError."""
    loop = asyncio.get_running_loop()
    opened = await loop.create_connection(lambda: Connection(tally, ended, style, values), "127.0.0.1", port)
    connection = opened[1]
    await asyncio.wait_for(connection.ready.wait(), _TIMEOUT_S)
    if connection.lost:
        raise ConnectionError(f"port {port} closed before its settings came {connection.trouble}")
    return connection


def ask(port: int, values: Values) -> Answer:
    """One call on a connection of its own. Status 200 stands for a right answer. Raises: OSError."""
    return asyncio.run(_ask(port, values))


async def _ask(port: int, values: Values) -> Answer:
    tally, over = Tally(), asyncio.Event()
    connection = await connect(port, tally, lambda *_: over.set(), "core", values)
    try:
        connection.call(0)
        connection.flush()
        await asyncio.wait_for(over.wait(), _TIMEOUT_S)
    finally:
        connection.transport.abort()
    if not tally.origins:
        return Answer(0, "", f"{dict(tally.refused)} {dict(tally.failed)}".encode())
    return Answer(200, next(iter(tally.origins)), b"")
