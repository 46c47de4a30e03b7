"""What proxies are told: that parts stay within their limits, what is remembered, and what is made once for many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from controller.feed.book import Book
from controller.keystate import KeyState
from proxy.feed.messages import PART_BYTES, PART_KEYS, PART_ROUTES, Change, Current, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.wire import read_from_controller
from proxy.routing.digest import key_digest
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Route
from proxy.tables import TableHolder
from tests.support.objects import workload

HERE, THERE = workload("here"), workload("there")
SALT = "00ff"


def live(key: str, *workloads: Workload, port: int = 1, sandbox: str = "s", mappings: int = 1) -> KeyState:
    """A key with a route to this port for each of the workloads."""
    found = tuple(Mapping(8000 + number, None, "preserve", (Endpoint("h", port),)) for number in range(mappings))
    return KeyState(key, is_live=True, routes=tuple(Route(key, sandbox, each, found) for each in workloads))


def gone(key: str) -> KeyState:
    return KeyState(key, is_gone=True)


def nothing(key: str) -> KeyState:
    return KeyState(key)


def book(*states: KeyState, position: int = 1, version: str = "v1") -> Book:
    found = Book(SALT)
    found.apply(position, version, states)
    return found


def digest(key: str) -> str:
    return key_digest(key.encode(), bytes.fromhex(SALT)).decode()


def read(texts: Sequence[str] | None) -> list[Any]:
    assert texts is not None
    assert all(len(text) < 1.1 * PART_BYTES for text in texts)
    return [read_from_controller(text) for text in texts]


def changed(found: Book, since: int = 1, version: str = "v1", where: Workload = HERE) -> list[Change]:
    return read(found.change(where, since, version))


def told(where: Workload, *messages: Sequence[str]) -> Receiver:
    """A proxy that was told these; it took them all."""
    receiver = Receiver(TableHolder(where, "controller"), (8081,))
    for texts in messages:
        for message in read(texts):
            answer = receiver.take(message)
            assert (answer is None) is not getattr(message, "is_last", True)
    return receiver


def test_a_slice_holds_what_is_its_own_and_digests_of_all() -> None:
    found = book(live("a", HERE, THERE), live("b", THERE), live("none"), gone("c"))
    first, last = read(found.snapshot(HERE))
    assert isinstance(first, Snapshot)
    assert (first.nonce, first.position, first.version, first.part, first.is_last) == ("all-1", 1, "v1", 0, False)
    assert (last.nonce, last.part, last.is_last) == ("all-1", 1, True)
    texts = found.snapshot(HERE)
    assert '"b"' not in "".join(texts)
    assert '"c"' not in "".join(texts)
    receiver = told(HERE, texts)
    assert receiver.slice is not None
    assert set(receiver.slice.of(HERE).known) == {b"a"}
    assert receiver.slice.live == {digest(key).encode() for key in ("a", "b", "none")}
    assert receiver.slice.gone == {digest("c").encode()}


def test_an_empty_table_is_one_part() -> None:
    [part] = read(book().snapshot(HERE))
    assert part.is_last
    assert part.document["liveKeys"] == part.document["routes"] == []


def test_parts_of_many_routes() -> None:
    for count, parts in ((PART_ROUTES, 1), (PART_ROUTES + 1, 2), (2 * PART_ROUTES, 2)):
        found = book(*(live(f"k{number}", HERE) for number in range(count)))
        texts = found.snapshot(HERE)
        routes = [len(part.document["routes"]) for part in read(texts)]
        assert routes[1:] == ([PART_ROUTES] * (parts - 1) + [count - PART_ROUTES * (parts - 1)])
        receiver = told(HERE, texts)
        assert receiver.slice is not None
        assert receiver.slice.count == count


def test_parts_of_many_keys() -> None:
    states = [live(f"k{number}") for number in range(PART_KEYS + 1)] + [gone(f"g{number}") for number in range(5)]
    found = book(*states)
    texts = found.snapshot(HERE)
    keys = [len(part.document["liveKeys"]) + len(part.document["goneKeys"]) for part in read(texts)]
    assert sum(keys) == len(states)
    assert max(keys) <= PART_KEYS
    receiver = told(HERE, texts)
    assert receiver.slice is not None
    assert (len(receiver.slice.live), len(receiver.slice.gone)) == (PART_KEYS + 1, 5)


def test_parts_of_large_routes() -> None:
    states = [live(f"k{number}", HERE, sandbox="s" * 60, mappings=100) for number in range(450)]
    found = book(*states)
    texts = found.snapshot(HERE)
    assert sum(map(len, texts)) > 2 * PART_BYTES
    assert len(texts) == 1 + 3
    receiver = told(HERE, texts)
    assert receiver.slice is not None
    assert receiver.slice.count == 450
    found.apply(2, "v2", [live(state.key, HERE, port=2, sandbox="s" * 60, mappings=100) for state in states])
    changes = found.change(HERE, 1, "v1")
    assert changes is not None
    assert len(changes) == 3
    receiver = told(HERE, texts, changes)
    assert receiver.position == 2


def test_a_change_says_what_changed_and_no_more() -> None:
    found = book(live("a", HERE), live("b", HERE, THERE), live("d", THERE), gone("e"))
    found.apply(2, "v2", [live("a", HERE, port=2), live("b", THERE), gone("d"), live("e", HERE), live("f")])
    [change] = changed(found)
    assert (change.nonce, change.from_position, change.position, change.version) == ("1-2", 1, 2, "v2")
    assert [route["routingKey"] for route in change.routes] == ["a", "e"]  # type: ignore[index]
    assert change.removed_routes == ("b",)
    assert set(change.live_keys) == {digest("e"), digest("f")}
    assert change.not_live_keys == (digest("d"),)
    assert change.gone_keys == (digest("d"),)
    assert change.not_gone_keys == (digest("e"),)
    [other] = changed(found, where=workload("elsewhere"))
    assert (other.routes, other.removed_routes) == ([], ())
    assert other.live_keys == change.live_keys


def test_what_came_and_went_meanwhile_is_not_said() -> None:
    found = book(live("a", HERE))
    found.apply(2, "v2", [live("b", HERE)])
    found.apply(3, "v3", [nothing("b"), live("a", HERE, port=2)])
    found.apply(4, "v1", [live("a", HERE)])
    [change] = changed(found)
    assert (change.routes, change.live_keys, change.removed_routes) == ([], (), ())
    [change] = changed(found, 2, "v2")
    assert change.removed_routes == ("b",)


def test_gone_routes() -> None:
    found = book(live("a", HERE))
    taken = KeyState("a", is_live=True, gone_routes=(GoneRoute("a", HERE),))
    found.apply(2, "v2", [taken])
    [change] = changed(found)
    assert change.removed_routes == ("a",)
    assert [route["routingKey"] for route in change.gone_routes] == ["a"]  # type: ignore[index]
    receiver = told(HERE, found.snapshot(HERE))
    assert receiver.slice is not None
    assert receiver.slice.of(HERE).gone_routes == {b"a"}
    found.apply(3, "v3", [live("a")])
    [change] = changed(found, 2, "v2")
    assert change.not_gone_routes == ("a",)


def test_many_routes_change_in_parts() -> None:
    count = PART_ROUTES + 1
    found = book(*(live(f"k{number}", HERE) for number in range(count)))
    snapshot = found.snapshot(HERE)
    found.apply(2, "v2", [live(f"k{number}", HERE, port=2) for number in range(count)])
    texts = found.change(HERE, 1, "v1")
    assert texts is not None
    parts = read(texts)
    assert [len(part.routes) for part in parts] == [PART_ROUTES, 1]
    assert [(part.part, part.is_last) for part in parts] == [(0, False), (1, True)]
    receiver = told(HERE, snapshot, texts)
    assert receiver.slice is not None
    assert {known.route.mappings[0].destinations[0].port for known in receiver.slice.of(HERE).known.values()} == {2}


def test_more_than_a_proxy_takes_at_once_is_a_snapshot() -> None:
    found = book()
    found.apply(2, "v2", [live(f"k{number}") for number in range(20_000)])
    assert [len(change.live_keys) for change in changed(found)] == [20_000, 0]
    assert told(HERE, book().snapshot(HERE), found.change(HERE, 1, "v1") or []).position == 2
    found.apply(3, "v3", [gone(f"k{number}") for number in range(10_001)])
    assert found.change(HERE, 2, "v2") is None  # each key leaves one list and enters another
    assert found.change(HERE, 1, "v1") is None


def test_the_log_is_bounded_by_changes_and_by_keys() -> None:
    found = book()
    for position in range(2, 1003):
        found.apply(position, f"v{position}", [live("k", HERE, port=position)])
    assert found.change(HERE, 1, "v1") is None
    [change] = changed(found, 2, "v2")
    assert len(change.routes) == 1
    found.apply(1003, "v", [live(f"k{number}") for number in range(20_001)])
    assert found.change(HERE, 1002, "v1002") is None
    assert found.change(HERE, 1003, "v") is not None
    found.apply(1004, "w", [nothing("k1")])
    assert [change.not_live_keys for change in changed(found, 1003, "v")] == [(digest("k1"),)]


def test_positions_of_other_tables_are_not_ours() -> None:
    found = book(live("a", HERE), position=7)
    found.apply(8, "v2", [live("b", HERE)])
    assert found.change(HERE, 7, "another") is None
    assert found.change(HERE, 8, "another") is None
    assert found.change(HERE, 7, None) is None
    assert found.change(HERE, 6, "v0") is None
    assert found.change(HERE, 9, "v2") is None


def test_current() -> None:
    [current] = read(book(position=5).current(HERE))
    assert current == Current("5-5", 5, "v1", SALT)


def test_texts_are_made_once_for_all() -> None:
    found = book(live("a", HERE))
    assert found.snapshot(HERE)[0] is found.snapshot(HERE)[0]
    keys = json.dumps([digest("a")])
    assert keys in found.snapshot(HERE)[0]
    assert keys in found.snapshot(THERE)[0]
    found.apply(2, "v2", [live("b", THERE)])
    first, second = found.change(HERE, 1, "v1"), found.change(HERE, 1, "v1")
    assert first is not None
    assert first is second
    found.apply(3, "v3", [live("c", HERE)])
    assert [change.position for change in changed(found)] == [3]  # not the text of before
    assert found.snapshot(HERE)[0] != first[0]


def test_a_key_that_is_forgotten_leaves_nothing_behind() -> None:
    found = book(live("a", HERE), gone("b"))
    found.apply(2, "v2", [nothing("a"), nothing("b")])
    changed(found)
    assert (found._states, found._keys_of, found._digests) == ({}, {}, {})
    assert found.state("a") is None
