"""How long proxies take to have what was told: a histogram over all answers. Pure.

A proxy that was busy gets several tables as one; what it waited for then is the first of them. One that came when a
table was old is counted from its coming.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

# Seconds. Ordinarily tens of milliseconds with hundreds of proxies; SPEC 7 wants a second at most.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REMEMBERED: Final = 1000  # tables: who is further behind is counted from the oldest of them


class Delays:
    """`told` for each table, `answered` for each acknowledgement."""

    def __init__(self) -> None:
        self.counts: Final = [0] * (len(BOUNDS) + 1)  # per bucket; the last is beyond all bounds
        self.sum_s = 0.0
        self._told_at_s: Final[dict[int, float]] = {}  # by position, in order

    def told(self, position: int, now_s: float) -> None:
        self._told_at_s[position] = now_s
        if len(self._told_at_s) > _REMEMBERED:
            del self._told_at_s[next(iter(self._told_at_s))]

    def answered(self, before: int | None, position: int | None, attached_s: float, now_s: float) -> None:
        """A proxy has the table of this position now, and had the one of `before`."""
        if position is None or position not in self._told_at_s or before == position:
            return
        first = position if before is None else before + 1
        oldest = next(iter(self._told_at_s))
        told_s = self._told_at_s.get(max(first, oldest), self._told_at_s[position])  # positions may have gaps
        delay_s = max(now_s - max(told_s, attached_s), 0.0)
        self.counts[bisect_left(BOUNDS, delay_s)] += 1
        self.sum_s += delay_s

    def buckets(self) -> Iterable[tuple[str, float]]:
        """Bound and cumulative count."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total
