"""HTTP/2 clients that behave badly: malformed requests end their stream alone, floods their connection alone, readers
that stop keep nobody else waiting; whatever else shares the connection, or the proxy, is judged as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from h2.errors import ErrorCodes

from tests.soak.asking import Asked
from tests.soak.calls import Calls, fields_of
from tests.soak.h2_peer import H2Peer
from tests.soak.h2_side import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.soak.judge import Judge
from tests.soak.misbehaving import misbehave
from tests.soak.model import Wish
from tests.soak.peer import Got, Peer

Fields = list[tuple[str, str]]
MAX_STREAMS = 60  # of the scene's proxy
_FLOOD = 30_000  # frames; the proxy takes 20,000 at once from somebody who brings nothing
_MALFORMED: tuple[Callable[[Fields], Fields], ...] = (
    lambda fields: [*fields, ("X-Up", "1")],
    lambda fields: [*fields, ("connection", "close")],
    lambda fields: [*fields, ("transfer-encoding", "chunked")],
    lambda fields: [*fields, ("te", "gzip")],
    lambda fields: [*fields, (":path", "/")],
    lambda fields: [*fields, ("content-length", "5"), ("content-length", "5")],
    lambda fields: [*fields, ("x-lines", "a\r\nb: c")],
    lambda fields: [*fields, ("baggage ", "sd-routing-key=swing")],
    lambda fields: [field for field in fields if field[0] != ":path"],
    lambda fields: [field for field in fields if field[0] != ":method"],
    lambda fields: [(name, f"{value} HTTP/1.1" if name == ":path" else value) for name, value in fields],
    lambda fields: [(name, "CONNECT" if name == ":method" else value) for name, value in fields],
)


class H2BadClient:
    def __init__(self, port: int, judge: Judge, calls: Calls, rng: Random) -> None:
        self._port = port
        self._judge = judge
        self._calls = calls
        self._rng = rng

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        ways: list[Callable[[], Awaitable[None]]] = [
            self._malformed,
            self._malformed,
            self._too_long,
            self._stalled,
            self._greedy,
            self._drops,
            self._drops,
            self._half,
            self._no_preface,
            self._breaks_rules,
            self._flood,
        ]
        await misbehave(ways, stop, pause_s, self._judge, self._rng, "h2 ")

    # --- one stream among good ones ---

    async def _among_good(self, peer: H2Peer, bad: Awaitable[None]) -> None:
        async def good() -> None:
            asked = self._calls.any()
            self._judge.expects(asked)
            self._judge.answered(asked, await peer.answer(asked, self._rng))

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(good())
            await bad
            for _ in range(3):
                group.create_task(good())
        peer.close()

    def _never(self, method: str = "POST") -> tuple[str, Fields]:
        """A request that no place may see whole."""
        ident = self._calls.asking.ident()
        self._judge.never_executed(ident)
        _, lines, _ = self._calls.asking.lines()
        return ident, fields_of(self._calls.asking.head(method, f"/echo/{ident}/10/length/0", lines))

    async def _malformed(self) -> None:
        ident, fields = self._never("GET")
        fields = self._rng.choice(_MALFORMED)(fields)
        peer = await H2Peer.connect(self._port)

        async def bad() -> None:
            self._is_broken(await peer.wait(peer.open(_bare(ident, fields))), fields)

        await self._among_good(peer, bad())

    async def _too_long(self) -> None:
        """More body than announced, or less."""
        ident, fields = self._never()
        fields.append(("content-length", "10"))
        peer = await H2Peer.connect(self._port)

        async def bad() -> None:
            number = peer.open(_bare(ident, fields), end=False)
            await asyncio.sleep(self._rng.choice([0, 0.02]))
            await peer.send(number, b"x" * self._rng.choice([5, 20]), end=True)
            await peer.wait(number)  # it may have been answered before that body came

        await self._among_good(peer, bad())

    def _is_broken(self, got: Got, fields: Fields) -> None:
        if got.reset != ErrorCodes.PROTOCOL_ERROR or got.status:
            self._judge.violation(f"a malformed request was answered with {got.told()}, {got.reset}", [f"{fields}"])

    async def _stalled(self) -> None:
        """Reads nothing of some answers, or nothing at all for a while."""
        peer = await H2Peer.connect(self._port)

        async def bad() -> None:
            for _ in range(self._rng.randint(1, 5)):
                ident = self._calls.asking.ident()
                _, lines, _ = self._calls.asking.lines()
                head = self._calls.asking.head("GET", f"/echo/{ident}/4000000/length/0", lines)
                peer.unread.add(peer.open(_bare(ident, fields_of(head))))
            if self._rng.random() < 0.3:
                peer.transport.pause_reading()
                await asyncio.sleep(self._rng.uniform(0, 1))
                peer.transport.resume_reading()

        await self._among_good(peer, bad())

    async def _greedy(self) -> None:
        """More streams at once than it may: those are refused, the others answered."""
        peer = await H2Peer.connect(self._port)
        everybody = [self._calls.unary() for _ in range(MAX_STREAMS + 20)]
        numbers = []
        for asked in everybody:
            asked.fields = [
                (name, value.rpartition("/")[0] + "/200" if name == ":path" else value) for name, value in asked.fields
            ]
            self._judge.expects(asked)
            numbers.append(peer.open(asked))
        async with asyncio.TaskGroup() as group:
            for number, asked in zip(numbers, everybody, strict=True):
                group.create_task(self._finish(peer, number, asked))
        peer.close()

    async def _finish(self, peer: H2Peer, number: int, asked: Asked) -> None:
        await peer.send(number, asked.upload, end=True)
        got = await peer.wait(number)
        if got.reset == ErrorCodes.REFUSED_STREAM and not got.status:
            self._judge.never_executed(asked.ident)
            self._judge.outcomes["refused, too many streams"] += 1
        else:
            self._judge.answered(asked, got)

    # --- the connection ---

    async def _drops(self) -> None:
        """In the middle of many calls."""
        peer = await H2Peer.connect(self._port)
        for _ in range(self._rng.choice([1, 5, 30])):
            asked = self._calls.endless() if self._rng.random() < 0.3 else self._calls.any()
            self._judge.leaves(asked)
            number = peer.open(asked)
            if asked.pieces:
                window = peer.http.local_flow_control_window(number)
                peer.http.send_data(number, asked.upload[: min(window, 16384)])
        peer.flush()
        await asyncio.sleep(self._rng.choice([0, 0.002, 0.02, 0.3]))
        self._leave(peer)

    async def _half(self) -> None:
        peer = await H2Peer.connect(self._port)
        ident, fields = self._never()
        number = peer.open(_bare(ident, fields), end=False)
        await peer.send(number, b"h" * 50_000)
        await asyncio.sleep(self._rng.uniform(0, 0.1))
        self._leave(peer)

    async def _no_preface(self) -> None:
        """HTTP/2's first line, and then something else."""
        peer = await Peer.connect(self._port)
        ident = self._calls.asking.ident()
        self._judge.never_executed(ident)
        peer.write(
            PREFACE[: self._rng.randint(4, 23)] + self._calls.asking.head("GET", f"/echo/{ident}/10/length/0", [])
        )
        while await peer.recv():
            pass
        peer.close()

    async def _breaks_rules(self) -> None:
        """Of the connection, so all of it ends."""
        rng = self._rng
        peer = await H2Peer.connect(self._port)
        wrong = [
            frame(DATA, 1, 0, b"stream 0"),
            frame(DATA, 1, 99, b"idle"),
            frame(RST_STREAM, 0, 99, bytes(4)),
            frame(HEADERS, 5, 2, b"\x82"),
            frame(HEADERS, 5, 99, b"\xff\xff\xff\xff\xff"),
            frame(HEADERS, 1, 99, b"\x82") + frame(PING, 0, 0, bytes(8)),
            frame(CONTINUATION, 4, 99, b"\x82"),
            frame(PING, 0, 0, bytes(7)),
            frame(SETTINGS, 0, 0, b"\0\4" + b"\xff" * 4),
            frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
            frame(WINDOW_UPDATE, 0, 0, bytes(4)),
        ]
        for _ in range(rng.choice([0, 3])):
            asked = self._calls.any()
            self._judge.leaves(asked)
            peer.open(asked)
        peer.write(rng.choice(wrong))
        ident, fields = self._never("GET")
        peer.open(_bare(ident, fields))
        await self._must_end(peer, "what HTTP/2 forbids")

    async def _flood(self) -> None:
        """Frames that cost the proxy and bring the peer nothing."""
        peer = await H2Peer.connect(self._port)
        ident, fields = self._never()
        number = peer.open(_bare(ident, fields), end=False)
        kind, flood = self._rng.choice(
            [
                ("pings", frame(PING, 0, 0, b"flooding") * _FLOOD),
                ("settings", frame(SETTINGS, 0, 0) * _FLOOD),
                ("priorities", frame(PRIORITY, 0, number, bytes(5)) * _FLOOD),
                ("empty data", frame(DATA, 0, number) * _FLOOD),
                ("windows", frame(WINDOW_UPDATE, 0, number, b"\0\0\0\1") * _FLOOD),
                ("unknown", frame(77, 0, 0, b"x") * _FLOOD),
                ("continuations", frame(HEADERS, 0, number + 2, b"") + frame(CONTINUATION, 0, number + 2) * 100),
                ("resets", self._resets(number + 2)),
            ]
        )
        self._judge.asked[f"flood of {kind}"] += 1
        peer.is_deaf = True  # h2 knows nothing of what is sent here
        peer.write(flood)
        await self._must_end(peer, f"a flood of {kind}", ErrorCodes.ENHANCE_YOUR_CALM)

    def _resets(self, first: int) -> bytes:
        """Requests that are cancelled at once (CVE-2023-44487). Without a key: what the proxy answers by itself is over
        before it is cancelled."""
        head = self._calls.asking.head("GET", f"/echo/{self._calls.asking.ident()}/10/length/0", [])
        block = b"".join(
            b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in fields_of(head)
        )
        streams = range(first, first + _FLOOD // 5, 2)
        return b"".join(frame(HEADERS, 5, each, block) + frame(RST_STREAM, 0, each, b"\0\0\0\x08") for each in streams)

    async def _must_end(self, peer: H2Peer, what: str, code: int | None = None) -> None:
        if not await peer.wait_for_end():
            self._judge.violation(f"{what} does not end its connection")
        elif not peer.goaways or (code is not None and peer.goaways[-1][1] != code):
            self._judge.violation(f"{what} ended its connection with {peer.goaways}, {peer.error}")
        peer.close()

    def _leave(self, peer: H2Peer) -> None:
        if self._rng.random() < 0.5:
            peer.reset()
        else:
            peer.close()


def _bare(ident: str, fields: Fields) -> Asked:
    """Only what is sent of it counts."""
    return Asked(ident, "bad", "", Wish(), b"", fields=fields)
