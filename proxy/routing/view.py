"""What one workload's proxy knows of routing keys: the lookup side of a routing table.

A key is asked for in this order, each one hash lookup: the workload's own routes; then, if it is live, the routes that
were taken away; then the gone keys. So the cost does not depend on how many keys there are, and a request that is
routed pays for one lookup only. The sets belong to the table and are shared by its views, so a router with many
workloads pays for 100,000 live keys once.

A table may name live and gone keys by digest (`digest`), because a slice for one workload must not reveal the others'
keys. Then a key that has no route costs one digest more, 1 us; a routed one costs nothing.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import NO_DESTINATION, PORT_NOT_MAPPED, ROUTE
from proxy.routing.decision import Decision
from proxy.routing.digest import key_digest

if TYPE_CHECKING:
    from proxy.routing.gone import GoneMemory
    from proxy.routing.names import Workload
    from proxy.routing.table import Route


class KnownRoute(Decision):
    """A route, as the decision for the first port that it maps, nearly always the only one."""

    __slots__ = ("_others", "port", "route")

    def __init__(self, route: Route) -> None:
        mappings = route.mappings
        if mappings:
            reason = ROUTE if mappings[0].destinations else NO_DESTINATION
            super().__init__(reason, "sandbox", route.sandbox, mappings[0], reason.status)
            self.port = mappings[0].port
        else:
            # A sandbox of which nobody knows yet on which ports it will answer: not ready, on none of them.
            super().__init__(NO_DESTINATION, "sandbox", route.sandbox, None, NO_DESTINATION.status)
            self.port = 0  # no request arrives at port 0
        self.route: Final = route
        self._others: Final = _others(route) if len(mappings) > 1 else _NO_OTHERS

    def for_other_port(self, port: int) -> Decision:
        """The decision for a port that is not `self.port`."""
        decision = self._others.get(port)
        if decision is not None:
            return decision
        if not self.port:
            return self
        return Decision(PORT_NOT_MAPPED, "sandbox", self.sandbox, None, PORT_NOT_MAPPED.status)


_NONE: Final[frozenset[bytes]] = frozenset()
_NO_OTHERS: Final[dict[int, Decision]] = {}


def _others(route: Route) -> dict[int, Decision]:
    others: dict[int, Decision] = {}
    for mapping in route.mappings[1:]:
        reason = ROUTE if mapping.destinations else NO_DESTINATION
        others[mapping.port] = Decision(reason, "sandbox", route.sandbox, mapping, reason.status)
    return others


@dataclass(frozen=True, slots=True, eq=False)
class WorkloadView:
    """One workload's lookups in one version of the table. `gone_routes` count only for keys that are live.

    `live`, `gone` and `remembered` hold names (`name_of`); routes are the workload's own, and are held by keys.
    `remembered` and `remembered_routes` are this proxy's own memory of what left.
    """

    version: str
    routes: dict[bytes, KnownRoute]
    live: AbstractSet[bytes]
    gone: AbstractSet[bytes]
    gone_routes: AbstractSet[bytes]
    remembered: AbstractSet[bytes] = frozenset()
    remembered_routes: AbstractSet[bytes] = frozenset()
    salt: bytes | None = None  # None: keys stand for themselves

    def has_lost_route(self, key: bytes) -> bool:
        """Whether the workload's route for this key was taken away within the hour."""
        return key in self.gone_routes or key in self.remembered_routes

    def name_of(self, key: bytes) -> bytes:
        """What stands for the key in the sets."""
        return key if self.salt is None else key_digest(key, self.salt)

    def joined_with(self, memory: GoneMemory, workload: Workload) -> WorkloadView:
        """This view with what the proxy itself remembers; the same object where that is nothing."""
        routes = memory.routes.get(workload)
        if not routes and not memory.keys:
            return self
        return WorkloadView(
            self.version,
            self.routes,
            self.live,
            self.gone,
            self.gone_routes,
            memory.keys.keys(),
            routes.keys() if routes else _NONE,
            self.salt,
        )
