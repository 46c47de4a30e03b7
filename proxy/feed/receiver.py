"""What comes over the feed -> the table in force, and the answer to it.

Snapshots come in parts, each read on its own, so that requests go on in between; the whole takes effect at once, after
the last one. Changes take effect in place (`slice`). Every snapshot, change or `Current` gets one answer.

- Positions never go back: what is older than what is in force is refused whole.
- A change fits on one position only, and on one salt; else a snapshot is asked for, once, and changes are passed over
  until it comes.
- A route that can't be read is refused alone; what has no readable key or workload, or too much, is refused whole: the
  old table stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from proxy.collector import keep_from_collector
from proxy.feed.messages import (
    MAX_KEYS,
    MAX_ROUTES,
    PART_ROUTES,
    SCHEMA,
    Ack,
    Change,
    Current,
    Nack,
    RefusedRoute,
    Resync,
    Snapshot,
)
from proxy.feed.slice import Slice, Update
from proxy.routing.faults import TableError, excerpt
from proxy.routing.gone import NOTHING_GONE, GoneMemory
from proxy.routing.names import Workload
from proxy.routing.table import KIND, Route
from proxy.routing.view import KnownRoute
from proxy.routing.wire import PartReader
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
        tables: TableHolder,
        ports: Sequence[int],
        on_table: Callable[[bool], None] = lambda _: None,
        pause: Callable[[], Awaitable[None]] = _pause,
    ) -> None:
        self.position: int | None = None
        self.slice: Slice | None = None
        self._tables: Final = tables
        self._ports: Final = tuple(ports)
        self._on_table: Final = on_table
        self._pause: Final = pause
        self._coming: _Coming | None = None
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
            self._coming = _ComingSlice(message, self._tables.workload, self._ports, self.slice)
        coming = self._coming
        if not isinstance(coming, _ComingSlice) or not coming.continues(message):
            raise TableError([f"part {message.part} does not continue what came before"])
        coming.read(message)
        if not message.is_last:
            if message.part % _FROZEN_EVERY == _FROZEN_EVERY - 1:
                keep_from_collector()
            return None
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
            self._coming = _ComingUpdate(message, self._tables.workload, old)
        coming = self._coming
        if not isinstance(coming, _ComingUpdate) or not coming.continues(message):
            raise TableError([f"part {message.part} does not continue what came before"])
        coming.read(message)
        if coming.update.size > _MAX_UPDATE:
            return self._resync()
        if not message.is_last:
            return None
        self._coming = None
        memory = self._own_memory()
        old.apply(coming.update, memory, self._tables.now_s)
        old.version = message.version
        self.position = message.position
        update = coming.update
        self._put(old, memory, are_routes_same=not update.changes_routes, has_changed=update.size > 0)
        return self._answer(message.nonce, coming.update.refused)

    # --- in force ---

    def _put_snapshot(self, coming: _ComingSlice) -> None:
        old, new = self.slice, coming.slice
        memory = self._own_memory()
        if old is not None:
            new.succeed(old, memory, self._tables.now_s)
        new.version = coming.version
        self.slice, self.position = new, coming.position
        self._put(new, memory)
        if old is not None:
            self._dying += old.known.values()
        if len(new.known) > PART_ROUTES:
            keep_from_collector()
        _log.info("table version %s in force, %d routes, %d live keys", new.version, len(new.known), len(new.live))

    def _put(
        self, table: Slice, memory: GoneMemory, *, are_routes_same: bool = False, has_changed: bool = True
    ) -> None:
        self._tables.put(table, table.view(), memory, table.endpoints, table.sandboxes, are_routes_same=are_routes_same)
        if table.refused:
            self._tables.last_faults = tuple(fault for faults in table.refused.values() for fault in faults)[:100]
        self._on_table(has_changed)

    def _own_memory(self) -> GoneMemory:
        """The memory, to be changed in place."""
        memory = self._tables.memory
        return GoneMemory({}, {}) if memory is NOTHING_GONE else memory

    # --- answers ---

    def _answer(self, nonce: str, refused: dict[bytes, tuple[str, ...]] | None = None) -> Answer:
        self._tables.heard()
        if refused:
            faults = tuple(fault for faults in refused.values() for fault in faults)
            self._tables.refuse(faults)
            routes = tuple(RefusedRoute(key.decode("ascii"), faults) for key, faults in refused.items())
            return Nack(nonce, faults, is_whole=False, routes=routes)
        assert self.position is not None
        assert self.version is not None
        return Ack(nonce, self.position, self.version)

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


class _Coming:
    """What is being read, part by part."""

    def __init__(self, first: Snapshot | Change, workload: Workload) -> None:
        self.nonce: Final = first.nonce
        self.position: Final = first.position
        self.version: Final = first.version
        self._workload: Final = workload
        self._reader: Final = PartReader()
        self._next_part = 0

    def continues(self, message: Snapshot | Change) -> bool:
        """Whether it is the next part of the same."""
        expected = (self.nonce, self.position, self.version, self._next_part)
        self._next_part += 1
        return (message.nonce, message.position, message.version, message.part) == expected

    def _routes(self, values: Sequence[object]) -> Iterator[tuple[str, bytes, Route | None, tuple[str, ...]]]:
        """Path, key, and the route, or the faults of one that can't be read.

        Raises: TableError for one that is not ours, or of which it can't be told whose it is.
        """
        for index, value in enumerate(values):
            path = f"routes[{index}]"
            route, faults = self._reader.route(value, path)
            key, workload = (route.key, route.baseline) if route is not None else self._reader.whose(value, path)
            if workload != self._workload:
                raise TableError([f"{path}.baseline: must be {self._workload}, is {workload}"])
            yield path, key, route, tuple(faults)

    def _gone_routes(self, values: object, path: str) -> list[bytes]:
        if type(values) is not list:
            raise TableError([f"{path}: must be a list ([] for none), is {excerpt(values)}"])
        routes = [self._reader.gone_route(value, f"{path}[{index}]") for index, value in enumerate(values)]
        return [route.routing_key.encode("ascii") for route in routes if route.baseline == self._workload]


class _ComingSlice(_Coming):
    """A snapshot."""

    def __init__(self, first: Snapshot, workload: Workload, ports: Sequence[int], old: Slice | None) -> None:
        super().__init__(first, workload)
        self.slice: Final = Slice(workload, ports, self._reader.salt(dict(first.document)))
        self._before: Final[dict[bytes, KnownRoute]] = {} if old is None else old.known

    @property
    def refused(self) -> dict[bytes, tuple[str, ...]]:
        return self.slice.refused

    def read(self, message: Snapshot) -> None:
        """Raises: TableError."""
        document, into, reader = dict(message.document), self.slice, self._reader
        for name, expected in (("apiVersion", SCHEMA), ("kind", KIND)):
            if document.get(name) != expected:
                raise TableError([f"{name}: must be {expected}, is {excerpt(document.get(name))}"])
        if reader.salt(document) != into.salt:
            raise TableError(["keyDigest: is not that of the first part"])
        are_digests = into.salt is not None
        into.live.update(reader.keys(document.get("liveKeys", []), "liveKeys", are_digests=are_digests))
        into.gone.update(reader.keys(document.get("goneKeys", []), "goneKeys", are_digests=are_digests))
        into.gone_routes.update(self._gone_routes(document.get("goneRoutes", []), "goneRoutes"))
        self._read_routes(document.get("routes", []))
        if len(into.known) > MAX_ROUTES or len(into.live) > MAX_KEYS or len(into.gone) > MAX_KEYS:
            raise TableError([f"more than {MAX_ROUTES} routes or {MAX_KEYS} keys"])

    def _read_routes(self, values: object) -> None:
        if type(values) is not list:
            raise TableError([f"routes: must be a list ([] for none), is {excerpt(values)}"])
        for path, key, route, faults in self._routes(values):
            if key in self.slice.known:
                raise TableError([f"{path}: {excerpt(key.decode())} has a route already"])
            before = self._before.get(key)
            if route is None:
                self.slice.refuse_route(key, faults, before)
            else:
                self.slice.add_route(key, route, before)


class _ComingUpdate(_Coming):
    """A change."""

    def __init__(self, first: Change, workload: Workload, old: Slice) -> None:
        super().__init__(first, workload)
        self.update: Final = Update()
        self._old: Final = old

    def read(self, message: Change) -> None:
        """Raises: TableError."""
        update, reader, are_digests = self.update, self._reader, self._old.salt is not None

        def names(values: Sequence[str], path: str) -> list[bytes]:
            return reader.keys(list(values), path, are_digests=are_digests)

        def keys(values: Sequence[object], path: str) -> list[bytes]:
            return reader.keys(list(values), path, are_digests=False)

        update.live += names(message.live_keys, "liveKeys")
        update.not_live += names(message.not_live_keys, "notLiveKeys")
        update.gone += names(message.gone_keys, "goneKeys")
        update.not_gone += names(message.not_gone_keys, "notGoneKeys")
        update.removed_routes += keys(message.removed_routes, "removedRoutes")
        update.gone_routes += self._gone_routes(list(message.gone_routes), "goneRoutes")
        update.not_gone_routes += keys(message.not_gone_routes, "notGoneRoutes")
        for _, key, route, faults in self._routes(message.routes):
            if route is not None:
                update.routes[key] = route
            else:
                update.refused[key] = faults
        self._check_size()

    def _check_size(self) -> None:
        update, old = self.update, self._old
        if (
            len(old.known) + len(update.routes) + len(update.refused) - len(update.removed_routes) > MAX_ROUTES
            or len(old.live) + len(update.live) - len(update.not_live) > MAX_KEYS
            or len(old.gone) + len(update.gone) - len(update.not_gone) > MAX_KEYS
        ):
            raise TableError([f"more than {MAX_ROUTES} routes or {MAX_KEYS} keys"])
