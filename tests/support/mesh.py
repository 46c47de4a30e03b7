"""Meshes for tests: VirtualServices, Services and compiled routes, made by hand in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from controller.istio.mesh import Mesh
from controller.istio.names import service_host
from controller.istio.virtualservices import VirtualService, read_virtual_service
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service

NAMESPACE = "hotrod"
FORK = "fork-location.hotrod.svc.cluster.local"
KEY = "k3y"
# SPEC 8, the VirtualService that teams with Istio know.
SPEC_8 = r"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: location, namespace: hotrod-istio}
spec:
  hosts: [location]
  http:
  - match:
    - headers: {baggage: {regex: '^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\bqwblp48fpmb30\b.*$'}}
    - headers: {tracestate: {regex: '^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\bqwblp48fpmb30\b.*$'}}
    route:
    - destination: {host: local-location-location-9f4477c8.hotrod-istio.svc.cluster.local, port: {number: 8081}}
  - route:
    - destination: {host: location}
"""


def workload(name: str = "location", kind: str = "Deployment") -> Workload:
    return Workload(NAMESPACE, kind, name)


def route(
    key: str = KEY,
    name: str = "location",
    *destinations: str,
    port: int = 8081,
    mappings: Sequence[Mapping] | None = None,
    authority: str = "preserve",
    sandbox: str = "pr-1",
) -> Route:
    """A key's route for a workload: one port, one destination, unless said otherwise (`-`: no destination)."""
    hosts = destinations or (f"fork-{name}.hotrod.svc.cluster.local:8081",)
    ends = tuple(Endpoint(host, int(number)) for host, _, number in (each.rpartition(":") for each in hosts) if host)
    if mappings is None:
        mappings = (Mapping(port, None, authority, ends),)
    return Route(key, sandbox, workload(name), tuple(mappings))


def entry(
    name: str = "location", service_port: int = 80, port: int = 8081, behind: str | None = None, bare: bool = True
) -> Service:
    """An entry of `services`: the Service of that name, the workload of the same name or `behind`."""
    hosts = (f"{name}.{NAMESPACE}", service_host(name, NAMESPACE))
    upstream = Endpoint(service_host(name, NAMESPACE), service_port)
    return Service((name, *hosts) if bare else hosts, port, workload(behind or name), upstream)


def to(host: str = "location", port: int | None = None, weight: int | None = None, **fields: Any) -> dict[str, Any]:
    """A destination in an owner's route."""
    destination: dict[str, Any] = {"host": host}
    if port is not None:
        destination["port"] = {"number": port}
    if "subset" in fields:
        destination["subset"] = fields.pop("subset")
    return {"destination": destination, **({"weight": weight} if weight is not None else {}), **fields}


def http(*destinations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An owner's route; to `location`, unless said otherwise."""
    return {**fields, "route": list(destinations) or [to()]}


def document(
    *routes: dict[str, Any],
    name: str = "location",
    hosts: Iterable[str] | None = ("location",),
    namespace: str = NAMESPACE,
    created: str | None = None,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if created is not None:
        metadata["creationTimestamp"] = created
    if annotations:
        metadata["annotations"] = annotations
    if labels:
        metadata["labels"] = labels
    fields: dict[str, Any] = {"hosts": list(hosts)} if hosts else {}
    if routes:
        fields["http"] = list(routes)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {**fields, **spec},
    }


def virtual_service(*routes: dict[str, Any], **fields: Any) -> VirtualService:
    return read_virtual_service(document(*routes, **fields))


DELEGATE: dict[str, Any] = {"name": "sandboxes", "delegate": {"name": "pointsman-location"}}


def mesh(*virtual_services: VirtualService, entries: Iterable[Service] = (), **fields: Any) -> Mesh:
    """With the Service of `location`, unless other entries are given."""
    return Mesh(virtual_services, tuple(entries) or (entry(),), **fields)
