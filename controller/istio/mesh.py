"""The mesh as it is, and where the destinations of its routes lead.

    mesh = Mesh(virtual_services=..., entries=..., ...)
    plan = Plan(mesh, routed)       routed: the workloads that routes of the table are for
    plan.leads(destination, namespace) -> for which ports the destination leads to which workloads and their ports

Rules:

- A destination without a port means the only port of its Service, or else the port that the request was sent to
  (istio/istio pilot/pkg/networking/core/route/route.go, GetDestinationCluster). The latter is a lead for each port.
- A subset narrows the workloads to those whose pods have its labels (DestinationRule). Where labels are not known, it
  narrows nothing.
- A host that no entry lists means the workload of the same name in its namespace, if routes are for such a one. Which
  of its ports is not known then: the only one that a route maps, or the destination's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from controller.istio.names import destination_host, full_host, is_address, service_of
from controller.istio.services import KubernetesService
from controller.istio.virtualservices import Json, VirtualService
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Service

DATAPLANE_MODE: Final = "istio.io/dataplane-mode"
USE_WAYPOINT: Final = "istio.io/use-waypoint"

Labels = Mapping[str, str]
_NO_LABELS: Final[Labels] = {}


@dataclass(frozen=True, eq=False)
class Mesh:
    """`entries`: SPEC 5's `services`, maybe several workloads behind one port. `services`: Kubernetes' own, as far as
    they are given. `outside`: hosts that ServiceEntries make known."""

    virtual_services: tuple[VirtualService, ...] = ()
    entries: tuple[Service, ...] = ()
    services: tuple[KubernetesService, ...] = ()
    pod_labels: Mapping[Workload, Labels] = field(default_factory=dict)
    subsets: Mapping[tuple[str, str], Labels] = field(default_factory=dict)  # (full host, subset) -> labels
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()

    @cached_property
    def service_by_host(self) -> Mapping[str, KubernetesService]:
        return {service.host: service for service in self.services}

    @cached_property
    def hosts_of(self) -> Mapping[Workload, tuple[str, ...]]:
        """The hosts that lead to a workload."""
        found: dict[Workload, dict[str, None]] = {}
        for entry in self.entries:
            found.setdefault(entry.baseline, {})[entry.upstream.host.lower()] = None
        return {workload: tuple(sorted(hosts)) for workload, hosts in found.items()}

    @cached_property
    def ports_by_host(self) -> Mapping[str, Mapping[int, tuple[tuple[Workload, int], ...]]]:
        """Host -> Service port -> the workloads behind it, each with its own port."""
        found: dict[str, dict[int, list[tuple[Workload, int]]]] = {}
        for entry in self.entries:
            ports = found.setdefault(entry.upstream.host.lower(), {})
            ports.setdefault(entry.upstream.port, []).append((entry.baseline, entry.port))
        return {
            host: {port: tuple(sorted(ports[port])) for port in sorted(ports)} for host, ports in sorted(found.items())
        }

    def knows(self, endpoint: Endpoint, namespace: str) -> str | None:
        """The destination's host as the mesh knows it; None: it is none of the mesh, so routes can't lead there."""
        host = destination_host(endpoint.host, namespace)
        if is_address(host):
            return None
        if service_of(host) is not None or host in self.ports_by_host or host in self.outside:
            return host
        service = destination_host(f"{host}.svc", namespace)  # NAME.NAMESPACE, which outside names look like
        return service if service in self.service_by_host else None

    def is_ambient(self, host: str) -> bool:
        return self._label(host, DATAPLANE_MODE) == "ambient"

    def lacks_waypoint(self, host: str) -> bool:
        """Whether no proxy applies HTTP rules before this host: ambient mode without a waypoint (CHECKLIST M4)."""
        return self.is_ambient(host) and self._label(host, USE_WAYPOINT) in (None, "none")

    def _label(self, host: str, label: str) -> str | None:
        """Of the Service, else of its namespace."""
        service, named = self.service_by_host.get(host), service_of(host)
        namespace = service.namespace if service is not None else named[1] if named is not None else ""
        own = service.labels if service is not None else _NO_LABELS
        return own.get(label, self.namespaces.get(namespace, _NO_LABELS).get(label))


class Target(NamedTuple):
    """`port`: the workload's; None: not known, and `hint` is what the destination said."""

    workload: Workload
    port: int | None
    hint: int | None = None


class Lead(NamedTuple):
    """Where a destination leads: for requests that were sent to `sent_to`, or for all (None)."""

    sent_to: int | None
    targets: tuple[Target, ...]


_NOWHERE: Final[tuple[Lead, ...]] = ()


class Plan:
    """Which destination leads to which workload. Answers are kept: many routes have the same few."""

    def __init__(self, mesh: Mesh, routed: Iterable[Workload] = ()) -> None:
        self.mesh: Final = mesh
        self._by_name: Final[dict[tuple[str, str], list[Workload]]] = {}
        for workload in sorted(set(routed)):
            self._by_name.setdefault((workload.name.lower(), workload.namespace), []).append(workload)
        self._leads: Final[dict[tuple[str, int | None, str | None], tuple[Lead, ...]]] = {}
        self.notes: Final[dict[str, None]] = {}  # what was assumed, once each

    def leads(self, destination: Json, namespace: str) -> tuple[Lead, ...]:
        host = destination.get("host")
        if not isinstance(host, str):
            return _NOWHERE
        port = destination.get("port")
        number = port.get("number") if isinstance(port, Mapping) else None
        subset = destination.get("subset")
        asked = (
            full_host(host, namespace),
            number if isinstance(number, int) else None,
            subset if isinstance(subset, str) and subset else None,
        )
        found = self._leads.get(asked)
        if found is None:
            found = self._leads[asked] = self._found(*asked)
        return found

    def _found(self, host: str, port: int | None, subset: str | None) -> tuple[Lead, ...]:
        ports = self.mesh.ports_by_host.get(host)
        if ports is None:
            return self._assumed(host, port) if host not in self.mesh.service_by_host else _NOWHERE
        if port is not None:
            ports = {port: ports[port]} if port in ports else {}
        leads = []
        for number, workloads in ports.items():
            targets = tuple(Target(workload, own) for workload, own in self._narrowed(workloads, host, subset))
            if targets:
                leads.append(Lead(number, targets))
        if port is not None or len(ports) == 1:
            return tuple(Lead(None, lead.targets) for lead in leads)
        return tuple(leads)

    def _assumed(self, host: str, port: int | None) -> tuple[Lead, ...]:
        named = service_of(host)
        workloads = self._by_name.get(named, ()) if named is not None else ()
        if not workloads:
            return _NOWHERE
        self.notes[f"{host}: no Service of that name is given, {workloads[0]} is assumed by name"] = None
        return (Lead(None, tuple(Target(workload, None, port) for workload in workloads)),)

    def includes(self, host: str, port: int, subset: str | None, workload: Workload) -> bool:
        """Whether the workload is among those that the subset leads to."""
        workloads = self.mesh.ports_by_host.get(host, {}).get(port, ())
        return any(each == workload for each, _ in self._narrowed(workloads, host, subset or None))

    def _narrowed(
        self, workloads: tuple[tuple[Workload, int], ...], host: str, subset: str | None
    ) -> tuple[tuple[Workload, int], ...]:
        if subset is None:
            return workloads
        wanted = self.mesh.subsets.get((host, subset))
        if wanted is None and len(workloads) == 1:
            return workloads
        if wanted is None:
            self.notes[f"{host}: subset {subset} is not given, all workloads of the Service are assumed"] = None
            return workloads
        return tuple(
            (workload, port)
            for workload, port in workloads
            if (labels := self.mesh.pod_labels.get(workload)) is None
            or all(labels.get(name) == value for name, value in wanted.items())
        )
