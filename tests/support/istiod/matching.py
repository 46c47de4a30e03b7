"""HTTPMatchRequest -> Envoy's RouteMatch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


def route_match(block: Document | None) -> Document:
    """(route.go: TranslateRouteMatch)"""
    if block is None:
        return {"prefix": "/"}
    match: Document = _path(block.get("uri"))
    match["case_sensitive"] = not block.get("ignoreUriCase", False)
    headers = [_header(name, condition) for name, condition in (block.get("headers") or {}).items()]
    for name, condition in (block.get("withoutHeaders") or {}).items():
        matcher = _header(name, condition) | {"invert_match": True}
        # An absent header counts as empty, unless only presence is asked: since 1.22.
        if "present_match" not in matcher:
            matcher["treat_missing_header_as_empty"] = True
        headers.append(matcher)
    headers.sort(key=lambda matcher: str(matcher["name"]))
    for field in ("method", "authority", "scheme"):
        if block.get(field):
            headers.append(_header(f":{field}", block[field]))
    if headers:
        match["headers"] = headers
    if parameters := [_parameter(name, condition) for name, condition in (block.get("queryParams") or {}).items()]:
        match["query_parameters"] = parameters
    return match


def is_catch_all(match: Document) -> bool:
    """Routes behind it are left out (route.go: IsCatchAllRoute)."""
    everywhere = match.get("prefix") == "/" or match.get("safe_regex", {}).get("regex") == ".*"
    return everywhere and not match.get("headers") and not match.get("query_parameters")


def applies(block: Document | None, port: int, labels: Mapping[str, str], namespace: str) -> bool:
    """What istiod decides itself: the port, and who calls. `gateways` without the mesh are not for sidecars, and where
    they are named the labels do not count (route.go: TranslateRoute, sourceMatchHTTP)."""
    if block is None:
        return True
    if block.get("port") and block["port"] != port:
        return False
    if block.get("gateways"):
        return "mesh" in block["gateways"]
    wanted = block.get("sourceLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return block.get("sourceNamespace") in (None, "", namespace)


def string_matcher(condition: Document) -> Document:
    """(networking/util/util.go: ConvertToEnvoyMatch)"""
    if "exact" in condition:
        return {"exact": condition["exact"]}
    if "prefix" in condition:
        return {"prefix": condition["prefix"]}
    return {"safe_regex": {"regex": condition["regex"]}}


def _path(uri: Document | None) -> Document:
    if not uri:
        return {"prefix": "/"}
    if "exact" in uri:
        return {"path": uri["exact"]}
    if "prefix" in uri:
        return {"prefix": uri["prefix"]}
    return {"safe_regex": {"regex": uri["regex"]}}


def _header(name: str, condition: Document | None) -> Document:
    if name.startswith("@"):
        raise NotImplementedError(f"JWT claims: {name}")
    if _is_presence(condition):
        return {"name": name, "present_match": True}
    assert condition is not None
    return {"name": name, "string_match": string_matcher(condition)}


def _parameter(name: str, condition: Document | None) -> Document:
    if _is_presence(condition):
        return {"name": name, "present_match": True}
    assert condition is not None
    return {"name": name, "string_match": string_matcher(condition)}


def _is_presence(condition: Document | None) -> bool:
    """An empty condition, or a lone star (route.go: canBeConvertedToPresentMatch)."""
    return not condition or condition.get("regex") == "*"
