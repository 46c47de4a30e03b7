"""VirtualServices as they are: plain JSON values, of which the few fields that matter here are looked at.

Whatever else an owner wrote stays as it is: documents are never changed, new ones share their parts with old ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.errors import ObjectError
from controller.istio.names import MANAGED_BY, MANAGER, OPT_OUT, PREFIX, covers, full_host, is_our_route
from controller.istio.reading import ManifestReader
from controller.times import parse_timestamp

KIND: Final = "VirtualService"
API_GROUP: Final = "networking.istio.io/"
API_VERSION: Final = "networking.istio.io/v1"
MESH: Final = "mesh"  # the gateway's name that means all sidecars

_KUBECTL: Final = "kubectl.kubernetes.io/"  # last-applied-configuration

Json = Mapping[str, object]
Route = Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class VirtualService:
    """`routes`: the owner's alone. `hosts`: in full; none: it is a delegate, whose routes others include."""

    document: Json
    namespace: str
    name: str
    created: float  # seconds; one that is not made yet is the youngest
    hosts: tuple[str, ...]
    gateways: tuple[str, ...]
    export_to: tuple[str, ...]
    routes: tuple[Route, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def place(self) -> str:
        return f"{KIND} {self.namespace}/{self.name}"

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(PREFIX) and self.labels.get(MANAGED_BY) == MANAGER

    @property
    def is_off(self) -> bool:
        return self.annotations.get(OPT_OUT) == "off"

    @property
    def is_delegate(self) -> bool:
        return not self.hosts

    @property
    def is_for_mesh(self) -> bool:
        return MESH in self.gateways and bool(self.hosts)

    @property
    def is_for_gateways(self) -> bool:
        return any(gateway != MESH for gateway in self.gateways)

    @property
    def is_seen_by_all(self) -> bool:
        return not self.export_to or "*" in self.export_to

    @property
    def age(self) -> tuple[float, str, str]:
        """As istiod orders them: configCompareByCreationTime in pilot/pkg/model/config.go."""
        return self.created, self.name, self.namespace

    def pattern_for(self, host: str) -> str | None:
        """The most specific of its hosts that means this one."""
        return max((pattern for pattern in self.hosts if covers(pattern, host)), key=len, default=None)

    def without_ours(self) -> Json:
        """The document as its owner wrote it."""
        return self.document if len(self.routes) == len(_http(self.document)) else self.with_routes(self.routes)

    def is_as(self, wanted: Json) -> bool:
        """Whether it says what is wanted, whatever a server or kubectl wrote beside."""
        return said(self.document) == said(wanted)

    def with_routes(self, routes: Sequence[Route]) -> Json:
        spec = self.document["spec"]
        assert isinstance(spec, Mapping)
        return {**self.document, "spec": {**spec, "http": list(routes)}}


def said(document: Json) -> tuple[object, ...]:
    """What whoever wrote an object means by it."""
    metadata = document["metadata"]
    assert isinstance(metadata, Mapping)
    annotations = metadata.get("annotations") or {}
    assert isinstance(annotations, Mapping)
    kept = {name: text for name, text in annotations.items() if not str(name).startswith(_KUBECTL)}
    return document["spec"], metadata.get("labels") or {}, kept


def _http(document: Json) -> Sequence[Route]:
    spec = document["spec"]
    assert isinstance(spec, Mapping)
    routes = spec.get("http") or ()
    assert isinstance(routes, Sequence)
    return routes


def is_virtual_service(document: object) -> bool:
    return (
        isinstance(document, dict)
        and document.get("kind") == KIND
        and isinstance(version := document.get("apiVersion"), str)
        and version.startswith(API_GROUP)
    )


def read_virtual_service(document: dict[str, object], namespace: str = "default") -> VirtualService:
    """The VirtualService in the document; `namespace`: of one that names none.

    Raises: ObjectError with every fault of what is looked at here.
    """
    reader = _Reader()
    found = reader.virtual_service(document, namespace)
    if reader.faults:
        raise ObjectError(reader.faults)
    assert found is not None
    return found


class _Reader(ManifestReader):
    __slots__ = ()

    def virtual_service(self, document: Mapping[str, object], namespace: str) -> VirtualService | None:
        metadata = self.part(document.get("metadata"), "metadata")
        name = self.word(metadata.get("name"), "metadata.name")
        namespace = self.word(metadata.get("namespace"), "metadata.namespace", namespace)
        if not isinstance(document.get("spec"), dict):
            self.wrong("spec", "must be an object", document.get("spec"))
            return None
        spec = self.part(document.get("spec"), "spec")
        routes = self.parts(spec.get("http"), "spec.http")
        for path, route in routes:
            self._route(route, path)
        created = metadata.get("creationTimestamp")
        time = parse_timestamp(created) if isinstance(created, str) else None
        return VirtualService(
            document,
            namespace,
            name,
            time.timestamp() if time is not None else float("inf"),
            tuple(full_host(host, namespace) for host in self.words(spec.get("hosts"), "spec.hosts")),
            self.words(spec.get("gateways"), "spec.gateways") or (MESH,),
            self.words(spec.get("exportTo"), "spec.exportTo"),
            tuple(route for _, route in routes if not is_our_route(route)),
            self.text_fields(metadata.get("labels"), "metadata.labels"),
            self.text_fields(metadata.get("annotations"), "metadata.annotations"),
        )

    def _route(self, route: Mapping[str, object], path: str) -> None:
        for block_path, block in self.parts(route.get("match"), f"{path}.match"):
            if (port := block.get("port")) is not None:
                self.port(port, f"{block_path}.port")
            for name in ("headers", "withoutHeaders"):
                self.part(block.get(name), f"{block_path}.{name}")
        for entry_path, entry in self.parts(route.get("route"), f"{path}.route"):
            destination = self.part(entry.get("destination"), f"{entry_path}.destination")
            self.word(destination.get("host"), f"{entry_path}.destination.host")
            number = self.part(destination.get("port"), f"{entry_path}.destination.port").get("number")
            if number is not None:
                self.port(number, f"{entry_path}.destination.port.number")
            self.word(destination.get("subset"), f"{entry_path}.destination.subset", "")
            if (weight := entry.get("weight")) is not None:
                self.whole(weight, f"{entry_path}.weight", 0, (1 << 31) - 1)
        for name in ("rewrite", "headers"):
            self.part(route.get(name), f"{path}.{name}")
        if route.get("delegate") is not None:
            delegate = self.part(route.get("delegate"), f"{path}.delegate")
            self.word(delegate.get("name"), f"{path}.delegate.name")
            self.word(delegate.get("namespace"), f"{path}.delegate.namespace", "")
