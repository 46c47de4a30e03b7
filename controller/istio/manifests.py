"""Manifests of a mesh, one after the other -> the mesh. What is of no concern here is said to be so, and passed over.

reading = Reading(namespace)
for each document: reading.add(document, place)
reading.faults, reading.ignored; reading.mesh(routed)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from controller.errors import ObjectError
from controller.istio.mesh import Labels, Mesh
from controller.istio.names import full_host
from controller.istio.reading import ManifestReader
from controller.istio.services import (
    WORKLOAD_KINDS,
    KubernetesService,
    Pods,
    joined,
    read_alias,
    read_pods,
    read_service,
)
from controller.istio.virtualservices import API_GROUP, VirtualService, read_virtual_service
from proxy.routing.names import Workload
from proxy.routing.table import Service

_GROUPS: Final = {
    **dict.fromkeys(WORKLOAD_KINDS, "apps/"),
    "Rollout": "argoproj.io/",
    "VirtualService": API_GROUP,
    "DestinationRule": API_GROUP,
    "ServiceEntry": API_GROUP,
    "Service": "v1",
    "Namespace": "v1",
}


@dataclass(slots=True)
class Reading:
    """`namespace`: of objects that name none. `ignored`: kinds that say nothing here, and how many there were."""

    namespace: str = "default"
    faults: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    pods: list[Pods] = field(default_factory=list)
    _virtual_services: list[VirtualService] = field(default_factory=list)
    _services: list[KubernetesService] = field(default_factory=list)
    _aliases: list[tuple[str, tuple[str, str]]] = field(default_factory=list)
    _subsets: dict[tuple[str, str], Labels] = field(default_factory=dict)
    _namespaces: dict[str, Labels] = field(default_factory=dict)
    _outside: set[str] = field(default_factory=set)
    _places: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def add(self, document: object, place: str) -> None:
        """One object, or a List of them as kubectl prints it."""
        if not isinstance(document, dict):
            self.faults.append(f"{place}: must be an object")
            return
        kind, version = document.get("kind"), document.get("apiVersion")
        if not isinstance(kind, str) or not isinstance(version, str):
            self.faults.append(f"{place}: must have apiVersion and kind")
            return
        group = _GROUPS.get(kind)
        if group is None or not (version == group or (group.endswith("/") and version.startswith(group))):
            self.ignored[kind] += 1
            return
        try:
            self._read(kind, document, place)
        except ObjectError as error:
            self.faults.extend(f"{place}: {fault}" for fault in error.faults)

    def _read(self, kind: str, document: dict[str, object], place: str) -> None:
        reader = ManifestReader()
        metadata = reader.part(document.get("metadata"), "metadata")
        name = reader.word(metadata.get("name"), "metadata.name")
        namespace = reader.word(metadata.get("namespace"), "metadata.namespace", self.namespace)
        if reader.faults:
            raise ObjectError(reader.faults)
        first = self._places.setdefault((kind, namespace if kind != "Namespace" else "", name), place)
        if first != place:
            raise ObjectError([f"{kind} {namespace}/{name} stands in {first} already"])
        if kind == "VirtualService":
            self._virtual_services.append(read_virtual_service(document, namespace))
        elif kind == "Service":
            if (service := read_service(document, namespace)) is not None:
                self._services.append(service)
            elif (alias := read_alias(document, namespace)) is not None:
                self._aliases.append(alias)
        elif kind == "Namespace":
            self._namespaces[name] = reader.text_fields(metadata.get("labels"), "metadata.labels")
        elif kind == "DestinationRule":
            self._subsets.update(_subsets(reader, document, namespace))
        elif kind == "ServiceEntry":
            spec = reader.part(document.get("spec"), "spec")
            self._outside.update(full_host(host, namespace) for host in reader.words(spec.get("hosts"), "spec.hosts"))
        elif not _is_controlled(reader, metadata):
            self.pods.append(read_pods(document, namespace))
        if reader.faults:
            raise ObjectError(reader.faults)

    def mesh(self, routed: Iterable[Workload] = (), entries: Iterable[Service] = ()) -> tuple[Mesh, tuple[str, ...]]:
        """The mesh, and notes on what was assumed. `entries`: more `services`, of a table."""
        found = joined(self._services, self.pods, routed, self._aliases)
        mesh = Mesh(
            tuple(self._virtual_services),
            (*found.entries, *(entry for entry in entries if entry not in found.entries)),
            tuple(self._services),
            {pods.workload: pods.labels for pods in self.pods},
            self._subsets,
            self._namespaces,
            frozenset(self._outside),
        )
        return mesh, found.notes


def _is_controlled(reader: ManifestReader, metadata: Mapping[str, object]) -> bool:
    """Whether it belongs to another workload, which is the one that is forked: a Deployment's ReplicaSets."""
    owners = reader.parts(metadata.get("ownerReferences"), "metadata.ownerReferences")
    return any(owner.get("controller") is True and owner.get("kind") in WORKLOAD_KINDS for _, owner in owners)


def _subsets(reader: ManifestReader, document: Mapping[str, object], namespace: str) -> dict[tuple[str, str], Labels]:
    spec = reader.part(document.get("spec"), "spec")
    host = full_host(reader.word(spec.get("host"), "spec.host"), namespace)
    found: dict[tuple[str, str], Labels] = {}
    for path, subset in reader.parts(spec.get("subsets"), "spec.subsets"):
        name = reader.word(subset.get("name"), f"{path}.name")
        found[host, name] = reader.text_fields(subset.get("labels"), f"{path}.labels")
    return found
