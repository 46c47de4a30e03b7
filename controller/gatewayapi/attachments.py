"""Which routes stand together at a Service, and where ours can't stand beside them.

Routes of one kind whose parent is a Service are merged, by precedence, in groups: those of the Service's own namespace
(producer's), and those of each other namespace (consumer's), which decide alone for callers there. A Service without
any route goes to its own endpoints; with one, what no rule matches is answered 404. (GEP-1426, "Route presence",
"Multiple routes for a Service", "Ports", "Route types".) Istio merges only routes that agree in whether they name a
port (istio/istio, pilot/pkg/config/kube/gateway/route_collections.go), so ours say what the owner's say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from controller.gatewayapi.objects import (
    GRPC,
    HTTP,
    Backend,
    KnownService,
    Objects,
    OwnedRoute,
    ServiceName,
    reference_to,
)
from controller.gatewayapi.precedence import matches_of
from controller.gatewayapi.rules import OwnedRule
from proxy.routing.table import Service

_GRPC_PROTOCOLS: Final = ("grpc", "kubernetes.io/grpc")
_AMBIENT: Final = "istio.io/dataplane-mode"
_WAYPOINT: Final = "istio.io/use-waypoint"

# Of the routing table, by the Service's port; a Service may lead to several workloads.
Entries = Mapping[Backend, Sequence[Service]]


@dataclass(frozen=True, slots=True, eq=False)
class Attachment:
    """Where ours is to stand: the Service's port (None: all), in routes of this kind and namespace.

    `rules`: the owner's, oldest first, or the one that says what happens without any.
    """

    kind: str
    namespace: str
    service: ServiceName
    port: int | None
    rules: tuple[OwnedRule, ...]

    @property
    def has_owner(self) -> bool:
        return self.rules[0].route is not None

    @property
    def place(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        whose = "" if self.namespace == self.service.namespace else f" for callers of {self.namespace}"
        return f"Service {self.service}{port}{whose}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing of ours stands there."""

    service: ServiceName
    port: int | None
    reason: str
    message: str

    @property
    def place(self) -> str:
        return f"Service {self.service}" + ("" if self.port is None else f":{self.port}")


def attachments(objects: Objects, entries: Entries, grpc: Iterable[Backend]) -> tuple[list[Attachment], list[Refusal]]:
    """Of every Service that the table knows. `grpc`: ports that are said to be gRPC by others than the Service."""
    found: list[Attachment] = []
    refused: list[Refusal] = []
    ports: dict[ServiceName, list[int]] = {}
    for backend in entries:
        ports.setdefault(backend.service, []).append(backend.port)
    is_grpc = frozenset(grpc)
    for service in sorted(ports):
        refusal = _refusal(objects, service)
        if refusal is not None:
            refused.append(refusal)
            continue
        known = objects.services.get(service)
        grpc_ports = {port for port in ports[service] if _is_grpc(known, port) or Backend(service, port) in is_grpc}
        owners = [route for route in objects.routes if not route.is_ours and _parent_ports(route, service)]
        for namespace in sorted({service.namespace, *(route.namespace for route in owners)}):
            group = [route for route in owners if route.namespace == namespace]
            for one in _in_group(service, namespace, sorted(ports[service]), grpc_ports, group):
                if isinstance(one, Refusal):
                    refused.append(one)
                else:
                    found.append(one)
    return found, refused


def _refusal(objects: Objects, service: ServiceName) -> Refusal | None:
    """What forbids anything at the whole Service."""
    known = objects.services.get(service)
    if any(route.is_off and _parent_ports(route, service) for route in objects.routes if not route.is_ours):
        return Refusal(service, None, "OptedOut", "one of its routes has the annotation that keeps ours away")
    if known is None:
        return None
    if known.is_off:
        return Refusal(service, None, "OptedOut", "it has the annotation that keeps our routes away")
    if not known.has_address:
        return Refusal(service, None, "NoParent", "only a Service with an address of its own can be a route's parent")
    labels = objects.namespaces.get(service.namespace, {})
    mode = known.labels.get(_AMBIENT, labels.get(_AMBIENT))
    waypoint = known.labels.get(_WAYPOINT, labels.get(_WAYPOINT, "none"))
    if mode == "ambient" and waypoint in ("", "none"):
        return Refusal(service, None, "NoWaypoint", "an ambient mesh applies routes in a waypoint, and it has none")
    return None


def _in_group(
    service: ServiceName, namespace: str, ports: Sequence[int], grpc: set[int], routes: Sequence[OwnedRoute]
) -> Iterable[Attachment | Refusal]:
    if any(parent.section is not None for route in routes for parent in route.parents if parent.service == service):
        message = f"its routes in {namespace} name a port by sectionName; only `port` means the same to all meshes"
        yield Refusal(service, None, "SectionName", message)
        return
    named = {port for route in routes for port in _parent_ports(route, service)}
    if None in named and len(named) > 1:
        message = (
            f"its routes in {namespace} are attached with and without a port, which meshes merge in different ways"
        )
        yield Refusal(service, None, "MixedPorts", message)
        return
    if None in named:
        yield _attachment(service, namespace, None, ports, grpc, routes)
        return
    for port in ports:
        of_port = [route for route in routes if port in _parent_ports(route, service)]
        if of_port or namespace == service.namespace:
            yield _attachment(service, namespace, port, ports, grpc, of_port)


def _attachment(
    service: ServiceName,
    namespace: str,
    port: int | None,
    ports: Sequence[int],
    grpc: set[int],
    routes: Sequence[OwnedRoute],
) -> Attachment | Refusal:
    kinds = {route.kind for route in routes}
    if len(kinds) > 1:
        message = "HTTPRoutes and GRPCRoutes are attached to it, and a mesh takes only routes of one kind"
        return Refusal(service, port, "KindConflict", message)
    if not routes:
        assert port is not None
        kind = GRPC if port in grpc else HTTP
        rule = {
            "matches": list(matches_of(kind, {})),
            "backendRefs": [reference_to(Backend(service, port), namespace)],
        }
        return Attachment(kind, namespace, service, port, (OwnedRule(kind, namespace, rule, (inf, ""), 0),))
    ordered = sorted(routes, key=lambda route: route.age)
    return Attachment(
        kinds.pop(),
        namespace,
        service,
        port,
        tuple(
            OwnedRule(route.kind, namespace, rule, route.age, index, route)
            for route in ordered
            for index, rule in enumerate(route.rules or ({},))
        ),
    )


def _parent_ports(route: OwnedRoute, service: ServiceName) -> set[int | None]:
    return {parent.port for parent in route.parents if parent.service == service}


def _is_grpc(service: KnownService | None, port: int) -> bool:
    return service is not None and service.protocols.get(port) in _GRPC_PROTOCOLS
