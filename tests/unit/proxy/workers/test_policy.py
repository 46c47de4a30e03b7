"""When a worker is replaced, when all is given up, when one counts as silent."""

from __future__ import annotations

from proxy.workers.policy import SILENT_S, Deaths, Pulse


def test_one_death_is_no_reason_to_wait() -> None:
    deaths = Deaths(2)
    for hour in range(100):
        assert deaths.died(1, 3000.0, hour * 3600.0) == 0


def test_who_dies_of_its_start_waits_longer_each_time() -> None:
    """Of each worker for itself."""
    deaths = Deaths(50)
    waits = [deaths.died(1, 0.2, float(second)) for second in range(10)]
    assert waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert deaths.died(2, 0.2, 11.0) == 0
    assert deaths.died(1, 10.0, 30.0) == 0, "it had lived"
    assert deaths.died(1, 1.0, 31.0) == 0.1


def test_five_deaths_in_a_minute_are_too_many() -> None:
    """Whoever's they are."""
    deaths = Deaths(2)
    assert [deaths.died(1 + n % 2, 100.0, 10.0 * n) is None for n in range(5)] == [False] * 4 + [True]


def test_five_deaths_in_more_than_a_minute_are_not() -> None:
    deaths = Deaths(2)
    assert all(deaths.died(1, 100.0, 15.0 * n) is not None for n in range(50))


def test_all_at_once_is_no_repetition() -> None:
    deaths = Deaths(8)
    assert all(deaths.died(n, 100.0, 1.0) is not None for n in range(1, 9))
    assert deaths.died(1, 1.0, 2.0) is None


def test_what_files_say_is_tried_for_ever() -> None:
    """And is no death."""
    deaths = Deaths(2)
    assert [deaths.refused(1) for _ in range(7)] == [1, 2, 4, 8, 10, 10, 10]
    assert deaths.refused(2) == 1
    deaths.started(1)
    assert deaths.refused(1) == 1
    assert deaths.died(1, 1.0, 1.0) == 0


def test_silence_is_told_once_and_so_is_its_end() -> None:
    pulse = Pulse(100.0)
    assert pulse.beat(101.0) is None
    assert not pulse.has_fallen_silent(101.0 + SILENT_S - 0.1)
    assert not pulse.is_silent
    assert pulse.has_fallen_silent(101.0 + SILENT_S)
    assert pulse.is_silent
    assert not pulse.has_fallen_silent(120.0)
    assert pulse.beat(121.0) == 20.0
    assert not pulse.is_silent
    assert pulse.beat(122.0) is None
