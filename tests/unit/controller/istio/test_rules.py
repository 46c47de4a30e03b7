"""Rules mode: what is copied of an owner's routes, and where it leads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controller.istio.matches import key_matches
from controller.istio.mesh import Mesh
from controller.istio.render import Options, Rendered, render
from controller.istio.virtualservices import read_virtual_service
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route
from tests.support.mesh import FORK, KEY, SPEC_8, entry, http, mesh, route, to, virtual_service

PATCH = Options(own="patch")
UNDER_KEY = [match.document() for match in key_matches(KEY)]

# The owner's alone.
OWNERS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: location, namespace: hotrod-istio}
spec:
  hosts: [location]
  http:
  - route:
    - destination: {host: location}
"""


def test_the_virtual_service_of_spec_8() -> None:
    place = Endpoint("local-location-location-9f4477c8.hotrod-istio.svc.cluster.local", 8081)
    baseline = Workload("hotrod-istio", "Deployment", "location")
    routes = [Route("qwblp48fpmb30", "local-location", baseline, (Mapping(8081, "http", "preserve", (place,)),))]
    owners = read_virtual_service(yaml.safe_load(OWNERS))
    rendered = render(Mesh((owners,)), routes, Options(own="patch", form="signadot"))
    (found,) = rendered.objects
    routes_found = found["spec"]["http"]  # type: ignore[index]
    assert routes_found[0].pop("name").startswith("pointsman-")
    assert found == yaml.safe_load(SPEC_8)
    assert rendered.findings == ()


def patched(*routes: dict[str, Any], keyed: list[Route] | None = None, **fields: Any) -> list[dict[str, Any]]:
    """The owner's list with ours in it."""
    rendered = rendered_patch(*routes, keyed=keyed, **fields)
    assert rendered.findings == ()
    found: Any = next(each for each in rendered.objects if each["metadata"]["name"] == "location")  # type: ignore[index]
    return list(found["spec"]["http"])


def rendered_patch(
    *routes: dict[str, Any], keyed: list[Route] | None = None, around: Mesh | None = None, **fields: Any
) -> Rendered:
    around = around or mesh()
    owners = Mesh(
        (*around.virtual_services, virtual_service(*routes, **fields)),
        around.entries,
        around.services,
        around.pod_labels,
        around.subsets,
        around.namespaces,
        around.outside,
    )
    return render(owners, keyed if keyed is not None else [route()], PATCH)


def nameless(found: dict[str, Any]) -> dict[str, Any]:
    assert found["name"].startswith("pointsman-")
    assert len(found["name"]) <= 63
    return {name: value for name, value in found.items() if name != "name"}


FORKED = [{"destination": {"host": FORK, "port": {"number": 8081}}}]


class TestOneRoute:
    def test_a_route_without_match_gets_the_keys_blocks(self) -> None:
        ours, owners = patched(http())
        assert nameless(ours) == {"match": UNDER_KEY, "route": FORKED}
        assert owners == http()

    def test_the_key_is_in_each_of_the_owners_blocks(self) -> None:
        blocks = [{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "1"}}}, {"port": 80, "method": {"exact": "GET"}}]
        ours, owners = patched(http(match=blocks, name="mine"))
        under = [set(block["headers"]) for block in UNDER_KEY]
        assert [block.get("uri") for block in ours["match"]] == [{"prefix": "/a"}] * len(under) + [None] * len(under)
        assert [set(block["headers"]) for block in ours["match"]] == [{"x", *names} for names in under] + under
        assert all(block["method"] == {"exact": "GET"} and block["port"] == 80 for block in ours["match"][len(under) :])
        assert owners == http(match=blocks, name="mine")

    def test_what_the_owner_says_of_the_route_is_kept(self) -> None:
        kept = {
            "rewrite": {"uri": "/", "authority": "a"},
            "timeout": "3s",
            "retries": {"attempts": 2},
            "headers": {"request": {"add": {"a": "b"}}},
            "corsPolicy": {"allowOrigins": [{"exact": "*"}]},
            "somethingNew": 1,
        }
        dropped = {"mirror": {"host": "m"}, "mirrors": [], "mirrorPercentage": {"value": 1}, "fault": {"abort": {}}}
        headers = {"response": {"remove": ["x"]}}
        ours, _ = patched(http(to(headers=headers), **kept, **dropped))
        assert nameless(ours) == {"match": UNDER_KEY, "route": [{**FORKED[0], "headers": headers}], **kept}

    def test_redirects_and_direct_responses_are_not_copied(self) -> None:
        others = [{"redirect": {"uri": "/x"}}, {"directResponse": {"status": 404}}]
        assert patched(*others, http())[:2] == others

    def test_routes_to_others_are_not_copied(self) -> None:
        assert len(patched(http(to("driver")), http(), http(to("location.other")))) == 4

    def test_each_sandbox_has_a_copy_directly_before(self) -> None:
        keyed = [route("b", sandbox="two"), route("a", sandbox="one")]
        found = patched(http(name="first", match=[{"uri": {"exact": "/"}}]), http(name="rest"), keyed=keyed)
        names = [each["name"].rpartition("-")[0] or each["name"] for each in found]
        assert names == ["pointsman-one", "pointsman-two", "first", "pointsman-one", "pointsman-two", "rest"]
        assert len({each["name"] for each in found}) == 6

    def test_names_do_not_change_when_the_owner_adds_a_route(self) -> None:
        before = {each["name"] for each in patched(http(name="a"), http(name="b"))}
        after = {each["name"] for each in patched(http(to("driver"), name="new"), http(name="a"), http(name="b"))}
        assert after - before == {"new"}


class TestWhereItLeads:
    def test_weights_go_wholly_to_the_fork(self) -> None:
        ours, _ = patched(http(to("driver", weight=90), to(weight=10)))
        assert ours["route"] == FORKED

    def test_a_weight_of_nothing_is_no_destination(self) -> None:
        rendered = rendered_patch(http(to("driver", weight=100), to(weight=0)))
        assert rendered.objects == ()
        assert [finding.reason for finding in rendered.findings] == ["NotReached"]

    def test_two_forked_destinations_share_as_their_baselines_do(self) -> None:
        keyed = [route(), route(KEY, "driver", "d1.hotrod.svc:1", "d2.hotrod.svc:1")]
        around = mesh(entries=[entry(), entry("driver")])
        ours = patched(http(to(weight=80), to("driver", weight=20)), keyed=keyed, around=around)[0]
        assert [(each["destination"]["host"].partition(".")[0], each["weight"]) for each in ours["route"]] == [
            ("fork-location", 160),
            ("d1", 20),
            ("d2", 20),
        ]

    def test_several_destinations_of_a_mapping_share_evenly(self) -> None:
        ours, _ = patched(http(), keyed=[route(KEY, "location", "b.hotrod.svc:2", "a.hotrod.svc:1")])
        assert ours["route"] == [
            {"destination": {"host": f"{name}.hotrod.svc.cluster.local", "port": {"number": port}}, "weight": 1}
            for name, port in (("a", 1), ("b", 2))
        ]

    @pytest.mark.parametrize(
        ("keyed", "reason", "error"),
        [
            (route(KEY, "location", "-"), "no_destination", "destination_unavailable"),
            (route(port=9999), "port_not_mapped", "destination_not_found"),
            (route(mappings=()), "port_not_mapped", "destination_not_found"),
        ],
    )
    def test_what_leads_nowhere_is_refused_and_no_baseline(self, keyed: Route, reason: str, error: str) -> None:
        ours, owners = patched(
            http(timeout="1s", rewrite={"uri": "/"}, match=[{"uri": {"prefix": "/"}}]), keyed=[keyed]
        )
        assert ours["directResponse"]["status"] == 503
        assert ours["directResponse"]["body"]["string"].startswith(f"pointsman: {reason}: ")
        status = ours["headers"]["response"]["set"]["proxy-status"]
        assert status.startswith(f'pointsman; error={error}; details="{reason}: ')
        assert [block["uri"] for block in ours["match"]] == [{"prefix": "/"}] * len(UNDER_KEY)
        assert set(ours) == {"name", "match", "directResponse", "headers"}
        assert "route" in owners

    @pytest.mark.parametrize("host", ["10.0.0.1", "::1", "laptop.dev.example"])
    def test_what_is_no_host_of_the_mesh_is_refused_and_found(self, host: str) -> None:
        rendered = rendered_patch(http(), keyed=[route(KEY, "location", f"{host}:1")])
        (finding,) = rendered.findings
        assert (finding.reason, finding.routing_key, finding.sandbox) == ("NotInMesh", KEY, "pr-1")
        assert rendered.objects[0]["spec"]["http"][0]["directResponse"]["status"] == 503  # type: ignore[index]

    def test_what_a_service_entry_declares_is_a_host_of_the_mesh(self) -> None:
        around = mesh(outside=frozenset(["laptop.dev.example"]))
        ours, _ = patched(http(), keyed=[route(KEY, "location", "Laptop.dev.example.:1")], around=around)
        assert ours["route"][0]["destination"]["host"] == "laptop.dev.example"

    def test_of_several_destinations_those_of_the_mesh_are_used(self) -> None:
        rendered = rendered_patch(http(), keyed=[route(KEY, "location", "10.0.0.1:1", "a.hotrod.svc:1")])
        assert len(rendered.findings) == 1
        assert len(rendered.objects[0]["spec"]["http"][0]["route"]) == 1  # type: ignore[index]

    def test_authority(self) -> None:
        ours, _ = patched(http(rewrite={"uri": "/", "authority": "theirs"}), keyed=[route(authority="destination")])
        assert ours["rewrite"] == {"uri": "/", "authority": f"{FORK}:8081"}
        keyed = [route(KEY, "location", "a.hotrod.svc:80", "b.hotrod.svc:81", authority="destination")]
        ours, _ = patched(http(rewrite={"authority": "theirs"}), keyed=keyed)
        assert "rewrite" not in ours
        assert [each["headers"]["request"]["set"] for each in ours["route"]] == [
            {":authority": "a.hotrod.svc.cluster.local"},
            {":authority": "b.hotrod.svc.cluster.local:81"},
        ]


class TestPorts:
    TWO = (entry(service_port=80, port=8081), entry(service_port=90, port=8090))

    def test_a_destinations_port_chooses(self) -> None:
        keyed = [route(port=8090)]
        found = patched(http(to(port=90)), http(to(port=80)), keyed=keyed, around=mesh(entries=self.TWO))
        assert found[0]["route"] == FORKED
        assert found[2]["directResponse"]["status"] == 503

    def test_without_a_port_the_one_that_was_called_chooses(self) -> None:
        found = patched(http(), keyed=[route(port=8090)], around=mesh(entries=self.TWO))
        assert [{block["port"] for block in each["match"]} for each in found[:2]] == [{80}, {90}]
        assert "directResponse" in found[0]
        assert found[1]["route"] == FORKED
        assert len({each["name"] for each in found[:2]}) == 2

    def test_an_owners_port_is_kept(self) -> None:
        found = patched(http(match=[{"port": 90}]), keyed=[route(port=8090)], around=mesh(entries=self.TWO))
        assert len(found) == 2
        assert {block["port"] for block in found[0]["match"]} == {90}

    def test_ports_that_lead_to_one_port_are_one(self) -> None:
        entries = (entry(service_port=80), entry(service_port=8080))
        found = patched(http(), around=mesh(entries=entries))
        assert nameless(found[0]) == {"match": UNDER_KEY, "route": FORKED}

    def test_without_a_service_the_only_mapping_counts(self) -> None:
        rendered = render(Mesh((virtual_service(http()),)), [route(port=1234)], PATCH)
        assert rendered.objects[0]["spec"]["http"][0]["route"] == FORKED  # type: ignore[index]
        assert "is assumed by name" in rendered.notes[0]

    def test_without_a_service_several_mappings_need_the_destinations_port(self) -> None:
        mappings = [Mapping(port, None, "preserve", (Endpoint(FORK, port),)) for port in (1, 2)]
        rendered = render(Mesh((virtual_service(http(to(port=2)), http()),)), [route(mappings=mappings)], PATCH)
        found = rendered.objects[0]["spec"]["http"]  # type: ignore[index]
        assert found[0]["route"][0]["destination"]["port"] == {"number": 2}
        assert found[2]["directResponse"]["status"] == 503
        assert [finding.reason for finding in rendered.findings] == ["PortUnknown"]


class TestSubsets:
    AROUND = mesh(
        entries=[entry(behind="location-v1"), entry(behind="location-v2")],
        pod_labels={
            entry(behind=f"location-{version}").baseline: {"app": "location", "version": version}
            for version in ("v1", "v2")
        },
        subsets={("location.hotrod.svc.cluster.local", version): {"version": version} for version in ("v1", "v2")},
    )

    def test_a_subset_is_a_workload(self) -> None:
        keyed = [route(KEY, "location-v2", f"{FORK}:8081")]
        found = patched(http(to(subset="v1")), http(to(subset="v2")), keyed=keyed, around=self.AROUND)
        assert [each.get("route") for each in found] == [[to(subset="v1")], FORKED, [to(subset="v2")]]

    def test_without_a_subset_any_of_them(self) -> None:
        keyed = [route(KEY, "location-v2", f"{FORK}:8081")]
        assert patched(http(), keyed=keyed, around=self.AROUND)[0]["route"] == FORKED

    def test_an_unknown_subset_may_be_any(self) -> None:
        rendered = rendered_patch(
            http(to(subset="v3")), keyed=[route(KEY, "location-v2", f"{FORK}:8081")], around=self.AROUND
        )
        assert len(rendered.objects[0]["spec"]["http"]) == 2  # type: ignore[index]
        assert any("subset v3" in note for note in rendered.notes)


class TestConflicts:
    def test_a_block_that_matches_on_our_headers_is_left_out_and_found(self) -> None:
        blocks = [{"headers": {"Baggage": {"exact": "a=b"}}}, {"uri": {"exact": "/"}}]
        rendered = rendered_patch(http(match=blocks))
        (finding,) = rendered.findings
        assert (finding.reason, finding.place) == ("MatchConflict", "VirtualService hotrod/location")
        ours = rendered.objects[0]["spec"]["http"][0]  # type: ignore[index]
        assert [block.get("uri") for block in ours["match"]].count({"exact": "/"}) == len(UNDER_KEY)

    @pytest.mark.parametrize("section", ["tcp", "tls"])
    def test_other_protocols(self, section: str) -> None:
        rendered = rendered_patch(http(), **{section: [{"match": [{"port": 1}], "route": [to()]}]})
        assert [(finding.reason, section in finding.message) for finding in rendered.findings] == [("NotHttp", True)]
        assert rendered_patch(http(), **{section: [{"route": [to("driver")]}]}).findings == ()

    def test_a_key_whose_match_is_too_long(self) -> None:
        names = ["n" * 600]
        rendered = render(mesh(virtual_service(http())), [route()], Options(own="patch", names=names))
        assert [finding.reason for finding in rendered.findings] == ["MatchTooLong"]
        assert rendered.changes == ()
