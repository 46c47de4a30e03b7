"""The table in force: holds it, swaps it, remembers what left it. Where tables come from is the sources' matter.

The data path reads one attribute, `view`, and one assignment swaps it; a request keeps the view that it began with.
Everything that a swap needs is made before that assignment. For a table of 100,000 routes this takes half a second, so
it is made in slices, and the event loop serves requests between them.

One source feeds a holder, one table at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from proxy.collector import collector_paused
from proxy.routing.gone import NOTHING_GONE, remember
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Route, RoutingTable
from proxy.routing.view import KnownRoute, WorkloadView
from proxy.telemetry.exposition import TableState

SLICE_ROUTES: Final = 500  # about 1.5 ms of work
# A request takes several turns of the loop, and must not wait for a slice at each one. So half of the time is its.
PAUSE_S: Final = 0.002
_EXPIRE_EVERY_S: Final = 10.0
_MAX_FAULTS: Final = 100  # more are kept by nobody and read by nobody


class TableHolder:
    """What this workload's proxy routes by: `view` for requests, `current` for those who ask what is in force."""

    def __init__(self, workload: Workload, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.workload: Final = workload
        self.source: Final = source
        self.current: RoutingTable | None = None
        self.view: WorkloadView | None = None
        self.refused_total = 0
        self.last_faults: tuple[str, ...] = ()  # why the source's latest table is not in force; none: it is
        self._clock: Final = clock
        self._loaded_at_s = clock()
        self._memory = NOTHING_GONE
        self._base_view: WorkloadView | None = None  # without the memory
        self._endpoints: frozenset[Endpoint] = frozenset()
        self._listeners: Final[list[Callable[[], None]]] = []

    def on_swap(self, listener: Callable[[], None]) -> None:
        """Have this called after each swap, e.g. to close idle connections to endpoints that are out of use."""
        self._listeners.append(listener)

    def swap(self, table: RoutingTable) -> None:
        """Put the table in force, in one go. Cost: about 5 us per route of this workload."""
        for _ in self._swapping(table):
            pass

    async def swap_gently(self, table: RoutingTable) -> None:
        """Put the table in force, leaving the loop half of the time until it is."""
        with collector_paused():
            await asyncio.sleep(PAUSE_S)
            for _ in self._swapping(table):
                await asyncio.sleep(PAUSE_S)

    def refuse(self, faults: Sequence[str]) -> None:
        """Note that the source has another table, or none, and why the old one stays in force."""
        self.refused_total += 1
        self.last_faults = tuple(faults[:_MAX_FAULTS])
        if len(faults) > _MAX_FAULTS:
            self.last_faults += (f"and {len(faults) - _MAX_FAULTS} more",)

    def expire(self) -> None:
        """Forget what has been gone for an hour."""
        memory = self._memory.expired(self._clock())
        if memory is not self._memory and self._base_view is not None:
            self._memory = memory
            self.view = self._base_view.joined_with(memory, self.workload)

    async def run_expiry(self) -> None:
        """Expire for as long as the proxy runs."""
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            self.expire()

    def endpoints(self) -> frozenset[Endpoint]:
        """Every destination of this workload's routes."""
        return self._endpoints

    @property
    def is_stale(self) -> bool:
        """Whether the source has moved on without us."""
        return bool(self.last_faults)

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
            "last_error": list(self.last_faults),
        }

    def metrics_state(self) -> TableState | None:
        """What `/metrics` says; None before the first table."""
        if self.current is None:
            return None
        return TableState(
            version=self.current.version,
            age_s=self.age_s,
            routes=len(self.current.routes),
            is_stale=self.is_stale,
            refused_total=self.refused_total,
        )

    def _swapping(self, table: RoutingTable) -> Iterator[None]:
        """The steps of a swap."""
        memory = remember(self.current, table, self._memory, self._clock())
        yield
        endpoints: set[Endpoint] = set()
        known: dict[bytes, KnownRoute] = {}
        for routes in _slices(table.routes_of.get(self.workload, {})):
            for key, route in routes:
                known[key] = KnownRoute(route)
                for mapping in route.mappings:
                    endpoints.update(mapping.destinations)
            yield
        base_view = WorkloadView(
            version=table.version,
            routes=known,
            live=table.live,
            gone=table.gone,
            gone_routes=frozenset(
                gone.routing_key.encode("ascii") for gone in table.gone_routes if gone.baseline == self.workload
            ),
            salt=table.salt,
        )
        view = base_view.joined_with(memory, self.workload)
        yield
        old_table, old_view = self.current, self._base_view
        self.current, self._base_view, self._memory = table, base_view, memory
        self._endpoints = frozenset(endpoints)
        self._loaded_at_s = self._clock()
        self.last_faults = ()
        self.view = view
        for listener in self._listeners:
            listener()
        if old_table is not None and old_view is not None:
            dying: list[object] = [*old_view.routes.values(), *old_table.routes]
            del old_table, old_view
            while dying:  # 100,000 routes at once would take 100 ms to be freed
                yield
                del dying[-SLICE_ROUTES:]


def _slices(routes: dict[bytes, Route]) -> Iterator[list[tuple[bytes, Route]]]:
    items = iter(routes.items())
    while part := list(islice(items, SLICE_ROUTES)):
        yield part
