"""What the Gateway API says that a mesh does with routes: a second reading of it, apart from ours.

    said = decide(documents, request, service, port)      the rule that the request meets, or None: 404

After HTTPRouteRule.matches, GRPCRouteRule.matches and GEP-1426 (merging, presence of routes, ports). Regular
expressions are taken as Envoy takes them: against the whole value, lines joined by a comma; paths of that type come
last, as in Istio. Nothing here knows of keys or sandboxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """`headers`: lowercase names. For gRPC the path is /service/method."""

    path: str = "/"
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    query: dict[str, str] = field(default_factory=dict)
    caller: str = "shop"  # the namespace that it comes from

    def header(self, name: str) -> str | None:
        values = [value for each, value in self.headers if each == name.lower()]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class Step:
    """A match with its rule, in the order in which they are tried."""

    kind: str
    match: Object
    rule: Object
    route: Object


def decide(documents: Iterable[Object], request: Request, service: tuple[str, str], port: int) -> Object | None:
    return next((step.rule for step in steps(documents, request.caller, service, port) if meets(step, request)), None)


def steps(documents: Iterable[Object], caller: str, service: tuple[str, str], port: int) -> list[Step]:
    """All matches at a Service's port, the first to be tried first. `service`: namespace and name."""
    attached = [route for route in documents if is_attached(route, service, port)]
    of_caller = [route for route in attached if route["metadata"]["namespace"] == caller]
    of_owner = [route for route in attached if route["metadata"]["namespace"] == service[0]]
    found = []
    for route in of_caller or of_owner:
        default: Object = {"path": {"type": "PathPrefix", "value": "/"}} if route["kind"] == "HTTPRoute" else {}
        for index, rule in enumerate(route["spec"]["rules"]):
            for match in rule.get("matches") or [default]:
                metadata = route["metadata"]
                age = metadata.get("creationTimestamp", "9999"), f"{metadata['namespace']}/{metadata['name']}", index
                found.append((_precedence(route["kind"], match), age, Step(route["kind"], match, rule, route)))
    assert len({step.kind for _, _, step in found}) <= 1, "routes of two kinds at one port"
    return [step for _, _, step in sorted(found, key=lambda each: (each[0], each[1]))]


def is_attached(route: Object, service: tuple[str, str], port: int) -> bool:
    return route.get("kind") in ("HTTPRoute", "GRPCRoute") and any(
        (parent.get("group", "gateway.networking.k8s.io"), parent.get("kind", "Gateway")) == ("", "Service")
        and (parent.get("namespace", route["metadata"]["namespace"]), parent["name"]) == service
        and parent.get("port", port) == port
        for parent in route["spec"]["parentRefs"]
    )


def _precedence(kind: str, match: Object) -> tuple[int, ...]:
    """Smaller comes first."""
    headers = len({header["name"].lower() for header in match.get("headers", ())})
    if kind == "GRPCRoute":
        method = match.get("method", {})
        return -len(method.get("service", "")), -len(method.get("method", "")), -headers
    path = match.get("path", {"type": "PathPrefix", "value": "/"})
    by_type = ["Exact", "PathPrefix", "RegularExpression"].index(path["type"])
    return by_type, -len(path["value"]), -("method" in match), -headers, -len(match.get("queryParams", ()))


def meets(step: Step, request: Request) -> bool:
    match = step.match
    if step.kind == "GRPCRoute":
        called = dict(zip(("service", "method"), request.path.strip("/").split("/"), strict=True))
        wanted = match.get("method", {})
        if any(wanted[part] != called[part] for part in ("service", "method") if part in wanted):
            return False
    else:
        path = match.get("path", {"type": "PathPrefix", "value": "/"})
        if not _meets_path(path, request.path) or match.get("method", request.method) != request.method:
            return False
    for header in match.get("headers", ()):
        if not _meets_value(header, request.header(header["name"])):
            return False
    return all(_meets_value(each, request.query.get(each["name"])) for each in match.get("queryParams", ()))


def _meets_path(path: Object, actual: str) -> bool:
    value = path["value"]
    if path["type"] == "Exact":
        return bool(actual == value)
    if path["type"] == "RegularExpression":
        return re.fullmatch(value, actual) is not None
    return value == "/" or actual == value.rstrip("/") or actual.startswith(value.rstrip("/") + "/")


def _meets_value(wanted: Object, actual: str | None) -> bool:
    if actual is None:
        return False
    if wanted.get("type", "Exact") == "Exact":
        return bool(actual == wanted["value"])
    return re.fullmatch(wanted["value"], actual, re.DOTALL) is not None


def led_to(rule: Object | None) -> list[str] | None:
    """Names of the Services that a rule leads to, with namespace and port where it says them. None: 404."""
    if rule is None:
        return None
    return [
        "/".join(str(each[part]) for part in ("namespace", "name", "port") if part in each)
        for each in rule.get("backendRefs", ())
    ]
