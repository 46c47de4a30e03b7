"""Who answered requests, by key, workload and time, as proxies report it; and when some of it may have been lost. Pure.

What is counted stands at the time when its report arrived, a second or so after the requests. Where there are many
counts, old ones are put together, at the later one's time, the shorter beside their age the sooner: so what somebody
asks for since a time may hold a little of what was before, never lacks anything, and is exact for what is new.

A router (no workload) says of each count where it was, and what it may have lost may have been at any workload that
routers serve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from proxy.feed.messages import Traffic
from proxy.routing.names import Workload

_COUNTS: Final = 240  # of one key at one workload: some minutes of reports, one each second
_FEWER: Final = 180  # what is left once they are put together
_SPANS: Final = (0.05, 0.1, 0.2, 0.4, 0.8)  # of their age that counts put together may span, tried in this order
KEPT: Final = timedelta(hours=24)
_MAX_SERIES: Final = 50_000
_MAX_COUNTS: Final = 500_000  # in all: 80 MB
_MAX_GAPS: Final = 100  # of one workload, that have ended
_MAX_OPEN: Final = 10_000  # of one workload
_AWAY_S: Final = 3600.0  # who was away for so long counts as dead
_MAX_BOOTS: Final = 20_000


@dataclass(slots=True)
class _Counts:
    began_s: float
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
        self._held = 0  # counts in all series
        self._gaps: Final[dict[Workload | None, _Gaps]] = {}
        self._routed: Final[set[Workload]] = set()  # by routers, now or before
        self._counted: Final[dict[str, int]] = {}  # the last message of each proxy's process (`Hello.boot`)

    def routed(self, workloads: Iterable[Workload]) -> None:
        """Routers serve these."""
        self._routed.update(workloads)

    def take(self, proxy: str, boot: str, workload: Workload | None, traffic: Traffic, now_s: float) -> None:
        """A proxy's report. The same one twice counts once. What a router counted where there is no workload of this
        name is nobody's."""
        seq = self._counted.pop(boot, 0)
        self._counted[boot] = max(seq, traffic.seq)  # those that were quiet for longest stand first
        if traffic.seq <= seq:
            return
        if len(self._counted) > _MAX_BOOTS:
            del self._counted[next(iter(self._counted))]
        for count in traffic.counts:
            at = workload if workload is not None else _workload(count.workload)
            if at is not None:
                self._add((count.key, at), _Counts(now_s, now_s, count.from_sandbox, count.from_baseline))
        if traffic.lost:
            self._of(workload).end(Gap(proxy, "it met more keys than it can count", now_s, now_s))

    def _add(self, name: tuple[str, Workload], counts: _Counts) -> None:
        series = self._series.get(name)
        if series is None:
            if len(self._series) >= _MAX_SERIES:
                self._forget_oldest()
            series = self._series[name] = deque()
        elif self._held >= _MAX_COUNTS:
            self._forget_oldest()
            series = self._series.setdefault(name, deque())
        before = len(series)
        series.append(counts)
        while series[0].at_s < counts.at_s - KEPT.total_seconds():
            series.popleft()
        if len(series) > _COUNTS:
            _put_together(series, counts.at_s)
        self._held += len(series) - before

    def _forget_oldest(self) -> None:
        """Whoever sends requests can make up keys. Those that were quiet for longest go."""
        oldest = sorted(self._series, key=lambda name: self._series[name][-1].at_s)
        last: dict[Workload, tuple[float, float]] = {}
        for name in oldest[: max(len(oldest) // 10, 1)]:
            series = self._series.pop(name)
            self._held -= len(series)
            began_s, _ = last.get(name[1], (series[0].began_s, 0.0))
            last[name[1]] = min(began_s, series[0].began_s), series[-1].at_s
        for workload, (began_s, ended_s) in last.items():
            reason = "there were more keys than it can keep counts of"
            self._of(workload).end(Gap("the controller", reason, began_s, ended_s))

    def _of(self, workload: Workload | None) -> _Gaps:
        return self._gaps.setdefault(workload, _Gaps())

    def lose(self, workload: Workload | None, proxy: str, boot: str, reason: str, now_s: float) -> None:
        """A proxy went without a goodbye: what it counted may be lost, unless it comes back."""
        self._of(workload).open(Gap(proxy, reason, now_s, None), boot)

    def found(self, workload: Workload | None, proxy: str, boot: str, now_s: float) -> None:
        """A proxy is there. The same process has kept what it counted, and sends it again."""
        if workload in self._gaps:
            self._gaps[workload].close(proxy, boot, now_s)

    def answered(self, key: str, workload: Workload, since_s: float, made_s: float | None = None) -> Answered:
        """What was counted since then. What the baseline answered before the key's object was made counts too; a
        sandbox that had the key before does not."""
        own_s = max(since_s, made_s) if made_s is not None else since_s
        from_sandbox = from_baseline = 0
        for counts in self._series.get((key, workload), ()):
            if counts.at_s >= since_s:
                from_baseline += counts.from_baseline
                if counts.at_s >= own_s:
                    from_sandbox += counts.from_sandbox
        found: list[Gap] = []
        for name in (workload, None) if workload in self._routed else (workload,):
            if (gaps := self._gaps.get(name)) is not None:
                found += gaps.since(since_s)
        return Answered(from_sandbox, from_baseline, tuple(found))


def _workload(text: str | None) -> Workload | None:
    try:
        return Workload.parse(text or "")
    except ValueError:
        return None


class _Gaps:
    """Of one workload, or of routers. None is ever dropped: where there are too many, older ones become one."""

    __slots__ = ("_ended", "_open")

    def __init__(self) -> None:
        self._open: Final[dict[str, tuple[Gap, str]]] = {}  # by the proxy's id, with its boot
        self._ended: Final[deque[Gap]] = deque()

    def open(self, gap: Gap, boot: str) -> None:
        for other, _ in list(self._open.values()):
            if gap.began_s - other.began_s <= _AWAY_S and len(self._open) < _MAX_OPEN:
                break  # the others are younger
            self._end_as_dead(other)
        self._open[gap.proxy] = gap, boot

    def _end_as_dead(self, gap: Gap) -> None:
        del self._open[gap.proxy]
        self.end(Gap(gap.proxy, gap.reason, gap.began_s, gap.began_s + _AWAY_S))

    def close(self, proxy: str, boot: str, now_s: float) -> None:
        gap, boot_before = self._open.pop(proxy, (None, ""))
        if gap is not None and boot_before != boot:
            self.end(Gap(gap.proxy, gap.reason, gap.began_s, min(now_s, gap.began_s + _AWAY_S)))

    def end(self, gap: Gap) -> None:
        """Note a gap that has ended."""
        for other in self._ended:
            if (other.proxy, other.reason) == (gap.proxy, gap.reason):
                self._ended.remove(other)
                gap = _joined(other, gap)
                break
        self._ended.append(gap)
        if len(self._ended) > _MAX_GAPS:
            self._ended.appendleft(_joined(self._ended.popleft(), self._ended.popleft()))

    def since(self, since_s: float) -> Iterator[Gap]:
        """What of it matters to somebody who asks for what was since then."""
        yield from (gap for gap, _ in self._open.values() if gap.began_s + _AWAY_S >= since_s)
        yield from (gap for gap in self._ended if gap.ended_s is None or gap.ended_s >= since_s)


def _joined(gap: Gap, later: Gap) -> Gap:
    assert gap.ended_s is not None
    assert later.ended_s is not None
    return Gap(later.proxy, later.reason, min(gap.began_s, later.began_s), max(gap.ended_s, later.ended_s))


def _put_together(series: deque[_Counts], now_s: float) -> None:
    """Neighbours whose span is short beside their age, until there are few enough."""
    for share in _SPANS:
        counts = list(series)
        series.clear()
        for each in counts:
            if series and each.at_s - series[-1].began_s <= share * (now_s - each.at_s):
                _join(series[-1], each)
            else:
                series.append(each)
        if len(series) <= _FEWER:
            return
    while len(series) > _FEWER:  # more came at once than anybody sends
        first = series.popleft()
        _join(first, series.popleft())
        series.appendleft(first)


def _join(counts: _Counts, later: _Counts) -> None:
    counts.at_s = later.at_s
    counts.from_sandbox += later.from_sandbox
    counts.from_baseline += later.from_baseline
