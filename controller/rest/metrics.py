"""`/metrics`, for Prometheus. Other parts add what they count (`Services.metrics`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from aiohttp import web

from controller.audit import Audit
from controller.engine import Engine
from controller.feed.hub import Hub
from controller.live.watch import Watch
from controller.objects import KINDS
from controller.rest.operations import Answer, Operation
from controller.rest.ruleswatch import RulesFeed
from controller.rest.services import services
from controller.store import Store
from proxy.release import RELEASE

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MetricSource = Callable[[], Iterable["Metric"]]


class _Collector:
    def __init__(self, sources: Iterable[MetricSource]) -> None:
        self._sources: Final = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()

    def describe(self) -> Iterable[Metric]:
        return ()


async def _metrics(request: web.Request) -> web.StreamResponse:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_Collector(services(request).metrics))
    ProcessCollector(registry=registry)
    try:
        encode, media_type = choose_encoder(request.headers.get("Accept", ""))
    except Exception:  # noqa: BLE001 - prometheus_client compares versions that are none, and fails
        encode, media_type = choose_encoder("")
    return web.Response(body=encode(registry), headers={"Content-Type": media_type})


def core_metrics(engine: Engine, store: Store, audit: Audit, rules: RulesFeed) -> MetricSource:
    """What engine, store and audit log count."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = engine.counts
        build = GaugeMetricFamily("pointsman_controller_build_info", "1, with the release.", labels=["version"])
        build.add_metric([RELEASE], 1)
        yield build
        objects = GaugeMetricFamily("pointsman_controller_objects", "Objects by kind.", labels=["kind"])
        found = Counter(ref.kind for ref in engine.objects)
        for kind in KINDS:
            objects.add_metric([kind], found[kind])
        yield objects
        if engine.compilation is not None:
            info = GaugeMetricFamily(
                "pointsman_controller_table_info", "1, with the table's version.", labels=["version"]
            )
            info.add_metric([engine.compilation.version], 1)
            yield info
        changes = CounterMetricFamily(
            "pointsman_controller_changes",
            "Changes that somebody asked for, by verb and result.",
            labels=["verb", "result"],
        )
        for (verb, result), count in sorted(audit.counts.items()):
            changes.add_metric([verb, result], count)
        yield changes
        for name, text, value in (
            ("synced", "1 once the store is read.", int(engine.compilation is not None)),
            (
                "state_failing",
                "1 while the state can't be written, so that nothing new is in force.",
                int(engine.fault is not None),
            ),
            ("last_compile_seconds", "How long the last compilation took.", engine.counts.last_compile_s),
            ("store_faults", "Places of the store that can't be read (files).", len(store.faults)),
            ("rule_watchers", "Streams of routing rules.", len(rules.watchers)),
        ):
            yield GaugeMetricFamily(f"pointsman_controller_{name}", text, value=value)
        for name, text, total in (
            ("events", "States of objects that the store told.", counts.events),
            ("compilations", "Compilations.", counts.compilations),
            ("compile_seconds", "Time that compilations took.", counts.compile_s),
            ("table_changes", "Tables that were told to the proxies.", counts.table_changes),
            ("state_failures", "Attempts to write the state that failed.", counts.journal_failures),
            ("store_failures", "Attempts to read or write the store that failed.", counts.store_failures),
            ("audit_failures", "Lines that the audit log lost.", audit.failures),
            ("rule_watchers_dropped", "Streams that were cut because their readers were too slow.", rules.dropped),
        ):
            yield CounterMetricFamily(f"pointsman_controller_{name}", text, value=total)

    return collect


def hub_metrics(hub: Hub) -> MetricSource:
    """Who is there, and what they say."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        attached = hub.attached()
        for name, text, value in (
            ("proxies", "Attached proxies.", len(attached)),
            (
                "proxies_current",
                "Those that have the newest table.",
                sum(each.knows(hub.position) for each in attached),
            ),
            ("proxies_lost", "Proxies that went without a goodbye and are not back yet.", len(hub.lost())),
            ("feed_position", "Position of the newest table; it never goes back.", hub.position),
        ):
            yield GaugeMetricFamily(f"pointsman_controller_{name}", text, value=value)
        for name, text, total in (
            ("acks", "Tables that proxies took.", hub.acknowledgements),
            ("nacks", "Tables that proxies refused, whole or in part.", hub.refusals),
        ):
            yield CounterMetricFamily(f"pointsman_controller_{name}", text, value=total)
        yield HistogramMetricFamily(
            "pointsman_controller_convergence_seconds",
            "From a table's being told to a proxy's having it, for each proxy and table.",
            buckets=list(hub.delays.buckets()),
            sum_value=hub.delays.sum_s,
        )

    return collect


def live_metrics(watch: Watch) -> MetricSource:
    """Who looks at the page, or at what it is made of."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily("pointsman_controller_live_readers", "Streams of live rows.", value=watch.readers)
        yield CounterMetricFamily(
            "pointsman_controller_live_readers_dropped",
            "Streams of live rows that were cut because their readers were too slow.",
            value=watch.dropped,
        )

    return collect


OPERATIONS: Final = (
    Operation(
        "GET",
        "/metrics",
        _metrics,
        "Metrics for Prometheus",
        {200: Answer("The exposition", media_type="text/plain")},
        tag="health",
    ),
)
