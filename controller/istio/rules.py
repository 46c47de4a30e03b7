"""Rules mode: for each sandbox and owner's route that leads to a workload that it forks, a copy that leads to the fork.

A request with the key never falls to the baseline of a forked workload: a route that has no destination, does not map
the port, or leads to a host that is none of the mesh answers 503 (SPEC 4). The last is not carried further by a
ServiceEntry of ours: the mesh would connect to wherever the name or address leads, unchecked, while a proxy looks at
the address again at each connect (CHECKLIST M6). Who wants such a target in the mesh declares it by a ServiceEntry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import NamedTuple

from controller.istio.copies import Copies, Copy, Scope
from controller.istio.findings import MeshFinding
from controller.istio.matches import NAMES, HeaderMatch, MatchTooLong, key_matches
from controller.istio.mesh import Lead, Plan, Target
from controller.istio.names import route_name
from controller.istio.routes import (
    copied,
    destination_of,
    destinations,
    identities,
    matched,
    not_whole,
    owner_blocks,
    refusing,
    setting_authority,
    with_authority,
    without_authority,
)
from controller.istio.virtualservices import Json
from controller.istio.virtualservices import Route as OwnerRoute
from proxy.errors import NO_DESTINATION, PORT_NOT_MAPPED
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping as PortMapping
from proxy.routing.table import Route


class Fork(NamedTuple):
    """Where a request for one port goes: `hosts` of the mesh, or `reason` and `details` of a refusal."""

    hosts: tuple[Endpoint, ...]
    is_authority: bool = False
    reason: str = ""
    details: str = ""


class Place(NamedTuple):
    """A forked one of an owner's destinations."""

    entry: Json
    workload: Workload
    fork: Fork


Outcome = tuple[Place, ...]


@dataclass(slots=True)
class Keyed:
    """The table's routes by workload, and what is derived from them once."""

    plan: Plan
    routes: Iterable[Route]
    form: str = "strict"
    names: Sequence[str] = NAMES
    findings: set[MeshFinding] = field(default_factory=set)
    by_workload: dict[Workload, dict[str, Route]] = field(init=False, default_factory=dict)
    sandboxes: dict[str, str] = field(init=False, default_factory=dict)
    _matches: dict[str, Sequence[HeaderMatch]] = field(init=False, default_factory=dict)
    _forks: dict[tuple[str, Target], Fork] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for route in sorted(self.routes, key=lambda route: (route.routing_key, route.baseline)):
            self.by_workload.setdefault(route.baseline, {})[route.routing_key] = route
            self.sandboxes[route.routing_key] = route.sandbox

    def matches(self, key: str) -> Sequence[HeaderMatch]:
        """The key's conditions; none where they can't be said."""
        found = self._matches.get(key)
        if found is None:
            try:
                found = key_matches(key, self.form, self.names)
            except MatchTooLong as error:
                found = ()
                self.find(key, "MatchTooLong", "the key's match", str(error))
            self._matches[key] = found
        return found

    def find(self, token: str, reason: str, place: str, message: str, *, is_routed: bool = False) -> None:
        self.findings.add(MeshFinding(token, self.sandboxes[token], reason, place, message, is_routed))

    # --- where a request goes ----------------------------------------------------------------------------------------

    def fork(self, key: str, target: Target) -> Fork:
        """Where the key leads for this workload and port."""
        found = self._forks.get((key, target))
        if found is None:
            found = self._forks[key, target] = self._fork(self.by_workload[target.workload][key], target)
        return found

    def _fork(self, route: Route, target: Target) -> Fork:
        mapping = self._mapping(route, target)
        if mapping is None:
            text = f"{PORT_NOT_MAPPED.text}: {route.sandbox}"
            return Fork((), reason=PORT_NOT_MAPPED.name, details=text)
        hosts: list[Endpoint] = []
        for endpoint in mapping.destinations:
            host = self.plan.mesh.knows(endpoint, route.baseline.namespace)
            if host is not None:
                hosts.append(Endpoint(host, endpoint.port))
                continue
            text = "is no host of the mesh, so no route can lead there: declare it by a ServiceEntry, or use fan-in"
            self.find(route.routing_key, "NotInMesh", str(route.baseline), f"{endpoint} {text}")
        if not hosts:
            what = "none of its destinations is a host of the mesh" if mapping.destinations else NO_DESTINATION.text
            return Fork((), reason=NO_DESTINATION.name, details=f"{what}: {route.sandbox}")
        return Fork(tuple(sorted(hosts)), mapping.authority == "destination")

    def _mapping(self, route: Route, target: Target) -> PortMapping | None:
        by_port = {mapping.port: mapping for mapping in route.mappings}
        if target.port is not None:
            return by_port.get(target.port)
        if target.hint in by_port:
            return by_port[target.hint]
        if len(by_port) == 1:
            return next(iter(by_port.values()))
        if by_port:
            ports = ", ".join(map(str, sorted(by_port)))
            text = f"which of its ports ({ports}) the Service leads to is not known: give the Service's manifest"
            self.find(route.routing_key, "PortUnknown", str(route.baseline), text)
        return None

    # --- an owner's list ---------------------------------------------------------------------------------------------

    def copies(self, routes: Sequence[OwnerRoute], scope: Scope) -> Copies:
        """What is added to this list of routes."""
        before: list[list[Copy]] = []
        torn: list[frozenset[str]] = []
        for route, identity in zip(routes, identities(routes), strict=True):
            found, conflicts = self._copies_of(route, identity, scope)
            before.append(found)
            torn.append(conflicts)
        tokens = {copy.token for copies in before for copy in copies}
        return Copies(before, torn, {key: self.matches(key) for key in sorted(tokens)})

    def _copies_of(self, route: OwnerRoute, identity: str, scope: Scope) -> tuple[list[Copy], frozenset[str]]:
        entries = destinations(route)
        leads = [self.plan.leads(destination_of(entry), scope.namespace) for entry in entries]
        keys: set[str] = set()
        for lead in (lead for each in leads for lead in each):
            for target in lead.targets:
                keys.update(self.by_workload.get(target.workload, ()))
        if not keys:
            return [], frozenset()
        blocks = owner_blocks(route)
        found: list[Copy] = []
        torn: set[str] = set()
        for key in sorted(keys):
            for sent_to, outcome in self._outcomes(key, entries, leads):
                under, conflicts = matched(blocks, self.matches(key), sent_to)
                if conflicts:
                    torn.add(key)
                    self.find(key, "MatchConflict", scope.place, not_whole(identity, conflicts))
                if under:
                    name = route_name(self.sandboxes[key], key, identity, *((sent_to,) if sent_to else ()))
                    workloads = tuple(place.workload for place in outcome)
                    found.append(Copy(key, _leading(route, name, under, outcome), workloads))
        return found, frozenset(torn)

    def _outcomes(
        self, key: str, entries: Sequence[Json], leads: Sequence[tuple[Lead, ...]]
    ) -> list[tuple[int | None, Outcome]]:
        """Where the key leads, by the port that a request was sent to; None: whichever."""
        forked: list[tuple[Json, dict[int | None, Target]]] = []
        for entry, each in zip(entries, leads, strict=True):
            targets = {lead.sent_to: target for lead in each if (target := self._forked(key, lead)) is not None}
            if targets:
                forked.append((entry, targets))
        ports = sorted({port for _, targets in forked for port in targets if port is not None})
        if not ports:
            return [(None, self._outcome(key, forked, None))]
        outcomes: list[tuple[int | None, Outcome]] = [(port, self._outcome(key, forked, port)) for port in ports]
        sent_to = {lead.sent_to for each in leads for lead in each} - {None}
        if sent_to == set(ports) and all(outcome == outcomes[0][1] for _, outcome in outcomes):
            return [(None, outcomes[0][1])]
        return outcomes

    def _forked(self, key: str, lead: Lead) -> Target | None:
        """Of several workloads behind one port, the first that the key forks."""
        for target in lead.targets:
            if key in self.by_workload.get(target.workload, ()):
                return target
        return None

    def _outcome(
        self, key: str, forked: Sequence[tuple[Json, Mapping[int | None, Target]]], port: int | None
    ) -> Outcome:
        outcome = []
        for entry, targets in forked:
            target = targets.get(port) or targets.get(None)
            if target is not None:
                outcome.append(Place(entry, target.workload, self.fork(key, target)))
        return tuple(outcome)


def _leading(route: OwnerRoute, name: str, blocks: Sequence[Json], outcome: Outcome) -> OwnerRoute:
    for place in outcome:
        if place.fork.reason:
            return refusing(name, blocks, place.fork.reason, place.fork.details)
    if len(outcome) == len(outcome[0].fork.hosts) == 1:
        (entry, _, fork) = outcome[0]
        copy = copied(route, name, blocks, [_to(entry, fork.hosts[0])])
        return with_authority(copy, _authority(fork.hosts[0])) if fork.is_authority else copy
    whole = lcm(*(len(place.fork.hosts) for place in outcome))
    to: list[Json] = []
    for entry, _, fork in outcome:
        share = (_weight(entry) if len(outcome) > 1 else 1) * whole // len(fork.hosts)
        to.extend({**_to(entry, host, fork.is_authority), "weight": share} for host in fork.hosts)
    copy = copied(route, name, blocks, to)
    return without_authority(copy) if any(place.fork.is_authority for place in outcome) else copy


def _to(entry: Json, host: Endpoint, is_authority: bool = False) -> dict[str, object]:
    """A destination in place of the owner's, with what the owner does to its requests' headers."""
    to: dict[str, object] = {"destination": {"host": host.host, "port": {"number": host.port}}}
    if headers := entry.get("headers"):
        to["headers"] = headers
    return setting_authority(to, _authority(host)) if is_authority else to


def _authority(host: Endpoint) -> str:
    return str(host) if host.port != 80 else host.host


def _weight(entry: Json) -> int:
    weight = entry.get("weight")
    return weight if isinstance(weight, int) else 0
