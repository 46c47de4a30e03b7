"""The mesh as it is and compiled routes -> the VirtualServices as they should be, and what could not be done.

    rendered = render(mesh, table.routes, Options(...))
    rendered.changes       objects that are to be written or deleted, each with what it was
    rendered.findings      for the condition `MeshRouted` (`findings.conditions`)

Rules:

- What is right does not depend on what of ours is there: ours is taken out first, then added. So rendering twice is
  rendering once, and rendering nothing (`removed`) leaves what the owners wrote.
- The order in which objects and routes come does not matter.
- Of several VirtualServices of one host the mesh takes the oldest (istio/istio pilot/pkg/model/config.go,
  sortConfigByCreationTime), so the others get nothing of ours, unless a gateway has them too, which joins them.
- A host that no VirtualService for all sidecars has, and that leads to a forked workload, gets one of ours. What a
  namespace keeps to itself (`exportTo`) its own sidecars look at first (SelectVirtualServices), others not at all.
- An object of ours is told by its name and its label; one that only has the name is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from controller.istio.copies import Copies, Scope
from controller.istio.delegates import delegate_of, expanded
from controller.istio.fanin import FanIn
from controller.istio.findings import MeshFinding, order
from controller.istio.matches import NAMES
from controller.istio.mesh import Mesh, Plan
from controller.istio.names import MANAGED_BY, MANAGER, service_host, service_of
from controller.istio.ours import MAX_OBJECT_BYTES, Name, Names, document, is_our_delegate, is_too_large
from controller.istio.ownership import delegated, interleaved
from controller.istio.rules import Keyed
from controller.istio.virtualservices import KIND, Json, Route, VirtualService
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Route as TableRoute


@dataclass(frozen=True, slots=True)
class Options:
    """`mode`: rules, or router, which needs one. `own`: delegate or patch. `form` and `names`: of matches."""

    mode: str = "rules"
    router: Endpoint | None = None
    own: str = "delegate"
    form: str = "strict"
    names: Sequence[str] = NAMES


class Change(NamedTuple):
    """An object as it is and as it should be; None: it is not there."""

    namespace: str
    name: str
    before: VirtualService | None
    after: Json | None

    @property
    def is_ours(self) -> bool:
        return self.before is None or self.before.is_ours

    @property
    def place(self) -> str:
        return f"{KIND} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """`changes`: what is to be done. `objects`: all of ours, and owners' with ours in them, as they should be."""

    changes: tuple[Change, ...]
    objects: tuple[Json, ...]
    findings: tuple[MeshFinding, ...]
    notes: tuple[str, ...]


class Maker(Protocol):
    """Makes copies for an owner's list: for each key (`rules`), or for all (`fanin`)."""

    def copies(self, routes: Sequence[Route], scope: Scope) -> Copies: ...

    def find(self, token: str, reason: str, place: str, message: str) -> None: ...


Made = Callable[[Copies, Maker], Json]


def render(mesh: Mesh, routes: Iterable[TableRoute], options: Options | None = None) -> Rendered:
    """The VirtualServices that the routes ask for. Router mode needs `options.router`."""
    rendering = _Rendering(mesh, tuple(routes), options or Options())
    rendering.render()
    return rendering.rendered()


def removed(mesh: Mesh) -> Rendered:
    """Everything of ours taken out."""
    return _Rendering(mesh, (), Options()).rendered()


class _Rendering:
    def __init__(self, mesh: Mesh, routes: tuple[TableRoute, ...], options: Options) -> None:
        self._mesh: Final = mesh
        self._options: Final = options
        plan = Plan(mesh, (route.baseline for route in routes))
        self._keyed: Final = Keyed(plan, routes, options.form, options.names)
        self._fan_in: Final = FanIn(plan, options.router, options.names) if options.router is not None else None
        self._existing: Final = {(each.namespace, each.name): each for each in mesh.virtual_services}
        self._owners: Final = sorted(
            (each for each in self._existing.values() if not each.is_ours), key=lambda each: each.age
        )
        self._of_host: Final[dict[str, list[VirtualService]]] = {}
        for owner in filter(_is_mesh_wide, self._owners):
            for host in owner.hosts:
                self._of_host.setdefault(host, []).append(owner)
        self._is_delegating: Final = options.own == "delegate"
        self._names: Final = Names(self._owners, is_delegating=self._is_delegating)
        self._wanted: Final[dict[Name, Json]] = {}
        self._reached: Final[set[tuple[str, Workload]]] = (
            set()
        )  # by a route of ours; first a key, or a workload for all
        self._shadowed: Final[dict[str, str]] = {}  # such that could not count, by key or workload
        self._notes: Final[dict[str, None]] = {}

    def render(self) -> None:
        maker: Maker = self._keyed
        if self._options.mode == "router":
            if self._fan_in is None:
                raise ValueError("router mode needs a router")
            maker = self._fan_in
        for owner in self._owners:
            self._find_not_http(owner, maker)
            if not self._is_delegating:
                self._patch(owner, maker)
            elif not owner.is_delegate:  # the routes of one that is are repeated where it is included
                self._delegate(owner, maker)
        for host, namespace in self._hosts().items():
            self._render_host(host, namespace, maker)
        self._find_unreached()

    def rendered(self) -> Rendered:
        changes: list[Change] = []
        for name in sorted({*self._existing, *self._wanted}):
            before, after = self._existing.get(name), self._wanted.get(name)
            if after is None and before is not None and not before.is_ours:
                after = before.without_ours()
            if before is None or after is None or not before.is_as(after):
                changes.append(Change(*name, before, after))
        fan_in = self._fan_in
        findings = self._keyed.findings | (fan_in.findings if fan_in is not None else set())
        notes = {**self._notes, **self._keyed.plan.notes, **(fan_in.notes if fan_in is not None else {})}
        objects = tuple(self._wanted[name] for name in sorted(self._wanted))
        return Rendered(tuple(changes), objects, tuple(sorted(findings, key=order)), tuple(notes))

    # --- in an owner's VirtualService --------------------------------------------------------------------------------

    def _patch(self, owner: VirtualService, maker: Maker) -> None:
        scope = _scope(owner)
        copies = maker.copies(owner.routes, scope)
        if copies.is_empty or self._is_refused(owner, copies, maker):
            return

        def made(copies: Copies, _: Maker) -> Json:
            return owner.with_routes(interleaved(owner.routes, copies))

        self._put((owner.namespace, owner.name), copies, maker, owner.routes, scope, made)

    def _is_refused(self, owner: VirtualService, copies: Copies, maker: Maker) -> bool:
        """Whether nothing is added although routes lead to forked workloads; and says why."""
        if owner.is_off:
            _find_all(copies, maker, "OptedOut", owner.place, 'its annotation pointsman.dev/istio says "off"')
            return True
        if not owner.is_for_mesh:
            return False
        if (rival := self._rival(owner)) is not None:
            text = (
                f"{rival.place} has its hosts too, the mesh takes the older one, and none says its creationTimestamp: "
            )
            _find_all(
                copies, maker, "AgeUnknown", owner.place, text + "give them as the cluster has them, or join them"
            )
            return False
        older = self._older(owner)
        if older is not None and not owner.is_for_gateways:
            text = f"{owner.place}: the mesh takes {older.place} for its hosts, which is older"
            self._notes[text] = None
            self._shadowed.update(dict.fromkeys(copies.tokens(), text))
            return True
        if all(map(self._mesh.lacks_waypoint, owner.hosts)):
            _find_all(copies, maker, "AmbientMode", owner.place, _AMBIENT.format(owner.hosts[0]))
            return not owner.is_for_gateways
        return False

    def _rival(self, owner: VirtualService) -> VirtualService | None:
        """One that has a host of this one too, and may be the older or the younger."""
        if owner.created != float("inf") or not _is_mesh_wide(owner):
            return None
        others = (each for host in owner.hosts for each in self._of_host[host] if each is not owner)
        return next((each for each in others if each.created == owner.created), None)

    def _older(self, owner: VirtualService) -> VirtualService | None:
        """The VirtualService that the mesh takes for the hosts of this one; None: it takes this one for some."""
        if not owner.is_seen_by_all:
            return None
        found = [self._of_host[host][0] for host in owner.hosts]
        return found[-1] if found and owner not in found else None

    def _find_not_http(self, owner: VirtualService, maker: Maker) -> None:
        spec = owner.document["spec"]
        for section in ("tcp", "tls"):
            entries = spec.get(section) if isinstance(spec, Mapping) else None
            if not isinstance(entries, list) or not entries:
                continue
            # As a list of HTTP without conditions, so that what leads to forked workloads is found in the same way.
            routes = [{"route": entry.get("route")} for entry in entries if isinstance(entry, Mapping)]
            text = f"its section {section} leads there too, and knows no headers: that stays with the baseline"
            _find_all(maker.copies(routes, _scope(owner)), maker, "NotHttp", owner.place, text)

    # --- in a delegate of ours ---------------------------------------------------------------------------------------

    def _delegate(self, owner: VirtualService, maker: Maker) -> None:
        scope = _scope(owner)
        index = self._names.index(owner)
        behind = self._expanded(owner, owner.routes if index is None else owner.routes[index + 1 :])
        copies = maker.copies(behind, scope)
        if index:
            earlier = maker.copies(self._expanded(owner, owner.routes[:index]), scope)
            text = "routes before the one that includes our delegate lead there too: put that one first"
            _find_all(earlier, maker, "DelegateTooLate", owner.place, text)
        if copies.is_empty or self._is_refused(owner, copies, maker):
            return
        if index is None:
            lines = f"- {{name: sandboxes, delegate: {{name: {self._names.suggested(owner)}}}}}"
            text = f"its routes lead there: add, as the first of spec.http: {lines}"
            _find_all(copies, maker, "DelegateMissing", owner.place, text)
            return
        name = delegate_of(owner.routes[index], owner.namespace)
        assert name is not None
        if beside := _beside_delegate(owner.routes[index]):
            text = f"its route that includes {name[1]} says {', '.join(beside)} too, which holds for all behind it: "
            text += "leave it with name and delegate alone, or requests of sandboxes stay with the baseline"
            _find_all(copies, maker, "DelegateConditional", owner.place, text)
        if self._names.is_shared(name):
            text = f"several VirtualServices include {name[1]}, and each needs a delegate of its own"
            _find_all(copies, maker, "DelegateShared", owner.place, text)
            return

        def made(copies: Copies, maker: Maker) -> Json:
            routes, lost = delegated(behind, copies)
            for token, identity in lost.items():
                text = f"its route {identity} can't be repeated, so what is behind it stays with the baseline"
                maker.find(token, "MatchConflict", owner.place, text)
            return self._ours(name, {"http": routes}, owner.annotations, owner.place)

        self._put(name, copies, maker, behind, scope, made)

    def _expanded(self, owner: VirtualService, routes: Sequence[Route]) -> list[Route]:
        others = [route for route in routes if not is_our_delegate(route, owner.namespace)]
        found, missing = expanded(others, owner.namespace, self._names.owned)
        if missing is not None:
            text = f"{owner.place}: delegate {missing} is not given: it and what is behind it stay with the baseline"
            self._notes[text] = None
        return found

    # --- for a host without a VirtualService -------------------------------------------------------------------------

    def _hosts(self) -> dict[str, str]:
        """The hosts that lead to workloads with routes, or to all with a router; each with the namespace for ours."""
        mesh, found = self._mesh, dict[str, str]()
        if self._options.mode == "router" and self._fan_in is not None:
            found = {host: self._fan_in.namespace(host) for host in self._fan_in.hosts}
        else:
            for workload in self._keyed.by_workload:
                assumed = service_host(workload.name.lower(), workload.namespace)
                hosts = mesh.hosts_of.get(workload, () if assumed in mesh.service_by_host else (assumed,))
                found.update((host, workload.namespace) for host in hosts)
        for host in found:
            if (service := service_of(host)) is not None:
                found[host] = service[1]
        return dict(sorted(found.items()))

    def _render_host(self, host: str, namespace: str, maker: Maker) -> None:
        if any(_is_mesh_wide(owner) and owner.routes and owner.pattern_for(host) for owner in self._owners):
            return
        name = self._names.for_host(host, namespace)
        scope = Scope(namespace, f"{KIND} {name[0]}/{name[1]}", (host,), True)
        routes: list[Route] = [{"name": "default", "route": [{"destination": {"host": host}}]}]
        copies = maker.copies(routes, scope)
        if copies.is_empty:
            return
        service = self._mesh.service_by_host.get(host)
        if service is not None and service.is_off:
            _find_all(copies, maker, "OptedOut", service.place, 'its annotation pointsman.dev/istio says "off"')
            return
        if self._mesh.lacks_waypoint(host):
            _find_all(copies, maker, "AmbientMode", f"host {host}", _AMBIENT.format(host))
            return
        annotations = service.annotations if service is not None else {}
        place = service.place if service is not None else scope.place

        def made(copies: Copies, _: Maker) -> Json:
            return self._ours(name, {"hosts": [host], "http": interleaved(routes, copies)}, annotations, place)

        self._put(name, copies, maker, routes, scope, made)

    # --- all ---------------------------------------------------------------------------------------------------------

    def _put(self, name: Name, copies: Copies, maker: Maker, routes: Sequence[Route], scope: Scope, made: Made) -> None:
        """The object with its copies, unless its name is not ours; too large, it goes to the router."""
        before = self._existing.get(name)
        if before is not None and not before.is_ours and scope.place != before.place:
            text = f"the name is taken by an object that has no label {MANAGED_BY}: {MANAGER}"
            _find_all(copies, maker, "NameTaken", before.place, text)
            return
        found = made(copies, maker)
        if is_too_large(found):
            text = f"with the routes of all sandboxes it would have more than {MAX_OBJECT_BYTES >> 10} KiB"
            if maker is not self._keyed or self._fan_in is None:
                _find_all(copies, maker, "ObjectTooLarge", scope.place, f"{text}, and no router is named (--router)")
                return
            for token in copies.tokens():
                self._keyed.find(token, "FanIn", scope.place, f"{text}: the router decides", is_routed=True)
            copies = self._fan_in.copies(routes, scope)
            found = made(copies, self._fan_in)
        self._wanted[name] = found
        self._reached.update(
            (copy.token, each) for before in copies.before for copy in before for each in copy.workloads
        )

    def _ours(self, name: Name, spec: Json, annotations: Mapping[str, str], place: str) -> Json:
        found, faults = document(name, spec, annotations)
        self._notes.update((f"{place}: {fault}", None) for fault in faults)
        return found

    def _find_unreached(self) -> None:
        """Routes of the table that nothing in the mesh leads to: requests with the key meet the baseline."""
        told = {finding.routing_key for finding in self._keyed.findings if not finding.is_routed}
        told_of, unasked = (fan_in.told, fan_in.unasked) if (fan_in := self._fan_in) is not None else (set(), {})
        for workload, routes in self._keyed.by_workload.items():
            token = str(workload)
            for key in routes if token not in told_of else ():
                if (token, workload) in self._reached or (key, workload) in self._reached:
                    why = unasked.get(workload, "")
                elif key in told:
                    continue
                else:
                    cause = unasked.get(workload) or self._shadowed.get(key) or self._shadowed.get(token)
                    cause = cause or self._unknown_to_router(workload)
                    why = "no route of the mesh leads to it" + (f" ({cause})" if cause else "")
                if why:
                    self._keyed.find(key, "NotReached", token, why)

    def _unknown_to_router(self, workload: Workload) -> str:
        if self._options.mode != "router" or self._fan_in is None or workload in self._fan_in.workloads:
            return ""
        if hosts := self._mesh.hosts_of.get(workload):
            return f"a router takes {', '.join(hosts)} for another workload behind the same Service"
        return "no Service is given that leads to it, so no router is asked"


_AMBIENT: Final = "{} is in ambient mode without a waypoint, where no rule for HTTP is applied"


def _beside_delegate(route: Route) -> list[str]:
    """What istiod gives to each route of a delegate: conditions, timeouts and so on."""
    return sorted(field for field, value in route.items() if value and field not in ("name", "delegate"))


def _is_mesh_wide(virtual_service: VirtualService) -> bool:
    return virtual_service.is_for_mesh and virtual_service.is_seen_by_all


def _scope(owner: VirtualService) -> Scope:
    return Scope(owner.namespace, owner.place, owner.hosts, owner.is_for_mesh or owner.is_delegate)


def _find_all(copies: Copies, maker: Maker, reason: str, place: str, message: str) -> None:
    for token in copies.tokens():
        maker.find(token, reason, place, message)
