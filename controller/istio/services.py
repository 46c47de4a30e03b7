"""Kubernetes' Services and workloads -> which host and port is which workload and port (`services`, SPEC 5).

A Service leads to the workloads of its namespace whose pods it selects. A `targetPort` is a number, or the name of a
container's port, and may so be another one for each workload. Where no workload is given that it selects, one is
assumed of the Service's own name, if a route is for such a one, and a note says so.

Left out: Services without selector and of type ExternalName, and ports that are no HTTP by protocol, `appProtocol` or
the name's prefix, as Istio reads them (istio.io, "Protocol selection"); what says nothing is sniffed there, and HTTP
here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.errors import ObjectError
from controller.istio.names import CLUSTER_DOMAIN, OPT_OUT, service_host
from controller.istio.reading import ManifestReader
from controller.reader import MISSING
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Service

WORKLOAD_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout")
_HTTP: Final = ("http", "http2", "grpc", "grpc-web")
_NOT_HTTP: Final = ("tcp", "tls", "https", "udp", "mongo", "mysql", "redis", "hbone", "auto-tls")


@dataclass(frozen=True, slots=True)
class ServicePort:
    """`target`: a number, or the name of a container's port."""

    number: int
    target: int | str


@dataclass(frozen=True, slots=True)
class KubernetesService:
    """`ports`: those of HTTP."""

    namespace: str
    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return service_host(self.name, self.namespace)

    @property
    def is_off(self) -> bool:
        return self.annotations.get(OPT_OUT) == "off"

    @property
    def place(self) -> str:
        return f"Service {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pods:
    """A workload by what its pods are: their labels, and the ports that their containers name."""

    workload: Workload
    labels: Mapping[str, str]
    named_ports: Mapping[str, int]
    ports: frozenset[int] = frozenset()


# --- read ------------------------------------------------------------------------------------------------------------


class _Reader(ManifestReader):
    __slots__ = ()

    def identity(self, document: Mapping[str, object], namespace: str) -> tuple[str, str, Mapping[str, object]]:
        metadata = self.part(document.get("metadata"), "metadata")
        name = self.word(metadata.get("name"), "metadata.name")
        return self.word(metadata.get("namespace"), "metadata.namespace", namespace), name, metadata

    def service_port(self, value: Mapping[str, object], path: str) -> ServicePort | None:
        number = self.port(value.get("port", MISSING), f"{path}.port")
        if number is None:
            if "port" not in value:
                self.fault(f"{path}.port", "missing")
            return None
        said = value.get("targetPort")
        if isinstance(said, str) and said:
            target: int | str | None = int(said) if said.isascii() and said.isdecimal() else said
        else:
            target = self.port(said or number, f"{path}.targetPort")
        return ServicePort(number, target) if target is not None and _is_http(value) else None


def _is_http(port: Mapping[str, object]) -> bool:
    if port.get("protocol") not in (None, "TCP"):
        return False
    said = port.get("appProtocol")
    if isinstance(said, str):
        said = said.lower()
        return said in _HTTP or said.startswith("kubernetes.io/") or said not in _NOT_HTTP
    name = port.get("name")
    name = name.lower() if isinstance(name, str) else ""
    return not any(name == word or name.startswith(f"{word}-") for word in _NOT_HTTP)


def read_alias(document: Mapping[str, object], namespace: str = "default") -> tuple[str, tuple[str, str]] | None:
    """The host that a Service of type ExternalName is another name for, and that Service's namespace and name. A mesh
    takes its requests for the host's (istio/istio releasenotes/notes/external-name.yaml), and a router must too.

    Raises: ObjectError
    """
    reader = _Reader()
    namespace, name, _ = reader.identity(document, namespace)
    spec = reader.part(document.get("spec"), "spec")
    host = reader.word(spec.get("externalName"), "spec.externalName", "-").lower().removesuffix(".")
    if reader.faults:
        raise ObjectError(reader.faults)
    return (host, (namespace, name)) if spec.get("type") == "ExternalName" else None


def read_service(document: Mapping[str, object], namespace: str = "default") -> KubernetesService | None:
    """The Service in the document; None: no rule can be for it.

    Raises: ObjectError with every fault of what is looked at here.
    """
    reader = _Reader()
    namespace, name, metadata = reader.identity(document, namespace)
    spec = reader.part(document.get("spec"), "spec")
    selector = reader.text_fields(spec.get("selector"), "spec.selector")
    ports = [reader.service_port(port, path) for path, port in reader.parts(spec.get("ports"), "spec.ports")]
    labels = reader.text_fields(metadata.get("labels"), "metadata.labels")
    annotations = reader.text_fields(metadata.get("annotations"), "metadata.annotations")
    if reader.faults:
        raise ObjectError(reader.faults)
    if not selector or spec.get("type") == "ExternalName":
        return None
    found = tuple(port for port in ports if port is not None)
    return KubernetesService(namespace, name, selector, found, labels, annotations)


def read_pods(document: Mapping[str, object], namespace: str = "default") -> Pods:
    """The workload in the document.

    Raises: ObjectError with every fault of what is looked at here.
    """
    reader = _Reader()
    namespace, name, _ = reader.identity(document, namespace)
    spec = reader.part(document.get("spec"), "spec")
    template = reader.part(spec.get("template"), "spec.template")
    metadata = reader.part(template.get("metadata"), "spec.template.metadata")
    labels = reader.text_fields(metadata.get("labels"), "spec.template.metadata.labels")
    pod = reader.part(template.get("spec"), "spec.template.spec")
    named: dict[str, int] = {}
    numbers: set[int] = set()
    for kind in ("initContainers", "containers"):
        for path, container in reader.parts(pod.get(kind), f"spec.template.spec.{kind}"):
            for port_path, port in reader.parts(container.get("ports"), f"{path}.ports"):
                number = reader.port(port.get("containerPort"), f"{port_path}.containerPort")
                if number is None:
                    continue
                numbers.add(number)
                if isinstance(port_name := port.get("name"), str):
                    named[port_name] = number
    if reader.faults:
        raise ObjectError(reader.faults)
    return Pods(Workload(namespace, str(document.get("kind")), name), labels, named, frozenset(numbers))


# --- joined ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """`entries`: one for each Service's port and workload behind it. `notes`: what was assumed or left out."""

    entries: tuple[Service, ...]
    notes: tuple[str, ...]


def joined(
    services: Iterable[KubernetesService],
    pods: Iterable[Pods],
    routed: Iterable[Workload] = (),
    aliases: Iterable[tuple[str, tuple[str, str]]] = (),
) -> Joined:
    """Services with the workloads that they lead to. `routed`: those that routes are for, to assume by name. `aliases`:
    as `read_alias` reads them."""
    in_namespace: dict[str, list[Pods]] = {}
    for each in sorted(pods, key=lambda each: each.workload):
        in_namespace.setdefault(each.workload.namespace, []).append(each)
    by_name: dict[tuple[str, str], list[Workload]] = {}
    for workload in sorted(set(routed)):
        by_name.setdefault((workload.namespace, workload.name), []).append(workload)
    services = sorted(services, key=lambda service: (service.namespace, service.name))
    others: dict[str, list[tuple[str, str]]] = {}
    for host, alias in sorted(aliases):
        others.setdefault(host, []).append(alias)
    names = Counter(
        [*(service.name for service in services), *(name for found in others.values() for _, name in found)]
    )
    entries: list[Service] = []
    notes: list[str] = []
    for service in services:
        found = [each for each in in_namespace.get(service.namespace, ()) if _selects(service.selector, each.labels)]
        if not found:
            assumed = by_name.get((service.namespace, service.name), [])
            found = [Pods(workload, {}, {}) for workload in assumed]
            if assumed:
                notes.append(f"{service.place}: no workload is given that it selects, {assumed[0]} is assumed by name")
        if found and not service.ports:
            notes.append(f"{service.place}: has no HTTP port")
        called = [(service.namespace, service.name), *others.get(service.host, ())]
        hosts = tuple(host for each in called for host in _hosts(*each, is_unique=names[each[1]] == 1))
        for port in service.ports:
            for each in found:
                target = port.target if isinstance(port.target, int) else each.named_ports.get(port.target)
                if target is None:
                    notes.append(f"{service.place}: {each.workload} has no port named {port.target}")
                    continue
                entries.append(Service(hosts, target, each.workload, Endpoint(service.host, port.number)))
    return Joined(tuple(entries), tuple(notes))


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def _hosts(namespace: str, name: str, *, is_unique: bool) -> tuple[str, ...]:
    """All names that pods call it by. The bare name means another Service in each namespace, so a router that stands
    for all takes it only where it means one."""
    in_full = [f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"]
    return (name, *in_full) if is_unique else tuple(in_full)


def for_router(entries: Sequence[Service]) -> Joined:
    """The entries with one workload for each host and port, as a router needs them: it has the host and nothing else
    to choose by. Of several, the one with the Service's own name, else the first."""
    by_place: dict[Endpoint, list[Service]] = {}
    for entry in entries:
        by_place.setdefault(entry.upstream, []).append(entry)
    chosen: list[Service] = []
    notes: list[str] = []
    for upstream, found in sorted(by_place.items()):
        name = upstream.host.partition(".")[0]
        entry = next((entry for entry in found if entry.baseline.name == name), found[0])
        chosen.append(replace(entry))
        if len({each.baseline for each in found}) > 1:
            names = ", ".join(sorted(str(each.baseline) for each in found))
            notes.append(f"{upstream}: leads to {names}; a router takes it for {entry.baseline}")
    return Joined(tuple(chosen), tuple(notes))
