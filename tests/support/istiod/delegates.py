"""A root VirtualService's http list with its delegates' routes in the places of its delegate entries."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.istiod.names import MESH, full_gateway, full_host

Document = dict[str, Any]

_FROM_ROOT = (
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


def resolved(virtual_service: Document) -> Document:
    """With full names everywhere (vs.go: ResolveVirtualServiceShortnames)."""
    document = copy.deepcopy(virtual_service)
    namespace = document["metadata"].get("namespace", "default")
    spec = document.setdefault("spec", {})
    spec["hosts"] = [full_host(host, namespace) for host in spec.get("hosts") or []]
    spec["gateways"] = [full_gateway(name, namespace) for name in spec.get("gateways") or [MESH]]
    for route in spec.get("http") or []:
        for block in route.get("match") or []:
            if block.get("gateways"):
                block["gateways"] = [full_gateway(name, namespace) for name in block["gateways"]]
        destinations = [weighted.get("destination") for weighted in route.get("route") or []]
        destinations += [mirror.get("destination") for mirror in route.get("mirrors") or []]
        for destination in (*destinations, route.get("mirror")):
            if destination:
                destination["host"] = full_host(destination.get("host", ""), namespace)
    return document


def merged_routes(root: Document, delegates: Mapping[tuple[str, str], Document]) -> list[Document]:
    """The routes of a resolved root. A delegate that is not there, or not exported to the root's namespace, leaves out
    the root's route alone (vsctl.go: mergeVirtualServices)."""
    namespace = root["metadata"].get("namespace", "default")
    routes: list[Document] = []
    for route in root["spec"].get("http") or []:
        reference = route.get("delegate")
        if reference is None:
            routes.append(route)
            continue
        where = reference.get("namespace") or namespace
        delegate = delegates.get((where, reference["name"]))
        if delegate is None or not exported(delegate, namespace):
            continue
        for own in delegate["spec"].get("http") or []:
            merged = _merged_route(route, copy.deepcopy(own))
            if merged is not None:
                routes.append(merged)
    return routes


def exported(virtual_service: Document, namespace: str) -> bool:
    """Whether callers in the namespace see it (vsctl.go: convertExportToSet; default: everybody)."""
    own = virtual_service["metadata"].get("namespace", "default")
    targets = virtual_service["spec"].get("exportTo") or ["*"]
    return any(target == "*" or (own if target == "." else target) == namespace for target in targets)


def _merged_route(root: Document, own: Document) -> Document | None:
    """(vs.go: mergeHTTPRoute; one level only: what a delegate delegates has no destination)"""
    root_blocks, own_blocks = root.get("match") or [], own.get("match") or []
    if root_blocks and own_blocks:
        blocks = _merged_blocks(root_blocks, own_blocks)
        if not blocks:
            return None
    else:
        blocks = own_blocks or root_blocks
    own["match"] = blocks
    own["name"] = _joined(root.get("name"), own.get("name"))
    for field in _FROM_ROOT:
        if own.get(field) is None and root.get(field) is not None:
            own[field] = root[field]
    return own


def _merged_blocks(root: Sequence[Document], own: Sequence[Document]) -> list[Document]:
    """Each of the delegate's blocks under each of the root's that it does not contradict; none at all if one of them
    contradicts every one (vs.go: mergeHTTPMatchRequests)."""
    merged = []
    for leaf in own:
        under = [block for block in root if not _conflict(block, leaf)]
        if not under:
            return []
        merged += [_merged_block(block, leaf) for block in under]
    return merged


def _merged_block(root: Document, leaf: Document) -> Document:
    block = dict(leaf)
    block["name"] = _joined(root.get("name"), leaf.get("name"))
    for field in ("uri", "scheme", "method", "authority", "port", "sourceNamespace", "gateways"):
        if not block.get(field) and root.get(field):
            block[field] = root[field]
    for field in ("headers", "withoutHeaders", "queryParams", "sourceLabels"):
        block[field] = {**(root.get(field) or {}), **(leaf.get(field) or {})}
    return block


def _conflict(root: Document, leaf: Document) -> bool:
    """(vs.go: hasConflict)"""
    for field in ("uri", "scheme", "method", "authority"):
        if _conditions_conflict(root.get(field), leaf.get(field)):
            return True
    for field in ("headers", "withoutHeaders", "queryParams"):
        of_root = root.get(field) or {}
        for name, condition in (leaf.get(field) or {}).items():
            if _conditions_conflict(of_root.get(name), condition):
                return True
    if bool(root.get("ignoreUriCase")) != bool(leaf.get("ignoreUriCase")):
        return True
    if root.get("port") and leaf.get("port") and root["port"] != leaf["port"]:
        return True
    if root.get("sourceNamespace") and leaf.get("sourceNamespace") != root["sourceNamespace"]:
        return True
    labels = root.get("sourceLabels") or {}
    if any(labels.get(name, value) != value for name, value in (leaf.get("sourceLabels") or {}).items()):
        return True
    mine, theirs = root.get("gateways") or [], leaf.get("gateways") or []
    return bool(mine and theirs and (len(mine) < len(theirs) or not set(theirs) <= set(mine)))


def _conditions_conflict(root: Document | None, leaf: Document | None) -> bool:
    """Whether the delegate's condition is not seen to be part of the root's (vs.go: stringMatchConflict). Two regular
    expressions always conflict, equal ones too."""
    if root is None or leaf is None:
        return False
    if root.get("regex") or leaf.get("regex"):
        return True
    if root.get("exact"):
        return bool(leaf.get("exact") != root["exact"])
    if root.get("prefix"):
        return not (leaf.get("prefix") or leaf.get("exact") or "").startswith(root["prefix"])
    return True


def _joined(root: str | None, own: str | None) -> str:
    return "-".join(name for name in (root, own) if name)
