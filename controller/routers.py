"""What routers get beside keys and routes: the hosts that they answer for, and how forks are called through them.

A file (`--services`) holds it in the form that the table has (SPEC 5):

    services:
    - hosts: [location, location.hotrod.svc.cluster.local]
      port: 8081
      baseline: {kind: Deployment, namespace: hotrod, name: location}
      upstream: {host: location.hotrod.svc.cluster.local, port: 80}
    previews:
    - {domain: preview.example, endpoint: web, upstream: {host: frontend.hotrod.svc.cluster.local, port: 8080}}

Beside a mesh (`--istio-mode`, unless off) a fork is called by its own host: the mesh's proxy beside the router would
send what carries the baseline's host to the baseline again, whatever address it goes to (CHECKLIST M2). So the routes
that routers get say `authority: destination` then; those of sidecars do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from json import dumps
from typing import Final

from proxy.routing.faults import TableError, excerpt
from proxy.routing.names import Workload
from proxy.routing.table import API_VERSION, KIND, Preview, Route, Service
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document

_FIELDS: Final = ("services", "previews")


@dataclass(frozen=True)
class ForRouters:
    """`previews`: those that somebody wrote down; those of sandboxes' endpoints are with their keys."""

    services: tuple[Service, ...] = ()
    previews: tuple[Preview, ...] = ()
    calls_by_destination: bool = False

    @cached_property
    def text(self) -> str:
        """The content, for versions."""
        parts = ([each.document() for each in self.services], [each.document() for each in self.previews])
        return dumps([*parts, self.calls_by_destination])

    @cached_property
    def workloads(self) -> frozenset[Workload]:
        """Those that a router is a proxy of."""
        return frozenset(service.baseline for service in self.services)

    def route(self, route: Route) -> Route:
        """The route as routers get it."""
        if not self.calls_by_destination:
            return route
        return replace(route, mappings=tuple(replace(mapping, authority="destination") for mapping in route.mappings))


NOTHING: Final = ForRouters()


def read_for_routers(raw: bytes, preview_domain: str | None = None) -> tuple[tuple[Service, ...], tuple[Preview, ...]]:
    """The services and previews that the file's content lists.

    Raises: TableError with every fault.
    """
    value = parse_text(raw)
    if not isinstance(value, dict):
        raise TableError([f"must be an object with {' and '.join(_FIELDS)}, is {excerpt(value)}"])
    unknown = [f"{excerpt(name)}: unknown field" for name in value if name not in _FIELDS]
    if unknown:
        raise TableError(unknown)
    table = read_document({"apiVersion": API_VERSION, "kind": KIND, "version": "1", "routes": [], **value})
    faults = list(_sandboxes_previews(table.previews, preview_domain))
    if faults:
        raise TableError(faults)
    return table.services, table.previews


def _sandboxes_previews(previews: tuple[Preview, ...], domain: str | None) -> Iterator[str]:
    """A key's previews in the domain of sandboxes' endpoints are said by its sandbox, which nobody must contradict."""
    for index, preview in enumerate(previews):
        if preview.routing_key is not None and preview.domain == domain:
            yield f"previews[{index}]: of one key under {domain}: its sandbox's endpoints say that"
