"""Fan-in: for each owner's route that leads to a workload of the router's table, one constant copy that leads to the
router, for requests that may carry a key and that no router decided for this workload. Nothing here depends on which
sandboxes there are, so neither the number of routes nor an object changes when they come and go.

What the router sends on to the baseline passes the owner's routes a second time, in the router's own sidecar. So that
nothing is done twice (CHECKLIST M4):

- The copy keeps rewrite, headers, cors, timeout and retries of the owner's route, and drops mirrors and faults. Where
  the owner says no retries, the copy says none, so that the mesh's default ones are made once, behind the router.
- In the routers' namespace alone, requests that come back (the last of `pointsman-hop` is this workload, for the
  baseline) go, where an owner's route has such things or conditions on who calls, by a route that stands before all: to
  the owner's destinations, with the owner's mirrors and faults, and without all else. Where several of the owner's
  routes lead to the workload and differ in that, the copy names its route in a header `pointsman-route`, and the route
  back takes it away.

The router chooses by Host/:authority, and so does its own proxy behind it. Where that need not be one of the Service's
own names (a gateway's host, a name that Services of several namespaces have, a port that the route chooses), or may be
a bare name and the router is of another namespace, where it means nothing or another Service, the copy sets it to the
Service's full name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.istio.copies import Copies, Copy, Scope
from controller.istio.findings import MeshFinding
from controller.istio.matches import NAMES, HeaderMatch, any_key_matches
from controller.istio.mesh import Mesh, Plan
from controller.istio.names import covers, full_host, route_name, service_of
from controller.istio.patterns import literal
from controller.istio.routes import (
    MIRRORS_AND_FAULTS,
    authority_of,
    copied,
    destination_of,
    destinations,
    identities,
    matched,
    not_whole,
    owner_blocks,
    with_authority,
)
from controller.istio.services import for_router
from controller.istio.virtualservices import MESH, Json, Route
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Service

ROUTE_HEADER: Final = "pointsman-route"
_HOP: Final = "pointsman-hop"
_NO_RETRIES: Final = {"attempts": 0}
# Conditions that need not hold for the router, which comes from elsewhere, maybe to another port and host.
_OF_CALLERS: Final = ("sourceLabels", "sourceNamespace", "gateways", "port", "authority")
_DONE_ONCE: Final = ("rewrite", "headers", "timeout", "retries", "corsPolicy")


class Way(NamedTuple):
    """Where an owner's route leads: for requests sent to a port, or for all; the authority that tells it the router;
    what the owner does to the headers of what goes there."""

    sent_to: int | None
    entry: Service
    authority: str | None
    headers: object


@dataclass(slots=True)
class FanIn:
    """The router's entries by Service host and port, and what is found on the way."""

    plan: Plan
    router: Endpoint
    names: Sequence[str] = NAMES
    findings: set[MeshFinding] = field(default_factory=set)
    unasked: dict[Workload, str] = field(default_factory=dict)  # beside another, for which the router is asked; why
    told: set[str] = field(default_factory=set)  # the workloads that findings are about
    notes: dict[str, None] = field(default_factory=dict)
    _entries: dict[str, dict[int, Service]] = field(init=False, default_factory=dict)
    _matches: dict[Workload, Sequence[HeaderMatch]] = field(init=False, default_factory=dict)

    @property
    def mesh(self) -> Mesh:
        return self.plan.mesh

    def __post_init__(self) -> None:
        chosen = for_router(self.mesh.entries)
        self.notes.update(dict.fromkeys(chosen.notes))
        for entry in chosen.entries:
            host = entry.upstream.host.lower()
            service = self.mesh.service_by_host.get(host)
            if host == self.router.host or (service is not None and service.is_off):
                continue
            self._entries.setdefault(host, {})[entry.upstream.port] = entry

    @property
    def hosts(self) -> list[str]:
        """Those that the router stands for."""
        return sorted(self._entries)

    @property
    def workloads(self) -> set[Workload]:
        return {entry.baseline for ports in self._entries.values() for entry in ports.values()}

    def namespace(self, host: str) -> str:
        """Of the workload behind it."""
        return next(iter(self._entries[host].values())).baseline.namespace

    def find(self, token: str, reason: str, place: str, message: str) -> None:
        """What is wrong for a workload is so for all keys."""
        self.told.add(token)
        self.findings.add(MeshFinding(None, None, reason, place, message))

    def copies(self, routes: Sequence[Route], scope: Scope) -> Copies:
        """What is added to this list of routes."""
        ways = [self._ways(route, scope) for route in routes]
        backs, marked = self._backs(routes, ways) if scope.is_for_mesh else ([], frozenset[Workload]())
        before: list[list[Copy]] = []
        torn: list[frozenset[str]] = []
        conditions: dict[str, Sequence[HeaderMatch]] = {}
        for route, identity, each in zip(routes, identities(routes), ways, strict=True):
            found: list[Copy] = []
            lost: set[str] = set()
            self._look_beside(route, identity, each, scope)
            for way in each:
                workload = way.entry.baseline
                token = str(workload)
                conditions[token] = self._conditions(workload)
                under, conflicts = matched(owner_blocks(route), conditions[token], way.sent_to)
                if conflicts:
                    lost.add(token)
                    self.find(token, "MatchConflict", scope.place, not_whole(identity, conflicts))
                if under:
                    mark = _mark(workload, identity) if workload in marked else None
                    found.append(Copy(token, self._to_router(route, identity, way, under, mark), (workload,)))
            before.append(found)
            torn.append(frozenset(lost))
        return Copies(before, torn, conditions, backs)

    def _look_beside(self, route: Route, identity: str, ways: Sequence[Way], scope: Scope) -> None:
        """What is lost where a route leads to more than the router can be asked for."""
        if not ways:
            return
        asked = {way.entry.baseline for way in ways}
        host = ways[0].entry.upstream.host.lower()
        entries = destinations(route)
        what = f"{scope.place}: its route {identity}"
        for entry in entries:
            if full_host(str(destination_of(entry).get("host")), scope.namespace) == host:
                continue
            for lead in self.plan.leads(destination_of(entry), scope.namespace):
                for workload in {target.workload for target in lead.targets} - asked:
                    why = f"{what} leads there beside {host}, and the router is asked for the latter alone"
                    self.unasked.setdefault(workload, why)
        is_split = len(entries) > 1 or any(destination_of(entry).get("subset") for entry in entries)
        if is_split and scope.hosts and (not scope.is_for_mesh or not any(covers(each, host) for each in scope.hosts)):
            self.notes[
                f"{what}: what the router sends on to the baseline goes to {host}, without subset or weights"
            ] = None

    def _conditions(self, workload: Workload) -> Sequence[HeaderMatch]:
        found = self._matches.get(workload)
        if found is None:
            found = self._matches[workload] = any_key_matches(workload, self.names)
        return found

    # --- to the router -----------------------------------------------------------------------------------------------

    def _ways(self, route: Route, scope: Scope) -> list[Way]:
        """Of several destinations the first that the router knows: it chooses by the host alone. A subset without the
        workload that the router takes the host for is none: requests for it are not that workload's."""
        for entry in destinations(route):
            destination = destination_of(entry)
            host = full_host(str(destination.get("host")), scope.namespace)
            subset = destination.get("subset")
            ports = {
                port: entry
                for port, entry in self._entries.get(host, {}).items()
                if self.plan.includes(host, port, subset if isinstance(subset, str) else None, entry.baseline)
            }
            if not ports:
                continue
            said = destination.get("port")
            number = said.get("number") if isinstance(said, Mapping) else None
            chosen: list[tuple[int | None, int]]
            if isinstance(number, int) and number:
                chosen = [(None, number)] if number in ports else []
            elif len(ports) == 1:
                chosen = [(None, next(iter(ports)))]
            else:
                chosen = [(port, port) for port in ports]
            headers = entry.get("headers")
            ways = [
                Way(sent_to, ports[port], self._authority(route, scope, ports[port]), headers)
                for sent_to, port in chosen
            ]
            if len({(way.entry.baseline, way.authority) for way in ways}) == 1:
                return [ways[0]._replace(sent_to=None)]
            if ways:
                return ways
        return []

    def _authority(self, route: Route, scope: Scope, entry: Service) -> str | None:
        """What Host/:authority must become; None: the router knows the request by what it has."""
        host, port = entry.upstream.host.lower(), entry.upstream.port
        has_several = len(self._entries[host]) > 1
        full = host if port == 80 or not has_several else f"{host}:{port}"
        said = authority_of(route)
        if said is not None:
            name, _, number = said.lower().partition(":")
            is_known = name in entry.hosts and ("." in name or self._knows_bare(host))
            if is_known and (not has_several or (number or "80") == str(port)):
                return None
            self.notes[f"{scope.place}: Host becomes {full} in place of {said}, since the router chooses by it"] = None
            return full
        is_own = set(scope.hosts) == {host} and host.partition(".")[0] in entry.hosts and self._knows_bare(host)
        chooses_port = has_several and any("port" in destination_of(entry) for entry in destinations(route))
        if is_own and not chooses_port:
            return None
        if set(scope.hosts) != {host}:
            self.notes[f"{scope.place}: Host becomes {full} on the way, since the router chooses by it"] = None
        return full

    def _knows_bare(self, host: str) -> bool:
        """Whether the bare name of a Service means this one to the router's own proxy, by which its requests go on."""
        service, router = service_of(host), service_of(self.router.host)
        return service is None or router is None or service[1] == router[1]

    def _to_router(
        self, route: Route, identity: str, way: Way, blocks: Sequence[Json], mark: str | None
    ) -> dict[str, object]:
        workload = way.entry.baseline
        to: dict[str, object] = {"destination": {"host": self.router.host, "port": {"number": self.router.port}}}
        if way.headers:
            to["headers"] = way.headers
        name = route_name(f"router-{workload.name}", "router", workload, identity, way.sent_to or "")
        copy = copied(route, name, blocks, [to])
        copy.setdefault("retries", _NO_RETRIES)
        if way.authority is not None:
            copy = with_authority(copy, way.authority)
        return _marked(copy, mark) if mark is not None else copy

    # --- and back ----------------------------------------------------------------------------------------------------

    def _backs(self, routes: Sequence[Route], ways: Sequence[Sequence[Way]]) -> tuple[list[Route], frozenset[Workload]]:
        """The routes for what comes back, and the workloads for which the copies must say which route they were."""
        leading: dict[Workload, list[tuple[str, Route]]] = {}
        hosts: dict[Workload, str] = {}
        for route, identity, each in zip(routes, identities(routes), ways, strict=True):
            for workload in dict.fromkeys(way.entry.baseline for way in each):
                leading.setdefault(workload, []).append((identity, route))
                hosts.setdefault(workload, each[0].entry.upstream.host.lower())
        backs: list[Route] = []
        marked: set[Workload] = set()
        for workload, found in leading.items():
            if not any(_is_done_once(route) or _is_about_callers(route) for _, route in found):
                continue
            bodies = [_back_body(route) for _, route in found]
            hop = {"regex": rf"(?:.*,)?[ \t]*{literal(str(workload))};baseline[ \t]*"}
            source = self._source(hosts[workload])
            name = f"back-{workload.name}"
            if all(body == bodies[0] for body in bodies):
                match: list[Json] = [{"headers": {_HOP: hop}, **source}]
                backs.append({"name": route_name(name, "back", workload), "match": match, **bodies[0]})
                continue
            marked.add(workload)
            for (identity, _), body in zip(found, bodies, strict=True):
                mark = _mark(workload, identity)
                match = [{"headers": {_HOP: hop, ROUTE_HEADER: {"exact": mark}}, **source}]
                removed = {"request": {"remove": [ROUTE_HEADER]}}
                back_name = route_name(name, "back", workload, identity)
                backs.append({"name": back_name, "match": match, **body, "headers": removed})
            plain = {"route": [{"destination": {"host": hosts[workload]}}], "retries": _NO_RETRIES}
            match = [{"headers": {_HOP: hop}, **source}]
            backs.append({"name": route_name(name, "back", workload), "match": match, **plain})
        return backs, frozenset(marked)

    def _source(self, host: str) -> dict[str, object]:
        """Who may take a way back: the routers alone. It passes over the owner's other routes, and a caller can write
        any header. In ambient mode a waypoint stands for all sources, and gateways at least are kept out."""
        router = service_of(self.router.host)
        if router is None or self.mesh.is_ambient(host):
            return {"gateways": [MESH]}
        return {"sourceNamespace": router[1]}


def _is_done_once(route: Route) -> bool:
    return any(route.get(field) for field in _DONE_ONCE) or any(entry.get("headers") for entry in destinations(route))


def _is_about_callers(route: Route) -> bool:
    return any(block.get(field) for block in owner_blocks(route) for field in _OF_CALLERS)


def _back_body(route: Route) -> dict[str, object]:
    """The owner's destinations, and what is for the baseline alone. Retries were the caller's, if its route says any;
    else the mesh's default ones are made here."""
    entries = route.get("route")
    to = [
        {name: value for name, value in entry.items() if name != "headers"}
        for entry in (entries if isinstance(entries, list) else ())
    ]
    body: dict[str, object] = {"route": to}
    body.update((field, value) for field, value in route.items() if field in MIRRORS_AND_FAULTS)
    if route.get("retries"):
        body["retries"] = _NO_RETRIES
    return body


def _mark(workload: Workload, identity: str) -> str:
    return route_name(workload.name, "mark", workload, identity)


def _marked(copy: dict[str, object], mark: str) -> dict[str, object]:
    headers = copy.get("headers")
    headers = headers if isinstance(headers, Mapping) else {}
    request = headers.get("request")
    request = request if isinstance(request, Mapping) else {}
    operation = request.get("set")
    operation = {**(operation if isinstance(operation, Mapping) else {}), ROUTE_HEADER: mark}
    return {**copy, "headers": {**headers, "request": {**request, "set": operation}}}
