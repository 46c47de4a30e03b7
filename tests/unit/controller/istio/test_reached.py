"""What has a route in the table and none in the mesh meets the baseline: that must be said."""

from __future__ import annotations

import pytest

from controller.istio import ours
from controller.istio.findings import conditions
from controller.istio.mesh import Mesh
from controller.istio.render import Options, Rendered, render
from proxy.routing.names import Endpoint
from tests.support.mesh import KEY, entry, http, mesh, route, to, virtual_service

PATCH = Options(own="patch")
ROUTER = Endpoint("router.pointsman.svc.cluster.local", 80)
TO_ROUTER = Options(mode="router", router=ROUTER, own="patch")


def reasons(rendered: Rendered) -> list[str]:
    return [finding.reason for finding in rendered.findings]


def names(rendered: Rendered) -> list[str]:
    return [each["metadata"]["name"] for each in rendered.objects]  # type: ignore[index]


OTHER = http(to("elsewhere"))


def test_a_younger_virtual_service_of_the_same_host_does_not_count() -> None:
    old = virtual_service(OTHER, name="old", created="2020-01-01T00:00:00Z")
    young = virtual_service(http(), name="young", created="2021-01-01T00:00:00Z")
    for options in (PATCH, TO_ROUTER):
        rendered = render(mesh(old, young), [route()], options)
        assert reasons(rendered) == ["NotReached"]
        assert "the mesh takes VirtualService hotrod/old" in rendered.findings[0].message
    both = virtual_service(http(), name="old", created="2020-01-01T00:00:00Z")
    assert reasons(render(mesh(both, young), [route()], PATCH)) == []


def test_which_of_two_files_is_older_is_not_guessed() -> None:
    """By their names `a` would count; in the cluster it may be `b`."""
    rendered = render(mesh(virtual_service(OTHER, name="a"), virtual_service(http(), name="b")), [route()], PATCH)
    assert (reasons(rendered), names(rendered)) == (["AgeUnknown"], ["b"])
    assert "VirtualService hotrod/a" in rendered.findings[0].message
    turned = mesh(virtual_service(http(), name="a"), virtual_service(OTHER, name="b"))
    assert reasons(render(turned, [route()], PATCH)) == ["AgeUnknown"]


def test_what_is_said_to_be_routed_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "MAX_OBJECT_BYTES", 2000)
    elsewhere = virtual_service(OTHER, name="driver", hosts=["driver"])
    around = mesh(virtual_service(http()), elsewhere, entries=[entry(), entry("driver")])
    rendered = render(around, [route(), route(name="driver")], Options(router=ROUTER, own="patch"))
    assert reasons(rendered) == ["FanIn", "NotReached"]
    assert not conditions(rendered.findings, [KEY])[KEY].is_true


def test_a_route_that_matches_on_the_key_s_header_is_told_what_to_do() -> None:
    owner = virtual_service(http(match=[{"headers": {"baggage": {"regex": ".*tenant=acme.*"}}}]), http())
    for options in (PATCH, TO_ROUTER):
        (finding,) = render(mesh(owner), [route()], options).findings
        assert finding.reason == "MatchConflict"
        assert "its route #0" in finding.message
        assert "let it match on something else" in finding.message


def test_no_service_so_no_router() -> None:
    rendered = render(Mesh((virtual_service(http()),)), [route()], TO_ROUTER)
    assert reasons(rendered) == ["NotReached"]
    assert "no Service is given" in rendered.findings[0].message


def test_a_router_takes_one_of_several_workloads_behind_a_service() -> None:
    entries = [entry(behind="location-v1"), entry(behind="location-v2")]
    keyed = [route("a", "location-v1", sandbox="a"), route("b", "location-v2", sandbox="b")]
    rendered = render(mesh(virtual_service(http()), entries=entries), keyed, TO_ROUTER)
    assert [(each.reason, each.sandbox) for each in rendered.findings] == [("NotReached", "b")]
    assert "another workload behind the same Service" in rendered.findings[0].message


def test_a_canary_with_a_service_of_its_own() -> None:
    """The router is asked by one host, so what the other Service's sandbox changed is not met on this way."""
    split = http(to("location-primary", weight=90), to("location", weight=10))
    entries = [entry(), entry("location-primary")]
    rendered = render(mesh(virtual_service(split), entries=entries), [route()], TO_ROUTER)
    assert reasons(rendered) == ["NotReached"]
    assert "leads there beside location-primary.hotrod.svc.cluster.local" in rendered.findings[0].message
    assert any("without subset or weights" in note for note in rendered.notes)
    assert reasons(render(mesh(virtual_service(split), entries=entries), [route()], PATCH)) == []
    other = render(mesh(virtual_service(split), entries=entries), [route(name="location-primary")], TO_ROUTER)
    assert reasons(other) == []


def test_a_gateways_subset_is_lost_behind_a_router() -> None:
    owner = virtual_service(http(to(subset="v1")), hosts=["shop.example"], gateways=["ingress"], name="shop")
    rendered = render(mesh(owner), [], TO_ROUTER)
    assert any("without subset or weights" in note for note in rendered.notes)
    inside = render(mesh(virtual_service(http(to(subset="v1")))), [], TO_ROUTER)
    assert not any("without subset" in note for note in inside.notes)
