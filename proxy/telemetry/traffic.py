"""How many requests with each routing key got their response head from the sandbox, and how many from the baseline.

This is the guard against a false green: a key that this proxy has not learned yet, or that its workload is not forked
for, goes to the baseline, and the controller must hear of it. Only requests with a key are counted.

Keys come from anyone, so what has no route is bounded: beyond `MAX_KEYS` such keys counts are lost, and that is said.
Keys with routes are bounded by the table.
"""

from __future__ import annotations

from typing import Final

MAX_KEYS: Final = 10_000


class KeyTraffic:
    """Counts since they were taken last."""

    __slots__ = ("_counts", "_strangers", "is_lossy", "lost_total")

    def __init__(self) -> None:
        self._counts: dict[bytes, list[int]] = {}  # from the sandbox, from the baseline
        self._strangers = 0  # keys that came in by a request for the baseline
        self.is_lossy = False  # since they were taken last
        self.lost_total = 0

    def from_sandbox(self, key: bytes) -> None:
        counts = self._counts.get(key)
        if counts is None:
            self._counts[key] = [1, 0]
        else:
            counts[0] += 1

    def from_baseline(self, key: bytes) -> None:
        counts = self._counts.get(key)
        if counts is not None:
            counts[1] += 1
        elif self._strangers < MAX_KEYS:
            self._strangers += 1
            self._counts[key] = [0, 1]
        else:
            self.is_lossy = True
            self.lost_total += 1

    @property
    def is_empty(self) -> bool:
        return not self._counts and not self.is_lossy

    def take(self) -> tuple[dict[bytes, list[int]], bool]:
        """What was counted, by key, and whether some of it was lost; counting starts anew."""
        counts, is_lossy = self._counts, self.is_lossy
        self._counts, self._strangers, self.is_lossy = {}, 0, False
        return counts, is_lossy
