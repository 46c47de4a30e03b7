from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

from proxy import speaking
from proxy.speaking import MANY, PERIOD_S, Operator, Throttle


class Ears:
    """A logger whose lines go into a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.log = logging.Logger("test")
        self.log.addHandler(Operator(self.writer))

    def heard(self) -> list[str]:
        found = b""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reader, 65536):
                found += data
        return found.decode().splitlines()


@pytest.fixture
def ears() -> Iterator[Ears]:
    found = Ears()
    yield found
    os.close(found.reader)
    os.close(found.writer)


def test_a_line(ears: Ears) -> None:
    ears.log.warning("table %s refused", "a.yaml")
    assert ears.heard() == ["pointsman proxy: table a.yaml refused"]


def test_no_input_makes_a_line(ears: Ears) -> None:
    ears.log.warning("said: %s", "a\nb\x1b[2J\x9b\u2028\r\udcff")
    assert ears.heard() == ["pointsman proxy: said: a\\x0ab\\x1b[2J\\x9b\\x2028\\x0d\\udcff"]


def test_a_fault_comes_with_where_it_happened(ears: Ears) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        ears.log.exception("task failed")
    heard = ears.heard()
    assert heard[0] == "pointsman proxy: task failed"
    assert heard[-1] == "ValueError: no"


def test_nobody_reads(ears: Ears) -> None:
    """The pipe is full after 64 KiB; whoever logs goes on, and the next line that is taken says what is missing."""
    for number in range(300):
        ears.log.warning(f"line {number} %s", "x" * 1000)
    heard = ears.heard()
    assert 10 < len(heard) < 300
    assert all(line.startswith("pointsman proxy: line ") and line.endswith("x" * 1000) for line in heard)
    ears.log.warning("here again")
    assert ears.heard() == [f"pointsman proxy: here again ({300 - len(heard)} lines were lost: nobody read them)"]
    ears.log.warning("and well")
    assert ears.heard() == ["pointsman proxy: and well"]


def test_the_reader_is_gone(ears: Ears) -> None:
    os.close(ears.reader)
    ears.log.warning("to nobody")
    ears.reader, other = os.pipe()
    os.close(other)


def test_the_same_line_is_said_once_a_minute(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(speaking.time, "monotonic", lambda: now_s)
    for _ in range(50):
        ears.log.warning("%s fails", "a")
    assert ears.heard() == ["pointsman proxy: a fails"]
    now_s += PERIOD_S
    ears.log.warning("%s fails", "a")
    assert ears.heard() == ["pointsman proxy: a fails (49 lines were left out that said the same or much the same)"]


class TestThrottle:
    def test_many_of_one_kind(self) -> None:
        throttle = Throttle()
        said = [throttle.left_out("pool", "fails", f"{number} fails", 0.0) for number in range(MANY + 5)]
        assert said == [0] * MANY + [None] * 5
        assert throttle.left_out("pool", "else", "else", 1.0) == 5
        assert throttle.left_out("pool", "fails", "again", 2.0) is None
        assert throttle.left_out("pool", "fails", "again", PERIOD_S) == 1

    def test_what_was_well_meanwhile_is_said_again(self) -> None:
        throttle = Throttle()
        turns = [("fails", 0), ("fails", None), ("answers", 1), ("fails", 0), ("fails", None)]
        assert [throttle.left_out("pool", kind, kind, 0.0) for kind, _ in turns] == [said for _, said in turns]

    def test_another_part_of_the_program_does_not_count(self) -> None:
        throttle = Throttle()
        assert throttle.left_out("pool", "fails", "fails", 0.0) == 0
        assert throttle.left_out("table", "in force", "in force", 0.0) == 0
        assert throttle.left_out("pool", "fails", "fails", 0.0) is None

    def test_it_remembers_so_much(self) -> None:
        throttle = Throttle()
        for number in range(5000):
            throttle.left_out("pool", "fails", f"line {number}", 0.0)
        assert sum(map(len, throttle._lines.values())) == MANY
