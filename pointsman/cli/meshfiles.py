"""Files with sandboxes and a mesh's manifests: read whole, every fault named by file, document and path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from controller.allow import AllowList
from controller.compile import Settings, compile_objects
from controller.documents import parse_piece, pieces
from controller.errors import ObjectError
from controller.gatewayapi.objects import KINDS as GATEWAY_KINDS
from controller.istio.findings import MeshFinding
from controller.istio.manifests import Reading
from controller.istio.mesh import Mesh
from controller.istio.virtualservices import KIND as VIRTUAL_SERVICE
from controller.objects import KINDS, Object, Ref
from controller.schema import read_object
from pointsman.cli.exits import INVALID, Failure
from proxy.routing.names import Workload, is_dns_name
from proxy.routing.table import KIND as TABLE
from proxy.routing.table import Route, Service
from proxy.routing.wire import TableError, read_document

STDIN: Final = "-"
_ENDINGS: Final = (".yaml", ".yml", ".json")
_OF_GATEWAYS: Final = (*GATEWAY_KINDS, "Service", "Namespace")


@dataclass(frozen=True, slots=True)
class MeshFiles:
    """The mesh and the routes in it; `findings` and `notes` on the objects and the manifests themselves.

    `gateway`: the documents that the Gateway API's routes are made from. `ignored`: how many there were of kinds that
    say nothing to VirtualServices.
    """

    mesh: Mesh
    routes: tuple[Route, ...]
    findings: tuple[MeshFinding, ...]
    notes: tuple[str, ...]
    gateway: tuple[Mapping[str, object], ...]
    ignored: Mapping[str, int]

    def ignored_beside(self, *kinds: str) -> list[str]:
        """Notes on what is passed over by whoever reads routes of these kinds."""
        counts = {**self.ignored, VIRTUAL_SERVICE: len(self.mesh.virtual_services)}
        return [
            f"{count} of kind {kind} ignored" for kind, count in sorted(counts.items()) if count and kind not in kinds
        ]


def read_mesh_files(names: Sequence[str], namespace: str, now: datetime) -> MeshFiles:
    """What all files and folders hold together.

    Raises: Failure with every fault.
    """
    reading = _Files(namespace)
    for name in names:
        reading.read(name)
    if reading.faults or reading.manifests.faults:
        raise Failure(INVALID, faults=(*reading.faults, *reading.manifests.faults))
    return reading.joined(now)


class _AnyTarget(AllowList):
    """Whoever renders files decides what is allowed. What is never a target is none here either."""

    def __init__(self) -> None:
        super().__init__(["0.0.0.0/0", "::/0"])

    def refusal(self, host: str) -> str | None:
        return None if is_dns_name(host) else super().refusal(host)


class _Files:
    def __init__(self, namespace: str) -> None:
        self.faults: Final[list[str]] = []
        self.manifests: Final = Reading(namespace)
        self._namespace: Final = namespace
        self._objects: Final[dict[Ref, Object]] = {}
        self._places: Final[dict[object, str]] = {}
        self._routes: Final[list[Route]] = []
        self._services: Final[list[Service]] = []
        self._gateway: Final[list[Mapping[str, object]]] = []

    # --- read --------------------------------------------------------------------------------------------------------

    def read(self, name: str) -> None:
        paths = [name]
        if name != STDIN and os.path.isdir(name):
            try:
                paths = sorted(
                    str(path) for path in Path(name).iterdir() if path.suffix in _ENDINGS and path.name[0] != "."
                )
            except OSError as error:
                self.faults.append(f"{name}: can't be read: {error.strerror}")
                return
            if not paths:
                self.faults.append(f"{name}: holds no {', '.join(_ENDINGS)} file")
        for path in paths:
            shown = "standard input" if path == STDIN else path
            try:
                raw = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
            except OSError as error:
                self.faults.append(f"{shown}: can't be read: {error.strerror}")
                continue
            for place, document in self._documents(raw, shown):
                self._add(document, place)

    def _documents(self, raw: bytes, name: str) -> Iterator[tuple[str, object]]:
        found = pieces(raw)
        for number, piece in enumerate(found, 1):
            place = name if len(found) == 1 else f"{name}: document {number} (line {piece.line})"
            try:
                document = parse_piece(raw, piece)
            except ObjectError as error:
                self.faults.extend(f"{name}: {fault}" for fault in error.faults)
                continue
            if isinstance(document, dict) and str(document.get("kind")).endswith("List"):
                items = document.get("items")
                if isinstance(items, list):
                    yield from ((f"{place}: items[{index}]", item) for index, item in enumerate(items))
                    continue
            if document is not None:
                yield place, document

    def _add(self, document: object, place: str) -> None:
        kind = document.get("kind") if isinstance(document, dict) else None
        try:
            if kind in KINDS and isinstance(document, dict):
                self._add_object(document, place)
            elif kind == TABLE:
                self._add_table(document, place)
            else:
                self.manifests.add(document, place)
                if isinstance(document, dict) and kind in _OF_GATEWAYS:
                    self._add_of_gateways(document, place)
        except (ObjectError, TableError) as error:
            self.faults.extend(f"{place}: {fault}" for fault in error.faults)

    def _add_object(self, document: dict[str, object], place: str) -> None:
        metadata = document.get("metadata")
        if isinstance(metadata, dict):
            metadata.setdefault("namespace", self._namespace)
        object_ = read_object(document)
        if object_.spec.routing_key is None:
            raise ObjectError(
                ["spec.routingKey: missing: routes in a mesh need one that stays (a controller makes it)"]
            )
        self._is_new(object_.ref, str(object_.ref), place)
        self._objects.setdefault(object_.ref, object_)

    def _add_of_gateways(self, document: dict[str, object], place: str) -> None:
        """As it is, with its namespace. Services and Namespaces that stand twice are found elsewhere."""
        metadata = document.get("metadata")
        if isinstance(metadata, dict):
            metadata = {"namespace": self._namespace, **metadata}
            kind, namespace, name = document["kind"], metadata["namespace"], metadata.get("name")
            if kind in GATEWAY_KINDS:
                self._is_new((kind, namespace, name), f"{kind} {namespace}/{name}", place)
            document = {**document, "metadata": metadata}
        self._gateway.append(document)

    def _add_table(self, document: object, place: str) -> None:
        table = read_document(document)
        for route in table.routes:
            what = f"a route for {route.baseline} and {route.routing_key}"
            if self._is_new((route.baseline, route.routing_key), what, place):
                self._routes.append(route)
        self._services.extend(table.services)

    def _is_new(self, what: object, shown: str, place: str) -> bool:
        first = self._places.setdefault(what, place)
        if first != place:
            self.faults.append(f"{place}: {shown} stands in {first} already")
        return first == place

    # --- joined ------------------------------------------------------------------------------------------------------

    def joined(self, now: datetime) -> MeshFiles:
        ports: dict[Workload, frozenset[int]] = {pods.workload: pods.ports for pods in self.manifests.pods}
        compilation = compile_objects(self._objects.values(), None, now, Settings(_AnyTarget()), ports)
        of_tables = {(route.baseline, route.routing_key) for route in self._routes}
        faults = [
            f"sandbox {route.sandbox}: a RoutingTable has a route for {route.baseline} and {route.routing_key} already"
            for route in compilation.table.routes
            if (route.baseline, route.routing_key) in of_tables
        ]
        if faults:
            raise Failure(INVALID, faults=tuple(faults))
        routes = (*self._routes, *compilation.table.routes)
        findings: list[MeshFinding] = []
        notes: list[str] = []
        for ref, object_ in sorted(self._objects.items()):
            status = compilation.statuses.get(ref, object_.status)
            for condition in status.conditions:
                if condition.status == "True":
                    continue
                if condition.type in ("Accepted", "TargetsAllowed", "Unambiguous"):
                    key = object_.spec.routing_key
                    findings.append(MeshFinding(key, ref.name, condition.reason, str(ref), condition.message))
                elif condition.type in ("ForksReady", "Matched"):
                    notes.append(f"{ref}: {condition.message}")
        mesh, assumed = self.manifests.mesh((route.baseline for route in routes), self._services)
        all_notes = (*notes, *assumed)
        return MeshFiles(mesh, routes, tuple(findings), all_notes, tuple(self._gateway), self.manifests.ignored)
