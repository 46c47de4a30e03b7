import pytest

from benchmarks.bars import Comparison, comparisons, grpc_comparisons, mesh_comparisons
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


def test_grpc_has_a_bar_for_cpu_and_two_for_the_memory_of_streams() -> None:
    points = [
        *(Point("grpc", target, 1, False, [Round({"cpu_us": us})]) for target, us in (("sidecar", 10), ("envoy", 20))),
        Point("grpc-streams-5x1000", "sidecar", 1, True, [Round({"rss_mb": 40.0, "added_mb": 10.0})]),
        Point("grpc-streams-5x1000", "envoy", 1, True, [Round({"rss_mb": 80.0, "added_mb": 4.0})]),
    ]
    found = [(each.what, each.bar, each.value and each.value.median, each.verdict) for each in grpc_comparisons(points)]
    assert found == [
        ("grpc cpu_us untagged, 1 sandbox", 1.0, 0.5, "ok"),
        ("grpc-streams-5x1000 rss_mb tagged, 1 sandbox", 2.0, 0.5, "ok"),
        ("grpc-streams-5x1000 added_mb tagged, 1 sandbox", 2.0, 2.5, "missed"),
    ]


def test_grpc_without_envoy_has_no_verdict() -> None:
    [found] = grpc_comparisons([Point("grpc", "sidecar", 1, True, [Round({"cpu_us": 10})])])
    assert found.verdict == "-"


def test_fan_in_is_flat_and_the_router_stands_beside_the_sidecar() -> None:
    costs = {("envoy-fan-in", 1): 40, ("envoy-fan-in", 1000): 42, ("router", 1): 20, ("sidecar", 1): 16}
    found = mesh_comparisons([_cpu(target, sandboxes, us) for (target, sandboxes), us in costs.items()])
    assert [(each.what, each.verdict) for each in found] == [
        ("fan-in, 1,000 sandboxes", "ok"),
        ("router, 1 sandbox", "missed"),
        ("router, 1,000 sandboxes", "-"),
    ]
