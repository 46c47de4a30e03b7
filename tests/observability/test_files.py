"""What is shipped fits together: the dashboard's form, the rules' texts, the names in both, the README beside them."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import parser

from proxy import errors
from proxy.routing.decision import Decision
from proxy.telemetry.exposition import Exposition, FeedState, TableState
from proxy.telemetry.metrics import Metrics
from proxy.workers.ownmetrics import State, of_workers
from scripts import dashboard
from tests.observability.prometheus import ALERTS, FOLDER, NEEDED, rules
from tests.support.controller import run_controller, sandbox

README = (FOLDER / "README.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
_NAME = re.compile(r"\b(?:pointsman|process)_[a-z_]+")
_SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")


def proxy_metrics() -> set[str]:
    """All that a proxy exposes, by the names in queries."""
    metrics = Metrics()
    of = Decision(errors.ROUTE, "sandbox", "a", None, 0, None)
    metrics.finished(of, errors.ROUTE, 200, 0.1)
    state = TableState(version="1", age_s=1, stale_s=0, routes=1, is_stale=False, refused_total=0)
    feed = FeedState(True, True, 0, 0, 0, 0)
    found = {
        family.name + "_total" * (family.type == "counter")
        for family in Exposition(metrics, lambda: state, lambda: feed).collect()
    }
    workers = of_workers([State(1, True, 0.5, 3)], {(1, "SIGKILL"): 1})
    return found | {name + "_total" * (kind == "counter") for name, kind, _, _ in workers}


@pytest.fixture(scope="module")
def controller_metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Name -> labels and help text, of a real one."""
    with run_controller(tmp_path_factory.mktemp("controller") / "objects") as controller:
        assert controller.put(sandbox("a")).status == 201
        text = controller.ask("GET", "/metrics").body.decode()
    found = {}
    for family in parser.text_string_to_metric_families(text):
        name = family.name + "_total" * (family.type == "counter")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if name.startswith("pointsman_") and family.documentation:
            found[name] = " ".join(f"`{label}`" for label in sorted(labels)), family.documentation
    return found


# --- the dashboard --------------------------------------------------------------------------------------------------


def test_the_dashboard_is_what_the_script_writes() -> None:
    assert (FOLDER / "dashboard.json").read_text() == dashboard.text()


def test_panels_have_ids_places_and_sources_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        for holder in (panel, *panel.get("targets", ())):
            if panel["type"] != "row":
                assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert panel["type"] == "row" or (references and panel["description"])


def test_rows_are_those_that_operators_look_for() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == [
        *("At a glance", "Traffic", "Errors", "Latency added", "Table", "Connections", "Resources", "Controller"),
    ]


def test_only_variables_that_there_are() -> None:
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for expr in EXPRESSIONS for name in re.findall(r"\$\{?(\w+)", expr)}
    assert used - {"__rate_interval", "__range"} <= known
    assert known - {"datasource"} <= used
    kinds = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert kinds.pop("datasource") == "datasource"
    assert set(kinds.values()) == {"query"}


def test_nothing_in_it_is_one_installations() -> None:
    assert DASHBOARD["id"] is None
    assert set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))) == {"${datasource}", "pointsman"}


# --- names ----------------------------------------------------------------------------------------------------------


def test_only_metrics_that_there_are(controller_metrics: dict[str, tuple[str, str]]) -> None:
    known = proxy_metrics() | controller_metrics.keys()
    for expr in (*EXPRESSIONS, *(rule["expr"] for rule in rules())):
        for name in _NAME.findall(expr):
            bare = _SUFFIXES.sub("", name)
            assert bare in known or name in known or name.startswith("process_"), name


def test_programs_share_no_name(controller_metrics: dict[str, tuple[str, str]]) -> None:
    """A query for one must not find the other."""
    assert not proxy_metrics() & controller_metrics.keys()
    assert all(name.startswith("pointsman_controller_") for name in controller_metrics)
    assert not any(name.startswith("pointsman_controller_") for name in proxy_metrics())


def test_the_readme_has_the_controllers_metrics(controller_metrics: dict[str, tuple[str, str]]) -> None:
    lines = ["| metric | labels | tells |", "|---|---|---|"]
    lines += [f"| `{name}` | {labels} | {text} |" for name, (labels, text) in sorted(controller_metrics.items())]
    block = README.partition("<!-- controller-metrics:begin -->\n")[2].partition("<!-- controller-metrics:end -->")[0]
    assert block == "\n".join(lines) + "\n"


def test_reasons_in_rules_are_reasons() -> None:
    names = {reason.name for reason in errors.REASONS}
    patterns = [
        pattern
        for expr in (*EXPRESSIONS, *(rule["expr"] for rule in rules()))
        for matched in re.findall(r'reason(?:=|!=|=~|!~)"([^"]*)"', expr)
        for pattern in matched.split("|")
    ]
    assert len(patterns) > 20
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in names), pattern


# --- rules ----------------------------------------------------------------------------------------------------------


@NEEDED
@pytest.mark.parametrize(("what", "file"), [("rules", "alerts.yaml"), ("config", "prometheus.yaml")])
def test_promtool_takes_it(what: str, file: str) -> None:
    ran = subprocess.run(
        ["promtool", "check", what, str(FOLDER / file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    file, _, anchor = annotations["runbook"].partition("#")
    assert (Path(__file__).parents[2] / file) == FOLDER / "README.md"
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in README


def test_the_readme_has_no_other_alerts() -> None:
    assert re.findall(r"^### (\w+)$", README, re.MULTILINE) == [rule["alert"] for rule in rules()]
    anchors = set(re.findall(r"\]\(#(\w+)\)", README))
    assert anchors <= {rule["alert"].lower() for rule in rules()}


def test_alerts_are_a_prometheusrules_spec() -> None:
    assert list(yaml.safe_load(ALERTS.read_text())) == ["groups"]


# --- the picture ----------------------------------------------------------------------------------------------------


def test_the_picture_shows_every_panel() -> None:
    tree = ET.parse(FOLDER / "dashboard.svg")
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {panel["title"] for panel in PANELS} <= set(texts)
    assert texts.count("no data") == 1  # captured connections, for which rules of iptables are needed
