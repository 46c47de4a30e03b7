"""The documents of sandboxes and route groups: strict reading, every fault named by its path.

`read_object(document)` gives the object or raises with all that is wrong; `object.document()` is its inverse. What is
checked here needs nothing but the document. Whether a key is free, a target allowed, a workload known is `compile`'s
part, since it changes with time and must not make a stored object unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.errors import ObjectError
from controller.grammar import (
    ENV_NAME_RULE,
    GLOB_RULE,
    IMAGE_RULE,
    LABEL_KEY_RULE,
    LOCAL_TARGET_RULE,
    SHORT_RULE,
    is_env_name,
    is_glob,
    is_image,
    is_label_key,
    is_local_target,
    is_name,
    is_short,
)
from controller.objects import (
    API_VERSION,
    KINDS,
    AllMatch,
    AnyMatch,
    Customizations,
    EnvChange,
    Fork,
    ImageChange,
    LabelMatch,
    Local,
    LocalMapping,
    Match,
    Object,
    Patch,
    Ref,
    RouteGroup,
    RouteGroupSpec,
    Sandbox,
    SandboxSpec,
    target_endpoint,
)
from controller.parts import DEFAULT_NAMESPACE, PartsReader, present
from controller.reader import MISSING, TEXT_RULE, Fields, is_text, named
from proxy.routing.faults import excerpt
from proxy.routing.names import Workload
from proxy.routing.wire import APP_PROTOCOLS

__all__ = ["ObjectError", "change_faults", "read_object", "read_ref"]

_OBJECT: Final = named("apiVersion kind metadata spec", "status")
_SANDBOX: Final = named("", "routingKey forks local endpoints ttl grants")
_ROUTE_GROUP: Final = named("match", "routingKey namespaces endpoints ttl")
_FORK: Final = named("forkOf", "customizations")
_CUSTOMIZATIONS: Final = named("", "images env patch")
_IMAGE: Final = named("container image")
_ENV: Final = named("container name", "operation value valueFrom")
_PATCH: Final = named("type value")
_LOCAL: Final = named("from mappings")
_LOCAL_MAPPING: Final = named("port toLocal", "appProtocol")
_GRANT: Final = named("namespace")
_MATCH: Final = named("", "any all label")
_LABEL: Final = named("key value")

# Kubernetes' EnvVarSource, without what needs no fork.
_ENV_SOURCES: Final[Mapping[str, Fields]] = {
    "configMapKeyRef": named("name key", "optional"),
    "fieldRef": named("fieldPath", "apiVersion"),
    "resourceFieldRef": named("resource", "containerName divisor"),
    "secretKeyRef": named("name key", "optional"),
}

_MAX_MATCH_DEPTH: Final = 8


def read_object(document: object) -> Object:
    """The sandbox or route group that the document describes.

    Raises: ObjectError with every fault.
    """
    reader = _ObjectReader()
    object_ = reader.whole_object(document)
    if object_ is None or reader.faults:
        raise ObjectError(reader.faults)
    return object_


def read_ref(document: object) -> Ref | None:
    """Which object a document means, as far as it says so, whatever else is wrong with it."""
    if not isinstance(document, dict) or document.get("kind") not in KINDS:
        return None
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace", DEFAULT_NAMESPACE)
    if isinstance(name, str) and isinstance(namespace, str) and is_name(name) and is_name(namespace):
        return Ref(document["kind"], namespace, name)
    return None


def change_faults(old: Object, new: Object) -> list[str]:
    """What an update of a stored object may not do.

    Age decides who has a key, so an old object must not take a younger one's by being changed (CHECKLIST M7).
    """
    before, after = old.spec.routing_key, new.spec.routing_key
    if before is not None and after is not None and before != after:
        return [f"spec.routingKey: must stay {excerpt(before)}, is {excerpt(after)}: make another object instead"]
    return []


class _ObjectReader(PartsReader):
    """The schema, outermost first."""

    __slots__ = ()

    def whole_object(self, value: object) -> Object | None:
        found = self.fields(value, "", _OBJECT)
        if found is None:
            return None
        self.choice(found.get("apiVersion", MISSING), "apiVersion", (API_VERSION,))
        kind = self.choice(found.get("kind", MISSING), "kind", KINDS)
        metadata = self.metadata(found.get("metadata", MISSING))
        status = self.status(found.get("status", MISSING))
        spec = found.get("spec", MISSING)
        if kind == "Sandbox":
            sandbox = self._sandbox(spec)
            if metadata is not None and sandbox is not None:
                return Sandbox(metadata, sandbox, status)
        elif kind == "RouteGroup":
            group = self._route_group(spec)
            if metadata is not None and group is not None:
                return RouteGroup(metadata, group, status)
        return None

    # --- Sandbox ---

    def _sandbox(self, value: object) -> SandboxSpec | None:
        found = self.fields(value, "spec", _SANDBOX)
        if found is None:
            return None
        key = self.key(found)
        forks = self.entries(found, "forks", "spec", self._fork)
        local = self.entries(found, "local", "spec", self._local)
        if not found.get("forks") and not found.get("local"):
            self.fault("spec", "must change a workload: forks and local are both empty")
        self._unique_workloads(forks, local)
        endpoints = self.endpoints(found, key)
        ttl = self.ttl(found.get("ttl", MISSING))
        grants = self.entries(found, "grants", "spec", self._grant)
        self.unique(grants, "spec.grants", excerpt)
        return SandboxSpec(key, present(forks), present(local), endpoints, ttl, present(grants))

    def _unique_workloads(self, forks: list[Fork | None], local: list[Local | None]) -> None:
        places: dict[Workload, str] = {}
        for field, entries in (("forks", forks), ("local", local)):
            for index, entry in enumerate(entries):
                if entry is None:
                    continue
                path = f"spec.{field}[{index}]"
                first = places.setdefault(entry.workload, path)
                if first != path:
                    place = "forkOf" if field == "forks" else "from"
                    self.fault(f"{path}.{place}", f"{entry.workload} is changed by {first} already")

    def _fork(self, value: object, path: str) -> Fork | None:
        found = self.fields(value, path, _FORK)
        if found is None:
            return None
        workload = self.workload(found.get("forkOf", MISSING), f"{path}.forkOf")
        changes = Customizations()
        if "customizations" in found:
            changes = self._customizations(found["customizations"], f"{path}.customizations")
        return Fork(workload, changes) if workload is not None else None

    def _customizations(self, value: object, path: str) -> Customizations:
        found = self.fields(value, path, _CUSTOMIZATIONS)
        if found is None:
            return Customizations()
        images = self.entries(found, "images", path, self._image)
        self.unique([image.container if image is not None else None for image in images], f"{path}.images", excerpt)
        env = self.entries(found, "env", path, self._env)
        names = [(change.container, change.name) if change is not None else None for change in env]
        self.unique(names, f"{path}.env", lambda name: f"{excerpt(name[1])} of container {excerpt(name[0])}")
        patch = self._patch(found["patch"], f"{path}.patch") if "patch" in found else None
        return Customizations(present(images), present(env), patch)

    def _image(self, value: object, path: str) -> ImageChange | None:
        found = self.fields(value, path, _IMAGE)
        if found is None:
            return None
        container = self.name(found.get("container", MISSING), f"{path}.container")
        image = self.text(found.get("image", MISSING), f"{path}.image", is_image, IMAGE_RULE)
        return ImageChange(container, image) if container is not None and image is not None else None

    def _env(self, value: object, path: str) -> EnvChange | None:
        found = self.fields(value, path, _ENV)
        if found is None:
            return None
        container = self.name(found.get("container", MISSING), f"{path}.container")
        name = self.text(found.get("name", MISSING), f"{path}.name", is_env_name, ENV_NAME_RULE)
        operation = self.choice(found.get("operation", "upsert"), f"{path}.operation", ("upsert", "delete"))
        text = self.text(found.get("value", MISSING), f"{path}.value", is_text, TEXT_RULE)
        source = self._env_source(found["valueFrom"], f"{path}.valueFrom") if "valueFrom" in found else None
        given = [field for field in ("value", "valueFrom") if field in found]
        if operation == "upsert" and len(given) != 1:
            self.fault(path, f"an upsert must have either value or valueFrom, has {'both' if given else 'neither'}")
        if operation == "delete" and given:
            self.fault(f"{path}.{given[0]}", "a delete has no value")
        if container is None or name is None or operation is None:
            return None
        return EnvChange(container, name, operation, text, source)

    def _env_source(self, value: object, path: str) -> Mapping[str, object] | None:
        found = self.fields(value, path, named("", " ".join(_ENV_SOURCES)))
        if found is None:
            return None
        if len(found) != 1:
            self.fault(path, f"must have one of {', '.join(_ENV_SOURCES)}")
        for name, source in found.items():
            parts = self.fields(source, f"{path}.{name}", _ENV_SOURCES[name]) if name in _ENV_SOURCES else None
            for field, part in (parts or {}).items():
                if field == "optional":
                    if not isinstance(part, bool):
                        self.wrong(f"{path}.{name}.optional", "must be true or false", part)
                elif field in _ENV_SOURCES[name].all:
                    self.text(part, f"{path}.{name}.{field}", is_short, SHORT_RULE)
        return found

    def _patch(self, value: object, path: str) -> Patch | None:
        found = self.fields(value, path, _PATCH)
        if found is None:
            return None
        type_ = self.choice(found.get("type", MISSING), f"{path}.type", ("strategic", "merge", "json"))
        patch = found.get("value", MISSING)
        if patch is MISSING:
            return None
        if not patch or not isinstance(patch, str | (list if type_ == "json" else dict)):
            shape = "a list" if type_ == "json" else "an object"
            self.wrong(f"{path}.value", f"must be {shape}, or its text", patch)
            return None
        return Patch(type_, patch) if self.plain(patch, f"{path}.value") and type_ is not None else None

    def _local(self, value: object, path: str) -> Local | None:
        found = self.fields(value, path, _LOCAL)
        if found is None:
            return None
        workload = self.workload(found.get("from", MISSING), f"{path}.from")
        mappings = self.entries(found, "mappings", path, self._local_mapping, at_least=1)
        ports = [mapping.port if mapping is not None else None for mapping in mappings]
        self.unique(ports, f"{path}.mappings", lambda port: f"port {port}", ".port")
        return Local(workload, present(mappings)) if workload is not None else None

    def _local_mapping(self, value: object, path: str) -> LocalMapping | None:
        found = self.fields(value, path, _LOCAL_MAPPING)
        if found is None:
            return None
        port = self.whole(found.get("port", MISSING), f"{path}.port", 1, 65535)
        target = self.text(found.get("toLocal", MISSING), f"{path}.toLocal", is_local_target, LOCAL_TARGET_RULE)
        protocol = self.choice(found.get("appProtocol", MISSING), f"{path}.appProtocol", APP_PROTOCOLS)
        if port is None or target is None:
            return None
        return LocalMapping(port, target_endpoint(target), protocol)

    def _grant(self, value: object, path: str) -> str | None:
        found = self.fields(value, path, _GRANT)
        return self.name(found.get("namespace", MISSING), f"{path}.namespace") if found is not None else None

    # --- RouteGroup ---

    def _route_group(self, value: object) -> RouteGroupSpec | None:
        found = self.fields(value, "spec", _ROUTE_GROUP)
        if found is None:
            return None
        key = self.key(found)
        match = self._match(found.get("match", MISSING), "spec.match", 0)
        namespaces = self.entries(found, "namespaces", "spec", self.name)
        self.unique(namespaces, "spec.namespaces", excerpt)
        endpoints = self.endpoints(found, key)
        ttl = self.ttl(found.get("ttl", MISSING))
        return RouteGroupSpec(match, key, present(namespaces), endpoints, ttl) if match is not None else None

    def _match(self, value: object, path: str, depth: int) -> Match | None:
        found = self.fields(value, path, _MATCH)
        if found is None:
            return None
        if len(found) != 1:
            self.fault(path, f"must have one of any, all, label, has {len(found)}")
            return None
        if depth > _MAX_MATCH_DEPTH:
            self.fault(path, f"must be nested at most {_MAX_MATCH_DEPTH} deep")
            return None
        if "label" in found:
            return self._label_match(found["label"], f"{path}.label")

        (field,) = found
        if field not in _MATCH.all:
            return None
        parts = self.entries(found, field, path, lambda part, place: self._match(part, place, depth + 1), at_least=1)
        if None in parts:
            return None
        return AnyMatch(present(parts)) if field == "any" else AllMatch(present(parts))

    def _label_match(self, value: object, path: str) -> LabelMatch | None:
        found = self.fields(value, path, _LABEL)
        if found is None:
            return None
        key = self.text(found.get("key", MISSING), f"{path}.key", is_label_key, LABEL_KEY_RULE)
        glob = self.text(found.get("value", MISSING), f"{path}.value", is_glob, GLOB_RULE)
        return LabelMatch(key, glob) if key is not None and glob is not None else None
