"""Writes manifests/observability/dashboard.json: the rows of `panels`, in the form that Grafana imports.

    python -m scripts.dashboard [--check]

The form is Grafana's dashboard model, schemaVersion 39 (Grafana 11; later ones read it too).
Spec: grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model. Prometheus is a variable,
as are the jobs: nothing in it is one installation's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.panels import ROWS, Panel, Query, Row

FILE: Final = Path(__file__).parent.parent / "manifests/observability/dashboard.json"
_COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def document() -> dict[str, object]:
    """The dashboard as Grafana imports it."""
    return {
        "annotations": {"list": []},
        "description": "What Pointsman's proxies and controller do. Alerts and what to do: manifests/observability.",
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": _panels(ROWS),
        "refresh": "30s",
        "schemaVersion": 39,
        "tags": ["pointsman"],
        "templating": {"list": _variables()},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "title": "Pointsman",
        "uid": "pointsman",
        "version": 1,
        "weekStart": "",
    }


def _variables() -> list[dict[str, object]]:
    source: dict[str, object] = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }
    return [
        source,
        _label_variable("job", "Job of the proxies", "label_values(pointsman_build_info, job)"),
        _label_variable("instance", "Proxy", 'label_values(pointsman_build_info{job=~"$job"}, instance)'),
        _label_variable("controller", "Job of the controller", "label_values(pointsman_controller_build_info, job)"),
    ]


def _label_variable(name: str, label: str, query: str) -> dict[str, object]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "allValue": ".*",
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    }


def _panels(rows: Sequence[Row]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    top = 0
    for row in rows:
        found.append(_row(len(found) + 1, row.title, top))
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, height = 0, top + height, 0
            found.append(_panel(len(found) + 1, panel, left, top))
            left += panel.width
            height = max(height, panel.height)
        top += height
    return found


def _row(number: int, title: str, top: int) -> dict[str, object]:
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}


def _panel(number: int, panel: Panel, left: int, top: int) -> dict[str, object]:
    is_stat = panel.kind == "stat"
    steps: list[dict[str, object]] = [{"color": "green", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    lines = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {"mode": "absolute", "steps": steps},
                **({"color": {"mode": "thresholds"}} if is_stat else {"min": 0, "custom": lines}),
            },
            "overrides": [],
        },
        "options": _stat_options() if is_stat else _graph_options(),
        "targets": [_target(index, query, panel) for index, query in enumerate(panel.queries)],
    }


def _stat_options() -> dict[str, object]:
    return {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }


def _graph_options() -> dict[str, object]:
    return {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _target(index: int, query: Query, panel: Panel) -> dict[str, object]:
    return {
        "refId": chr(ord("A") + index),
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
        "instant": False,
        "exemplar": panel.exemplars,
    }


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        if FILE.read_text(encoding="utf-8") != text():
            sys.stderr.write(f"{FILE} is not what this script writes\n")
            return 1
        return 0
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
