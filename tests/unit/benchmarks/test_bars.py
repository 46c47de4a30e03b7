import pytest

from benchmarks.bars import Comparison, comparisons
from benchmarks.figures import Point, Round, Spread


def _cpu(target: str, sandboxes: int, us: float) -> Point:
    return Point("cpu", target, sandboxes, True, [Round({"cpu_us": us}) for _ in range(5)])


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (Spread(0.5, 0.4, 0.6, 5), "ok"),
        (Spread(0.5, 0.4, 0.7, 5), "ok?"),
        (Spread(0.7, 0.5, 0.8, 5), "missed?"),
        (Spread(0.7, 0.65, 0.8, 5), "missed"),
        (None, "-"),
    ],
)
def test_verdicts(value: Spread | None, verdict: str) -> None:
    assert Comparison("cpu", "x envoy", 0.6, value).verdict == verdict


def test_ours_stands_beside_envoy() -> None:
    points = [_cpu("sidecar", 1000, 10), _cpu("envoy", 1000, 500)]
    [found] = [each for each in comparisons(points) if each.what == "cpu tagged, 1,000 sandboxes"]
    assert found.value == Spread(0.02, 0.02, 0.02, 5)
    assert found.verdict == "ok"


def test_a_side_that_is_missing_has_no_verdict() -> None:
    assert {each.verdict for each in comparisons([_cpu("sidecar", 1, 10)])} == {"-"}
