"""The end of objects: whose time is over is deleted, and what is deleted stays until proxies have let go of it.

A deletion begins with `deletionTimestamp` (`writing`): the compiler takes the routes away and the key is gone. Once
every attached proxy has that table, or the drain's limit has passed since the deletion, the object is removed. All of
it is in the object, so a controller that was killed in between goes on where it stood. Proxies dial again after a
restart, so deletions from before it wait a while for them.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

from controller.audit import Audit
from controller.background import Pauses, spawn
from controller.engine import Engine
from controller.errors import Conflict, NotFound, StoreError
from controller.objects import Object, Ref
from controller.store import Store
from controller.writing import Writer

_LONGEST_SLEEP_S: Final = 30.0  # the wall clock may be set
_RETRY_S: Final = 5.0
_RETURN_S: Final = 10.0  # proxies dial again at least so often

WHO: Final = "controller"

_log = logging.getLogger(__name__)


class Proxies(Protocol):
    """Who must let go of what is deleted."""

    @property
    def position(self) -> int:
        """Of the table that was told last."""

    def have(self, position: int) -> bool:
        """Whether all that are attached have that table, or a later one."""

    async def until_changed(self) -> None:
        """Returns after the next answer of one of them."""


class Lifecycle:
    """`hear` is for the engine's `on_settled`; `run` does the rest."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        writer: Writer,
        proxies: Proxies,
        audit: Audit,
        drain_limit_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store: Final = store
        self._engine: Final = engine
        self._writer: Final = writer
        self._proxies: Final = proxies
        self._audit: Final = audit
        self._drain_limit: Final = timedelta(seconds=drain_limit_s)
        self._clock: Final = clock
        self._started: Final = clock()
        self._times: Final[dict[Ref, datetime]] = {}  # when objects expire
        self._queue: Final[list[tuple[datetime, Ref]]] = []  # the same by time, and what is out of date
        self._draining: Final[dict[Ref, asyncio.Task[None]]] = {}
        self._news: Final = asyncio.Event()

    def hear(self, refs: Iterable[Ref]) -> None:
        """These objects may have changed, and the table says so already."""
        for ref in refs:
            object_ = self._engine.objects.get(ref)
            if object_ is not None and object_.metadata.deletion_timestamp is not None:
                if ref not in self._draining:
                    self._draining[ref] = spawn(self._drain(ref, object_), f"drain of {ref}")
                object_ = None
            status = self._engine.status(ref) if object_ is not None else None
            if status is None or status.expires_at is None:
                self._times.pop(ref, None)
            elif self._times.get(ref) != status.expires_at:
                self._times[ref] = status.expires_at
                heapq.heappush(self._queue, (status.expires_at, ref))
                self._news.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                self._news.clear()
                is_retry = await self._expire()
                pause_s = _RETRY_S if is_retry else _LONGEST_SLEEP_S
                if self._queue and not is_retry:
                    pause_s = min(max((self._queue[0][0] - self._clock()).total_seconds(), 0.0), pause_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._news.wait()
        finally:
            for task in list(self._draining.values()):
                task.cancel()

    def wake(self) -> None:
        """Something may be due: the clock was set."""
        self._news.set()

    async def _expire(self) -> bool:
        """Deletes what is due; True if something could not be and is to be tried again."""
        now = self._clock()
        while self._queue and self._queue[0][0] <= now:
            time, ref = self._queue[0]
            object_ = self._engine.objects.get(ref)
            if self._times.get(ref) == time and object_ is not None:
                try:
                    await self._writer.delete(ref, object_.metadata.resource_version)
                    self._audit.write(WHO, "expire", ref, "done")
                except (Conflict, NotFound):
                    pass  # changed meanwhile: it is heard of again
                except (StoreError, OSError) as error:
                    _log.error("%s has expired and can't be deleted, trying again: %s", ref, error)
                    return True
                self._times.pop(ref, None)
            heapq.heappop(self._queue)
        return False

    async def _drain(self, ref: Ref, object_: Object) -> None:
        """Removes an object that is being deleted, once proxies know."""
        try:
            await self._until_let_go(object_)
            await self._remove(ref)
        finally:
            del self._draining[ref]

    async def _until_let_go(self, object_: Object) -> None:
        deleted = object_.metadata.deletion_timestamp
        assert deleted is not None
        position = self._proxies.position
        now = self._clock()
        # A timestamp of the future is somebody's mistake, not a reason to wait until then.
        left_s = (min(deleted, now) + self._drain_limit - now).total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                if deleted < self._started:
                    await asyncio.sleep(_RETURN_S - (now - self._started).total_seconds())
                while not self._proxies.have(position):
                    await self._proxies.until_changed()

    async def _remove(self, ref: Ref) -> None:
        pauses = Pauses(0.1, _RETRY_S)
        while True:
            try:
                present = await self._store.get(ref)
                if present.metadata.deletion_timestamp is None:
                    return  # somebody has made it anew, or taken the mark out of the file
                await self._store.delete(ref, present.metadata.resource_version)
                self._audit.write(WHO, "remove", ref, "done")
                return
            except NotFound:
                return
            except (StoreError, OSError) as error:
                if not isinstance(error, Conflict) or pauses.next_s > 1:
                    _log.error("%s is deleted and can't be removed, trying again: %s", ref, error)
            await pauses.wait()
