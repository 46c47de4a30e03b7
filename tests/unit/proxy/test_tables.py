from __future__ import annotations

import asyncio

import pytest

from proxy.routing.gone import GONE_S
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Route, RoutingTable
from proxy.tables import SLICE_ROUTES, TableHolder

WORKLOAD = Workload("hotrod", "Deployment", "location")
OTHER = Workload("hotrod", "Deployment", "driver")


def route(key: str, baseline: Workload = WORKLOAD, host: str = "10.0.0.1") -> Route:
    return Route(key, f"sandbox-{key}", baseline, (Mapping(8081, None, "preserve", (Endpoint(host, 80),)),))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_before_the_first_table() -> None:
    holder = TableHolder(WORKLOAD, source="file")
    assert holder.view is None
    assert holder.metrics_state() is None
    assert holder.state()["version"] is None
    assert holder.endpoints() == frozenset()


@pytest.mark.parametrize("gently", [False, True])
def test_a_swap_shows_everything_of_the_new_table(gently: bool) -> None:
    clock = Clock()
    holder = TableHolder(WORKLOAD, source="file", clock=clock)
    heard: list[object] = []
    holder.on_swap(lambda: heard.append((holder.current, holder.view)))
    routes = [route(f"k{index}", host=f"h{index}") for index in range(SLICE_ROUTES * 2 + 1)]
    tables = [
        RoutingTable("1", routes, live_keys=[b"alive"], gone_routes=[GoneRoute("alive", WORKLOAD)]),
        RoutingTable("2", [route("k0", host="new"), route("k9", OTHER, "elsewhere")], gone_keys=[b"old"]),
    ]
    for table in tables:
        if gently:
            asyncio.run(holder.swap_gently(table))
        else:
            holder.swap(table)
        assert holder.current is table
        assert heard[-1] == (table, holder.view)
        assert holder.view is not None
        assert holder.view.routes.keys() == table.routes_of[WORKLOAD].keys()
        assert holder.view.gone_routes >= table.view(WORKLOAD).gone_routes
        assert (holder.view.version, holder.view.live, holder.view.gone) == (table.version, table.live, table.gone)
    assert len(heard) == 2
    assert holder.endpoints() == {Endpoint("new", 80)}


def test_what_left_is_remembered_for_an_hour() -> None:
    clock = Clock()
    holder = TableHolder(WORKLOAD, source="file", clock=clock)
    holder.swap(RoutingTable("1", [route("leaves"), route("moves")]))
    holder.swap(RoutingTable("2", [route("moves", OTHER)]))
    known = holder.view
    assert known is not None
    assert b"leaves" in known.remembered
    assert known.has_lost_route(b"moves")
    clock.now_s += GONE_S - 1
    holder.expire()
    assert holder.view is known
    clock.now_s += 2
    holder.expire()
    assert holder.view is not None
    assert holder.view.remembered == frozenset()
    assert holder.view.remembered_routes == frozenset()


def test_what_comes_back_is_live() -> None:
    holder = TableHolder(WORKLOAD, source="file")
    holder.swap(RoutingTable("1", [route("a")]))
    holder.swap(RoutingTable("2"))
    holder.swap(RoutingTable("3", [route("a")]))
    assert holder.view is not None
    assert b"a" in holder.view.routes
    assert b"a" not in holder.view.remembered


def test_a_refusal_is_told_until_the_next_table() -> None:
    clock = Clock()
    holder = TableHolder(WORKLOAD, source="file", clock=clock)
    holder.swap(RoutingTable("1", [route("a")]))
    clock.now_s += 5
    holder.refuse(["routes: missing", "version: missing"])
    assert holder.state() == {
        "version": "1",
        "age_s": 5.0,
        "source": "file",
        "stale": True,
        "refused_total": 1,
        "last_error": ["routes: missing", "version: missing"],
    }
    state = holder.metrics_state()
    assert state is not None
    assert (state.is_stale, state.refused_total, state.routes) == (True, 1, 1)
    holder.swap(RoutingTable("2"))
    assert not holder.is_stale
    assert holder.refused_total == 1


def test_since_when_it_is_stale() -> None:
    clock = Clock()
    holder = TableHolder(WORKLOAD, source="file", clock=clock)

    def stale_s() -> float:
        clock.now_s += 5
        return holder.stale_s

    holder.swap(RoutingTable("v1"))
    assert stale_s() == 0
    holder.refuse(["a fault"])
    assert stale_s() == 5
    holder.refuse(["another fault"])
    holder.unheard("gone")
    assert stale_s() == 10, "it counts from the first reason on"
    holder.swap(RoutingTable("v2"))
    assert stale_s() == 15, "still not heard"
    holder.heard()
    assert stale_s() == 0
    holder.unheard("gone")
    assert stale_s() == 5, "counted anew"
    holder.heard()
    state = holder.metrics_state()
    assert state is not None
    assert (state.stale_s, state.is_stale) == (0, False)


def test_routes_that_stay_refused_leave_it_stale() -> None:
    """With the feed: each table is in force but for some routes."""
    clock = Clock()
    holder = TableHolder(WORKLOAD, source="feed", clock=clock)
    for version, expected_s in (("v1", 0), ("v2", 5), ("v3", 10)):
        holder.swap(RoutingTable(version))
        holder.last_faults = ("routes[1]: a fault",)
        holder.heard()
        assert holder.stale_s == expected_s
        clock.now_s += 5
    holder.swap(RoutingTable("v4"))
    holder.heard()
    assert holder.stale_s == 0
