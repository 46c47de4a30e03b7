"""A VirtualService's http list -> Envoy's routes, for one caller and one port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.istiod import actions
from tests.support.istiod.matching import applies, is_catch_all, route_match

Document = dict[str, Any]


def routes(http: Sequence[Document], port: int, labels: Mapping[str, str], namespace: str) -> list[Document]:
    """One route for each match block, in order, as far as the first that takes everything
    (route.go: BuildHTTPRoutesForVirtualService)."""
    found: list[Document] = []
    for entry in http:
        for block in entry.get("match") or [None]:
            if not applies(block, port, labels, namespace):
                continue
            route: Document = {"match": route_match(block)}
            if name := ".".join(part for part in (entry.get("name"), (block or {}).get("name")) if part):
                route["name"] = name
            actions.apply(route, entry, port)
            found.append(route)
            if block is not None and is_catch_all(route["match"]):
                return found
        if not entry.get("match"):
            return found
    return found
