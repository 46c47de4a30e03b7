"""What is counted once, since when, and what may be missing."""

from __future__ import annotations

import random

from controller.feed import traffic as traffic_module
from controller.feed.traffic import Gap, TrafficBook
from proxy.feed.messages import Count, Traffic
from tests.support.objects import workload

HERE, THERE = workload("here"), workload("there")
HOUR_S = 3600.0


def report(book: TrafficBook, at_s: float, *counts: tuple[str, int, int], seq: int = 1, **other: object) -> None:
    boot = str(other.pop("boot", "boot"))
    where = other.pop("where", HERE)
    message = Traffic(seq, tuple(Count(*each) for each in counts), lost=bool(other.pop("lost", False)))
    book.take("p", boot, where, message, at_s)  # type: ignore[arg-type]
    assert not other


def counts(book: TrafficBook, key: str = "k", since_s: float = 0.0) -> tuple[int, int]:
    found = book.answered(key, HERE, since_s)
    return found.from_sandbox, found.from_baseline


def gaps(book: TrafficBook, since_s: float = 0.0) -> list[tuple[str, str]]:
    return [(gap.proxy, gap.reason) for gap in book.answered("k", HERE, since_s).gaps]


def test_sums_by_key_and_workload() -> None:
    book = TrafficBook(0)
    report(book, 1, ("k", 2, 0), ("l", 0, 1))
    report(book, 2, ("k", 0, 3), seq=2)
    report(book, 2, ("k", 10, 10), boot="other", where=THERE)
    assert counts(book) == (2, 3)
    assert counts(book, "l") == (0, 1)
    assert counts(book, "m") == (0, 0)
    assert book.answered("k", THERE, 0).from_sandbox == 10


def test_the_same_report_counts_once() -> None:
    book = TrafficBook(0)
    report(book, 1, ("k", 1, 0), seq=1)
    report(book, 2, ("k", 1, 0), seq=1)
    report(book, 3, ("k", 1, 0), seq=2)
    report(book, 4, ("k", 1, 0), seq=1)
    assert counts(book) == (2, 0)
    report(book, 5, ("k", 1, 0), seq=1, boot="another process")
    assert counts(book) == (3, 0)


def test_processes_that_are_active_are_remembered() -> None:
    book = TrafficBook(0)
    before, traffic_module._MAX_BOOTS = traffic_module._MAX_BOOTS, 3  # type: ignore[misc]
    try:
        report(book, 0, ("k", 1, 0), seq=1, boot="busy")
        for number in range(10):
            report(book, number, ("k", 0, 0), boot=f"b{number}")
            report(book, number, ("k", 1, 0), seq=1, boot="busy")  # again
        assert counts(book) == (1, 0)
    finally:
        traffic_module._MAX_BOOTS = before  # type: ignore[misc]


def test_since() -> None:
    book = TrafficBook(0)
    for at_s in range(10):
        report(book, at_s, ("k", 1, 0), seq=at_s + 1)
    assert counts(book, since_s=5.0) == (5, 0)
    assert counts(book, since_s=9.5) == (0, 0)


def test_counts_of_many_proxies_do_not_move_in_time() -> None:
    """Each second has reports of many: what was before a time must not come after it."""
    book = TrafficBook(0)
    for tick in range(600):
        report(book, tick / 10, ("k", 0, 1), seq=tick + 1)
    report(book, 60.0, ("k", 1, 0), seq=601)
    assert counts(book, since_s=60.0) == (1, 0)
    assert counts(book, since_s=59.85) == (1, 1)
    assert counts(book, since_s=0) == (1, 600)


def test_old_counts_are_put_together_but_none_is_lost() -> None:
    book = TrafficBook(0)
    numbers = random.Random(7)
    at_s, times = 0.0, []
    for seq in range(1, 20_001):
        at_s += numbers.choice([0.01, 0.5, 1, 1, 1, 3])
        times.append(at_s)
        report(book, at_s, ("k", 1, 0), seq=seq)
    series = book._series["k", HERE]
    assert len(series) <= traffic_module._COUNTS
    assert book._held == len(series)
    assert counts(book) == (20_000, 0)
    for age_s in (0, 1, 10, 30, 100, 600, HOUR_S):
        since_s = at_s - age_s
        found = counts(book, since_s=since_s)[0]
        exact = sum(time_s >= since_s for time_s in times)
        at_most = sum(time_s >= since_s - 0.5 * age_s for time_s in times)
        assert exact <= found <= at_most, age_s
    assert counts(book, since_s=at_s - 10)[0] == sum(time_s >= at_s - 10 for time_s in times)  # exact


def test_counts_are_kept_for_a_day() -> None:
    book = TrafficBook(0)
    report(book, 0, ("k", 1, 0))
    report(book, 24 * HOUR_S + 1, ("k", 1, 0), seq=2)
    assert counts(book) == (1, 0)


def test_keys_that_are_too_many_are_a_gap_and_the_quiet_ones_go() -> None:
    book = TrafficBook(0)
    before, traffic_module._MAX_SERIES = traffic_module._MAX_SERIES, 100  # type: ignore[misc]
    try:
        for number in range(100):
            report(book, number, (f"k{number}", 1, 0), seq=number + 1)
        assert gaps(book) == []
        report(book, 100, ("new", 1, 0), seq=101)
    finally:
        traffic_module._MAX_SERIES = before  # type: ignore[misc]
    assert counts(book, "k9") == (0, 0)
    assert counts(book, "k10") == counts(book, "new") == (1, 0)
    [gap] = book.answered("k", HERE, 9).gaps
    assert (gap.proxy, gap.began_s, gap.ended_s) == ("the controller", 0, 9)
    assert book._held == 91


def test_an_overflow_of_the_proxy_is_a_gap_that_has_ended() -> None:
    book = TrafficBook(0)
    report(book, 5, ("k", 1, 0), lost=True)
    assert gaps(book, 5) == [("p", "it met more keys than it can count")]
    assert gaps(book, 5.1) == []


def test_a_proxy_that_comes_back_brings_its_counts() -> None:
    book = TrafficBook(0)
    book.lose(HERE, "p", "boot", "its connection broke", 10)
    assert gaps(book, 20) == [("p", "its connection broke")]
    assert book.answered("k", THERE, 0).gaps == ()
    book.found(HERE, "p", "boot", 30)
    assert gaps(book) == []


def test_another_process_by_the_same_name_does_not() -> None:
    book = TrafficBook(0)
    book.lose(HERE, "p", "boot", "its connection broke", 10)
    book.found(THERE, "p", "boot", 20)  # of another workload
    assert gaps(book, 25) == [("p", "its connection broke")]
    book.found(HERE, "p", "other", 30)
    assert gaps(book, 30) == [("p", "its connection broke")]
    assert gaps(book, 31) == []
    book.found(HERE, "p", "boot", 40)
    assert gaps(book, 0) == [("p", "its connection broke")]


def test_who_stays_away_counts_as_dead_after_an_hour() -> None:
    book = TrafficBook(0)
    book.lose(HERE, "p", "boot", "its connection broke", 10)
    assert gaps(book, 10 + HOUR_S) == [("p", "its connection broke")]
    assert gaps(book, 11 + HOUR_S) == []
    book.found(HERE, "p", "boot", 10 + 2 * HOUR_S)  # it was alive all the time, and has kept everything
    assert gaps(book, 0) == []


def test_no_gap_is_pushed_out_by_others() -> None:
    book = TrafficBook(0)
    book.lose(HERE, "dead", "boot", "its connection broke", 10)
    book.lose(HERE, "replaced", "boot", "its connection broke", 10)
    book.found(HERE, "replaced", "another", 20)
    for number in range(3000):
        report(book, 20 + number / 100, lost=True, boot=f"b{number}")
        book.lose(HERE, f"p{number}", "boot", "its connection broke", 20 + number / 100)
        book.found(HERE, f"p{number}", "another", 21 + number / 100)
    found = book.answered("k", HERE, 0).gaps
    assert len(found) <= 110
    assert Gap("dead", "its connection broke", 10, None) in found
    assert min(gap.began_s for gap in found if gap.ended_s is not None) == 10


def test_open_gaps_are_bounded_and_stay_gaps() -> None:
    book = TrafficBook(0)
    before, traffic_module._MAX_OPEN = traffic_module._MAX_OPEN, 10  # type: ignore[misc]
    try:
        for number in range(25):
            book.lose(HERE, f"p{number}", "boot", "its connection broke", number)
    finally:
        traffic_module._MAX_OPEN = before  # type: ignore[misc]
    found = book.answered("k", HERE, 24).gaps
    assert sum(gap.ended_s is None for gap in found) == 10
    assert {gap.proxy for gap in found} == {f"p{number}" for number in range(25)}
