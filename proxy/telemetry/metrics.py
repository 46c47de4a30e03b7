"""Counters of the data path: plain integers, bound once to a decision, written out only when somebody asks.

prometheus_client writes the exposition, but does not count: one of its counters costs about as much as the whole
decision, a child per sandbox costs kilobytes, and the proxy needs neither locks nor either price. It is imported at the
first scrape (`exposition`).

A decision is a shared object that lives as long as its table. Its first use binds a series to it; a table swap brings
new decisions, and drops the series of sandboxes that are gone. Sandbox names come from tables and may be many, so a
bounded number gets a series of its own; the rest share `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from proxy.errors import Reason
from proxy.routing.decision import Decision

# Seconds. A sidecar adds well under a millisecond; the upper end is where people look for timeouts.
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OTHER: Final = "other"
MAX_SANDBOXES: Final = 500


class Histogram:
    """Counts per bucket (not cumulative; the last is beyond all bounds) and the sum, in seconds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum_s = 0.0


class Series:
    """Requests of one (route kind, sandbox): by status class and reason, and how long they took."""

    __slots__ = ("by_status", "failed", "grpc", "histogram", "kind", "owner", "reason", "sandbox")

    def __init__(self, owner: Metrics, kind: str, sandbox: str, reason: Reason, histogram: Histogram) -> None:
        self.owner = owner
        self.kind = kind
        self.sandbox = sandbox
        self.reason = reason
        self.histogram = histogram
        self.by_status = [0] * 6  # index 0: ended without a response head; 5: 500 and above (some servers send 999)
        self.failed: dict[tuple[Reason, int], int] = {}  # where it ended otherwise than decided
        self.grpc: dict[int, int] = {}  # calls by their gRPC status


class Metrics:
    """Everything that one process counts. `max_sandboxes`: so many get a series of their own at a time."""

    __slots__ = (
        "_histograms",
        "_max_sandboxes",
        "_sandboxes",
        "_series",
        "accepts_delayed",
        "ambiguous_requests",
        "downstream_connections",
        "downstream_connections_total",
        "lines_not_joined",
        "refused",
        "tunnels",
        "upstream_connections",
        "upstream_connections_total",
        "upstream_failures",
        "upstream_retries",
    )

    def __init__(self, max_sandboxes: int = MAX_SANDBOXES) -> None:
        self._max_sandboxes = max_sandboxes
        self._series: dict[tuple[str, str, Reason], Series] = {}
        self._histograms: dict[str, Histogram] = {}
        self._sandboxes: set[str] = set()
        self.refused: dict[Reason, int] = {}
        self.upstream_failures: dict[tuple[str, str, str], int] = {}  # the reason's name: two may share one
        self.upstream_retries = 0
        self.ambiguous_requests = 0
        self.lines_not_joined = 0
        self.accepts_delayed = 0
        self.downstream_connections = 0
        self.downstream_connections_total = 0
        self.tunnels = 0
        self.upstream_connections = 0
        self.upstream_connections_total = 0

    # --- the hot path ---

    def finished(self, decision: Decision, reason: Reason, status: int, elapsed_s: float) -> None:
        """One exchange is over. `status` 0: no response head was sent."""
        series = decision.series
        if not isinstance(series, Series) or series.owner is not self:
            series = self._bind(decision)
        if decision.note is not None:
            self.ambiguous_requests += 1
        if reason is series.reason:
            series.by_status[min(status // 100, 5)] += 1
        else:
            key = (reason, min(status // 100, 5))
            series.failed[key] = series.failed.get(key, 0) + 1
        histogram = series.histogram
        histogram.counts[bisect_left(BUCKETS, elapsed_s)] += 1
        histogram.sum_s += elapsed_s

    def grpc_finished(self, decision: Decision, status: int) -> None:
        """The exchange that `finished` was told of was a gRPC call, and ended with this status."""
        series = decision.series
        if isinstance(series, Series):
            series.grpc[status] = series.grpc.get(status, 0) + 1

    # --- off it ---

    def _bind(self, decision: Decision) -> Series:
        sandbox = self._label(decision.sandbox)
        key = (decision.kind, sandbox, decision.reason)
        series = self._series.get(key)
        if series is None:
            histogram = self._histograms.setdefault(decision.kind, Histogram())
            series = self._series[key] = Series(self, *key, histogram)
        decision.series = series
        return series

    def _label(self, sandbox: str | None) -> str:
        if sandbox is None:
            return ""
        if sandbox not in self._sandboxes:
            if len(self._sandboxes) >= self._max_sandboxes:
                return OTHER
            self._sandboxes.add(sandbox)
        return sandbox

    def refuse(self, reason: Reason) -> None:
        """A request that was none (bad framing, too large): it never got as far as a decision."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def upstream_failed(self, decision: Decision, reason: Reason) -> None:
        """An attempt failed; the request may still succeed elsewhere."""
        key = (decision.kind, self._label(decision.sandbox), reason.name)
        self.upstream_failures[key] = self.upstream_failures.get(key, 0) + 1

    def table_swapped(self, sandboxes: AbstractSet[str]) -> None:
        """Another table: series of sandboxes that it does not name go away."""
        known = {sandbox for sandbox in self._sandboxes if sandbox in sandboxes}
        gone = self._sandboxes - known
        self._sandboxes = known
        if gone:
            self._series = {key: series for key, series in self._series.items() if key[1] not in gone}
            failures = self.upstream_failures.items()
            self.upstream_failures = {key: count for key, count in failures if key[1] not in gone}

    def requests(self) -> Iterable[tuple[str, str, str, int, int]]:
        """(route kind, sandbox, reason's name, status class, count), each combination once.

        Different decisions may end alike, two reasons may share a name; Prometheus refuses a sample that comes twice.
        """
        totals: dict[tuple[str, str, str, int], int] = {}
        for series in self._series.values():
            outcomes = [(series.reason, number, count) for number, count in enumerate(series.by_status) if count]
            outcomes += [(reason, number, count) for (reason, number), count in series.failed.items()]
            for reason, number, count in outcomes:
                key = (series.kind, series.sandbox, reason.name, number)
                totals[key] = totals.get(key, 0) + count
        for (kind, sandbox, name, number), count in totals.items():
            yield kind, sandbox, name, number, count

    def grpc_calls(self) -> Iterable[tuple[str, str, int, int]]:
        """(route kind, sandbox, gRPC status, count), each combination once."""
        totals: dict[tuple[str, str, int], int] = {}
        for series in self._series.values():
            for status, count in series.grpc.items():
                key = (series.kind, series.sandbox, status)
                totals[key] = totals.get(key, 0) + count
        for (kind, sandbox, status), count in totals.items():
            yield kind, sandbox, status, count

    def durations(self) -> Iterable[tuple[str, Histogram]]:
        """(route kind, histogram)."""
        return self._histograms.items()
