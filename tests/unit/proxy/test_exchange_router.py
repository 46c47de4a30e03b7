"""What is different for an exchange where a router's places are asked."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from proxy import errors
from proxy.identity import Identities
from proxy.places import PlaceIndex, RouterPlaces, router_place
from proxy.routing.decision import Policy
from proxy.routing.names import Endpoint
from proxy.routing.table import RoutingTable, Service
from tests.support.exchange import BASELINE, HOP, PORT, SANDBOX, TAGGED, WORKLOAD, Script, request_head, route_table

UPSTREAM = Endpoint("location.up", 80)
BASELINE_HOP = HOP + b";baseline"
WEB = "cluster.local/ns/hotrod/sa/web"
WEB_CALLS = f"x-forwarded-client-cert: URI=spiffe://{WEB}"


def places(table: RoutingTable | None, *services: Service) -> RouterPlaces:
    router = RouterPlaces()
    if table is not None:
        index = PlaceIndex()
        for service in services:
            index.add(service, router_place(service, Policy(), table.view(service.baseline)))
        router.put(index)
    return router


def location(*hosts: str, callers: tuple[str, ...] | None = None, upstream: Endpoint = UPSTREAM) -> Service:
    return Service(hosts or ("location",), PORT, WORKLOAD, upstream, callers)


def routed(router: RouterPlaces, *, failure_to_baseline: bool = False, peers: str = "192.0.2.0/24") -> Script:
    script = Script(failure_to_baseline=failure_to_baseline)
    script.port = replace(script.port, places=router, identities=Identities([ip_network(peers)]))
    return script


def hops(script: Script) -> list[bytes]:
    return [line for line in script.up.lines if line.startswith(b"pointsman-hop")]


def test_to_the_sandbox() -> None:
    script = routed(places(route_table(SANDBOX), location()))
    assert script.start(request_head(TAGGED)) == ["connect box:1"]
    script.connected()
    assert hops(script) == [HOP]


def test_to_the_services_upstream_marked() -> None:
    script = routed(places(route_table(SANDBOX), location()))
    assert script.start(request_head("pointsman-hop: a/b/c")) == ["connect location.up:80"]
    script.connected()
    assert hops(script) == [b"pointsman-hop: a/b/c", BASELINE_HOP]
    assert b"Host: location" in script.up.lines


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_fallback_is_marked_as_what_goes_to_the_baseline(is_ready: bool) -> None:
    table = route_table(SANDBOX) if is_ready else route_table()
    script = routed(places(table, location()), failure_to_baseline=True)
    calls = script.start(request_head(TAGGED))
    if is_ready:
        calls = script.connect_failed()
    assert calls == ["connect location.up:80"]
    script.connected()
    assert hops(script) == [BASELINE_HOP]
    script.response_head(body=0)
    assert script.down.decision.startswith("baseline; reason=")


@pytest.mark.parametrize("host", ["elsewhere", "location.hotrod", ""])
def test_nobodys_host(host: str) -> None:
    script = routed(places(route_table(SANDBOX), location()))
    version = "1.1" if host else "1.0"
    assert script.start(request_head(TAGGED, host=host, version=version)) == [
        "down.head 421",
        "down.body",
        "down.end",
    ]
    assert script.down.decision == "none; reason=unknown_host"
    assert script.down.proxy_status == 'pointsman; error=destination_not_found; details="unknown_host"'
    script.assert_finished(errors.UNKNOWN_HOST, 421)


def test_an_upload_for_nobody_ends_the_connection() -> None:
    """Its body may be long, and nobody wants it."""
    script = routed(places(route_table(SANDBOX), location()))
    script.start(request_head("Content-Length: 9", method="POST", host="elsewhere"))
    assert script.down.is_last


@pytest.mark.parametrize("lines", [(), (TAGGED,), ("baggage: sd-strict=1",)])
def test_before_the_first_table(lines: tuple[str, ...]) -> None:
    """Nothing says where to, not even for a request without a key."""
    script = routed(places(None))
    script.start(request_head(*lines))
    script.assert_finished(errors.NOT_SYNCED, 503)


@pytest.mark.parametrize("mark", [HOP, BASELINE_HOP])
def test_met_before(mark: bytes) -> None:
    script = routed(places(route_table(SANDBOX), location()))
    script.start(request_head(TAGGED, mark.decode()))
    script.assert_finished(errors.LOOP, 508)


@pytest.mark.parametrize(
    ("lines", "peers", "status"),
    [
        ((WEB_CALLS,), "192.0.2.0/24", 0),
        ((TAGGED, WEB_CALLS), "192.0.2.0/24", 0),
        ((WEB_CALLS,), "192.0.3.0/24", 403),
        ((), "192.0.2.0/24", 403),
        ((TAGGED,), "192.0.2.0/24", 403),
        ((WEB_CALLS, "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/x/sa/y"), "192.0.2.0/24", 403),
        ((WEB_CALLS + "2", HOP.decode()), "192.0.2.0/24", 403),
    ],
)
def test_callers(lines: tuple[str, ...], peers: str, status: int) -> None:
    script = routed(places(route_table(SANDBOX), location(callers=(WEB,))), peers=peers)
    script.start(request_head(*lines))
    if status:
        script.assert_finished(errors.CALLER_NOT_ALLOWED, status)
        assert script.down.decision == "none; reason=caller_not_allowed"
        assert not script.pool.pending
    else:
        script.connected()
        assert WEB_CALLS.encode() in script.up.lines


def test_nobody_is_asked_who_calls_where_anybody_may() -> None:
    script = routed(places(route_table(SANDBOX), location()), peers="10.0.0.0/8")
    assert script.start(request_head()) == ["connect location.up:80"]


@pytest.mark.parametrize("line", ["x: y", TAGGED])
def test_whether_a_tunnel_is_still_routed(line: str) -> None:
    """By the host that it came for, whatever the fork was told."""
    router = places(route_table(SANDBOX, authority="destination"), location())
    script = routed(router)
    head = request_head(line, "Connection: Upgrade", "Upgrade: websocket")
    head.upgrade = [b"websocket"]
    script.start(head)
    script.connected()
    script.response_head(101, -2)
    assert script.exchange.is_routed

    def is_routed(table: RoutingTable, *services: Service) -> bool:
        other = places(table, *services).index
        assert other is not None
        router.put(other)
        return script.exchange.is_routed

    moved = location(upstream=Endpoint("moved", 80))
    assert is_routed(route_table(SANDBOX), location("location", "more"))
    assert not is_routed(route_table(SANDBOX), location("another"))
    assert not is_routed(RoutingTable("2"))
    assert is_routed(route_table(SANDBOX), moved) is (line == TAGGED)
    assert is_routed(route_table(BASELINE), location()) is (line != TAGGED)
