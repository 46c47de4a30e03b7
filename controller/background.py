"""Background tasks, as the proxy's, and work in threads, so that neither is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from proxy.background import spawn

__all__ = ["aside", "spawn"]

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
