"""HTTPRoutes and GRPCRoutes of Services -> VirtualServices, as istiod makes them before it programs Envoy.

Names of originals as in the package's docstring; more files: conversion.go, route_collections.go under
config/kube/gateway/. The rules of a route are named `namespace.name.position`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]

_SVC = "svc.cluster.local"


def virtual_services(documents: Sequence[Document]) -> list[Document]:
    """One for each namespace, Service and port (or none), of the matches of all routes that agree in these
    (route_collections.go: HTTPRouteCollection, mergeHTTPRoutes)."""
    groups: dict[tuple[object, ...], list[Document]] = {}
    for document in sorted(documents, key=_age):
        namespace = document["metadata"]["namespace"]
        for parent in document["spec"]["parentRefs"]:
            if (parent.get("group"), parent.get("kind")) != ("", "Service"):
                continue
            host = f"{parent['name']}.{parent.get('namespace', namespace)}.{_SVC}"
            group = groups.setdefault((namespace, host, parent.get("port")), [])
            group += [_with_port(route, parent.get("port")) for route in _routes(document)]
    return [
        {
            "metadata": {"namespace": namespace, "name": f"{host}-{port}"},
            "spec": {"hosts": [host], "http": sorted(group, key=functools.cmp_to_key(_compared))},
        }
        for (namespace, host, port), group in groups.items()
    ]


def with_gateway_paths(configuration: Document) -> Document:
    """Prefixes end at a `/` or at the end, unlike a VirtualService's (route.go: TranslateRouteMatch, for routes of
    gateway semantics). Changes the configuration."""
    for host in configuration["virtual_hosts"]:
        for route in host["routes"]:
            if route["match"].get("prefix", "/") != "/":
                route["match"]["path_separated_prefix"] = route["match"].pop("prefix").removesuffix("/")
    return configuration


def _age(document: Document) -> tuple[str, str, str]:
    """(conversion.go: sortRoutesByCreationTime)"""
    metadata = document["metadata"]
    return metadata.get("creationTimestamp", "9999"), metadata["namespace"], metadata["name"]


def _routes(document: Document) -> list[Document]:
    """(conversion.go: convertHTTPRoute, convertGRPCRoute)"""
    metadata = document["metadata"]
    found = []
    for position, rule in enumerate(document["spec"]["rules"]):
        # An HTTPRoute without matches does not come so from an API server, which fills in its default.
        for match in rule.get("matches") or [None if document["kind"] == "GRPCRoute" else {}]:
            route: Document = {"name": f"{metadata['namespace']}.{metadata['name']}.{position}"}
            if match is not None:
                route["match"] = [_match(document["kind"], match)]
            references = [each for each in rule.get("backendRefs", ()) if each.get("weight", 1)]
            if references:
                route["route"] = [
                    {
                        "destination": {
                            "host": f"{each['name']}.{each.get('namespace', metadata['namespace'])}.{_SVC}",
                            "port": {"number": each["port"]},
                        },
                        "weight": each.get("weight", 1),
                    }
                    for each in references
                ]
            else:
                route["directResponse"] = {"status": 500}
            found.append(route)
    return found


def _match(kind: str, match: Document) -> Document:
    """(conversion.go: createURIMatch, createGRPCURIMatch, createHeadersMatch, createQueryParamsMatch)"""
    block: Document = {}
    if kind == "GRPCRoute":
        if method := match.get("method"):
            block["uri"] = _grpc_uri(method)
    else:
        path = match.get("path", {})
        form = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}[path.get("type", "PathPrefix")]
        block["uri"] = {form: path.get("value", "/")}
        if "method" in match:
            block["method"] = {"exact": match["method"]}
    for field in ("headers", "queryParams"):
        if match.get(field):
            block[field] = {each["name"]: _string(each) for each in match[field]}
    return block


def _grpc_uri(method: Document) -> Document:
    if "service" not in method:
        return {"regex": f"/[^/]+/{method['method']}"}
    if "method" not in method:
        return {"prefix": f"/{method['service']}/"}
    return {"exact": f"/{method['service']}/{method['method']}"}


def _string(condition: Document) -> Document:
    form = "exact" if condition.get("type", "Exact") == "Exact" else "regex"
    return {form: condition["value"]}


def _with_port(route: Document, port: int | None) -> Document:
    """(conversion.go: augmentPortMatch)"""
    if port is None:
        return route
    return {**route, "match": [{**block, "port": port} for block in route.get("match") or [{}]]}


def _compared(one: Document, other: Document) -> int:
    """(conversion.go: sortHTTPRoutes)"""
    if not one.get("match") or not other.get("match"):
        return bool(other.get("match")) - bool(one.get("match"))
    ours, theirs = _precedence(one["match"][0]), _precedence(other["match"][0])
    return (ours < theirs) - (ours > theirs)


def _precedence(block: Document) -> tuple[int, int, bool, int, int]:
    """Greater comes first."""
    ((form, value),) = (block.get("uri") or {"": ""}).items()
    rank = {"exact": 3, "prefix": 2, "regex": 1, "": -1}[form]
    return rank, len(value), "method" in block, len(block.get("headers", ())), len(block.get("queryParams", ()))
