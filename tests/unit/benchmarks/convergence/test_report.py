from benchmarks.bars import convergence_comparisons
from benchmarks.convergence.load import ConvergenceLoad
from benchmarks.convergence.report import rows
from benchmarks.figures import Point, Round


def _points() -> list[Point]:
    changes = [Round({"took_ms": float(ms), "add_file_ms": float(ms)}) for ms in range(1, 101)]
    controller = Round({"cpu_ms": 25.0, "rss_mb": 100.0, "first_s": 5.0})
    return [
        Point("convergence", "controller", 10_000, True, changes),
        Point("controller", "controller", 10_000, True, [controller]),
    ]


def test_the_bar_is_about_the_99th_percentile_of_all_changes() -> None:
    found = {each.what: each for each in convergence_comparisons(_points())}
    assert found["convergence p99"].value is not None
    assert found["convergence p99"].value.median == 99
    assert found["convergence p99"].verdict == "ok"
    assert found["controller cpu_ms"].verdict == "missed"
    assert "reconnect start_s" not in found


def test_rows() -> None:
    points = _points()
    text = "\n".join(rows(points, convergence_comparisons(points), ConvergenceLoad()))
    assert "add, by file" in text
    assert "<= 20 ms missed" in text
    assert "again" not in text
