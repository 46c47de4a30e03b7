"""The slice of the table that concerns one workload: its own routes, and all live and gone keys. Pure.

A change costs what it changes, however large the slice is: sets and dictionaries are changed in place, between two
requests, and views share them. Whoever must not see a half of it reads within one turn of the loop.

What left is remembered as with files (`proxy.routing.gone`), change by change.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, TypeVar

from proxy.routing.digest import key_digest
from proxy.routing.gone import GONE_S, GoneMemory
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route
from proxy.routing.view import KnownRoute, WorkloadView

UNREADABLE: Final = "unreadable"  # stands for the sandbox of a route that can't be read

T = TypeVar("T")


@dataclass(slots=True)
class Update:
    """What one change says, read and ready to be applied. `routes`: those that can be read."""

    routes: dict[bytes, Route] = field(default_factory=dict)
    refused: dict[bytes, tuple[str, ...]] = field(default_factory=dict)  # routes that can't, and why
    removed_routes: list[bytes] = field(default_factory=list)
    live: list[bytes] = field(default_factory=list)
    not_live: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    not_gone: list[bytes] = field(default_factory=list)
    gone_routes: list[bytes] = field(default_factory=list)
    not_gone_routes: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        lists = (self.removed_routes, self.live, self.not_live, self.gone, self.not_gone, self.gone_routes)
        return sum(map(len, lists)) + len(self.routes) + len(self.refused) + len(self.not_gone_routes)

    @property
    def changes_routes(self) -> bool:
        return bool(self.routes or self.refused or self.removed_routes)


class Slice:
    """One workload's part of the table."""

    def __init__(self, workload: Workload, ports: Sequence[int], salt: bytes | None) -> None:
        self.salt: Final = salt
        self.version = ""
        self.known: Final[dict[bytes, KnownRoute]] = {}
        self.live: Final[set[bytes]] = set()
        self.gone: Final[set[bytes]] = set()
        self.gone_routes: Final[set[bytes]] = set()
        self.refused: Final[dict[bytes, tuple[str, ...]]] = {}
        self._workload: Final = workload
        self._ports: Final = tuple(ports)
        # How many routes name each, so that a change need not look at all of them.
        self._endpoints: Final[dict[Endpoint, int]] = {}
        self._sandboxes: Final[dict[str, int]] = {}

    @property
    def routes(self) -> Sequence[Route]:
        """Of this moment."""
        return tuple(known.route for known in self.known.values())

    @property
    def endpoints(self) -> AbstractSet[Endpoint]:
        return self._endpoints.keys()

    @property
    def sandboxes(self) -> AbstractSet[str]:
        return self._sandboxes.keys()

    def name_of(self, key: bytes) -> bytes:
        return key if self.salt is None else key_digest(key, self.salt)

    # --- made ---

    def add_route(self, key: bytes, route: Route, before: KnownRoute | None) -> None:
        """`before`: the key's route so far; where it is the same, the object stays, and with it its counters."""
        known = before if before is not None and before.route == route else KnownRoute(route)
        self._set(key, known)
        self.refused.pop(key, None)

    def refuse_route(self, key: bytes, faults: tuple[str, ...], before: KnownRoute | None) -> None:
        """A route that can't be read keeps its last good form, else it has no destinations (SPEC 5)."""
        self._set(key, before if before is not None else KnownRoute(self._placeholder(key)))
        self.refused[key] = faults

    def remove_route(self, key: bytes) -> bool:
        """Whether there was one."""
        known = self.known.pop(key, None)
        self.refused.pop(key, None)
        if known is None:
            return False
        self._count(known, -1)
        return True

    def _set(self, key: bytes, known: KnownRoute) -> None:
        old = self.known.get(key)
        if old is known:
            return
        if old is not None:
            self._count(old, -1)
        self.known[key] = known
        self._count(known, 1)

    def _count(self, known: KnownRoute, by: int) -> None:
        route = known.route
        _add(self._sandboxes, route.sandbox, by)
        for mapping in route.mappings:
            for endpoint in mapping.destinations:
                _add(self._endpoints, endpoint, by)

    def _placeholder(self, key: bytes) -> Route:
        mappings = tuple(Mapping(port, None, "preserve", ()) for port in self._ports)
        return Route(key.decode("ascii"), UNREADABLE, self._workload, mappings)

    # --- changed, and put in force ---

    def apply(self, update: Update, memory: GoneMemory, now_s: float) -> None:
        """All of an update at once. Cost: about 3 us for each of its entries."""
        until_s = now_s + GONE_S
        own = memory.routes.setdefault(self._workload, {})
        left = [name for name in update.not_live if name in self.live]
        self.live.difference_update(update.not_live)
        self.gone.difference_update(update.not_gone)
        self.gone_routes.difference_update(update.not_gone_routes)
        for key in update.removed_routes:
            if self.remove_route(key):
                own[key] = until_s
                left.append(self.name_of(key))
        self.live.update(update.live)
        self.gone.update(update.gone)
        self.gone_routes.update(update.gone_routes)
        for key, route in update.routes.items():
            self.add_route(key, route, self.known.get(key))
            own.pop(key, None)
        for key, faults in update.refused.items():
            self.refuse_route(key, faults, self.known.get(key))
            own.pop(key, None)
        memory.keys.update((name, until_s) for name in left if name not in self.live)
        for name in update.live:
            memory.keys.pop(name, None)

    def succeed(self, old: Slice, memory: GoneMemory, now_s: float) -> None:
        """Remember what left with the slice that this one follows. Cost: linear, 10 ms for 100,000 keys."""
        until_s = now_s + GONE_S
        own = memory.routes.setdefault(self._workload, {})
        if old.salt == self.salt:
            for name in [name for name in memory.keys if name in self.live]:
                del memory.keys[name]
            memory.keys.update(dict.fromkeys(old.live - self.live, until_s))
        else:
            memory.keys.clear()
        for key in [key for key in own if key in self.known]:
            del own[key]
        for key in old.known.keys() - self.known.keys():
            own[key] = until_s
            name = self.name_of(key)
            if name not in self.live:
                memory.keys[name] = until_s

    def view(self) -> WorkloadView:
        """What requests look up; it shares this slice's sets."""
        return WorkloadView(self.version, self.known, self.live, self.gone, self.gone_routes, salt=self.salt)


def _add(counts: dict[T, int], what: T, by: int) -> None:
    count = counts.get(what, 0) + by
    if count:
        counts[what] = count
    else:
        del counts[what]
