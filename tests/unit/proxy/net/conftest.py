from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.loop import FakeLoop


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    """The running loop, as far as anybody can tell; it moves when the test says so."""
    loop = FakeLoop()
    asyncio._set_running_loop(loop)
    try:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
    finally:
        asyncio._set_running_loop(None)
        loop.close()
