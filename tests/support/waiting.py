"""Waiting for a condition, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], what: str = "what was waited for", *, within_s: float = 5.0) -> None:
    """Returns as soon as the condition holds; fails, saying `what` did not come, when it takes absurdly long."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, f"{what}: not within {within_s:g} s"
        time.sleep(0.005)
