from __future__ import annotations

import pytest

from controller.feed.delays import BOUNDS, Delays


def told(*at_s: float) -> Delays:
    """Tables of the positions 1, 2, ..., told then."""
    delays = Delays()
    for position, each in enumerate(at_s, 1):
        delays.told(position, each)
    return delays


def seen(delays: Delays) -> tuple[int, float]:
    return sum(delays.counts), delays.sum_s


@pytest.mark.parametrize(
    ("before", "position", "attached_s", "expected_s"),
    [
        (1, 2, 0.0, 3.0),
        (0, 2, 0.0, 13.0),  # it was busy: what it waited for is the first that it lacked
        (None, 2, 0.0, 3.0),  # it had nothing
        (1, 2, 112.5, 0.5),  # it came later
        (-5, 2, 0.0, 13.0),  # further behind than is remembered
        (1, 2, 200.0, 0.0),  # the clock was set back
    ],
)
def test_from_a_table_to_its_acknowledgement(
    before: int | None, position: int, attached_s: float, expected_s: float
) -> None:
    delays = told(100.0, 110.0)
    delays.answered(before, position, attached_s, 113.0)
    assert seen(delays) == (1, expected_s)


@pytest.mark.parametrize(("before", "position"), [(2, 2), (1, None), (2, 3)])
def test_what_is_no_news_is_not_counted(before: int | None, position: int | None) -> None:
    """The same position again, none, or one that was told before we were there."""
    delays = told(100.0, 110.0)
    delays.answered(before, position, 0.0, 113.0)
    assert seen(delays) == (0, 0.0)


def test_positions_may_have_gaps() -> None:
    delays = told(100.0)
    delays.told(7, 110.0)
    delays.answered(4, 7, 0.0, 113.0)
    assert seen(delays) == (1, 3.0)


def test_buckets_are_cumulative() -> None:
    delays = told(0.0)
    for at_s in (BOUNDS[0], BOUNDS[1], 1e6):
        delays.answered(0, 1, 0.0, at_s)
    buckets = dict(delays.buckets())
    assert buckets[str(BOUNDS[0])] == 1
    assert buckets[str(BOUNDS[1])] == buckets[str(BOUNDS[-1])] == 2
    assert buckets["+Inf"] == 3


def test_memory_is_bounded() -> None:
    delays = told(*map(float, range(5000)))
    assert len(delays._told_at_s) == 1000
