from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from prometheus_client import parser
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.routing.decision import Decision
from proxy.telemetry.exposition import Exposition, FeedState, TableState
from proxy.telemetry.metrics import BUCKETS, MAX_SANDBOXES, Metrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
STATE = TableState(version='4"2\\', age_s=1.5, stale_s=0.5, routes=3, is_stale=True, refused_total=2)
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
    metrics.forwarded(0.0001)
    metrics.forwarded(0.5)
    metrics.loop_lag.observe(0.25)
    metrics.max_downstream_connections = 12
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
    assert value(metrics, "pointsman_table_stale_seconds", accept) == 0.5
    assert value(metrics, "pointsman_downstream_connections_limit", accept) == 12
    assert value(metrics, "pointsman_request_forward_seconds_count", accept) == 2
    assert value(metrics, "pointsman_request_forward_seconds_bucket", accept, le="0.0001") == 1
    assert value(metrics, "pointsman_event_loop_lag_seconds_sum", accept) == 0.25
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
    assert found["pointsman_feed_connected"] == 1
    assert found["pointsman_feed_synced"] == 0
    assert found["pointsman_feed_connections_total"] == 2
    assert found["pointsman_feed_failures_total"] == 3
    assert found["pointsman_state_file_failures_total"] == 4
    assert found["pointsman_lost_key_counts_total"] == 5
    assert "pointsman_feed_connected" not in families(Metrics())


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


# --- exemplars -----------------------------------------------------------------------------------------------------

TRACE = "0af7651916cd43dd8448eb211c80319c"


def traced() -> Exposition:
    """Scraped once, and then a traced request came."""
    metrics = counted()
    exposition = Exposition(metrics, lambda: STATE)
    exposition.text("")
    line = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01".encode()
    metrics.finished(SANDBOX, errors.ROUTE, 200, 0.03, RequestHead(b"GET", b"/", [b"GET / HTTP/1.1", line], False))
    return exposition


def test_exemplars_are_for_those_who_ask_for_openmetrics() -> None:
    exposition = traced()
    text, _ = exposition.text(OPENMETRICS)
    found = [
        (sample.name, sample.labels, sample.exemplar)
        for family in openmetrics_parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.exemplar is not None
    ]
    ((name, labels, exemplar),) = found
    assert name == "pointsman_request_duration_seconds_bucket"
    assert labels == {"route": "sandbox", "le": "0.05"}
    assert (exemplar.labels, exemplar.value) == ({"trace_id": TRACE}, 0.03)
    assert abs(float(exemplar.timestamp) - time.time()) < 60


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", "text/plain;version=1.0.0"])
def test_the_text_format_has_none(accept: str) -> None:
    text, _ = traced().text(accept)
    assert TRACE not in text.decode()
    assert b" # {" not in text


# --- how many ------------------------------------------------------------------------------------------------------


def test_series_are_bounded_whatever_tables_name() -> None:
    """10,000 sandboxes, each with every outcome that there is: the scrape has a size that Prometheus takes."""
    metrics = Metrics()
    for number in range(10_000):
        of = Decision(errors.ROUTE, "sandbox", f"pr-{number}", None, 0, None)
        for reason in errors.REASONS:
            metrics.finished(of, reason, 503, 0.01)
        metrics.finished(of, errors.ROUTE, 200, 0.01)
        metrics.grpc_finished(of, 0)
        metrics.upstream_failed(of, errors.SANDBOX_UNREACHABLE)
    found = samples(metrics)
    names = {dict(labels).get("sandbox") for _, labels in found} - {None, ""}
    assert len(names) == MAX_SANDBOXES + 1
    reasons = len({reason.name for reason in errors.REASONS})
    per_sandbox = (reasons + 1) + 1 + 1  # outcomes, gRPC statuses, failures
    assert len(found) <= (MAX_SANDBOXES + 1) * per_sandbox + 200
    total = sum(count for (name, _), count in found.items() if name == "pointsman_requests_total")
    assert total == 10_000 * (len(errors.REASONS) + 1)  # none is lost


def test_no_label_comes_from_a_request() -> None:
    """Keys, hosts, paths and methods are strangers' to choose. These are ours, or a table's."""
    labels = {label for family in families(counted()).values() for sample in family.samples for label in sample.labels}
    assert labels == {"route", "sandbox", "status", "reason", "le", "version", "compiled"}


def test_what_alerts_watch_is_there_from_the_start() -> None:
    metrics = Metrics()
    assert value(metrics, "pointsman_requests_total", route="none", sandbox="", reason="loop", status="5xx") == 0
    unknown = {"route": "baseline", "sandbox": "", "reason": "unknown_key", "status": "2xx"}
    assert value(metrics, "pointsman_requests_total", **unknown) == 0
    assert value(metrics, "pointsman_refused_requests_total", reason="connection_limit") == 0
    metrics.finished(UNKNOWN_KEY, errors.UNKNOWN_KEY, 200, 0.1)
    metrics.refuse(errors.CONNECTION_LIMIT)
    assert value(metrics, "pointsman_requests_total", **unknown) == 1
    assert value(metrics, "pointsman_refused_requests_total", reason="connection_limit") == 1


def test_a_loop_went_nowhere_whatever_its_decision() -> None:
    metrics = Metrics()
    metrics.finished(SANDBOX, errors.LOOP, 508, 0.1)
    metrics.finished(NO_KEY, errors.LOOP, 508, 0.1)
    assert value(metrics, "pointsman_requests_total", route="none", sandbox="", reason="loop", status="5xx") == 2
    assert len([place for place in samples(metrics) if dict(place[1]).get("reason") == "loop"]) == 1
