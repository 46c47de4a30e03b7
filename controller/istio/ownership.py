"""In which object copies stand, since a list of routes has one owner (FIELD 9).

- `patch`: in the owner's list, each directly before the route that it copies.
- `delegate`: in a VirtualService of ours that the owner's list includes by a route `delegate: {name: pointsman-...}`.
  It stands in one place, and the copies of all later routes with it; so that a copy takes nothing that an earlier route
  of the owner should have, that route is repeated before it, for requests of the same token. Istio includes one level
  only, so what the owner's own delegates hold is repeated in their place, merged as istiod does (`delegates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.istio.copies import Copies
from controller.istio.names import route_name
from controller.istio.routes import identities, matched, owner_blocks, repeated
from controller.istio.virtualservices import Json, Route, VirtualService


def interleaved(routes: Sequence[Route], copies: Copies) -> list[Route]:
    """The owner's list with the copies in it."""
    found: list[Route] = list(copies.top)
    for route, before in zip(routes, copies.before, strict=True):
        found.extend(copy.route for copy in before)
        found.append(route)
    return found


class Delegated(NamedTuple):
    """`routes`: of our delegate. `lost`: tokens of which it could not repeat an owner's route, by that route's place:
    their copies behind it are left out."""

    routes: list[Route]
    lost: dict[str, str]


def delegated(routes: Sequence[Route], copies: Copies) -> Delegated:
    """The list that stands in the place of our delegate, in front of these routes of the owner."""
    later = _later(copies)
    lost: dict[str, str] = {}
    found: list[Route] = list(copies.top)
    for index, (route, identity) in enumerate(zip(routes, identities(routes), strict=True)):
        found.extend(copy.route for copy in copies.before[index] if copy.token not in lost)
        here = {copy.token for copy in copies.before[index]}
        for token in sorted(copies.torn[index] & later[index]):
            lost.setdefault(token, identity)
        blocks: list[Json] = []
        for token in sorted(later[index] - here - lost.keys()):
            under = matched(owner_blocks(route), copies.conditions[token])
            if under.conflicts:
                lost[token] = identity
            else:
                blocks.extend(under.blocks)
        if blocks:
            found.append(repeated(route, route_name(f"owner-{identity}", "repeated", identity), blocks))
    return Delegated(found, lost)


def _later(copies: Copies) -> list[set[str]]:
    """For each of the owner's routes, the tokens that have a copy behind it."""
    found: list[set[str]] = []
    behind: set[str] = set()
    for before in reversed(copies.before):
        found.append(set(behind))
        behind |= {copy.token for copy in before}
    return found[::-1]


def json_patch(before: VirtualService, after: Json) -> list[dict[str, object]]:
    """The change of the owner's list as a JSON patch (RFC 6902) that fails when the object is no more what was read.

    An object from a file has no resourceVersion, and its patch no test.
    """
    metadata, spec = before.document.get("metadata"), after["spec"]
    assert isinstance(spec, dict)
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    patch: list[dict[str, object]] = []
    if version is not None:
        patch.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
    patch.append({"op": "replace", "path": "/spec/http", "value": spec["http"]})
    return patch
