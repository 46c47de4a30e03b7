"""Deltas as events, and who has seen which."""

from __future__ import annotations

import json

import pytest

from controller.live.board import Audience, Delta, encode
from controller.rest import live
from controller.rest.live import pieces, seen, stream_name


def events(delta: Delta) -> list[tuple[str | None, list[int], list[str]]]:
    """Of each: its id, its rows, and what is gone."""
    found = []
    for piece in pieces(delta, "name"):
        assert piece.endswith(b"\n\n")
        fields = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
        data = json.loads(fields.pop("data"))
        assert fields.pop("event") == "rows"
        found.append((fields.get("id"), [row["n"] for row in data["rows"]], data.get("gone", [])))
    return found


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, [("name-7", [], ["x"])]),
        (1, [("name-7", [0], ["x"])]),
        (2, [("name-7", [0, 1], ["x"])]),
        (3, [(None, [0, 1], []), ("name-7", [2], ["x"])]),
        (4, [(None, [0, 1], []), ("name-7", [2, 3], ["x"])]),
        (5, [(None, [0, 1], []), (None, [2, 3], []), ("name-7", [4], ["x"])]),
    ],
)
def test_pieces(monkeypatch: pytest.MonkeyPatch, count: int, expected: list[object]) -> None:
    monkeypatch.setattr(live, "_PIECE", 2)
    rows = [encode({"n": number}) for number in range(count)]
    assert events(Delta(7, rows, ["x"], is_all=False)) == expected


def test_a_text_cannot_end_an_event() -> None:
    row = encode({"n": 0, "text": "a\n\ndata: b\r\n\r\n\u2028"})
    (found,) = events(Delta(7, [row], ["\n\nid: 9\n\n"], is_all=False))
    assert found == ("name-7", [0], ["\n\nid: 9\n\n"])


def test_ids_of_a_stream_and_of_others() -> None:
    name = stream_name("epoch", None)
    assert seen(f"{name}-12", name) == 12
    others: list[tuple[str, Audience]] = [("another", None), ("epoch", frozenset()), ("epoch", frozenset(["a"]))]
    for epoch, audience in others:
        assert seen(f"{stream_name(epoch, audience)}-12", name) is None
    for ending in ("", "-", "-x", "--1", f"-{'9' * 16}", "-\u0661"):
        assert seen(name + ending, name) is None
    assert seen("", name) is None
    assert stream_name("e", frozenset(["a", "b"])) == stream_name("e", frozenset(["b", "a"]))
    assert stream_name("e", frozenset(["a\nb"])) != stream_name("e", frozenset(["c"]))
