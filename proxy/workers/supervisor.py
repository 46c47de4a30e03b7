"""The supervisor: one task for each worker's place, one for time; what is decided is `policy`'s and `pages`'."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy import errors
from proxy.adminpages import health
from proxy.admintokens import AdminTokens
from proxy.background import spawn
from proxy.codec.fields import request_kinds
from proxy.net.http_server import PageConnections
from proxy.net.listener import Bound, Listener
from proxy.workers.board import Board
from proxy.workers.ownmetrics import State, of_processes, of_workers
from proxy.workers.pages import SupervisorPages
from proxy.workers.policy import SILENT_S, Deaths
from proxy.workers.process import Worker
from proxy.workers.spec import Spec
from proxy.workers.sums import Family, Sums

if TYPE_CHECKING:
    from proxy.config import Settings

_TICK_S: Final = 0.5
_HELD_UP_S: Final = 2.0
# So often workers are asked for their counts once somebody has asked us: so much of them is lost with one that dies.
_REFRESH_S: Final = 5.0
# What workers need beyond --drain-timeout to be gone.
_GRACE_S: Final = 5.0
_BAD_CONFIGURATION: Final = 2


_log = logging.getLogger(__name__)


class Supervisor:
    """`run` until the end; its result is the exit code."""

    def __init__(
        self,
        settings: Settings,
        arguments: Sequence[str],
        bound: Bound,
        admin_tokens: AdminTokens | None,
    ) -> None:
        self._settings: Final = settings
        self._arguments: Final = arguments
        self._count: Final = settings.workers
        self._bound: Final = bound
        self._admin_tokens: Final = admin_tokens
        self._board: Final = Board(self._count)
        self._workers: Final[dict[int, Worker]] = {}
        self._deaths: Final = Deaths(self._count)
        self._died: Final[Counter[tuple[int, str]]] = Counter()
        self._refusing: Final[set[int]] = set()  # those that can't be started again for what their files say
        self._sums: Final = Sums()
        self._stop: Final = asyncio.Event()
        self._first_is_up: Final = asyncio.Event()
        self._seen: Final[set[int]] = set()  # places whose worker has served
        self._has_failed = False
        self._exit_code = 0
        self._pages: Final = SupervisorPages(
            self._all, self._sums, self._own_families, self._why_not_ready, self._stop.set, admin_tokens
        )

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        log = self._settings.watch.access_log
        if log is not None and log.file is not None:
            loop.add_signal_handler(signal.SIGHUP, self._reopen)
        kinds = request_kinds(errors.BAD_REQUEST)
        pages = [
            Listener(self._bound.admin, PageConnections(self._pages.answer, kinds)),
            Listener(self._bound.health, PageConnections(health(self._pages.page), kinds)),
        ]
        if self._admin_tokens is not None:
            spawn(self._admin_tokens.reloading.run(), "tokens of the admin pages")
        places = [spawn(self._keep(number), f"worker {number}") for number in range(1, self._count + 1)]
        for place in places:
            place.add_done_callback(self._place_ended)
        ticking = spawn(self._tick(), "workers' pulses")
        await self._stop.wait()
        for sockets in self._bound.traffic:
            for sock in sockets:
                sock.close()
        for worker in self._living():
            worker.drain()
        drain = self._settings.drain
        _, late = await asyncio.wait(places, timeout=drain.delay_s + drain.timeout_s + _GRACE_S)
        if late:
            for worker in self._living():
                _log.error("%s did not end in time: it is killed", worker)
                worker.kill()
            await asyncio.wait(late)
        ticking.cancel()
        for listener in pages:
            listener.close()
        return self._exit_code

    # --- one worker's place ---

    async def _keep(self, number: int) -> None:
        """Keeps one worker running, until the end."""
        if number > 1:
            # The first one reads the table. If that is bad, it says so, and there are no others.
            await _either(self._first_is_up, self._stop)
        while not self._stop.is_set():
            worker = Worker(number, self._on_up, self._on_beat)
            self._workers[number] = worker
            try:
                await worker.start(partial(self._spec, number), self._arguments)
            except OSError as error:
                _log.error("worker %d can't be started: %s", number, error.strerror)
                worker.reaped(0x100)  # as if it had ended with exit code 1
            if self._stop.is_set():
                worker.drain()
            await worker.ended.wait()
            self._board.forget(number)
            self._sums.died(worker.families)
            wait_s = self._after(worker)
            del self._workers[number]
            if wait_s is not None:
                await _either(self._stop, within_s=wait_s)

    def _place_ended(self, place: asyncio.Task[None]) -> None:
        if not place.cancelled() and place.exception() is not None:  # which is logged
            self._fail(1)

    def _after(self, worker: Worker) -> float | None:
        """How long to wait before it is replaced; None: it is not."""
        number, code = worker.number, worker.exit_code
        if self._stop.is_set():
            if code != 0 and not self._has_failed:
                self._exit_code = 1
                _log.error("%s ended with %s while it drained", worker, worker.cause)
            return None
        if code == _BAD_CONFIGURATION:
            if not self._first_is_up.is_set():
                self._fail(_BAD_CONFIGURATION)
                return None
            wait_s = self._deaths.refused(number)
            self._refusing.add(number)
            _log.error("worker %d can't start by what is configured now, the others go on; it is tried again", number)
            return wait_s
        now_s = asyncio.get_running_loop().time()
        self._died[number, worker.cause] += 1
        died_wait_s = self._deaths.died(number, now_s - worker.started_s, now_s)
        if died_wait_s is None:
            many = self._deaths.most
            _log.error(
                "%s died: %s; %d deaths within a minute are too many: the others are drained, then all ends",
                *(worker, worker.cause, many),
            )
            self._fail(1)
        else:
            when = f" in {died_wait_s:g} s" if died_wait_s else ""
            _log.error("%s died: %s; it is replaced%s", worker, worker.cause, when)
        return died_wait_s

    def _fail(self, code: int) -> None:
        self._has_failed = True
        self._exit_code = code
        self._stop.set()

    def _spec(self, number: int, control: int) -> Spec:
        controller = self._settings.controller
        return Spec(
            worker=number,
            of=self._count,
            control=control,
            board=self._board.fd,
            listening=[[sock.fileno() for sock in sockets] for sockets in self._bound.traffic],
            pages=_addresses([*self._bound.admin, *self._bound.health]),
            name=controller.proxy_id if controller is not None else "",
        )

    def _on_up(self, worker: Worker, lines: list[str]) -> None:
        number = worker.number
        self._deaths.started(number)
        self._refusing.discard(number)
        self._board.present[number - 1] = 1
        if number in self._seen:
            _log.info("%s serves", worker)
        self._seen.add(number)
        if not self._first_is_up.is_set():
            self._first_is_up.set()
            bound = (("admin", self._bound.admin), ("health", self._bound.health))
            places = [f"{what} on {host}:{port}" for what, sockets in bound for host, port in _addresses(sockets)]
            sys.stderr.writelines(f"pointsman proxy: {line}\n" for line in (*lines, *places))
            sys.stderr.flush()

    def _reap(self) -> None:
        """Of whatever has ended: as the first process of a container we may inherit others' children."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            for worker in self._workers.values():
                if worker.process == process:
                    worker.reaped(status)

    def _reopen(self) -> None:
        """The access log was moved away. Who is just starting opens the new one anyway."""
        for worker in self._living():
            if worker.is_up:
                os.kill(worker.process, signal.SIGHUP)

    # --- how they are ---

    def _all(self) -> list[Worker]:
        """In order; also those whose end was not looked at yet, whose counts would be missed in between."""
        return [worker for _, worker in sorted(self._workers.items())]

    def _living(self) -> list[Worker]:
        """Those that have a process, in order."""
        return [worker for worker in self._all() if worker.process and worker.status is None]

    def _on_beat(self, worker: Worker) -> None:
        silent_s = worker.pulse.beat(asyncio.get_running_loop().time())
        if silent_s is not None:
            self._board.present[worker.number - 1] = 1
            _log.info("%s answers again, after %.0f s", worker, silent_s)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        before_s = refreshed_s = loop.time()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = loop.time()
            # If it was us who stood still, what they said meanwhile is read first.
            if now_s - before_s < _HELD_UP_S:
                for worker in self._living():
                    if worker.is_up and worker.pulse.has_fallen_silent(now_s):
                        self._board.present[worker.number - 1] = 0
                        _log.error("%s has not answered for %g s", worker, SILENT_S)
            before_s = now_s
            if self._pages.is_scraped and now_s - refreshed_s >= _REFRESH_S:
                await self._pages.refresh()
                refreshed_s = loop.time()

    def _why_not_ready(self) -> str | None:
        if self._stop.is_set():
            return "draining"
        for number in range(1, self._count + 1):
            worker = self._workers.get(number)
            why = None
            if number in self._refusing:
                why = "it can't start by what is configured now"
            elif worker is None:
                why = "it waits to be replaced" if number in self._seen else "it waits for the first one"
            elif worker.pulse.is_silent:
                why = "it does not answer"
            elif not worker.is_up:
                why = "it is starting"
            else:
                why = worker.why_not_ready
            if why is not None:
                return f"worker {number}: {why}"
        return None

    def _own_families(self) -> list[Family]:
        """What is told of the workers, and of all processes together."""
        now_s = asyncio.get_running_loop().time()
        living = {worker.number: worker for worker in self._living()}
        states = []
        for number in range(1, self._count + 1):
            worker = living.get(number)
            is_up = worker is not None and worker.is_up and not worker.pulse.is_silent
            silent_s = None if worker is None else now_s - worker.pulse.last_s
            states.append(State(number, is_up, silent_s, self._board.connections[number - 1]))
        return [
            *of_workers(states, self._died),
            *of_processes([os.getpid(), *(worker.process for worker in living.values())]),
        ]


async def _either(*events: asyncio.Event, within_s: float | None = None) -> None:
    """Returns when one of them is set, or the time is over."""
    waiting = [spawn(event.wait(), "waiting") for event in events]
    await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


def _addresses(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    return [(str(name[0]), int(name[1])) for name in (sock.getsockname() for sock in sockets)]
