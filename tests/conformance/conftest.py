"""One proxy for a module whose tests play both sides of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.http2_wire import Wire, wired


@pytest.fixture(scope="module")
def proxy_wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wired(tmp_path_factory.mktemp("wire")) as wire:
        yield wire


@pytest.fixture
def wire(proxy_wire: Wire) -> Iterator[Wire]:
    yield proxy_wire
    proxy_wire.clear()
