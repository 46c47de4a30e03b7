"""Routing rules in the public shape (Routes API): which key leads where, for those who take messages from a queue.

A sandbox's consumer takes the messages whose key has a rule for its own workload with its own name; the baseline's
takes those whose key has no rule for its workload.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.compile import Compilation
from proxy.routing.names import Workload
from proxy.routing.table import Route

ADD: Final = "ADD"
REMOVE: Final = "REMOVE"
REPLACE: Final = "REPLACE"


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """None: any."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    routing_key: str | None = None
    sandbox: str | None = None

    def takes(self, route: Route) -> bool:
        return (
            (self.routing_key is None or self.routing_key == route.routing_key)
            and (self.name is None or self.name == route.baseline.name)
            and (self.namespace is None or self.namespace == route.baseline.namespace)
            and (self.kind is None or self.kind == route.baseline.kind)
            and (self.sandbox is None or self.sandbox == route.sandbox)
        )


@dataclass(frozen=True, slots=True)
class RuleChange:
    type: str  # ADD, REMOVE, REPLACE
    route: Route

    def line(self) -> bytes:
        return json.dumps({"type": self.type, "routingRule": rule_document(self.route)}).encode() + b"\n"


class Rules:
    """All rules in force."""

    def __init__(self) -> None:
        self._routes: Final[dict[str, tuple[Route, ...]]] = {}  # by key

    def apply(self, compilation: Compilation) -> list[RuleChange]:
        """Takes what changed. Those who had everything before have everything after these changes."""
        changes: list[RuleChange] = []
        for state in compilation.keys:
            before = _by_workload(self._routes.get(state.key, ()))
            after = _by_workload(state.routes)
            for workload, route in after.items():
                known = before.pop(workload, None)
                if known is None:
                    changes.append(RuleChange(ADD, route))
                elif known != route:
                    changes.append(RuleChange(REPLACE, route))
            changes.extend(RuleChange(REMOVE, route) for route in before.values())
            if state.routes:
                self._routes[state.key] = state.routes
            else:
                self._routes.pop(state.key, None)
        return changes

    def matching(self, filter_: RuleFilter) -> Iterator[Route]:
        """The rules that it takes, by key, as they are now."""
        keys = [filter_.routing_key] if filter_.routing_key is not None else sorted(self._routes)
        return (route for key in keys for route in self._routes.get(key, ()) if filter_.takes(route))


def _by_workload(routes: Iterable[Route]) -> dict[Workload, Route]:
    return {route.baseline: route for route in routes}


def rule_document(route: Route) -> Mapping[str, object]:
    return {
        "routingKey": route.routing_key,
        "baseline": route.baseline.document(),
        "destinationSandbox": {"name": route.sandbox},
        "mappings": [
            {
                "workloadPort": mapping.port,
                "destinations": [endpoint.document() for endpoint in mapping.destinations],
            }
            for mapping in route.mappings
        ],
    }
