from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from proxy.routertables import RouterTables
from proxy.routing.decision import Policy
from proxy.routing.gone import GONE_S, GoneMemory
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Preview, RoutingTable, Service
from proxy.routing.view import WorkloadView
from proxy.tables import SLICE_ROUTES
from proxy.telemetry.traffic import KeyTraffic
from tests.unit.proxy.test_tables import Clock, route

LOCATION = Workload("hotrod", "Deployment", "location")
DRIVER = Workload("hotrod", "Deployment", "driver")
OTHER = Workload("hotrod", "Deployment", "other")


def service(host: str, baseline: Workload, port: int = 80) -> Service:
    return Service((host,), 8081, baseline, Endpoint(f"{host}.up", port))


SERVICES = [service("location", LOCATION), service("driver", DRIVER)]


def holder(clock: Clock | None = None, traffic: Mapping[Workload, KeyTraffic] | None = None) -> RouterTables:
    traffic_of = (traffic or {}).get
    return RouterTables(Policy(), "file", clock or Clock(), traffic_of)


def view(tables: RouterTables, host: str) -> WorkloadView:
    place = tables.places.find(host.encode())
    assert place is not None
    assert place.view is not None
    return place.view


def empty(live: set[bytes], gone: set[bytes]) -> WorkloadView:
    return WorkloadView("1", {}, live, gone, set())


@pytest.mark.parametrize("gently", [False, True])
def test_a_swap_shows_everything_of_the_new_table(gently: bool) -> None:
    tables = holder()
    heard: list[object] = []
    tables.on_swap(lambda: heard.append((tables.current, view(tables, "location").version)))
    many = [route(f"k{index}", LOCATION, f"h{index}") for index in range(SLICE_ROUTES * 2 + 1)]
    first = RoutingTable(
        "1",
        [*many, route("k0", DRIVER, "d0"), route("k0", OTHER, "not-served")],
        gone_routes=[GoneRoute("k1", DRIVER)],
        services=SERVICES,
    )
    second = RoutingTable("2", [route("k0", DRIVER)], services=[service("driver", DRIVER, 81)])
    for table, hosts in ((first, ["location", "driver"]), (second, ["driver"])):
        if gently:
            asyncio.run(tables.swap_gently(table))
        else:
            tables.swap(table)
        if table is first:
            assert heard == [(first, "1")]
            assert len(view(tables, "location").routes) == len(many)
            assert view(tables, "location").live is view(tables, "driver").live
            assert view(tables, "driver").has_lost_route(b"k1")
            assert not view(tables, "location").has_lost_route(b"k1")
            assert tables.upstreams == {Endpoint("location.up", 80), Endpoint("driver.up", 80)}
            assert Endpoint("h7", 80) in tables.endpoints()
            assert Endpoint("not-served", 80) not in tables.endpoints()
            tables._listeners.clear()
        assert [host for host in ("location", "driver", "other") if tables.places.find(host.encode())] == hosts
        assert tables.services() == table.services
    assert tables.upstreams == {Endpoint("driver.up", 81)}


def test_until_the_last_step_the_old_table_holds() -> None:
    tables = holder()
    tables.swap(RoutingTable("1", [route("a", LOCATION)], services=SERVICES))
    known = tables.places.index
    steps = tables._swapping(RoutingTable("2", [route("b", LOCATION)], services=[service("new", LOCATION)]))
    versions = [view(tables, "location").version for _ in steps if tables.places.index is known]
    assert len(versions) > 2
    assert tables.places.find(b"location") is None
    assert b"b" in view(tables, "new").routes


def test_previews_come_in_steps_too() -> None:
    """10,000 at once would hold up every request for a fifth of a second."""

    def steps(count: int) -> int:
        previews = [Preview("preview.example", f"web{number}", Endpoint("up", 80)) for number in range(count)]
        table = RoutingTable("1", [route("a", LOCATION)], services=SERVICES, previews=previews)
        return len(list(holder()._swapping(table)))

    assert steps(SLICE_ROUTES * 4) >= steps(0) + 4


def test_what_left_is_remembered_for_an_hour_by_each_workload() -> None:
    clock = Clock()
    tables = holder(clock)
    tables.swap(RoutingTable("1", [route("leaves", LOCATION), route("moves", LOCATION)], services=SERVICES))
    tables.swap(RoutingTable("2", [route("moves", DRIVER)], services=SERVICES))
    assert b"leaves" in view(tables, "location").remembered
    assert b"leaves" in view(tables, "driver").remembered
    assert view(tables, "location").has_lost_route(b"moves")
    assert not view(tables, "driver").has_lost_route(b"moves")
    clock.now_s += GONE_S + 1
    tables.expire()
    for host in ("location", "driver"):
        assert b"leaves" not in view(tables, host).remembered
        assert not view(tables, host).has_lost_route(b"moves")


def test_before_the_first_table() -> None:
    tables = holder()
    tables.expire()
    assert tables.upstreams == frozenset()
    assert tables.services() == ()
    assert tables.state()["version"] is None


def test_traffic_is_counted_by_workload() -> None:
    traffic = {LOCATION: KeyTraffic()}
    tables = holder(traffic=traffic)
    tables.swap(RoutingTable("1", services=SERVICES))
    places = [tables.places.find(host) for host in (b"location", b"driver")]
    assert [place.traffic for place in places if place is not None] == [traffic[LOCATION], None]


class TestPut:
    """As the feed does it: views that share sets, whole tables and changes."""

    def test_a_change_touches_one_workload(self) -> None:
        tables = holder()
        live, gone = {b"a"}, set[bytes]()
        views = {workload: empty(live, gone) for workload in (LOCATION, DRIVER)}
        table = RoutingTable("1")
        tables.put(table, GoneMemory({}, {}), set(), set(), views=views, services=SERVICES)
        before = {host: tables.places.find(host.encode()) for host in ("location", "driver")}
        assert view(tables, "driver") is views[DRIVER]
        changed = empty(live, gone)
        live.add(b"b")
        tables.put(table, GoneMemory({}, {}), set(), set(), views={LOCATION: changed}, are_routes_same=True)
        assert view(tables, "location") is changed
        assert view(tables, "driver") is views[DRIVER]
        assert b"b" in view(tables, "driver").live
        assert {host: tables.places.find(host.encode()) for host in before} == before

    def test_what_left_is_joined_to_all(self) -> None:
        tables = holder()
        views = {workload: empty(set(), set()) for workload in (LOCATION, DRIVER)}
        table = RoutingTable("1")
        memory = GoneMemory({}, {})
        tables.put(table, memory, set(), set(), views=views, services=SERVICES)
        memory.keys[b"left"] = 1e9  # in place, as the feed's memory is changed
        tables.put(table, memory, set(), set(), views={LOCATION: views[LOCATION]})
        assert b"left" in view(tables, "location").remembered
        assert b"left" in view(tables, "driver").remembered
        memory.keys[b"left too"] = 1e9
        tables.put(table, memory, set(), set(), views={LOCATION: views[LOCATION]})
        assert b"left too" in view(tables, "driver").remembered
        memory.keys.clear()
        memory.routes[DRIVER] = {b"taken": 1e9}
        tables.put(table, memory, set(), set(), views={DRIVER: views[DRIVER]})
        assert b"left" not in view(tables, "location").remembered
        assert view(tables, "driver").has_lost_route(b"taken")

    def test_listeners_hear_of_routes_alone(self) -> None:
        tables = holder()
        heard: list[int] = []
        tables.on_swap(lambda: heard.append(1))
        views = {workload: empty(set(), set()) for workload in (LOCATION, DRIVER)}
        tables.put(RoutingTable("1"), GoneMemory({}, {}), set(), set(), views=views, services=SERVICES)
        tables.put(RoutingTable("2"), GoneMemory({}, {}), set(), set(), views={}, are_routes_same=True)
        assert len(heard) == 1
