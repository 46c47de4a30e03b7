"""A proxy's token is good for the feed of its workload, for as long as it is in the file, also once it is attached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controller import Controller, run_controller, sandbox
from tests.support.feedclient import scripted_proxy
from tests.support.waiting import until

WRITER, FIRST, SECOND = "writer-0123456789", "first-0123456789", "second-0123456789"
LOCATION, DRIVER = "hotrod/Deployment/location", "hotrod/Deployment/driver"
WRITE = f"- {{name: ci, token: {WRITER}, role: write}}\n"


def entry(token: str, workload: str) -> str:
    return f"- {{name: {token[:5]}, token: {token}, role: proxy, workload: {workload}}}\n"


def put_tokens(controller: Controller, text: str) -> None:
    file = controller.folder.parent / "tokens.yaml"
    file.with_suffix(".new").write_text(text)
    os.replace(file.with_suffix(".new"), file)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    (tmp_path / "tokens.yaml").write_text(WRITE + entry(FIRST, LOCATION) + entry(SECOND, DRIVER))
    flags = ("--tokens-file", str(tmp_path / "tokens.yaml"))
    with run_controller(tmp_path / "objects", *flags, token=WRITER) as controller:
        yield controller


@pytest.mark.parametrize("left", ["", entry(FIRST, DRIVER)], ids=["taken away", "given to another"])
def test_one_that_is_taken_away_ends_its_feed(controller: Controller, left: str) -> None:
    with (
        scripted_proxy(controller.url, LOCATION, "p1", token=FIRST) as ended,
        scripted_proxy(controller.url, DRIVER, "p2", token=SECOND) as other,
    ):
        until(lambda: ended.tables and other.tables, "the tables")
        put_tokens(controller, WRITE + left + entry(SECOND, DRIVER))
        until(ended.ended.is_set, "the end", within_s=15)
        controller.put(sandbox("pr-1"))
        until(lambda: len(other.tables) == 2, "what the other is told")
        assert len(ended.tables) == 1
        assert not other.ended.is_set()
