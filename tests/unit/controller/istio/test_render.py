"""In which objects copies stand, which hosts get one of ours, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.istio import ours
from controller.istio.findings import conditions
from controller.istio.matches import key_matches
from controller.istio.mesh import Mesh
from controller.istio.names import is_our_route, service_host
from controller.istio.ownership import json_patch
from controller.istio.render import Options, Rendered, removed, render
from controller.istio.services import KubernetesService, ServicePort
from controller.istio.virtualservices import read_virtual_service
from proxy.routing.names import Endpoint
from tests.support.mesh import DELEGATE, FORK, KEY, entry, http, mesh, route, to, virtual_service

PATCH = Options(own="patch")
ROUTER = Endpoint("router.pointsman.svc.cluster.local", 80)
OFF = {"pointsman.dev/istio": "off"}
NO_HOST = KubernetesService("hotrod", "location", {"a": "b"}, (ServicePort(80, 8081),))


def reasons(rendered: Rendered) -> list[str]:
    return [finding.reason for finding in rendered.findings]


def names(rendered: Rendered) -> list[str]:
    return [each["metadata"]["name"] for each in rendered.objects]  # type: ignore[index]


def routes(rendered: Rendered, name: str = "pointsman-location") -> list[dict[str, Any]]:
    (found,) = [each for each in rendered.objects if each["metadata"]["name"] == name]  # type: ignore[index]
    return found["spec"]["http"]  # type: ignore[no-any-return, index]


class TestDelegate:
    def test_the_delegate_is_ours_and_the_owners_list_stays(self) -> None:
        owner = virtual_service(DELEGATE, http())
        rendered = render(mesh(owner), [route()])
        (change,) = rendered.changes
        assert (change.before, change.is_ours, change.place) == (None, True, "VirtualService hotrod/pointsman-location")
        assert change.after is not None
        assert change.after["metadata"] == {
            "name": "pointsman-location",
            "namespace": "hotrod",
            "labels": {"app.kubernetes.io/managed-by": "pointsman"},
        }
        assert set(change.after["spec"]) == {"http"}  # type: ignore[call-overload]
        assert len(routes(rendered)) == 1
        assert rendered.findings == ()

    def test_an_owner_who_has_not_added_it_is_told_how(self) -> None:
        rendered = render(mesh(virtual_service(http())), [route()])
        assert rendered.changes == ()
        assert reasons(rendered) == ["DelegateMissing"]
        assert "- {name: sandboxes, delegate: {name: pointsman-location}}" in rendered.findings[0].message

    def test_the_owners_own_name_for_it_is_used(self) -> None:
        owner = virtual_service({"delegate": {"name": "pointsman-mine", "namespace": "hotrod"}}, http())
        assert names(render(mesh(owner), [route()])) == ["pointsman-mine"]

    def test_earlier_routes_are_repeated_under_the_key(self) -> None:
        before = http(to("driver"), match=[{"uri": {"prefix": "/d"}}], fault={"abort": {}}, name="to-driver")
        redirect = {"redirect": {"uri": "/"}, "match": [{"uri": {"exact": "/r"}}]}
        found = routes(render(mesh(virtual_service(DELEGATE, before, redirect, http(), http(to("x")))), [route()]))
        assert [list(each) for each in found] == [
            ["match", "fault", "name", "route"],
            ["redirect", "match", "name"],
            ["name", "match", "route"],
        ]
        assert found[0]["route"] == before["route"]
        assert [block["uri"] for block in found[0]["match"]] == [{"prefix": "/d"}] * len(key_matches(KEY))
        assert all({"baggage", "tracestate"} & set(block["headers"]) for each in found for block in each["match"])
        assert len({each["name"] for each in found}) == 3
        assert all(map(is_our_route, found))

    def test_only_for_keys_that_need_it(self) -> None:
        """A key whose copy of the route stands there needs no repetition, nor one without a later copy."""
        keyed = [route("a"), route("b", "driver")]
        around = mesh(virtual_service(DELEGATE, http(), http(to("driver"))), entries=[entry(), entry("driver")])
        found = routes(render(around, keyed))
        assert [each["route"][0]["destination"]["host"].partition(".")[0] for each in found] == [
            "fork-location",
            "location",
            "fork-driver",
        ]
        assert {"a" if "sd-routing-key" in json.dumps(found[0]) else ""} == {"a"}
        assert "b" in json.dumps(found[1]["match"])

    def test_routes_before_it_are_too_early(self) -> None:
        rendered = render(mesh(virtual_service(http(name="early"), DELEGATE, http())), [route()])
        assert reasons(rendered) == ["DelegateTooLate"]
        assert len(routes(rendered)) == 1

    def test_one_for_two_is_refused(self) -> None:
        around = mesh(virtual_service(DELEGATE, http()), virtual_service(DELEGATE, http(), name="b", hosts=["b"]))
        rendered = render(around, [route()])
        assert reasons(rendered) == ["DelegateShared"] * 2
        assert "pointsman-location" not in names(rendered)

    def test_a_route_that_cant_be_repeated_ends_it(self) -> None:
        torn = http(to("driver"), match=[{"headers": {"baggage": {"exact": "x"}}}])
        rendered = render(mesh(virtual_service(DELEGATE, http(match=[{"port": 1}]), torn, http())), [route()])
        assert reasons(rendered) == ["MatchConflict"]
        assert len(routes(rendered)) == 1

    def test_a_copy_that_is_torn_ends_it_too(self) -> None:
        """What the copy leaves out, a later copy would take, and it is the owner's next route's."""
        torn = http(match=[{"headers": {"baggage": {"exact": "x"}}}, {"port": 1}])
        rendered = render(mesh(virtual_service(DELEGATE, torn, http())), [route()])
        assert set(reasons(rendered)) == {"MatchConflict"}
        (found,) = routes(rendered)
        ports = [block.get("port") for block in found["match"]]
        assert ports.count(1) == len(key_matches(KEY))
        assert ports.count(None) < ports.count(1)  # x in baggage, the key in tracestate

    def test_what_templates_leave_empty_is_not_there(self) -> None:
        """An API server takes null, an empty list and an empty name for what is not said."""
        empty = {
            "match": [{"headers": None, "withoutHeaders": None, "port": None}],
            "route": [{**to(), "weight": None, "headers": None}],
            **dict.fromkeys(["delegate", "rewrite", "headers", "retries", "timeout", "mirror", "fault"]),
        }
        empty["route"][0]["destination"] |= {"port": {"number": None}, "subset": ""}
        spec: dict[str, Any] = {"gateways": [], "exportTo": None, "tcp": None, "tls": []}
        owner = virtual_service({"delegate": {"name": "inner", "namespace": ""}}, empty, **spec)
        rendered = render(mesh(owner, virtual_service(empty, hosts=None, name="inner")), [route()], PATCH)
        (found,) = [each for each in routes(rendered, "location") if is_our_route(each)]
        assert found["route"][0]["destination"]["host"] == FORK
        assert rendered.findings == ()

    def test_an_owners_route_may_be_about_something_of_this_name(self) -> None:
        owner = virtual_service(http(to("pointsman-ui"), name="pointsman-ui"), http())
        assert removed(mesh(owner)).changes == ()
        assert [each["name"] for each in routes(render(mesh(owner), [route()], PATCH), "location")[:1]] == [
            "pointsman-ui"
        ]

    @pytest.mark.parametrize("beside", [{"match": [{"uri": {"prefix": "/api"}}]}, {"timeout": "1s"}])
    def test_what_the_including_route_says_beside_is_found(self, beside: dict[str, Any]) -> None:
        """Istio ANDs its match to ours: what it leaves out would be a baseline's answer that nobody told of."""
        rendered = render(mesh(virtual_service({**DELEGATE, **beside}, http())), [route()])
        assert reasons(rendered) == ["DelegateConditional"]
        assert next(iter(beside)) in rendered.findings[0].message
        assert not rendered.findings[0].is_routed
        assert reasons(render(mesh(virtual_service({**DELEGATE, "match": []}, http())), [route()])) == []

    def test_the_owner_may_name_the_route_like_ours(self) -> None:
        owner = virtual_service({**DELEGATE, "name": "pointsman-location"}, http())
        rendered = render(mesh(owner), [route()])
        assert [change.name for change in rendered.changes] == ["pointsman-location"]

    def test_owners_delegates_are_repeated_in_their_place(self) -> None:
        inner = virtual_service(
            http(match=[{"uri": {"prefix": "/a/b"}}], name="in"),
            http(match=[{"uri": {"exact": "/c"}}]),
            hosts=None,
            name="inner",
        )
        outer = {"delegate": {"name": "inner"}, "match": [{"uri": {"prefix": "/a"}}], "timeout": "1s", "name": "out"}
        rendered = render(mesh(virtual_service(DELEGATE, outer, http(to("driver"))), inner), [route()])
        (found,) = routes(rendered)
        assert found["timeout"] == "1s"
        assert {block["uri"]["prefix"] for block in found["match"]} == {"/a/b"}
        assert rendered.findings == ()

    def test_a_delegate_of_another_namespace_keeps_its_hosts(self) -> None:
        inner = virtual_service(
            http(to("driver"), match=[{"uri": {"prefix": "/d"}, "gateways": ["g", "mesh", "a/b"]}]),
            hosts=None,
            name="inner",
            namespace="other",
        )
        outer = {"delegate": {"name": "inner", "namespace": "other"}}
        found = routes(render(mesh(virtual_service(DELEGATE, outer, http()), inner), [route()]))
        assert found[0]["route"][0]["destination"]["host"] == service_host("driver", "other")
        assert found[0]["match"][0]["gateways"] == ["other/g", "mesh", "a/b"]

    def test_a_delegate_that_is_not_given_ends_it(self) -> None:
        rendered = render(mesh(virtual_service(DELEGATE, http(), {"delegate": {"name": "x"}}, http())), [route()])
        assert len(routes(rendered)) == 1
        assert any("delegate hotrod/x is not given" in note for note in rendered.notes)

    def test_a_name_that_is_taken(self) -> None:
        taken = virtual_service(http(to("driver")), hosts=None, name="pointsman-location")
        rendered = render(mesh(virtual_service(DELEGATE, http()), taken), [route()])
        assert reasons(rendered) == ["NameTaken"]
        assert rendered.changes == ()

    def test_without_sandboxes_there_is_none(self) -> None:
        owner = virtual_service(DELEGATE, http())
        made = render(mesh(owner), [route()]).changes[0].after
        rendered = render(mesh(owner, read_virtual_service(dict(made or {}))), [])
        assert [(change.name, change.after) for change in rendered.changes] == [("pointsman-location", None)]

    def test_a_label_alone_makes_no_object_ours(self) -> None:
        owner = virtual_service(http(to("x")), labels={"app.kubernetes.io/managed-by": "pointsman"})
        assert render(mesh(owner), []).changes == ()


class TestPatch:
    def test_delegates_are_patched_themselves(self) -> None:
        inner = virtual_service(http(), hosts=None, name="inner")
        rendered = render(mesh(virtual_service({"delegate": {"name": "inner"}}), inner), [route()], PATCH)
        assert names(rendered) == ["inner"]

    def test_the_json_patch(self) -> None:
        owner = virtual_service(http())
        owner.document["metadata"]["resourceVersion"] = "17"  # type: ignore[index]
        (change,) = render(mesh(owner), [route()], PATCH).changes
        assert change.before is owner
        assert not change.is_ours
        assert change.after is not None
        patch = json_patch(owner, change.after)
        assert [(each["op"], each["path"]) for each in patch] == [
            ("test", "/metadata/resourceVersion"),
            ("replace", "/spec/http"),
        ]
        assert patch[0]["value"] == "17"
        assert [each["op"] for each in json_patch(virtual_service(http()), change.after)] == ["replace"]

    def test_what_the_owner_edits_meanwhile_stays(self) -> None:
        (change,) = render(mesh(virtual_service(http())), [route()], PATCH).changes
        edited: Any = json.loads(json.dumps(change.after))
        edited["spec"]["http"].insert(1, http(to("driver"), name="new"))
        edited["metadata"]["labels"] = {"a": "b"}
        (back,) = removed(Mesh((read_virtual_service(edited),))).changes
        assert back.after is not None
        assert back.after["spec"] == {"hosts": ["location"], "http": [http(to("driver"), name="new"), http()]}
        assert back.after["metadata"] == edited["metadata"]


class TestHosts:
    def test_a_host_without_one_gets_ours_with_the_default_last(self) -> None:
        rendered = render(mesh(), [route()])
        (change,) = rendered.changes
        assert change.after is not None
        assert change.after["spec"]["hosts"] == ["location.hotrod.svc.cluster.local"]  # type: ignore[call-overload, index]
        assert routes(rendered)[-1] == {
            "name": "default",
            "route": [{"destination": {"host": "location.hotrod.svc.cluster.local"}}],
        }
        assert rendered.findings == ()

    def test_each_host_of_a_workload(self) -> None:
        around = mesh(entries=[entry(), entry("where", behind="location")])
        assert names(render(around, [route()])) == ["pointsman-location", "pointsman-where"]

    @pytest.mark.parametrize(
        "hosts",
        [
            ["location"],
            ["location.hotrod.svc.cluster.local"],
            ["LOCATION"],
            ["*.hotrod.svc.cluster.local"],
            ["*.local"],
        ],
    )
    def test_a_host_that_has_one_gets_none(self, hosts: list[str]) -> None:
        assert names(render(mesh(virtual_service(http(), hosts=hosts)), [route()], PATCH)) == ["location"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"hosts": ["location.hotrod"]},  # what istiod does not complete
            {"hosts": ["location"], "namespace": "other"},
            {"gateways": ["ingress"]},
            {"exportTo": ["."]},
        ],
    )
    def test_what_the_mesh_has_not_is_none(self, fields: dict[str, Any]) -> None:
        owner = virtual_service(http(to("location.hotrod.svc.cluster.local")), **fields)
        assert sorted(names(render(mesh(owner), [route()], PATCH))) == ["location", "pointsman-location"]

    def test_one_for_other_protocols_is_none(self) -> None:
        owner = virtual_service(tcp=[{"route": [to("driver")]}])
        assert names(render(mesh(owner), [route()])) == ["pointsman-location"]

    def test_names_do_not_clash_with_delegates(self) -> None:
        owner = virtual_service(DELEGATE, http(), gateways=["ingress"])
        found = names(render(mesh(owner), [route()]))
        assert len(set(found)) == 2
        assert "pointsman-location" in found

    def test_the_oldest_counts(self) -> None:
        old = virtual_service(http(), name="old", created="2026-01-01T00:00:00Z")
        young = virtual_service(http(), name="a-young", created="2026-01-02T00:00:00Z")
        unmade = virtual_service(http(), name="a")
        rendered = render(mesh(young, unmade, old), [route()], PATCH)
        assert names(rendered) == ["old"]
        assert len([note for note in rendered.notes if "is older" in note]) == 2

    def test_a_gateway_joins_all(self) -> None:
        old = virtual_service(http(), name="old", created="2026-01-01T00:00:00Z")
        young = virtual_service(http(), name="young", gateways=["mesh", "ingress"])
        assert names(render(mesh(young, old), [route()], PATCH)) == ["old", "young"]

    def test_what_nothing_leads_to_is_found(self) -> None:
        around = Mesh(services=(NO_HOST,))
        assert reasons(render(around, [route()])) == ["NotReached"]


class TestRefused:
    def test_opted_out(self) -> None:
        rendered = render(mesh(virtual_service(http(), annotations=OFF)), [route()], PATCH)
        assert (reasons(rendered), rendered.changes) == (["OptedOut"], ())
        service = KubernetesService("hotrod", "location", {}, (), annotations=OFF)
        rendered = render(mesh(services=(service,)), [route()])
        assert (reasons(rendered), rendered.changes) == (["OptedOut"], ())

    def test_opting_out_takes_ours_out(self) -> None:
        (change,) = render(mesh(virtual_service(http())), [route()], PATCH).changes
        document: Any = json.loads(json.dumps(change.after))
        document["metadata"]["annotations"] = OFF
        rendered = render(mesh(read_virtual_service(document)), [route()], PATCH)
        (back,) = rendered.changes
        assert back.after is not None
        assert back.after["spec"] == virtual_service(http()).document["spec"]

    AMBIENT = {"hotrod": {"istio.io/dataplane-mode": "ambient"}}
    WAYPOINT = {"hotrod": {"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w"}}

    @pytest.mark.parametrize("virtual_services", [(), (virtual_service(http()),)])
    def test_ambient_mode_needs_a_waypoint(self, virtual_services: Any) -> None:
        for options in (PATCH, Options(mode="router", router=ROUTER, own="patch")):
            refused = render(mesh(*virtual_services, namespaces=self.AMBIENT), [route()], options)
            assert (reasons(refused), refused.changes) == (["AmbientMode"], ())
            taken = render(mesh(*virtual_services, namespaces=self.WAYPOINT), [route()], options)
            assert (taken.findings, len(taken.changes)) == ((), 1)

    def test_a_gateway_before_ambient_mode_routes_all_the_same(self) -> None:
        owner = virtual_service(http(), gateways=["mesh", "ingress"])
        rendered = render(mesh(owner, namespaces=self.AMBIENT), [route()], PATCH)
        assert reasons(rendered) == ["AmbientMode"]
        assert names(rendered) == ["location"]

    def test_too_large_goes_to_the_router(self) -> None:
        keyed = [route(f"k{number}", sandbox=f"pr-{number}") for number in range(1000)]
        owner = virtual_service(http(), name="location")
        rendered = render(mesh(owner), keyed, Options(own="patch", router=ROUTER))
        assert {finding.reason for finding in rendered.findings} == {"FanIn"}
        assert len(rendered.findings) == 1000
        assert len(routes(rendered, "location")) == 2
        assert routes(rendered, "location")[0]["route"][0]["destination"]["host"] == ROUTER.host
        said = conditions(rendered.findings, ["k1"])["k1"]
        assert (said.is_true, said.reason) == (True, "FanIn")

    def test_too_large_without_a_router_is_refused(self) -> None:
        keyed = [route(f"k{number}") for number in range(1000)]
        rendered = render(mesh(virtual_service(http())), keyed, PATCH)
        assert {finding.reason for finding in rendered.findings} == {"ObjectTooLarge"}
        assert rendered.changes == ()
        assert not conditions(rendered.findings, ["k1"])["k1"].is_true

    def test_no_object_passes_the_limit(self) -> None:
        keyed = [route(f"k{number}") for number in range(130)]
        for each in render(mesh(virtual_service(http())), keyed, PATCH).objects:
            assert len(json.dumps(each)) < ours.MAX_OBJECT_BYTES


class TestMetadata:
    ASKED = {
        "pointsman.dev/extra-labels": '{"team": "a", "app.kubernetes.io/managed-by": "me"}',
        "pointsman.dev/extra-annotations": '{"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}',
    }

    def test_extra_labels_and_annotations_are_on_ours(self) -> None:
        rendered = render(mesh(virtual_service(DELEGATE, http(), annotations=self.ASKED)), [route()])
        metadata = rendered.objects[0]["metadata"]
        assert metadata["labels"] == {"team": "a", "app.kubernetes.io/managed-by": "pointsman"}  # type: ignore[index]
        assert metadata["annotations"] == {"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}  # type: ignore[index]
        service = KubernetesService("hotrod", "location", {}, (), annotations=self.ASKED)
        metadata = render(mesh(services=(service,)), [route()]).objects[0]["metadata"]
        assert metadata["labels"]["team"] == "a"  # type: ignore[index]

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
    def test_what_is_no_object_is_said(self, text: str) -> None:
        owner = virtual_service(DELEGATE, http(), annotations={"pointsman.dev/extra-labels": text})
        rendered = render(mesh(owner), [route()])
        assert any("extra-labels is no JSON object" in note for note in rendered.notes)
        assert len(rendered.objects) == 1


class TestConditions:
    def test_a_condition_for_each_key(self) -> None:
        rendered = render(mesh(virtual_service(http())), [route("a"), route("b", "driver")])
        found = conditions(rendered.findings, ["a", "b", "c"])
        assert [(found[key].type, found[key].is_true, found[key].reason) for key in "abc"] == [
            ("MeshRouted", False, "DelegateMissing"),
            ("MeshRouted", True, "Routed"),
            ("MeshRouted", True, "Routed"),
        ]

    def test_what_is_for_all_keys_is_in_each(self) -> None:
        options = Options(mode="router", router=ROUTER)
        rendered = render(mesh(virtual_service(http())), [], options)
        assert conditions(rendered.findings, [KEY])[KEY].reason == "DelegateMissing"


def test_a_fork_is_named_in_full() -> None:
    assert FORK in json.dumps(render(mesh(), [route(KEY, "location", "fork-location.hotrod.svc:8081")]).objects)
