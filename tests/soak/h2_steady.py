"""Well-behaved HTTP/2 clients: one connection, many requests and gRPC calls at once on it, each with a key of its own.

Some calls are cancelled midway. One that nobody cancelled would never end, and keep its connection open: the vitals
would find it.
"""

from __future__ import annotations

import asyncio
from random import Random

from h2.errors import ErrorCodes

from tests.soak.calls import Calls
from tests.soak.h2_peer import H2Peer
from tests.soak.judge import Judge

WINDOWS = (1000, 65535, 65535, 1 << 20)
_WORKERS = 8


class Multiplexed:
    def __init__(self, port: int, judge: Judge, calls: Calls, rng: Random) -> None:
        self._port = port
        self._judge = judge
        self._calls = calls
        self._rng = rng
        self._peer: H2Peer | None = None
        self._left = 0
        self._connecting = asyncio.Lock()

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        """Until asked to stop; what was begun is finished."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work(stop, pause_s))
        if self._peer is not None:
            self._peer.retire()

    async def run_once(self) -> None:
        """Some streams, on a connection of their own."""
        peer = await H2Peer.connect(self._port)
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._stream(peer))
        peer.retire()

    async def _work(self, stop: asyncio.Event, pause_s: float) -> None:
        while not stop.is_set():
            try:
                peer = await self._connection()
            except OSError as error:
                self._judge.violation(f"the proxy does not accept: {error!r}")
                return
            if self._rng.random() < 0.04:
                await self._cancel(peer)
            else:
                await self._ask(peer)
            await asyncio.sleep(self._rng.uniform(0, 2 * pause_s))

    async def _connection(self) -> H2Peer:
        """The one that all share, for so many requests."""
        async with self._connecting:
            if self._peer is not None and not self._left:
                self._peer.retire()
                self._peer = None
            if self._peer is None or self._peer.is_over:
                self._peer = await H2Peer.connect(self._port, window=self._rng.choice(WINDOWS))
                self._left = self._rng.randint(1, 1000)
            self._left -= 1
            return self._peer

    async def _ask(self, peer: H2Peer) -> None:
        asked = self._calls.any()
        self._judge.expects(asked)
        self._judge.answered(asked, await peer.answer(asked, self._rng))

    async def _stream(self, peer: H2Peer) -> None:
        asked = self._calls.streaming()
        self._judge.expects(asked)
        self._judge.answered(asked, await peer.answer(asked, self._rng))

    async def _cancel(self, peer: H2Peer) -> None:
        """At once, or in the middle of the answer; also before its own last byte."""
        asked = self._calls.endless()
        self._judge.asked[asked.kind] += 1
        self._judge.leaves(asked)
        if self._rng.random() < 0.2:
            self._judge.never_executed(asked.ident)
            number = peer.open(asked, end=False)
        else:
            number = peer.open(asked)
            await peer.send(number, asked.upload, end=True)
        await asyncio.sleep(self._rng.choice([0, 0.005, 0.05, 0.5]))
        peer.cancel(number, self._rng.choice([ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR]))
