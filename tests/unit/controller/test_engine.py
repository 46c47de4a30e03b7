"""The engine over a real folder and a real journal."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from controller.compile import Compilation, Settings
from controller.dirstore import DirStore
from controller.engine import Engine
from controller.errors import StoreError
from controller.journal import Journal
from controller.objects import Ref, Status
from controller.store import Event
from tests.support.folder import opened, ref, run, until, write
from tests.support.objects import HOUR, NOON, group, sandbox


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def running(
    store: DirStore, state: Path, *, clock: Clock | None = None, journal: Journal | None = None
) -> AsyncIterator[tuple[Engine, list[Compilation]]]:
    journal = journal or Journal(str(state))
    told: list[Compilation] = []
    engine = Engine(store, journal, Settings(), [told.append], clock=clock or Clock())
    task = asyncio.get_running_loop().create_task(engine.run())
    try:
        yield engine, told
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        journal.close()


def keys(compilation: Compilation) -> dict[str, str]:
    return {state.key: "live" if state.is_live else "gone" if state.is_gone else "" for state in compilation.keys}


def test_a_change_is_told_once_and_then_in_force(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store, running(store, tmp_path / "memory") as (engine, told):
            await engine.compiled(ref("unheard-of"))
            assert [keys(each) for each in told] == [{}]  # an empty table is told too
            stored = await store.put(sandbox("one"), None)
            await engine.compiled(stored.ref, stored.metadata.resource_version, 5)
            assert engine.compilation is told[-1]
            assert keys(told[1]) == {"one": "live"}
            assert engine.namespace_of("one") == "hotrod"
            assert list(engine.workloads_of(stored.ref).values()) == [False]  # no target is allowed
            status = engine.status(stored.ref)
            assert status is not None
            assert status.routing_key == "one"

            async def kept() -> bool:
                return (await store.get(stored.ref)).status == status

            while not await kept():
                await engine.until_compiled()
            await store.delete(stored.ref)
            await engine.compiled(stored.ref, None, 5)
            assert keys(told[2]) == {"one": "gone"}
            assert engine.workloads_of(stored.ref) == {}
            assert len(told) == 3  # the statuses that came back were no news

    run(test)


def test_what_comes_together_is_one_compilation(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store, running(store, tmp_path / "memory") as (engine, told):
            await engine.compiled(ref("one"))
            write(tmp_path / "many.yaml", *(sandbox(f"pr-{number}") for number in range(120)))
            await until(lambda: len(told) > 1, "the file")
            assert len(told[1].keys) == 120

    run(test)


def test_a_key_is_forgotten_in_time(tmp_path: Path) -> None:
    clock = Clock()

    async def test() -> None:
        write(tmp_path / "a.yaml", sandbox("one"))
        async with opened(tmp_path) as store, running(store, tmp_path / "memory", clock=clock) as (engine, told):
            await engine.compiled(ref("one"))
            await store.delete(ref("one"))
            await engine.compiled(ref("one"))
            clock.now += HOUR
            engine.wake()
            await until(lambda: len(told) == 3, "the end of the hour")
            assert keys(told[2]) == {"one": ""}

    run(test)


def test_it_wakes_by_itself_when_something_is_to_be_forgotten(tmp_path: Path) -> None:
    class Moving(Clock):
        """An hour passes at once, but for its end."""

        def __init__(self) -> None:
            self.began_s = 0.0

        def __call__(self) -> datetime:
            return NOON + HOUR + timedelta(seconds=monotonic() - self.began_s - 0.2) if self.began_s else NOON

    clock = Moving()

    async def test() -> None:
        write(tmp_path / "a.yaml", sandbox("one"))
        async with opened(tmp_path) as store, running(store, tmp_path / "memory", clock=clock) as (engine, told):
            await engine.compiled(ref("one"))
            await store.delete(ref("one"))
            await engine.compiled(ref("one"))
            clock.began_s = monotonic()
            await store.put(sandbox("two"))  # from here on it knows when to wake
            await until(lambda: len(told) == 4, "the end of the hour")
            assert keys(told[3]) == {"one": ""}

    run(test)


def test_gone_keys_outlive_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        write(tmp_path / "a.yaml", sandbox("one"), sandbox("two"))
        async with opened(tmp_path) as store, running(store, tmp_path / "memory") as (engine, _):
            await engine.compiled(ref("one"))
            await store.delete(ref("one"))
            await engine.compiled(ref("one"))

    async def second() -> None:
        (tmp_path / "a.yaml").unlink()  # while nobody looks
        async with opened(tmp_path) as store, running(store, tmp_path / "memory") as (engine, told):
            await engine.compiled(ref("one"))
            assert keys(told[0]) == {"one": "gone", "two": "gone"}

    run(first)
    run(second)


class FullDisk(Journal):
    """A journal whose disk is full while `is_full`."""

    is_full = False

    def write(self, changes: Mapping[str, object | None]) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(changes)


def test_nobody_is_told_what_could_not_be_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test() -> None:
        journal = FullDisk(str(tmp_path / "memory"))
        async with opened(tmp_path) as store, running(store, tmp_path, journal=journal) as (engine, told):
            await engine.compiled(ref("one"))
            journal.is_full = True
            one = await store.put(sandbox("one"))
            await until(lambda: engine.counts.journal_failures > 1, "another attempt")
            await store.put(sandbox("two"))
            assert len(told) == 1
            assert "No space left" in str(engine.fault)
            with pytest.raises(TimeoutError):
                await engine.compiled(one.ref, one.metadata.resource_version, 0.05)
            journal.is_full = False
            await engine.compiled(ref("two"), None, 10)
            assert engine.fault is None
            assert {key for each in told for key in keys(each)} == {"one", "two"}
            assert {key for key, _ in journal.entries()} == {"one", "two"}

    run(test)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]  # said once


class Unsteady(DirStore):
    """A store whose events and writes fail now and then."""

    failures = 0

    def watch(self) -> AsyncIterator[Event]:
        return self._unsteady()

    async def _unsteady(self) -> AsyncIterator[Event]:
        async for event in super().watch():
            yield event
            if self.failures < 3:
                self.failures += 1
                raise StoreError("the connection broke")

    async def put_statuses(self, statuses: Mapping[Ref, Status]) -> None:
        if self.failures < 5:
            self.failures += 1
            raise StoreError("the connection broke")
        await super().put_statuses(statuses)


def test_a_store_that_fails_is_read_again(tmp_path: Path) -> None:
    async def test() -> None:
        write(tmp_path / "a.yaml", sandbox("one"))
        write(tmp_path / "b.yaml", sandbox("two"))
        store = Unsteady(str(tmp_path))
        await store.start()
        async with running(store, tmp_path / "memory") as (engine, told):
            await engine.compiled(ref("one"))
            (tmp_path / "a.yaml").unlink()
            await engine.compiled(ref("one"), "whatever", 10)
            await until(lambda: len(told) == 2, "the change")
            assert keys(told[1]) == {"one": "gone"}

            async def has_status() -> bool:
                return (await store.get(ref("two"))).status.routing_key == "two"

            async with asyncio.timeout(10):
                while not await has_status():
                    await asyncio.sleep(0.01)
            assert store.failures == 5
        await store.close()

    run(test)


def test_a_snapshot_that_comes_again_takes_away_what_is_missing(tmp_path: Path) -> None:
    async def test() -> None:
        write(tmp_path / "a.yaml", sandbox("one"), group("epic"))
        store = Unsteady(str(tmp_path))
        store.failures = 3
        await store.start()
        async with running(store, tmp_path / "memory") as (engine, told):
            await engine.compiled(ref("one"))
            store.failures = 0
            (tmp_path / "a.yaml").unlink()
            await until(lambda: len(told) > 1 and not engine.objects, "the deletion")
            await engine.compiled(ref("one"))
            await engine.compiled(ref("epic", "RouteGroup"))
        await store.close()

    run(test)
