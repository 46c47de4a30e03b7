import json
from pathlib import Path

from benchmarks.bars import comparisons
from benchmarks.figures import Point, Round
from benchmarks.processes import Cores
from benchmarks.report import Result, table, write
from benchmarks.rounds import Load


def _cpu(target: str, sandboxes: int, us: float, void: str = "") -> Point:
    rounds = [Round({"cpu_us": us, "rps": 1000.0}, void=void) for _ in range(5)]
    return Point("cpu", target, sandboxes, True, rounds)


def _result(*points: Point) -> Result[Load]:
    core = frozenset({0})
    left_out, tools = {"envoy": "no envoy"}, {"origin": "nginx"}
    found = comparisons(points)
    return Result("quick", 0.0, 1.0, 5, Load(), tools, left_out, list(points), found, Cores(core, core))


def test_what_is_missing_or_void_is_said_and_the_rest_printed() -> None:
    text = table(_result(_cpu("sidecar", 1, 10), _cpu("sidecar", 100_000, 12, void="3 requests failed")))
    assert "left out: envoy: no envoy" in text
    assert "void: cpu, sidecar, tagged, 100,000 sandboxes: 3 requests failed" in text
    assert "10.0" in text


def test_json_holds_raw_rounds_and_figures(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    write(_result(_cpu("sidecar", 1, 10)), path)
    document = json.loads(path.read_text())
    assert document["schema"] == "pointsman-benchmark/1"
    assert document["points"][0]["figures"]["cpu_us"] == {"median": 10, "low": 10, "high": 10, "count": 5}
    assert len(document["points"][0]["rounds"]) == 5
    assert {"cpu", "kernel", "proxy_cores", "python_loop_ms"} <= set(document["machine"])
