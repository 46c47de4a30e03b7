from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.routing.callers import CALLER_RULE
from proxy.routing.names import Endpoint, Workload
from proxy.routing.text import parse_text
from proxy.routing.wire import TableError, read_document, read_route, write_document

CONTRACT = Path(__file__).parents[3] / "contract"
GOLDEN = parse_text((CONTRACT / "table-v1alpha1.yaml").read_bytes())
LOCATION = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}


def document(**parts: object) -> dict[str, object]:
    return {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RoutingTable", "version": "1", "routes": [], **parts}


def mapping(**parts: object) -> dict[str, object]:
    return {"port": 80, "destinations": [{"host": "fork", "port": 80}], **parts}


def route(**parts: object) -> dict[str, object]:
    return {"routingKey": "abc", "sandbox": "pr-1", "baseline": LOCATION, "mappings": [mapping()], **parts}


def service(**parts: object) -> dict[str, object]:
    upstream = {"host": "location.svc", "port": 80}
    return {"hosts": ["location"], "port": 8081, "baseline": LOCATION, "upstream": upstream, **parts}


def preview(**parts: object) -> dict[str, object]:
    return {"domain": "p.example", "endpoint": "web", "upstream": {"host": "frontend", "port": 80}, **parts}


def faults_of(value: object) -> list[str]:
    with pytest.raises(TableError) as caught:
        read_document(value)
    return caught.value.faults


def without(value: dict[str, object], name: str) -> dict[str, object]:
    return {key: part for key, part in value.items() if key != name}


# --- the golden document ---


@pytest.mark.parametrize("name", ["table-v1alpha1.yaml", "table-v1alpha1.json"])
def test_golden_document(name: str) -> None:
    table = read_document(parse_text((CONTRACT / name).read_bytes()))
    me = Workload("hotrod-istio", "Deployment", "location")
    assert table.version == "42"
    assert table.live == {b"qwblp48fpmb30"}
    assert table.gone == {b"k3v0z8m1c2d4e"}
    (found,) = table.routes_of[me].values()
    assert found.sandbox == "local-location"
    (where,) = found.mappings
    assert (where.port, where.app_protocol, where.authority) == (8081, "http", "destination")
    assert where.destinations == (Endpoint("local-location-location-9f4477c8.hotrod-istio.svc.cluster.local", 8081),)
    assert table.view(Workload("hotrod-istio", "Deployment", "route")).gone_routes == {b"qwblp48fpmb30"}
    assert table.services[0].hosts[0] == "location"
    assert table.previews[1].upstream == Endpoint("2001:db8::1", 8080)


def test_golden_documents_are_one() -> None:
    table = read_document(GOLDEN)
    assert write_document(table) == GOLDEN
    assert json.loads((CONTRACT / "table-v1alpha1.json").read_bytes()) == GOLDEN


# --- what is accepted ---


def test_defaults() -> None:
    (found,) = read_document(document(routes=[route()])).routes[0].mappings
    assert (found.app_protocol, found.authority) == (None, "preserve")


@pytest.mark.parametrize(
    "value",
    [
        document(),
        document(routes=[route(mappings=[])]),
        document(routes=[route(mappings=[mapping(destinations=[])])]),
        document(routes=[route(), route(routingKey="abd")]),
        document(routes=[route(), route(baseline={**LOCATION, "name": "driver"})]),
        document(routes=[route(mappings=[mapping(), mapping(port=81)])]),
        document(routes=[route()], goneKeys=["abc"], liveKeys=["abc", "abc"]),  # the present wins; sets
        document(routes=[route()], goneRoutes=[{"routingKey": "abc", "baseline": LOCATION}]),
        document(services=[service(), service(upstream={"host": "location.svc", "port": 81})]),
        document(services=[service(callers=[])]),
        document(services=[service(callers=["*", "cluster.local/ns/a/sa/b", "spiffe://c/*"])]),
        document(previews=[preview(), preview(routingKey="a--b"), preview(endpoint="a-b")]),
    ],
)
def test_accepted(value: dict[str, object]) -> None:
    before = copy.deepcopy(value)
    assert read_document(value).document() == before
    assert value == before


def test_a_live_key_is_not_gone() -> None:
    table = read_document(document(liveKeys=["a"], goneKeys=["a", "b"]))
    assert table.gone == {b"b"}


def test_workloads_are_shared() -> None:
    baselines = [dict(LOCATION), {"name": "location", "kind": "Deployment", "namespace": "hotrod"}, dict(LOCATION)]
    routes = [route(routingKey=f"k{number}", baseline=baseline) for number, baseline in enumerate(baselines)]
    first, second, third = read_document(document(routes=routes)).routes
    assert first.baseline is second.baseline is third.baseline


# --- what is refused: every fault with its path ---

KEY_RULE = "must be 1-63 of A-Z a-z 0-9 . _ -, first and last alphanumeric"
HOST_RULE = "must be a DNS name, an IPv4 or an IPv6 address (no brackets, no port)"
DOMAIN_RULE = "must be a DNS name in lower case without trailing dot"

FAULTS: list[tuple[Any, list[str]]] = [
    (None, ["document: must be an object, is null"]),
    ([], ["document: must be an object, is a list"]),
    ("x", ["document: must be an object, is 'x'"]),
    ({}, ["apiVersion: missing", "kind: missing", "routes: missing", "version: missing"]),
    (document(apiVersion="pointsman.dev/v1"), ["apiVersion: must be pointsman.dev/v1alpha1, is 'pointsman.dev/v1'"]),
    (document(kind="Sandbox"), ["kind: must be RoutingTable, is 'Sandbox'"]),
    (document(kind=None), ["kind: must be RoutingTable, is null"]),
    (document(version=""), ["version: must be 1-253 printable characters, is ''"]),
    (document(version="a\nb"), [r"version: must be 1-253 printable characters, is 'a\nb'"]),
    (document(version=42), ["version: must be a string: quote it, is 42"]),
    (document(version=None), ["version: must be a string, is null"]),
    (document(extra=1), ["extra: unknown field"]),
    ({**document(), "a b\x1b": 1}, [r"'a b\x1b': unknown field"]),
    ({**document(), 7: 1}, ["7: unknown field"]),
    (document(routes=None), ["routes: must be a list ([] for none), is null"]),
    (document(routes={}), ["routes: must be a list ([] for none), is an object"]),
    (document(routes=["x"]), ["routes[0]: must be an object, is 'x'"]),
    (document(routes=[None]), ["routes[0]: must be an object, is null"]),
    (document(routes=[route(port=80)]), ["routes[0].port: unknown field"]),
    (
        document(routes=[{}]),
        [f"routes[0].{name}: missing" for name in ("baseline", "mappings", "routingKey", "sandbox")],
    ),
    (document(routes=[route(), route(routingKey="a b")]), [f"routes[1].routingKey: {KEY_RULE}, is 'a b'"]),
    (document(routes=[route(routingKey="ä")]), [f"routes[0].routingKey: {KEY_RULE}, is '\\xe4'"]),
    (document(routes=[route(routingKey="a" * 64)]), [f"routes[0].routingKey: {KEY_RULE}, is '{'a' * 59}..."]),
    (document(routes=[route(routingKey=123)]), ["routes[0].routingKey: must be a string: quote it, is 123"]),
    (document(routes=[route(routingKey=12e45)]), ["routes[0].routingKey: must be a string: quote it, is 1.2e+46"]),
    (document(routes=[route(routingKey=True)]), ["routes[0].routingKey: must be a string: quote it, is true"]),
    (document(routes=[route(routingKey=["a"])]), ["routes[0].routingKey: must be a string, is a list"]),
    (document(routes=[route(sandbox="")]), ["routes[0].sandbox: must be 1-253 of A-Z a-z 0-9 . _ / -, is ''"]),
    (document(routes=[route(sandbox="a\n")]), [r"routes[0].sandbox: must be 1-253 of A-Z a-z 0-9 . _ / -, is 'a\n'"]),
    (document(routes=[route(baseline="a/b/c")]), ["routes[0].baseline: must be an object, is 'a/b/c'"]),
    (document(routes=[route(baseline=without(LOCATION, "kind"))]), ["routes[0].baseline.kind: missing"]),
    (document(routes=[route(baseline={**LOCATION, "uid": "1"})]), ["routes[0].baseline.uid: unknown field"]),
    (
        document(routes=[route(), route(routingKey="d", baseline={**LOCATION, "uid": []})]),
        ["routes[1].baseline.uid: unknown field"],
    ),
    (
        document(routes=[route(baseline={**LOCATION, "name": "a/b"})]),
        ["routes[0].baseline.name: must be 1-253 of A-Z a-z 0-9 . _ -, is 'a/b'"],
    ),
    (
        document(routes=[route(baseline={**LOCATION, "name": {}})]),
        ["routes[0].baseline.name: must be a string, is an object"],
    ),
    (document(routes=[route(mappings={})]), ["routes[0].mappings: must be a list ([] for none), is an object"]),
    (document(routes=[route(mappings="x")]), ["routes[0].mappings: must be a list ([] for none), is 'x'"]),
    (document(routes=[route(mappings=[7])]), ["routes[0].mappings[0]: must be an object, is 7"]),
    (
        document(routes=[route(mappings=[{}])]),
        ["routes[0].mappings[0].destinations: missing", "routes[0].mappings[0].port: missing"],
    ),
    (document(routes=[route(mappings=[mapping(x=1)])]), ["routes[0].mappings[0].x: unknown field"]),
    (
        document(routes=[route(mappings=[mapping(), mapping(port=81), mapping()])]),
        ["routes[0].mappings[2].port: 80 is mapped already: routes[0].mappings[0]"],
    ),
    (
        document(routes=[route(mappings=[mapping(appProtocol="h2")])]),
        ["routes[0].mappings[0].appProtocol: must be one of http, http2, grpc, is 'h2'"],
    ),
    (
        document(routes=[route(mappings=[mapping(appProtocol=None)])]),
        ["routes[0].mappings[0].appProtocol: must be one of http, http2, grpc, is null"],
    ),
    (
        document(routes=[route(mappings=[mapping(authority="")])]),
        ["routes[0].mappings[0].authority: must be one of preserve, destination, is ''"],
    ),
    (
        document(routes=[route(mappings=[mapping(authority=["preserve"])])]),
        ["routes[0].mappings[0].authority: must be one of preserve, destination, is a list"],
    ),
    (
        document(routes=[route(mappings=[mapping(destinations=None)])]),
        ["routes[0].mappings[0].destinations: must be a list ([] for none), is null"],
    ),
    (
        document(routes=[route(mappings=[mapping(destinations=[{"host": "10.0.0.1:80"}])])]),
        [
            "routes[0].mappings[0].destinations[0].port: missing",
            f"routes[0].mappings[0].destinations[0].host: {HOST_RULE}, is '10.0.0.1:80'",
        ],
    ),
    (
        document(routes=[route(mappings=[mapping(destinations=[{"host": "fork", "port": 80, "weight": 1}])])]),
        ["routes[0].mappings[0].destinations[0].weight: unknown field"],
    ),
    (
        document(routes=[route(), route(routingKey="abd"), route(sandbox="pr-2")]),
        ["routes[2]: hotrod/Deployment/location has a route for 'abc' already: routes[0]"],
    ),
    (document(liveKeys=None), ["liveKeys: must be a list ([] for none), is null"]),
    (document(liveKeys=["a", "-"]), [f"liveKeys[1]: {KEY_RULE}, is '-'"]),
    (document(goneKeys=[1]), ["goneKeys[0]: must be a string: quote it, is 1"]),
    (document(goneKeys="abc"), ["goneKeys: must be a list ([] for none), is 'abc'"]),
    (document(goneRoutes=["abc"]), ["goneRoutes[0]: must be an object, is 'abc'"]),
    (
        document(goneRoutes=[{"routingKey": ""}]),
        ["goneRoutes[0].baseline: missing", f"goneRoutes[0].routingKey: {KEY_RULE}, is ''"],
    ),
    (document(services=[7]), ["services[0]: must be an object, is 7"]),
    (document(services=[service(hosts=[])]), ["services[0].hosts: must name at least one host"]),
    (document(services=[service(hosts=["a", "b:80"])]), [f"services[0].hosts[1]: {HOST_RULE}, is 'b:80'"]),
    (document(services=[without(service(), "hosts")]), ["services[0].hosts: missing"]),
    (document(services=[service(callers="a")]), ["services[0].callers: must be a list ([] for none), is 'a'"]),
    (document(services=[service(callers=["*", "a*b"])]), [f"services[0].callers[1]: must be {CALLER_RULE}, is 'a*b'"]),
    (
        document(services=[service(hosts=["::1"]), service(hosts=["0:0::1"])]),
        ["services[1].hosts[0]: '0:0::1' with upstream port 80 is listed already: services[0].hosts[0]"],
    ),
    (document(services=[service(port=0)]), ["services[0].port: must be an integer in 1-65535, is 0"]),
    (document(services=[service(upstream="a:80")]), ["services[0].upstream: must be an object, is 'a:80'"]),
    (
        document(services=[service(hosts=["a", "location"]), service(hosts=["x", "LOCATION."])]),
        ["services[1].hosts[1]: 'LOCATION.' with upstream port 80 is listed already: services[0].hosts[1]"],
    ),
    (
        document(services=[service(hosts=["a", "a"])]),
        ["services[0].hosts[1]: 'a' with upstream port 80 is listed already: services[0].hosts[0]"],
    ),
    (document(previews=[preview(domain="10.0.0.1")]), [f"previews[0].domain: {DOMAIN_RULE}, is '10.0.0.1'"]),
    (
        document(previews=[preview(domain="Preview.example")]),
        [f"previews[0].domain: {DOMAIN_RULE}, is 'Preview.example'"],
    ),
    (document(previews=[preview(domain="p.example.")]), [f"previews[0].domain: {DOMAIN_RULE}, is 'p.example.'"]),
    (document(previews=[preview(), preview()]), ["previews[1]: the same host as previews[0]"]),
    (
        document(previews=[preview(endpoint="w" * 40, routingKey="k" * 22)]),
        ["previews[0]: <endpoint>--<routingKey> must be at most 63 characters"],
    ),
    (document(previews=[without(preview(), "upstream")]), ["previews[0].upstream: missing"]),
]


@pytest.mark.parametrize(("value", "faults"), FAULTS)
def test_refused(value: object, faults: list[str]) -> None:
    assert faults_of(value) == faults


ROUTE_FAULTS = [case for case in FAULTS if isinstance(case[0], dict) and type(case[0].get("routes")) is list]


@pytest.mark.parametrize(("value", "faults"), [case for case in ROUTE_FAULTS if case[0]["routes"]])
def test_refused_behind_a_good_route(value: dict[str, Any], faults: list[str]) -> None:
    """The usual route is read by a shortcut once its workload is known: it must refuse the same."""
    shifted = [re.sub(r"routes\[(\d+)\]", lambda place: f"routes[{int(place[1]) + 1}]", fault) for fault in faults]
    assert faults_of({**value, "routes": [route(routingKey="first"), *value["routes"]]}) == shifted


@pytest.mark.parametrize(
    "spoiled",
    [
        route(mappings=[mapping(destinations=[{"host": "a b", "port": 80}])]),
        route(mappings=[mapping(destinations=[{"host": "fork", "port": 80, "weight": 1}])]),
        route(mappings=[mapping(destinations=[{"host": ["fork"], "port": 80}])]),
        route(mappings=[mapping(destinations={"host": 80})]),
        route(mappings=[mapping(destinations=("fork",))]),
        route(mappings=[mapping(weight=1)]),
        route(mappings=[mapping(weight=1, appProtocol="http")]),
        route(mappings=[mapping(appProtocol=None)]),
        route(mappings=[mapping(authority=None)]),
        route(mappings=[mapping(appProtocol=[])]),
        route(mappings={"port": 80}),
        route(mappings=(mapping(),)),
        route(mappings=[mapping(destinations=({"host": "fork", "port": 80},))]),
        route(sandbox=1),
        route(sandbox="a b"),
        route(routingKey="a b"),
        route(routingKey=b"abc"),
        route(extra=1),
        route(mappings=[mapping(port=True)]),
        route(mappings=[mapping(port=0)]),
        route(mappings=[mapping(destinations=[{"host": "fork", "port": True}])]),
        route(mappings=[mapping(destinations=[{"host": "fork", "port": 65536}])]),
        {**without(route(), "sandbox"), "extra": 1},
    ],
)
def test_the_shortcut_refuses(spoiled: dict[str, object]) -> None:
    alone, faults = read_route(spoiled, "routes[1]")
    assert alone is None
    assert faults_of(document(routes=[route(routingKey="first"), spoiled])) == faults


@pytest.mark.parametrize("app_protocol", [None, "http", "http2", "grpc"])
@pytest.mark.parametrize("authority", [None, "preserve", "destination"])
def test_the_shortcut_reads_the_same(app_protocol: str | None, authority: str | None) -> None:
    optional = {"appProtocol": app_protocol, "authority": authority}
    usual = route(mappings=[mapping(**{name: value for name, value in optional.items() if value is not None})])
    alone, _ = read_route(usual, "routes[1]")
    assert read_document(document(routes=[route(routingKey="first"), usual])).routes[1] == alone


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, "80", 80.0, True, None, [80], 1 << 99])
def test_ports(port: object) -> None:
    (fault,) = faults_of(document(routes=[route(mappings=[mapping(port=port)])]))
    assert fault.startswith("routes[0].mappings[0].port: must be an integer in 1-65535, is ")
    (fault,) = faults_of(document(routes=[route(mappings=[mapping(destinations=[{"host": "a", "port": port}])])]))
    assert fault.startswith("routes[0].mappings[0].destinations[0].port: must be an integer in 1-65535, is ")


@pytest.mark.parametrize("name", ["", "a--b", "xn", "xn--a", "-a", "a-", "A", "a.b", "a_b", "a" * 61])
def test_preview_endpoints(name: str) -> None:
    (fault,) = faults_of(document(previews=[preview(endpoint=name)]))
    assert fault.startswith(
        "previews[0].endpoint: must be 1-60 of a-z 0-9 -, first and last alphanumeric, without '--', not 'xn'"
    )


@pytest.mark.parametrize("key", ["", "a.b", "A", "a_b", "a-", None])
def test_preview_keys(key: object) -> None:
    (fault,) = faults_of(document(previews=[preview(routingKey=key)]))
    assert fault.startswith("previews[0].routingKey: must be a")


def test_every_fault_is_listed() -> None:
    bad = document(version=1, extra=2, routes=[route(routingKey=1), route(), 3, route()], liveKeys=[4], services=5)
    assert faults_of(bad) == [
        "extra: unknown field",
        "version: must be a string: quote it, is 1",
        "routes[0].routingKey: must be a string: quote it, is 1",
        "routes[2]: must be an object, is 3",
        "liveKeys[0]: must be a string: quote it, is 4",
        "services: must be a list ([] for none), is 5",
        "routes[3]: hotrod/Deployment/location has a route for 'abc' already: routes[1]",
    ]


def test_faults_show_little_of_the_input() -> None:
    for fault in faults_of(document(version="x" * 10**6, routes=[route(sandbox="\x00" * 10**6)])):
        assert len(fault) < 160
        assert fault.isascii()


# --- one route alone, and newer schemas ---


def test_one_route_alone() -> None:
    good, faults = read_route(route(), "routes[7]")
    assert good is not None
    assert (good.routing_key, faults) == ("abc", [])
    bad, faults = read_route(route(mappings=[mapping(port=70000)]), "routes[7]")
    assert (bad, faults) == (None, ["routes[7].mappings[0].port: must be an integer in 1-65535, is 70000"])


def test_unknown_fields_of_a_newer_schema_may_be_ignored() -> None:
    newer: dict[str, Any] = document(extra=1, routes=[route(extra=1, mappings=[mapping(extra=1)])])
    assert read_document(newer, ignore_unknown=True).document() == document(routes=[route()])
    _, faults = read_route(newer["routes"][0], "routes[0]", ignore_unknown=True)
    assert faults == []
    with pytest.raises(TableError):
        read_document(document(routes=[route(extra=1, sandbox=1)]), ignore_unknown=True)
