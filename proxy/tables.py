"""The table in force: holds it, swaps it, remembers what left it. Where tables come from is the sources' matter.

The data path reads one attribute, `view`, and one assignment swaps it; a request keeps the view that it began with.
Everything that a swap needs is made before that assignment. For a table of 100,000 routes this takes half a second, so
it is made in slices, and the event loop serves requests between them.

One source feeds a holder: a file, by whole tables (`swap`), or the feed, which makes its views itself (`put`).

`Holder` is what the sidecar's (`TableHolder`) and the router's (`routertables.RouterTables`) have in common.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final, Protocol

from proxy.collector import collector_paused
from proxy.places import Place
from proxy.routing.gone import NOTHING_GONE, GoneMemory, remember
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Route, RoutingTable, Service
from proxy.routing.view import KnownRoute, WorkloadView
from proxy.telemetry.exposition import TableState

SLICE_ROUTES: Final = 500  # about 1.5 ms of work
# A request takes several turns of the loop, and must not wait for a slice at each one. So half of the time is its.
PAUSE_S: Final = 0.002
_EXPIRE_EVERY_S: Final = 10.0
_MAX_FAULTS: Final = 100  # more are kept by nobody and read by nobody


class Table(Protocol):
    """A table, as those see it who ask what is in force."""

    @property
    def version(self) -> str: ...

    @property
    def routes(self) -> Sequence[Route]: ...


class Holder(ABC):
    """What a proxy routes by; `current` is for those who ask what is in force."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.source: Final = source
        self.current: Table | None = None
        self.refused_total = 0
        self.last_faults: tuple[str, ...] = ()  # why the source's latest table is not in force; none: it is
        self._clock: Final = clock
        self._loaded_at_s = clock()
        self.memory = NOTHING_GONE
        self._table: RoutingTable | None = None  # of a file
        self._endpoints: AbstractSet[Endpoint] = frozenset()
        self._sandboxes: AbstractSet[str] = frozenset()
        self._unheard = ""  # why nothing is heard of the source; empty: it is heard
        self._stale_since_s: float | None = None  # what it is while nothing is stale does not matter
        self._listeners: Final[list[Callable[[], None]]] = []

    @property
    def now_s(self) -> float:
        return self._clock()

    def on_swap(self, listener: Callable[[], None]) -> None:
        """Have this called after each swap, e.g. to close idle connections to endpoints that are out of use."""
        self._listeners.append(listener)

    def swap(self, table: RoutingTable) -> None:
        """Put the table in force, in one go. Cost: about 5 us per route of the workloads that are served."""
        for _ in self._swapping(table):
            pass

    async def swap_gently(self, table: RoutingTable) -> None:
        """Put the table in force, leaving the loop half of the time until it is."""
        with collector_paused():
            await asyncio.sleep(PAUSE_S)
            for _ in self._swapping(table):
                await asyncio.sleep(PAUSE_S)

    @abstractmethod
    def _swapping(self, table: RoutingTable) -> Iterator[None]:
        """The steps of a swap."""

    @abstractmethod
    def _memory_expired(self) -> None:
        """Some of what the memory held is forgotten."""

    def _in_force(
        self,
        table: Table,
        memory: GoneMemory,
        endpoints: AbstractSet[Endpoint],
        sandboxes: AbstractSet[str],
        *,
        are_routes_same: bool,
    ) -> None:
        """Called last, when requests are decided by the table."""
        self.current, self.memory = table, memory
        self._endpoints, self._sandboxes = endpoints, sandboxes
        self._loaded_at_s = self._clock()
        self.last_faults = ()
        if not are_routes_same:
            for listener in self._listeners:
                listener()

    def unheard(self, why: str) -> None:
        """Note that the source may have moved on and cannot be asked."""
        self._is_stale_from_now()
        self._unheard = why

    def heard(self) -> None:
        """Note that what is in force is what the source has, but for routes of it that were refused."""
        self._unheard = ""
        if not self.is_stale:
            self._stale_since_s = None
        elif self._stale_since_s is None:
            self._stale_since_s = self._clock()

    def refuse(self, faults: Sequence[str]) -> None:
        """Note that the source has another table, or none, and why the old one stays in force."""
        self._is_stale_from_now()
        self.refused_total += 1
        self.last_faults = tuple(faults[:_MAX_FAULTS])
        if len(faults) > _MAX_FAULTS:
            self.last_faults += (f"and {len(faults) - _MAX_FAULTS} more",)

    def _is_stale_from_now(self) -> None:
        if not self.is_stale:
            self._stale_since_s = self._clock()

    def expire(self) -> None:
        """Forget what has been gone for an hour."""
        memory = self.memory.expired(self._clock())
        if memory is not self.memory:
            self.memory = memory
            self._memory_expired()

    async def run_expiry(self) -> None:
        """Expire for as long as the proxy runs."""
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            self.expire()

    def endpoints(self) -> AbstractSet[Endpoint]:
        """Every destination of the routes."""
        return self._endpoints

    def sandboxes(self) -> AbstractSet[str]:
        """Every sandbox that the table names."""
        return self._sandboxes

    def services(self) -> Sequence[Service]:
        """A router's, by the table."""
        return ()

    @property
    def is_stale(self) -> bool:
        """Whether the source has moved on without us."""
        return bool(self.last_faults or self._unheard)

    @property
    def stale_s(self) -> float:
        """How long it has been stale; 0: it is not."""
        return self._clock() - self._stale_since_s if self.is_stale and self._stale_since_s is not None else 0.0

    @property
    def age_s(self) -> float:
        """How long the table has been in force."""
        return self._clock() - self._loaded_at_s

    def state(self) -> dict[str, object]:
        """What `/table` says beside the routes (SPEC 6)."""
        return {
            "version": None if self.current is None else self.current.version,
            "age_s": None if self.current is None else round(self.age_s, 3),
            "source": self.source,
            "stale": self.is_stale,
            "refused_total": self.refused_total,
            "last_error": [*self.last_faults, *([self._unheard] if self._unheard else ())],
        }

    def metrics_state(self) -> TableState | None:
        """What `/metrics` says; None before the first table."""
        if self.current is None:
            return None
        return TableState(
            version=self.current.version,
            age_s=self.age_s,
            stale_s=self.stale_s,
            routes=len(self.current.routes),
            is_stale=self.is_stale,
            refused_total=self.refused_total,
        )


class TableHolder(Holder):
    """What one workload's proxy routes by: `view`, which its places get with each table."""

    def __init__(self, workload: Workload, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(source, clock)
        self.workload: Final = workload
        self.view: WorkloadView | None = None
        self._base_view: WorkloadView | None = None  # without the memory
        self._places: Final[list[Place]] = []

    def lead(self, place: Place) -> None:
        """Requests that arrive there are decided by this holder's table from now on."""
        self._places.append(place)
        place.view = self.view

    def put(
        self,
        table: Table,
        view: WorkloadView,
        memory: GoneMemory,
        endpoints: AbstractSet[Endpoint],
        sandboxes: AbstractSet[str],
        *,
        are_routes_same: bool = False,
    ) -> None:
        """Put a table in force whose view, without the memory, is made already. Cost: independent of its size.

        `are_routes_same`: only other workloads' keys changed, so nobody else needs to be told.
        """
        self._base_view = view
        self._look_up_in(view.joined_with(memory, self.workload))
        self._in_force(table, memory, endpoints, sandboxes, are_routes_same=are_routes_same)

    def _look_up_in(self, view: WorkloadView) -> None:
        self.view = view
        for place in self._places:
            place.view = view

    def _memory_expired(self) -> None:
        if self._base_view is not None:
            self._look_up_in(self._base_view.joined_with(self.memory, self.workload))

    def _swapping(self, table: RoutingTable) -> Iterator[None]:
        memory = remember(self._table, table, self.memory, self._clock())
        yield
        views: dict[Workload, WorkloadView] = {}
        endpoints: set[Endpoint] = set()
        yield from make_views(table, (self.workload,), views, endpoints)
        sandboxes = {route.sandbox for route in table.routes}
        yield
        old_table, old_view = self._table, self._base_view
        self._table = table
        self.put(table, views[self.workload], memory, endpoints, sandboxes)
        if old_table is not None and old_view is not None:
            dying: list[object] = [*old_view.routes.values(), *old_table.routes]
            del old_table, old_view
            yield from freed(dying)


def make_views(
    table: RoutingTable,
    workloads: Iterable[Workload],
    into: dict[Workload, WorkloadView],
    endpoints: set[Endpoint],
) -> Iterator[None]:
    """Makes these workloads' views, in steps, and collects their routes' destinations."""
    gone_routes: dict[Workload, set[bytes]] = {}
    for gone in table.gone_routes:
        gone_routes.setdefault(gone.baseline, set()).add(gone.routing_key.encode("ascii"))
    yield
    work = 0
    for workload in workloads:
        known: dict[bytes, KnownRoute] = {}
        for routes in _slices(table.routes_of.get(workload, {})):
            for key, route in routes:
                known[key] = KnownRoute(route)
                for mapping in route.mappings:
                    endpoints.update(mapping.destinations)
            work += len(routes)
            if work >= SLICE_ROUTES:
                work = 0
                yield
        into[workload] = WorkloadView(
            version=table.version,
            routes=known,
            live=table.live,
            gone=table.gone,
            gone_routes=gone_routes.get(workload, _NONE),
            salt=table.salt,
        )
        work += 1
    yield


def freed(dying: list[object]) -> Iterator[None]:
    """Lets these go, the only references to them, in steps: 100,000 routes at once would take 100 ms."""
    while dying:
        yield
        del dying[-SLICE_ROUTES:]


def _slices(routes: dict[bytes, Route]) -> Iterator[list[tuple[bytes, Route]]]:
    items = iter(routes.items())
    while part := list(islice(items, SLICE_ROUTES)):
        yield part


_NONE: Final[frozenset[bytes]] = frozenset()
