"""Several processes' metrics as those of one."""

from __future__ import annotations

import marshal

import pytest

from proxy import errors
from proxy.routing.decision import Decision
from proxy.telemetry.exposition import Exposition, FeedState, TableState
from proxy.telemetry.metrics import Metrics
from proxy.workers import sums
from proxy.workers.sums import Family, Sums, plain

SANDBOX = Decision(errors.ROUTE, "sandbox", "pr-1", None, 0, None)


def of_a_worker(requests: int, *, version: str = "1", age_s: float = 1.0, connected: bool = True) -> list[Family]:
    """What a real worker would say, as it arrives."""
    metrics = Metrics()
    for _ in range(requests):
        metrics.finished(SANDBOX, errors.ROUTE, 200, 0.002)
    metrics.downstream_connections = metrics.downstream_connections_total = requests
    table = TableState(version, age_s, stale_s=age_s, routes=3, is_stale=age_s > 5, refused_total=requests)
    feed = FeedState(
        connected, is_synced=True, connected_total=1, failures_total=0, state_file_failures_total=0, lost_counts_total=0
    )
    families: list[Family] = marshal.loads(
        marshal.dumps(plain(Exposition(metrics, lambda: table, lambda: feed).collect()))
    )
    return families


def value(families: list[Family], sample: str, **labels: str) -> float:
    [found] = [each[2] for family in families for each in family[3] if each[0] == sample and dict(each[1]) == labels]
    return found


def test_counters_and_histograms_are_summed() -> None:
    total = Sums().total([of_a_worker(2), of_a_worker(3)])
    assert value(total, "pointsman_requests_total", route="sandbox", sandbox="pr-1", status="2xx", reason="route") == 5
    assert value(total, "pointsman_request_duration_seconds_count", route="sandbox") == 5
    assert value(total, "pointsman_request_duration_seconds_bucket", route="sandbox", le="0.0025") == 5
    assert value(total, "pointsman_request_duration_seconds_bucket", route="sandbox", le="0.001") == 0
    assert value(total, "pointsman_request_duration_seconds_sum", route="sandbox") == pytest.approx(0.01)
    assert value(total, "pointsman_downstream_connections_opened_total") == 5


def test_gauges_by_what_they_mean() -> None:
    total = Sums().total([of_a_worker(2, age_s=9.0), of_a_worker(3, version="2", connected=False)])
    assert value(total, "pointsman_downstream_connections") == 5
    assert value(total, "pointsman_table_age_seconds") == 9
    assert value(total, "pointsman_table_routes") == 3
    assert value(total, "pointsman_table_stale") == 1
    assert value(total, "pointsman_feed_connected") == 0
    assert value(total, "pointsman_feed_synced") == 1
    assert [value(total, "pointsman_table_info", version=version) for version in "12"] == [1, 1]
    [build] = [family for family in total if family[0] == "pointsman_build_info"]
    assert [sample[2] for sample in build[3]] == [1]


def test_of_every_gauge_it_is_said_what_its_sum_is() -> None:
    """Whoever adds one decides: a sum, the largest, or the least."""
    gauges = {name for name, kind, _, _ in of_a_worker(1) if kind == "gauge"}
    of_each = sums._LARGEST | sums._LEAST
    assert gauges - of_each == {
        "pointsman_downstream_connections",
        "pointsman_downstream_connections_limit",
        "pointsman_passed_connections",
        "pointsman_table_info",
        "pointsman_tunnels",
        "pointsman_upstream_connections",
    }
    assert of_each <= gauges


def test_the_dead_count_on_but_have_no_connections() -> None:
    book = Sums()
    book.died(of_a_worker(2))
    book.died(of_a_worker(4))
    total = book.total([of_a_worker(3)])
    assert value(total, "pointsman_request_duration_seconds_count", route="sandbox") == 9
    assert value(total, "pointsman_table_refused_total") == 9
    assert value(total, "pointsman_downstream_connections") == 3
    assert value(total, "pointsman_table_info", version="1") == 1
    alone = book.total([])
    assert value(alone, "pointsman_request_duration_seconds_count", route="sandbox") == 6
    assert "pointsman_downstream_connections" not in {family[0] for family in alone}


def test_no_sample_comes_twice_and_buckets_stay_in_order() -> None:
    total = Sums().total([of_a_worker(0), of_a_worker(3), of_a_worker(1)])
    for name, _, _, samples in total:
        places = [sample[:2] for sample in samples]
        assert len(places) == len(set(places)), name
    [durations] = [family for family in total if family[0] == "pointsman_request_duration_seconds"]
    counts = [sample[2] for sample in durations[3] if sample[0].endswith("_bucket")]
    assert counts == sorted(counts)


def test_series_of_the_dead_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those go that nobody alive has."""
    monkeypatch.setattr(sums, "_MAX_SERIES_OF_THE_DEAD", 30)
    book = Sums()
    for n in range(40):
        book.died([("a", "counter", "", [("a_total", (("sandbox", str(n)),), 1.0, None)])])
    living: list[Family] = [("a", "counter", "", [("a_total", (("sandbox", "7"),), 1.0, None)])]
    total = book.total([living])
    assert total == [("a", "counter", "", [("a_total", (("sandbox", "7"),), 2.0, None)])]


def test_the_later_exemplar_stays() -> None:
    def family(when: float | None) -> list[Family]:
        exemplar = None if when is None else ((("trace_id", str(when)),), 0.1, when)
        return [("a", "counter", "", [("a_total", (), 1.0, exemplar)])]

    for order in ([5.0, None, 9.0, 7.0], [9.0, 5.0], [None, 9.0]):
        [(_, _, _, [sample])] = Sums().total([family(when) for when in order])
        assert sample[3] == ((("trace_id", "9.0"),), 0.1, 9.0)
