"""Where a request arrives: the workload, and its port, that a decision is about.

A *place* holds what a request needs of its workload. A sidecar's listener has one (`OnePlace`); a router has one for
each entry of the table's `services`, found by the request's Host or `:authority` (`RouterPlaces`). An exchange asks its
listener's `Places` once, at its start, and keeps the place that it found.

How a router's places are made (`proxy.routertables` does it for a file and for the feed):

    index = PlaceIndex()
    for service in services:
        index.add(service, router_place(service, policy, view_of[service.baseline], traffic))
    index.add_previews(previews, view_of[PREVIEWS])
    places.put(index)                       all at once: one assignment

Later `index.set_view(workload, view)` gives all places of one workload another view, and previews come and go; the rest
stays as it is. Views may share live and gone sets that are changed in place, as the feed's do.

Hosts are compared without case and trailing dot. An authority's port counts only where a host has several entries; then
it picks by the port of their `upstream`, and none is 80 (SPEC 4, "Router"). The usual spellings are keys of one
dictionary, so a request pays for one lookup. Any other is taken apart, and the first ones that are met become keys too;
only so many, since authorities come from strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from proxy.codec.edits import prepared
from proxy.codec.events import Prepared
from proxy.errors import UNKNOWN_PREVIEW
from proxy.routing.authority import DEFAULT_PORT, host_name, named, split_authority
from proxy.routing.callers import Callers
from proxy.routing.decision import NOT_SYNCED_DECISION, UNKNOWN_HOST_DECISION, Decider, Decision, Policy
from proxy.routing.key import KeyReading
from proxy.routing.names import Endpoint, Workload
from proxy.routing.previews import PreviewHosts, PreviewName, authority_of
from proxy.routing.table import Preview, Service
from proxy.routing.view import WorkloadView
from proxy.telemetry.traffic import KeyTraffic

HOP: Final = b"pointsman-hop"
_LEARNED_AT_MOST: Final = 1024  # spellings, in one index

T = TypeVar("T")


class Place:
    """One port of one workload. `number` is the port whose mappings apply (SPEC 6); `view` None: no table yet.

    `baseline_hop` marks what a router sends to the baseline; a sidecar marks nothing there (SPEC 4).
    """

    __slots__ = ("baseline", "baseline_hop", "callers", "decider", "hop", "number", "traffic", "view")

    def __init__(
        self,
        number: int,
        baseline: tuple[Endpoint, ...],
        decider: Decider,
        hop: Prepared,
        baseline_hop: Prepared | None = None,
        view: WorkloadView | None = None,
        traffic: KeyTraffic | None = None,
        callers: Callers | None = None,
    ) -> None:
        self.number: Final = number
        self.baseline: Final = baseline
        self.decider: Final = decider
        self.hop: Final = hop
        self.baseline_hop: Final = baseline_hop
        self.view = view
        self.traffic: Final = traffic  # where somebody asks for counts per key
        self.callers: Final = callers  # who may call; None: anybody


def sidecar_place(
    workload: Workload, number: int, baseline: Endpoint, decider: Decider, traffic: KeyTraffic | None = None
) -> Place:
    return Place(number, (baseline,), decider, prepared(HOP, str(workload).encode()), traffic=traffic)


def router_place(
    service: Service, policy: Policy, view: WorkloadView | None, traffic: KeyTraffic | None = None
) -> Place:
    """Cost: 3 us."""
    me = str(service.baseline).encode()
    return Place(
        service.port,
        (service.upstream,),
        Decider(service.baseline, policy, router=True),
        prepared(HOP, me),
        prepared(HOP, me + b";baseline"),
        view,
        traffic,
        None if service.callers is None else Callers(service.callers),
    )


class Places:
    """Where the requests of a listener arrive."""

    __slots__ = ()

    def find(self, host: bytes) -> Place | None:
        """The place that a request for this Host or `:authority` arrives at; None: nobody's (`why_none`)."""
        raise NotImplementedError

    def why_none(self) -> Decision:
        """How a request is answered that arrives nowhere."""
        return UNKNOWN_HOST_DECISION


class OnePlace(Places):
    """A sidecar's listener, whatever the host."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place: Final = place

    def find(self, host: bytes) -> Place | None:
        return self.place


class CapturedPlaces(Places):
    """One port of a sidecar's workload that captured connections were for.

    There may be any number of these, for a while: so nobody keeps a list of them to give each another view, and
    `leading`, a place that gets every view, is asked at each request.
    """

    __slots__ = ("leading", "place")

    def __init__(self, place: Place, leading: Place) -> None:
        self.place: Final = place
        self.leading: Final = leading

    def find(self, host: bytes) -> Place | None:
        place = self.place
        place.view = self.leading.view
        return place


class Nowhere(Places):
    """A connection that was for nothing of ours: its requests are refused, whatever the host."""

    __slots__ = ("_decision",)

    def __init__(self, decision: Decision) -> None:
        self._decision: Final = decision

    def find(self, host: bytes) -> Place | None:
        return None

    def why_none(self) -> Decision:
        return self._decision


class RouterPlaces(Places):
    """A router's, by host. Shared by its listeners."""

    __slots__ = ("_by_authority", "index")

    def __init__(self) -> None:
        self.index: PlaceIndex | None = None  # None: no table yet
        self._by_authority: dict[bytes, Place] = {}

    def put(self, index: PlaceIndex) -> None:
        """These places from now on."""
        self.index = index
        self._by_authority = index.by_authority

    def find(self, host: bytes) -> Place | None:
        place = self._by_authority.get(host)
        if place is not None:
            return place
        return self.index.find(host) if self.index is not None else None

    def why_none(self) -> Decision:
        return UNKNOWN_HOST_DECISION if self.index is not None else NOT_SYNCED_DECISION

    @property
    def previews(self) -> PreviewPlaces | None:
        """The preview hosts of the same table; None: it has none."""
        return self.index.previews if self.index is not None else None


class PlaceIndex:
    """The places of one list of services."""

    __slots__ = (
        "_hidden",
        "_hidden_several",
        "_left_to_learn",
        "_of",
        "_several",
        "_upstreams",
        "by_authority",
        "previews",
    )

    def __init__(self) -> None:
        # `host` where that is enough, and `host:port` with the port of its entry's upstream
        self.by_authority: Final[dict[bytes, Place]] = {}
        self._upstreams: Final[dict[Endpoint, int]] = {}  # how many services and previews name each
        self._several: Final[dict[bytes, dict[int, Place]]] = {}  # hosts with several entries, by upstream port
        self._of: Final[dict[Workload, list[Place]]] = {}
        self._left_to_learn = _LEARNED_AT_MOST
        self.previews: PreviewPlaces | None = None
        # What of these is a preview's host
        self._hidden: dict[bytes, Place] = {}
        self._hidden_several: dict[bytes, dict[int, Place]] = {}

    def add(self, service: Service, place: Place) -> None:
        """Of two entries for one host and one upstream port the first one counts."""
        self.count_upstream(service.upstream, 1)
        self._of.setdefault(service.baseline, []).append(place)
        for host in service.hosts:
            self._add_host(host_name(host.encode("ascii")), service.upstream.port, place)

    def _add_host(self, name: bytes, port: int, place: Place) -> None:
        known = self.by_authority
        if known.setdefault(named(name, port), place) is not place:
            return
        ports = self._several.get(name)
        if ports is None:
            first = known.setdefault(named(name), place)
            if first is place:
                return
            ports = self._several[name] = {first.baseline[0].port: first}
        ports[port] = place
        default = ports.get(DEFAULT_PORT)
        if default is not None:
            known[named(name)] = default
        else:
            known.pop(named(name), None)

    def find(self, authority: bytes) -> Place | None:
        """By an authority in any spelling."""
        place = self.by_authority.get(authority)
        if place is None:
            place = self._find_respelled(authority)
            if place is not None and self._left_to_learn:
                self._left_to_learn -= 1
                self.by_authority[authority] = place
        return place

    def _find_respelled(self, authority: bytes) -> Place | None:
        parts = split_authority(authority)
        if parts is None:
            return None
        name, port = parts
        ports = self._several.get(name)
        if ports is None:
            return self.by_authority.get(named(name))
        return ports.get(DEFAULT_PORT if port is None else port)

    def add_previews(self, previews: Sequence[Preview], view: WorkloadView | None) -> None:
        """After all services, which decide where a preview's requests arrive. `view`: that of `PREVIEWS`."""
        if previews and self.previews is None:
            self.previews = PreviewPlaces(self, view)
            self._of[PREVIEWS] = self.previews.own_places
        if self.previews is not None:
            domains = self.previews.hosts.domains
            for preview in previews:
                self.previews.put(preview)
            if self.previews.hosts.domains != domains:
                self._keep_apart(self.previews)

    def remove_previews(self, names: Iterable[PreviewName]) -> None:
        if self.previews is None:
            return
        domains = self.previews.hosts.domains
        for name in names:
            self.previews.remove(name)
        if self.previews.hosts.domains != domains:
            self._keep_apart(self.previews)
        if not self.previews.hosts:
            self.previews = None
            del self._of[PREVIEWS]

    def _keep_apart(self, previews: PreviewPlaces) -> None:
        """A host that could be a preview's is no service's: who asks for it must be let in."""
        self.by_authority.update(self._hidden)
        self._several.update(self._hidden_several)
        self._hidden = _taken_out(self.by_authority, previews.hosts)
        self._hidden_several = _taken_out(self._several, previews.hosts)
        previews.place_anew()

    @property
    def upstreams(self) -> AbstractSet[Endpoint]:
        """Where baselines are, and what previews lead to."""
        return self._upstreams.keys()

    def count_upstream(self, upstream: Endpoint, by: int) -> int:
        """How many name it now."""
        count = self._upstreams.get(upstream, 0) + by
        if count:
            self._upstreams[upstream] = count
        else:
            del self._upstreams[upstream]
        return count

    def lists(self, authority: bytes) -> bool:
        """Whether some service has this host, at whatever port."""
        parts = split_authority(authority)
        return parts is not None and (named(parts[0]) in self.by_authority or parts[0] in self._several)

    def workloads(self) -> Iterable[Workload]:
        return self._of.keys()

    def set_view(self, workload: Workload, view: WorkloadView | None) -> None:
        """All places of a workload look their requests up here from now on."""
        for place in self._of.get(workload, ()):
            place.view = view


def _taken_out(known: dict[bytes, T], hosts: PreviewHosts) -> dict[bytes, T]:
    """What stood in `known` under a preview's host."""
    below = [authority for authority in known if hosts.stands_below(authority)]
    return {authority: known.pop(authority) for authority in below}


# Whose view tells previews which keys are live: a workload that has no routes.
PREVIEWS: Final = Workload("-", "-", "previews")


class PreviewPlaces:
    """Where requests for previews arrive: at their upstream's place if a service lists it, else at one of their own.

    There every live key is one that is not forked, so a request goes on to the upstream; nothing marks it.
    """

    __slots__ = ("_any_place", "_index", "_places", "hosts", "own_places")

    def __init__(self, index: PlaceIndex, view: WorkloadView | None) -> None:
        self.hosts: Final = PreviewHosts()
        self._index: Final = index
        self._any_place: Final = _preview_place((), view)
        self.own_places: Final = [self._any_place]
        # By upstream, with how many previews name it; None: its host is a service's at another port, or a preview's.
        self._places: Final[dict[Endpoint, tuple[Place | None, int]]] = {}

    def put(self, preview: Preview) -> None:
        """One that is new, or has another upstream. Cost: 2 us."""
        before = self.hosts.put(preview)
        if before != preview.upstream:
            self._count(preview.upstream, 1)
            if before is not None:
                self._count(before, -1)

    def remove(self, name: PreviewName) -> None:
        before = self.hosts.remove(name)
        if before is not None:
            self._count(before, -1)

    def _count(self, upstream: Endpoint, by: int) -> None:
        self._index.count_upstream(upstream, by)
        known = self._places.get(upstream)
        place, count = known if known is not None else (self._made_place(upstream), 0)
        if count + by:
            self._places[upstream] = place, count + by
        else:
            del self._places[upstream]
            if place in self.own_places:
                self.own_places.remove(place)

    def place_anew(self) -> None:
        """Which hosts are services' and which are previews' has changed."""
        self.own_places[:] = [self._any_place]
        for upstream, (_, count) in self._places.items():
            self._places[upstream] = self._made_place(upstream), count

    def _made_place(self, upstream: Endpoint) -> Place | None:
        authority = authority_of(upstream)
        if self.hosts.find(authority) is not None:
            return None  # it would lead back here
        if self._index.lists(authority):
            return self._index.find(authority)
        place = _preview_place((upstream,), self._any_place.view)
        self.own_places.append(place)
        return place

    def why_dead(self, key: bytes) -> Decision | None:
        """How a request under this key is refused; None: the key is live."""
        place = self._any_place
        reading = KeyReading(key, False, False, False, None, None, None)
        decision = place.decider.decide(reading, place.view, place.number)
        return decision if decision.status else None

    def find(self, upstream: Endpoint) -> Place | None:
        """Where requests for this upstream arrive; None: its host is a service's at other ports, or a preview's."""
        known = self._places.get(upstream)
        return known[0] if known is not None else None


NO_PREVIEW_DECISION: Final = Decision(UNKNOWN_PREVIEW, "none", None, None, UNKNOWN_PREVIEW.status)
_PREVIEW_DECIDER: Final = Decider(PREVIEWS, Policy(unknown_key_rejects=True, gone_key_rejects=True), router=True)
_NO_HOP: Final = prepared(HOP, b"")  # never added: no route leads from there


def _preview_place(upstream: tuple[Endpoint, ...], view: WorkloadView | None) -> Place:
    return Place(0, upstream, _PREVIEW_DECIDER, _NO_HOP, view=view)
