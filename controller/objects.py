"""Sandboxes and route groups, as values: one shape in files, REST and Kubernetes (SPEC 8).

Every value knows its document (`document()`); reading documents and naming their faults is `schema`'s part. What a
document left out and has a default is written with it; what has none stays out. Treat dictionaries as read-only.

A store completes what its users leave out: `uid`, `creationTimestamp`, `resourceVersion`, `generation` and, where the
object brings none, a generated `spec.routingKey`. So `None` there means: no store has taken it yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from controller.times import parse_duration, timestamp
from proxy.routing.names import Endpoint, Workload

API_VERSION: Final = "pointsman.dev/v1alpha1"

_KEY_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
KEY_LENGTH: Final = 13  # about 67 bits (SPEC 3)


def generate_key() -> str:
    """A routing key that nobody can guess. Spec: SPEC 3."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(KEY_LENGTH))


class Ref(NamedTuple):
    """Which object. As text `Sandbox hotrod/pr-123`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What both objects have. The fields from `uid` on are the store's."""

    name: str
    namespace: str
    labels: ReadOnly[str, str] = field(default_factory=dict)
    annotations: ReadOnly[str, str] = field(default_factory=dict)
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None  # counts the changes of `spec`
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None  # it is to go: no routes any more, and gone once proxies know
    finalizers: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"name": self.name, "namespace": self.namespace}
        _add(
            document,
            labels=dict(self.labels),
            annotations=dict(self.annotations),
            uid=self.uid,
            resourceVersion=self.resource_version,
            generation=self.generation,
            creationTimestamp=_time(self.creation_timestamp),
            deletionTimestamp=_time(self.deletion_timestamp),
            finalizers=list(self.finalizers),
        )
        return document


# --- forks: made in the cluster ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageChange:
    container: str
    image: str

    def document(self) -> dict[str, object]:
        return {"container": self.container, "image": self.image}


@dataclass(frozen=True, slots=True)
class EnvChange:
    """An upsert has a value or `value_from`, which is Kubernetes' EnvVarSource as it stands; a delete has neither."""

    container: str
    name: str
    operation: str = "upsert"  # or delete
    value: str | None = None
    value_from: ReadOnly[str, object] | None = None

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"container": self.container, "name": self.name, "operation": self.operation}
        if self.value is not None:
            document["value"] = self.value
        if self.value_from is not None:
            document["valueFrom"] = self.value_from
        return document


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch of the workload's whole manifest, as text (YAML or JSON) or as an object."""

    type: str  # strategic, merge, json
    value: object

    def document(self) -> dict[str, object]:
        return {"type": self.type, "value": self.value}


@dataclass(frozen=True, slots=True)
class Customizations:
    images: tuple[ImageChange, ...] = ()
    env: tuple[EnvChange, ...] = ()
    patch: Patch | None = None

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {}
        _add(
            document,
            images=[image.document() for image in self.images],
            env=[change.document() for change in self.env],
            patch=self.patch.document() if self.patch is not None else None,
        )
        return document


@dataclass(frozen=True, slots=True)
class Fork:
    """A changed copy of a workload."""

    fork_of: Workload
    customizations: Customizations = Customizations()

    @property
    def workload(self) -> Workload:
        return self.fork_of

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"forkOf": self.fork_of.document()}
        _add(document, customizations=self.customizations.document())
        return document


# --- local: exists already, anywhere reachable -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalMapping:
    """The workload's port, and what answers in its place."""

    port: int
    to_local: Endpoint
    app_protocol: str | None = None  # as in the routing table: None is the version the request arrived in

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"port": self.port, "toLocal": str(self.to_local)}
        _add(document, appProtocol=self.app_protocol)
        return document


@dataclass(frozen=True, slots=True)
class Local:
    from_: Workload
    mappings: tuple[LocalMapping, ...]

    @property
    def workload(self) -> Workload:
        return self.from_

    def document(self) -> dict[str, object]:
        return {"from": self.from_.document(), "mappings": [mapping.document() for mapping in self.mappings]}


# --- what both have --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreviewEndpoint:
    """A page or API to open by a host of its own (SPEC 4, preview gateway): `target` with the key set."""

    name: str
    target: str  # HOST[:PORT], with or without http:// or grpc://

    @property
    def upstream(self) -> Endpoint:
        return target_endpoint(self.target)

    def document(self) -> dict[str, object]:
        return {"name": self.name, "target": self.target}


def target_endpoint(target: str) -> Endpoint:
    """Where a valid target points; port 80 if it names none."""
    authority = target.partition("://")[2] or target
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, "80"
    return Endpoint(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long the object lives after it was made or last changed (`updated`)."""

    duration: str
    from_: str = "updated"  # or created

    def document(self) -> dict[str, object]:
        return {"duration": self.duration, "from": self.from_}


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """`grants`: the other namespaces whose route groups may take this sandbox in."""

    routing_key: str | None = None
    forks: tuple[Fork, ...] = ()
    local: tuple[Local, ...] = ()
    endpoints: tuple[PreviewEndpoint, ...] = ()
    ttl: Ttl | None = None
    grants: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {}
        _add(
            document,
            routingKey=self.routing_key,
            forks=[fork.document() for fork in self.forks],
            local=[local.document() for local in self.local],
            endpoints=[endpoint.document() for endpoint in self.endpoints],
            ttl=self.ttl.document() if self.ttl is not None else None,
            grants=[{"namespace": namespace} for namespace in self.grants],
        )
        return document


class Match:
    """Which sandboxes: a `LabelMatch`, or an `AnyMatch` or `AllMatch` of others."""

    __slots__ = ()

    def document(self) -> dict[str, object]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class LabelMatch(Match):
    key: str
    value: str  # may hold * and ?

    def document(self) -> dict[str, object]:
        return {"label": {"key": self.key, "value": self.value}}


@dataclass(frozen=True, slots=True)
class AnyMatch(Match):
    parts: tuple[Match, ...]

    def document(self) -> dict[str, object]:
        return {"any": [part.document() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class AllMatch(Match):
    parts: tuple[Match, ...]

    def document(self) -> dict[str, object]:
        return {"all": [part.document() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class RouteGroupSpec:
    """`namespaces`: where to look for sandboxes beside the group's own namespace; theirs must grant it."""

    match: Match
    routing_key: str | None = None
    namespaces: tuple[str, ...] = ()
    endpoints: tuple[PreviewEndpoint, ...] = ()
    ttl: Ttl | None = None

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {}
        _add(
            document,
            routingKey=self.routing_key,
            match=self.match.document(),
            namespaces=list(self.namespaces),
            endpoints=[endpoint.document() for endpoint in self.endpoints],
            ttl=self.ttl.document() if self.ttl is not None else None,
        )
        return document


# --- status: what the controller says --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is so or not, in Kubernetes' own shape (metav1.Condition)."""

    type: str
    status: str  # True, False, Unknown
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int | None = None

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": timestamp(self.last_transition_time),
        }
        _add(document, observedGeneration=self.observed_generation)
        return document


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """An endpoint and, where there is a preview gateway, the URL that opens it."""

    name: str
    target: str
    url: str | None = None

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"name": self.name, "target": self.target}
        _add(document, url=self.url)
        return document


@dataclass(frozen=True, slots=True)
class Status:
    """What became of the object. `sandboxes`: what a route group matches, as `namespace/name`."""

    routing_key: str | None = None  # the key in force; None: another object has it
    observed_generation: int | None = None
    updated_at: datetime | None = None  # when this generation was first seen
    expires_at: datetime | None = None
    endpoints: tuple[EndpointStatus, ...] = ()
    sandboxes: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, type_: str) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == type_), None)

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {}
        _add(
            document,
            routingKey=self.routing_key,
            observedGeneration=self.observed_generation,
            updatedAt=_time(self.updated_at),
            expiresAt=_time(self.expires_at),
            endpoints=[endpoint.document() for endpoint in self.endpoints],
            sandboxes=list(self.sandboxes),
            conditions=[condition.document() for condition in self.conditions],
        )
        return document


# --- the objects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A named set of changed workloads and the key that leads to them."""

    metadata: Metadata
    spec: SandboxSpec
    status: Status = Status()

    @property
    def ref(self) -> Ref:
        return Ref("Sandbox", self.metadata.namespace, self.metadata.name)

    def document(self) -> dict[str, object]:
        return _document(self)


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """Several sandboxes that are tested together, under one key."""

    metadata: Metadata
    spec: RouteGroupSpec
    status: Status = Status()

    @property
    def ref(self) -> Ref:
        return Ref("RouteGroup", self.metadata.namespace, self.metadata.name)

    def document(self) -> dict[str, object]:
        return _document(self)


Object = Sandbox | RouteGroup
PLURALS: Final = {"Sandbox": "sandboxes", "RouteGroup": "routegroups"}  # in paths of the API
KINDS: Final = tuple(PLURALS)


def expiry(object_: Object, updated_at: datetime | None) -> datetime | None:
    """When the object's time is over; None: never, or not known yet. `updated_at` is as in the status."""
    ttl = object_.spec.ttl
    if ttl is None:
        return None
    start = object_.metadata.creation_timestamp if ttl.from_ == "created" else updated_at
    duration = parse_duration(ttl.duration)
    if start is None or duration is None:
        return None
    try:
        return start + duration
    except OverflowError:  # beyond the year 9999
        return None


def _document(object_: Object) -> dict[str, object]:
    document: dict[str, object] = {
        "apiVersion": API_VERSION,
        "kind": object_.ref.kind,
        "metadata": object_.metadata.document(),
        "spec": object_.spec.document(),
    }
    _add(document, status=object_.status.document())
    return document


def _add(document: dict[str, object], **fields: object) -> None:
    """Adds what is there: neither None nor empty."""
    for name, value in fields.items():
        if value is not None and value != [] and value != {}:
            document[name] = value


def _time(time: datetime | None) -> str | None:
    return timestamp(time) if time is not None else None
