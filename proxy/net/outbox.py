"""HTTP/2 connections that have something to write: one write each, at the end of what is being done.

What one connection receives makes several others write: answers, requests, window updates, a few bytes each. They
collect until the data that came was worked off; what comes about otherwise (a timer, a connection that stands) is
written in the loop's next turn.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Writer(Protocol):
    def flush(self) -> None: ...


class Outbox:
    """Of one process."""

    __slots__ = ("_depth", "_is_scheduled", "_loop", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._writers: list[Writer] = []
        self._depth = 0
        self._is_scheduled = False

    def add(self, writer: Writer) -> None:
        """It has output, and had none before."""
        self._writers.append(writer)
        if not self._depth and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def begin(self) -> None:
        self._depth += 1

    def end(self) -> None:
        """Of what `begin` began."""
        self._depth -= 1
        if not self._depth:
            self._flush()

    def _flush(self) -> None:
        self._is_scheduled = False
        while self._writers:
            writers, self._writers = self._writers, []
            for writer in writers:
                writer.flush()
