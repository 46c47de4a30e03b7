"""CHECKLIST 34: every rule of RFC 9113 about frames, states and settings, with the error at its level, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.http2_frames import FRAMES
from tests.conformance.http2_row import CONNECTION, EITHER, Row, check
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Stream
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

Scene = tuple[Proxy, Http2Origin]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    origin = Http2Origin()
    folder: Path = tmp_path_factory.mktemp("http2")
    with running(origin), run_proxy(folder, origin.port) as proxy:
        yield proxy, origin


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: row.name)
def test_frames(scene: Scene, row: Row) -> None:
    proxy, origin = scene
    origin.requests.clear()
    check(proxy.port, row)

    def bystanders() -> list[Stream]:
        return [each for each in origin.requests if each.target == b"/bystander"]

    until(bystanders, "the bystander's request upstream")
    (bystander,) = bystanders()
    until(lambda: bystander.is_over, "its end upstream")
    assert bystander.is_complete or row.level in (CONNECTION, EITHER)
    assert not bystander.is_complete or row.level != CONNECTION
