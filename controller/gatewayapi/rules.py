"""Copies of a rule under more conditions, and how many rules a route holds.

Limits: 16 rules in a route. Matches in a rule: 8 in early versions; 64, and 128 in the whole route, in v1.6.1. Eight in
each of 16 rules keeps to all of them. A prefix is rewritten by rules of a single match (validation of HTTPRouteRule).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from controller.gatewayapi.objects import Json, OwnedRoute, maps
from controller.gatewayapi.precedence import can_meet, matches_of, rank

MAX_RULES: Final = 16
MAX_MATCHES: Final = 8
MAX_HEADERS: Final = 16

Condition = Sequence[Json]  # header matches that are ANDed into one of the owner's

_COPIED_APART: Final = ("name", "matches", "filters", "backendRefs")  # names are unique within a route


class CannotCopy(ValueError):
    """No copy of the rule could say what the owner's says and ours. The text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnedRule:
    """A rule where it stands. `route`: None for the one that stands for a Service without routes."""

    kind: str
    namespace: str  # of its route: what backendRefs without one mean
    rule: Json
    age: tuple[float, str]
    index: int
    route: OwnedRoute | None = None

    @property
    def matches(self) -> tuple[Json, ...]:
        return matches_of(self.kind, self.rule)

    @property
    def is_redirect(self) -> bool:
        return any(each.get("type") == "RequestRedirect" for each in maps(self.rule, "filters"))

    @property
    def has_mirror(self) -> bool:
        return any(each.get("type") == "RequestMirror" for each in maps(self.rule, "filters"))

    def __str__(self) -> str:
        return f"rule {self.index} of {self.route}" if self.route is not None else "the Service itself"


def led_to(rule: OwnedRule, conditions: Sequence[Condition], backends: Sequence[Json]) -> list[Json]:
    """The owner's rule for requests that meet one of the conditions too, leading elsewhere: rewrites, header changes
    and timeouts stay, mirrors go. Without backends it answers 500 (HTTPRouteRule.backendRefs), whatever it does else.

    Raises: CannotCopy
    """
    if not backends:
        return _ruled(rule, conditions, {})
    filters = [each for each in maps(rule.rule, "filters") if each.get("type") != "RequestMirror"]
    parts: dict[str, object] = {"filters": filters} if filters else {}
    return _ruled(rule, conditions, {**parts, "backendRefs": list(backends), **_rest(rule.rule)})


def kept(rule: OwnedRule, conditions: Sequence[Condition]) -> list[Json]:
    """The owner's rule as it is, for requests that meet one of the conditions too.

    Raises: CannotCopy
    """
    parts = {field: rule.rule[field] for field in ("filters", "backendRefs") if field in rule.rule}
    return _ruled(rule, conditions, {**parts, **_rest(rule.rule)})


def guards(rules: Sequence[OwnedRule], copied: Iterable[OwnedRule], added: int) -> list[OwnedRule]:
    """Rules that are not copied, but that a copy would overtake by the `added` headers that it has more. They need a
    copy of their own that leads where they lead."""
    taken = list(copied)
    found: list[OwnedRule] = []
    waiting = [rule for rule in rules if rule not in taken]
    while overtaken := [rule for rule in waiting if any(_overtakes(copy, rule, added) for copy in taken)]:
        taken += overtaken
        found += overtaken
        waiting = [rule for rule in waiting if rule not in overtaken]
    return found


def packed(kind: str, rules: Sequence[Json]) -> list[list[Json]] | None:
    """The rules, split over as many routes as they need. None: several routes can't say it, since the order of rules
    decides between some of them, and that of routes is a matter of age."""
    chunks = [list(rules[start : start + MAX_RULES]) for start in range(0, len(rules), MAX_RULES)]
    for index, chunk in enumerate(chunks):
        for rule in chunk:
            for later in chunks[index + 1 :]:
                if any(_are_tied(kind, rule, other) for other in later):
                    return None
    return chunks


def _overtakes(copy: OwnedRule, rule: OwnedRule, added: int) -> bool:
    for theirs in rule.matches:
        their_rank = rank(rule.kind, theirs)
        for ours in copy.matches:
            our_rank = rank(copy.kind, ours)
            is_behind = (our_rank, *_later(copy)) < (their_rank, *_later(rule))
            if is_behind and our_rank.with_headers(added) >= their_rank and can_meet(rule.kind, ours, theirs):
                return True
    return False


def _later(rule: OwnedRule) -> tuple[object, ...]:
    """Greater comes first, as in ranks."""
    created, name = rule.age
    return -created, _Reversed(name), -rule.index


@dataclass(frozen=True, slots=True, eq=True)
class _Reversed:
    text: str

    def __lt__(self, other: _Reversed) -> bool:
        return other.text < self.text


def _are_tied(kind: str, one: Json, other: Json) -> bool:
    if _content(one) == _content(other):
        return False
    return any(
        rank(kind, ours) == rank(kind, theirs) and can_meet(kind, ours, theirs)
        for ours in matches_of(kind, one)
        for theirs in matches_of(kind, other)
    )


def _content(rule: Json) -> Json:
    return {field: value for field, value in rule.items() if field != "matches"}


def _rest(rule: Json) -> dict[str, object]:
    return {field: value for field, value in rule.items() if field not in _COPIED_APART}


def _ruled(rule: OwnedRule, conditions: Sequence[Condition], parts: Json) -> list[Json]:
    matches = [_under(match, condition, rule) for match in rule.matches for condition in conditions]
    size = 1 if _rewrites_a_prefix(parts) else MAX_MATCHES
    return [{"matches": matches[start : start + size], **parts} for start in range(0, len(matches), size)]


def _under(match: Json, condition: Condition, rule: OwnedRule) -> Json:
    """The match with the condition ANDed in. A header counts once."""
    headers = maps(match, "headers")
    theirs = {str(header["name"]).lower() for header in headers}
    if clash := [name for each in condition if (name := str(each["name"]).lower()) in theirs]:
        raise CannotCopy(f"{rule} matches on the header {clash[0]} itself")
    if len(headers) + len(condition) > MAX_HEADERS:
        raise CannotCopy(f"{rule} matches on {len(headers)} headers, and a match has at most {MAX_HEADERS}")
    return {**match, "headers": [*condition, *headers]}


def _rewrites_a_prefix(parts: Json) -> bool:
    filters = [*maps(parts, "filters"), *(each for ref in maps(parts, "backendRefs") for each in maps(ref, "filters"))]
    for each in filters:
        rewrite = each.get("urlRewrite") or each.get("requestRedirect")
        path = rewrite.get("path") if isinstance(rewrite, dict) else None
        if isinstance(path, dict) and path.get("type") == "ReplacePrefixMatch":
            return True
    return False
