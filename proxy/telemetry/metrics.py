"""Counters of the data path: plain integers, bound once to a decision, written out only when somebody asks.

prometheus_client writes the exposition, but does not count: one of its counters costs about as much as the whole
decision, a child per sandbox costs kilobytes, and the proxy needs neither locks nor either price. It is imported at the
first scrape (`exposition`).

A decision is a shared object that lives as long as its table. Its first use binds a series to it; a table swap brings
new decisions, and drops the series of sandboxes that are gone. Sandbox names come from tables and may be many, so a
bounded number gets a series of its own; the rest share `other`.

Exemplars are looked for only after a scrape, and in a few requests of each bucket: finding a request's traceparent
costs half a microsecond, and a scrape shows one for each bucket at most.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from proxy.codec.events import RequestHead
from proxy.errors import LOOP, Reason
from proxy.routing.decision import Decision
from proxy.telemetry.exemplars import Exemplar, sampled_trace

# Seconds. A sidecar adds well under a millisecond; the upper end is where people look for timeouts.
BUCKETS: Final[tuple[float, ...]] = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
# How long a request waits here before it goes on: tens of microseconds on a pooled connection, up to --connect-timeout.
FORWARD_BUCKETS: Final[tuple[float, ...]] = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.1,
    0.5,
    1.0,
    5.0,
)
# How late a timer comes: timers have a millisecond's grain, and more than a second is an outage.
LAG_BUCKETS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
OTHER: Final = "other"
MAX_SANDBOXES: Final = 500
# So many requests of one bucket are looked at for a trace after a scrape; most of a service's are traced, or few.
_LOOKED_AT: Final = 16
MAX_PORTS: Final = 50


class Histogram:
    """Counts per bucket (not cumulative; the last is beyond all bounds) and the sum, in seconds."""

    __slots__ = ("bounds", "counts", "exemplars", "looking", "sum_s")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0
        self.exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)
        self.looking = [0] * (len(bounds) + 1)  # so many of the bucket's next requests may become its exemplar

    def observe(self, elapsed_s: float) -> None:
        self.counts[bisect_left(self.bounds, elapsed_s)] += 1
        self.sum_s += elapsed_s

    def look_for_exemplars(self) -> None:
        """Of the requests from now on."""
        self.looking = [_LOOKED_AT] * len(self.counts)

    def look_at(self, bucket: int, elapsed_s: float, head: RequestHead) -> None:
        """The request may become its bucket's exemplar."""
        self.looking[bucket] -= 1
        trace = sampled_trace(head)
        if trace is not None:
            self.looking[bucket] = 0
            self.exemplars[bucket] = Exemplar(trace, elapsed_s)


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
        "_passed_ports",
        "_sandboxes",
        "_series",
        "accepts_delayed",
        "ambiguous_requests",
        "downstream_connections",
        "downstream_connections_total",
        "forward",
        "late_http_connections",
        "lines_not_joined",
        "log_lines",
        "log_lines_dropped",
        "loop_lag",
        "max_downstream_connections",
        "passed_connections",
        "passed_total",
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
        self.log_lines = 0  # of the access log
        self.log_lines_dropped = 0
        self.accepts_delayed = 0
        self.forward = Histogram(FORWARD_BUCKETS)
        self.loop_lag = Histogram(LAG_BUCKETS)
        self.max_downstream_connections = 0
        self.downstream_connections = 0
        self.downstream_connections_total = 0
        self.tunnels = 0
        self.passed_connections = 0
        self.passed_total: dict[tuple[str, str], int] = {}  # by port and what they spoke
        self._passed_ports: set[int] = set()
        self.late_http_connections = 0
        self.upstream_connections = 0
        self.upstream_connections_total = 0

    # --- the hot path ---

    def forwarded(self, elapsed_s: float) -> None:
        """A request goes on to its upstream, so long after its head came."""
        self.forward.observe(elapsed_s)

    def finished(
        self, decision: Decision, reason: Reason, status: int, elapsed_s: float, head: RequestHead | None = None
    ) -> None:
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
        bucket = bisect_left(BUCKETS, elapsed_s)
        histogram.counts[bucket] += 1
        histogram.sum_s += elapsed_s
        if histogram.looking[bucket] and head is not None:
            histogram.look_at(bucket, elapsed_s, head)

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

    def passed(self, port: int, how: str) -> None:
        """A captured connection passes as it is. Only so many ports get a series: callers choose them."""
        if len(self._passed_ports) < MAX_PORTS:
            self._passed_ports.add(port)
        key = (str(port) if port in self._passed_ports else OTHER, how)
        self.passed_total[key] = self.passed_total.get(key, 0) + 1

    def passing_failed(self, reason: Reason) -> None:
        """The application can't be connected to."""
        key = ("baseline", "", reason.name)
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
                # A connection that led back here got its decision like any other, and went nowhere.
                place = ("none", "") if reason is LOOP else (series.kind, series.sandbox)
                key = (*place, reason.name, number)
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

    def look_for_exemplars(self) -> None:
        """Of the requests from now on; called at each scrape."""
        for histogram in self._histograms.values():
            histogram.look_for_exemplars()
