"""Routes for the Gateway API: what is made of simple cases, what is refused, and what is taken out again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from controller.errors import ObjectError
from controller.gatewayapi.objects import OPT_OUT, Backend, ServiceName
from controller.gatewayapi.render import (
    BASELINE,
    REGULAR_EXPRESSIONS,
    ROUTING_KEY,
    GatewaySettings,
    Rendered,
    remove_gateway,
    render_gateway,
)
from controller.istio.ours import EXTRA_ANNOTATIONS, EXTRA_LABELS
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service
from tests.support.gatewayapi import Object, Request, decide, led_to

LOCATION = Workload("hotrod", "Deployment", "location")
SERVICES = [Service(("location",), 8081, LOCATION, Endpoint("location.hotrod.svc.cluster.local", 80))]
ROUTER = Backend(ServiceName("pointsman", "router"), 80)
AT = (("hotrod", "location"), 80)


def fork(key: str, *hosts: str, port: int = 8081, protocol: str | None = None) -> Route:
    destinations = tuple(Endpoint(host, 8081) for host in hosts)
    return Route(key, f"hotrod/{key}", LOCATION, (Mapping(port, protocol, "preserve", destinations),))


ONE = fork("one", "location-one.hotrod.svc")


def owner(rules: str, kind: str = "HTTPRoute", name: str = "owner", **metadata: Any) -> Object:
    port = metadata.pop("port", 80)
    parent = {"group": "", "kind": "Service", "name": "location", **({"port": port} if port else {})}
    if "section" in metadata:
        parent["sectionName"] = metadata.pop("section")
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "hotrod", **metadata},
        "spec": {"parentRefs": [parent], "rules": yaml.safe_load(rules)},
    }


def render(*documents: Object, routes: tuple[Route, ...] = (ONE,), **settings: Any) -> Rendered:
    before = copy.deepcopy(documents)
    result = render_gateway(routes, SERVICES, documents, GatewaySettings(**settings))
    assert documents == before, "an owner's document was changed"
    return result


def specs(result: Rendered) -> list[Any]:
    return [route["spec"] for route in result.routes]


def rules(result: Rendered) -> list[Any]:
    return [rule for spec in specs(result) for rule in spec["rules"]]


def reasons(result: Rendered) -> list[tuple[str | None, str]]:
    return [(finding.routing_key, finding.reason) for finding in result.findings]


class TestWithoutRoutes:
    def test_a_service_gets_its_own_endpoints_and_the_fork(self) -> None:
        """Once a route stands at a Service, what no rule matches is answered 404."""
        result = render()
        baseline, keyed = result.routes
        assert BASELINE in _annotations(baseline)
        assert _annotations(keyed)[ROUTING_KEY] == "one"
        assert {each["kind"] for each in result.routes} == {"HTTPRoute"}
        assert specs(result)[0]["parentRefs"] == [{"group": "", "kind": "Service", "name": "location", "port": 80}]
        documents = [dict(each) for each in result.routes]
        assert led_to(decide(documents, Request(), *AT)) == ["location/80"]
        tagged = Request(headers=[("baggage", "sd-routing-key=one")])
        assert led_to(decide(documents, tagged, *AT)) == ["location-one/8081"]
        assert result.notes == (REGULAR_EXPRESSIONS,)
        assert not result.findings

    def test_without_sandboxes_nothing_stands(self) -> None:
        assert render(routes=()) == Rendered()

    def test_several_destinations_share_the_requests(self) -> None:
        result = render(routes=(fork("one", "a.hotrod.svc", "b.other.svc.cluster.local."),))
        assert rules(result)[1]["backendRefs"] == [
            {"group": "", "kind": "Service", "name": "a", "port": 8081, "weight": 1},
            {"group": "", "kind": "Service", "name": "b", "namespace": "other", "port": 8081, "weight": 1},
        ]

    @pytest.mark.parametrize(
        ("route", "said"),
        [(fork("one"), "no destination"), (fork("one", "a.hotrod.svc", port=9), "no port 8081")],
    )
    def test_what_can_not_be_served_is_never_the_baseline(self, route: Route, said: str) -> None:
        """A rule without backends answers 500."""
        result = render(routes=(route,))
        assert set(rules(result)[1]) == {"matches"}
        assert reasons(result) == [("one", "NoDestination")]
        assert said in result.findings[0].message

    def test_a_service_may_lead_to_several_workloads(self) -> None:
        canary = LOCATION._replace(name="location-canary")
        services = [*SERVICES, Service(("location",), 9000, canary, SERVICES[0].upstream)]
        destinations = (Endpoint("canary-one.hotrod.svc", 9000),)
        routes = [Route("one", "hotrod/one", canary, (Mapping(9000, None, "preserve", destinations),))]
        result = render_gateway(routes, services, [], GatewaySettings())
        assert [each["name"] for each in rules(result)[1]["backendRefs"]] == ["canary-one"]

    def test_names_are_kubernetes_names(self) -> None:
        keys = ("A_b", "a_b", "x" * 63)
        result = render(routes=tuple(fork(key, "a.hotrod.svc") for key in keys))
        names = {_metadata(each)["name"] for each in result.routes}
        assert len(names) == 4
        assert all(len(name) <= 63 and name.replace("-", "").isalnum() and name == name.lower() for name in names)

    def test_a_service_may_ask_for_more_labels_and_annotations(self) -> None:
        service: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "location",
                "namespace": "hotrod",
                "annotations": {EXTRA_LABELS: '{"team": "a"}', EXTRA_ANNOTATIONS: '{"b": "c"}'},
            },
            "spec": {},
        }
        for route in render(service).routes:
            assert _metadata(route)["labels"] == {"team": "a", "app.kubernetes.io/managed-by": "pointsman"}
            assert _annotations(route)["b"] == "c"
        service["metadata"]["annotations"][EXTRA_LABELS] = "nothing"
        assert any("extra-labels is no JSON" in note for note in render(service).notes)


class TestBesideAnOwner:
    def test_filters_and_timeouts_stay_and_mirrors_go(self) -> None:
        rule = """
        - name: all
          matches: [{path: {type: PathPrefix, value: /api}}]
          timeouts: {request: 3s}
          filters:
          - {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /}}}
          - {type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}
          backendRefs: [{name: location, port: 80, weight: 90}, {name: location-v2, port: 80, weight: 10}]
        """
        result = render(owner(rule))
        (made,) = rules(result)
        assert made["timeouts"] == {"request": "3s"}
        assert [each["type"] for each in made["filters"]] == ["URLRewrite"]
        assert [each["name"] for each in made["backendRefs"]] == ["location-one"]
        assert {match["path"]["value"] for match in made["matches"]} == {"/api"}
        assert "name" not in made  # it would be there twice
        assert any("mirrors" in note for note in result.notes)

    def test_redirects_are_not_copied(self) -> None:
        rule = """
        - matches: [{path: {value: /old}}]
          filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]
        - backendRefs: [{name: location, port: 80}]
        """
        assert [each["matches"][0].get("path", {}).get("value") for each in rules(render(owner(rule)))] == ["/"]

    def test_a_redirect_that_a_copy_would_overtake_is_kept_before_it(self) -> None:
        rule = """
        - matches: [{headers: [{name: x, value: "1"}]}]
          filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]
        - matches: [{queryParams: [{name: q, value: "1"}]}]
          backendRefs: [{name: location, port: 80}]
        """
        theirs = owner(rule)
        made = [theirs, *(dict(each) for each in render(theirs).routes)]
        both = Request(headers=[("x", "1"), ("baggage", "sd-routing-key=one")], query={"q": "1"})
        met = decide(made, both, *AT)
        assert met is not None
        assert met["filters"][0]["type"] == "RequestRedirect"

    def test_a_rewritten_prefix_has_a_rule_for_each_match(self) -> None:
        rule = """
        - matches: [{path: {value: /a}}]
          filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
          backendRefs: [{name: location, port: 80}]
        """
        assert [len(each["matches"]) for each in rules(render(owner(rule)))] == [1, 1, 1]

    def test_filters_of_the_backend_stay(self) -> None:
        rule = """
        - backendRefs:
          - {name: location, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]}
        """
        assert [each["type"] for each in rules(render(owner(rule)))[0]["backendRefs"][0]["filters"]] == [
            "RequestHeaderModifier"
        ]

    def test_ours_name_no_port_where_the_owner_s_do_not(self) -> None:
        result = render(owner("[{backendRefs: [{name: location, port: 80}]}]", port=None))
        assert [spec["parentRefs"] for spec in specs(result)] == [
            [{"group": "", "kind": "Service", "name": "location"}]
        ]

    def test_callers_with_routes_of_their_own_get_ours_beside_them(self) -> None:
        theirs = owner("[{backendRefs: [{name: location, namespace: hotrod, port: 80}]}]")
        theirs["metadata"]["namespace"] = "shop"
        theirs["spec"]["parentRefs"][0]["namespace"] = "hotrod"
        result = render(theirs)
        made = [theirs, *(dict(each) for each in result.routes)]
        for caller in ("shop", "elsewhere"):
            tagged = Request(headers=[("tracestate", "sd-sandbox=one")], caller=caller)
            found = led_to(decide(made, tagged, *AT))
            assert found is not None
            assert "location-one/8081" in found[0]
        assert {_metadata(each)["namespace"] for each in result.routes} == {"hotrod", "shop"}

    def test_loose_matches(self) -> None:
        (made,) = rules(render(owner("[{backendRefs: [{name: location, port: 80}]}]"), form="signadot"))
        assert made["matches"][0]["headers"][0]["value"].startswith(r"^.*\b(sd-routing-key|sd-sandbox)\s*=")


class TestWhatCanNotBeSaid:
    """Limits that the docs list. A test that fails here says that one of them is gone."""

    ROUTES = (ONE, fork("two", "location-two.hotrod.svc"))

    def met(self, *headers: tuple[str, str]) -> list[str] | None:
        documents = [dict(each) for each in render(routes=self.ROUTES).routes]
        return led_to(decide(documents, Request(headers=headers), *AT))

    def test_baggage_decides_where_both_keys_are_forked_here(self) -> None:
        both = ("baggage", "sd-routing-key=two"), ("tracestate", "sd-routing-key=one")
        assert self.met(*both) == ["location-two/8081"]

    def test_a_key_in_baggage_that_is_not_forked_here(self) -> None:
        """The proxy: the baseline."""
        both = ("baggage", "sd-routing-key=elsewhere"), ("tracestate", "sd-routing-key=one")
        assert self.met(*both) == ["location-one/8081"]

    @pytest.mark.parametrize("value", ["sd-routing-key=gone", "sd-strict=1", "sd-strict=1,sd-routing-key=unknown"])
    def test_gone_keys_and_strict_requests(self, value: str) -> None:
        """The proxy: 424."""
        assert self.met(("baggage", value)) == ["location/80"]


class TestGrpc:
    SERVICE: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "location", "namespace": "hotrod"},
        "spec": {"ports": [{"port": 80, "appProtocol": "grpc"}]},
    }

    @pytest.mark.parametrize("port", [{"appProtocol": "grpc"}, {"name": "grpc"}, {"name": "grpc-api"}])
    def test_a_grpc_port_gets_grpc_routes(self, port: Object) -> None:
        service = copy.deepcopy(self.SERVICE)
        service["spec"]["ports"] = [{"port": 80, **port}]
        result = render(service)
        assert {each["kind"] for each in result.routes} == {"GRPCRoute"}
        documents = [dict(each) for each in result.routes]
        tagged = Request("/a.A/Get", headers=[("baggage", "sd-routing-key=one")])
        assert led_to(decide(documents, tagged, *AT)) == ["location-one/8081"]
        assert led_to(decide(documents, Request("/a.A/Get"), *AT)) == ["location/80"]

    @pytest.mark.parametrize("port", [{"appProtocol": "http"}, {"name": "grpc-web"}, {"name": "http-grpc"}])
    def test_other_ports_do_not(self, port: Object) -> None:
        service = copy.deepcopy(self.SERVICE)
        service["spec"]["ports"] = [{"port": 80, **port}]
        assert {each["kind"] for each in render(service).routes} == {"HTTPRoute"}

    def test_a_fork_may_say_it(self) -> None:
        result = render(routes=(fork("one", "a.hotrod.svc", protocol="grpc"),))
        assert {each["kind"] for each in result.routes} == {"GRPCRoute"}

    def test_ours_are_of_the_owner_s_kind(self) -> None:
        result = render(self.SERVICE, owner("[{backendRefs: [{name: location, port: 80}]}]"))
        assert {each["kind"] for each in result.routes} == {"HTTPRoute"}


BACKEND = "backendRefs: [{name: location, port: 80}]"


class TestRefusals:
    """Nothing is made, the sandbox is told, and the owner's stand as they stood."""

    @pytest.mark.parametrize(
        ("documents", "reason"),
        [
            pytest.param(
                [owner(f"[{{{BACKEND}}}]"), owner(f"[{{{BACKEND}}}]", "GRPCRoute")], "KindConflict", id="two kinds"
            ),
            pytest.param(
                [owner(f"[{{{BACKEND}}}]"), owner(f"[{{{BACKEND}}}]", name="b", port=None)], "MixedPorts", id="ports"
            ),
            pytest.param([owner(f"[{{{BACKEND}}}]", section="http")], "SectionName", id="a port by its name"),
            pytest.param([owner(f"[{{{BACKEND}}}]", annotations={OPT_OUT: "off"})], "OptedOut", id="a route's opt-out"),
            pytest.param(
                [{"apiVersion": "v1", "kind": "Service", "metadata": {
                    "name": "location", "namespace": "hotrod", "annotations": {OPT_OUT: "off"}}, "spec": {}}],
                "OptedOut",
                id="a service's opt-out",
            ),
            pytest.param(
                [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "location", "namespace": "hotrod"},
                  "spec": {"clusterIP": "None"}}],
                "NoParent",
                id="headless",
            ),
            pytest.param(
                [
                    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "location", "namespace": "hotrod"},
                     "spec": {}},
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {
                        "name": "hotrod", "labels": {"istio.io/dataplane-mode": "ambient"}}},
                ],
                "NoWaypoint",
                id="ambient without a waypoint",
            ),
            pytest.param(
                [owner(f"[{{matches: [{{headers: [{{name: Baggage, value: a}}]}}], {BACKEND}}}]")],
                "DoesNotFit",
                id="the owner matches on baggage",
            ),
        ],
    )  # fmt: skip
    def test_it_is_said(self, documents: list[Object], reason: str) -> None:
        result = render(*documents)
        assert (result.routes, reasons(result)) == ((), [("one", reason)])

    def test_a_destination_that_is_no_service(self) -> None:
        result = render(routes=(fork("one", "192.0.2.1"), fork("two", "two.hotrod.svc")))
        assert (result.routes, reasons(result)) == ((), [("one", "DoesNotFit"), ("two", "DoesNotFit")])

    def test_a_waypoint_is_enough(self) -> None:
        service: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "location",
                "namespace": "hotrod",
                "labels": {"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"},
            },
            "spec": {},
        }
        assert not render(service).findings

    def test_a_document_without_the_shape_of_its_kind(self) -> None:
        with pytest.raises(ObjectError, match=r"HTTPRoute owner: rules must be a list of objects"):
            render(owner("nothing"))


class TestFanIn:
    def test_what_does_not_fit_is_led_to_the_router(self) -> None:
        result = render(routes=(fork("one", "192.0.2.1"),), router=ROUTER)
        documents = [dict(each) for each in result.routes]
        tagged = [("baggage", "sd-routing-key=anything")]
        assert led_to(decide(documents, Request(headers=tagged), *AT)) == ["pointsman/router/80"]
        back = [*tagged, ("pointsman-hop", "hotrod/Deployment/location;baseline")]
        assert led_to(decide(documents, Request(headers=back), *AT)) == ["location/80"]
        assert led_to(decide(documents, Request(), *AT)) == ["location/80"]
        (finding,) = result.findings
        assert (finding.reason, finding.is_routed) == ("FanIn", True)
        assert "no Service" in finding.message

    def test_too_many_sandboxes(self) -> None:
        routes = tuple(fork(f"key{number}", "a.hotrod.svc") for number in range(101))
        assert len(render(routes=routes[:100]).routes) == 101
        result = render(routes=routes, router=ROUTER)
        assert len(result.routes) == 2
        assert {(each.reason, each.is_routed) for each in result.findings} == {("FanIn", True)}
        assert "101 sandboxes" in result.findings[0].message
        assert len(render(routes=routes).findings) == 101

    def test_it_does_not_depend_on_sandboxes(self) -> None:
        settings = {"mode": "router", "router": ROUTER}
        many = tuple(fork(f"key{number}", "a.hotrod.svc") for number in range(1000))
        assert render(**settings, routes=()).routes == render(**settings, routes=many).routes

    def test_a_strict_request_without_a_key_is_the_router_s(self) -> None:
        """It answers 424; the baseline would be a false green."""
        documents = [dict(each) for each in render(mode="router", router=ROUTER).routes]
        strict = Request(headers=[("baggage", "sd-strict=1")])
        assert led_to(decide(documents, strict, *AT)) == ["pointsman/router/80"]

    def test_what_the_owner_rewrites_is_done_once(self) -> None:
        rule = f"""
        - filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /}}}}}}]
          timeouts: {{request: 1s}}
          {BACKEND}
        """
        result = render(owner(rule), mode="router", router=ROUTER)
        back, out = rules(result)
        named = {"type": "URLRewrite", "urlRewrite": {"hostname": "location.hotrod.svc.cluster.local"}}
        assert (set(out), out["filters"]) == ({"matches", "backendRefs", "filters"}, [named])
        assert set(back) == {"matches", "backendRefs", "filters", "timeouts"}
        near = render(owner(rule), mode="router", router=Backend(ServiceName("hotrod", "router"), 80))
        assert "filters" not in rules(near)[1]
        assert any("without what is done by rule 0 of HTTPRoute hotrod/owner" in note for note in result.notes)

    def test_a_rule_to_another_service_stays_where_it_leads(self) -> None:
        result = render_gateway(
            (Route("one", "hotrod/one", LOCATION._replace(name="v2"), ()),),
            [*SERVICES, Service(("v2",), 8081, LOCATION._replace(name="v2"), Endpoint("v2.hotrod.svc", 80))],
            [owner("[{matches: [{path: {value: /v2}}], backendRefs: [{name: v2, port: 80}]}]")],
            GatewaySettings(mode="router", router=ROUTER),
        )
        assert ("one", "OtherHost") in reasons(result)
        paths = {match.get("path", {}).get("value") for rule in rules(result) for match in rule["matches"]}
        assert "/v2" not in paths

    def test_the_router_s_own_service_is_left_alone(self) -> None:
        router = Backend(ServiceName("hotrod", "location"), 80)
        assert not render(mode="router", router=router).routes

    def test_it_needs_a_router(self) -> None:
        with pytest.raises(ValueError, match="where the router is"):
            render(mode="router")


class TestSplit:
    def many(self, prefix: str) -> str:
        return yaml.safe_dump(
            [
                {
                    "matches": [{"path": {"value": f"/{prefix}{number}"}}] * 3,
                    "backendRefs": [{"name": "location", "port": 80}],
                    "timeouts": {"request": f"{number + 1}s"},
                }
                for number in range(12)
            ]
        )

    def test_rules_that_never_meet_are_split_over_routes(self) -> None:
        result = render(owner(self.many("a")))
        assert [len(spec["rules"]) for spec in specs(result)] == [16, 8]
        assert not result.findings

    def test_rules_whose_order_decides_are_not(self) -> None:
        """Which of two routes comes first is a matter of their age, which nobody chooses."""
        same = [each | {"matches": [{"path": {"value": "/"}}] * 3} for each in yaml.safe_load(self.many("a"))]
        result = render(owner(yaml.safe_dump(same)))
        assert (result.routes, reasons(result)) == ((), [("one", "DoesNotFit")])


class TestRemoval:
    def test_rendering_again_changes_nothing(self) -> None:
        theirs = owner(f"[{{{BACKEND}}}]")
        first = render(theirs)
        assert render(theirs, *(dict(each) for each in first.routes)) == first

    def test_a_sandbox_that_is_gone_takes_its_route_with_it(self) -> None:
        both = render(routes=(ONE, fork("two", "two.hotrod.svc")))
        result = render(*(dict(each) for each in both.routes))
        assert [_annotations(each).get(ROUTING_KEY) for each in result.removed] == ["two"]

    def test_the_last_takes_all_the_baseline_s_route_last(self) -> None:
        standing = [dict(each) for each in render(routes=(ONE, fork("two", "two.hotrod.svc"))).routes]
        for result in (render(*standing, routes=()), remove_gateway(standing)):
            assert not result.routes
            assert [BASELINE in _annotations(each) for each in result.removed] == [False, False, True]

    def test_others_are_never_removed(self) -> None:
        theirs = owner(f"[{{{BACKEND}}}]", name="pointsman-of-somebody")
        labelled = owner(f"[{{{BACKEND}}}]", labels={"app.kubernetes.io/managed-by": "pointsman"})
        assert remove_gateway([theirs, labelled]) == Rendered()


def _metadata(document: Any) -> Any:
    return document["metadata"]


def _annotations(document: Any) -> Any:
    return document["metadata"].get("annotations", {})
