from __future__ import annotations

import sys

import pytest

from proxy import errors
from proxy.routing.decision import Decision
from proxy.telemetry.metrics import BUCKETS, MAX_PORTS, OTHER, Metrics


def decision(
    sandbox: str | None = None, reason: errors.Reason = errors.ROUTE, kind: str = "", status: int = 0
) -> Decision:
    return Decision(reason, kind or ("sandbox" if sandbox else "baseline"), sandbox, None, status, None)


def counts(metrics: Metrics) -> dict[tuple[str, str, str, int], int]:
    """Requests by labels; a label set that comes twice would be refused by Prometheus."""
    found: dict[tuple[str, str, str, int], int] = {}
    for kind, sandbox, reason, status_class, count in metrics.requests():
        labels = (kind, sandbox, reason, status_class)
        assert labels not in found, f"{labels} twice"
        found[labels] = count
    return found


def finish(metrics: Metrics, of: Decision, status: int = 200, reason: errors.Reason | None = None) -> None:
    metrics.finished(of, reason or of.reason, status, 0.001)


# --- series --------------------------------------------------------------------------------------------------------


def test_by_route_kind_sandbox_status_class_and_reason() -> None:
    metrics = Metrics()
    for status in (200, 204, 302, 404, 503):
        finish(metrics, decision("a"), status)
    finish(metrics, decision(reason=errors.NO_KEY))
    finish(metrics, decision(reason=errors.GONE_KEY, kind="none"), 424)
    assert counts(metrics) == {
        ("sandbox", "a", "route", 2): 2,
        ("sandbox", "a", "route", 3): 1,
        ("sandbox", "a", "route", 4): 1,
        ("sandbox", "a", "route", 5): 1,
        ("baseline", "", "no_key", 2): 1,
        ("none", "", "gone_key", 4): 1,
    }


def test_a_request_that_ended_otherwise_than_decided() -> None:
    metrics = Metrics()
    a = decision("a")
    finish(metrics, a)
    finish(metrics, a, 503, errors.SANDBOX_UNREACHABLE)
    finish(metrics, a, 503, errors.SANDBOX_UNREACHABLE)
    finish(metrics, a, 0, errors.DOWNSTREAM_CLOSED)
    assert counts(metrics) == {
        ("sandbox", "a", "route", 2): 1,
        ("sandbox", "a", "sandbox_unreachable", 5): 2,
        ("sandbox", "a", "downstream_closed", 0): 1,
    }


def test_decisions_alike_share_a_series() -> None:
    """Two workload ports, two keys of one sandbox, the next table's decision."""
    metrics = Metrics()
    finish(metrics, decision("a"))
    finish(metrics, decision("a"))
    assert counts(metrics) == {("sandbox", "a", "route", 2): 2}


def test_one_failure_of_two_decisions_is_one_series() -> None:
    """The baseline is down for requests without a key and for those with an unknown one."""
    metrics = Metrics()
    finish(metrics, decision(reason=errors.NO_KEY), 503, errors.BASELINE_UNREACHABLE)
    finish(metrics, decision(reason=errors.UNKNOWN_KEY), 503, errors.BASELINE_UNREACHABLE)
    assert counts(metrics) == {("baseline", "", "baseline_unreachable", 5): 2}


def test_two_reasons_of_one_name_are_one_series() -> None:
    """`sandbox_unreachable` is both refused and timed out."""
    metrics = Metrics()
    finish(metrics, decision("a"), 503, errors.SANDBOX_UNREACHABLE)
    finish(metrics, decision("a"), 504, errors.SANDBOX_TIMEOUT)
    assert counts(metrics) == {("sandbox", "a", "sandbox_unreachable", 5): 2}


def test_a_fallback_and_its_reason_elsewhere_are_one_series() -> None:
    """`no_destination` is a decision's reason here and an outcome there."""
    metrics = Metrics()
    finish(metrics, decision("a", errors.NO_DESTINATION, status=503), 503)
    finish(metrics, decision("a"), 503, errors.NO_DESTINATION)
    assert counts(metrics) == {("sandbox", "a", "no_destination", 5): 2}


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_beyond_599_is_counted(status: int) -> None:
    metrics = Metrics()
    finish(metrics, decision("a"), status)
    finish(metrics, decision("a"), status, errors.UPSTREAM_TRUNCATED)
    assert sum(counts(metrics).values()) == 2
    assert all(status_class <= 5 for *_, status_class in counts(metrics))


def test_refused_requests_and_failed_attempts() -> None:
    metrics = Metrics()
    metrics.refuse(errors.BAD_REQUEST)
    metrics.refuse(errors.BAD_REQUEST)
    metrics.upstream_failed(decision("a"), errors.UPSTREAM_CLOSED)
    metrics.upstream_failed(decision("a"), errors.UPSTREAM_CLOSED)
    metrics.upstream_failed(decision(), errors.UPSTREAM_CLOSED)
    assert metrics.refused == {errors.BAD_REQUEST: 2}
    assert metrics.upstream_failures == {
        ("sandbox", "a", errors.UPSTREAM_CLOSED.name): 2,
        ("baseline", "", errors.UPSTREAM_CLOSED.name): 1,
    }


# --- durations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(BUCKETS)))
def test_buckets_hold_their_upper_bound(index: int) -> None:
    metrics = Metrics()
    bound = BUCKETS[index]
    metrics.finished(decision(), errors.ROUTE, 200, bound)
    metrics.finished(decision(), errors.ROUTE, 200, bound * 1.0001)
    ((kind, histogram),) = metrics.durations()
    assert kind == "baseline"
    expected = [0] * (len(BUCKETS) + 1)
    expected[index] = expected[index + 1] = 1
    assert histogram.counts == expected
    assert histogram.sum_s == pytest.approx(bound * 2.0001)


def test_below_the_first_and_beyond_the_last_bucket() -> None:
    metrics = Metrics()
    metrics.finished(decision(), errors.ROUTE, 200, 0.0)
    metrics.finished(decision(), errors.ROUTE, 200, 1e6)
    ((_, histogram),) = metrics.durations()
    assert (histogram.counts[0], histogram.counts[-1], sum(histogram.counts)) == (1, 1, 2)


def test_one_histogram_for_each_route_kind() -> None:
    metrics = Metrics()
    for of in (decision("a"), decision("b"), decision(), decision(reason=errors.GONE_KEY, kind="none")):
        finish(metrics, of)
    assert {kind: sum(histogram.counts) for kind, histogram in metrics.durations()} == {
        "sandbox": 2,
        "baseline": 1,
        "none": 1,
    }


def test_ambiguous_requests_are_counted_beside() -> None:
    metrics = Metrics()
    of = decision("a")
    finish(metrics, of)
    assert metrics.ambiguous_requests == 0
    finish(metrics, of.noted())
    assert metrics.ambiguous_requests == 1
    assert counts(metrics) == {("sandbox", "a", "route", 2): 2}


# --- sandboxes come and go -----------------------------------------------------------------------------------------


def test_beyond_the_bound_sandboxes_share_a_name() -> None:
    metrics = Metrics(max_sandboxes=3)
    for index in range(10):
        finish(metrics, decision(f"s{index}"))
        metrics.upstream_failed(decision(f"s{index}"), errors.UPSTREAM_CLOSED)
    expected = {("sandbox", f"s{index}", "route", 2): 1 for index in range(3)}
    assert counts(metrics) == {**expected, ("sandbox", OTHER, "route", 2): 7}
    assert metrics.upstream_failures["sandbox", OTHER, errors.UPSTREAM_CLOSED.name] == 7
    assert len(metrics.upstream_failures) == 4


def test_names_are_bound_on_first_use() -> None:
    """A table may name thousands of sandboxes that this proxy never sees."""
    metrics = Metrics(max_sandboxes=1)
    metrics.table_swapped(f"s{index}" for index in range(1000))
    finish(metrics, decision("s999"))
    assert counts(metrics) == {("sandbox", "s999", "route", 2): 1}


def test_series_of_vanished_sandboxes_go_away() -> None:
    metrics = Metrics()
    for sandbox in ("stays", "leaves", None):
        of = decision(sandbox)
        finish(metrics, of)
        finish(metrics, of, 503, errors.SANDBOX_UNREACHABLE)
        metrics.upstream_failed(of, errors.SANDBOX_UNREACHABLE)
    metrics.table_swapped({"stays", "new"})
    assert {sandbox for _, sandbox, *_ in counts(metrics)} == {"", "stays"}
    assert {sandbox for _, sandbox, _ in metrics.upstream_failures} == {"", "stays"}


def test_room_that_vanished_sandboxes_leave_is_used_again() -> None:
    metrics = Metrics(max_sandboxes=1)
    finish(metrics, decision("a"))
    finish(metrics, decision("b"))
    metrics.table_swapped({"b"})
    finish(metrics, decision("b"))
    assert counts(metrics) == {("sandbox", OTHER, "route", 2): 1, ("sandbox", "b", "route", 2): 1}


def test_counters_go_on_across_swaps() -> None:
    """For a sandbox that stays, although each table has decisions of its own; and for the baseline, and in `other`."""
    metrics = Metrics()
    before: dict[tuple[str, str, str, int], int] = {}
    for swap in range(5):
        for sandbox in ("stays", None):
            of = decision(sandbox)
            finish(metrics, of)
            finish(metrics, of, 502, errors.UPSTREAM_CLOSED)
        after = counts(metrics)
        assert all(after[labels] > count for labels, count in before.items())
        assert set(after.values()) == {swap + 1}
        before = after
        metrics.table_swapped({"stays", f"new{swap}"})
        assert counts(metrics) == before
    ((_, sandboxes), (_, baseline)) = metrics.durations()
    assert sum(sandboxes.counts) == sum(baseline.counts) == 10


def test_decisions_are_not_kept() -> None:
    """They hold routes and destinations: 100,000 of them must be freed when their table is."""
    metrics = Metrics()
    of = decision("a")
    references = sys.getrefcount(of)
    finish(metrics, of)
    assert sys.getrefcount(of) == references
    assert counts(metrics) == {("sandbox", "a", "route", 2): 1}


def test_a_constant_decision_is_counted_by_whoever_asks() -> None:
    of = decision(None)
    for metrics in (Metrics(), Metrics()):
        finish(metrics, of)
        finish(metrics, of)
        assert counts(metrics) == {("baseline", "", "route", 2): 2}


# --- captured connections ---


def test_ports_that_callers_choose_are_bounded() -> None:
    metrics = Metrics()
    for port in range(1, 1000):
        metrics.passed(port, "tls")
        metrics.passed(port, "other")
    metrics.passed(1, "tls")
    assert len(metrics.passed_total) == 2 * (MAX_PORTS + 1)
    assert metrics.passed_total["1", "tls"] == 2
    assert metrics.passed_total[OTHER, "tls"] == 999 - MAX_PORTS


def test_an_application_that_does_not_answer() -> None:
    metrics = Metrics()
    metrics.passing_failed(errors.BASELINE_UNREACHABLE)
    metrics.passing_failed(errors.BASELINE_TIMEOUT)
    assert metrics.upstream_failures == {("baseline", "", "baseline_unreachable"): 2}
