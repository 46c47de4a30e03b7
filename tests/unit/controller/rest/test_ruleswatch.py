"""One reader of the stream of rules."""

from __future__ import annotations

import asyncio

import pytest

from controller.rest import ruleswatch
from controller.rest.rules import ADD, RuleChange
from controller.rest.ruleswatch import _Watcher
from proxy.routing.names import Workload
from proxy.routing.table import Route


def changes(count: int, key: str = "k") -> list[tuple[RuleChange, bytes]]:
    change = RuleChange(ADD, Route(key, "s", Workload("ns", "Kind", "n"), ()))
    return [(change, b"%d\n" % number) for number in range(count)]


def test_pieces_in_order_and_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleswatch, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(ruleswatch, "_PIECE", 2)

    async def test() -> None:
        watcher = _Watcher(lambda route: route.routing_key == "k", lambda: None)
        watcher.hear(changes(3))
        watcher.hear(changes(3, "other"))
        assert [await watcher.next() for _ in range(3)] == [b"0\n1\n", b"2\n", b"\n"]

    asyncio.run(test())


def test_a_slow_one_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleswatch, "_MAX_PENDING", 5)

    async def test() -> None:
        cuts: list[bool] = []
        watcher = _Watcher(lambda _: True, lambda: cuts.append(True))
        watcher.hear(changes(5))
        assert not watcher.is_cut
        for _ in range(3):
            watcher.hear(changes(1))
        assert (watcher.is_cut, cuts) == (True, [True])

    asyncio.run(test())
