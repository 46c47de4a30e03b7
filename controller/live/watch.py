"""Keeps the rows of the board, for as long as somebody looks.

What happens is only noted (`hear`), and made rows of a moment later, together with what else happened in that moment:
at most ten times a second, whatever happens and whoever looks. While nobody looks, notes are all it costs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from controller.engine import Engine, InForce
from controller.feed.hub import Hub, Lost
from controller.feed.subscription import Subscription
from controller.live.board import Board, Scopes
from controller.live.rows import (
    Lag,
    Refusals,
    Table,
    object_id,
    object_row,
    proxy_id,
    proxy_row,
    traffic_id,
    traffic_row,
)
from controller.objects import Ref
from proxy.feed.messages import Traffic

GATHER_S: Final = 0.01  # what proxies answer to one change comes within this time, mostly
SPACING_S: Final = 0.1  # nobody reads faster
TRAFFIC_S: Final = 3600.0  # counts of so long, as `pointsman sandbox traffic` says by default
_DECAY_S: Final = 30.0  # so often counts are looked at because time has passed
_SLICE: Final = 50  # rows between two breaths of the loop: about 3 ms
_POSITIONS: Final = 1000

TABLE: Final = "table"

_log = logging.getLogger(__name__)


class Watch:
    """`hear` is for the engine's `on_settled`, behind the hub's; `run` does the rest."""

    def __init__(self, engine: Engine, hub: Hub, owner_label: str, clock: Callable[[], datetime]) -> None:
        self._engine: Final = engine
        self._hub: Final = hub
        self.owner_label: Final = owner_label
        self._clock: Final = clock
        self.board: Final = Board()
        self.epoch: Final = secrets.token_hex(4)  # another process counts other revisions
        self.readers = 0
        self.dropped = 0  # readers that were too slow
        self.is_closed = False
        self._told: Final[dict[Ref, tuple[InForce, int]]] = {}  # what is in force, and the position that had it first
        self._positions: Final[deque[int]] = deque(maxlen=_POSITIONS)  # the latest
        self._times: Final[deque[datetime]] = deque(maxlen=_POSITIONS)  # when they came
        self._dirty: set[Ref] = set()
        self._counted: set[Ref] = set()  # whose counts have changed
        self._refs: Final[dict[str, Ref]] = {}  # by the key in force, of those that have a row
        self._keys: Final[dict[Ref, str]] = {}  # the same, the other way round
        self._refusals: dict[str, Refusals] = {}  # by key
        self._shown: dict[str, tuple[object, ...]] = {}  # proxies by the ids of their rows, as they were then
        self._news: Final = asyncio.Event()
        self._wanted: Final = asyncio.Event()
        self._beat = asyncio.Event()
        self.is_filled = False
        hub.on_news.append(self._news.set)
        hub.on_traffic.append(self._count)

    # --- what happens ------------------------------------------------------------------------------------------------

    def hear(self, refs: Iterable[Ref]) -> None:
        """These objects may have changed, and the table says so already."""
        self._note_position()
        for ref in refs:
            told, before = self._engine.told(ref), self._told.get(ref)
            if told is None:
                self._told.pop(ref, None)
            elif before is None or not _routes_alike(told, before[0]):
                self._told[ref] = told, self._hub.position
            else:
                self._told[ref] = told, before[1]
            self._dirty.add(ref)
        self._news.set()

    def _note_position(self) -> None:
        if not self._positions or self._positions[-1] < self._hub.position:
            self._positions.append(self._hub.position)
            self._times.append(self._clock())

    def _count(self, traffic: Traffic) -> None:
        if self._wanted.is_set() and traffic.counts:
            for count in traffic.counts:
                if (ref := self._refs.get(count.key)) is not None:
                    self._counted.add(ref)
            self._news.set()

    # --- who looks ---------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Somebody looks, for as long as this lasts."""
        self.readers += 1
        if not self._wanted.is_set():
            self._counted.update(self._refs.values())  # nobody noted what was counted meanwhile
            self._news.set()
            self._wanted.set()
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers:
                self._wanted.clear()

    async def until_changed(self) -> None:
        """Returns when the board may say something else, or all is over."""
        if not self.is_closed:
            await self._beat.wait()

    def close(self) -> None:
        """Ends all streams."""
        self.is_closed = True
        self._tell()

    def _tell(self) -> None:
        self._beat.set()
        self._beat = asyncio.Event()

    # --- rows --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wanted.wait()
            try:
                async with asyncio.timeout(_DECAY_S):
                    await self._news.wait()
            except TimeoutError:
                self._counted.update(self._refs.values())
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            revision = self.board.revision
            try:
                await self._refresh()
            except Exception:  # noqa: BLE001 - proxies must not go without a controller because a page does
                _log.exception("what is shown is not as it should be")
            if self.board.revision != revision or not self.is_filled:
                self.is_filled = True
                self._tell()
            await asyncio.sleep(SPACING_S)

    async def _refresh(self) -> None:
        """Proxies first: who sees an object's new position must not take the answers to the one before for its own."""
        self._put_proxies()
        dirty, self._dirty = self._dirty, set()
        for number, ref in enumerate(dirty, 1):
            self._put_object(ref)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        counted, self._counted = self._counted, set()
        since_s = self._clock().timestamp() - TRAFFIC_S
        for number, ref in enumerate(counted | dirty, 1):
            self._put_traffic(ref, since_s)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    def _put_object(self, ref: Ref) -> None:
        object_ = self._engine.objects.get(ref)
        told, position = self._told.get(ref, (None, 0))
        if object_ is None or told is None:
            self._forget(ref)
            return
        self._know(ref, told.status.routing_key)
        row = object_row(
            object_,
            told.status,
            told.changes,
            position=position,
            refusals=self._refusals.get(told.status.routing_key or "", ()),
            owner_label=self.owner_label,
        )
        self.board.put(object_id(ref), row, frozenset([ref.namespace]))

    def _know(self, ref: Ref, key: str | None) -> None:
        before = self._keys.pop(ref, None)
        if before is not None and self._refs.get(before) == ref:
            del self._refs[before]
        if key is not None:
            self._keys[ref], self._refs[key] = key, ref

    def _forget(self, ref: Ref) -> None:
        self._know(ref, None)
        self.board.drop(object_id(ref))
        self.board.drop(traffic_id(ref))

    def _put_traffic(self, ref: Ref, since_s: float) -> None:
        object_ = self._engine.objects.get(ref)
        told, _ = self._told.get(ref, (None, 0))
        row = None
        if object_ is not None and told is not None and told.status.routing_key is not None:
            workloads = self._engine.workloads_of(ref)
            made = object_.metadata.creation_timestamp
            row = traffic_row(told.status.routing_key, workloads, self._hub.traffic, since_s, made)
        if row is None:
            self.board.drop(traffic_id(ref))
        else:
            self.board.put(traffic_id(ref), row, frozenset([ref.namespace]))

    # --- proxies -----------------------------------------------------------------------------------------------------

    def _put_proxies(self) -> None:
        """All of them are looked at: that costs less than being told of each."""
        self._note_position()
        hub, rivals = self._hub, set(self._hub.rivals())
        routed = tuple(sorted(hub.routed))
        of_routers: Scopes = frozenset(workload.namespace for workload in routed)
        shown: dict[str, tuple[object, ...]] = {}
        behind: list[Lag] = []
        refusals: dict[str, Refusals] = {}
        proxies: list[Subscription | Lost] = [*hub.attached(), *hub.lost()]
        for each in proxies:
            id_ = proxy_id(each.workload, each.id)
            scopes = frozenset([each.workload.namespace]) if each.workload is not None else of_routers
            is_rival = (each.workload, each.id) in rivals
            faults = each.faults if isinstance(each, Subscription) else ()
            shown[id_] = looks = (each, faults, is_rival, scopes)
            if self._shown.get(id_) != looks:
                self.board.put(id_, proxy_row(each, is_rival=is_rival), scopes)
            if isinstance(each, Subscription):
                if each.known < hub.position:
                    behind.append(Lag(id_, scopes, each.known, self._lacks_since(each)))
                for (key, _), refused in each.refused_routes.items():
                    refusals[key] = (*refusals.get(key, ()), (each.id, refused))
        for id_ in self._shown.keys() - shown.keys():
            self.board.drop(id_)
        self._shown = shown
        self._take_refusals(refusals)
        table = Table(hub.position, hub.version, len(hub.attached()), routed, tuple(behind), self._engine.fault)
        self.board.put_for_each(TABLE, table, table.row)

    def _lacks_since(self, each: Subscription) -> datetime | None:
        if each.known < 0:
            return each.since
        place = bisect_right(self._positions, each.known)
        return self._times[place] if place < len(self._times) else None

    def _take_refusals(self, refusals: dict[str, Refusals]) -> None:
        for key in refusals.keys() | self._refusals.keys():
            if refusals.get(key) != self._refusals.get(key) and (ref := self._refs.get(key)) is not None:
                self._dirty.add(ref)
        self._refusals = refusals


def _routes_alike(one: InForce, other: InForce) -> bool:
    """Whether the table has the same of both."""
    return one is other or (one.changes == other.changes and one.status.routing_key == other.status.routing_key)
