"""Clients that behave badly. What they get matters little, with two exceptions: garbage is answered as the client's
fault and ends the connection, and what was not all sent is nowhere executed. What matters is everybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random

from tests.soak.asking import Asking
from tests.soak.judge import Judge
from tests.soak.misbehaving import misbehave
from tests.soak.peer import Peer

_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: location\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: location\r\n folded: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: location\r\nContent-Length: +5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: location\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: location\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: location\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"CONNECT location:80 HTTP/1.1\r\nHost: location:80\r\n\r\n",
)
_CLIENT_FAULTS = (400, 405, 408, 414, 431, 501, 505)


class BadClient:
    def __init__(self, port: int, judge: Judge, asking: Asking, rng: Random) -> None:
        self._port = port
        self._judge = judge
        self._asking = asking
        self._rng = rng

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        ways: list[Callable[[], Awaitable[None]]] = [
            self._slow_head,
            self._slow_reader,
            self._half_body,
            self._half_body,
            self._leaves,
            self._leaves,
            self._garbage,
            self._garbage,
            self._chunk_garbage,
            self._flood,
        ]
        await misbehave(ways, stop, pause_s, self._judge, self._rng)

    async def _slow_head(self) -> None:
        """A byte now and then, until it is sent away or weary."""
        peer = await Peer.connect(self._port)
        head = self._asking.head("GET", f"/echo/{self._asking.ident()}/10/length/0", [])
        for byte in head[: self._rng.choice([5, 30])]:
            peer.write(bytes((byte,)))
            await asyncio.sleep(0.15)
        self._leave(peer)

    async def _slow_reader(self) -> None:
        """Asks for much, and reads little of it."""
        peer = await Peer.connect(self._port)
        _, lines, _ = self._asking.lines()
        peer.write(self._asking.head("GET", f"/echo/{self._asking.ident()}/4000000/length/0", lines))
        peer.transport.pause_reading()
        await asyncio.sleep(self._rng.uniform(0.1, 1.5))
        peer.transport.resume_reading()
        await peer.recv()
        peer.transport.pause_reading()
        await asyncio.sleep(self._rng.uniform(0, 0.5))
        self._leave(peer)

    async def _half_body(self) -> None:
        peer = await Peer.connect(self._port)
        ident = self._asking.ident()
        self._judge.never_executed(ident)
        _, lines, _ = self._asking.lines()
        if self._rng.random() < 0.5:
            body, framing = b"h" * 50_000, "Content-Length: 50001"
        else:
            body, framing = b"c350\r\n" + b"h" * 50_000 + b"\r\n", "Transfer-Encoding: chunked"
        peer.write(self._asking.head("POST", f"/echo/{ident}/10/length/0", [*lines, framing]) + body)
        await asyncio.sleep(self._rng.uniform(0, 0.1))
        self._leave(peer)

    async def _leaves(self) -> None:
        """Asks, for one thing or for many, and does not wait."""
        peer = await Peer.connect(self._port)
        for _ in range(self._rng.choice([1, 1, 20])):
            asked = self._asking.echo()
            self._judge.leaves(asked)
            peer.write(asked.head + b"".join(asked.pieces))
        await asyncio.sleep(self._rng.choice([0, 0.002, 0.02]))
        self._leave(peer)

    async def _garbage(self) -> None:
        peer = await Peer.connect(self._port)
        ident = self._asking.ident()
        self._judge.never_executed(ident)
        hidden = self._asking.head("GET", f"/echo/{ident}/10/length/0", [])
        peer.write(self._rng.choice(_GARBAGE) + hidden)
        got = await peer.response("GET")
        if got.status not in _CLIENT_FAULTS or "pointsman" not in got.value(b"proxy-status") or not got.is_whole:
            self._judge.violation(f"garbage was answered with {got.told()}")
        elif await peer.recv():
            self._judge.violation(f"something came after the answer to garbage: {got.told()}")
        peer.close()

    async def _chunk_garbage(self) -> None:
        """A body that goes wrong when it may have been forwarded in part."""
        peer = await Peer.connect(self._port)
        ident, hidden = self._asking.ident(), self._asking.ident()
        self._judge.never_executed(ident)
        self._judge.never_executed(hidden)
        peer.write(self._asking.head("POST", f"/echo/{ident}/10/length/0", ["Transfer-Encoding: chunked"]))
        peer.write(b"5\r\nhello\r\n")
        await asyncio.sleep(self._rng.choice([0, 0.02]))
        peer.write(b"0x5\r\nhello\r\n0\r\n\r\n" + self._asking.head("GET", f"/echo/{hidden}/10/length/0", []))
        while await peer.recv():
            pass
        peer.close()

    async def _flood(self) -> None:
        """Many connections at once that say little or nothing."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._rng.randint(50, 150)):
                group.create_task(self._idle())

    async def _idle(self) -> None:
        with contextlib.suppress(OSError):  # it is a flood, the kernel may drop some of it
            peer = await Peer.connect(self._port)
            peer.write(self._rng.choice([b"", b"G", b"\r\n", b"GET / HTTP/1.1\r\n"]))
            await asyncio.sleep(self._rng.uniform(0, 1))
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        if self._rng.random() < 0.5:
            peer.reset()
        else:
            peer.close()
