from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.loop import FakeLoop, running_loop


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    with running_loop() as loop:
        yield loop
