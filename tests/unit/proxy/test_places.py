from __future__ import annotations

import pytest

from proxy.errors import NOT_SYNCED, UNKNOWN_HOST
from proxy.places import CapturedPlaces, Nowhere, PlaceIndex, RouterPlaces, router_place, sidecar_place
from proxy.routing.decision import NOT_CAPTURED_DECISION, Decider, Policy
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Preview, RoutingTable, Service

LOCATION = Workload("hotrod", "Deployment", "location")
DRIVER = Workload("hotrod", "Deployment", "driver")
VIEW = RoutingTable("1").view(LOCATION)


def service(*hosts: str, port: int = 8081, upstream_port: int = 80, baseline: Workload = LOCATION) -> Service:
    return Service(hosts, port, baseline, Endpoint("up", upstream_port))


def places(*services: Service) -> RouterPlaces:
    index = PlaceIndex()
    for each in services:
        index.add(each, router_place(each, Policy(), VIEW))
    router = RouterPlaces()
    router.put(index)
    return router


def found(router: RouterPlaces, host: bytes) -> int | None:
    """The workload's port of the place."""
    place = router.find(host)
    return None if place is None else place.number


def test_a_place() -> None:
    place = places(service("location")).find(b"location")
    assert place is not None
    assert (place.number, place.baseline, place.view) == (8081, (Endpoint("up", 80),), VIEW)
    assert place.decider.workload == LOCATION
    assert place.hop.line == b"pointsman-hop: hotrod/Deployment/location"
    assert place.baseline_hop is not None
    assert place.baseline_hop.line == b"pointsman-hop: hotrod/Deployment/location;baseline"
    assert place.callers is None


@pytest.mark.parametrize("host", [b"location", b"LOCATION", b"location.", b"location:80", b"location:9", b"location:"])
def test_one_entry_whatever_the_port(host: bytes) -> None:
    router = places(service("Location."), service("driver", port=1, baseline=DRIVER))
    for _ in range(2):  # the second time from what was learned
        assert found(router, host) == 8081


@pytest.mark.parametrize("host", [b"locatio", b"location.hotrod", b"", b"location:0", b"location:x", b"[location]"])
def test_unknown_hosts(host: bytes) -> None:
    router = places(service("location"))
    assert router.find(host) is None
    assert router.why_none().reason is UNKNOWN_HOST


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"location", 1),  # none is 80
        (b"location:80", 1),
        (b"Location:80", 1),
        (b"location:81", 2),
        (b"location.:081", 2),
        (b"location:82", 3),
        (b"location:83", None),
        (b"location:8081", None),
        (b"other", 3),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_several_entries_are_told_apart_by_port(host: bytes, port: int | None, order: int) -> None:
    entries = [service("location", port=number, upstream_port=79 + number) for number in (1, 2)]
    entries.append(service("location", "other", port=3, upstream_port=82))
    router = places(*entries[::order])
    for _ in range(2):
        assert found(router, host) == port


def test_several_entries_none_of_them_80() -> None:
    router = places(service("location", upstream_port=81), service("location", port=2, upstream_port=82))
    assert router.find(b"location") is None
    assert found(router, b"location:82") == 2


def test_of_two_entries_for_one_host_and_port_the_first_counts() -> None:
    router = places(service("location", port=1), service("location", port=2))
    assert found(router, b"location") == found(router, b"location:80") == 1


@pytest.mark.parametrize("host", [b"[::1]", b"[0::1]:80", b"[::0001]:9"])
def test_addresses(host: bytes) -> None:
    assert found(places(service("0:0:0:0:0:0:0:1")), host) == 8081


def test_before_the_first_table() -> None:
    router = RouterPlaces()
    assert router.find(b"location") is None
    assert router.why_none().reason is NOT_SYNCED


def test_spellings_from_strangers_are_learned_within_bounds() -> None:
    router = places(service("location"))
    assert router.index is not None
    for number in range(3000):
        assert found(router, b"location:%d" % (number + 1000)) == 8081
        assert router.find(b"unknown:%d" % number) is None
    assert 1000 < len(router.index.by_authority) < 1100


def test_what_was_learned_makes_no_other_spelling_a_host() -> None:
    router = places(service("location"))
    assert found(router, b"location.") == 8081
    for host in (b"location..", b"location...", b"location..:80"):
        assert router.find(host) is None


def test_a_new_view_for_one_workload() -> None:
    router = places(service("location"), service("l2", upstream_port=81), service("driver", baseline=DRIVER))
    assert router.index is not None
    view = RoutingTable("2").view(LOCATION)
    router.index.set_view(LOCATION, view)
    router.index.set_view(Workload("a", "b", "c"), view)
    views = [place.view for host in (b"location", b"l2", b"driver") if (place := router.find(host)) is not None]
    assert views == [view, view, VIEW]


def test_upstreams() -> None:
    router = places(service("a"), service("b", upstream_port=81))
    assert router.index is not None
    assert router.index.upstreams == {Endpoint("up", 80), Endpoint("up", 81)}


class TestPreviewsThatComeAndGo:
    """Hosts below a preview domain are previews' alone for as long as there is that domain."""

    WEB = Preview("preview.example", "web", Endpoint("up", 80))
    LOOP = Preview("other.example", "loop", Endpoint("web--k.preview.example", 80))
    NAMES = (b"web--k.preview.example", b"WEB--k.preview.example.:80", b"location")

    def numbers(self, router: RouterPlaces) -> list[int | None]:
        return [found(router, name) for name in self.NAMES]

    @pytest.mark.parametrize("several", [False, True])
    def test_a_service_is_hidden_and_comes_back(self, several: bool) -> None:
        one = service("web--k.preview.example", "location")
        others = (service("web--k.preview.example", port=8082, upstream_port=81),) if several else ()
        router = places(one, *others)
        index = router.index
        assert index is not None
        assert self.numbers(router) == [8081] * 3
        index.add_previews([self.WEB], VIEW)
        assert self.numbers(router) == [None, None, 8081]
        index.add_previews([Preview("preview.example", "api", Endpoint("up", 80))], VIEW)
        index.remove_previews([("preview.example", "web", None)])
        assert self.numbers(router) == [None, None, 8081]
        index.remove_previews([("preview.example", "api", None)])
        assert self.numbers(router) == [8081] * 3

    def test_what_would_lead_to_a_preview_leads_nowhere(self) -> None:
        index = PlaceIndex()
        index.add_previews([self.LOOP], VIEW)
        assert index.previews is not None
        assert index.previews.find(self.LOOP.upstream) is not None
        index.add_previews([self.WEB], VIEW)
        assert index.previews.find(self.LOOP.upstream) is None
        assert len(index.previews.own_places) == 2  # that of any, and that of `up`
        index.remove_previews([("preview.example", "web", None)])
        assert index.previews.find(self.LOOP.upstream) is not None


# --- captured ports ---


def test_a_captured_port_has_the_view_in_force() -> None:
    """Without anybody telling it."""
    decider = Decider(LOCATION, Policy())
    leading = sidecar_place(LOCATION, 0, Endpoint("-", 0), decider)
    captured = CapturedPlaces(sidecar_place(LOCATION, 8081, Endpoint("10.0.0.5", 8081), decider), leading)
    place = captured.find(b"whatever")
    assert place is not None
    assert (place.number, place.baseline, place.view) == (8081, (Endpoint("10.0.0.5", 8081),), None)
    leading.view = VIEW
    assert captured.find(b"") is place
    assert place.view is VIEW


def test_nowhere() -> None:
    places = Nowhere(NOT_CAPTURED_DECISION)
    assert places.find(b"location") is None
    assert places.why_none() is NOT_CAPTURED_DECISION
