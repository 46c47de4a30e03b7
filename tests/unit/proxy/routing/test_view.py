from __future__ import annotations

from proxy import errors
from proxy.routing.gone import NOTHING_GONE, GoneMemory
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, RoutingTable
from proxy.routing.view import KnownRoute

ME = Workload("hotrod", "Deployment", "location")
OTHER = Workload("hotrod", "Deployment", "driver")


def mapping(port: int) -> Mapping:
    return Mapping(port, None, "preserve", (Endpoint("fork", port),))


def test_known_route_has_one_decision_for_each_port() -> None:
    known = KnownRoute(Route("k", "pr-1", ME, (mapping(80), mapping(81), mapping(82))))
    assert known.port == 80
    assert known.mapping == mapping(80)
    assert known.destinations == (Endpoint("fork", 80),)
    assert known.for_other_port(82).mapping == mapping(82)
    assert known.for_other_port(82) is known.for_other_port(82)
    assert known.for_other_port(9).reason is errors.PORT_NOT_MAPPED


def test_a_noted_decision_is_the_same_otherwise() -> None:
    known = KnownRoute(Route("k", "pr-1", ME, (mapping(80),)))
    noted = known.noted()
    assert noted.note is errors.AMBIGUOUS_KEY
    assert (noted.sandbox, noted.mapping, noted.reason) == ("pr-1", mapping(80), errors.ROUTE)
    assert known.note is None


def test_a_view_has_only_its_workloads_routes_and_shares_the_rest() -> None:
    table = RoutingTable("1", (Route("a", "s", ME, ()), Route("b", "s", OTHER, ())), (b"c",), (b"g", b"c"))
    mine, others = table.view(ME), table.view(OTHER)
    assert set(mine.routes) == {b"a"}
    assert set(others.routes) == {b"b"}
    assert mine.live is others.live is table.live
    assert mine.live == {b"a", b"b", b"c"}
    assert mine.gone is others.gone
    assert mine.gone == {b"g"}
    assert table.view(ME) is mine
    assert table.view(Workload("x", "y", "z")).routes == {}


def test_joined_with_a_memory() -> None:
    view = RoutingTable("1", (Route("a", "s", ME, ()),), (b"c",)).view(ME)
    assert view.joined_with(NOTHING_GONE, ME) is view
    assert view.joined_with(GoneMemory({}, {OTHER: {b"c": 1.0}}), ME) is view
    joined = view.joined_with(GoneMemory({b"g": 1.0}, {ME: {b"c": 1.0}}), ME)
    assert joined.routes is view.routes
    assert b"g" in joined.remembered
    assert joined.remembered_routes == {b"c"}
