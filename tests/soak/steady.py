"""Well-behaved clients: one after another on a kept connection, pipelined, and streams of events.

An answer that ends its connection leaves what was pipelined behind it undone (RFC 9112 section 9.3.2): no place may
ever see those requests.
"""

from __future__ import annotations

import asyncio
from random import Random

from tests.soak.asking import Asked, Asking
from tests.soak.judge import Judge
from tests.soak.peer import Got, Peer


class Client:
    """`kind` says how it asks."""

    def __init__(self, kind: str, port: int, judge: Judge, asking: Asking, rng: Random) -> None:
        self.kind = kind
        self._port = port
        self._judge = judge
        self._asking = asking
        self._rng = rng

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        """Until asked to stop; what was begun is finished."""
        ask = {"keep-alive": self._one, "pipelining": self._several, "events": self._stream}[self.kind]
        peer: Peer | None = None
        left = 0
        while not stop.is_set():
            if peer is None:
                try:
                    peer = await Peer.connect(self._port)
                except OSError as error:
                    self._judge.violation(f"the proxy does not accept: {error!r}")
                    return
                left = self._rng.randint(1, 150)
            is_kept = await ask(peer)
            left -= 1
            if not is_kept or not left:
                peer.close()
                peer = None
            await asyncio.sleep(self._rng.uniform(0, 2 * pause_s))
        if peer is not None:
            peer.close()

    async def run_once(self) -> None:
        """One stream, on a connection of its own."""
        peer = await Peer.connect(self._port)
        await self._stream(peer)
        peer.close()

    async def _one(self, peer: Peer) -> bool:
        asked = self._asking.echo()
        self._judge.expects(asked)
        if asked.pieces and self._rng.random() < 0.3:
            peer.write(asked.head)
            for piece in asked.pieces:
                await asyncio.sleep(self._rng.uniform(0, 0.03))
                peer.write(piece)
        else:
            peer.write(asked.head + b"".join(asked.pieces))
        return not (await self._answer(peer, asked)).is_last

    async def _several(self, peer: Peer) -> bool:
        line = [self._asking.echo() for _ in range(self._rng.randint(2, 6))]
        for asked in line:
            asked.kind = f"pipelined {asked.kind.split()[0]}"
            self._judge.expects(asked)
        peer.write(b"".join(asked.head + b"".join(asked.pieces) for asked in line))
        while line:
            if (await self._answer(peer, line.pop(0))).is_last:
                for asked in line:
                    self._judge.never_executed(asked.ident)
                return False
        return True

    async def _stream(self, peer: Peer) -> bool:
        asked = self._asking.events()
        self._judge.expects(asked)
        peer.write(asked.head)
        return not (await self._answer(peer, asked)).is_last

    async def _answer(self, peer: Peer, asked: Asked) -> Got:
        got = await peer.response(asked.method)
        self._judge.answered(asked, got)
        return got
