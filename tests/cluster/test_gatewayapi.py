"""The Gateway API's definitions on a real API server: what they refuse, and that they take what we render."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from controller.gatewayapi.objects import Backend, ServiceName
from controller.gatewayapi.render import GatewaySettings, remove_gateway, render_gateway
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service
from tests.property.test_gatewayapi import rendered, some_owner, some_table
from tests.support.celrules import CelRules
from tests.support.gatewayapi import Object
from tests.support.kube import Client

ROUTER = Backend(ServiceName("pointsman", "router"), 80)


def route(namespace: str, kind: str = "HTTPRoute", name: str = "location", **rule: Any) -> Object:
    rule.setdefault("backendRefs", [{"name": "location", "port": 80}])
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "location", "port": 80}], "rules": [rule]},
    }


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_a_valid_route_is_taken(kube: Client, namespace: str, kind: str) -> None:
    headers = [{"name": "baggage", "type": "RegularExpression", "value": "a.*"}]
    document = route(namespace, kind, matches=[{"headers": headers}])
    assert kube.apply(document).status == 201
    assert kube.current(document)["spec"]["rules"][0]["matches"][0]["headers"] == headers


@pytest.mark.parametrize(
    ("kind", "rule", "said"),
    [
        ("HTTPRoute", {"matches": [{"headers": [{"name": "a", "value": "b", "type": "Glob"}]}]}, "Glob"),
        ("HTTPRoute", {"matches": [{"headers": [{"name": "a"}]}]}, "value"),
        ("HTTPRoute", {"matches": [{"headers": [{"name": "a", "value": "b" * 4097}]}]}, "4096"),
        ("HTTPRoute", {"matches": [{"headers": [{"name": "a", "value": "b"}] * 2}]}, "Duplicate"),
        ("HTTPRoute", {"matches": [{}] * 65}, "64"),
        ("HTTPRoute", {"backendRefs": [{"port": 80}]}, "name"),
        ("GRPCRoute", {"matches": [{"method": {"type": "Prefix", "service": "a"}}]}, "Prefix"),
        ("GRPCRoute", {"backendRefs": [{"name": "a", "port": 0}]}, "port"),
    ],
)
def test_a_bad_route_is_refused(kube: Client, namespace: str, kind: str, rule: Object, said: str) -> None:
    refused = kube.create(route(namespace, kind, **rule))
    assert refused.status == 422
    assert said in refused.message


def test_seventeen_rules_are_refused(kube: Client, namespace: str) -> None:
    document = route(namespace)
    document["spec"]["rules"] *= 17
    assert kube.create(document, dry_run=True).status == 422


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"matches": [{}] * 64}, ""),
        ({"matches": [{"path": {"value": "a"}}]}, "must be an absolute path"),
        ({"backendRefs": [{"name": "location"}]}, "Must have port"),
        (
            {
                "matches": [{"path": {"value": "/a"}}] * 2,
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
                    }
                ],
            },
            "exactly one PathPrefix match",
        ),
    ],
)
def test_rules_in_cel_are_read_beside_the_server(
    kube: Client, namespace: str, cel_rules: CelRules, rule: Object, said: str
) -> None:
    """It takes what they refuse. They see what it has, with defaults."""
    broken = cel_rules.broken(kube.must(kube.create(route(namespace, **rule), dry_run=True)))
    assert bool(broken) == bool(said)
    assert all(said in text for text in broken)


def test_more_than_128_matches_break_a_rule(kube: Client, namespace: str, cel_rules: CelRules) -> None:
    document = route(namespace, matches=[{}] * 43)
    document["spec"]["rules"] *= 3
    (broken,) = cel_rules.broken(kube.must(kube.create(document, dry_run=True)))
    assert broken.startswith("spec.rules: ")


def owner(dice: Random, kind: str, namespace: str) -> Object:
    """A route with rules of several forms."""
    document = route(namespace, kind)
    rules: list[Object] = [
        {"backendRefs": [{"name": "location", "port": 80, "weight": 90}, {"name": "v2", "port": 80}]}
    ]
    if kind == "HTTPRoute":
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rules += [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": f"/{dice.random()}"}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
                "timeouts": {"request": "3s"},
                "backendRefs": [{"name": "location", "port": 80}],
            },
            {
                "matches": [{"method": "GET"}],
                "filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 302}}],
            },
        ]
    else:
        rules.append({"matches": [{"method": {"service": "a.A"}}], "backendRefs": [{"name": "location", "port": 80}]})
    document["spec"]["rules"] = rules
    return document


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize("settings", [{}, {"form": "signadot"}, {"mode": "router"}], ids=["rules", "loose", "router"])
def test_what_is_rendered_is_taken_as_it_is_and_taken_out_again(
    kube: Client, namespace: str, broken_rules: Callable[[Object], list[str]], kind: str, owned: bool, settings: Any
) -> None:
    """Defaults of the server change nothing that rendering it again, from what stands there, would not say the same."""
    workload = Workload(namespace, "Deployment", "location")
    services = [Service(("location",), 8081, workload, Endpoint(f"location.{namespace}.svc.cluster.local", 80))]
    protocol = "grpc" if kind == "GRPCRoute" else None
    table = [
        Route(key, f"{namespace}/{key}", workload, (Mapping(8081, protocol, "preserve", destinations),))
        for key, destinations in (
            ("one", (Endpoint(f"fork.{namespace}.svc", 8081), Endpoint("other.elsewhere.svc", 1))),
            ("Two.2_", ()),
            ("x" * 63, (Endpoint("fork.elsewhere.svc", 8081),)),
        )
    ]
    theirs = [owner(Random(1), kind, namespace)] if owned else []
    for document in theirs:
        kube.must(kube.apply(document, manager="owner"))
    before = [kube.current(document) for document in theirs]
    chosen = GatewaySettings(router=ROUTER, **settings)
    result = render_gateway(table, services, before, chosen)
    assert result.routes
    for made in result.routes:
        assert made["kind"] == kind
        kube.must(kube.create(dict(made), dry_run=True, manager="pointsman"))
        written = kube.must(kube.apply(dict(made), manager="pointsman"))
        assert written["spec"] == made["spec"]  # nothing is dropped, and no default added
        assert broken_rules(written) == []

    standing = kube.list("gateway.networking.k8s.io/v1", kind, namespace)
    assert len(standing) == len(result.routes) + len(theirs)
    again = render_gateway(table, services, standing, chosen)
    assert (again.routes, again.removed) == (result.routes, ())
    for made in result.routes:
        generation = kube.current(dict(made))["metadata"]["generation"]
        applied = kube.must(kube.apply(dict(made), manager="pointsman"))
        assert applied["metadata"]["generation"] == generation  # which counts changes

    for document in remove_gateway(standing).removed:
        kube.must(kube.delete(dict(document)))
    assert kube.list("gateway.networking.k8s.io/v1", kind, namespace) == before


@pytest.mark.parametrize("seed", range(3))
def test_what_is_made_of_any_owner_is_taken(
    kube: Client, namespace: str, broken_rules: Callable[[Object], list[str]], seed: int
) -> None:
    """As many rules and matches as there may be."""
    dice = Random(seed)
    made = 0
    for _ in range(12):
        theirs, table = some_owner(dice), some_table(dice)
        settings = {"mode": "router", "router": ROUTER} if dice.random() < 0.3 else {"router": ROUTER}
        for document in [*theirs, *rendered(theirs, table, **settings).routes]:
            sent = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
            assert broken_rules(kube.must(kube.create(sent, dry_run=True))) == []
            made += 1
    assert made > 30
