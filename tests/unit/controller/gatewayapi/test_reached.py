"""What has a route in the table and none in the mesh meets the baseline: that must be said."""

from __future__ import annotations

from typing import Any

import yaml

from controller.gatewayapi.objects import Backend, ServiceName
from controller.gatewayapi.render import GatewaySettings, Rendered, render_gateway
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service

ROUTER = Backend(ServiceName("pointsman", "router"), 80)
BOTH = (GatewaySettings(), GatewaySettings("router", router=ROUTER))


def workload(name: str) -> Workload:
    return Workload("hotrod", "Deployment", name)


def route(name: str) -> Route:
    destination = Endpoint(f"fork-{name}.hotrod.svc", 8081)
    return Route(f"key-{name}", f"pr-{name}", workload(name), (Mapping(8081, None, "preserve", (destination,)),))


def service(name: str, behind: str | None = None) -> Service:
    return Service((name,), 8081, workload(behind or name), Endpoint(f"{name}.hotrod.svc.cluster.local", 80))


def owner(rules: str) -> dict[str, Any]:
    parent = {"group": "", "kind": "Service", "name": "v1", "port": 80}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "owner", "namespace": "hotrod"},
        "spec": {"parentRefs": [parent], "rules": yaml.safe_load(rules)},
    }


def found(result: Rendered) -> list[tuple[str | None, str, str]]:
    return [(finding.sandbox, finding.reason, finding.place) for finding in result.findings if not finding.is_routed]


def test_a_workload_without_a_service() -> None:
    for settings in BOTH:
        result = render_gateway([route("v1"), route("lonely")], [service("v1")], [], settings)
        assert found(result) == [("pr-lonely", "NotReached", "hotrod/Deployment/lonely")]


def test_one_of_several_workloads_behind_a_service_has_the_router() -> None:
    services = [service("v1"), service("v1", behind="v2")]
    keyed = [route("v1"), route("v2")]
    assert found(render_gateway(keyed, services, [], BOTH[0])) == []
    assert found(render_gateway(keyed, services, [], BOTH[1])) == [("pr-v2", "NotReached", "hotrod/Deployment/v2")]


def test_what_gets_no_requests_gets_none_with_a_key() -> None:
    """A rule's backend of weight 0, as a canary's is before it begins."""
    split = owner("[{backendRefs: [{name: v1, port: 80}, {name: v2, port: 80, weight: 0}]}]")
    result = render_gateway([route("v2")], [service("v1"), service("v2")], [split], BOTH[0])
    parents = [each["spec"]["parentRefs"][0]["name"] for each in result.routes]  # type: ignore[index]
    assert set(parents) == {"v2"}


def test_what_templates_leave_empty_is_not_there() -> None:
    rules = """
    - {matches: null, filters: null, timeouts: null, backendRefs: [{name: v1, port: 80, kind: null, weight: null}]}
    - {matches: [{path: null, method: null, headers: null}], backendRefs: [{name: v1, port: 80, namespace: null}]}
    """
    empty = owner(rules)
    empty["metadata"] |= {"creationTimestamp": None, "labels": None, "annotations": None}
    empty["spec"]["parentRefs"][0] |= {"sectionName": None, "namespace": None}
    (result,) = render_gateway([route("v1")], [service("v1")], [empty], GatewaySettings(form="signadot")).routes
    assert [len(rule["matches"]) for rule in result["spec"]["rules"]] == [3, 3]  # type: ignore[index]
