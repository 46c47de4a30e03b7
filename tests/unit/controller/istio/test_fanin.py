"""Fan-in: constant routes to the router, and what comes back passes the owner's things once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from controller.istio.mesh import Mesh
from controller.istio.names import is_our_route
from controller.istio.render import Options, Rendered, render
from controller.istio.services import KubernetesService
from proxy.routing.names import Endpoint
from proxy.routing.table import Service
from tests.support.mesh import DELEGATE, entry, http, mesh, route, to, virtual_service, workload

ROUTER = Endpoint("router.pointsman.svc.cluster.local", 8080)
OPTIONS = Options(mode="router", router=ROUTER, own="patch")
TO_ROUTER = [{"destination": {"host": ROUTER.host, "port": {"number": 8080}}}]
FULL = "location.hotrod.svc.cluster.local"


def listed(rendered: Rendered, name: str = "location") -> list[dict[str, Any]]:
    (found,) = [each for each in rendered.objects if each["metadata"]["name"] == name]  # type: ignore[index]
    return found["spec"]["http"]  # type: ignore[no-any-return, index]


def patched(*routes: dict[str, Any], entries: tuple[Service, ...] = (), **fields: Any) -> list[dict[str, Any]]:
    rendered = render(mesh(virtual_service(*routes, **fields), entries=entries), [], OPTIONS)
    assert rendered.findings == ()
    return listed(rendered)


class TestConstant:
    def test_sandboxes_change_nothing(self) -> None:
        around = mesh(virtual_service(http()), entries=[entry(), entry("driver")])
        without = render(around, [], OPTIONS)
        assert render(around, [route(), route("x", "driver")], OPTIONS).objects == without.objects

    def test_one_route_to_the_router(self) -> None:
        ours, owners = patched(http())
        assert ours["route"] == TO_ROUTER
        assert owners == http()
        assert len(ours["match"]) == 4
        assert all("pointsman-hop" in block["withoutHeaders"] for block in ours["match"])

    def test_each_service_that_has_none_gets_one(self) -> None:
        rendered = render(mesh(entries=[entry(), entry("driver")]), [], OPTIONS)
        assert [each["metadata"]["name"] for each in rendered.objects] == ["pointsman-driver", "pointsman-location"]  # type: ignore[index]
        found = listed(rendered, "pointsman-location")
        assert [each["route"] for each in found] == [TO_ROUTER, [{"destination": {"host": FULL}}]]

    def test_the_routers_own_service_and_those_that_are_off_get_none(self) -> None:
        router = Service(("router",), 1, workload("router"), Endpoint(ROUTER.host, 8080))
        off = KubernetesService("hotrod", "driver", {}, (), annotations={"pointsman.dev/istio": "off"})
        around = Mesh(entries=(entry(), entry("driver"), router), services=(off,))
        assert [each["metadata"]["name"] for each in render(around, [], OPTIONS).objects] == ["pointsman-location"]  # type: ignore[index]

    def test_a_delegate_repeats_what_is_before(self) -> None:
        around = mesh(virtual_service(DELEGATE, http(to("x"), match=[{"uri": {"prefix": "/x"}}]), http()))
        rendered = render(around, [], Options(mode="router", router=ROUTER))
        found = listed(rendered, "pointsman-location")
        assert [each["route"] for each in found] == [[to("x")], TO_ROUTER]
        assert [len(each["match"]) for each in found] == [4, 4]


class TestOnce:
    """CHECKLIST M4: retries and timeouts are not applied twice, nor is anything else."""

    def test_the_copy_keeps_and_what_comes_back_has_it_not(self) -> None:
        kept = {"timeout": "1s", "retries": {"attempts": 3}, "rewrite": {"uri": "/"}, "corsPolicy": {"maxAge": "1s"}}
        mirror = {"mirror": {"host": "m"}, "fault": {"abort": {"httpStatus": 500}}}
        headers = {"request": {"add": {"a": "b"}}}
        back, ours, owners = patched(http(to(headers=headers), match=[{"uri": {"prefix": "/a"}}], **kept, **mirror))
        assert {name: ours[name] for name in kept} == {**kept, "rewrite": {"uri": "/", "authority": FULL}}
        assert not set(mirror) & set(ours)
        assert ours["route"] == [{**TO_ROUTER[0], "headers": headers}]
        assert {name: value for name, value in back.items() if name not in ("name", "match")} == {
            "route": [to()],
            **mirror,
            "retries": {"attempts": 0},
        }
        assert owners["timeout"] == "1s"

    def test_what_comes_back_is_told_by_its_last_hop(self) -> None:
        back = patched(http(timeout="1s"))[0]
        (block,) = back["match"]
        hop = re.compile(block["headers"]["pointsman-hop"]["regex"])
        me = "hotrod/Deployment/location"
        for value in (f"{me};baseline", f"a/b/c,{me};baseline", f"a/b/c;baseline, {me};baseline "):
            assert hop.fullmatch(value), value
        for value in (me, f"{me};baseline,a/b/c", f"x{me};baseline", f"{me}x;baseline", me.replace("o", ".")):
            assert not hop.fullmatch(value), value

    def test_only_routers_may_come_back(self) -> None:
        """A caller that writes `pointsman-hop` itself must not pass over the owner's other routes."""
        (block,) = patched(http(timeout="1s"))[0]["match"]
        assert block["sourceNamespace"] == "pointsman"
        elsewhere = Options("router", Endpoint("router.mesh.example", 80), "patch")
        (block,) = listed(render(mesh(virtual_service(http(timeout="1s"))), [], elsewhere))[0]["match"]
        assert block["gateways"] == ["mesh"]
        ambient = {"hotrod": {"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w"}}
        around = mesh(virtual_service(http(timeout="1s")), namespaces=ambient)
        (block,) = listed(render(around, [], OPTIONS))[0]["match"]
        assert block["gateways"] == ["mesh"]

    def test_without_retries_of_the_owner_the_meshs_are_made_behind_the_router(self) -> None:
        back, ours, _ = patched(http(timeout="1s"))
        assert ours["retries"] == {"attempts": 0}
        assert "retries" not in back

    def test_what_has_nothing_to_do_twice_needs_no_way_back(self) -> None:
        assert len(patched(http(mirror={"host": "m"}))) == 2

    def test_routes_that_differ_are_told_apart(self) -> None:
        first = http(to(subset="v2"), match=[{"uri": {"prefix": "/v2"}}], rewrite={"uri": "/"}, name="v2")
        found = patched(first, http(to(subset="v1"), name="v1"))
        assert len(found) == 3 + 4
        marked = {}
        for back in found[:2]:
            headers = back["match"][0]["headers"]
            marked[headers["pointsman-route"]["exact"]] = back["route"][0]["destination"]["subset"]
            assert back["headers"] == {"request": {"remove": ["pointsman-route"]}}
        copies = [found[3], found[5]]
        assert [marked[each["headers"]["request"]["set"]["pointsman-route"]] for each in copies] == ["v2", "v1"]
        assert found[2]["route"] == [{"destination": {"host": FULL}}]
        assert set(found[2]["match"][0]["headers"]) == {"pointsman-hop"}

    @pytest.mark.parametrize(
        "about",
        [
            {"sourceLabels": {"app": "frontend"}},
            {"sourceNamespace": "hotrod"},
            {"port": 80},
            {"authority": {"exact": "a"}},
        ],
    )
    def test_conditions_on_the_caller_hold_on_the_way_back(self, about: dict[str, Any]) -> None:
        """The router's own proxy would find that they don't, and lead the caller's request elsewhere."""
        found = patched(http(to(subset="v2"), match=[about]), http(to(subset="v1")))
        backs = [each for each in found if "pointsman-hop" in each.get("match", [{}])[0].get("headers", {})]
        assert [each["route"][0]["destination"].get("subset") for each in backs] == ["v2", "v1", None]

    def test_a_gateway_has_no_way_back(self) -> None:
        assert len(patched(http(timeout="1s"), gateways=["ingress"])) == 2


class TestAuthority:
    """The router chooses by Host, so it must be one that its table has."""

    NEAR = Options(mode="router", router=Endpoint("router.hotrod.svc.cluster.local", 8080), own="patch")

    def near(self, *entries: Service, **fields: Any) -> dict[str, Any]:
        """The copy where the router's pods know the Service by its bare name."""
        return listed(render(mesh(virtual_service(http(), **fields), entries=entries), [], self.NEAR))[0]

    def test_the_services_own_names_stay(self) -> None:
        assert "rewrite" not in self.near()
        assert "rewrite" not in self.near(hosts=[FULL])

    def test_a_bare_name_means_nothing_in_the_routers_namespace(self) -> None:
        """Its own proxy would send such requests to no Service of the mesh, or to another one of that name."""
        assert patched(http())[0]["rewrite"] == {"authority": FULL}
        assert patched(http(rewrite={"authority": "location"}))[1]["rewrite"] == {"authority": FULL}

    @pytest.mark.parametrize("hosts", [["shop.example"], ["location", "shop.example"], ["*.hotrod.svc.cluster.local"]])
    def test_other_hosts_become_the_services(self, hosts: list[str]) -> None:
        rendered = render(mesh(virtual_service(http(rewrite={"uri": "/"}), hosts=hosts)), [], OPTIONS)
        assert listed(rendered)[1]["rewrite"] == {"uri": "/", "authority": FULL}
        assert any("Host becomes" in note for note in rendered.notes)

    def test_a_name_that_several_namespaces_have(self) -> None:
        assert patched(http(), entries=(entry(bare=False),))[0]["rewrite"] == {"authority": FULL}

    TWO = (entry(service_port=80), entry(service_port=90, port=8090))

    def test_a_port_that_the_route_chooses(self) -> None:
        assert patched(http(to(port=90)), entries=self.TWO)[0]["rewrite"] == {"authority": f"{FULL}:90"}
        assert patched(http(to(port=80)), entries=self.TWO)[0]["rewrite"] == {"authority": FULL}
        assert "rewrite" not in self.near(*self.TWO)
        found = [each["rewrite"]["authority"] for each in patched(http(), entries=self.TWO) if "rewrite" in each]
        assert found == [FULL, f"{FULL}:90"]

    def test_what_the_owner_makes_of_it(self) -> None:
        ours = patched(http(rewrite={"authority": "location.hotrod"}))[1]
        assert ours["rewrite"] == {"authority": "location.hotrod"}
        rendered = render(mesh(virtual_service(http(headers={"request": {"set": {"Host": "x"}}}))), [], OPTIONS)
        assert listed(rendered)[1]["rewrite"] == {"authority": FULL}
        assert listed(rendered)[1]["headers"] == {"request": {"set": {}}}
        assert any("in place of x" in note for note in rendered.notes)

    def test_several_workloads_behind_one_host(self) -> None:
        entries = (entry(behind="location-v1"), entry(behind="location-v2"))
        rendered = render(mesh(virtual_service(http()), entries=entries), [], OPTIONS)
        assert "location-v1" in listed(rendered)[0]["match"][0]["withoutHeaders"]["pointsman-hop"]["regex"]
        assert any("leads to hotrod/Deployment/location-v1, hotrod/Deployment/location-v2" in n for n in rendered.notes)

    def test_a_subset_of_other_workloads_is_not_the_routers(self) -> None:
        """The router would take its requests for those of the workload that it knows, and lead them to its fork."""
        entries = (entry(behind="location-v1"), entry(behind="location-v2"))
        around = mesh(
            virtual_service(http(to(subset="v2"), match=[{"uri": {"prefix": "/v2"}}]), http(to(subset="v1"))),
            entries=entries,
            pod_labels={workload(f"location-{v}"): {"version": v} for v in ("v1", "v2")},
            subsets={(FULL, v): {"version": v} for v in ("v1", "v2")},
        )
        ours = [is_our_route(each) for each in listed(render(around, [], OPTIONS))]
        assert ours == [False, True, False]
