"""When a worker is replaced, when all is given up, when one counts as silent. Pure: times are given."""

from __future__ import annotations

from collections import deque
from typing import Final

_MAX_DEATHS: Final = 5
_WITHIN_S: Final = 60.0
_SETTLED_S: Final = 10.0  # who lived for so long did not die of its start
_FIRST_WAIT_S: Final = 0.1
_MAX_WAIT_S: Final = 5.0
_FIRST_REFUSAL_WAIT_S: Final = 1.0
_MAX_REFUSAL_WAIT_S: Final = 10.0
SILENT_S: Final = 5.0


class Deaths:
    """Of all workers."""

    def __init__(self, workers: int) -> None:
        self.most: Final = max(_MAX_DEATHS, workers + 1)  # one event may take all of them at once
        self._times: Final[deque[float]] = deque()
        self._waits: Final[dict[int, float]] = {}
        self._refusal_waits: Final[dict[int, float]] = {}

    def died(self, worker: int, lived_s: float, now_s: float) -> float | None:
        """How long to wait before it is replaced; None: there were too many."""
        while self._times and self._times[0] <= now_s - _WITHIN_S:
            self._times.popleft()
        self._times.append(now_s)
        if len(self._times) >= self.most:
            return None
        if lived_s >= _SETTLED_S:
            self._waits.pop(worker, None)
        wait_s = self._waits.get(worker, 0.0)
        self._waits[worker] = min(max(_FIRST_WAIT_S, 2 * wait_s), _MAX_WAIT_S)
        return wait_s

    def refused(self, worker: int) -> float:
        """It did not start because of what its files say, which the others do not need to read again."""
        wait_s = self._refusal_waits.get(worker, _FIRST_REFUSAL_WAIT_S)
        self._refusal_waits[worker] = min(2 * wait_s, _MAX_REFUSAL_WAIT_S)
        return wait_s

    def started(self, worker: int) -> None:
        """It accepts."""
        self._refusal_waits.pop(worker, None)


class Pulse:
    """Of one worker."""

    def __init__(self, now_s: float) -> None:
        self.last_s = now_s
        self.is_silent = False

    def beat(self, now_s: float) -> float | None:
        """How long it had been silent, if it was."""
        silent_s = now_s - self.last_s
        self.last_s = now_s
        was_silent, self.is_silent = self.is_silent, False
        return silent_s if was_silent else None

    def has_fallen_silent(self, now_s: float) -> bool:
        """Whether that is to be said now."""
        if self.is_silent or now_s - self.last_s < SILENT_S:
            return False
        self.is_silent = True
        return True
