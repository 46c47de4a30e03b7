from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import parser
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from proxy import errors
from proxy.routing.decision import Decision
from proxy.telemetry.exposition import Exposition, FeedState, TableState
from proxy.telemetry.metrics import BUCKETS, Metrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
STATE = TableState(version='4"2\\', age_s=1.5, routes=3, is_stale=True, refused_total=2)
SANDBOX = Decision(errors.ROUTE, "sandbox", "pr-1", None, 0, None)
NO_KEY = Decision(errors.NO_KEY, "baseline", None, None, 0, None)
UNKNOWN_KEY = Decision(errors.UNKNOWN_KEY, "baseline", None, None, 0, None)


def counted() -> Metrics:
    metrics = Metrics()
    for elapsed_s in (0.0001, 0.002, 0.002, 100.0):
        metrics.finished(SANDBOX, errors.ROUTE, 200, elapsed_s)
    metrics.finished(NO_KEY, errors.NO_KEY, 404, 0.3)
    metrics.finished(NO_KEY, errors.DOWNSTREAM_CLOSED, 0, 0.3)
    metrics.upstream_failed(SANDBOX, errors.UPSTREAM_CLOSED)
    metrics.refuse(errors.BAD_REQUEST)
    metrics.upstream_retries = 5
    metrics.accepts_delayed = 11
    metrics.lines_not_joined = 6
    metrics.downstream_connections, metrics.downstream_connections_total = 7, 8
    metrics.upstream_connections, metrics.upstream_connections_total = 9, 10
    return metrics


def families(metrics: Metrics, accept: str = "", state: TableState | None = STATE) -> dict[str, Metric]:
    text, media_type = Exposition(metrics, lambda: state).text(accept)
    parse = openmetrics_parser if media_type.startswith("application/openmetrics-text") else parser
    found: Iterator[Metric] = parse.text_string_to_metric_families(text.decode())
    return {family.name: family for family in found}


def samples(metrics: Metrics, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels. Prometheus refuses a scrape in which one comes twice."""
    result: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in families(metrics, accept).values():
        for sample in family.samples:
            place = (sample.name, tuple(sorted(sample.labels.items())))
            assert place not in result, f"{place} twice"
            result[place] = sample.value
    return result


def value(metrics: Metrics, name: str, accept: str = "", **labels: str) -> float:
    return samples(metrics, accept)[name, tuple(sorted(labels.items()))]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain;version=0.0.4", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
    ],
)
def test_the_format_is_negotiated(accept: str, expected: str) -> None:
    text, media_type = Exposition(counted(), lambda: STATE).text(accept)
    assert media_type.startswith(expected)
    assert text.endswith(b"# EOF\n") == (expected != "text/plain")


@pytest.mark.parametrize("version", ["1.\xff", "2.\xff.0", "x", "1.x", "", "9" * 5000, "-1", "1.0.0.0.0.0", "2..0"])
@pytest.mark.parametrize("rest", ["", ";q=0.5", " ; escaping=x", ";version=1.0.0"])
def test_a_version_that_is_none_is_not_served(version: str, rest: str) -> None:
    """prometheus_client compares what it can't (a TypeError) and repeats the version in the answer."""
    exposition = Exposition(counted(), lambda: STATE)
    plain = exposition.text("")[1]
    for name in ("application/openmetrics-text", "text/plain"):
        assert exposition.text(f"{name};version={version}{rest}")[1] == plain
        assert exposition.text(f"{name};version={version}{rest}, application/openmetrics-text")[1] != plain


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_everything_counted_is_told(accept: str) -> None:
    metrics = counted()
    requests = "pointsman_requests_total"
    assert value(metrics, requests, accept, route="sandbox", sandbox="pr-1", status="2xx", reason="route") == 4
    assert value(metrics, requests, accept, route="baseline", sandbox="", status="4xx", reason="no_key") == 1
    closed = {"route": "baseline", "sandbox": "", "status": "none", "reason": "downstream_closed"}
    assert value(metrics, requests, accept, **closed) == 1
    failed = {"route": "sandbox", "sandbox": "pr-1", "reason": "upstream_closed"}
    assert value(metrics, "pointsman_upstream_failures_total", accept, **failed) == 1
    assert value(metrics, "pointsman_refused_requests_total", accept, reason="bad_request") == 1
    assert value(metrics, "pointsman_upstream_retries_total", accept) == 5
    assert value(metrics, "pointsman_lines_not_joined_total", accept) == 6
    assert value(metrics, "pointsman_accepts_delayed_total", accept) == 11
    assert value(metrics, "pointsman_downstream_connections", accept) == 7
    assert value(metrics, "pointsman_downstream_connections_opened_total", accept) == 8
    assert value(metrics, "pointsman_upstream_connections", accept) == 9
    assert value(metrics, "pointsman_upstream_connections_opened_total", accept) == 10
    assert value(metrics, "pointsman_table_info", accept, version='4"2\\') == 1
    assert value(metrics, "pointsman_table_age_seconds", accept) == 1.5
    assert value(metrics, "pointsman_table_routes", accept) == 3
    assert value(metrics, "pointsman_table_stale", accept) == 1
    assert value(metrics, "pointsman_table_refused_total", accept) == 2


def test_buckets_are_cumulative() -> None:
    metrics = counted()
    name = "pointsman_request_duration_seconds"
    expected = {bound: 0 if bound < 0.0001 else 1 if bound < 0.002 else 3 for bound in BUCKETS}
    for bound, count in expected.items():
        assert value(metrics, f"{name}_bucket", route="sandbox", le=str(bound)) == count
    assert value(metrics, f"{name}_bucket", route="sandbox", le="+Inf") == 4
    assert value(metrics, f"{name}_count", route="sandbox") == 4
    assert value(metrics, f"{name}_sum", route="sandbox") == pytest.approx(100.0041)


def test_no_sample_comes_twice() -> None:
    """What comes twice is refused by Prometheus, and the rest of the scrape may go with it."""
    metrics = Metrics()
    metrics.finished(NO_KEY, errors.BASELINE_UNREACHABLE, 503, 0.1)
    metrics.finished(UNKNOWN_KEY, errors.BASELINE_UNREACHABLE, 503, 0.1)
    samples(metrics)


def test_no_failure_comes_twice() -> None:
    """Two reasons share the name `sandbox_unreachable`."""
    metrics = Metrics()
    metrics.upstream_failed(SANDBOX, errors.SANDBOX_UNREACHABLE)
    metrics.upstream_failed(SANDBOX, errors.SANDBOX_TIMEOUT)
    samples(metrics)


def test_before_the_first_table() -> None:
    assert not [name for name in families(Metrics(), state=None) if name.startswith("pointsman_table")]


def test_the_feed_is_told_where_there_is_one() -> None:
    state = FeedState(
        is_connected=True,
        is_synced=False,
        connected_total=2,
        failures_total=3,
        state_file_failures_total=4,
        lost_counts_total=5,
    )
    text, _ = Exposition(Metrics(), lambda: None, lambda: state).text("")
    found = {
        sample.name: sample.value
        for family in parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
        if family.documentation
    }
    assert found["pointsman_controller_connected"] == 1
    assert found["pointsman_controller_synced"] == 0
    assert found["pointsman_controller_connections_total"] == 2
    assert found["pointsman_controller_failures_total"] == 3
    assert found["pointsman_state_file_failures_total"] == 4
    assert found["pointsman_lost_key_counts_total"] == 5
    assert "pointsman_controller_connected" not in families(Metrics())


def test_every_family_has_a_help_text_and_our_prefix() -> None:
    for name, family in families(counted()).items():
        assert name.startswith(("pointsman_", "process_"))
        assert family.documentation, name


def test_the_process_is_measured() -> None:
    assert value(Metrics(), "process_resident_memory_bytes") > 0


def test_an_exposition_is_scraped_again_and_again() -> None:
    metrics = Metrics()
    exposition = Exposition(metrics, lambda: STATE)
    for count in range(1, 4):
        metrics.finished(NO_KEY, errors.NO_KEY, 200, 0.1)
        text = exposition.text("")[0].decode()
        assert f'reason="no_key",route="baseline",sandbox="",status="2xx"}} {count}.0' in text
