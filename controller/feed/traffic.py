"""Who answered requests, by key, workload and time, as proxies report it; and when some of it may have been lost. Pure.

What is counted stands at the time when its report arrived, a second or so after the requests. Old counts are put
together where there are many, at the later one's time: so what somebody asks for since a time may hold a little of what
was before, and never lacks anything.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from proxy.feed.messages import Traffic
from proxy.routing.names import Workload

_COUNTS: Final = 120  # of one key at one workload
_COUNT_S: Final = 1.0
_KEPT_S: Final = 24 * 3600.0
_MAX_SERIES: Final = 50_000
_MAX_GAPS: Final = 1000  # of one workload
_MAX_BOOTS: Final = 20_000


@dataclass(slots=True)
class _Counts:
    at_s: float
    from_sandbox: int
    from_baseline: int


@dataclass(frozen=True, slots=True)
class Gap:
    """What this proxy counted between these times may be lost. `ended_s` None: it may come yet."""

    proxy: str
    reason: str
    began_s: float
    ended_s: float | None


@dataclass(frozen=True, slots=True)
class Answered:
    """At one workload, under one key."""

    from_sandbox: int
    from_baseline: int
    gaps: tuple[Gap, ...]


class TrafficBook:
    """Times are given with every call, in seconds."""

    def __init__(self, now_s: float) -> None:
        self.began_s: Final = now_s  # what was before, nobody knows
        self._series: Final[dict[tuple[str, Workload], deque[_Counts]]] = {}
        self._gaps: Final[dict[Workload, deque[Gap]]] = {}
        self._counted: Final[dict[str, int]] = {}  # the last message of each proxy's process (`Hello.boot`)

    def take(self, proxy: str, boot: str, workload: Workload, traffic: Traffic, now_s: float) -> None:
        """A proxy's report. The same one twice counts once."""
        if traffic.seq <= self._counted.get(boot, 0):
            return
        if len(self._counted) >= _MAX_BOOTS:
            del self._counted[next(iter(self._counted))]
        self._counted[boot] = traffic.seq
        for count in traffic.counts:
            self._add((count.key, workload), _Counts(now_s, count.from_sandbox, count.from_baseline))
        if traffic.lost:
            self.lose(workload, Gap(proxy, "it met more keys than it can count", now_s, now_s))

    def _add(self, name: tuple[str, Workload], counts: _Counts) -> None:
        series = self._series.get(name)
        if series is None:
            if len(self._series) >= _MAX_SERIES:
                self._forget_oldest()
            series = self._series[name] = deque()
        if series and counts.at_s - series[-1].at_s < _COUNT_S:
            _join(series[-1], counts)
            return
        series.append(counts)
        while series[0].at_s < counts.at_s - _KEPT_S:
            series.popleft()
        if len(series) > _COUNTS:
            _thin_out(series)

    def _forget_oldest(self) -> None:
        """Whoever sends requests can make up keys. Those that were quiet for longest go."""
        oldest = sorted(self._series, key=lambda name: self._series[name][-1].at_s)
        for name in oldest[: _MAX_SERIES // 10]:
            at_s = self._series.pop(name)[-1].at_s
            self.lose(name[1], Gap("the controller", "there were more keys than it can keep counts of", at_s, at_s))

    def lose(self, workload: Workload, gap: Gap) -> None:
        """What a proxy of this workload counted may be lost."""
        self._gaps.setdefault(workload, deque(maxlen=_MAX_GAPS)).append(gap)

    def found(self, workload: Workload, proxy: str, now_s: float, *, is_same: bool) -> None:
        """A proxy is back. The same process has kept what it counted, and sends it again."""
        gaps = self._gaps.get(workload, deque())
        for _ in range(len(gaps)):
            gap = gaps.popleft()
            if gap.proxy != proxy or gap.ended_s is not None:
                gaps.append(gap)
            elif not is_same:
                gaps.append(Gap(gap.proxy, gap.reason, gap.began_s, now_s))

    def answered(self, key: str, workload: Workload, since_s: float) -> Answered:
        from_sandbox = from_baseline = 0
        for counts in self._series.get((key, workload), ()):
            if counts.at_s >= since_s:
                from_sandbox += counts.from_sandbox
                from_baseline += counts.from_baseline
        found = self._gaps.get(workload, ())
        gaps = tuple(gap for gap in found if gap.ended_s is None or gap.ended_s >= since_s)
        return Answered(from_sandbox, from_baseline, gaps)


def _join(counts: _Counts, later: _Counts) -> None:
    counts.at_s = later.at_s
    counts.from_sandbox += later.from_sandbox
    counts.from_baseline += later.from_baseline


def _thin_out(series: deque[_Counts]) -> None:
    """The older half of the counts, two and two put together."""
    old = [series.popleft() for _ in range(len(series) // 2)]
    for first, second in zip(old[::2], old[1::2], strict=False):
        _join(first, second)
    series.extendleft(reversed(old[::2]))
