from __future__ import annotations

from math import inf

from proxy.routing.gone import GONE_S, NOTHING_GONE, GoneMemory, remember
from proxy.routing.names import Workload
from proxy.routing.table import Route, RoutingTable

ME = Workload("hotrod", "Deployment", "location")
OTHER = Workload("hotrod", "Deployment", "driver")


def table(*routes: tuple[str, Workload], live: tuple[bytes, ...] = (), gone: tuple[bytes, ...] = ()) -> RoutingTable:
    return RoutingTable("1", [Route(key, "s", workload, ()) for key, workload in routes], live, gone)


def test_the_first_table_leaves_nothing_behind() -> None:
    assert remember(None, table(("a", ME)), NOTHING_GONE, 0.0) == NOTHING_GONE


def test_a_key_that_left_is_gone_for_an_hour_from_then() -> None:
    memory = remember(table(("a", ME), live=(b"b",)), table(), NOTHING_GONE, 100.0)
    assert memory.keys == {b"a": 100.0 + GONE_S, b"b": 100.0 + GONE_S}
    assert memory.next_expiry_s == 100.0 + GONE_S
    later = remember(table(), table(), memory, 200.0)
    assert later == memory
    assert later.expired(99.0 + GONE_S) is later
    assert later.expired(100.0 + GONE_S) == NOTHING_GONE
    assert remember(table(), table(), memory, 100.0 + GONE_S) == NOTHING_GONE


def test_what_the_document_calls_gone_is_its_own_matter() -> None:
    assert remember(table(gone=(b"a",)), table(), NOTHING_GONE, 0.0) == NOTHING_GONE


def test_a_key_that_comes_back_is_forgotten_at_once() -> None:
    memory = remember(table(live=(b"a",)), table(), NOTHING_GONE, 0.0)
    assert remember(table(), table(live=(b"a",)), memory, 1.0) == NOTHING_GONE


def test_a_route_that_left_while_its_key_lives() -> None:
    both, one = table(("a", ME), ("a", OTHER)), table(("a", ME))
    memory = remember(both, one, NOTHING_GONE, 0.0)
    assert memory == GoneMemory({}, {OTHER: {b"a": GONE_S}})
    assert one.view(OTHER, memory).remembered_routes == {b"a"}
    assert one.view(ME, memory).remembered_routes == frozenset()
    assert remember(one, both, memory, 1.0) == NOTHING_GONE


def test_a_key_that_comes_back_without_its_route_has_a_gone_route() -> None:
    # Otherwise a test that meant the fork would pass on the baseline.
    before, empty, after = table(("a", ME)), table(), table(("a", OTHER))
    memory = remember(before, empty, NOTHING_GONE, 0.0)
    assert memory.keys == {b"a": GONE_S}
    memory = remember(empty, after, memory, 10.0)
    assert memory == GoneMemory({}, {ME: {b"a": GONE_S}})


def test_leaving_again_starts_the_hour_again() -> None:
    memory = remember(table(("a", ME)), table(), NOTHING_GONE, 0.0)
    memory = remember(table(), table(("a", ME)), memory, 10.0)
    memory = remember(table(("a", ME)), table(), memory, 20.0)
    assert memory.keys == {b"a": 20.0 + GONE_S}
    assert memory.routes == {ME: {b"a": 20.0 + GONE_S}}


def test_entries_expire_each_in_its_time() -> None:
    memory = GoneMemory({b"a": 1.0, b"b": 3.0}, {ME: {b"a": 2.0}, OTHER: {b"a": 4.0}})
    assert memory.next_expiry_s == 1.0
    assert memory.expired(2.0) == GoneMemory({b"b": 3.0}, {OTHER: {b"a": 4.0}})
    assert memory.expired(4.0) == NOTHING_GONE
    assert NOTHING_GONE.next_expiry_s == inf
    assert NOTHING_GONE.expired(1e12) is NOTHING_GONE


def test_memories_are_values() -> None:
    memory = GoneMemory({b"a": 1.0}, {ME: {b"a": 2.0}})
    memory.expired(5.0)
    remember(table(live=(b"x",)), table(("a", ME)), memory, 0.0)
    assert memory == GoneMemory({b"a": 1.0}, {ME: {b"a": 2.0}})
