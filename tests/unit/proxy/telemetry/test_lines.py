from __future__ import annotations

import threading

from proxy.telemetry.lines import Lines
from proxy.telemetry.metrics import Metrics


class Sink:
    """Lines whose calls are counted."""

    def __init__(self, max_bytes: int = 10) -> None:
        self.metrics = Metrics()
        self.woken = self.told_full = 0
        self.lines = Lines(self.metrics, self._wake, self._full, max_bytes)

    def _wake(self) -> None:
        self.woken += 1

    def _full(self) -> None:
        self.told_full += 1


def test_the_taker_is_woken_once() -> None:
    sink = Sink()
    sink.lines.put("a\n")
    sink.lines.put("b\n")
    assert sink.woken == 1
    assert sink.lines.take() == ["a\n", "b\n"]
    sink.lines.put("c\n")
    assert sink.woken == 1  # it has not said that it sleeps
    sink.lines.sleeps = True
    sink.lines.put("d\n")
    assert sink.woken == 2


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    sink = Sink()
    for _ in range(4):
        sink.lines.put("1234\n")
    assert (sink.metrics.log_lines, sink.metrics.log_lines_dropped, sink.told_full) == (2, 2, 1)


def test_lines_count_until_they_are_written() -> None:
    sink = Sink()
    sink.lines.put("12345678\n")
    sink.lines.take()
    assert sink.lines.is_empty
    sink.lines.put("1234\n")
    assert sink.metrics.log_lines_dropped == 1
    sink.lines.written(9)
    sink.lines.put("1234\n")
    assert sink.lines.take() == ["1234\n"]
    sink.lines.written(5)
    sink.lines.put("123456789\n")
    sink.lines.put("1\n")
    assert sink.told_full == 2  # of each time that it gets full


def test_nothing_is_lost_between_threads() -> None:
    sink = Sink(1 << 30)
    taken: list[str] = []
    is_over = threading.Event()

    def take() -> None:
        while not is_over.is_set() or not sink.lines.is_empty:
            taken.extend(sink.lines.take())

    thread = threading.Thread(target=take)
    thread.start()
    expected = [f"{number}\n" for number in range(100_000)]
    for line in expected:
        sink.lines.put(line)
    is_over.set()
    thread.join(30)
    assert taken == expected
