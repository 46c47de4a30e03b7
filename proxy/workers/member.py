"""A worker's side: what the supervisor handed it, what it answers, and when it leaves.

What is asked (`("ask", number, what, ...)`), each with one reply:

    "metrics"                        -> families (`sums`)
    "state"                          -> what `/table` says beside the routes
    "page", path, query, body, beside  -> status, media type, body; or a body of None: then pieces
    "piece", number of the page      -> the next one, or None: that was all
    "enough", number of the page     -> (no reply) nobody wants the rest
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from proxy.background import spawn
from proxy.workers.board import Board, Siblings, Turns
from proxy.workers.channel import Channel, Word
from proxy.workers.spec import Spec
from proxy.workers.sums import Family, plain

if TYPE_CHECKING:
    from proxy.admin import Admin
    from proxy.config import Settings

_BEAT_S: Final = 1.0
_BEAT_UNREADY_S: Final = 0.1
_LAST_WORD_S: Final = 1.0
_MAX_NAME: Final = 253
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Member:
    """`attach` first; `serve` when it accepts; `leave` at the end."""

    def __init__(self, spec: Spec) -> None:
        self.spec: Final = spec
        self._board: Final = Board(spec.of, spec.board)
        self._control: Final = socket.socket(fileno=spec.control)
        self.listening: Final = [[socket.socket(fileno=fd) for fd in fds] for fds in spec.listening]
        for fd in (spec.control, spec.board, *(fd for fds in spec.listening for fd in fds)):
            os.set_inheritable(fd, False)
        self.siblings: Final = Siblings(self._board, spec.worker)
        self._channel: Final = Channel(self._take, self._abandoned)
        self._stop: asyncio.Event | None = None
        self._admin: Admin | None = None
        self._turns: Turns | None = None
        self._pieces: Final[dict[int, Iterator[bytes]]] = {}
        self._is_abandoned: Final = asyncio.Event()

    def settings(self, settings: Settings) -> Settings:
        """This worker's share, and its name."""
        limits = settings.limits
        share = -(-limits.max_connections // self.spec.of)
        controller = settings.controller
        if controller is not None:
            name = f"/{self.spec.worker}"
            name = self.spec.name[: _MAX_NAME - len(name)] + name
            controller = replace(controller, proxy_id=name, worker=self.spec.worker)
        return replace(settings, limits=replace(limits, max_connections=share), controller=controller)

    def turns(self, own: Callable[[], int]) -> Turns:
        """`own`: how many connections of callers there are."""
        self._turns = Turns(self._board, self.spec.worker, own)
        return self._turns

    async def attach(self, stop: asyncio.Event) -> None:
        """From now on the supervisor can set `stop`, and its death does."""
        self._stop = stop
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, lambda: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # blocked by the supervisor, until there were handlers
        await loop.create_unix_connection(lambda: self._channel, sock=self._control)

    def serve(self, admin: Admin, lines: Sequence[str]) -> None:
        """It accepts. `admin` knows what can be asked of it, `lines` are what there is to say at first."""
        self._admin = admin
        self._channel.say("beat", admin.why_not_ready())
        self._channel.say("up", list(lines))
        spawn(self._beat(admin), "heartbeat")

    async def delay(self, delay_s: float) -> None:
        """The drain's delay, which nobody is left to ask for when the supervisor is gone."""
        try:
            async with asyncio.timeout(delay_s):
                await self._is_abandoned.wait()
        except TimeoutError:
            pass

    async def leave(self) -> None:
        """Say what was counted last."""
        if self._admin is None or self._is_abandoned.is_set():
            return
        if _has_been_scraped():
            self._channel.say("last", self._families())
        self._channel.close()
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._is_abandoned.wait()
        except TimeoutError:
            pass

    async def _beat(self, admin: Admin) -> None:
        while True:
            why = admin.why_not_ready()
            if not self._channel.is_full:
                self._channel.say("beat", why)
            # Who waits to be ready says so when it is.
            await asyncio.sleep(_BEAT_S if why is None else _BEAT_UNREADY_S)

    def _abandoned(self) -> None:
        self._is_abandoned.set()
        if self._stop is not None:
            self._stop.set()

    def _families(self) -> list[Family]:
        assert self._admin is not None
        if self._turns is not None:
            self._turns.note()
        return plain(self._admin.exposition.collect())

    def _take(self, word: Word) -> None:
        if word[0] == "drain":
            assert self._stop is not None
            self._stop.set()
        elif self._admin is not None:
            _, number, what, *rest = word
            if what == "enough":
                self._pieces.pop(rest[0], None)
            else:
                self._channel.say("reply", number, self._reply(number, what, *rest))

    def _reply(self, number: int, what: str, *rest: Any) -> object:  # Any: see the table above
        assert self._admin is not None
        if what == "metrics":
            return self._families()
        if what == "state":
            return json.dumps(self._admin.tables.state())
        if what == "piece":
            pieces = self._pieces.get(rest[0])
            piece = next(pieces, None) if pieces is not None else None
            if piece is None:
                self._pieces.pop(rest[0], None)
            return piece
        path, query, body, beside = rest
        match path:
            case "/table":
                answer = self._admin.table(json.loads(beside))
            case "/probe":
                answer = self._admin.probe(body)
            case _:
                answer = self._admin.explain(query, body)
        if answer.pieces is not None:
            assert not hasattr(answer.pieces, "__aiter__")
            self._pieces[number] = iter(answer.pieces)
        return answer.status, answer.media_type, answer.body if answer.pieces is None else None


def _has_been_scraped() -> bool:
    """Whether the library is there already: nobody needs 5 MB for a last word that nobody will hear."""
    import sys

    return "prometheus_client" in sys.modules
