"""The routing table: an immutable snapshot of which key leads where.

A table is swapped by one assignment; a request keeps the one it began with. Every value knows its wire form
(`document()`); reading documents and naming their faults is `wire`'s part. `RoutingTable.view()` gives what one
workload's proxy looks its requests up in (`view`), joined with the proxy's own memory of what left its tables (`gone`).

Where a document contradicts itself about time, the present wins: a key that is live is never gone, a route that stands
in the table was never taken away (SPEC 4: "A key that comes back is live again at once").

A table with a `salt` lists live and gone keys by their digests (`digest`), all of them; routes and gone routes always
hold keys.

Cost: about 600 bytes per route beside the document's strings, 100 bytes per other key. Workloads are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.routing.digest import key_digest
from proxy.routing.gone import NOTHING_GONE, GoneMemory
from proxy.routing.names import Endpoint, Workload
from proxy.routing.view import KnownRoute, WorkloadView

API_VERSION: Final = "pointsman.dev/v1alpha1"
KIND: Final = "RoutingTable"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where one port of a workload leads. No destination: the sandbox exists but is not ready."""

    port: int
    app_protocol: str | None  # None: the version the request arrived in; http: HTTP/1.1; http2; grpc
    authority: str  # preserve, or destination: Host/:authority becomes the destination's
    destinations: tuple[Endpoint, ...]

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"port": self.port}
        if self.app_protocol is not None:
            document["appProtocol"] = self.app_protocol
        if self.authority != "preserve":
            document["authority"] = self.authority
        document["destinations"] = [endpoint.document() for endpoint in self.destinations]
        return document


@dataclass(frozen=True, slots=True)
class Route:
    """(baseline, routing key) -> destinations per port, and the sandbox that asked for it."""

    routing_key: str
    sandbox: str
    baseline: Workload
    mappings: tuple[Mapping, ...]

    @property
    def key(self) -> bytes:
        return self.routing_key.encode("ascii")

    def document(self) -> dict[str, object]:
        return {
            "routingKey": self.routing_key,
            "sandbox": self.sandbox,
            "baseline": self.baseline.document(),
            "mappings": [mapping.document() for mapping in self.mappings],
        }


@dataclass(frozen=True, slots=True)
class GoneRoute:
    """The route of a live key for one workload, taken away within the hour."""

    routing_key: str
    baseline: Workload

    def document(self) -> dict[str, object]:
        return {"routingKey": self.routing_key, "baseline": self.baseline.document()}


@dataclass(frozen=True, slots=True)
class Service:
    """Router mode: hosts that mean a workload and its port, and where its baseline is reached."""

    hosts: tuple[str, ...]
    port: int
    baseline: Workload
    upstream: Endpoint
    callers: tuple[str, ...] | None = None  # who may call (`callers`); None: anybody

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "hosts": list(self.hosts),
            "port": self.port,
            "baseline": self.baseline.document(),
            "upstream": self.upstream.document(),
        }
        if self.callers is not None:
            document["callers"] = list(self.callers)
        return document


@dataclass(frozen=True, slots=True)
class Preview:
    """Router mode: `<endpoint>--<key>.<domain>` means `upstream`'s host under that key."""

    domain: str
    endpoint: str
    upstream: Endpoint
    routing_key: str | None = None  # None: every key

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "domain": self.domain,
            "endpoint": self.endpoint,
            "upstream": self.upstream.document(),
        }
        if self.routing_key is not None:
            document["routingKey"] = self.routing_key
        return document


class RoutingTable:
    """All routes of one version, with the keys that live and those that are gone.

    Routes must be unique by (baseline, routing key) and their ports unique within a route: `wire` has checked it.
    Treat every attribute as read-only. `live` and `gone` are what lookups use: the names of all live keys, and of the
    gone ones that are not live.
    """

    __slots__ = (
        "_views",
        "gone",
        "gone_keys",
        "gone_routes",
        "live",
        "live_keys",
        "previews",
        "routes",
        "routes_of",
        "salt",
        "services",
        "version",
    )

    def __init__(
        self,
        version: str,
        routes: Sequence[Route] = (),
        live_keys: Iterable[bytes] = (),
        gone_keys: Iterable[bytes] = (),
        gone_routes: Iterable[GoneRoute] = (),
        services: Iterable[Service] = (),
        previews: Iterable[Preview] = (),
        salt: bytes | None = None,
    ) -> None:
        self.salt: Final = salt
        self.version: Final = version
        self.routes: Final = tuple(routes)
        self.live_keys: Final = tuple(live_keys)
        self.gone_keys: Final = tuple(gone_keys)
        self.gone_routes: Final = tuple(gone_routes)
        self.services: Final = tuple(services)
        self.previews: Final = tuple(previews)
        routes_of: dict[Workload, dict[bytes, Route]] = {}
        live = set(self.live_keys)
        shared = {key: key for key in live}  # one bytes object per key, however many routes it has
        for route in self.routes:
            key = route.key
            key = shared.setdefault(key, key)
            live.add(key if salt is None else key_digest(key, salt))
            of_workload = routes_of.get(route.baseline)
            if of_workload is None:
                of_workload = routes_of[route.baseline] = {}
            of_workload[key] = route
        self.routes_of: Final = routes_of
        self.live: Final = frozenset(live)
        self.gone: Final = frozenset(self.gone_keys) - self.live
        self._views: Final[dict[Workload, WorkloadView]] = {}

    def view(self, workload: Workload, memory: GoneMemory = NOTHING_GONE) -> WorkloadView:
        """What the proxy of this workload looks up.

        Built on first use and kept, so decisions stay the same objects for as long as the table lives, whatever the
        memory. Cost: about 2 us and 220 bytes per route of this workload; other keys cost nothing, the views of a
        table share its sets.
        """
        view = self._views.get(workload)
        if view is None:
            view = self._views[workload] = WorkloadView(
                version=self.version,
                routes={key: KnownRoute(route) for key, route in self.routes_of.get(workload, {}).items()},
                live=self.live,
                gone=self.gone,
                gone_routes=frozenset(
                    gone.routing_key.encode("ascii") for gone in self.gone_routes if gone.baseline == workload
                ),
                salt=self.salt,
            )
        return view.joined_with(memory, workload)

    def document(self) -> dict[str, object]:
        """The table's wire form (SPEC 5); reading it back gives the same table."""
        document: dict[str, object] = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "version": self.version,
            "routes": [route.document() for route in self.routes],
        }
        if self.salt is not None:
            document["keyDigest"] = {"salt": self.salt.hex()}
        optional: tuple[tuple[str, list[object]], ...] = (
            ("liveKeys", [key.decode("ascii") for key in self.live_keys]),
            ("goneKeys", [key.decode("ascii") for key in self.gone_keys]),
            ("goneRoutes", [route.document() for route in self.gone_routes]),
            ("services", [service.document() for service in self.services]),
            ("previews", [preview.document() for preview in self.previews]),
        )
        document.update((name, entries) for name, entries in optional if entries)
        return document
