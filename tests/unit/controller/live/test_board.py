"""Rows with revisions: whoever reads all that is since what it saw has what there is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.live import board as boards
from controller.live.board import Audience, Board, Delta

ALL: Audience = None
ONE: Audience = frozenset(["one"])
TWO: Audience = frozenset(["two"])


class Reader:
    """Has what it was told."""

    def __init__(self, audience: Audience = ALL) -> None:
        self.audience = audience
        self.revision: int | None = None
        self.rows: dict[str, object] = {}

    def read(self, board: Board) -> Delta:
        delta = board.since(self.revision, self.audience)
        if delta.is_all:
            self.rows = {}
        for id_ in delta.gone:
            self.rows.pop(id_, None)  # it may have come and gone since
        for row in map(json.loads, delta.rows):
            self.rows[row.pop("id")] = row["value"]
        self.revision = delta.revision
        return delta


def put(board: Board, id_: str, value: object, scope: str = "one") -> None:
    board.put(id_, {"value": value}, frozenset([scope]))


def test_all_then_what_changed() -> None:
    board, reader = Board(), Reader()
    put(board, "a", 1)
    put(board, "b", 1)
    assert reader.read(board).is_all
    assert reader.read(board).is_empty
    put(board, "a", 2)
    delta = reader.read(board)
    assert [json.loads(row) for row in delta.rows] == [{"id": "a", "value": 2}]
    assert not delta.is_all
    board.drop("b")
    board.drop("unheard-of")
    assert reader.read(board).gone == ["b"]
    assert reader.rows == {"a": 2}


def test_what_is_the_same_is_no_change() -> None:
    board, reader = Board(), Reader()
    for id_ in "abc":
        put(board, id_, 1)
    reader.read(board)
    revision = board.revision
    put(board, "a", 1)
    assert board.revision == revision
    put(board, "c", 2)
    assert len(reader.read(board).rows) == 1  # `a` kept its place among the revisions


def test_a_row_is_encoded_once_for_all_who_see_the_same() -> None:
    board = Board()
    asked: list[Audience] = []

    def document(audience: Audience) -> dict[str, object]:
        asked.append(audience)
        return {"value": sorted(audience or ())}

    board.put_for_each("table", 1, document)
    assert asked == []
    deltas = [board.since(None, audience) for audience in (ALL, ONE, ALL, ONE, ALL)]
    assert asked == [ALL, ONE]
    assert deltas[0] is deltas[2]
    board.put_for_each("table", 1, document)
    assert board.since(deltas[0].revision, ALL).is_empty
    put(board, "a", 1)
    assert len(board.since(deltas[0].revision, ALL).rows) == 1


def test_each_sees_what_it_may() -> None:
    board, one, two = Board(), Reader(ONE), Reader(TWO)
    put(board, "a", 1, "one")
    put(board, "b", 1, "two")
    board.put("c", {"value": 1}, None)
    one.read(board), two.read(board)
    assert (sorted(one.rows), sorted(two.rows)) == (["a", "c"], ["b", "c"])
    put(board, "a", 2, "two")  # moved
    board.drop("b")
    assert one.read(board).gone == ["a"]
    assert two.read(board).gone == ["b"]
    assert two.rows == {"a": 2, "c": 1}


def test_who_was_away_for_long_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "_REMOVALS", 3)
    board, early, late = Board(), Reader(), Reader()
    for number in range(4):
        put(board, str(number), 0)
    early.read(board)
    board.drop("0")
    late.read(board)
    for number in range(1, 4):
        board.drop(str(number))
    assert late.read(board).gone == ["3", "2", "1"]
    assert early.read(board).is_all  # nobody remembers that `0` went
    assert early.rows == late.rows == {}


@pytest.mark.parametrize("revision", [-1, 99])
def test_a_revision_that_never_was(revision: int) -> None:
    board = Board()
    put(board, "a", 1)
    assert board.since(revision, ALL).is_all


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(0, 2), st.sampled_from(["one", "two"])),
        st.tuples(st.just("drop"), st.sampled_from("abc")),
        st.tuples(st.just("read"), st.integers(0, 2)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_whoever_reads_at_any_time_has_what_there_is(steps: list[tuple[object, ...]]) -> None:
    board = Board()
    readers = [Reader(ALL), Reader(ONE), Reader(TWO)]
    truth: dict[str, tuple[object, str]] = {}
    for step in steps:
        match step:
            case ("put", str(id_), value, str(scope)):
                put(board, id_, value, scope)
                truth[id_] = value, scope
            case ("drop", str(id_)):
                board.drop(id_)
                truth.pop(id_, None)
            case ("read", int(number)):
                readers[number].read(board)
    for reader in readers:
        reader.read(board)
        audience = reader.audience
        assert reader.rows == {
            id_: value for id_, (value, scope) in truth.items() if audience is None or scope in audience
        }
