"""A real Envoy with what istiod makes of HTTPRoutes and GRPCRoutes, an owner's and ours: it takes the rule that comes
first by the API's order of precedence, and requests with a key go where the proxy would send them.

What the rules say in general is in tests/property/test_gatewayapi.py; here RE2 reads the headers, and Envoy decides.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

from tests.property.test_gatewayapi import (
    ROUTER,
    SHOP,
    contradicts,
    expected,
    key_of,
    rendered,
    some_owner,
    some_request,
    some_table,
)
from tests.support.gatewayapi import Object, Request, decide, led_to
from tests.support.istiod import Caller, Service, route_configuration, run_mesh
from tests.support.istiod.gatewayapi import virtual_services, with_gateway_paths

HOST = f"location.{SHOP}.svc.cluster.local"
MESHES = 24
REQUESTS = 300


def naming(documents: list[Object]) -> Object:
    """An Envoy's configuration that answers with the name of the rule that it took."""
    service = Service(HOST)
    configuration = route_configuration(virtual_services(documents), [service], 80, Caller(SHOP))
    for host in with_gateway_paths(configuration)["virtual_hosts"]:
        for route in host["routes"]:
            if "direct_response" not in route or "name" in route:
                for action in ("route", "direct_response"):
                    route.pop(action, None)
                route["direct_response"] = {"status": 200, "body": {"inline_string": route.get("name", "itself")}}
    return configuration


def named(documents: list[Object], name: str) -> Object | None:
    """The rule of that name; None: no rule of the Service takes the request."""
    for document in documents:
        metadata = document["metadata"]
        for position, rule in enumerate(document["spec"]["rules"]):
            if name == f"{metadata['namespace']}.{metadata['name']}.{position}":
                found: Object = rule
                return found
    assert name == ""
    return None


def answers(port: int, requests: list[Request]) -> list[str]:
    """By one connection, one after another."""

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    found = []
    for request in requests:
        target = request.path + (f"?{urlencode(request.query)}" if request.query else "")
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", HOST)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.method in ("PUT", "POST"):
            connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        found.append(body if response.status == 200 else "")
        assert response.status in (200, 404)
    connection.close()
    return found


def scenes(dice: Random, **settings: Any) -> list[tuple[list[Object], list[Any], list[Object]]]:
    """Owners' routes, tables, and both ours and theirs; each with something of ours."""
    found = []
    while len(found) < MESHES:
        owner, table = some_owner(dice), some_table(dice)
        ours = rendered(owner, table, **settings).routes
        documents = [*owner, *(dict(route) for route in ours)]
        if any(route["spec"]["parentRefs"][0]["name"] == "location" for route in documents[len(owner) :]):
            found.append((owner, table, documents))
    return found


def test_sandboxes_rules(tmp_path: Path) -> None:
    dice = Random(7)
    all_scenes = scenes(dice)
    keyed = 0
    with run_mesh(tmp_path, [naming(documents) for _, _, documents in all_scenes]) as ports:
        for (owner, table, documents), port in zip(all_scenes, ports, strict=True):
            kind = owner[0]["kind"] if owner else documents[0]["kind"]
            requests = [some_request(dice, kind) for _ in range(REQUESTS)]
            for request, name in zip(requests, answers(port, requests), strict=True):
                found = named(documents, name)
                assert led_to(found) == led_to(decide(documents, request, (SHOP, "location"), 80)), request
                key = key_of(request)
                rule = decide(owner, request, (SHOP, "location"), 80)
                if not owner:
                    rule = {"backendRefs": [{"name": "location", "port": 80}]}
                wanted = expected(rule, key, table)
                if wanted != led_to(rule) or not contradicts(request, key):
                    assert led_to(found) == wanted, request
                    keyed += wanted != led_to(rule)
    assert keyed > MESHES


def test_fan_in(tmp_path: Path) -> None:
    dice = Random(8)
    all_scenes = scenes(dice, mode="router", router=ROUTER)
    led = back = 0
    with run_mesh(tmp_path, [naming(documents) for _, _, documents in all_scenes]) as ports:
        for (owner, _, documents), port in zip(all_scenes, ports, strict=True):
            kind = owner[0]["kind"] if owner else documents[0]["kind"]
            plain = [some_request(dice, kind) for _ in range(REQUESTS // 2)]
            marks = ("shop/Deployment/location;baseline", "a/b/c , shop/Deployment/location;baseline", "x/y/location")
            marked = [
                Request(each.path, each.method, [*each.headers, ("pointsman-hop", dice.choice(marks))], each.query)
                for each in plain
            ]
            for request, name in zip([*plain, *marked], answers(port, [*plain, *marked]), strict=True):
                found = named(documents, name)
                assert led_to(found) == led_to(decide(documents, request, (SHOP, "location"), 80)), request
                if (request.header("pointsman-hop") or "").find("shop/Deployment/location;") >= 0:
                    rule = decide(owner, request, (SHOP, "location"), 80)
                    assert led_to(found) == (led_to(rule) if owner else ["location/80"])
                    back += 1
                else:
                    led += led_to(found) == ["pointsman/router/80"]
    assert led > MESHES
    assert back > MESHES
