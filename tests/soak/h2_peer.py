"""A client's end of one HTTP/2 connection that many requests share, each with a stream of its own."""

from __future__ import annotations

import asyncio
from random import Random

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from tests.soak import HANG_S
from tests.soak.asking import Asked
from tests.soak.h2_side import PUSH, STREAMS, WINDOW, Side
from tests.soak.peer import Got


class _Stream:
    def __init__(self) -> None:
        self.got = Got(fields=[], trailers=[])
        self.body = bytearray()
        self.is_over = asyncio.Event()

    def end(self, error: str = "") -> None:
        if not self.is_over.is_set():
            self.got.is_whole = not error
            self.got.error = error
            self.got.body = bytes(self.body)
            self.is_over.set()


class H2Peer(Side):
    def __init__(self, window: int) -> None:
        super().__init__({WINDOW: window, STREAMS: 100, PUSH: 0}, is_client=True, may_be_wrong=True)
        self._streams: dict[int, _Stream] = {}
        self._is_retired = False
        self.error = ""

    @classmethod
    async def connect(cls, port: int, *, window: int = 65535) -> H2Peer:
        async with asyncio.timeout(HANG_S):
            _, peer = await asyncio.get_running_loop().create_connection(lambda: cls(window), "127.0.0.1", port)
        peer.begin()
        return peer

    # --- what comes ---

    def took(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._streams[event.stream_id].body += event.data
            self.give_window(event.stream_id, event.flow_controlled_length)
        elif isinstance(event, ResponseReceived):
            got = self._streams[event.stream_id].got
            got.fields = list(event.headers)
            got.status = int(dict(event.headers)[b":status"])
        elif isinstance(event, TrailersReceived):
            self._streams[event.stream_id].got.trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            self._end(event.stream_id)
        elif isinstance(event, StreamReset) and event.stream_id in self._streams:
            self._streams[event.stream_id].got.reset = int(event.error_code)
            self._end(event.stream_id, f"reset with {event.error_code}")

    def met(self, error: ProtocolError) -> None:
        self.error = f"what came is no HTTP/2: {error!r}"
        for stream in self._streams.values():
            stream.end(self.error)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.error = self.error or f"closed: {exc!r}, {self.goaways}"
        for stream in self._streams.values():
            stream.end(self.error)

    def _end(self, number: int, error: str = "") -> None:
        self._streams[number].end(error)
        self._leave_when_done()

    # --- what goes ---

    def open(self, asked: Asked, *, end: bool = True) -> int:
        """Begins a request; its body is left to `send`."""
        number = self.http.get_next_available_stream_id()
        self._streams[number] = _Stream()
        self.http.send_headers(number, asked.fields, end_stream=end and not asked.pieces)
        self.flush()
        return number

    async def answer(self, asked: Asked, rng: Random) -> Got:
        """Asks, in pieces or at once, and waits."""
        number = self.open(asked)
        is_slow = rng.random() < 0.3
        for index, piece in enumerate(asked.pieces):
            if is_slow:
                await asyncio.sleep(rng.uniform(0, 0.03))
            try:
                if not await self.send(number, piece, end=index == len(asked.pieces) - 1):
                    break
            except TimeoutError:
                self._streams[number].end("hangs: no window to send in")
        return await self.wait(number)

    async def wait(self, number: int) -> Got:
        stream = self._streams[number]
        try:
            async with asyncio.timeout(HANG_S):
                await stream.is_over.wait()
        except TimeoutError:
            stream.end(f"hangs: nothing whole in {HANG_S:g} s")
        del self._streams[number]
        self._leave_when_done()
        return stream.got

    def body_so_far(self, number: int) -> int:
        return len(self._streams[number].body)

    def cancel(self, number: int, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        try:
            self.http.reset_stream(number, code)
        except ProtocolError:  # it is over
            return
        self.flush()
        self._end(number, "cancelled")

    def write(self, data: bytes) -> None:
        """Behind h2's back."""
        if not self.transport.is_closing():
            self.transport.write(data)

    # --- its end ---

    async def wait_for_end(self) -> bool:
        """The proxy closes; False if that is not in sight."""
        try:
            while not self.is_over:
                await self.change()
        except TimeoutError:
            return False
        return True

    def retire(self) -> None:
        """Closes behind the last stream."""
        self._is_retired = True
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        if self._is_retired and all(stream.is_over.is_set() for stream in self._streams.values()):
            self.close()

    def close(self) -> None:
        self.transport.close()
