"""A route for each sandbox at a Service: copies of the owner's rules, for requests with its key, that lead to the fork.

What a copy has more than the rule that it copies is headers, so it comes first among matches of equal path and method,
and requests without the key never meet it. Copies of one key stand in one route, in the owner's order: what decides
between the owner's rules decides between them. A rule that leads to nothing that is forked is copied only where a copy
would overtake it.

`baggage` before `tracestate` is said by number of headers: a key in `baggage` is matched alone and, once more, beside
any `tracestate`, which has one header more than a key in `tracestate`. What can't be said: a request whose `baggage`
names a key that is not forked here, and whose `tracestate` names one that is, goes to the latter's fork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.gatewayapi.attachments import Attachment, Entries
from controller.gatewayapi.objects import Backend, Json, ServiceName, backend_of, maps, reference_to, references_of
from controller.gatewayapi.rules import CannotCopy, Condition, OwnedRule, guards, kept, led_to
from controller.istio.matches import GatewayMatches
from controller.istio.names import destination_host, service_of
from proxy.routing.names import Workload
from proxy.routing.table import Route

Routes = Mapping[Workload, Mapping[str, Route]]  # of each workload, by key

_ANY_TRACESTATE: Final[Json] = {"type": "RegularExpression", "name": "tracestate", "value": ".*"}
_ADDED: Final = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule leads to, for a key."""

    route: Route
    port: int  # the workload's
    reference: Json  # the owner's


@dataclass(frozen=True, slots=True)
class KeyedRules:
    """`dark`: why requests get 500, where they do."""

    rules: list[Json]
    dark: tuple[str, ...]
    drops_mirror: bool


def workloads_at(attachment: Attachment, entries: Entries) -> list[Workload]:
    """Those that one of its rules leads to."""
    backends = dict.fromkeys(backend for rule in attachment.rules for backend in _backends(rule))
    return list(dict.fromkeys(entry.baseline for backend in backends for entry in entries.get(backend, ())))


def keys_at(attachment: Attachment, entries: Entries, routes: Routes) -> dict[str, Route]:
    """The keys that have a fork behind one of its rules."""
    found: dict[str, Route] = {}
    for workload in workloads_at(attachment, entries):
        found = {**routes.get(workload, {}), **found}
    return dict(sorted(found.items()))


def keyed_rules(
    attachment: Attachment, key: str, matches: GatewayMatches, entries: Entries, routes: Routes
) -> KeyedRules:
    """All rules for one key.

    Raises: CannotCopy
    """
    conditions = _conditions(matches)
    targets = {
        rule: target
        for rule in attachment.rules
        if not rule.is_redirect and (target := _target(attachment, rule, key, entries, routes)) is not None
    }
    guarding = guards(attachment.rules, targets, _ADDED)
    rules: list[Json] = []
    dark: list[str] = []
    for rule in attachment.rules:
        if rule in targets:
            target = targets[rule]
            references, reason = _references(target, attachment.namespace)
            if reason is not None:
                dark.append(reason)
            rules += led_to(rule, conditions, references)
        elif rule in guarding:
            rules += kept(rule, conditions)
    return KeyedRules(rules, tuple(dict.fromkeys(dark)), any(rule.has_mirror for rule in targets))


def _conditions(matches: GatewayMatches) -> list[Condition]:
    in_baggage = [list(maps(match, "headers")) for match in matches.baggage]
    in_tracestate = [list(maps(match, "headers")) for match in matches.tracestate]
    return [*in_baggage, *([*headers, _ANY_TRACESTATE] for headers in in_baggage), *in_tracestate]


def _target(attachment: Attachment, rule: OwnedRule, key: str, entries: Entries, routes: Routes) -> Target | None:
    """The first of its backends that the key forks; the Service itself before others."""
    references = references_of(rule.rule)
    references.sort(key=lambda each: _service(each, rule.namespace) != attachment.service)
    for reference in references:
        backend = backend_of(reference, rule.namespace)
        for entry in entries.get(backend, ()) if backend is not None else ():
            if (route := routes.get(entry.baseline, {}).get(key)) is not None:
                return Target(route, entry.port, reference)
    return None


def _references(target: Target, namespace: str) -> tuple[list[Json], str | None]:
    """The fork as backendRefs of a route in this namespace; and why there are none."""
    mapping = next((each for each in target.route.mappings if each.port == target.port), None)
    if mapping is None:
        return [], f"it has no port {target.port} of {target.route.baseline}"
    if not mapping.destinations:
        return [], f"it has no destination for {target.route.baseline} yet"
    filters = maps(target.reference, "filters")
    references: list[Json] = []
    for destination in mapping.destinations:
        service = service_of(destination_host(destination.host, target.route.baseline.namespace))
        if service is None:
            raise CannotCopy(f"its destination {destination} is no Service, and a rule leads to Services alone")
        backend = Backend(ServiceName(service[1], service[0]), destination.port)
        references.append({**reference_to(backend, namespace), **({"filters": list(filters)} if filters else {})})
    return references, None


def _backends(rule: OwnedRule) -> Sequence[Backend]:
    found = (backend_of(reference, rule.namespace) for reference in references_of(rule.rule))
    return [backend for backend in found if backend is not None]


def _service(reference: Json, namespace: str) -> ServiceName | None:
    backend = backend_of(reference, namespace)
    return backend.service if backend is not None else None
