"""The two origins of most tests with a real process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.origin import Origin, running


@pytest.fixture
def baseline() -> Iterator[Origin]:
    origin = Origin("baseline")
    with running(origin):
        yield origin


@pytest.fixture
def sandbox() -> Iterator[Origin]:
    origin = Origin("sandbox")
    with running(origin):
        yield origin
