"""Background tasks, as the proxy's, and work in threads, so that neither is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

from proxy.background import spawn

__all__ = ["Pauses", "aside", "spawn"]

T = TypeVar("T")
P = ParamSpec("P")


async def aside(act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Done in a thread; a caller that is cancelled waits for its end, so that nothing is closed under its hands."""
    doing = asyncio.ensure_future(asyncio.to_thread(act, *arguments, **named))  # noqa: TID251 - awaited here
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        with suppress(Exception):
            await doing
        raise


class Pauses:
    """Between attempts at something that fails: each twice as long as the one before, up to the longest."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s: Final = first_s
        self._longest_s: Final = longest_s
        self.next_s = first_s

    async def wait(self) -> None:
        await asyncio.sleep(self.next_s)
        self.next_s = min(2 * self.next_s, self._longest_s)

    def reset(self) -> None:
        """It did not fail."""
        self.next_s = self._first_s
