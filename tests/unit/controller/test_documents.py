from __future__ import annotations

import pytest

from controller.documents import parse_piece, pieces, removed, rendered, replaced
from controller.errors import ObjectError

TWO = b"# first\na: 1 # one\n---\n# second\nb:   [2]\n"


def test_pieces_and_their_lines() -> None:
    raw = b"# license\n---\na: 1\n---\n\n---\n# two\nb: |\n  x\n  ---\n---  # three\nc: 3\n...\n"
    assert [piece.line for piece in pieces(raw)] == [2, 6, 11]
    assert [parse_piece(raw, piece) for piece in pieces(raw)] == [{"a": 1}, {"b": "x\n---\n"}, {"c": 3}]


def test_lines_end_in_any_way() -> None:
    raw = b"a: 1\r\n---\r\nb: 2\r\n---"
    assert [parse_piece(raw, piece) for piece in pieces(raw)] == [{"a": 1}, {"b": 2}]


def test_no_documents() -> None:
    assert pieces(b"") == pieces(b"# only\n---\n  # comments\n...\n") == []


def test_json() -> None:
    raw = b'{"a": 1}\n---\n{"b": "---"}'
    assert [parse_piece(raw, piece) for piece in pieces(raw)] == [{"a": 1}, {"b": "---"}]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"a: 1\n---\nb: 1\nb: 2\n", "line 4 column 1: field 'b' stands twice in one object"),
        (b"a: 1\n---\n\n[}\n", "line 4 column 2: not YAML: while parsing a flow node"),
        (b"a: 1\n---\n{,\n", "line 3 column 2: not JSON: Expecting property name"),
        (b"a: 1\n---\nb: \xff\n", "line 3 column 4: must be UTF-8, byte 0xff is not"),
        (b"a: 1\n---\nb: 1\n...\nc: 1\n", "line 5 column 1: not YAML: did not find expected <document start>"),
    ],
)
def test_a_fault_names_the_files_line(raw: bytes, fault: str) -> None:
    first, second = pieces(raw)
    assert parse_piece(raw, first) == {"a": 1}
    with pytest.raises(ObjectError) as caught:
        parse_piece(raw, second)
    assert caught.value.faults[0].startswith(fault)


def test_others_stay_as_they_are() -> None:
    first, second = pieces(TWO)
    assert replaced(TWO, first, {"c": 1}) == b"c: 1\n---\n# second\nb:   [2]\n"
    assert replaced(TWO, second, {"c": 1}) == b"# first\na: 1 # one\n---\nc: 1\n"
    assert replaced(TWO, None, {"c": 1}) == TWO + b"---\nc: 1\n"
    assert replaced(b"", None, {"c": 1}) == b"c: 1\n"
    assert replaced(b"a: 1", None, {"c": 1}) == b"a: 1\n---\nc: 1\n"
    assert removed(TWO, first) == b"---\n# second\nb:   [2]\n"
    assert removed(TWO, second) == b"# first\na: 1 # one\n"
    assert removed(b"# x\n---\na: 1\n", pieces(b"# x\n---\na: 1\n")[0]) is None


def test_what_is_written_reads_well() -> None:
    document = {
        "metadata": {"name": "pr-1", "labels": {"pr": "1", "on": "no"}, "annotations": {}},
        "spec": {
            "local": [{"from": {"kind": "Deployment"}, "mappings": [{"port": 1, "toLocal": "h:1"}, [], [[1, 2]]]}]
        },
        "text": 'a "b"\n\u2028\x85ä',
        "numbers": [1, -1, 0.5, 1e300, True, None],
    }
    assert rendered(document).decode() == (
        "metadata:\n"
        "  name: pr-1\n"
        "  labels:\n"
        '    pr: "1"\n'
        '    "on": "no"\n'
        "  annotations: {}\n"
        "spec:\n"
        "  local:\n"
        "  - from:\n"
        "      kind: Deployment\n"
        "    mappings:\n"
        "    - port: 1\n"
        "      toLocal: h:1\n"
        "    - []\n"
        "    - - - 1\n"
        "        - 2\n"
        'text: "a \\"b\\"\\n\\u2028\\u0085ä"\n'
        "numbers:\n"
        "- 1\n"
        "- -1\n"
        "- 0.5\n"
        "- 1.0e+300\n"
        "- true\n"
        "- null\n"
    )
