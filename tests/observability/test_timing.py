"""When each alert fires, minute by minute, by promtool on made-up series: what a live scene can only hurry through."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.observability.prometheus import ALERTS, NEEDED, rules

pytestmark = NEEDED

_P = '{instance="a",job="p"}'


def _requests(reason: str, route: str = "baseline", sandbox: str = "") -> str:
    labels = f'instance="a",job="p",reason="{reason}",route="{route}",sandbox="{sandbox}",status="5xx"'
    return f"pointsman_requests_total{{{labels}}}"


def _buckets(metric: str, bounds: Mapping[str, str]) -> dict[str, str]:
    return {f'{metric}_bucket{{instance="a",job="p",le="{bound}"}}': values for bound, values in bounds.items()}


@dataclass(frozen=True)
class Case:
    """Series, a sample a minute; the minute in which the alert fires first, or never."""

    series: Mapping[str, str]
    fires_at: int | None


# `a+bxn`: a, a+b, a+2b, ... n more times. Whatever it is begins in minute 5.
CASES = {
    "PointsmanTableStale": [
        Case({f"pointsman_table_stale_seconds{_P}": "0x4 60+60x20"}, 10),
        Case({f"pointsman_table_stale_seconds{_P}": "0x4 60+60x4 0x20"}, None),  # it was well again in time
    ],
    "PointsmanNoTable": [
        Case({f"pointsman_feed_synced{_P}": "_x5 0x20"}, 10),
        Case({f"pointsman_feed_synced{_P}": "_x5 0x20", f'pointsman_table_info{_P[:-1]},version="1"}}': "1x25"}, None),
    ],
    "PointsmanUnknownKeys": [
        Case({_requests("unknown_key"): "0x4 60+60x30"}, 10),
        Case({_requests("unknown_key"): "0x4 1+1x30"}, None),  # somebody's typo now and then
        Case({_requests("no_key"): "0x4 60+60x30"}, None),
    ],
    "PointsmanSandboxFailing": [
        Case({_requests("sandbox_unreachable", "sandbox", "pr-1"): "0x4 60+60x30"}, 7),
        Case({_requests("sandbox_unreachable"): "0x4 60+60x30"}, 7),  # --on-sandbox-failure baseline
        Case({_requests("upstream_closed", "sandbox", "pr-1"): "0x4 60+60x30"}, 7),
        Case({_requests("route", "sandbox", "pr-1"): "0x4 60+60x30"}, None),  # its own 5xx
    ],
    "PointsmanBaselineFailing": [
        Case({_requests("no_key"): "0+60x30", _requests("baseline_unreachable"): "0x4 60+60x30"}, 7),
        Case({_requests("no_key"): "0+60x30", _requests("upstream_timeout"): "0x4 1+1x30"}, None),
    ],
    "PointsmanLoop": [Case({_requests("loop", "none"): "0x4 1x30"}, 5)],
    "PointsmanConnectionsRefused": [
        Case({f'pointsman_refused_requests_total{_P[:-1]},reason="connection_limit"}}': "0x4 1+1x30"}, 7),
        Case({f"pointsman_accepts_delayed_total{_P}": "0x4 1+1x30"}, 7),
        Case({f'pointsman_refused_requests_total{_P[:-1]},reason="bad_request"}}': "0x4 1+1x30"}, None),
    ],
    "PointsmanSlow": [
        Case(
            _buckets(
                "pointsman_event_loop_lag_seconds", {"0.1": "0+60x4 240+50x30", "1.0": "0+60x40", "+Inf": "0+60x40"}
            ),
            10,
        ),
        Case(_buckets("pointsman_event_loop_lag_seconds", {"0.1": "0+60x40", "+Inf": "0+60x40"}), None),
    ],
    "PointsmanLinesDropped": [Case({f"pointsman_access_log_lines_dropped_total{_P}": "0x4 1x30"}, 5)],
    "PointsmanCountsLost": [Case({f"pointsman_lost_key_counts_total{_P}": "0x4 1x30"}, 5)],
    "PointsmanEncrypted": [
        Case({f'pointsman_passed_connections_opened_total{_P[:-1]},port="1",protocol="tls"}}': "0x4 1+1x30"}, 15),
        Case({f'pointsman_passed_connections_opened_total{_P[:-1]},port="1",protocol="other"}}': "0x4 1+1x30"}, None),
    ],
    "PointsmanWorkerDown": [Case({f'pointsman_worker_up{_P[:-1]},worker="2"}}': "1x4 0x30"}, 6)],
    "PointsmanControllerUnreachable": [
        Case({f"pointsman_feed_connected{_P}": "1x4 0x30", f"pointsman_controller_synced{_P}": "1x40"}, 7)
    ],
    "PointsmanControllerDown": [
        Case({f"pointsman_controller_synced{_P}": "1x4 _x30", f"pointsman_feed_connected{_P}": "1x40"}, 15),
        Case({f"pointsman_controller_synced{_P}": "1x4 0x30", f"pointsman_feed_connected{_P}": "1x40"}, 10),
        Case({f"pointsman_controller_synced{_P}": "1x4 _x30"}, None),  # nobody wants one
        Case(
            {
                f"pointsman_controller_synced{_P}": "1x4 _x30",
                'pointsman_controller_synced{instance="b",job="p"}': "1x40",
                f"pointsman_feed_connected{_P}": "1x40",
            },
            None,
        ),
    ],
    "PointsmanProxiesMissing": [Case({f"pointsman_controller_proxies_lost{_P}": "0x4 1x30"}, 7)],
    "PointsmanProxiesBehind": [
        Case({f"pointsman_controller_proxies{_P}": "3x40", f"pointsman_controller_proxies_current{_P}": "3x4 2x30"}, 7)
    ],
    "PointsmanTableRefused": [Case({f"pointsman_controller_nacks_total{_P}": "0x4 1x30"}, 5)],
    "PointsmanConvergenceSlow": [
        Case(
            _buckets(
                "pointsman_controller_convergence_seconds",
                {"5": "0+9x40", "10": "0+9x4 46+10x30", "+Inf": "0+9x4 46+10x30"},
            ),
            5,
        ),
        Case(_buckets("pointsman_controller_convergence_seconds", {"5": "0+9x40", "+Inf": "0+9x40"}), None),
    ],
    "PointsmanStateFailing": [Case({f"pointsman_controller_state_failing{_P}": "0x4 1x30"}, 6)],
    "PointsmanFilesUnreadable": [Case({f"pointsman_controller_store_faults{_P}": "0x4 1x30"}, 10)],
    "PointsmanAuditLost": [Case({f"pointsman_controller_audit_failures_total{_P}": "0x4 1x30"}, 5)],
}


def test_every_rule_has_a_case() -> None:
    assert [rule["alert"] for rule in rules()] == list(CASES)


def firing(minute: int, alert: str | None) -> dict[str, object]:
    """What promtool compares: which alerts fire in this minute, and no other."""
    expected = [] if alert is None else [{"labels": f'{{alertname="{alert}"}}', "value": 1}]
    expr = 'group by (alertname) (ALERTS{alertstate="firing"})'
    return {"expr": expr, "eval_time": f"{minute}m", "exp_samples": expected}


def promtool_test(case: Case, alert: str) -> dict[str, object]:
    moments = [firing(minute, None) for minute in range(case.fires_at if case.fires_at is not None else 25)]
    if case.fires_at is not None:
        moments.append(firing(case.fires_at, alert))
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"name": alert, "interval": "1m", "input_series": series, "promql_expr_test": moments}


@pytest.mark.parametrize("alert", CASES)
def test_the_minute_in_which_it_fires(tmp_path: Path, alert: str) -> None:
    document = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [promtool_test(case, alert) for case in CASES[alert]],
    }
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump(document))
    ran = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
