"""An event loop without sockets and without waiting: its clock goes where the test sends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.transport import FakeTransport, StreamProtocol


class FakeLoop(asyncio.BaseEventLoop):
    """The real loop's tasks and timers; the test says when they run.

    `names`: what a look-up (`tests.support.net`) finds; nobody can tell of others. `looked_up`: all that was asked.
    `peers`: how a connection attempt to an address ends, by an exception or, with None, never; any other address
    answers. `attempts`: all of them, in order; `on_attempt` is called at each.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = self  # where BaseEventLoop waits
        self._now_s = 1000.0
        self.names: dict[str, list[str]] = {}
        self.looked_up: list[str] = []
        self.peers: dict[str, Exception | None] = {}
        self.attempts: list[tuple[str, int]] = []
        self.on_attempt: Callable[[], object] = lambda: None
        self.transports: list[FakeTransport] = []

    # --- what the test does ---

    def settle(self) -> None:
        """Runs what is ready now, and what that makes ready."""
        while self._ready:  # type: ignore[attr-defined]
            self._run_once()  # type: ignore[attr-defined]

    def advance(self, seconds: float) -> None:
        """Lets so much time pass."""
        passed: list[bool] = []
        self.call_later(seconds, passed.append, True)
        while not passed:
            self._run_once()  # type: ignore[attr-defined]
        self.settle()

    @property
    def timers(self) -> int:
        """How many are set."""
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]

    # --- what BaseEventLoop asks for ---

    def time(self) -> float:
        return self._now_s

    def select(self, timeout: float | None) -> list[object]:
        assert timeout is not None, "waits for something that never happens"
        self._now_s += timeout
        return []

    def _process_events(self, events: list[object]) -> None:
        pass

    # --- the network ---

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        self.attempts.append((host, port))
        self.on_attempt()
        if host in self.peers:
            error = self.peers[host]
            if error is None:
                await self.create_future()
            else:
                raise error
        protocol: StreamProtocol = factory()
        own = ("192.0.2.2", 50000 + len(self.transports))
        self.transports.append(FakeTransport(protocol, peer=(host, port), own=own))
        return self.transports[-1], protocol


@contextmanager
def running_loop() -> Iterator[FakeLoop]:
    """The running loop, as far as anybody can tell; it moves when the test says so."""
    loop = FakeLoop()
    asyncio._set_running_loop(loop)
    try:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
    finally:
        asyncio._set_running_loop(None)
        loop.close()
