"""The counters of `metrics` as Prometheus reads them; prometheus_client is imported at the first scrape, not before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import filterfalse
from typing import TYPE_CHECKING, Final

from proxy import compiled, errors
from proxy.release import RELEASE
from proxy.telemetry.metrics import Histogram, Metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.samples import Exemplar

    Buckets = list[tuple[str, float] | tuple[str, float, Exemplar]]

# A media range whose version is none. prometheus_client would compare it all the same and fail, or repeat it.
_BAD_VERSION: Final = re.compile(r"version=(?![0-9]{1,4}(?:\.[0-9]{1,4}){0,3}[ \t]*(?:;|\Z))")
_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
# Series that are there from the start: what appears with its first event has no increase that Prometheus could see. So
# what alerts watch and can be named beforehand.
_REQUESTS_FROM_THE_START: Final = (
    ("baseline", "", errors.UNKNOWN_KEY.name, 2),
    ("none", "", errors.LOOP.name, 5),
    ("none", "", errors.NOT_SYNCED.name, 5),
)


@dataclass(frozen=True, slots=True)
class TableState:
    """What is told of the routing table. `stale_s`: since when it is stale; 0 while it is not."""

    version: str
    age_s: float
    stale_s: float
    routes: int
    is_stale: bool
    refused_total: int


@dataclass(frozen=True, slots=True)
class FeedState:
    """What is told of the connection to the controller."""

    is_connected: bool
    is_synced: bool
    connected_total: int
    failures_total: int
    state_file_failures_total: int
    lost_counts_total: int


class Exposition:
    """`/metrics` of one process. `feed_state`: where the table comes from a controller."""

    def __init__(
        self,
        metrics: Metrics,
        table_state: Callable[[], TableState | None],
        feed_state: Callable[[], FeedState] | None = None,
    ) -> None:
        self._metrics = metrics
        self._table_state = table_state
        self._feed_state = feed_state
        self._registry: CollectorRegistry | None = None

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that `accept` asks for, and its media type."""
        from prometheus_client import CollectorRegistry, ProcessCollector

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
            ProcessCollector(registry=self._registry)
        return encoded(self._registry, accept)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at each scrape."""
        yield _program()
        yield from _data_path(self._metrics)
        state = self._table_state()
        if state is not None:
            yield from _table(state)
        if self._feed_state is not None:
            yield from _feed(self._feed_state())

    def describe(self) -> Iterable[Metric]:
        """None: the names are checked by a test, not at registration."""
        return ()


def encoded(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """What it collects, in the format that `accept` asks for, and the media type."""
    from prometheus_client.exposition import choose_encoder

    encode, media_type = choose_encoder(",".join(filterfalse(_BAD_VERSION.search, accept.split(","))))
    return encode(registry), media_type


def _program() -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(
        "pointsman_build_info",
        "1, with the release; compiled: the hot path runs in its compiled form.",
        labels=["version", "compiled"],
    )
    info.add_metric([RELEASE, str(compiled.IS_USED).lower()], 1)
    return info


def _data_path(metrics: Metrics) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily(
        "pointsman_requests",
        "Requests by where they went (route, sandbox), the answer's status class, and why.",
        labels=["route", "sandbox", "status", "reason"],
    )
    totals = dict.fromkeys(_REQUESTS_FROM_THE_START, 0)
    totals.update(
        ((kind, sandbox, reason, status), count) for kind, sandbox, reason, status, count in metrics.requests()
    )
    for (kind, sandbox, reason, status), count in totals.items():
        requests.add_metric([kind, sandbox, _CLASSES[status], reason], count)
    yield requests

    calls = CounterMetricFamily(
        "pointsman_grpc_calls",
        "gRPC calls by where they went and the status they ended with (a number); 2: they ended without one.",
        labels=["route", "sandbox", "grpc_status"],
    )
    for kind, sandbox, grpc_status, count in metrics.grpc_calls():
        calls.add_metric([kind, sandbox, str(grpc_status)], count)
    yield calls

    durations = HistogramMetricFamily(
        "pointsman_request_duration_seconds",
        "From a request's head to its response's last byte, by where it went.",
        labels=["route"],
    )
    for kind, histogram in metrics.durations():
        durations.add_metric([kind], _cumulative(histogram), histogram.sum_s)
    yield durations
    metrics.look_for_exemplars()
    for name, text, histogram in (
        (
            "pointsman_request_forward_seconds",
            "From a request's head to its being sent on: deciding, and waiting for a connection.",
            metrics.forward,
        ),
        (
            "pointsman_event_loop_lag_seconds",
            "How late a timer comes, looked at once a second: so long everything waits.",
            metrics.loop_lag,
        ),
    ):
        yield HistogramMetricFamily(name, text, buckets=_cumulative(histogram), sum_value=histogram.sum_s)

    refused = CounterMetricFamily(
        "pointsman_refused_requests",
        "What was no valid request: answered by the proxy without a decision.",
        labels=["reason"],
    )
    for refused_reason, count in {errors.CONNECTION_LIMIT: 0, **metrics.refused}.items():
        refused.add_metric([refused_reason.name], count)
    yield refused

    failures = CounterMetricFamily(
        "pointsman_upstream_failures",
        "Attempts that an upstream failed; the request may have succeeded elsewhere.",
        labels=["route", "sandbox", "reason"],
    )
    for (kind, sandbox, name), count in metrics.upstream_failures.items():
        failures.add_metric([kind, sandbox, name], count)
    yield failures

    passed = CounterMetricFamily(
        "pointsman_passed_connections_opened",
        "Captured connections that passed as they were. tls: encrypted, cannot be routed; other: no HTTP;"
        " server_first: the application spoke first; silent: they ended before anybody spoke.",
        labels=["port", "protocol"],
    )
    for (port, how), count in metrics.passed_total.items():
        passed.add_metric([port, how], count)
    yield passed

    for counter, text, value in (
        (
            "pointsman_late_http_connections",
            "Captured connections that spoke HTTP only after --detect-timeout; routed all the same.",
            "late_http_connections",
        ),
        (
            "pointsman_upstream_retries",
            "Requests sent again because a pooled connection was stale.",
            "upstream_retries",
        ),
        (
            "pointsman_ambiguous_requests",
            "Requests with two different keys, decided by one.",
            "ambiguous_requests",
        ),
        ("pointsman_lines_not_joined", "Routing fields left in several lines: over 8192 bytes.", "lines_not_joined"),
        (
            "pointsman_accepts_delayed",
            "Times that accepting paused for 50 ms, for want of open files or over --max-connections.",
            "accepts_delayed",
        ),
        ("pointsman_access_log_lines", "Lines of the access log, save those that were dropped.", "log_lines"),
        (
            "pointsman_access_log_lines_dropped",
            "Lines of the access log that could not be written in time: a full disk, a slow reader.",
            "log_lines_dropped",
        ),
        ("pointsman_downstream_connections_opened", "Accepted connections.", "downstream_connections_total"),
        ("pointsman_upstream_connections_opened", "Connections made.", "upstream_connections_total"),
    ):
        yield CounterMetricFamily(counter, text, value=getattr(metrics, value))
    yield GaugeMetricFamily(
        "pointsman_downstream_connections", "Accepted connections now.", value=metrics.downstream_connections
    )
    yield GaugeMetricFamily(
        "pointsman_downstream_connections_limit",
        "More connections than so many are refused.",
        value=metrics.max_downstream_connections,
    )
    yield GaugeMetricFamily(
        "pointsman_passed_connections",
        "Captured connections that pass as they are now.",
        value=metrics.passed_connections,
    )
    yield GaugeMetricFamily("pointsman_tunnels", "Connections that are tunnels now (WebSocket).", value=metrics.tunnels)
    yield GaugeMetricFamily(
        "pointsman_upstream_connections", "Upstream connections now.", value=metrics.upstream_connections
    )


def _table(state: TableState) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    info = GaugeMetricFamily("pointsman_table_info", "1, with the routing table's version.", labels=["version"])
    info.add_metric([state.version], 1)
    yield info
    yield GaugeMetricFamily("pointsman_table_age_seconds", "Since this table took effect.", value=state.age_s)
    yield GaugeMetricFamily("pointsman_table_routes", "Routes in the table.", value=state.routes)
    yield GaugeMetricFamily(
        "pointsman_table_stale", "1 while the table's source can't be read or is refused.", value=int(state.is_stale)
    )
    yield GaugeMetricFamily(
        "pointsman_table_stale_seconds", "Since the table is stale; 0 while it is not.", value=state.stale_s
    )
    yield CounterMetricFamily(
        "pointsman_table_refused", "Tables that were refused; the old one stayed.", value=state.refused_total
    )


def _feed(state: FeedState) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for gauge, text, value in (
        ("pointsman_feed_connected", "1 while there is a connection to the controller.", state.is_connected),
        ("pointsman_feed_synced", "1 once a table of the controller was in force.", state.is_synced),
    ):
        yield GaugeMetricFamily(gauge, text, value=int(value))
    for counter, text, total in (
        ("pointsman_feed_connections", "Connections to the controller.", state.connected_total),
        ("pointsman_feed_failures", "Connections that broke or were not made.", state.failures_total),
        (
            "pointsman_state_file_failures",
            "State files that were refused at start or could not be written.",
            state.state_file_failures_total,
        ),
        (
            "pointsman_lost_key_counts",
            "Requests left out of the counts per key: too many keys nobody knows.",
            state.lost_counts_total,
        ),
    ):
        yield CounterMetricFamily(counter, text, value=total)


def _cumulative(histogram: Histogram) -> Buckets:
    from prometheus_client.core import Exemplar

    total = 0
    buckets: Buckets = []
    bounds = (*map(str, histogram.bounds), "+Inf")
    for bound, count, seen in zip(bounds, histogram.counts, histogram.exemplars, strict=True):
        total += count
        if seen is None:
            buckets.append((bound, total))
        else:
            buckets.append((bound, total, Exemplar({"trace_id": seen.trace}, seen.elapsed_s, seen.at_s)))
    return buckets
