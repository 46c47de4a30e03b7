"""Connections that say nothing."""

from __future__ import annotations

from controller.rest.patience import FIRST_HEAD_S, Patience


class Connection:
    def __init__(self) -> None:
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True


def test_who_says_nothing_is_cut() -> None:
    patience, talks, silent, late = Patience(), Connection(), Connection(), Connection()
    assert patience.look([talks, silent], 100.0) == 0
    patience.heard(talks)
    assert patience.look([talks, silent, late], 100.0 + FIRST_HEAD_S - 0.1) == 0
    assert patience.look([talks, silent, late], 100.0 + FIRST_HEAD_S) == 1
    assert [each.is_closed for each in (talks, silent, late)] == [False, True, False]


def test_nothing_is_kept_of_those_that_went() -> None:
    patience = Patience()
    for number in range(100):
        connections = [Connection() for _ in range(5)]
        patience.heard(connections[0])
        patience.look(connections, float(number))
    assert len(patience._heard) + len(patience._silent) == 5
