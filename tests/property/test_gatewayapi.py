"""Rendered routes beside an owner's: by the API's rules, requests with a key go where the owner's rules and the table
send them, all others where the owner's rules alone send them."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from controller.gatewayapi.objects import Backend, ServiceName
from controller.gatewayapi.render import GatewaySettings, Rendered, render_gateway
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service
from tests.support.gatewayapi import Object, Request, decide, led_to

SHOP = "shop"
KEYS = ("one", "two", "three")
LOCATION, DRIVER, SEARCH = (Workload(SHOP, "Deployment", name) for name in ("location", "driver", "search"))
SERVICES = [
    Service((name,), port, workload, Endpoint(f"{name}.{SHOP}.svc.cluster.local", service_port))
    for name, service_port, port, workload in (
        ("location", 80, 8081, LOCATION),
        ("location", 9090, 9091, LOCATION),
        ("driver", 80, 8082, DRIVER),
        ("search", 80, 8083, SEARCH),
    )
]
ENTRIES = {(service.upstream.host.partition(".")[0], service.upstream.port): service for service in SERVICES}
ROUTER = Backend(ServiceName("pointsman", "router"), 80)
READER = KeyReader(KeySettings())


def some_table(dice: Random) -> list[Route]:
    routes = []
    for key in KEYS:
        for workload in (LOCATION, DRIVER):
            if dice.random() < 0.6:
                ports = [service.port for service in SERVICES if service.baseline == workload]
                mappings = tuple(
                    Mapping(
                        port,
                        None,
                        "preserve",
                        (Endpoint(f"{key}-{workload.name}.{SHOP}.svc", port),) if dice.random() < 0.9 else (),
                    )
                    for port in ports
                    if dice.random() < 0.9
                )
                routes.append(Route(key, f"{SHOP}/{key}", workload, mappings))
    return routes


def some_match(dice: Random, kind: str) -> Object:
    match: Object = {}
    if kind == "GRPCRoute":
        if dice.random() < 0.6:
            match["method"] = {"service": dice.choice(("a.A", "b.B"))}
            if dice.random() < 0.5:
                match["method"]["method"] = dice.choice(("Get", "Put"))
    else:
        if dice.random() < 0.7:
            kind_of_path = dice.choice(("Exact", "PathPrefix", "PathPrefix"))
            match["path"] = {"type": kind_of_path, "value": dice.choice(("/", "/a", "/a/b", "/b"))}
        if dice.random() < 0.3:
            match["method"] = dice.choice(("GET", "POST"))
        if dice.random() < 0.3:
            match["queryParams"] = [{"name": name, "value": "1"} for name in dice.sample("qr", dice.randint(1, 2))]
    if dice.random() < 0.5:
        match["headers"] = [{"name": name, "value": "1"} for name in dice.sample(("x", "Y"), dice.randint(1, 2))]
    return match


def some_rule(dice: Random, kind: str) -> Object:
    rule: Object = {}
    if dice.random() < 0.9:
        rule["matches"] = [some_match(dice, kind) for _ in range(dice.randint(1, 3))]
    if dice.random() < 0.1 and kind == "HTTPRoute":
        return {**rule, "filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}]}
    backends = dice.sample(sorted(ENTRIES), dice.choice((1, 1, 1, 2)))
    rule["backendRefs"] = [{"name": name, "port": port} for name, port in backends]
    if dice.random() < 0.3:
        rule["filters"] = [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "z", "value": str(dice.random())}]},
            }
        ]
    return rule


def some_owner(dice: Random) -> list[Object]:
    """Routes of one Service, in one way of naming ports."""
    kind = dice.choice(("HTTPRoute", "HTTPRoute", "GRPCRoute"))
    port = dice.choice(({"port": 80}, {"port": 80}, {}))
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": {
                "name": f"owner-{number}",
                "namespace": SHOP,
                "creationTimestamp": f"2026-01-0{dice.randint(1, 3)}T00:00:00Z",
            },
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "location", **port}],
                "rules": [some_rule(dice, kind) for _ in range(dice.randint(1, 4))],
            },
        }
        for number in range(dice.randint(0, 3))
    ]


def some_request(dice: Random, kind: str) -> Request:
    headers = [(name, "1") for name in ("x", "y") if dice.random() < 0.5]
    key, other = dice.choice(KEYS), dice.choice((*KEYS, "stranger"))
    baggage = dice.choice(
        (
            None,
            None,
            "a=b",
            f"sd-routing-key={key}",
            f"a=b , sd-sandbox = {key} ;p=1,c=d",
            f"sd-routing-key={other},sd-routing-key={key}",
            f"x-sd-routing-key={key}",
            f"sd-routing-key={key}-x",
        )
    )
    tracestate = dice.choice((None, None, "v=1", f"sd-routing-key={key}", f"v=1,sd-routing-key={other}"))
    headers += [(name, value) for name, value in (("baggage", baggage), ("tracestate", tracestate)) if value]
    if kind == "GRPCRoute":
        return Request(dice.choice(("/a.A/Get", "/a.A/Put", "/b.B/Get", "/c.C/Get")), "POST", headers)
    query = {name: "1" for name in "qr" if dice.random() < 0.5}
    return Request(dice.choice(("/", "/a", "/a/b", "/a/b/c", "/b", "/ab")), dice.choice(("GET", "PUT")), headers, query)


def key_of(request: Request) -> str | None:
    """As the proxy reads it."""
    lines = [[value.encode() for each, value in request.headers if each == name] for name in ("baggage", "tracestate")]
    reading = READER.read(*lines)
    return reading.key.decode() if reading.key is not None else None


def expected(rule: Object | None, key: str | None, table: list[Route]) -> list[str] | None:
    """What a rule of the owner's leads to, for this key, without any rendering."""
    if rule is None or key is None or not rule.get("backendRefs"):
        return led_to(rule)
    routes = {(route.baseline, route.routing_key): route for route in table}
    references = sorted(rule["backendRefs"], key=lambda each: each["name"] != "location")
    for reference in references:
        service = ENTRIES[reference["name"], reference["port"]]
        if route := routes.get((service.baseline, key)):
            mapping = next((mapping for mapping in route.mappings if mapping.port == service.port), None)
            destinations = mapping.destinations if mapping is not None else ()
            return [f"{each.host.partition('.')[0]}/{each.port}" for each in destinations]
    return led_to(rule)


def contradicts(request: Request, key: str | None) -> bool:
    """Whether `tracestate` names another key than `baggage`."""
    in_tracestate = key_of(Request(headers=[each for each in request.headers if each[0] == "tracestate"]))
    return key is not None and in_tracestate not in (None, key)


def rendered(owner: list[Object], table: list[Route], **settings: Any) -> Rendered:
    result = render_gateway(table, SERVICES, owner, GatewaySettings(**settings))
    for route in result.routes:
        spec: Any = route["spec"]
        assert len(spec["rules"]) <= 16
        assert all(len(rule["matches"]) <= 8 for rule in spec["rules"])
    return result


@pytest.mark.parametrize("seed", range(12))
def test_requests_go_where_the_owners_rules_and_the_table_send_them(seed: int) -> None:
    dice = Random(seed)
    compared = contradicting = 0
    for _ in range(25):
        owner, table = some_owner(dice), some_table(dice)
        kind = owner[0]["kind"] if owner else "HTTPRoute"
        result = rendered(owner, table)
        if any(finding.reason == "DoesNotFit" for finding in result.findings):
            continue
        assert {finding.reason for finding in result.findings} <= {"NoDestination", "NotReached"}
        documents = [*owner, *(dict(route) for route in result.routes)]
        dice.shuffle(documents)
        for _ in range(40):
            request, port = some_request(dice, kind), dice.choice((80, 80, 9090))
            if port == 9090 and kind == "GRPCRoute":
                continue  # an HTTPRoute's, since nothing says that it is gRPC
            key = key_of(request)
            alone = owner if any(r["spec"]["parentRefs"][0].get("port", port) == port for r in owner) else []
            rule = decide(alone, request, (SHOP, "location"), port)
            if not alone:
                rule = {"backendRefs": [{"name": "location", "port": port}]}
            wanted = expected(rule, key, table)
            if contradicts(request, key) and wanted == led_to(rule):
                contradicting += 1  # the one thing that can't be said: baggage names a key that is not forked here
                continue
            found = decide(documents, request, (SHOP, "location"), port)
            if not alone and not any(route.baseline == LOCATION for route in table):
                assert found is None  # nothing of ours stands there
                continue
            assert led_to(found) == wanted, (request, key, rule, found)
            if wanted and found is not None and rule is not None:
                assert found.get("filters") == rule.get("filters")
            compared += 1
    assert compared > 300
    assert contradicting < compared


def marked(request: Request, hop: str) -> Request:
    return replace(request, headers=[*request.headers, ("pointsman-hop", hop)])


@pytest.mark.parametrize("seed", range(6))
def test_fan_in_leads_to_the_router_once(seed: int) -> None:
    dice = Random(seed)
    compared = 0
    for _ in range(25):
        owner = some_owner(dice)
        kind = owner[0]["kind"] if owner else "HTTPRoute"
        result = rendered(owner, [], mode="router", router=ROUTER)
        if any("order would decide" in finding.message for finding in result.findings):
            continue
        documents = [*owner, *(dict(route) for route in result.routes)]
        for _ in range(30):
            request = some_request(dice, kind)
            alone = bool(owner)
            rule = decide(owner, request, (SHOP, "location"), 80) if alone else None
            if not alone:
                rule = {"backendRefs": [{"name": "location", "port": 80}]}
            carries = any(re.search(r"(^|[ ,])sd-(routing-key|sandbox)", value) for _, value in request.headers)
            is_its = rule is not None and any(each["name"] == "location" for each in rule.get("backendRefs", ()))
            found = decide(documents, request, (SHOP, "location"), 80)
            assert led_to(found) == (["pointsman/router/80"] if carries and is_its else led_to(rule))
            compared += 1
            for mark in ("shop/Deployment/location;baseline", "a/b/c, shop/Deployment/location"):
                found = decide(documents, marked(request, mark), (SHOP, "location"), 80)
                assert led_to(found) == led_to(rule)
                if found is not None and rule is not None:
                    assert found.get("filters") == rule.get("filters")
            found = decide(documents, marked(request, "shop/Deployment/driver;baseline"), (SHOP, "location"), 80)
            assert led_to(found) == (["pointsman/router/80"] if carries and is_its else led_to(rule))
    assert compared > 300
