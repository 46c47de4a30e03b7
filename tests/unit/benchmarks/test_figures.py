import pytest

from benchmarks.figures import Point, Round, Spread, added_ratio, kept, percentile, ratio, spread


def _point(*values: float, marked: tuple[int, ...] = (), void: tuple[int, ...] = ()) -> Point:
    rounds = [
        Round({"us": value}, marked="busy" if at in marked else "", void="lost" if at in void else "")
        for at, value in enumerate(values)
    ]
    return Point("cpu", "sidecar", 1, True, rounds)


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([5.0, 1.0, 2.0, 9.0, 3.0]) == Spread(3.0, 1.0, 9.0, 5)
    assert spread([]) is None


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ((), [0, 1, 2, 3, 4]),
        ((1, 3), [0, 2, 4]),
        ((0, 1, 3), [0, 1, 2, 3, 4]),  # fewer than half would remain
    ],
)
def test_marked_rounds_are_left_out_while_half_remain(marked: tuple[int, ...], left: list[int]) -> None:
    assert kept(_point(1, 2, 3, 4, 5, marked=marked).rounds) == left


def test_a_round_without_values_never_counts() -> None:
    starved = Round({}, marked="busy")
    point = _point(1, 2, marked=(0, 1))
    point.rounds.append(starved)
    assert kept(point.rounds) == [0, 1]
    assert point.spread("us") == Spread(1.5, 1.0, 2.0, 2)


def test_a_void_round_voids_its_point_and_every_ratio_with_it() -> None:
    void = _point(1, 2, 3, void=(1,))
    assert void.void == "lost"
    assert void.spread("us") is None
    assert ratio(_point(1, 2, 3), void, "us") is None


def test_ratios_are_taken_round_by_round() -> None:
    """The machine is twice as slow in the second half: the ratio does not notice."""
    assert ratio(_point(10, 10, 20, 20), _point(20, 20, 40, 40), "us") == Spread(0.5, 0.5, 0.5, 4)


def test_a_round_marked_on_either_side_is_left_out_of_the_ratio() -> None:
    value = ratio(_point(1, 1, 8, 1, 1, marked=(2,)), _point(2, 2, 2, 9, 2, marked=(3,)), "us")
    assert value == Spread(0.5, 0.5, 0.5, 3)


def test_added_latency_is_what_is_above_direct() -> None:
    assert added_ratio(_point(130), _point(160), _point(100), "us") == Spread(0.5, 0.5, 0.5, 1)
    assert added_ratio(_point(90), _point(102), _point(100), "us") == Spread(0.5, 0.5, 0.5, 1)  # at least 1 us each


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.5) == percentile([7], 0.99) == 7
