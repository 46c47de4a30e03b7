"""Which of several matches a request meets first, by the Gateway API's rules.

Across all rules of all routes of a Service (HTTPRouteRule.matches): an exact path, then the longest prefix, then a
match by method, then the most headers, then the most query parameters; then the oldest route, the first by name, the
first rule. For GRPCRoutes (GRPCRouteRule.matches): the longest service, the longest method, the most headers, then the
same.
Where a regular expression for a path stands is up to the implementation; Istio puts it behind prefixes (istio/istio,
pilot/pkg/config/kube/gateway/conversion.go, `sortHTTPRoutes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from controller.gatewayapi.objects import GRPC, HTTP, Json, maps

_PATH_RANKS: Final = {"Exact": 2, "PathPrefix": 1, "RegularExpression": 0}

ROOT: Final[Json] = {"path": {"type": "PathPrefix", "value": "/"}}


class Rank(NamedTuple):
    """Greater comes first. `place` is what headers can't outdo."""

    place: tuple[int, ...]
    headers: int
    query: int

    def with_headers(self, count: int) -> Rank:
        return self._replace(headers=self.headers + count)


def rank(kind: str, match: Json) -> Rank:
    headers = len(maps(match, "headers"))
    if kind == GRPC:
        method = _grpc_method(match)
        return Rank((len(str(method.get("service", ""))), len(str(method.get("method", "")))), headers, 0)
    path_type, path = _path(match)
    return Rank((_PATH_RANKS.get(path_type, 0), len(path), "method" in match), headers, len(maps(match, "queryParams")))


def can_meet(kind: str, one: Json, other: Json) -> bool:
    """Whether a request may meet both matches, of one place. May say yes where no request does."""
    if kind == GRPC:
        ours, theirs = _grpc_method(one), _grpc_method(other)
        if "RegularExpression" in (ours.get("type"), theirs.get("type")):
            return True
        return all(ours.get(field) == theirs.get(field) for field in ("service", "method") if ours.get(field))
    if one.get("method") != other.get("method") and "method" in one and "method" in other:
        return False
    (our_type, our_path), (their_type, their_path) = _path(one), _path(other)
    return "RegularExpression" in (our_type, their_type) or our_path == their_path


def matches_of(kind: str, rule: Json) -> tuple[Json, ...]:
    """Of a rule; one that has none takes every request."""
    return tuple(maps(rule, "matches")) or ((ROOT,) if kind == HTTP else ({},))


def _path(match: Json) -> tuple[str, str]:
    path = match.get("path")
    if not isinstance(path, Mapping):
        return "PathPrefix", "/"
    return str(path.get("type", "PathPrefix")), str(path.get("value", "/"))


def _grpc_method(match: Json) -> Json:
    method = match.get("method")
    return method if isinstance(method, Mapping) else {}
