"""A controller that many proxies dial: each connection is an open file, and usual limits are low."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.support.controller import run_controller

USUAL = 48
GRANTED = 512


def test_more_connections_than_the_soft_limit(tmp_path: Path) -> None:
    prefix = ("prlimit", f"--nofile={USUAL}:{GRANTED}")
    with run_controller(tmp_path / "objects", prefix=prefix) as controller, contextlib.ExitStack() as stack:
        for _ in range(4 * USUAL):
            connection = stack.enter_context(contextlib.closing(controller.connect()))
            assert controller.ask("GET", "/livez", connection=connection).status == 200
