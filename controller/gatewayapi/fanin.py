"""A constant rule that leads whatever may carry a key to a router, and the way back.

What a router sends on to the baseline carries `pointsman-hop` with the workload. Nothing here can say "without that
header" as Istio's `withoutHeaders` does, so the way back is said by precedence: a copy of the owner's rule that asks
for the mark too has one header match more than the rule to the router, comes first, and leads where the owner's leads.

The rule to the router has nothing of the owner's but its matches (and Host in full, for a router elsewhere): what it
rewrites, limits in time or retries is done once, on the way back. So a fork gets requests without it. A rule that leads
to another Service than the one it stands at is not copied: the router decides by host, and would decide for the wrong
workload.

None of this depends on how many sandboxes there are, or whether there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.gatewayapi.attachments import Attachment, Entries
from controller.gatewayapi.objects import HTTP, Backend, Json, backend_of, maps, reference_to, references_of
from controller.gatewayapi.rules import Condition, OwnedRule, guards, kept, led_to
from controller.istio.matches import gateway_any_key_matches
from controller.istio.names import service_host
from controller.istio.patterns import hop
from controller.istio.services import for_router
from proxy.routing.names import Workload

_ADDED: Final = 2
_ALTERED: Final = ("filters", "timeouts", "retry", "sessionPersistence")


@dataclass(frozen=True, slots=True)
class FanInRules:
    """`unaltered`: rules whose rewriting a fork does not get. `elsewhere`: rules that the router can't decide. `asked`:
    the workloads that it decides for."""

    rules: list[Json]
    unaltered: tuple[OwnedRule, ...]
    elsewhere: tuple[OwnedRule, ...]
    asked: frozenset[Workload]


def fan_in_rules(attachment: Attachment, router: Backend, names: Sequence[str], entries: Entries) -> FanInRules:
    """Raises: CannotCopy"""
    carried = [list(maps(match, "headers")) for match in gateway_any_key_matches(names)]
    marked: list[Condition] = [
        [_mark(workload), *headers] for workload in _workloads(attachment, entries) for headers in carried
    ]
    led, elsewhere = [], []
    asked: set[Workload] = set()
    for rule in attachment.rules:
        backends = [backend_of(reference, rule.namespace) for reference in references_of(rule.rule)]
        known = [backend for backend in backends if backend is not None and backend in entries]
        if own := [backend for backend in known if backend.service == attachment.service]:
            led.append(rule)
            asked.update(entry.baseline for backend in own for entry in for_router(entries[backend]).entries)
        elif known:
            elsewhere.append(rule)
    guarding = guards(attachment.rules, led, _ADDED)
    rules: list[Json] = []
    for rule in attachment.rules:
        if rule in led:
            # Its matches alone: whatever else it does is done on the way back.
            alone = {"matches": list(rule.matches), **_named(attachment, router, entries)}
            bare = OwnedRule(rule.kind, rule.namespace, alone, rule.age, rule.index, rule.route)
            rules += kept(rule, marked)
            rules += led_to(bare, carried, [reference_to(router, attachment.namespace)])
        elif rule in guarding:
            rules += kept(rule, [*marked, *carried])
    unaltered = tuple(rule for rule in led if any(field in rule.rule for field in _ALTERED))
    return FanInRules(rules, unaltered, tuple(elsewhere), frozenset(asked))


def _named(attachment: Attachment, router: Backend, entries: Entries) -> Json:
    """For a router of another namespace, whose own proxy does not know a Service by its bare name: the full one as
    Host. It has no port, and a GRPCRoute can't say it."""
    service = attachment.service
    ports = {backend.port for backend in entries if backend.service == service}
    if attachment.kind != HTTP or router.service.namespace == service.namespace or len(ports) > 1:
        return {}
    full = service_host(service.name, service.namespace)
    return {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": full}}]}


def _workloads(attachment: Attachment, entries: Entries) -> list[Workload]:
    """What the router may have decided for when it was asked for this Service's host."""
    return sorted(
        {
            entry.baseline
            for backend, found in entries.items()
            if backend.service == attachment.service and attachment.port in (None, backend.port)
            for entry in found
        }
    )


def _mark(workload: Workload) -> Mapping[str, str]:
    return {"type": "RegularExpression", "name": "pointsman-hop", "value": hop(str(workload))}
