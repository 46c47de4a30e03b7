import select
import time

import pytest

from benchmarks.schedule import AlarmClock, Schedule


@pytest.mark.parametrize("rate", [1, 7, 999, 1000, 3000, 1_000_003])
def test_due_counts_the_requests_whose_time_has_come(rate: int) -> None:
    schedule = Schedule(1_000, rate)
    for number in (0, 1, 2, 3, 10, 1000, 123_457):
        at = schedule.intended_ns(number)
        assert schedule.due(at) >= number + 1
        assert schedule.due(at - 1) <= number
        assert schedule.intended_ns(schedule.due(at) - 1) <= at


def test_nothing_is_due_before_the_start() -> None:
    schedule = Schedule(5_000, 1000)
    assert schedule.due(0) == schedule.due(4_999) == 0
    assert schedule.due(5_000) == 1


def test_no_error_adds_up() -> None:
    assert Schedule(0, 3).intended_ns(3_000_000) == 1_000_000 * 1_000_000_000


def test_the_clock_wakes_at_the_time_set_and_not_again() -> None:
    clock = AlarmClock()
    try:
        wanted_ns = time.monotonic_ns() + 2_500_000
        clock.wake_at(wanted_ns)
        assert select.select([clock.fd], [], [], 1.0)[0]
        assert time.monotonic_ns() >= wanted_ns
        clock.wake_at(time.monotonic_ns() + 10_000_000_000)
        assert not select.select([clock.fd], [], [], 0.01)[0]
    finally:
        clock.close()


def test_a_time_that_is_over_wakes_at_once() -> None:
    clock = AlarmClock()
    try:
        clock.wake_at(time.monotonic_ns() - 1_000_000)
        assert select.select([clock.fd], [], [], 1.0)[0]
    finally:
        clock.close()
