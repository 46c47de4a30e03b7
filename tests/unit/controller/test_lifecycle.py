"""TTLs and drains over a real folder, with a clock and proxies that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.audit import Audit
from controller.compile import Settings
from controller.dirstore import DirStore
from controller.engine import Engine
from controller.errors import Unwritable
from controller.journal import Journal
from controller.lifecycle import Lifecycle, Proxies
from controller.objects import Object, Ref, Ttl
from controller.quotas import Quotas
from controller.writing import Writer
from tests.support.folder import names, ref, run, until, write
from tests.support.objects import HOUR, NOON, sandbox

SECOND = timedelta(seconds=1)


class Nobody:
    """No proxies."""

    position = 0

    def have(self, position: int) -> bool:
        return True

    async def until_changed(self) -> None:
        await asyncio.Event().wait()


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Slow:
    """Proxies that have what the test says."""

    def __init__(self) -> None:
        self.position = 0
        self.acknowledged = 0
        self._beat = asyncio.Event()

    def have(self, position: int) -> bool:
        return self.acknowledged >= position

    async def until_changed(self) -> None:
        await self._beat.wait()

    def acknowledge(self) -> None:
        self.acknowledged = self.position
        self._beat.set()
        self._beat = asyncio.Event()


class Running:
    def __init__(self, store: DirStore, engine: Engine, lifecycle: Lifecycle, writer: Writer, log: Path) -> None:
        self.store, self.engine, self.lifecycle, self.writer, self.log = store, engine, lifecycle, writer, log

    def verbs(self) -> list[tuple[str, str]]:
        entries = map(json.loads, self.log.read_text().splitlines())
        return [(entry["verb"], entry["object"]["name"]) for entry in entries]

    async def until_names(self, *expected: str) -> None:
        async with asyncio.timeout(10):
            while await names(self.store) != list(expected):
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    tmp_path: Path,
    clock: Clock,
    proxies: Proxies | None = None,
    drain_limit_s: float = 30,
    store_type: type[DirStore] = DirStore,
) -> AsyncIterator[Running]:
    store = store_type(str(tmp_path), clock=clock)
    await store.start()
    journal = Journal(str(tmp_path / "memory"))
    audit = Audit(str(tmp_path / "audit"), clock)
    engine = Engine(store, journal, Settings(), clock=clock)
    writer = Writer(store, Quotas(), clock)
    lifecycle = Lifecycle(store, engine, writer, proxies or Nobody(), audit, drain_limit_s, clock)
    engine.on_settled.append(lifecycle.hear)
    if isinstance(proxies, Slow):

        def told(_: object) -> None:
            proxies.position += 1

        engine.on_compiled.append(told)
    tasks = [asyncio.get_running_loop().create_task(each) for each in (engine.run(), lifecycle.run())]
    try:
        await engine.compiled(ref("unheard-of"))
        yield Running(store, engine, lifecycle, writer, tmp_path / "audit")
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
        journal.close()
        audit.close()


class TestTtl:
    def test_from_created_and_from_updated(self, tmp_path: Path) -> None:
        write(
            tmp_path / "a.yaml",
            sandbox("created", ttl=Ttl("1h", "created")),
            sandbox("updated", ttl=Ttl("1h", "updated")),
            sandbox("without"),
        )
        clock = Clock(NOON + HOUR / 2)

        async def test() -> None:
            async with running(tmp_path, clock) as all_:
                updated = await all_.store.get(ref("updated"))
                await all_.writer.put(sandbox("updated", ttl=Ttl("1h"), labels={"a": "b"}))  # no change of its spec
                changed = sandbox("updated", ttl=Ttl("61m"))
                await all_.store.put(changed)
                await all_.engine.compiled(updated.ref)
                clock.now = NOON + HOUR - SECOND
                all_.lifecycle.wake()
                await all_.store.put(sandbox("without", labels={"a": "b"}))
                await all_.engine.compiled(ref("without"))
                assert all_.verbs() == []
                clock.now = NOON + HOUR
                all_.lifecycle.wake()
                await all_.until_names("updated", "without")
                await until(lambda: all_.verbs() == [("expire", "created"), ("remove", "created")], "the log")
                clock.now = NOON + HOUR / 2 + timedelta(minutes=61)
                all_.lifecycle.wake()
                await all_.until_names("without")

        run(test)

    def test_a_longer_time_counts_at_once(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yaml", sandbox("one", ttl=Ttl("1h")))
        clock = Clock()

        async def test() -> None:
            async with running(tmp_path, clock) as all_:
                stored = await all_.store.put(sandbox("one", ttl=Ttl("2h")))
                await all_.engine.compiled(stored.ref)
                clock.now = NOON + 1.5 * HOUR
                all_.lifecycle.wake()
                await all_.store.put(sandbox("two"))
                await all_.engine.compiled(ref("two"))
                assert all_.verbs() == []
                stored = await all_.store.put(sandbox("one"))
                await all_.engine.compiled(stored.ref)
                clock.now = NOON + 9 * HOUR
                all_.lifecycle.wake()
                await all_.store.put(sandbox("three"))
                await all_.engine.compiled(ref("three"))
                assert await names(all_.store) == ["one", "three", "two"]

        run(test)

    def test_a_store_that_cannot_be_written_is_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("controller.lifecycle._RETRY_S", 0.01)
        write(tmp_path / "a.yaml", sandbox("one", ttl=Ttl("1h")))
        clock = Clock()

        class Full(DirStore):
            failures = 0

            async def put(self, object_: Object, expected: str | None = None) -> Object:
                self._fail()
                return await super().put(object_, expected)

            async def delete(self, ref: Ref, expected: str | None = None) -> None:
                self._fail()
                await super().delete(ref, expected)

            def _fail(self) -> None:
                Full.failures += 1
                if Full.failures in (1, 2, 4, 5):
                    raise Unwritable("no space left")

        async def test() -> None:
            async with running(tmp_path, clock, store_type=Full) as all_:
                clock.now = NOON + HOUR
                all_.lifecycle.wake()
                await all_.until_names()
                assert Full.failures == 6
                await until(lambda: all_.verbs() == [("expire", "one"), ("remove", "one")], "the log")

        run(test)


class TestDrain:
    def test_until_all_proxies_have_let_go(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yaml", sandbox("one"), sandbox("two"))

        async def test() -> None:
            proxies = Slow()
            async with running(tmp_path, Clock(), proxies) as all_:
                proxies.acknowledge()
                going = await all_.writer.delete(ref("one"))
                await all_.engine.compiled(going.ref)
                await all_.store.put(sandbox("two", labels={"a": "b"}))
                await all_.engine.compiled(ref("two"))
                assert await names(all_.store) == ["one", "two"]
                assert all_.engine.compilation is not None
                assert all_.engine.compilation.table.gone == {b"one"}
                proxies.acknowledge()
                await all_.until_names("two")

        run(test)

    def test_no_longer_than_the_limit(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yaml", sandbox("one"))

        async def test() -> None:
            async with running(tmp_path, Clock(), Slow(), drain_limit_s=0.05) as all_:
                await all_.writer.delete(ref("one"))
                await all_.until_names()

        run(test)

    def test_a_deletion_from_before_the_start_waits_for_proxies_to_return(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("controller.lifecycle._RETURN_S", 0.5)
        write(tmp_path / "a.yaml", sandbox("old", deleted=NOON - 25 * SECOND), sandbox("older", deleted=NOON - HOUR))

        async def test() -> None:
            async with running(tmp_path, Clock(), Nobody()) as all_:
                await until(lambda: len(all_.engine.objects) == 1, "the end of the one whose limit has passed")
                assert list(all_.engine.objects) == [ref("old")]
                await all_.until_names()

        run(test)

    def test_a_timestamp_of_the_future_is_now(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yaml", sandbox("one", deleted=NOON + 1000 * HOUR))

        async def test() -> None:
            async with running(tmp_path, Clock(), Slow(), drain_limit_s=0.05) as all_:
                await all_.until_names()

        run(test)

    def test_who_takes_the_mark_out_keeps_it(self, tmp_path: Path) -> None:
        write(tmp_path / "a.yaml", sandbox("one"), sandbox("two"))

        async def test() -> None:
            proxies = Slow()
            async with running(tmp_path, Clock(), proxies) as all_:
                await all_.writer.delete(ref("one"))
                await all_.engine.compiled(ref("one"))
                write(tmp_path / "a.yaml", sandbox("one"), sandbox("two"))
                await until(
                    lambda: all_.engine.objects[ref("one")].metadata.deletion_timestamp is None, "the end of the mark"
                )
                await all_.engine.compiled(ref("one"))
                proxies.acknowledge()
                await all_.writer.delete(ref("two"))
                await all_.engine.compiled(ref("two"))
                proxies.acknowledge()
                await all_.until_names("one")
                # And it can be deleted again.
                await all_.writer.delete(ref("one"))
                await all_.engine.compiled(ref("one"))
                proxies.acknowledge()
                await all_.until_names()

        run(test)
