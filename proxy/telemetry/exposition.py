"""The counters of `metrics` as Prometheus reads them; prometheus_client is imported at the first scrape, not before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import filterfalse
from typing import TYPE_CHECKING, Final

from proxy import compiled
from proxy.telemetry.metrics import BUCKETS, Histogram, Metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

# A media range whose version is none. prometheus_client would compare it all the same and fail, or repeat it.
_BAD_VERSION: Final = re.compile(r"version=(?![0-9]{1,4}(?:\.[0-9]{1,4}){0,3}[ \t]*(?:;|\Z))")
_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class TableState:
    """What is told of the routing table."""

    version: str
    age_s: float
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
        from prometheus_client.exposition import choose_encoder

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
            ProcessCollector(registry=self._registry)
        encode, media_type = choose_encoder(",".join(filterfalse(_BAD_VERSION.search, accept.split(","))))
        return encode(self._registry), media_type

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


def _program() -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(
        "pointsman_info", "1; compiled: the hot path runs in its compiled form.", labels=["compiled"]
    )
    info.add_metric([str(compiled.IS_USED).lower()], 1)
    return info


def _data_path(metrics: Metrics) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily(
        "pointsman_requests",
        "Requests by where they went (route, sandbox), the answer's status class, and why.",
        labels=["route", "sandbox", "status", "reason"],
    )
    for kind, sandbox, reason, status_class, count in metrics.requests():
        requests.add_metric([kind, sandbox, _CLASSES[status_class], reason], count)
    yield requests

    calls = CounterMetricFamily(
        "pointsman_grpc_calls",
        "gRPC calls by where they went and the status they ended with (a number); 2: they ended without one.",
        labels=["route", "sandbox", "grpc_status"],
    )
    for kind, sandbox, status, count in metrics.grpc_calls():
        calls.add_metric([kind, sandbox, str(status)], count)
    yield calls

    durations = HistogramMetricFamily(
        "pointsman_request_duration_seconds",
        "From a request's head to its response's last byte, by where it went.",
        labels=["route"],
    )
    for kind, histogram in metrics.durations():
        durations.add_metric([kind], _cumulative(histogram), histogram.sum_s)
    yield durations

    refused = CounterMetricFamily(
        "pointsman_refused_requests",
        "What was no valid request: answered by the proxy without a decision.",
        labels=["reason"],
    )
    for refused_reason, count in metrics.refused.items():
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

    for counter, text, value in (
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
        ("pointsman_downstream_connections_opened", "Accepted connections.", "downstream_connections_total"),
        ("pointsman_upstream_connections_opened", "Connections made.", "upstream_connections_total"),
    ):
        yield CounterMetricFamily(counter, text, value=getattr(metrics, value))
    yield GaugeMetricFamily(
        "pointsman_downstream_connections", "Accepted connections now.", value=metrics.downstream_connections
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
    yield CounterMetricFamily(
        "pointsman_table_refused", "Tables that were refused; the old one stayed.", value=state.refused_total
    )


def _feed(state: FeedState) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for gauge, text, value in (
        ("pointsman_controller_connected", "1 while there is a connection to the controller.", state.is_connected),
        ("pointsman_controller_synced", "1 once a table of the controller was in force.", state.is_synced),
    ):
        yield GaugeMetricFamily(gauge, text, value=int(value))
    for counter, text, total in (
        ("pointsman_controller_connections", "Connections to the controller.", state.connected_total),
        ("pointsman_controller_failures", "Connections that broke or were not made.", state.failures_total),
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


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
