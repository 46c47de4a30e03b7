"""What is due to one proxy, whatever it answers."""

from __future__ import annotations

import json

import pytest

from controller.feed.book import Book
from controller.feed.subscription import Subscription
from controller.keystate import KeyState
from proxy.feed.messages import Ack, Hello, Nack, RefusedRoute
from tests.support.objects import NOON, workload

HERE = workload("here")
SALT = "00ff"


@pytest.fixture
def book() -> Book:
    found = Book(SALT)
    found.apply(1, "v1", [])
    return found


def subscribed(book: Book, position: int | None = None, version: str | None = None, salt: str = SALT) -> Subscription:
    return Subscription(Hello("p", "boot", str(HERE), (1,), "r", position, version, salt), HERE, book, NOON)


def due(subscription: Subscription, book: Book) -> tuple[str, str] | None:
    """Type and nonce of what is due."""
    found = [json.loads(text) for text in subscription.due(book)]
    return (found[0]["type"], found[0]["nonce"]) if found else None


def moved(book: Book) -> None:
    position = book.position + 1
    book.apply(position, f"v{position}", [KeyState(f"k{position}", is_live=True)])


def acknowledged(subscription: Subscription, nonce: str) -> bool:
    position = int(nonce.rpartition("-")[2])
    return subscription.acknowledge(Ack(nonce, position, f"v{position}"))


def test_who_has_nothing_gets_all_and_then_what_changes(book: Book) -> None:
    one = subscribed(book)
    assert due(one, book) == ("snapshot", "all-1")
    assert due(one, book) is None
    assert not one.knows(1)
    assert acknowledged(one, "all-1")
    assert one.knows(1)
    assert not one.knows(2)
    assert due(one, book) is None
    moved(book)
    assert due(one, book) == ("change", "1-2")


def test_one_answer_at_a_time_and_what_comes_meanwhile_is_one_change(book: Book) -> None:
    one = subscribed(book)
    due(one, book)
    for _ in range(3):
        moved(book)
        assert due(one, book) is None
    assert acknowledged(one, "all-1")
    assert (one.knows(1), one.knows(2)) == (True, False)
    assert due(one, book) == ("change", "1-4")
    assert acknowledged(one, "1-4")
    assert one.knows(4)


@pytest.mark.parametrize("nonce", ["all-2", "1-1", "", "all-10"])
def test_answers_that_were_not_awaited(book: Book, nonce: str) -> None:
    one = subscribed(book)
    due(one, book)
    assert not one.acknowledge(Ack(nonce, 1, "v1"))
    assert not one.refuse(Nack(nonce, ("no",), True))
    assert not one.knows(1)
    assert acknowledged(one, "all-1")
    assert not acknowledged(one, "all-1")  # twice


def test_who_comes_back(book: Book) -> None:
    moved(book)
    assert due(subscribed(book, 2, "v2"), book) == ("current", "2-2")
    assert due(subscribed(book, 1, "v1"), book) == ("change", "1-2")
    assert due(subscribed(book, 1, "v2"), book) == ("current", "2-2")  # the same table by another position
    assert due(subscribed(book, 1, "v9"), book) == ("snapshot", "all-2")
    assert due(subscribed(book, 2, "v1"), book) == ("snapshot", "all-2")
    assert due(subscribed(book, 2, "v2", "0011"), book) == ("snapshot", "all-2")
    assert due(subscribed(book, 0, "v0"), book) == ("snapshot", "all-2")


def test_what_it_says_at_first_is_no_answer(book: Book) -> None:
    one = subscribed(book, 1, "v1")
    assert (one.position, one.version) == (1, "v1")
    assert not one.knows(1)
    due(one, book)
    assert not one.knows(1)
    acknowledged(one, "1-1")
    assert one.knows(1)


def test_a_whole_refusal(book: Book) -> None:
    one = subscribed(book, 1, "v1")
    due(one, book)
    acknowledged(one, "1-1")
    moved(book)
    due(one, book)
    assert one.refuse(Nack("1-2", (), True))
    assert one.faults == ("refused, without a reason",)
    assert (one.position, one.knows(1), one.knows(2), one.has_refused(2)) == (1, True, False, True)
    assert due(one, book) is None  # the same again would be refused again
    moved(book)
    assert due(one, book) == ("snapshot", "all-3")
    assert not one.has_refused(3)
    assert acknowledged(one, "all-3")
    assert one.faults == ()
    assert not one.has_refused(3)


def test_routes_that_are_refused(book: Book) -> None:
    one = subscribed(book)
    due(one, book)
    assert one.refuse(Nack("all-1", ("bad",), False, (RefusedRoute("k", ("bad\x1b[2J\n",)),)))
    assert one.knows(1)
    assert one.refused_routes == {("k", HERE): ("bad\ufffd[2J\ufffd",)}
    assert one.version is None  # what it has is not that table
    moved(book)
    due(one, book)
    one.refuse(Nack("all-2", ("too much",), True))
    assert one.knows(1)
    assert list(one.refused_routes) == [("k", HERE)]  # still
    moved(book)
    assert due(one, book) == ("snapshot", "all-3")
    acknowledged(one, "all-3")
    assert (one.refused_routes, one.faults) == ({}, ())


def test_resync(book: Book) -> None:
    one = subscribed(book, 1, "v1")
    due(one, book)
    one.resync()
    assert one.position is None
    assert due(one, book) == ("snapshot", "all-1")
    assert not acknowledged(one, "1-1")  # of what came before
    assert acknowledged(one, "all-1")
    one.resync()
    assert not one.knows(1)
    assert due(one, book) == ("snapshot", "all-1")
