"""Properties of files: what is written is read back, and a change touches one document."""

from __future__ import annotations

import json
from contextlib import suppress

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.documents import parse_piece, pieces, removed, rendered, replaced
from controller.errors import ObjectError
from controller.objects import Object
from proxy.routing.text import parse_text
from tests.support.badtables import YAML_PIECES
from tests.support.objects import OBJECTS

QUICK = settings(deadline=None, max_examples=300, derandomize=True)

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    [*"~-?:,[]{}#&*!|>'\"%@`", "no", "On", "1", "0x1", "0o7", "1_0", "1:30", ".5", "1e5", "---", "- a", "a: b", "a #b"]
)
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)
_FILES = st.lists(st.dictionaries(_TEXT, _PLAIN, min_size=1, max_size=2), min_size=1, max_size=4)


def values(raw: bytes) -> list[object]:
    return [parse_piece(raw, piece) for piece in pieces(raw)]


@QUICK
@given(st.dictionaries(_TEXT, _PLAIN, min_size=1))
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert values(rendered(value)) == [value]


@QUICK
@given(OBJECTS)
def test_objects_mean_the_same_to_everybody(object_: Object) -> None:
    """Also to readers of YAML 1.1."""
    document = json.loads(json.dumps(object_.document()))
    assert parse_text(rendered(document)) == document
    assert yaml.safe_load(rendered(document)) == document


@QUICK
@given(_FILES, st.data(), st.dictionaries(_TEXT, _PLAIN, min_size=1, max_size=2))
def test_a_change_touches_one_document(
    documents: list[dict[str, object]], data: st.DataObject, fresh: dict[str, object]
) -> None:
    between = data.draw(
        st.sampled_from([b"---\n", b"# why\n---\n# what\n", b"...\n---\n", b"---\n---\n", b"--- # a\n"])
    )
    start = data.draw(st.sampled_from([b"", b"---\n", b"# license\n---\n", b"\xef\xbb\xbf"]))
    raw = start + between.join(map(rendered, documents))
    assert values(raw) == documents
    place = data.draw(st.integers(0, len(documents) - 1))
    piece = pieces(raw)[place]
    assert values(replaced(raw, piece, fresh)) == [*documents[:place], fresh, *documents[place + 1 :]]
    assert values(replaced(raw, None, fresh)) == [*documents, fresh]
    without = removed(raw, piece)
    assert values(without or b"") == [*documents[:place], *documents[place + 1 :]]
    assert (without is None) == (len(documents) == 1)


@QUICK
@given(st.lists(st.sampled_from([*YAML_PIECES, "---", "...\n", "{", '"']), max_size=25))
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    raw = "".join(parts).encode()
    for piece in pieces(raw):
        with suppress(ObjectError):  # no other exception
            parse_piece(raw, piece)
