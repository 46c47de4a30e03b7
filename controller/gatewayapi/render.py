"""Compiled routes and what stands in the cluster -> HTTPRoutes and GRPCRoutes as they should be, and what can't be.

Every route of ours is an object of its own, so an owner's is never touched, and taking ours out leaves what was there.
Where a Service has no route, ours comes with one that says what happened without: to its own endpoints. It must stand
before the others are made and until they are gone, else requests without a key are answered 404: `Rendered.routes` is
in an order in which to make them, `Rendered.removed` in one in which to take them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from controller.gatewayapi.attachments import Attachment, Entries, attachments
from controller.gatewayapi.fanin import fan_in_rules
from controller.gatewayapi.keyed import Routes, keyed_rules, keys_at, workloads_at
from controller.gatewayapi.objects import (
    API_VERSION,
    Backend,
    Json,
    Objects,
    OwnedRoute,
    ServiceName,
    read_objects,
)
from controller.gatewayapi.rules import CannotCopy, packed
from controller.istio.findings import MeshFinding
from controller.istio.matches import NAMES, MatchTooLong, gateway_key_matches
from controller.istio.names import PREFIX, destination_host, digest, service_of
from controller.istio.ours import MAX_OBJECT_BYTES, is_too_large, metadata_of
from proxy.routing.names import Workload
from proxy.routing.table import Route, Service

Mode = Literal["rules", "router"]

ROUTING_KEY: Final = "pointsman.dev/routing-key"  # annotations of ours
SANDBOX: Final = "pointsman.dev/sandbox"
BASELINE: Final = "pointsman.dev/baseline"  # on the route that says where a Service without routes leads
MAX_KEYS: Final = 100  # at one Service: a mesh tries their matches one after another

_MAX_NAME: Final = 63
_FOREIGN: Final = re.compile(r"[^a-z0-9]+")

REGULAR_EXPRESSIONS: Final = (
    "header matches of type RegularExpression are up to the implementation: these are RE2, matched against the whole "
    "value with lines joined by a comma, as Istio and Envoy do"
)


_UNKNOWN: Final = "no Service is given that leads to it, so nothing in the mesh does"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`router`: a Service's port where routers answer; without one there is no fan-in. `max_keys`: beyond, a Service is
    led to the router."""

    mode: Mode = "rules"
    form: str = "strict"
    names: Sequence[str] = NAMES
    router: Backend | None = None
    max_keys: int = MAX_KEYS


@dataclass(frozen=True, slots=True)
class Rendered:
    """`removed`: routes of ours that stand there and should not. `notes`: what was assumed or left out."""

    routes: tuple[Json, ...] = ()
    removed: tuple[Json, ...] = ()
    findings: tuple[MeshFinding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Result:
    objects: Objects
    first: list[Json] = field(default_factory=list)
    routes: list[Json] = field(default_factory=list)
    findings: list[MeshFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reached: set[tuple[str, Workload]] = field(default_factory=set)  # by a key


def render_gateway(
    routes: Sequence[Route], services: Sequence[Service], documents: Iterable[Json], settings: GatewaySettings
) -> Rendered:
    """`documents`: HTTPRoutes, GRPCRoutes (ours may be among them), Services, Namespaces, in any order; others are
    passed over.

    Raises: ObjectError for a document without the shape of its kind, ValueError for settings that fit no other.
    """
    if settings.mode == "router" and settings.router is None:
        raise ValueError("the mode router needs to know where the router is")
    objects = read_objects(documents)
    entries = _entries(services)
    by_workload: dict[Workload, dict[str, Route]] = {}
    for route in routes:
        by_workload.setdefault(route.baseline, {})[route.routing_key] = route
    result = _Result(objects)
    found, refused = attachments(objects, entries, _grpc_ports(routes, entries))
    for refusal in refused:
        _refuse(result, refusal.reason, refusal.place, refusal.message, _behind(refusal.service, entries, by_workload))
    for attachment in found:
        _at(attachment, entries, by_workload, settings, result)
    _find_unreached(entries, by_workload, result)
    if result.routes:
        result.notes.insert(0, REGULAR_EXPRESSIONS)
    wanted = (*result.first, *result.routes)
    return Rendered(
        wanted, _unwanted(objects, wanted), tuple(dict.fromkeys(result.findings)), tuple(dict.fromkeys(result.notes))
    )


def remove_gateway(documents: Iterable[Json]) -> Rendered:
    """Everything of ours is to go.

    Raises: ObjectError
    """
    return Rendered(removed=_unwanted(read_objects(documents), ()))


def _at(attachment: Attachment, entries: Entries, routes: Routes, settings: GatewaySettings, result: _Result) -> None:
    keys = keys_at(attachment, entries, routes)
    if settings.mode == "router":
        _fan_in(attachment, entries, routes, settings, keys, result)
        return
    if not keys:
        return
    reason = f"{len(keys)} sandboxes" if len(keys) > settings.max_keys else None
    made: list[Json] = []
    findings: list[MeshFinding] = []
    notes: list[str] = []
    for key, route in keys.items() if reason is None else ():
        try:
            matches = gateway_key_matches(key, settings.form, settings.names)
            rules = keyed_rules(attachment, key, matches, entries, routes)
        except (CannotCopy, MatchTooLong) as error:
            reason = str(error)
            break
        chunks = packed(attachment.kind, rules.rules)
        if chunks is None:
            reason = f"{len(rules.rules)} rules for {route.sandbox}, whose order would decide between several routes"
            break
        for index, chunk in enumerate(chunks):
            annotations = {ROUTING_KEY: key, SANDBOX: route.sandbox}
            name = _name(attachment, route.sandbox, key, index)
            made.append(_document(attachment, name, chunk, annotations, result))
        for dark in rules.dark:
            message = f"requests are answered 500: {dark}"
            findings.append(MeshFinding(key, route.sandbox, "NoDestination", attachment.place, message))
        if rules.drops_mirror:
            notes.append(f"{attachment.place}: the mirrors of its rules get no requests with a key")
    if reason is None and any(map(is_too_large, made)):
        reason = f"a route of more than {MAX_OBJECT_BYTES >> 10} KiB"
    if reason is None:
        _add(attachment, made, result)
        _reach(workloads_at(attachment, entries), routes, result)
        result.findings += findings
        result.notes += notes
    elif settings.router is None:
        _refuse(result, "DoesNotFit", attachment.place, f"{reason}; there is no router to lead them to", keys.values())
    elif _fan_in(attachment, entries, routes, settings, keys, result):
        message = f"{reason}: the router decides"
        result.findings += _findings("FanIn", attachment.place, message, keys.values(), is_routed=True)


def _fan_in(
    attachment: Attachment,
    entries: Entries,
    routes: Routes,
    settings: GatewaySettings,
    keys: dict[str, Route],
    result: _Result,
) -> bool:
    """Whether the Service is led to the router now."""
    assert settings.router is not None
    if settings.router.service == attachment.service:
        return False  # its own requests would come back to it
    try:
        rules = fan_in_rules(attachment, settings.router, settings.names, entries)
    except CannotCopy as error:
        _refuse(result, "DoesNotFit", attachment.place, str(error), keys.values())
        return False
    chunks = packed(attachment.kind, rules.rules)
    if chunks is None:
        message = f"{len(rules.rules)} rules to the router, whose order would decide between several routes"
        _refuse(result, "DoesNotFit", attachment.place, message, keys.values())
        return False
    for rule in rules.elsewhere:
        message = f"{rule} leads to another Service; the router decides by host and is not asked"
        result.notes.append(f"{attachment.place}: {message}")
        here = keys_at(replace(attachment, rules=(rule,)), entries, routes)
        result.findings += _findings("OtherHost", attachment.place, message, here.values())
    if not chunks:
        return False
    made = [
        _document(attachment, _name(attachment, "router", "", index), chunk, {}, result)
        for index, chunk in enumerate(chunks)
    ]
    _add(attachment, made, result)
    _reach(rules.asked, routes, result)
    if rules.unaltered:
        rewriting = ", ".join(str(rule) for rule in rules.unaltered)
        message = f"forks get requests without what is done by {rewriting}"
        result.notes.append(f"{attachment.place}: {message}")
        result.findings += _findings("NotRewritten", attachment.place, message, keys.values(), is_routed=True)
    return True


def _add(attachment: Attachment, made: Sequence[Json], result: _Result) -> None:
    if not attachment.has_owner:
        rule = attachment.rules[0].rule
        name = _name(attachment, "baseline", "", 0)
        result.first.append(_document(attachment, name, [rule], {BASELINE: "true"}, result))
    result.routes += made


def _reach(workloads: Iterable[Workload], routes: Routes, result: _Result) -> None:
    result.reached.update((key, workload) for workload in workloads for key in routes.get(workload, ()))


def _find_unreached(entries: Entries, routes: Routes, result: _Result) -> None:
    """Routes of the table that nothing in the mesh leads to: requests with the key meet the baseline."""
    told = {finding.routing_key for finding in result.findings if not finding.is_routed}
    known = {entry.baseline for found in entries.values() for entry in found}
    for workload in sorted(routes):
        text = "no rule leads to it, or to the router for it" if workload in known else _UNKNOWN
        lost = [
            route
            for key, route in sorted(routes[workload].items())
            if key not in told and (key, workload) not in result.reached
        ]
        result.findings += _findings("NotReached", str(workload), text, lost)


def _refuse(result: _Result, reason: str, place: str, message: str, routes: Iterable[Route]) -> None:
    """Said of each sandbox that it keeps from working, or of none where there is none yet."""
    result.findings += _findings(reason, place, message, routes) or [MeshFinding(None, None, reason, place, message)]


def _findings(
    reason: str, place: str, message: str, routes: Iterable[Route], *, is_routed: bool = False
) -> list[MeshFinding]:
    return [MeshFinding(route.routing_key, route.sandbox, reason, place, message, is_routed) for route in routes]


def _document(
    attachment: Attachment, name: str, rules: Sequence[Json], annotations: dict[str, str], result: _Result
) -> Json:
    parent: dict[str, object] = {"group": "", "kind": "Service", "name": attachment.service.name}
    if attachment.namespace != attachment.service.namespace:
        parent["namespace"] = attachment.service.namespace
    if attachment.port is not None:
        parent["port"] = attachment.port
    service = result.objects.services.get(attachment.service)
    metadata, faults = metadata_of((attachment.namespace, name), service.annotations if service is not None else {})
    result.notes.extend(f"Service {attachment.service}: {fault}" for fault in faults)
    asked = metadata.get("annotations")
    if annotations or asked:
        metadata["annotations"] = {**(asked if isinstance(asked, dict) else {}), **annotations}
    return {
        "apiVersion": API_VERSION,
        "kind": attachment.kind,
        "metadata": metadata,
        "spec": {"parentRefs": [parent], "rules": list(rules)},
    }


def _name(attachment: Attachment, what: str, key: str, index: int) -> str:
    """`pointsman-<service>-<what>-<digest>`. The digest tells it from all others, so the rest may be cut."""
    tail = digest(attachment.kind, attachment.service, attachment.port, what, key, index)
    head = _FOREIGN.sub("-", f"{attachment.service.name}-{what.rpartition('/')[2]}".lower()).strip("-")
    return f"{PREFIX}{head[: _MAX_NAME - len(PREFIX) - len(tail) - 1].rstrip('-')}-{tail}"


def _entries(services: Iterable[Service]) -> Entries:
    """By Service and port. An upstream that is no Service's host can't be a route's parent."""
    found: dict[Backend, list[Service]] = {}
    for entry in services:
        service = service_of(destination_host(entry.upstream.host, entry.baseline.namespace))
        if service is not None:
            found.setdefault(Backend(ServiceName(service[1], service[0]), entry.upstream.port), []).append(entry)
    return found


def _grpc_ports(routes: Iterable[Route], entries: Entries) -> list[Backend]:
    """Ports whose forks are said to be gRPC."""
    said = {
        (route.baseline, mapping.port)
        for route in routes
        for mapping in route.mappings
        if mapping.app_protocol == "grpc"
    }
    return [
        backend for backend, found in entries.items() if any((entry.baseline, entry.port) in said for entry in found)
    ]


def _behind(service: ServiceName, entries: Entries, routes: Routes) -> list[Route]:
    workloads = {entry.baseline for backend, found in entries.items() if backend.service == service for entry in found}
    return [route for workload in sorted(workloads) for route in routes.get(workload, {}).values()]


def _unwanted(objects: Objects, wanted: Iterable[Json]) -> tuple[Json, ...]:
    """Routes without a key last: what says where the others go must outlive them."""
    names = {_identity(document) for document in wanted}
    ours = [route for route in objects.routes if route.is_ours and _identity(route.document) not in names]
    return tuple(route.document for route in sorted(ours, key=_going))


def _going(route: OwnedRoute) -> tuple[bool, str]:
    metadata = route.document["metadata"]
    assert isinstance(metadata, dict)
    return BASELINE in (metadata.get("annotations") or {}), str(route)


def _identity(document: Json) -> tuple[object, ...]:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return document["kind"], metadata.get("namespace", "default"), metadata["name"]
