"""An owner's list with the owner's own delegates in it, as istiod merges them.

Source: istio/istio pilot/pkg/model/virtualservice.go, mergeHTTPRoutes, mergeHTTPMatchRequests, hasConflict (of Istio
1.30). A delegate's route that conflicts with the root's match is left out there, and here. Where a delegate is not
given, what it takes is not known, and the list ends for us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from controller.istio.names import full_host
from controller.istio.virtualservices import MESH, Json, Route, VirtualService

_INHERITED: Final = (
    "rewrite",
    "directResponse",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrorPercent",
    "mirrorPercentage",
    "corsPolicy",
    "mirrors",
    "headers",
)
_STRINGS: Final = ("uri", "scheme", "method", "authority")
_MAPS: Final = ("headers", "withoutHeaders", "queryParams", "sourceLabels")


class Expanded(NamedTuple):
    """`missing`: the delegate at which the list ends, since it is not given."""

    routes: list[Route]
    missing: str | None = None


def expanded(routes: Sequence[Route], namespace: str, delegates: Mapping[tuple[str, str], VirtualService]) -> Expanded:
    """The routes with those of delegates in the place of what includes them. `namespace`: of the root."""
    found: list[Route] = []
    for route in routes:
        if route.get("delegate") is None:
            found.append(route)
            continue
        where = delegate_of(route, namespace)
        delegate = delegates.get(where) if where is not None else None
        if delegate is None:
            return Expanded(found, "/".join(where) if where is not None else "?")
        if not _is_seen(delegate, namespace):
            continue  # istiod passes over it
        for each in delegate.routes:
            both = _merged(route, _qualified(each, delegate.namespace) if delegate.namespace != namespace else each)
            if both is not None:
                found.append(both)
    return Expanded(found)


def delegate_of(route: Route, namespace: str) -> tuple[str, str] | None:
    """Namespace and name of the VirtualService that a route includes."""
    delegate = route.get("delegate")
    if not isinstance(delegate, Mapping) or not isinstance(name := delegate.get("name"), str):
        return None
    said = delegate.get("namespace")
    return (said if isinstance(said, str) and said else namespace), name


def _is_seen(delegate: VirtualService, namespace: str) -> bool:
    seen = {delegate.namespace if each == "." else each for each in delegate.export_to}
    return delegate.is_seen_by_all or namespace in seen


def _merged(root: Route, leaf: Route) -> Route | None:
    blocks = _merged_blocks(_blocks(root), _blocks(leaf))
    if blocks is None:
        return None
    both: dict[str, object] = {**{name: root[name] for name in _INHERITED if name in root}, **leaf}
    both.pop("match", None)
    if blocks:
        both["match"] = blocks
    names = [name for name in (root.get("name"), leaf.get("name")) if isinstance(name, str) and name]
    if names:
        both["name"] = "-".join(names)
    return both


def _blocks(route: Route) -> list[Json]:
    blocks = route.get("match")
    return blocks if isinstance(blocks, list) else []


def _merged_blocks(roots: list[Json], leaves: list[Json]) -> list[Json] | None:
    """None: a conflict."""
    if not roots or not leaves:
        return roots or leaves
    found: list[Json] = []
    for leaf in leaves:
        under = [_merged_block(root, leaf) for root in roots if not _conflicts(root, leaf)]
        if not under:
            return None
        found.extend(under)
    return found


def _merged_block(root: Json, leaf: Json) -> Json:
    both: dict[str, object] = {**root, **{name: value for name, value in leaf.items() if value}}
    for name in _MAPS:
        fields = {**_map(root, name), **_map(leaf, name)}
        if fields:
            both[name] = fields
    if "ignoreUriCase" in root:
        both["ignoreUriCase"] = root["ignoreUriCase"]
    if root.get("name") and leaf.get("name"):
        both["name"] = f"{root['name']}-{leaf['name']}"
    return both


def _conflicts(root: Json, leaf: Json) -> bool:
    if any(_differ(root.get(name), leaf.get(name)) for name in _STRINGS):
        return True
    for name in ("headers", "withoutHeaders", "queryParams"):
        theirs = _map(root, name)
        if any(_differ(theirs.get(field), value) for field, value in _map(leaf, name).items()):
            return True
    if bool(root.get("ignoreUriCase")) != bool(leaf.get("ignoreUriCase")):
        return True
    if root.get("port") and leaf.get("port") and root["port"] != leaf["port"]:
        return True
    if root.get("sourceNamespace") and leaf.get("sourceNamespace") != root["sourceNamespace"]:
        return True
    labels = _map(root, "sourceLabels")
    if any(labels.get(name, value) != value for name, value in _map(leaf, "sourceLabels").items()):
        return True
    gateways, theirs_too = root.get("gateways"), leaf.get("gateways")
    return bool(isinstance(gateways, list) and gateways and isinstance(theirs_too, list)) and not set(
        theirs_too if isinstance(theirs_too, list) else ()
    ) <= set(gateways if isinstance(gateways, list) else ())


def _differ(root: object, leaf: object) -> bool:
    """stringMatchConflict: whether the leaf's condition is no part of the root's."""
    if root is None or leaf is None:
        return False
    theirs, own = (value if isinstance(value, Mapping) else {} for value in (root, leaf))
    if theirs.get("regex") or own.get("regex"):
        return True
    if exact := theirs.get("exact"):
        return bool(own.get("prefix")) or own.get("exact") != exact
    prefix = theirs.get("prefix")
    value = own.get("prefix") or own.get("exact")
    return not (isinstance(prefix, str) and prefix and isinstance(value, str) and value.startswith(prefix))


def _map(block: Json, name: str) -> Mapping[str, object]:
    found = block.get(name)
    return found if isinstance(found, Mapping) else {}


def _qualified(route: Route, namespace: str) -> Route:
    """The route with its hosts and gateways in full, since it is to stand in another namespace."""
    result: dict[str, object] = dict(route)
    for field in ("route", "mirrors"):
        entries = route.get(field)
        if isinstance(entries, list):
            result[field] = [
                {**entry, "destination": _in_full(entry.get("destination"), namespace)}
                if isinstance(entry.get("destination"), Mapping)
                else entry
                for entry in entries
            ]
    if "mirror" in route:
        result["mirror"] = _in_full(route["mirror"], namespace)
    if blocks := _blocks(route):
        result["match"] = [_with_gateways(block, namespace) for block in blocks]
    return result


def _in_full(destination: object, namespace: str) -> object:
    if not isinstance(destination, Mapping) or not isinstance(host := destination.get("host"), str):
        return destination
    return {**destination, "host": full_host(host, namespace)}


def _with_gateways(block: Json, namespace: str) -> Json:
    gateways = block.get("gateways")
    if not isinstance(gateways, list):
        return block
    return {
        **block,
        "gateways": [name if name == MESH or "/" in str(name) else f"{namespace}/{name}" for name in gateways],
    }
