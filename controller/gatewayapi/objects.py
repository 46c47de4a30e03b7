"""What stands in the cluster, as far as routes need to know. Documents are looked at and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

from controller.errors import ObjectError
from controller.istio.names import MANAGED_BY, MANAGER, PREFIX
from controller.times import parse_timestamp

GROUP: Final = "gateway.networking.k8s.io"
API_VERSION: Final = f"{GROUP}/v1"
HTTP: Final = "HTTPRoute"
GRPC: Final = "GRPCRoute"
KINDS: Final = (HTTP, GRPC)

OPT_OUT: Final = "pointsman.dev/gateway-api"  # "off", on a Service or a route: nothing of ours there

Json = Mapping[str, object]


class ServiceName(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Parent(NamedTuple):
    """A Service that a route is attached to; no port: all its ports. `section`: a port by its name."""

    service: ServiceName
    port: int | None
    section: str | None = None


class Backend(NamedTuple):
    """A Service's port that a rule leads to."""

    service: ServiceName
    port: int


@dataclass(frozen=True, slots=True, eq=False)
class OwnedRoute:
    """An HTTPRoute or GRPCRoute. `parents`: Services alone; what is attached to gateways is not our business."""

    document: Json
    kind: str
    namespace: str
    name: str
    created: float  # seconds; one that is not made yet is the youngest
    parents: tuple[Parent, ...]
    rules: tuple[Json, ...]
    is_ours: bool
    is_off: bool

    @property
    def age(self) -> tuple[float, str]:
        """What decides between routes whose matches are equal otherwise: the oldest, then the first by name."""
        return self.created, f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class KnownService:
    """`protocols`: of the ports that say one, by `appProtocol` or by a name as Istio reads it."""

    name: ServiceName
    has_address: bool  # neither headless nor another name
    protocols: Mapping[int, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def is_off(self) -> bool:
        return self.annotations.get(OPT_OUT) == "off"


@dataclass(frozen=True, slots=True)
class Objects:
    routes: tuple[OwnedRoute, ...]
    services: Mapping[ServiceName, KnownService]
    namespaces: Mapping[str, Mapping[str, str]]  # with their labels


def read_objects(documents: Iterable[Json]) -> Objects:
    """Of several kinds, those that matter here.

    Raises: ObjectError if one of them has not the shape that its kind must have.
    """
    faults: list[str] = []
    routes: list[OwnedRoute] = []
    services: dict[ServiceName, KnownService] = {}
    namespaces: dict[str, Mapping[str, str]] = {}
    for document in map(_pruned, documents):
        kind, version = document.get("kind"), str(document.get("apiVersion"))
        try:
            if kind in KINDS and version.startswith(f"{GROUP}/"):
                routes.append(_route(document))
            elif kind == "Service" and version == "v1":
                service = _service(document)
                services[service.name] = service
            elif kind == "Namespace" and version == "v1":
                namespaces[_name(document)] = _texts(_metadata(document), "labels")
        except ValueError as error:
            faults.append(f"{kind} {_shown_name(document)}: {error}")
    if faults:
        raise ObjectError(faults)
    return Objects(tuple(routes), services, namespaces)


def backend_of(reference: Json, namespace: str) -> Backend | None:
    """The Service's port that a backendRef of a route in this namespace means; None: something else."""
    if reference.get("group", "") != "" or reference.get("kind", "Service") != "Service":
        return None
    port = reference.get("port")
    if not isinstance(port, int):
        return None
    return Backend(ServiceName(str(reference.get("namespace", namespace)), str(reference["name"])), port)


def references_of(rule: Json) -> list[Json]:
    """The rule's backendRefs, but those that get nothing."""
    return [reference for reference in maps(rule, "backendRefs") if reference.get("weight") != 0]


def reference_to(backend: Backend, namespace: str) -> Json:
    """A backendRef of a route in this namespace, with the API's defaults: as it comes back from a server."""
    reference: dict[str, object] = {
        "group": "",
        "kind": "Service",
        "name": backend.service.name,
        "port": backend.port,
        "weight": 1,
    }
    if backend.service.namespace != namespace:
        reference["namespace"] = backend.service.namespace
    return reference


def maps(owner: Json, field: str) -> Sequence[Json]:
    """A list of objects; a missing one is empty.

    Raises: ValueError
    """
    value = owner.get(field)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"{field} must be a list of objects")
    return value


def _pruned(value: Any) -> Any:
    """Without what is null: a server drops it, and it stands for what is not said."""
    if isinstance(value, Mapping):
        return {name: _pruned(each) for name, each in value.items() if each is not None}
    return [_pruned(each) for each in value] if isinstance(value, list) else value


def _route(document: Json) -> OwnedRoute:
    metadata = _metadata(document)
    namespace, name = _namespace(metadata), _name(document)
    spec = document.get("spec")
    if not isinstance(spec, dict):
        raise ValueError("spec must be an object")
    rules = maps(spec, "rules")
    for rule in rules:
        _check_rule(rule)
    created = metadata.get("creationTimestamp")
    moment = parse_timestamp(created) if isinstance(created, str) else None
    return OwnedRoute(
        document=document,
        kind=str(document["kind"]),
        namespace=namespace,
        name=name,
        created=moment.timestamp() if moment is not None else inf,
        parents=tuple(_parents(maps(spec, "parentRefs"), namespace)),
        rules=tuple(rules),
        is_ours=name.startswith(PREFIX) and _texts(metadata, "labels").get(MANAGED_BY) == MANAGER,
        is_off=_texts(metadata, "annotations").get(OPT_OUT) == "off",
    )


def _parents(references: Sequence[Json], namespace: str) -> Iterable[Parent]:
    for reference in references:
        # An absent group is the Gateway API's own, which has no Services: for the core group it must be "".
        if reference.get("group", GROUP) == "" and reference.get("kind") == "Service":
            service = ServiceName(str(reference.get("namespace", namespace)), str(reference.get("name")))
            port, section = reference.get("port"), reference.get("sectionName")
            yield Parent(
                service, port if isinstance(port, int) else None, section if isinstance(section, str) else None
            )


def _check_rule(rule: Json) -> None:
    for match in maps(rule, "matches"):
        for header in maps(match, "headers"):
            if not isinstance(header.get("name"), str):
                raise ValueError("each of headers must have a name")
        maps(match, "queryParams")
        for field in ("path", "method"):
            if not isinstance(match.get(field, {}), dict | str):
                raise ValueError(f"{field} must be an object")
    maps(rule, "filters")
    for reference in maps(rule, "backendRefs"):
        if not isinstance(reference.get("name"), str):
            raise ValueError("each of backendRefs must have a name")
        maps(reference, "filters")


def _service(document: Json) -> KnownService:
    metadata = _metadata(document)
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    protocols = {}
    for port in maps(spec, "ports"):
        number, protocol = port.get("port"), _protocol(port)
        if isinstance(number, int) and protocol is not None:
            protocols[number] = protocol
    return KnownService(
        ServiceName(_namespace(metadata), _name(document)),
        spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName",
        protocols,
        _texts(metadata, "labels"),
        _texts(metadata, "annotations"),
    )


def _protocol(port: Json) -> str | None:
    """As Istio selects it: appProtocol, else the port's name up to the first "-" (istio.io, "Protocol Selection")."""
    declared = port.get("appProtocol")
    if isinstance(declared, str):
        return declared
    name = port.get("name")
    if not isinstance(name, str):
        return None
    return "grpc-web" if name.startswith("grpc-web") else name.partition("-")[0]


def _metadata(document: Json) -> Json:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be an object")
    return metadata


def _name(document: Json) -> str:
    name = _metadata(document).get("name")
    if not isinstance(name, str):
        raise ValueError("metadata.name must be a string")
    return name


def _namespace(metadata: Json) -> str:
    namespace = metadata.get("namespace", "default")
    if not isinstance(namespace, str):
        raise ValueError("metadata.namespace must be a string")
    return namespace


def _texts(owner: Json, field: str) -> Mapping[str, str]:
    value = owner.get(field)
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _shown_name(document: Json) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "without a name"
