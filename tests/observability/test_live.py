"""Every alert fires when its fault is made, and none before; every query of the dashboard finds something.

One scene for all: it takes its time to start, and faults are made at once, each at a place of its own.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.observability.prometheus import (
    ALERTS,
    FOLDER,
    NEEDED,
    Prometheus,
    hurried,
    rules,
    running_prometheus,
    without_variables,
)
from tests.observability.scene import TRACE, Scene, running_scene
from tests.support.waiting import until

pytestmark = NEEDED

# The longest time that a rule looks back or waits, in this scene's seconds.
_SETTLED_S = 12.0
# Alert -> what makes it fire, and where.
FAULTS: dict[str, tuple[Callable[[Scene], None], dict[str, str]]] = {
    "PointsmanTableStale": (Scene.make_stale, {"instance": "file"}),
    "PointsmanUnknownKeys": (Scene.make_unknown_keys, {"instance": "sidecar"}),
    "PointsmanSandboxFailing": (
        Scene.make_a_dead_sandbox,
        {"instance": "sidecar", "sandbox": "pr-dead", "reason": "sandbox_unreachable"},
    ),
    "PointsmanLoop": (Scene.make_a_loop, {"instance": "sidecar"}),
    "PointsmanBaselineFailing": (Scene.make_a_baseline_fail, {"instance": "alone"}),
    "PointsmanConnectionsRefused": (Scene.make_connections, {"instance": "small"}),
    "PointsmanSlow": (Scene.make_it_slow, {"instance": "slow"}),
    "PointsmanLinesDropped": (Scene.make_lines_that_are_dropped, {"instance": "logging"}),
    "PointsmanCountsLost": (Scene.make_a_storm_of_keys, {"instance": "stormy"}),
    "PointsmanWorkerDown": (Scene.make_a_worker_hang, {"instance": "workers", "worker": "2"}),
    "PointsmanNoTable": (Scene.make_a_proxy_without_table, {"instance": "late"}),
    "PointsmanProxiesMissing": (Scene.make_a_proxy_missing, {"instance": "controller"}),
    "PointsmanTableRefused": (Scene.make_a_refusal, {"instance": "controller"}),
    "PointsmanProxiesBehind": (Scene.make_a_proxy_hang, {"instance": "controller"}),
    "PointsmanConvergenceSlow": (Scene.let_it_go_on, {"instance": "controller"}),
    "PointsmanFilesUnreadable": (Scene.make_a_file_unreadable, {"instance": "other"}),
    "PointsmanStateFailing": (Scene.make_the_state_fail, {"instance": "other"}),
    "PointsmanAuditLost": (Scene.make_the_audit_log_fail, {"instance": "other"}),
    "PointsmanControllerUnreachable": (Scene.make_the_controllers_die, {"instance": "sidecar"}),
    "PointsmanControllerDown": (lambda _: None, {}),
}
# Those that follow from another one, and must come after all others.
_LAST = ("PointsmanConvergenceSlow", "PointsmanControllerUnreachable", "PointsmanControllerDown")
# What can't be made here: rules of iptables are needed. promtool checks it, and tests/netns the metric.
_NOT_MADE = {"PointsmanEncrypted"}
_CHECKED = ("sidecar", "workers", "router", "controller")
# Queries that must find nothing here, for the same reason.
_EMPTY = {"pointsman_passed_connections_opened_total"}


@dataclass
class Ran:
    """What was seen until the end."""

    scene: Scene
    prometheus: Prometheus
    quiet: list[dict[str, object]]  # alerts while all was well
    fired: set[str]
    began_s: float
    ended_s: float
    expositions: dict[str, bytes]  # what was scraped last, in the text format


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("observed")
    with (
        running_prometheus(folder / "prometheus", hurried(ALERTS.read_text())) as prometheus,
        running_scene(folder, prometheus) as scene,
    ):
        began_s = time.time()
        quiet = _alerts_within(prometheus, _SETTLED_S)
        fired: set[str] = set()
        for name, (make, _) in FAULTS.items():
            if name not in _LAST:
                make(scene)
        until(lambda: _note(prometheus, fired) >= FAULTS.keys() - set(_LAST), _missing(fired), within_s=90)
        expositions = {name: _scraped(prometheus.ports()[name]) for name in _CHECKED}
        ended_s = time.time()  # the controllers' own queries are asked for the time that they lived
        for name in _LAST:
            FAULTS[name][0](scene)
            until(lambda name=name: name in _note(prometheus, fired), _missing(fired), within_s=60)  # type: ignore[misc]
        yield Ran(scene, prometheus, quiet, fired, began_s, ended_s, expositions)


def _scraped(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        body = response.read()
    assert isinstance(body, bytes)
    return body


def _alerts_within(prometheus: Prometheus, seconds: float) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        found += prometheus.alerts()
        time.sleep(0.25)
    return found


def _note(prometheus: Prometheus, fired: set[str]) -> set[str]:
    """Those that have fired at the place of their fault by now."""
    fired |= {name for name, (_, labels) in FAULTS.items() if prometheus.fires(name, **labels)}
    return fired


class _missing:
    def __init__(self, fired: set[str]) -> None:
        self._fired = fired

    def __str__(self) -> str:
        return f"alerts {sorted(FAULTS.keys() - self._fired)}"


def dashboard_queries() -> list[tuple[str, str]]:
    document = json.loads((FOLDER / "dashboard.json").read_text())
    return [
        (f"{panel['title']} {target['refId']}", target["expr"])
        for panel in document["panels"]
        for target in panel.get("targets", ())
    ]


def test_every_rule_has_its_fault() -> None:
    assert {rule["alert"] for rule in rules()} == FAULTS.keys() | _NOT_MADE


def test_none_fires_while_all_is_well(ran: Ran) -> None:
    """Nor is one about to."""
    assert ran.quiet == []


@pytest.mark.parametrize("alert", FAULTS)
def test_fires(ran: Ran, alert: str) -> None:
    assert alert in ran.fired


def test_rules_are_evaluated_without_a_fault(ran: Ran) -> None:
    assert ran.prometheus.evaluation_faults() == []


@pytest.mark.parametrize(("panel", "expr"), dashboard_queries(), ids=[name for name, _ in dashboard_queries()])
def test_a_query_finds_something(ran: Ran, panel: str, expr: str) -> None:
    sent = without_variables(expr, 60, {"job": "proxies", "instance": ".*", "controller": "controllers"})
    found = ran.prometheus.range(sent, ran.began_s, ran.ended_s)
    numbers = [float(value) for series in found for _, value in series["values"]]
    if any(name in expr for name in _EMPTY):
        assert found == []
    else:
        assert any(number == number for number in numbers), "nothing but NaN"


def test_variables_find_something(ran: Ran) -> None:
    for metric, job in (("pointsman_build_info", "proxies"), ("pointsman_controller_build_info", "controllers")):
        assert {result["metric"]["job"] for result in ran.prometheus.range(metric, ran.began_s, ran.ended_s)} == {job}


def test_exemplars_lead_to_a_trace(ran: Ran) -> None:
    """Prometheus asks for OpenMetrics and keeps what it is told."""
    query = "pointsman_request_duration_seconds_bucket"
    found = ran.prometheus.ask("query_exemplars", query=query, start=str(ran.began_s), end=str(ran.ended_s))
    traces = {
        exemplar["labels"]["trace_id"]
        for series in found
        if series["seriesLabels"]["instance"] == "sidecar"
        for exemplar in series["exemplars"]
    }
    assert traces == {TRACE}


@pytest.mark.parametrize("name", _CHECKED)
def test_names_and_texts_follow_the_conventions(ran: Ran, name: str) -> None:
    """By promtool's own opinion of names, units and help texts."""
    text = ran.expositions[name]
    assert len(text) > 1000
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_numbers_are_right(ran: Ran) -> None:
    """What a panel shows is what was sent: nothing but loops is without a place to go at the sidecar."""
    expr = 'sum by (route) (pointsman_requests_total{instance="sidecar",reason="loop"})'
    assert [series["metric"]["route"] for series in ran.prometheus.range(expr, ran.began_s, ran.ended_s)] == ["none"]
