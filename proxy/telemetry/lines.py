"""Lines on their way to the thread that writes them: bounded in bytes, so what can't be written in time is dropped.

One thread puts and one takes. Each number here has one writer, and a list's `append` and `del` of a slice are single
operations of the interpreter, so no lock is needed on the way of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.telemetry.metrics import Metrics

# Half a second of what a full core logs.
MAX_BYTES: Final = 4 * 1024 * 1024


class Lines:
    """Counted in `metrics`, those that were put and those that were dropped."""

    __slots__ = (
        "_is_full",
        "_lines",
        "_max_bytes",
        "_metrics",
        "_on_full",
        "_put_bytes",
        "_wake",
        "_written_bytes",
        "sleeps",
    )

    def __init__(
        self,
        metrics: Metrics,
        wake: Callable[[], None],
        on_full: Callable[[], None],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`wake`: there is something to take while the taker `sleeps`. `on_full`: the first of some is dropped."""
        self._metrics: Final = metrics
        self._wake: Final = wake
        self._on_full: Final = on_full
        self._max_bytes: Final = max_bytes
        self._lines: list[str] = []
        self._put_bytes = 0  # ever
        self._written_bytes = 0  # ever
        self._is_full = False
        self.sleeps = True  # set by the taker before it looks a last time, reset by whoever wakes it

    def put(self, line: str) -> None:
        """Never waits."""
        size = len(line)
        if self._put_bytes - self._written_bytes + size > self._max_bytes:
            self._metrics.log_lines_dropped += 1
            if not self._is_full:
                self._is_full = True
                self._on_full()
            return
        self._is_full = False
        self._metrics.log_lines += 1
        self._put_bytes += size
        self._lines.append(line)
        if self.sleeps:
            self.sleeps = False
            self._wake()

    def take(self) -> list[str]:
        """All that wait. They count as waiting until `written` is told of them."""
        count = len(self._lines)
        lines = self._lines[:count]
        del self._lines[:count]
        return lines

    def written(self, size: int) -> None:
        """So many bytes of what was taken are where they belong."""
        self._written_bytes += size

    @property
    def is_empty(self) -> bool:
        return not self._lines
