"""A real Prometheus (Debian's package): its process, what it scrapes, what it answers.

Time is scaled: what rules say in minutes passes in seconds (`hurried`), so scrapes come twice a second.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "manifests/observability"
ALERTS = FOLDER / "alerts.yaml"
NEEDED = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs prometheus and promtool (Debian: apt-get install prometheus)",
)
INTERVAL_S = 0.5
_MINUTES = re.compile(r"(?<=\[)(\d+)m(?=\])|(?<=for: )(\d+)m\b")


def hurried(rules: str) -> str:
    """The same rules, a minute being a second."""
    return _MINUTES.sub(lambda match: f"{match[1] or match[2]}s", rules)


def rules() -> list[dict[str, Any]]:
    """All alert rules, as they are shipped."""
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


class Prometheus:
    """A running one, that scrapes what `scrape` names."""

    def __init__(self, folder: Path, rules: str = "") -> None:
        self._targets = folder / "targets.json"
        self._known: dict[str, tuple[str, str]] = {}
        self._write()
        (folder / "rules.yaml").write_text(rules or "groups: []\n")
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": "any",
                    "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "1s"}],
                }
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=exemplar-storage",
                "--query.lookback-delta=5s",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        until(self._is_ready, "Prometheus", within_s=30)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "Prometheus died"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self._log.close()

    # --- what it scrapes -----------------------------------------------------------------------------------------

    def scrape(self, name: str, port: int, job: str = "proxies") -> None:
        """From now on; `name` is its `instance`."""
        self._known[name] = (f"127.0.0.1:{port}", job)
        self._write()

    def forget(self, name: str) -> None:
        del self._known[name]
        self._write()

    def ports(self) -> dict[str, int]:
        """Of each instance that is scraped."""
        return {name: int(address.rpartition(":")[2]) for name, (address, _) in self._known.items()}

    def _write(self) -> None:
        groups = [
            {"targets": [address], "labels": {"job": job, "instance": name}}
            for name, (address, job) in self._known.items()
        ]
        # By way of a temporary file: Prometheus must not read half of it.
        temporary = self._targets.with_suffix(".new")
        temporary.write_text(json.dumps(groups))
        temporary.rename(self._targets)

    def until_scraped(self, *names: str) -> None:
        def is_up() -> bool:
            up = {result["metric"]["instance"] for result in self.query("up == 1")}
            return up >= set(names)

        until(is_up, f"scrapes of {names}", within_s=20)

    # --- what it answers -----------------------------------------------------------------------------------------

    def ask(self, path: str, **parameters: str) -> Any:  # Any: JSON
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        with urllib.request.urlopen(f"{url}?{query}", timeout=30) as response:
            document = json.load(response)
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """An instant vector."""
        found = self.ask("query", query=expr)["result"]
        assert isinstance(found, list)
        return found

    def range(self, expr: str, from_s: float, to_s: float, step_s: float = 1.0) -> list[dict[str, Any]]:
        """The series of a range, each with its `values`."""
        found = self.ask("query_range", query=expr, start=str(from_s), end=str(to_s), step=str(step_s))["result"]
        assert isinstance(found, list)
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Those that are pending or fire."""
        found = self.ask("alerts")["alerts"]
        assert isinstance(found, list)
        return found

    def fires(self, alert: str, **labels: str) -> bool:
        return any(
            each["state"] == "firing"
            and each["labels"]["alertname"] == alert
            and all(each["labels"].get(name) == value for name, value in labels.items())
            for each in self.alerts()
        )

    def evaluation_faults(self) -> list[str]:
        groups = self.ask("rules")["groups"]
        return [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")]


@contextlib.contextmanager
def running_prometheus(folder: Path, rules: str = "") -> Iterator[Prometheus]:
    folder.mkdir(exist_ok=True)
    prometheus = Prometheus(folder, rules)
    try:
        yield prometheus
    finally:
        prometheus.close()


def without_variables(expr: str, range_s: int, values: Mapping[str, str]) -> str:
    """A query of the dashboard, as Grafana would send it."""
    values = {"__rate_interval": "10s", "__range": f"{range_s}s", "__interval": "1s", **values}
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda match: values[match[1] or match[2]], expr)
