"""Tasks and threads that are not lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress
from weakref import ref

import pytest

from controller.background import aside, spawn


def test_a_failure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    async def test() -> None:
        task = spawn(fail(), "what fails")
        cancelled = spawn(asyncio.Event().wait(), "what is cancelled")
        cancelled.cancel()
        with suppress(ValueError):
            await task
        await asyncio.sleep(0)

    asyncio.run(test())
    assert [record.message for record in caplog.records] == ["background task what fails failed"]


def test_a_task_that_nobody_keeps_lives() -> None:
    async def test() -> None:
        async def work() -> None:
            await asyncio.get_running_loop().create_future()  # which nobody else keeps either

        task = ref(spawn(work(), "work"))
        await asyncio.sleep(0)
        gc.collect()
        kept = task()
        assert kept is not None
        kept.cancel()

    asyncio.run(test())


def test_a_thread_is_waited_for_by_whoever_is_cancelled() -> None:
    started, go = threading.Event(), threading.Event()
    done: list[str] = []

    def work(what: str) -> str:
        started.set()
        assert go.wait(5)
        done.append(what)
        return what

    async def test() -> None:
        task = spawn(aside(work, "written"), "writer")
        await asyncio.to_thread(started.wait, 5)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["written"]
        assert await aside(work, "again") == "again"

    asyncio.run(test())
