"""The benchmark of convergence, small: a change that does not arrive, or a proxy that does not come back, fails it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_convergence(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks", "convergence", "--own-tools", "--json", str(file)]
    command += [
        "--sandboxes",
        "100",
        "--proxies",
        "12",
        "--processes",
        "2",
        "--routers",
        "1",
        "--changes",
        "6",
        "--reconnecting",
        "30",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "add, by file" in ended.stdout
    assert "remove, by REST" in ended.stdout
    document = json.loads(file.read_text())
    measures = {point["measure"]: point for point in document["points"]}
    assert list(measures) == ["convergence", "controller", "reconnect", "reconnect-changed"]
    assert len(measures["convergence"]["rounds"]) == 6
    assert measures["controller"]["figures"]["router_rss_mb"]["median"] > 10
    assert {each["what"] for each in document["comparisons"]} >= {"convergence p99", "reconnect start_s"}
