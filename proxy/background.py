"""Background tasks, all started here: the reference is kept, and a failure is logged instead of lost.

The event loop holds tasks weakly, so a task that nobody keeps may be collected in the middle of its work; and an
exception that nobody awaits is only reported when the task is collected, if at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)
_running: Final[set[asyncio.Task[Any]]] = set()  # Any: tasks are kept, their results are not looked at


def spawn(coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """The running task of `coro`. Cancelling is a way to end; any other exception is logged under `name`."""
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background task %s failed", task.get_name(), exc_info=error)
