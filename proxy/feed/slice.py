"""What of the table concerns a proxy: of a sidecar's workload the routes, and all live and gone keys; for a router
everything. Pure.

A change costs what it changes, however large the slice is: sets and dictionaries are changed in place, between two
requests, and views share them. Whoever must not see a half of it reads within one turn of the loop.

What left is remembered as with files (`proxy.routing.gone`), change by change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, TypeVar

from proxy.routing.digest import key_digest
from proxy.routing.gone import GONE_S, GoneMemory
from proxy.routing.names import Endpoint, Workload
from proxy.routing.previews import PreviewName
from proxy.routing.table import Mapping, Preview, Route, Service
from proxy.routing.view import KnownRoute, WorkloadView

UNREADABLE: Final = "unreadable"  # stands for the sandbox of a route that can't be read

T = TypeVar("T")
Name = tuple[Workload, bytes]  # of a route: its workload and its key


@dataclass(slots=True)
class Update:
    """What one change says, read and ready to be applied. `routes`: those that can be read."""

    routes: dict[Name, Route] = field(default_factory=dict)
    refused: dict[Name, tuple[str, ...]] = field(default_factory=dict)  # routes that can't, and why
    removed_routes: list[Name] = field(default_factory=list)
    live: list[bytes] = field(default_factory=list)
    not_live: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    not_gone: list[bytes] = field(default_factory=list)
    gone_routes: list[Name] = field(default_factory=list)
    not_gone_routes: list[Name] = field(default_factory=list)
    services: list[Service] | None = None  # all of them, if they changed
    previews: dict[PreviewName, Preview] = field(default_factory=dict)
    removed_previews: list[PreviewName] = field(default_factory=list)

    @property
    def size(self) -> int:
        keys = sum(map(len, (self.live, self.not_live, self.gone, self.not_gone)))
        routes = sum(map(len, (self.removed_routes, self.gone_routes, self.not_gone_routes)))
        routes += len(self.routes) + len(self.refused)
        return keys + routes + len(self.services or ()) + len(self.previews) + len(self.removed_previews)

    @property
    def is_empty(self) -> bool:
        return not self.size and self.services is None

    @property
    def changes_routes(self) -> bool:
        """Whether destinations may be others, or baselines."""
        is_routed = self.routes or self.refused or self.removed_routes
        return bool(is_routed or self.services is not None or self.previews or self.removed_previews)

    def workloads(self) -> set[Workload]:
        """Those whose routes, present or gone, are not as they were."""
        names = (self.routes, self.refused, self.removed_routes, self.gone_routes, self.not_gone_routes)
        return {workload for each in names for workload, _ in each}


class OfWorkload:
    """One workload's routes, and those that were taken away from it."""

    __slots__ = ("gone_routes", "known")

    def __init__(self) -> None:
        self.known: Final[dict[bytes, KnownRoute]] = {}
        self.gone_routes: Final[set[bytes]] = set()


_NONE: Final = OfWorkload()


class Slice:
    """One proxy's part of the table; `workload`: the only one, None for a router."""

    def __init__(self, workload: Workload | None, ports: Sequence[int], salt: bytes | None) -> None:
        """`ports`: those of the workload."""
        self.workload: Final = workload
        self.salt: Final = salt
        self.version = ""
        self.live: Final[set[bytes]] = set()
        self.gone: Final[set[bytes]] = set()
        self.refused: Final[dict[Name, tuple[str, ...]]] = {}
        self.services: tuple[Service, ...] = ()
        self.served: frozenset[Workload] = frozenset()  # by the services
        self.previews: Final[dict[PreviewName, Preview]] = {}
        self.count = 0  # of routes
        self._of: Final[dict[Workload, OfWorkload]] = {}
        self._ports: Final = tuple(ports)
        # How many routes name each, so that a change need not look at all of them.
        self._endpoints: Final[dict[Endpoint, int]] = {}
        self._sandboxes: Final[dict[str, int]] = {}

    @property
    def routes(self) -> Sequence[Route]:
        """Of this moment."""
        return tuple(known.route for of in self._of.values() for known in of.known.values())

    @property
    def endpoints(self) -> AbstractSet[Endpoint]:
        return self._endpoints.keys()

    @property
    def sandboxes(self) -> AbstractSet[str]:
        return self._sandboxes.keys()

    @property
    def workloads(self) -> AbstractSet[Workload]:
        """Those that have routes, or had some."""
        return self._of.keys()

    def of(self, workload: Workload) -> OfWorkload:
        """What there is of it, to be read."""
        return self._of.get(workload, _NONE)

    def name_of(self, key: bytes) -> bytes:
        return key if self.salt is None else key_digest(key, self.salt)

    def _own(self, workload: Workload) -> OfWorkload:
        """What there is of it, to be changed."""
        of = self._of.get(workload)
        if of is None:
            of = self._of[workload] = OfWorkload()
        return of

    # --- made ---

    def add_route(self, name: Name, route: Route, before: KnownRoute | None) -> None:
        """`before`: the route so far; where it is the same, the object stays, and with it its counters."""
        known = before if before is not None and before.route == route else KnownRoute(route)
        self._set(name, known)
        self.refused.pop(name, None)

    def refuse_route(self, name: Name, faults: tuple[str, ...], before: KnownRoute | None) -> None:
        """A route that can't be read keeps its last good form, else it has no destinations (SPEC 5)."""
        self._set(name, before if before is not None else KnownRoute(self._placeholder(name)))
        self.refused[name] = faults

    def remove_route(self, name: Name) -> bool:
        """Whether there was one."""
        known = self._own(name[0]).known.pop(name[1], None)
        self.refused.pop(name, None)
        if known is None:
            return False
        self._count(known, -1)
        return True

    def known(self, name: Name) -> KnownRoute | None:
        return self.of(name[0]).known.get(name[1])

    def add_gone_routes(self, names: Iterable[Name]) -> None:
        for workload, key in names:
            self._own(workload).gone_routes.add(key)

    def _set(self, name: Name, known: KnownRoute) -> None:
        routes = self._own(name[0]).known
        old = routes.get(name[1])
        if old is known:
            return
        if old is not None:
            self._count(old, -1)
        routes[name[1]] = known
        self._count(known, 1)
        if self.workload is None:
            self.live.add(name[1])  # at the other workloads, too

    def _count(self, known: KnownRoute, by: int) -> None:
        route = known.route
        self.count += by
        _add(self._sandboxes, route.sandbox, by)
        for mapping in route.mappings:
            for endpoint in mapping.destinations:
                _add(self._endpoints, endpoint, by)

    def _placeholder(self, name: Name) -> Route:
        """It has no destination on any port; a router knows none, which is the same."""
        mappings = tuple(Mapping(port, None, "preserve", ()) for port in self._ports)
        return Route(name[1].decode("ascii"), UNREADABLE, name[0], mappings)

    # --- changed, and put in force ---

    def apply(self, update: Update, memory: GoneMemory, now_s: float) -> None:
        """All of an update at once. Cost: about 3 us for each of its entries."""
        until_s = now_s + GONE_S
        left = [name for name in update.not_live if name in self.live]
        self.live.difference_update(update.not_live)
        self.gone.difference_update(update.not_gone)
        for workload, key in update.not_gone_routes:
            self._own(workload).gone_routes.discard(key)
        for route_name in update.removed_routes:
            if self.remove_route(route_name):
                workload, key = route_name
                _remembered(memory, workload)[key] = until_s
                left.append(self.name_of(key))
        self.live.update(update.live)
        self.gone.update(update.gone)
        self.add_gone_routes(update.gone_routes)
        for route_name, route in update.routes.items():
            self.add_route(route_name, route, self.known(route_name))
            _forget(memory, route_name)
        for route_name, faults in update.refused.items():
            self.refuse_route(route_name, faults, self.known(route_name))
            _forget(memory, route_name)
        memory.keys.update((name, until_s) for name in left if name not in self.live)
        for name in update.live:
            memory.keys.pop(name, None)
        self._apply_hosts(update)

    def set_services(self, services: Iterable[Service]) -> None:
        self.services = tuple(services)
        self.served = frozenset(service.baseline for service in self.services)

    def _apply_hosts(self, update: Update) -> None:
        if update.services is not None:
            self.set_services(update.services)
        for name in update.removed_previews:
            self.previews.pop(name, None)
        self.previews.update(update.previews)

    def succeed(self, old: Slice, memory: GoneMemory, now_s: float) -> None:
        """Remember what left with the slice that this one follows. Cost: linear, 10 ms for 100,000 keys."""
        until_s = now_s + GONE_S
        if old.salt == self.salt:
            for name in [name for name in memory.keys if name in self.live]:
                del memory.keys[name]
            memory.keys.update(dict.fromkeys(old.live - self.live, until_s))
        else:
            memory.keys.clear()
        for workload in memory.routes.keys() | old.workloads:
            present, past = self.of(workload).known.keys(), old.of(workload).known.keys()
            for key in [key for key in memory.routes.get(workload, ()) if key in present]:
                _forget(memory, (workload, key))
            for key in () if past <= present else past - present:  # usually few have left, and that is told fast
                _remembered(memory, workload)[key] = until_s
                name = self.name_of(key)
                if name not in self.live:
                    memory.keys[name] = until_s

    def view(self, workload: Workload) -> WorkloadView:
        """What requests look up; it shares this slice's sets."""
        own = self._own(workload)
        return WorkloadView(self.version, own.known, self.live, self.gone, own.gone_routes, salt=self.salt)


def _remembered(memory: GoneMemory, workload: Workload) -> dict[bytes, float]:
    return memory.routes.setdefault(workload, {})


def _forget(memory: GoneMemory, name: Name) -> None:
    own = memory.routes.get(name[0])
    if own is not None:
        own.pop(name[1], None)


def _add(counts: dict[T, int], what: T, by: int) -> None:
    count = counts.get(what, 0) + by
    if count:
        counts[what] = count
    else:
        del counts[what]
