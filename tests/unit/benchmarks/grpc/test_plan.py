"""What was measured stands in the table; what was not is left out."""

from benchmarks.bars import grpc_comparisons
from benchmarks.figures import Point, Round
from benchmarks.grpc.report import table
from benchmarks.grpc.rounds import GrpcLoad
from benchmarks.processes import Cores
from benchmarks.report import Result


def _table(*points: Point) -> str:
    core = frozenset({0})
    result = Result(
        "grpc",
        0.0,
        1.0,
        5,
        GrpcLoad(),
        {"origin": "own"},
        {},
        list(points),
        grpc_comparisons(points),
        Cores(core, core),
    )
    return table(result)


def _cpu(measure: str, target: str, us: float) -> Point:
    return Point(measure, target, 1, True, [Round({"cpu_us": us, "p50_us": 2 * us}) for _ in range(5)])


def _row(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def test_calls_stand_beside_envoy_and_the_bar() -> None:
    text = _table(_cpu("grpc", "sidecar", 10), _cpu("grpc", "envoy", 20))
    assert "10.0 (10.0-10.0) 20.0 (20.0-20.0) 0.50 (0.50-0.50) <= 1 ok" in " ".join(_row(text, "tagged"))
    assert "calls/s" not in text
    assert "open streams" not in text


def test_streams_stand_beside_envoy_and_the_bar() -> None:
    rounds = {"sidecar": (50.0, 20.0, 4.0), "envoy": (100.0, 5.0, 1.0)}
    points = [
        Point("grpc-streams-5x1000", name, 1, True, [Round({"rss_mb": all_mb, "added_mb": mb, "stream_kb": kb})])
        for name, (all_mb, mb, kb) in rounds.items()
    ]
    text = _table(*points)
    assert "5,000 open streams (5 connections x 1000 streams)" in text
    assert _row(text, "RSS") == ["RSS", "MB", "50.0", "100", "0.50", "<=", "2", "ok"]
    assert _row(text, "added") == ["added", "MB", "20.0", "5.0", "4.00", "<=", "2", "missed"]
    assert _row(text, "KB") == ["KB", "for", "each", "4.0", "1.0"]


def test_envoy_alone_is_shown() -> None:
    assert _row(_table(_cpu("grpc-rate", "envoy", 20)), "tagged") == ["tagged", "-", "20.0", "(20.0-20.0)"]
