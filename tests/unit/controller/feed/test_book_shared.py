"""What the book tells to many is made and kept once, and is whole for each: a thousand workloads may come at once."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from controller.feed import book as book_module
from controller.feed.book import Book
from controller.keystate import KeyState
from proxy.feed.messages import Ack, Change, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.wire import read_from_controller
from proxy.routing.digest import key_digest
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Route
from proxy.tables import TableHolder
from tests.support.objects import workload

SALT = "00ff"
MANY = 1000


def live(key: str, *workloads: Workload) -> KeyState:
    mappings = (Mapping(8081, None, "preserve", (Endpoint("127.0.0.1", 9081),)),)
    return KeyState(key, is_live=True, routes=tuple(Route(key, key, each, mappings) for each in workloads))


def of(number: int) -> Workload:
    return workload(f"w{number % 100}")


def filled(count: int = MANY) -> Book:
    book = Book(SALT)
    book.apply(1, "v1", [live(f"key-{number}", of(number)) for number in range(count)])
    return book


def receiver(who: Workload) -> Receiver:
    return Receiver(TableHolder(who, "controller"), (8081,))


def take(receiver: Receiver, texts: list[str]) -> object:
    """The one answer, to the last of them."""
    answers = []
    for text in texts:
        message = read_from_controller(text)
        assert isinstance(message, Snapshot | Change)
        answers.append(receiver.take(message))
    assert answers[:-1] == [None] * (len(texts) - 1)
    return answers[-1]


def parts(texts: list[str]) -> list[tuple[int, bool]]:
    return [(message["part"], message["isLast"]) for message in map(json.loads, texts)]


def names(*keys: str) -> set[bytes]:
    return {key_digest(key.encode(), bytes.fromhex(SALT)) for key in keys}


def keys(count: int = MANY) -> list[str]:
    return [f"key-{number}" for number in range(count)]


def test_the_keys_of_a_snapshot_are_one_text_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "PART_KEYS", 600)
    book = filled()
    told = [book.snapshot(of(number)) for number in range(100)]
    for first, second in pairwise(told):
        assert all(one is other for one, other in zip(first[:-1], second[:-1], strict=True))
    assert sum(len(texts[-1]) for texts in told) < 300_000  # and not a hundred times all keys
    assert parts(told[0]) == [(0, False), (1, False), (2, False), (3, False), (4, True)]
    for number in (0, 7):
        own = receiver(of(number))
        assert take(own, told[number]) == Ack("all-1", 1, "v1")
        assert own.slice is not None
        assert own.slice.live == names(*keys())
        assert {route.routing_key for route in own.slice.routes} == {
            key for key in keys() if of(int(key[4:])) == of(number)
        }


def test_a_snapshot_of_nothing_is_one_message() -> None:
    book = Book(SALT)
    book.apply(1, "v1", [])
    assert parts(book.snapshot(of(1))) == [(0, True)]
    assert take(receiver(of(1)), book.snapshot(of(1))) == Ack("all-1", 1, "v1")


def test_one_whom_no_route_concerns_gets_the_keys_all_the_same() -> None:
    other = receiver(workload("other"))
    assert take(other, filled().snapshot(workload("other"))) == Ack("all-1", 1, "v1")
    assert other.slice is not None
    assert other.slice.live == names(*keys())
    assert not other.slice.routes


def test_the_keys_of_a_long_change_are_one_text_for_all() -> None:
    book = filled()
    own, other = receiver(of(3)), receiver(workload("other"))
    for each, who in ((own, of(3)), (other, workload("other"))):
        take(each, book.snapshot(who))
    gone = [KeyState(key, is_gone=True) for key in keys(500)]
    moved = KeyState("key-703", is_live=True, gone_routes=(GoneRoute("key-703", of(3)),))
    new = [live(f"new-{number}", of(number)) for number in range(500)]
    book.apply(2, "v2", [*gone, moved, *new])
    for_own, for_other = (book.change(who, 1, "v1") for who in (of(3), workload("other")))
    assert for_own is not None
    assert for_other is not None
    assert for_own[0] is for_other[0]
    assert parts(for_own) == parts(for_other) == [(0, False), (1, True)]
    assert len(for_other[-1]) < 200
    for each, texts in ((own, for_own), (other, for_other)):
        assert take(each, texts) == Ack("1-2", 2, "v2")
        assert each.slice is not None
        assert each.slice.gone == names(*keys(500))
        assert each.slice.live == names(*keys()[500:], *(f"new-{number}" for number in range(500)))
    assert own.slice is not None
    routed = {f"key-{number}" for number in range(503, MANY, 100)} | {f"new-{number}" for number in range(3, 500, 100)}
    assert {route.routing_key for route in own.slice.routes} == routed - {"key-703"}
    assert own.slice.of(of(3)).gone_routes == {b"key-703"}


def test_a_short_change_is_one_message() -> None:
    book = filled()
    own = receiver(of(3))
    take(own, book.snapshot(of(3)))
    book.apply(2, "v2", [live("new", of(3)), KeyState("key-3", is_gone=True)])
    texts = book.change(of(3), 1, "v1")
    assert texts is not None
    assert parts(texts) == [(0, True)]
    assert take(own, texts) == Ack("1-2", 2, "v2")


def test_no_key_of_others_is_said() -> None:
    book = filled()
    book.apply(2, "v2", [live(f"new-{number}", of(number)) for number in range(500)])
    for texts in (book.snapshot(of(3)), book.change(of(3), 1, "v1")):
        assert texts is not None
        said = "".join(texts)
        assert '"new-3"' in said
        assert not [
            key
            for key in (*keys(), *(f"new-{number}" for number in range(500)))
            if f'"{key}"' in said and of(int(key[4:])) != of(3)
        ]
