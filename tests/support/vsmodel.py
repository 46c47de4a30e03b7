"""What a mesh does with a request, by the VirtualServices it has: a plain reading of Istio's reference, for tests.

One list of routes, the first that matches wins; a match is one of its blocks, a block all of its conditions; regexes
match the whole value; an absent header is an empty one for `withoutHeaders` and no match for `headers`. A delegating
route without a match stands for the delegate's routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str = "/"
    method: str = "GET"
    port: int = 80
    headers: Mapping[str, str] = field(default_factory=dict)
    source: str = "callers"  # the namespace of the sidecar that looks


def route_of(routes: Iterable[Any], delegates: Mapping[str, Any], request: Request) -> Any | None:
    """The route that takes the request."""
    for route in _flat(routes, delegates):
        blocks = route.get("match") or [{}]
        if any(_takes(block, request) for block in blocks):
            return route
    return None


def _flat(routes: Iterable[Any], delegates: Mapping[str, Any]) -> Iterator[Any]:
    for route in routes:
        if "delegate" not in route:
            yield route
            continue
        assert not route.get("match")
        delegate = delegates.get(route["delegate"]["name"])
        if delegate is not None:
            yield from delegate["spec"]["http"]


def _takes(block: Any, request: Request) -> bool:
    if block.get("sourceNamespace") not in (None, request.source):
        return False
    if block.get("port") not in (None, request.port):
        return False
    if not _holds(block.get("uri"), request.path) or not _holds(block.get("method"), request.method):
        return False
    for name, condition in (block.get("headers") or {}).items():
        value = request.headers.get(name.lower())
        if value is None or not _holds(condition, value):
            return False
    without = (block.get("withoutHeaders") or {}).items()
    return not any(_holds(condition, request.headers.get(name.lower(), "")) for name, condition in without)


def _holds(condition: Any, value: str) -> bool:
    if not condition:
        return True
    ((kind, text),) = condition.items()
    if kind == "exact":
        return value == str(text)
    if kind == "prefix":
        return value.startswith(text)
    assert kind == "regex"
    return re.fullmatch(text, value) is not None
