"""What collects until everything that came was worked off."""

from __future__ import annotations

import asyncio

import pytest

from proxy.net.outbox import Outbox
from tests.support.loop import FakeLoop


class Writer:
    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self._name = name

    def flush(self) -> None:
        self._log.append(self._name)


@pytest.fixture
def log() -> list[str]:
    return []


def test_writers_wait_for_the_end(loop: FakeLoop, log: list[str]) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    outbox.begin()
    outbox.add(Writer(log, "a"))
    outbox.begin()
    outbox.add(Writer(log, "b"))
    outbox.end()
    loop.settle()
    assert log == [], "the outer one goes on"
    outbox.end()
    assert log == ["a", "b"]
    loop.settle()
    assert log == ["a", "b"]


def test_what_comes_about_otherwise_goes_in_the_next_turn(loop: FakeLoop, log: list[str]) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Writer(log, "a"))
    outbox.add(Writer(log, "b"))
    assert log == []
    loop.settle()
    assert log == ["a", "b"]
    outbox.add(Writer(log, "c"))
    loop.settle()
    assert log == ["a", "b", "c"]


def test_data_before_the_next_turn_takes_them_along(loop: FakeLoop, log: list[str]) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Writer(log, "a"))
    outbox.begin()
    outbox.end()
    assert log == ["a"]
    loop.settle()
    outbox.add(Writer(log, "b"))
    loop.settle()
    assert log == ["a", "b"]


def test_who_is_added_while_others_write(loop: FakeLoop, log: list[str]) -> None:
    """A write that fails ends exchanges, and those write elsewhere."""
    outbox = Outbox(asyncio.get_running_loop())

    class Chained(Writer):
        def flush(self) -> None:
            super().flush()
            outbox.add(Writer(log, "then"))

    outbox.begin()
    outbox.add(Chained(log, "first"))
    outbox.end()
    loop.settle()
    assert log == ["first", "then"]
