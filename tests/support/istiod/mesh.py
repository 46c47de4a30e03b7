"""Which VirtualService a host gets, and the virtual hosts that a caller's proxy has for one port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.istiod.delegates import Document, exported, merged_routes, resolved
from tests.support.istiod.names import MESH, by_specificity, covers, domains, is_wildcard
from tests.support.istiod.routes import routes

__all__ = ["Caller", "Service", "route_configuration", "virtual_hosts"]


@dataclass(frozen=True)
class Service:
    """A Service of the registry: its full name and its HTTP ports."""

    host: str
    ports: tuple[int, ...] = (80,)
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Caller:
    """The pod whose proxy is programmed."""

    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)


def route_configuration(
    virtual_services: Sequence[Document], services: Sequence[Service], port: int, caller: Caller
) -> Document:
    """Hosts that nothing knows get 502, as with `outboundTrafficPolicy: REGISTRY_ONLY`
    (httproute.go: buildSidecarOutboundHTTPRouteConfig, buildCatchAllVirtualHost)."""
    black_hole = {
        "name": "block_all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 502}}],
    }
    hosts = virtual_hosts(virtual_services, services, port, caller)
    if not any("*" in host["domains"] for host in hosts):
        hosts.append(black_hole)
    return {
        "name": str(port),
        "virtual_hosts": hosts,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1024 * 1024,
    }


def virtual_hosts(
    virtual_services: Sequence[Document], services: Sequence[Service], port: int, caller: Caller
) -> list[Document]:
    """(httproute.go: BuildSidecarOutboundVirtualHosts; route.go: BuildSidecarVirtualHostWrapper)"""
    registry = {service.host.lower(): service for service in services if port in service.ports}
    roots = _visible(virtual_services, caller.namespace)
    if port != 80:
        roots = [root for root in roots if any(_names_one(host, registry) for host in root["spec"]["hosts"])]
    delegates = {
        (document["metadata"].get("namespace", "default"), document["metadata"]["name"]): document
        for document in map(resolved, virtual_services)
        if not document["spec"]["hosts"]
    }
    most_specific = _most_specific(roots, registry)
    hosts = _Hosts(port, caller)
    for root in roots:
        found = routes(merged_routes(root, delegates), port, caller.labels, caller.namespace)
        if not found:
            continue
        others, matching = _separated(root, registry, most_specific)
        for host in others:
            hosts.add_name(host, found)
        for service in matching:
            hosts.add_service(service, found)
    taken = hosts.services
    for service in registry.values():
        if service.host.lower() not in taken:
            hosts.add_service(service, _default_routes(service, port))
    return hosts.documents


def _visible(virtual_services: Sequence[Document], namespace: str) -> list[Document]:
    """Those for the mesh that the namespace sees: private ones, then such exported to it by name, then public ones,
    each from the oldest to the youngest (push.go: initVirtualServices; vs.go: SelectVirtualServices; config.go:
    configCompareByCreationTime)."""
    roots = [document for document in map(resolved, virtual_services) if document["spec"]["hosts"]]
    roots = [root for root in roots if MESH in root["spec"]["gateways"] and exported(root, namespace)]

    def order(root: Document) -> tuple[int, str, str, str]:
        own = root["metadata"].get("namespace", "default")
        targets = root["spec"].get("exportTo") or ["*"]
        rank = 2 if "*" in targets else 0 if own == namespace else 1
        metadata = root["metadata"]
        return rank, str(metadata.get("creationTimestamp") or ""), metadata["name"], own

    return sorted(roots, key=order)


def _names_one(host: str, registry: Mapping[str, Service]) -> bool:
    """(httproute.go: selectVirtualServices)"""
    host = host.lower()
    if host in registry:
        return True
    return any(covers(host, service) for service in registry if is_wildcard(host) or is_wildcard(service))


def _most_specific(roots: Sequence[Document], registry: Mapping[str, Service]) -> dict[str, int]:
    """Service -> the root whose host fits it best; of equal hosts the first root's
    (sidecar.go: computeWildcardHostVirtualServiceIndex)."""
    index: dict[str, int] = {}
    for root in roots:
        for host in root["spec"]["hosts"]:
            index.setdefault(host, id(root))
    found = {}
    for service in registry:
        if service in index:
            found[service] = index[service]
        elif fitting := [host for host in index if is_wildcard(host) and service.endswith(host[1:])]:
            found[service] = index[min(fitting, key=by_specificity)]
    return found


def _separated(
    root: Document, registry: Mapping[str, Service], most_specific: Mapping[str, int]
) -> tuple[list[str], list[Service]]:
    """The root's hosts that are no services, and the services (route.go: separateVSHostsAndServices)."""
    others: list[str] = []
    services: list[Service] = []
    hosts = root["spec"]["hosts"]
    for host in (host for host in hosts if not is_wildcard(host)):
        if service := registry.get(host.lower()):
            services.append(service)
        else:
            others.append(host)
    for wildcard in (host.lower() for host in hosts if is_wildcard(host)):
        fitting = [host for host in registry if covers(wildcard, host)]
        services += [registry[host] for host in fitting if most_specific.get(host) == id(root)]
        if not fitting:
            others.append(wildcard)
    return others, services


def _default_routes(service: Service, port: int) -> list[Document]:
    """(route.go: BuildDefaultHTTPOutboundRoute: as an http entry with nothing but a destination)"""
    entry = {"name": "default", "route": [{"destination": {"host": service.host, "port": {"number": port}}}]}
    return routes([entry], port, {}, "")


class _Hosts:
    """Virtual hosts in order. A name or a domain that was given away stays so: the oldest VirtualService has the host
    (httproute.go: buildVirtualHost, dedupeDomains)."""

    def __init__(self, port: int, caller: Caller) -> None:
        self.documents: list[Document] = []
        self.services: set[str] = set()
        self._port = port
        self._caller = caller
        self._names: set[str] = set()
        self._domains: set[str] = set()

    def add_name(self, host: str, found: list[Document]) -> None:
        self._add(host.lower(), [host.lower()], found)

    def add_service(self, service: Service, found: list[Document]) -> None:
        self.services.add(service.host.lower())
        self._add(service.host, [*domains(service.host, self._caller.namespace), *service.addresses], found)

    def _add(self, host: str, wanted: list[str], found: list[Document]) -> None:
        name = f"{host}:{self._port}"
        if name in self._names:
            return
        self._names.add(name)
        free = [domain for domain in dict.fromkeys(wanted) if domain.lower() not in self._domains]
        self._domains.update(domain.lower() for domain in free)
        if free:
            self.documents.append({"name": name, "domains": free, "routes": found})


def cluster_names(document: Any) -> set[str]:
    """Every cluster that a route configuration names."""
    found: set[str] = set()
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("cluster", "name") and isinstance(value, str) and value.startswith("outbound|"):
                found.add(value)
            else:
                found |= cluster_names(value)
    elif isinstance(document, list):
        for value in document:
            found |= cluster_names(value)
    return found
