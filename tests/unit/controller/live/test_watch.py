"""Rows of a real folder, engine and hub, with a clock and proxies that the test moves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.allow import AllowList
from controller.compile import Settings
from controller.dirstore import DirStore
from controller.engine import Engine
from controller.feed.hub import Hub
from controller.feed.subscription import Subscription
from controller.journal import Journal
from controller.live import watch as watches
from controller.live.board import Audience
from controller.live.watch import Watch
from controller.objects import Object
from controller.times import timestamp
from proxy.feed.messages import Ack, Count, Hello, Nack, RefusedRoute, Traffic
from tests.support.folder import opened
from tests.support.objects import sandbox

LOCATION = "hotrod/Deployment/location"


class World:
    """`open` it on a store and two journals."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=1)  # the folder's own clock is the real one

    def open(self, store: DirStore, keys: Journal, feed: Journal) -> None:
        self.store = store
        self.hub = Hub(feed, lambda: self.now)
        settings = Settings(AllowList(["127.0.0.0/8"]))
        self.engine = Engine(store, keys, settings, [self.hub.apply], clock=lambda: self.now)
        self.watch = Watch(self.engine, self.hub, "owner", lambda: self.now)
        self.engine.on_settled.extend((self.hub.hear, self.watch.hear))

    async def put(self, object_: Object) -> Object:
        stored = await self.store.put(object_, None)
        await self.engine.compiled(stored.ref, stored.metadata.resource_version, 5)
        return stored

    def dial(self, id_: str = "p1", workload: str | None = LOCATION) -> Subscription:
        return self.hub.attach(Hello(id_, f"boot-{id_}", workload), lambda: None)

    def answer(self, one: Subscription, *refused: RefusedRoute) -> None:
        message = json.loads(list(self.hub.due(one))[-1])
        nonce, position, version = message["nonce"], message["position"], message["version"]
        self.hub.take(one, Nack(nonce, (), False, refused) if refused else Ack(nonce, position, version))

    def rows(self, audience: Audience = None) -> dict[str, dict[str, Any]]:
        found = map(json.loads, self.watch.board.since(None, audience).rows)
        return {row["id"]: row for row in found}

    async def until(self, condition: Callable[[dict[str, dict[str, Any]]], object]) -> dict[str, dict[str, Any]]:
        """The rows, once this holds of them."""
        async with asyncio.timeout(5):
            while not condition(self.rows()):
                await self.watch.until_changed()
        return self.rows()


@asynccontextmanager
async def world_of(tmp_path: Path, *, is_read: bool = True) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(tmp_path))
        journals = [Journal(str(tmp_path / name)) for name in ("keys", "feed")]
        for journal in journals:
            stack.callback(journal.close)
        world = World()
        world.open(store, *journals)
        for work in (world.engine.run(), world.watch.run()):
            task = asyncio.get_running_loop().create_task(work)
            stack.push_async_callback(_ended, task)
        if is_read:
            stack.enter_context(world.watch.reading())
        yield world


async def _ended(task: asyncio.Task[None]) -> None:
    assert not task.done(), task.exception()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run(tmp_path: Path, test: Callable[[World], Awaitable[None]], *, is_read: bool = True) -> None:
    async def all_of_it() -> None:
        async with world_of(tmp_path, is_read=is_read) as world:
            await test(world)

    asyncio.run(all_of_it())


def test_an_object_from_its_making_to_its_end(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        stored = await world.put(sandbox("pr-1", labels={"owner": "ann"}))
        row = (await world.until(lambda rows: "Sandbox hotrod/pr-1" in rows))["Sandbox hotrod/pr-1"]
        assert (row["key"], row["owner"], row["labels"]) == ("pr-1", "ann", {"owner": "ann"})
        assert row["workloads"] == [{"workload": LOCATION, "sandbox": "pr-1", "ports": [[8081, ["127.0.0.1:9081"]]]}]
        assert row["position"] == world.hub.position
        assert ["Ready", "True"] in [each[:2] for each in row["conditions"]]
        assert "members" not in row  # what is empty is left out
        await world.store.delete(stored.ref)
        await world.until(lambda rows: "Sandbox hotrod/pr-1" not in rows)

    run(tmp_path, test)


def test_the_position_is_of_the_object_and_not_of_others(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        first = world.hub.position
        await world.put(sandbox("pr-2"))
        rows = await world.until(lambda rows: "Sandbox hotrod/pr-2" in rows)
        assert rows["Sandbox hotrod/pr-1"]["position"] == first
        assert rows["Sandbox hotrod/pr-2"]["position"] == world.hub.position > first

    run(tmp_path, test)


def test_proxies_and_what_they_have(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        one = world.dial()
        rows = await world.until(lambda rows: len(rows["table"]["behind"]) == 1 if "table" in rows else False)
        id_ = f"proxy {LOCATION} p1"
        assert rows[id_]["connected"]
        assert rows["table"]["attached"] == 1
        assert rows["table"]["lacking"] == [[-1, 1]]
        assert rows["table"]["behind"][id_][0] == -1
        world.answer(one)
        rows = await world.until(lambda rows: not rows["table"]["behind"])
        assert rows["table"]["lacking"] == []
        revision = world.watch.board.revision
        world.now += timedelta(seconds=7)
        known = world.hub.position
        await world.put(sandbox("pr-2"))
        rows = await world.until(lambda rows: rows["table"]["behind"])
        assert rows["table"]["behind"] == {id_: [known, timestamp(world.now)]}
        changed = [json.loads(row)["id"] for row in world.watch.board.since(revision, None).rows]
        assert id_ not in changed  # a table that is told is not news of each proxy
        world.hub.detach(one, is_clean=False)
        rows = await world.until(lambda rows: not rows[id_]["connected"])
        assert rows["table"]["attached"] == 0
        assert rows[id_]["position"] == known
        world.hub.detach(world.dial(), is_clean=True)
        await world.until(lambda rows: id_ not in rows)

    run(tmp_path, test)


def test_two_by_one_name(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        world.dial()
        world.hub.attach(Hello("p1", "another", LOCATION), lambda: None)
        await world.until(lambda rows: rows.get(f"proxy {LOCATION} p1", {}).get("rival"))

    run(tmp_path, test)


def test_a_route_that_is_refused_is_said_of_the_object(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        one = world.dial()
        world.answer(one, RefusedRoute("pr-1", ("too long",)))
        rows = await world.until(lambda rows: "refusals" in rows.get("Sandbox hotrod/pr-1", {}))
        assert rows["Sandbox hotrod/pr-1"]["refusals"] == [{"proxy": "p1", "faults": ["too long"]}]
        await world.put(sandbox("pr-2"))
        world.answer(one)
        await world.until(lambda rows: "refusals" not in rows["Sandbox hotrod/pr-1"])

    run(tmp_path, test)


def test_counts_of_the_last_hour(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        one = world.dial()
        counts = (Count("pr-1", 5, 2), Count("of-nobody", 1, 1))
        await world.until(lambda rows: "Sandbox hotrod/pr-1" in rows)
        world.hub.take_traffic(one, Traffic(1, counts))
        rows = await world.until(lambda rows: "traffic Sandbox hotrod/pr-1" in rows)
        assert rows["traffic Sandbox hotrod/pr-1"]["counts"] == {LOCATION: [5, 2]}
        world.now += timedelta(minutes=59)
        world.hub.take_traffic(one, Traffic(2, (Count("pr-1", 1, 0),)))
        wanted = {LOCATION: [6, 2]}
        await world.until(lambda rows: rows["traffic Sandbox hotrod/pr-1"]["counts"] == wanted)
        world.now += timedelta(minutes=2)
        world.hub.take_traffic(one, Traffic(3, (Count("pr-1", 1, 0),)))
        wanted = {LOCATION: [2, 0]}
        await world.until(lambda rows: rows["traffic Sandbox hotrod/pr-1"]["counts"] == wanted)

    run(tmp_path, test)


def test_counts_grow_old_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_DECAY_S", 0.02)

    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        await world.until(lambda rows: "Sandbox hotrod/pr-1" in rows)
        world.hub.take_traffic(world.dial(), Traffic(1, (Count("pr-1", 5, 2),)))
        await world.until(lambda rows: "traffic Sandbox hotrod/pr-1" in rows)
        world.now += timedelta(minutes=61)
        await world.until(lambda rows: "traffic Sandbox hotrod/pr-1" not in rows)

    run(tmp_path, test)


def test_a_namespace_and_no_other(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        await world.put(sandbox("pr-2", namespace="secret"))
        world.dial()
        world.dial("p2", "secret/Deployment/location")
        await world.until(lambda rows: len(rows) == 5)
        seen = world.rows(frozenset(["hotrod"]))
        assert sorted(seen) == ["Sandbox hotrod/pr-1", f"proxy {LOCATION} p1", "table"]
        assert "secret" not in json.dumps(seen)
        assert seen["table"]["attached"] == 2  # how many there are is no secret: receipts say it, too

    run(tmp_path, test)


def test_nothing_is_done_while_nobody_looks(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.put(sandbox("pr-1"))
        one = world.dial()
        world.hub.take_traffic(one, Traffic(1, (Count("pr-1", 5, 2),)))
        await world.put(sandbox("pr-2"))
        await asyncio.sleep(3 * watches.SPACING_S)
        assert len(world.watch.board) == 0
        with world.watch.reading():
            rows = await world.until(lambda rows: "traffic Sandbox hotrod/pr-1" in rows)
            assert "Sandbox hotrod/pr-2" in rows
        world.hub.take_traffic(one, Traffic(2, (Count("pr-1", 1, 0),)))
        with world.watch.reading():  # what was counted meanwhile is there when somebody comes back
            wanted = {LOCATION: [6, 2]}
            await world.until(lambda rows: rows["traffic Sandbox hotrod/pr-1"]["counts"] == wanted)

    run(tmp_path, test, is_read=False)


def test_many_changes_are_few_steps(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        loop = asyncio.get_running_loop()
        steps = 0

        async def count() -> None:
            nonlocal steps
            while True:
                await world.watch.until_changed()
                steps += 1

        counting = loop.create_task(count())
        began_s = loop.time()
        for number in range(60):
            await world.put(sandbox(f"pr-{number}"))
        await world.until(lambda rows: len(rows) == 61)
        counting.cancel()
        assert 1 < steps <= (loop.time() - began_s) / watches.SPACING_S + 2

    run(tmp_path, test)


def test_a_defect_here_is_logged_and_costs_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> dict[str, object]:
        raise KeyError("our inside")

    async def test(world: World) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(watches, "object_row", broken)
            with caplog.at_level(logging.ERROR):
                await world.put(sandbox("pr-1"))
                async with asyncio.timeout(5):
                    while "our inside" not in caplog.text:
                        await asyncio.sleep(0.01)
        await world.put(sandbox("pr-2"))
        await world.until(lambda rows: "Sandbox hotrod/pr-2" in rows)

    run(tmp_path, test)
