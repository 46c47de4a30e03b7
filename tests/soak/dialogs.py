"""WebSocket dialogs, by the websockets library: each message comes back as it was, until the client says goodbye.

A dialog may be cut only if its place was ill, or if a table took its route away: then it must end, within the drain's
time limit, and a generous one here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.soak import HANG_S
from tests.soak.asking import Asked, Asking, body_of
from tests.soak.judge import Judge
from tests.soak.peer import Peer

# How long a dialog may go on without its route: the drain's time limit of the scene's proxy, and much more.
_OUTLIVES_S = 20.0


class Dialogs:
    """`long_key` tells a key, if dialogs are to be long and with that."""

    def __init__(
        self, port: int, judge: Judge, asking: Asking, rng: Random, long_key: Callable[[], str] | None = None
    ) -> None:
        self._long_key = long_key
        self._port = port
        self._judge = judge
        self._asking = asking
        self._rng = rng

    async def run(self, stop: asyncio.Event, pause_s: float) -> None:
        while not stop.is_set():
            try:
                peer = await Peer.connect(self._port)
            except OSError as error:
                self._judge.violation(f"the proxy does not accept: {error!r}")
                return
            key = "" if self._long_key is None else self._long_key()
            await _Dialog(peer, self._judge, self._asking, self._rng, key).run(stop)
            peer.close()
            await asyncio.sleep(self._rng.uniform(0, 2 * pause_s))


class _Dialog:
    def __init__(self, peer: Peer, judge: Judge, asking: Asking, rng: Random, long_key: str) -> None:
        self._is_long = bool(long_key)
        self._peer = peer
        self._judge = judge
        self._rng = rng
        ident = asking.ident()
        self._protocol = ClientProtocol(parse_uri(f"ws://location/dialog/{ident}"), max_size=None)
        request = self._protocol.connect()
        wish, lines, baggage = asking.lines(long_key)
        for line in lines:
            name, _, value = line.partition(": ")
            request.headers[name] = value
        self._protocol.send_request(request)
        self._asked = Asked(ident, "dialog", "GET", wish, request.serialize(), baggage=baggage)
        self._place = ""

    async def run(self, stop: asyncio.Event) -> None:
        self._judge.expects(self._asked)
        self._flush()
        got = await self._peer.response("GET", upgrade=True)
        self._judge.answered(self._asked, got)
        if got.status != 101:
            return
        fields = b"".join(b"%b: %b\r\n" % field for field in got.fields or ())
        self._protocol.receive_data(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % fields)
        if not any(isinstance(event, Response) for event in self._protocol.events_received()):
            self._wrong(f"a handshake that websockets refuses: {self._protocol.handshake_exc!r}")
            return
        self._place = got.value(b"x-place")
        messages = 800 if self._is_long else self._rng.randint(3, 30)
        for number in range(messages):
            if stop.is_set():
                break
            message = body_of(f"{self._asked.ident}/{number}", self._rng.choice([1, 20, 20, 200, 30_000]))
            if not await self._say(message):
                return
            await asyncio.sleep(self._rng.uniform(0, 0.1))
        await self._part()

    async def _say(self, message: bytes) -> bool:
        self._protocol.send_binary(message)
        self._flush()
        frame = await self._next()
        if frame is None:
            self._cut()
            return False
        if frame.data != message:
            self._wrong(f"said {message[:100]!r}, heard {frame!r}")
            return False
        now_s = time.monotonic()
        since_s = now_s - _OUTLIVES_S
        outcomes = self._judge.history.outcomes(self._asked.wish, since_s, now_s)
        if self._asked.start_s < since_s and not any(self._place in outcome.places for outcome in outcomes):
            self._wrong("it goes on, though its route left long ago")
            return False
        return True

    async def _part(self) -> None:
        self._protocol.send_close(1000, "bye")
        self._flush()
        frame = await self._next()
        if frame is None:
            self._cut()
        elif frame.opcode is not Opcode.CLOSE:
            self._wrong(f"said goodbye, heard {frame!r}")
        else:
            self._judge.outcomes["dialog to its end"] += 1

    async def _next(self) -> Frame | None:
        """The next frame; None if the connection is at its end."""
        while True:
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    return event
            try:
                data = await self._peer.recv()
            except TimeoutError:
                self._wrong(f"hangs: nothing for {HANG_S:g} s")
                return None
            if not data:
                return None
            self._protocol.receive_data(data)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._peer.write(data)

    def _cut(self) -> None:
        """It ended early. Had it to?"""
        end_s = time.monotonic()
        history, asked = self._judge.history, self._asked
        outcomes = history.outcomes(asked.wish, asked.start_s, end_s)
        is_routed = all(self._place in outcome.places for outcome in outcomes)
        if is_routed and not history.was_ill(self._place, asked.start_s, end_s):
            self._wrong("cut, though its place was well and its route stood")
        self._judge.outcomes["dialog cut"] += 1

    def _wrong(self, text: str) -> None:
        asked, history, now_s = self._asked, self._judge.history, time.monotonic()
        outcomes = history.outcomes(asked.wish, asked.start_s, now_s)
        self._judge.violation(
            f"dialog {asked.ident} {asked.wish} with {self._place}, {asked.start_s:.4f} to {now_s:.4f}: {text}",
            [str(self._peer.error), *history.told(asked.wish.key, outcomes, asked.start_s, now_s)],
        )
