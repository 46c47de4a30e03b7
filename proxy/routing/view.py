"""What one workload's proxy knows of routing keys: the lookup side of a routing table.

A key is asked for in this order, each one hash lookup: the workload's own routes; then, if it is live, the routes that
were taken away; then the gone keys. So the cost does not depend on how many keys there are, and a request that is
routed pays for one lookup only. The sets belong to the table and are shared by its views, so a router with many
workloads pays for 100,000 live keys once.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import NO_DESTINATION, PORT_NOT_MAPPED, ROUTE
from proxy.routing.decision import Decision

if TYPE_CHECKING:
    from proxy.routing.gone import GoneMemory
    from proxy.routing.names import Workload
    from proxy.routing.table import Mapping, Route


class KnownRoute:
    """A route with the decisions it leads to, prebuilt for the ports it maps.

    `port` and `decision` belong to the first mapping, nearly always the only one. The decisions are the same objects
    for as long as the table lives: counters are bound to them.
    """

    __slots__ = ("_noted", "_others", "_unmapped", "decision", "port", "route")

    def __init__(self, route: Route) -> None:
        self.route: Final = route
        self._noted: dict[Decision, Decision] = _NONE_NOTED
        self._unmapped: Decision | None = None
        self._others: dict[int, Decision] | None = None
        mappings = route.mappings
        if mappings:
            self.port = mappings[0].port
            self.decision = _route_decision(route, mappings[0])
            if len(mappings) > 1:
                self._others = {mapping.port: _route_decision(route, mapping) for mapping in mappings[1:]}
        else:
            self.port = 0  # no request arrives at port 0
            self.decision = self.for_other_port(0)

    def for_other_port(self, port: int) -> Decision:
        """The decision for a port that is not `self.port`."""
        if self._others is not None:
            decision = self._others.get(port)
            if decision is not None:
                return decision
        if self._unmapped is None:
            self._unmapped = Decision(PORT_NOT_MAPPED, "sandbox", self.route.sandbox, None, PORT_NOT_MAPPED.status)
        return self._unmapped

    def noted(self, decision: Decision) -> Decision:
        """One of this route's decisions with the note that the request was ambiguous; made once."""
        if self._noted is _NONE_NOTED:
            self._noted = {}
        noted = self._noted.get(decision)
        if noted is None:
            noted = self._noted[decision] = decision.noted()
        return noted


_NONE_NOTED: Final[dict[Decision, Decision]] = {}  # shared: nearly no route ever meets an ambiguous request


def _route_decision(route: Route, mapping: Mapping) -> Decision:
    reason = ROUTE if mapping.destinations else NO_DESTINATION
    return Decision(reason, "sandbox", route.sandbox, mapping, reason.status)


@dataclass(frozen=True, slots=True, eq=False)
class WorkloadView:
    """One workload's lookups in one version of the table. `gone_routes` count only for keys that are live."""

    version: str
    routes: dict[bytes, KnownRoute]
    live: frozenset[bytes]
    gone: frozenset[bytes]
    gone_routes: frozenset[bytes]
    remembered: AbstractSet[bytes] = frozenset()  # keys gone by this proxy's own memory

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
            self.gone_routes.union(routes) if routes else self.gone_routes,
            memory.keys.keys(),
        )
