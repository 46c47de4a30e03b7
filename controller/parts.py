"""What sandboxes and route groups have in common, read from documents: metadata, endpoints, times, status."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Final, TypeVar

from controller.grammar import (
    ENDPOINT_NAME_RULE,
    LABEL_KEY_RULE,
    LABEL_VALUE_RULE,
    NAME_RULE,
    SHORT_RULE,
    TARGET_RULE,
    TOKEN_RULE,
    is_endpoint_name,
    is_host_part,
    is_key,
    is_label_key,
    is_label_value,
    is_name,
    is_short,
    is_target,
    is_token,
)
from controller.objects import KEY_LENGTH, Condition, EndpointStatus, Metadata, PreviewEndpoint, Status, Ttl
from controller.reader import MISSING, TEXT_RULE, Reader, is_text, join, named
from controller.times import DURATION_RULE, parse_duration
from proxy.routing.faults import excerpt
from proxy.routing.names import ROUTING_KEY_RULE, WORKLOAD_PART_RULE, Workload, is_workload_part

T = TypeVar("T")

DEFAULT_NAMESPACE: Final = "default"

_METADATA: Final = named(
    "name",
    "namespace labels annotations uid resourceVersion generation creationTimestamp deletionTimestamp finalizers",
)
_WORKLOAD: Final = named("kind namespace name")
_ENDPOINT: Final = named("name target")
_TTL: Final = named("duration", "from")
_STATUS: Final = named("", "routingKey observedGeneration updatedAt expiresAt endpoints sandboxes conditions")
_ENDPOINT_STATUS: Final = named("name target", "url")
_CONDITION: Final = named("type status reason message lastTransitionTime", "observedGeneration")

_MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4
_MAX_GENERATION: Final = (1 << 63) - 1


class PartsReader(Reader):
    """Reads the parts, each where it stands in the document."""

    __slots__ = ()

    def metadata(self, value: object) -> Metadata | None:
        found = self.fields(value, "metadata", _METADATA)
        if found is None:
            return None
        name = self.name(found.get("name", MISSING), "metadata.name")
        namespace = self.name(found.get("namespace", DEFAULT_NAMESPACE), "metadata.namespace")
        labels = self.text_map(
            found.get("labels", MISSING),
            "metadata.labels",
            is_label_key,
            LABEL_KEY_RULE,
            is_label_value,
            LABEL_VALUE_RULE,
        )
        annotations = self.text_map(
            found.get("annotations", MISSING), "metadata.annotations", is_label_key, LABEL_KEY_RULE, is_text, TEXT_RULE
        )
        uid = self.text(found.get("uid", MISSING), "metadata.uid", is_token, TOKEN_RULE)
        version = self.text(found.get("resourceVersion", MISSING), "metadata.resourceVersion", is_token, TOKEN_RULE)
        generation = self.whole(found.get("generation", MISSING), "metadata.generation", 0, _MAX_GENERATION)
        creation = self.time(found.get("creationTimestamp", MISSING), "metadata.creationTimestamp")
        deletion = self.time(found.get("deletionTimestamp", MISSING), "metadata.deletionTimestamp")
        finalizers = self.entries(found, "finalizers", "metadata", self._finalizer)
        if name is None or namespace is None:
            return None
        return Metadata(
            name, namespace, labels, annotations, uid, version, generation, creation, deletion, present(finalizers)
        )

    def _finalizer(self, value: object, path: str) -> str | None:
        return self.text(value, path, is_label_key, LABEL_KEY_RULE)

    # --- spec ---

    def key(self, spec: Mapping[str, object]) -> str | None:
        return self.text(spec.get("routingKey", MISSING), "spec.routingKey", is_key, ROUTING_KEY_RULE)

    def endpoints(self, spec: Mapping[str, object], key: str | None) -> tuple[PreviewEndpoint, ...]:
        endpoints = self.entries(spec, "endpoints", "spec", self._endpoint)
        names = [endpoint.name if endpoint is not None else None for endpoint in endpoints]
        self.unique(names, "spec.endpoints", excerpt, ".name")
        if endpoints and key is not None and not is_host_part(key):
            self.wrong("spec.routingKey", "must be of a-z 0-9 -, since it stands in the host names of endpoints", key)
        longest = _MAX_LABEL - len("--") - (len(key) if key is not None else KEY_LENGTH)
        for index, name in enumerate(names):
            if name is not None and len(name) > longest:
                rule = f"must be at most {longest} characters, since <name>--<routingKey> is one label of a host name"
                self.wrong(f"spec.endpoints[{index}].name", rule, name)
        return present(endpoints)

    def _endpoint(self, value: object, path: str) -> PreviewEndpoint | None:
        found = self.fields(value, path, _ENDPOINT)
        if found is None:
            return None
        name = self.text(found.get("name", MISSING), f"{path}.name", is_endpoint_name, ENDPOINT_NAME_RULE)
        target = self.text(found.get("target", MISSING), f"{path}.target", is_target, TARGET_RULE)
        return PreviewEndpoint(name, target) if name is not None and target is not None else None

    def ttl(self, value: object) -> Ttl | None:
        found = self.fields(value, "spec.ttl", _TTL)
        if found is None:
            return None
        duration = self.text(
            found.get("duration", MISSING),
            "spec.ttl.duration",
            lambda text: parse_duration(text) is not None,
            DURATION_RULE,
        )
        start = self.choice(found.get("from", "updated"), "spec.ttl.from", ("updated", "created"))
        return Ttl(duration, start) if duration is not None and start is not None else None

    def workload(self, value: object, path: str) -> Workload | None:
        found = self.fields(value, path, _WORKLOAD)
        if found is None:
            return None
        namespace, kind, name = (
            self.text(found.get(field, MISSING), f"{path}.{field}", is_workload_part, WORKLOAD_PART_RULE)
            for field in Workload._fields
        )
        if namespace is None or kind is None or name is None:
            return None
        return Workload(intern(namespace), intern(kind), intern(name))  # many sandboxes, few workloads

    def name(self, value: object, path: str) -> str | None:
        return self.text(value, path, is_name, NAME_RULE)

    # --- status ---

    def status(self, value: object) -> Status:
        found = self.fields(value, "status", _STATUS)
        if found is None:
            return Status()
        return Status(
            self.text(found.get("routingKey", MISSING), "status.routingKey", is_key, ROUTING_KEY_RULE),
            self._generation(found, "status"),
            self.time(found.get("updatedAt", MISSING), "status.updatedAt"),
            self.time(found.get("expiresAt", MISSING), "status.expiresAt"),
            present(self.entries(found, "endpoints", "status", self._endpoint_status)),
            present(self.entries(found, "sandboxes", "status", self._short)),
            present(self.entries(found, "conditions", "status", self._condition)),
        )

    def _generation(self, found: Mapping[str, object], path: str) -> int | None:
        name = "observedGeneration"
        return self.whole(found.get(name, MISSING), f"{path}.{name}", 0, _MAX_GENERATION)

    def _short(self, value: object, path: str) -> str | None:
        return self.text(value, path, is_short, SHORT_RULE)

    def _endpoint_status(self, value: object, path: str) -> EndpointStatus | None:
        found = self.fields(value, path, _ENDPOINT_STATUS)
        if found is None:
            return None
        name, target, url = (
            self._short(found.get(field, MISSING), join(path, field)) for field in ("name", "target", "url")
        )
        return EndpointStatus(name, target, url) if name is not None and target is not None else None

    def _condition(self, value: object, path: str) -> Condition | None:
        found = self.fields(value, path, _CONDITION)
        if found is None:
            return None
        type_, reason = (self._short(found.get(field, MISSING), join(path, field)) for field in ("type", "reason"))
        message = self.text(found.get("message", MISSING), f"{path}.message", is_text, TEXT_RULE)
        status = self.choice(found.get("status", MISSING), f"{path}.status", ("True", "False", "Unknown"))
        time = self.time(found.get("lastTransitionTime", MISSING), f"{path}.lastTransitionTime")
        generation = self._generation(found, path)
        if type_ is None or reason is None or message is None or status is None or time is None:
            return None
        return Condition(type_, status, reason, message, time, generation)


def present(values: list[T | None]) -> tuple[T, ...]:
    return tuple(value for value in values if value is not None)
