from __future__ import annotations

from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Preview, Route, RoutingTable, Service

ME = Workload("hotrod", "Deployment", "location")
OTHER = Workload("hotrod", "Deployment", "driver")


def test_keys_of_routes_live() -> None:
    table = RoutingTable("1", [Route("a", "s", ME, ())], [b"b"], [b"a", b"c"])
    assert table.live == {b"a", b"b"}
    assert table.gone == {b"c"}
    assert table.live_keys == (b"b",)


def test_routes_by_workload_and_key() -> None:
    mine, others = Route("a", "s", ME, ()), Route("a", "s", OTHER, ())
    table = RoutingTable("1", [mine, others])
    assert table.routes_of == {ME: {b"a": mine}, OTHER: {b"a": others}}


def test_document_has_every_part_that_there_is() -> None:
    endpoint = Endpoint("fork", 80)
    table = RoutingTable(
        "1",
        [Route("a", "s", ME, (Mapping(80, None, "preserve", (endpoint,)), Mapping(81, "grpc", "destination", ())))],
        [b"b"],
        [b"c"],
        [GoneRoute("a", OTHER)],
        [Service(("location",), 80, ME, endpoint), Service(("driver",), 80, ME, endpoint, ("*",))],
        [Preview("p.example", "web", endpoint), Preview("p.example", "api", endpoint, "a")],
    )
    me = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
    fork = {"host": "fork", "port": 80}
    assert table.document() == {
        "apiVersion": "pointsman.dev/v1alpha1",
        "kind": "RoutingTable",
        "version": "1",
        "routes": [
            {
                "routingKey": "a",
                "sandbox": "s",
                "baseline": me,
                "mappings": [
                    {"port": 80, "destinations": [fork]},
                    {"port": 81, "appProtocol": "grpc", "authority": "destination", "destinations": []},
                ],
            }
        ],
        "liveKeys": ["b"],
        "goneKeys": ["c"],
        "goneRoutes": [{"routingKey": "a", "baseline": {**me, "name": "driver"}}],
        "services": [
            {"hosts": ["location"], "port": 80, "baseline": me, "upstream": fork},
            {"hosts": ["driver"], "port": 80, "baseline": me, "upstream": fork, "callers": ["*"]},
        ],
        "previews": [
            {"domain": "p.example", "endpoint": "web", "upstream": fork},
            {"domain": "p.example", "endpoint": "api", "upstream": fork, "routingKey": "a"},
        ],
    }
    assert RoutingTable("2").document().keys() == {"apiVersion", "kind", "version", "routes"}
