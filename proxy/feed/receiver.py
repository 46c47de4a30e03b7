"""What comes over the feed -> the table in force, and the answer to it.

Snapshots come in parts, each read on its own, so that requests go on in between; the whole takes effect at once, after
the last one. Changes take effect in place (`slice`). Every snapshot, change or `Current` gets one answer.

- Positions never go back: what is older than what is in force is refused whole.
- A change fits on one position only, and on one salt; else a snapshot is asked for, once, and changes are passed over
  until it comes.
- A route that can't be read is refused alone; what has no readable key or workload, or too much, is refused whole: the
  old table stays. So are services and previews that can't be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from proxy.collector import keep_from_collector
from proxy.feed.coming import ComingSlice, ComingUpdate
from proxy.feed.messages import PART_ROUTES, Ack, Change, Current, Nack, RefusedRoute, Resync, Snapshot
from proxy.feed.slice import Name, Slice, Update
from proxy.places import PREVIEWS
from proxy.routertables import RouterTables
from proxy.routing.faults import TableError
from proxy.routing.gone import NOTHING_GONE, GoneMemory
from proxy.tables import TableHolder

PAUSE_S: Final = 0.001
_MAX_UPDATE: Final = 20_000  # entries, which take 50 ms at once: beyond that a snapshot disturbs less
_RESYNC_AGAIN_S: Final = 10.0
_FROZEN_EVERY: Final = 20  # parts: a collection that looks at 10,000 routes takes 15 ms
_FREED_AT_ONCE: Final = 500

Answer = Ack | Nack | Resync

_log = logging.getLogger(__name__)


async def _pause() -> None:
    await asyncio.sleep(PAUSE_S)


class Receiver:
    """Takes the messages that carry tables, one after the other. `position` and `version` are those in force.

    `on_table` is told of each table in force, and whether more changed than its position and version.
    """

    def __init__(
        self,
        tables: TableHolder | RouterTables,
        ports: Sequence[int],
        on_table: Callable[[bool], None] = lambda _: None,
        pause: Callable[[], Awaitable[None]] = _pause,
    ) -> None:
        """`ports`: those of the workload; a router has none."""
        self.position: int | None = None
        self.slice: Slice | None = None
        self._tables: Final = tables
        self._workload: Final = tables.workload if isinstance(tables, TableHolder) else None
        self._ports: Final = tuple(ports)
        self._on_table: Final = on_table
        self._pause: Final = pause
        self._coming: ComingSlice | ComingUpdate | None = None
        self._refused_nonce: str | None = None
        self._resync_asked_s: float | None = None
        self._dying: list[object] = []

    @property
    def version(self) -> str | None:
        return None if self.slice is None else self.slice.version

    @property
    def salt(self) -> str | None:
        return None if self.slice is None or self.slice.salt is None else self.slice.salt.hex()

    @property
    def is_whole(self) -> bool:
        """Whether what is in force is all that the controller told: no route of it was refused."""
        return self.slice is not None and not self.slice.refused

    @property
    def is_in_parts(self) -> bool:
        """Whether more parts must come."""
        return self._coming is not None

    def restart(self) -> None:
        """Another connection: what was under way on the last one is void."""
        self._coming = None
        self._refused_nonce = None
        self._resync_asked_s = None

    def take(self, message: Snapshot | Change | Current) -> Answer | None:
        """The answer; None while parts are missing."""
        if isinstance(message, Current):
            return self._take_current(message)
        if message.nonce == self._refused_nonce:
            return None  # the rest of what was refused
        try:
            if isinstance(message, Snapshot):
                return self._take_snapshot(message)
            return self._take_change(message)
        except TableError as error:
            return self.refuse(message.nonce, error.faults)

    def refuse(self, nonce: str, faults: Sequence[str]) -> Nack:
        """The refusal of something whole."""
        self._coming = None
        self._refused_nonce = nonce
        self._tables.refuse(faults)
        return Nack(nonce, tuple(faults), is_whole=True)

    async def tidy(self) -> None:
        """To be called after each `take`, when its answer is on the way: lets requests in between the parts, and frees
        the table before the one in force, a few routes at a time: 100,000 at once take 100 ms."""
        await self._pause()
        while self._dying:
            del self._dying[-_FREED_AT_ONCE:]
            await self._pause()

    # --- each kind ---

    def _take_current(self, message: Current) -> Answer | None:
        if not self.is_whole or message.version != self.version or not self._is_salt(message.salt):
            return self._resync()
        if self._is_older(message.position):
            return self.refuse(message.nonce, [self._older(message.position)])
        self.position = message.position
        return self._answer(message.nonce)

    def _take_snapshot(self, message: Snapshot) -> Answer | None:
        if message.part == 0:
            if self._is_older(message.position):
                raise TableError([self._older(message.position)])
            self._resync_asked_s = None
            self._coming = ComingSlice(message, self._workload, self._ports, self.slice)
        coming = self._coming
        if not isinstance(coming, ComingSlice) or not coming.continues(message):
            raise TableError([f"part {message.part} does not continue what came before"])
        coming.read(message)
        if not message.is_last:
            if message.part % _FROZEN_EVERY == _FROZEN_EVERY - 1:
                keep_from_collector()
            return None
        coming.end()
        self._coming = None
        self._put_snapshot(coming)
        return self._answer(message.nonce, coming.refused)

    def _take_change(self, message: Change) -> Answer | None:
        old = self.slice
        if old is None or message.from_position != self.position or not self._is_salt(message.salt):
            return self._resync()
        if message.part == 0:
            if self._is_older(message.position):
                raise TableError([self._older(message.position)])
            self._coming = ComingUpdate(message, self._workload, old)
        coming = self._coming
        if not isinstance(coming, ComingUpdate) or not coming.continues(message):
            raise TableError([f"part {message.part} does not continue what came before"])
        coming.read(message)
        if coming.update.size > _MAX_UPDATE:
            return self._resync()
        if not message.is_last:
            return None
        coming.end()
        self._coming = None
        memory = self._own_memory()
        old.apply(coming.update, memory, self._tables.now_s)
        old.version = message.version
        self.position = message.position
        update = coming.update
        self._put(old, memory, update)
        return self._answer(message.nonce, coming.update.refused)

    # --- in force ---

    def _put_snapshot(self, coming: ComingSlice) -> None:
        old, new = self.slice, coming.slice
        memory = self._own_memory()
        if old is not None:
            new.succeed(old, memory, self._tables.now_s)
        new.version = coming.version
        self.slice, self.position = new, coming.position
        self._put(new, memory)
        if old is not None:
            for workload in old.workloads:
                self._dying += old.of(workload).known.values()
        if new.count > PART_ROUTES:
            keep_from_collector()
        _log.info("table version %s in force, %d routes, %d live keys", new.version, new.count, len(new.live))

    def _put(self, table: Slice, memory: GoneMemory, update: Update | None = None) -> None:
        """`update`: what is not as it was; None: anything."""
        tables, are_routes_same = self._tables, update is not None and not update.changes_routes
        names = table.endpoints, table.sandboxes
        if isinstance(tables, TableHolder):
            tables.put(table, table.view(tables.workload), memory, *names, are_routes_same=are_routes_same)
        elif update is None or update.services is not None:
            views = {workload: table.view(workload) for workload in (*table.served, PREVIEWS)}
            previews = tuple(table.previews.values())
            tables.put(table, memory, *names, views=views, services=table.services, previews=previews)
        else:
            tables.put(
                table,
                memory,
                *names,
                views={workload: table.view(workload) for workload in update.workloads() & table.served},
                previews=tuple(update.previews.values()),
                removed_previews=update.removed_previews,
                are_routes_same=are_routes_same,
            )
        if table.refused:
            self._tables.last_faults = tuple(fault for faults in table.refused.values() for fault in faults)[:100]
        self._on_table(update is None or not update.is_empty)

    def _own_memory(self) -> GoneMemory:
        """The memory, to be changed in place."""
        memory = self._tables.memory
        return GoneMemory({}, {}) if memory is NOTHING_GONE else memory

    # --- answers ---

    def _answer(self, nonce: str, refused: dict[Name, tuple[str, ...]] | None = None) -> Answer:
        self._tables.heard()
        if refused:
            faults = tuple(fault for faults in refused.values() for fault in faults)
            self._tables.refuse(faults)
            routes = tuple(self._refused(name, faults) for name, faults in refused.items())
            return Nack(nonce, faults, is_whole=False, routes=routes)
        assert self.position is not None
        assert self.version is not None
        return Ack(nonce, self.position, self.version)

    def _refused(self, name: Name, faults: tuple[str, ...]) -> RefusedRoute:
        workload, key = name
        return RefusedRoute(key.decode("ascii"), faults, str(workload) if self._workload is None else None)

    def _resync(self) -> Resync | None:
        now_s = self._tables.now_s
        if self._resync_asked_s is not None and now_s < self._resync_asked_s + _RESYNC_AGAIN_S:
            return None
        self._resync_asked_s = now_s
        self._coming = None
        if self.slice is not None:
            self._tables.unheard("what the controller changed does not fit on this table; asked for all of it")
        return Resync()

    def _is_older(self, position: int) -> bool:
        return self.position is not None and position < self.position

    def _older(self, position: int) -> str:
        return f"position {position} is older than {self.position}, which is in force"

    def _is_salt(self, salt: str | None) -> bool:
        return salt is None or salt == self.salt
