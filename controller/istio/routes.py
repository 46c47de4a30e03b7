"""One owner's route and what is made of it: its copy to another place, an answer in its place, or itself under a match.

A copy keeps what its owner wrote for the route (rewrite, timeout, retries, headers, corsPolicy, and fields that are not
known here), save for where it leads, and for mirrors and faults, which are about the baseline. An owner's route without
match blocks has one here that takes everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from controller.istio.matches import HeaderMatch, MatchConflict, MatchTooLong, merged
from controller.istio.virtualservices import Json, Route

MIRRORS_AND_FAULTS: Final = frozenset(
    # Some names have a second spelling: protobuf's JSON takes both (protobuf.dev, "ProtoJSON format").
    ["mirror", "mirrors", "mirrorPercent", "mirror_percent", "mirrorPercentage", "mirror_percentage", "fault"]
)
_REPLACED: Final = frozenset(["name", "match", "route"])
_NOT_COPIED: Final = _REPLACED | MIRRORS_AND_FAULTS

Block = Mapping[str, object]


class Blocks(NamedTuple):
    """`blocks`: match blocks with a condition ANDed in. `conflicts`: why some of the owner's could not have it."""

    blocks: tuple[Block, ...]
    conflicts: tuple[str, ...]


def owner_blocks(route: Route) -> Sequence[Block]:
    blocks = route.get("match")
    return blocks if isinstance(blocks, list) and blocks else ({},)


def matched(blocks: Iterable[Block], matches: Sequence[HeaderMatch], port: int | None = None) -> Blocks:
    """Each block under each of the alternatives. `port`: only for requests that were sent to it."""
    found: list[Block] = []
    conflicts: dict[str, None] = {}
    for block in blocks:
        said = block.get("port") or None
        if port is not None and said is not None and said != port:
            continue
        for match in matches:
            try:
                both = merged(block, match)
            except (MatchConflict, MatchTooLong) as error:
                conflicts[str(error)] = None
                continue
            found.append({**both, "port": port} if port is not None and said is None else both)
    return Blocks(tuple(found), tuple(conflicts))


def not_whole(identity: str, conflicts: Iterable[str]) -> str:
    """What is found where a route has no whole copy. `identity`: its name, or its place from #0."""
    why = "; ".join(conflicts)
    return (
        f"its route {identity} can't be copied whole: {why}; requests for it stay with the baseline: "
        "let it match on something else, or give the workload a sidecar"
    )


def destinations(route: Route) -> Sequence[Json]:
    """The places that an owner's route leads to: those of weight 0 beside others get nothing."""
    entries = route.get("route")
    if not isinstance(entries, list):
        return ()
    if len(entries) > 1:
        return [entry for entry in entries if entry.get("weight")]
    return entries


def destination_of(entry: Json) -> Json:
    destination = entry.get("destination")
    return destination if isinstance(destination, Mapping) else {}


def identities(routes: Sequence[Route]) -> list[str]:
    """What an owner's route is called in names of ours: its own name where that is unique, else its place."""
    names = [route.get("name") for route in routes]
    count = Counter(name for name in names if isinstance(name, str))
    return [
        name if isinstance(name, str) and name and count[name] == 1 else f"#{index}" for index, name in enumerate(names)
    ]


def copied(route: Route, name: str, blocks: Sequence[Block], to: Sequence[Json]) -> dict[str, object]:
    """The owner's route with another name, match and destination."""
    copy: dict[str, object] = {"name": name, "match": list(blocks), "route": list(to)}
    copy.update((field, value) for field, value in route.items() if field not in _NOT_COPIED)
    return copy


def repeated(route: Route, name: str, blocks: Sequence[Block]) -> dict[str, object]:
    """The owner's route as it is, for fewer requests."""
    return {**route, "name": name, "match": list(blocks)}


def refusing(name: str, blocks: Sequence[Block], reason: str, details: str) -> dict[str, object]:
    """An answer of the mesh's own, in the words of the proxy's own answers (README, "When something fails")."""
    error = "destination_not_found" if reason == "port_not_mapped" else "destination_unavailable"
    status = f'pointsman; error={error}; details="{reason}: {details}"'
    return {
        "name": name,
        "match": list(blocks),
        "directResponse": {"status": 503, "body": {"string": f"pointsman: {reason}: {details}\n"}},
        "headers": {"response": {"set": {"proxy-status": status}}},
    }


def with_authority(copy: dict[str, object], authority: str) -> dict[str, object]:
    """The copy with Host/:authority replaced, in place of what its owner may have set."""
    copy = without_authority(copy)
    rewrite = copy.get("rewrite")
    return {**copy, "rewrite": {**(rewrite if isinstance(rewrite, Mapping) else {}), "authority": authority}}


def without_authority(copy: dict[str, object]) -> dict[str, object]:
    """The copy without what its owner makes of Host/:authority for the route. Istio takes one place that sets it
    (validateAuthorityRewrite), and of a route and its destination the route's counts."""
    copy = dict(copy)
    if isinstance(rewrite := copy.get("rewrite"), Mapping) and "authority" in rewrite:
        kept = {name: value for name, value in rewrite.items() if name != "authority"}
        if kept:
            copy["rewrite"] = kept
        else:
            del copy["rewrite"]
    if isinstance(headers := copy.get("headers"), Mapping):
        copy["headers"] = _headers_without_authority(headers)
    return copy


def setting_authority(entry: dict[str, object], authority: str) -> dict[str, object]:
    """The same for one of several destinations."""
    headers = entry.get("headers")
    headers = _headers_without_authority(headers) if isinstance(headers, Mapping) else {}
    request = headers.get("request")
    request = request if isinstance(request, Mapping) else {}
    operation = {**_request_operation(headers, "set"), ":authority": authority}
    return {**entry, "headers": {**headers, "request": {**request, "set": operation}}}


def authority_of(route: Route) -> str | None:
    """What an owner's route makes of Host/:authority."""
    rewrite = route.get("rewrite")
    if isinstance(rewrite, Mapping) and isinstance(authority := rewrite.get("authority"), str) and authority:
        return authority
    for headers in (route.get("headers"), *(entry.get("headers") for entry in destinations(route))):
        for operation in ("set", "add"):
            for name, value in _request_operation(headers, operation).items():
                if _is_authority(name) and isinstance(value, str):
                    return value
    return None


def _request_operation(headers: object, operation: str) -> Mapping[str, object]:
    request = headers.get("request") if isinstance(headers, Mapping) else None
    found = request.get(operation) if isinstance(request, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _headers_without_authority(headers: Mapping[str, object]) -> dict[str, object]:
    request = headers.get("request")
    if not isinstance(request, Mapping):
        return dict(headers)
    kept = dict(request)
    for operation in ("set", "add"):
        found = _request_operation(headers, operation)
        if any(map(_is_authority, found)):
            kept[operation] = {name: value for name, value in found.items() if not _is_authority(name)}
    return {**headers, "request": kept}


def _is_authority(name: str) -> bool:
    return name.lower() in (":authority", "host")
