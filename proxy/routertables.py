"""The table in force, for a router: the places that its services make, and each workload's view.

From a file, `swap` makes everything anew, in slices, and puts it in force by one assignment (`places.RouterPlaces`).
The feed (`put`) makes its views itself. A view that shares sets which are changed in place costs a change nothing; one
workload's new view goes to that workload's places alone; and only another list of services makes places anew:

    tables.put(table, memory, endpoints, sandboxes, views={workload: view}, are_routes_same=...)      a change
    tables.put(table, memory, endpoints, sandboxes, views=all_views, services=..., previews=...)      a snapshot

Views are given without the memory of what left, which is joined here. With a list of services comes a view for each of
their workloads, if only an empty one that shares the live and gone sets; without one its requests are `not_synced`. The
same holds for `places.PREVIEWS`, by whose view previews know which keys are live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from proxy.places import PREVIEWS, PlaceIndex, RouterPlaces, router_place
from proxy.routing.decision import Policy
from proxy.routing.gone import GoneMemory, remember
from proxy.routing.names import Endpoint, Workload
from proxy.routing.previews import PreviewName
from proxy.routing.table import Preview, RoutingTable, Service
from proxy.routing.view import WorkloadView
from proxy.tables import SLICE_ROUTES, Holder, Table, freed, make_views
from proxy.telemetry.traffic import KeyTraffic

_SLICE_SERVICES: Final = SLICE_ROUTES // 2
_SLICE_PREVIEWS: Final = SLICE_ROUTES // 2


def _no_traffic(_: Workload) -> KeyTraffic | None:
    return None


class RouterTables(Holder):
    """What a router routes by: `places`. `traffic_of`: where requests of a workload are counted by key, if anywhere."""

    def __init__(
        self,
        policy: Policy,
        source: str,
        clock: Callable[[], float] = time.monotonic,
        traffic_of: Callable[[Workload], KeyTraffic | None] = _no_traffic,
    ) -> None:
        super().__init__(source, clock)
        self.places: Final = RouterPlaces()
        self._policy: Final = policy
        self._traffic_of: Final = traffic_of
        self._base_views: dict[Workload, WorkloadView] = {}  # without the memory
        self._services: Sequence[Service] = ()
        self._joined_keys: dict[bytes, float] | None = None  # the memory's, that the places' views are joined with

    @property
    def upstreams(self) -> AbstractSet[Endpoint]:
        """Where the baselines of the services are."""
        return self.places.index.upstreams if self.places.index is not None else frozenset()

    def services(self) -> Sequence[Service]:
        return self._services

    def put(
        self,
        table: Table,
        memory: GoneMemory,
        endpoints: AbstractSet[Endpoint],
        sandboxes: AbstractSet[str],
        *,
        views: Mapping[Workload, WorkloadView],
        services: Sequence[Service] | None = None,
        previews: Sequence[Preview] = (),
        removed_previews: Sequence[PreviewName] = (),
        are_routes_same: bool = False,
    ) -> None:
        """Put a table in force: all of it, or what changed. `services` None: those in force stay, and of `views` and
        previews only those that are given change."""
        if services is not None:
            index = PlaceIndex()
            for _ in self._indexing(services, previews, views, memory, index):
                pass
            self._put_index(index, dict(views), services)
        else:
            self._base_views.update(views)
            is_joined = self._joined_keys is (memory.keys or None)
            self._join(memory, views if is_joined else self._base_views)
            self._change_previews(memory, previews, removed_previews)
        self._joined_keys = memory.keys or None
        self._in_force(table, memory, endpoints, sandboxes, are_routes_same=are_routes_same)

    def _join(self, memory: GoneMemory, workloads: Iterable[Workload]) -> None:
        index = self.places.index
        if index is not None:
            for workload in workloads:
                index.set_view(workload, self._base_views[workload].joined_with(memory, workload))

    def _change_previews(self, memory: GoneMemory, changed: Sequence[Preview], removed: Sequence[PreviewName]) -> None:
        index = self.places.index
        if index is not None:
            index.remove_previews(removed)
            if changed:
                index.add_previews(changed, self._base_views[PREVIEWS].joined_with(memory, PREVIEWS))

    def _memory_expired(self) -> None:
        self._join(self.memory, self._base_views)
        self._joined_keys = self.memory.keys or None

    def _put_index(self, index: PlaceIndex, views: dict[Workload, WorkloadView], services: Sequence[Service]) -> None:
        self._base_views, self._services = views, services
        self.places.put(index)

    def _indexing(
        self,
        services: Sequence[Service],
        previews: Sequence[Preview],
        views: Mapping[Workload, WorkloadView],
        memory: GoneMemory,
        index: PlaceIndex,
    ) -> Iterator[None]:
        """Makes the places, in steps."""

        def joined(workload: Workload) -> WorkloadView | None:
            view = views.get(workload)
            return view.joined_with(memory, workload) if view is not None else None

        for number, service in enumerate(services, 1):
            workload = service.baseline
            index.add(service, router_place(service, self._policy, joined(workload), self._traffic_of(workload)))
            if number % _SLICE_SERVICES == 0:
                yield
        of_previews = joined(PREVIEWS)
        for first in range(0, len(previews), _SLICE_PREVIEWS):
            yield
            index.add_previews(previews[first : first + _SLICE_PREVIEWS], of_previews)

    def _swapping(self, table: RoutingTable) -> Iterator[None]:
        memory = remember(self._table, table, self.memory, self._clock())
        yield
        views: dict[Workload, WorkloadView] = {}
        endpoints: set[Endpoint] = set()
        workloads = (*dict.fromkeys(each.baseline for each in table.services), PREVIEWS)
        yield from make_views(table, workloads, views, endpoints)
        index = PlaceIndex()
        yield from self._indexing(table.services, table.previews, views, memory, index)
        sandboxes = {route.sandbox for route in table.routes}
        yield
        old_table, old_views, old_index = self._table, self._base_views, self.places.index
        self._table = table
        self._put_index(index, views, table.services)
        self._joined_keys = memory.keys or None
        self._in_force(table, memory, endpoints, sandboxes, are_routes_same=False)
        if old_table is not None:
            dying: list[object] = [route for view in old_views.values() for route in view.routes.values()]
            dying += old_table.routes
            del old_table, old_views, old_index
            yield from freed(dying)
