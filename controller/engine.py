"""Runs the compiler over a store: what changes there is in force a few milliseconds later, and never half.

    store.watch -> compiler -> journal -> those who are told (`on_compiled`) -> statuses, back into the store

The journal comes before anybody is told: a key that a proxy has heard of must be refused for an hour after it went,
also if the controller is killed in between. While the journal can't be written nothing new is told: what was told
stays in force, the fault is said (`fault`), and writing is tried again until it succeeds.

What others may rely on: each compilation that changes the table is told once, in order, the first one whole; whoever
waited for an object (`compiled`) goes on after that. A store that fails is read again from the start. A defect in the
compiler or in those who are told ends `run`: a controller that is gone changes no routing, one that is half right may.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from controller.background import Pauses, aside
from controller.changes import Changes
from controller.collector import collector_paused
from controller.compile import Compilation, Compiler, Settings
from controller.errors import NotFound, ObjectError, StoreError
from controller.journal import Journal
from controller.memory import KeyMemory, read_memory
from controller.objects import Object, Ref, Status
from controller.routers import ForRouters
from controller.store import Changed, Event, Snapshot, Store
from proxy.routing.names import Workload

# What comes within this time is one compilation. A change waits that long at most, so it is short beside a write to
# the disk, and a folder of a thousand files that somebody checks out is a few dozen compilations.
BATCH_S: Final = 0.003
_SLICE: Final = 50  # objects between two breaths of the loop: about 4 ms
_STATUS_SLICE: Final = 200  # statuses in one write to the store: about 20 ms
_RETRY_S: Final = (0.1, 5.0)  # first and longest pause
_LONGEST_SLEEP_S: Final = 30.0  # the wall clock may be set

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class EngineCounts:
    """For metrics."""

    events: int = 0  # states of objects that the store gave us
    compilations: int = 0
    table_changes: int = 0
    compile_s: float = 0.0  # in all
    last_compile_s: float = 0.0
    journal_failures: int = 0
    store_failures: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class InForce:
    """What was told of an object. Each compilation that may have made something else of it makes a new one."""

    status: Status
    changes: Changes | None


class Engine:
    """`run` does it all; the rest asks what is in force."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        settings: Settings | None = None,
        on_compiled: Iterable[Callable[[Compilation], None]] = (),
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store: Final = store
        self._journal: Final = journal
        self._clock: Final = clock
        self._compiler: Final = Compiler(settings, _remembered(journal))
        self.on_compiled: Final = list(on_compiled)
        self.on_settled: Final[list[Callable[[Iterable[Ref]], None]]] = []  # objects whose state or status is new
        self.compilation: Compilation | None = None  # None: the store is not read yet
        self.fault: str | None = None  # why what is new is not in force
        self.counts: Final = EngineCounts()
        self._taken: dict[Ref, str | None] = {}  # resource versions that the next compilation makes good
        self._in_force: Final[dict[Ref, str | None]] = {}
        self._told: Final[dict[Ref, InForce]] = {}  # the compiler is ahead of it
        self._statuses: dict[Ref, Status] = {}  # not in the store yet
        self._news: Final = asyncio.Event()
        self._status_news: Final = asyncio.Event()
        self._is_read = False
        self._beat = asyncio.Event()

    # --- what is in force --------------------------------------------------------------------------------------------

    async def compiled(self, ref: Ref, resource_version: str | None = None, timeout_s: float | None = None) -> None:
        """Returns once that state of the object is in force, or a later one; without a version, the present one. An
        object that is deleted is in force once nothing of it is left.

        Raises: TimeoutError.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                beat = self._beat
                if await self.has_in_force(ref, resource_version):
                    return
                await beat.wait()

    async def has_in_force(self, ref: Ref, resource_version: str | None = None) -> bool:
        """Whether `compiled` would return at once."""
        if self.compilation is None:
            return False
        if resource_version is not None and self._in_force.get(ref) == resource_version:
            return True
        try:
            present = await self._store.get(ref)
        except NotFound:
            return ref not in self._in_force
        return self._in_force.get(ref) == present.metadata.resource_version

    async def until_compiled(self) -> None:
        """Returns after the next compilation."""
        await self._beat.wait()

    @property
    def objects(self) -> Mapping[Ref, Object]:
        """All objects as they were read last; their statuses are in `status`."""
        return self._compiler.objects

    def told(self, ref: Ref) -> InForce | None:
        """What is in force of the object: the same one as long as nothing of it has changed."""
        return self._told.get(ref)

    def status(self, ref: Ref) -> Status | None:
        """The status by the last compilation."""
        told = self._told.get(ref)
        return told.status if told is not None else None

    def workloads_of(self, ref: Ref) -> dict[Workload, bool]:
        """The workloads that the object changes, and whether its routes there lead anywhere on all their ports."""
        told = self._told.get(ref)
        if told is None or told.changes is None:
            return {}
        nowhere = set(told.changes.nowhere())
        return {workload: workload not in nowhere for workload, _, _ in told.changes.routes}

    def namespace_of(self, key: str) -> str | None:
        """Whose a live or gone key is."""
        return self._compiler.namespace_of(key)

    def set_for_routers(self, for_routers: ForRouters) -> None:
        """What routers get beside keys is another one."""
        self._compiler.set_for_routers(for_routers)
        self._news.set()

    # --- running -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="engine: store")
            tasks.create_task(self._compile(), name="engine: compiler")
            tasks.create_task(self._keep_statuses(), name="engine: statuses")

    def wake(self) -> None:
        """Something may be due: the clock was set."""
        self._news.set()

    async def _follow(self) -> None:
        pauses = Pauses(*_RETRY_S)
        while True:
            try:
                async for event in self._store.watch():
                    await self._take(event)
                    pauses.reset()
                problem = "its events ended"
            except (StoreError, OSError) as error:
                problem = str(error)
            self.counts.store_failures += 1
            _log.error("the store can't be followed, trying again: %s", problem)
            await pauses.wait()

    async def _take(self, event: Event) -> None:
        if isinstance(event, Snapshot):
            await self._take_all(event.objects)
            return
        if isinstance(event, Changed):
            self._put(event.object)
        else:
            self._delete(event.ref)
        self.counts.events += 1
        if self.counts.events % _SLICE == 0:
            await asyncio.sleep(0)  # a watch with much to tell never waits
        self._news.set()

    async def _take_all(self, objects: tuple[Object, ...]) -> None:
        for ref in self._compiler.objects.keys() - {object_.ref for object_ in objects}:
            self._delete(ref)
        with collector_paused():
            for number, object_ in enumerate(objects, 1):
                self._put(object_)
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
        self.counts.events += len(objects)
        self._is_read = True
        self._news.set()

    def _put(self, object_: Object) -> None:
        self._compiler.put(object_)
        self._taken[object_.ref] = object_.metadata.resource_version

    def _delete(self, ref: Ref) -> None:
        self._compiler.delete(ref)
        self._taken[ref] = None

    async def _compile(self) -> None:
        while True:
            self._news.clear()
            if self._is_read:
                await self._compile_what_is_new()
            await self._until_due()

    async def _until_due(self) -> None:
        pause_s = _LONGEST_SLEEP_S
        expiry = self._compiler.next_expiry
        if expiry is not None:
            pause_s = min(max((expiry - self._clock()).total_seconds(), 0.0), pause_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._news.wait()
            await asyncio.sleep(BATCH_S)

    async def _compile_what_is_new(self) -> None:
        taken, self._taken = self._taken, {}
        now = self._clock()
        expiry = self._compiler.next_expiry
        is_first = self.compilation is None
        if is_first or self._compiler.has_news or (expiry is not None and expiry <= now):
            began_s = perf_counter()
            with collector_paused():
                found = self._compiler.compile(now)
            settled: Iterable[Ref] = taken.keys() | found.touched
            told = [(ref, self._compiled(ref)) for ref in settled]  # before something else comes
            self.counts.last_compile_s = perf_counter() - began_s
            self.counts.compile_s += self.counts.last_compile_s
            self.counts.compilations += 1
            await self._remember(found.memory)
            self.compilation = found
            if is_first or found.is_news:
                self.counts.table_changes += 1
                for tell in self.on_compiled:
                    tell(found)
            for ref, each in told:
                if each is not None:
                    self._told[ref] = each
                else:
                    self._told.pop(ref, None)
            self._statuses.update(found.statuses)
            self._status_news.set()
        else:
            settled = taken
        for ref, version in taken.items():
            if version is None:
                self._in_force.pop(ref, None)
            else:
                self._in_force[ref] = version
        if settled:
            for hear in self.on_settled:
                hear(settled)
        self._beat.set()
        self._beat = asyncio.Event()

    def _compiled(self, ref: Ref) -> InForce | None:
        status = self._compiler.status(ref)
        return InForce(status, self._compiler.changes(ref)) if status is not None else None

    async def _remember(self, memory: Mapping[str, KeyMemory | None]) -> None:
        records: dict[str, object | None] = {
            key: record.document() if record is not None else None for key, record in memory.items()
        }
        pauses = Pauses(*_RETRY_S)
        while True:
            try:
                await aside(self._journal.write, records)
            except OSError as error:
                self.counts.journal_failures += 1
                fault = f"the state can't be written, so nothing new is in force: {error.strerror}"
                if fault != self.fault:
                    _log.error("%s", fault)
                self.fault = fault
            else:
                if self.fault is not None:
                    _log.info("the state is written again")
                self.fault = None
                return
            await pauses.wait()

    async def _keep_statuses(self) -> None:
        pauses = Pauses(*_RETRY_S)
        while True:
            await self._status_news.wait()
            self._status_news.clear()
            while self._statuses:
                due = {ref: self._statuses.pop(ref) for ref in list(self._statuses)[:_STATUS_SLICE]}
                try:
                    await self._store.put_statuses(due)
                    pauses.reset()
                except (StoreError, OSError) as error:
                    self.counts.store_failures += 1
                    _log.error("statuses can't be kept, trying again: %s", error)
                    self._statuses = {**due, **self._statuses}  # a later one is not undone
                    await pauses.wait()


def _remembered(journal: Journal) -> dict[str, KeyMemory]:
    if journal.damaged:
        _log.warning("%d damaged records of keys are not used", journal.damaged)
    memory: dict[str, KeyMemory] = {}
    for key, record in journal.entries():
        try:
            memory[key] = read_memory(record)
        except ObjectError as error:
            _log.warning("the record of a key is not used: %s", error)
    return memory
