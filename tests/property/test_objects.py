"""Properties of objects and their documents: nothing is lost; whatever comes in, faults are named by their place."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ObjectError
from controller.objects import Object
from controller.schema import read_object, read_ref
from tests.support.objects import OBJECTS

QUICK = settings(deadline=None, max_examples=200, derandomize=True)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)


def faults_of(value: object) -> list[str]:
    """What is wrong; any other exception than ours ends the test."""
    try:
        read_object(value)
    except ObjectError as error:
        return error.faults
    return []


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a document: fields and entries."""
    found = [path]
    if isinstance(value, dict):
        for name, entry in value.items():
            found += places(entry, (*path, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            found += places(entry, (*path, index))
    return found


def shown(path: tuple[object, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


@QUICK
@given(OBJECTS)
def test_round_trip(object_: Object) -> None:
    document = json.loads(json.dumps(object_.document()))
    assert read_object(document) == object_
    assert read_ref(document) == object_.ref


@QUICK
@given(JUNK)
def test_anything_is_refused_by_its_faults(value: object) -> None:
    faults = faults_of(value)
    assert faults
    assert all(fault.isascii() and fault.isprintable() for fault in faults)


@QUICK
@given(OBJECTS, st.data(), JUNK)
def test_faults_are_named_by_their_place(object_: Object, data: st.DataObject, junk: object) -> None:
    document: Any = copy.deepcopy(object_.document())
    # Places that take anything, and those whose meaning other fields depend on, say nothing here.
    candidates = [
        path
        for path in places(document)[1:]
        if "patch" not in path and "annotations" not in path and path[0] != "kind" and shown(path).isascii()
    ]
    path = data.draw(st.sampled_from(candidates))
    parent = document
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = junk
    faults = faults_of(document)
    if not faults:
        read = read_object(document)
        assert read_object(read.document()) == read
    else:
        # Another field may be at fault in the light of this one (an endpoint's length), never instead.
        area = shown(path[:2])
        assert any(fault.startswith(area) or "must change a workload" in fault for fault in faults)
        assert all(fault.startswith(str(path[0])) for fault in faults)


@QUICK
@given(OBJECTS, st.data())
def test_unknown_fields_are_faults(object_: Object, data: st.DataObject) -> None:
    document: Any = copy.deepcopy(object_.document())
    free = ("labels", "annotations", "patch")
    objects = [
        path
        for path in places(document)
        if not any(part in free for part in path) and isinstance(at(document, path), dict)
    ]
    path = data.draw(st.sampled_from(objects))
    at(document, path)["surprise"] = 1
    faults = faults_of(document)
    # `match` and `valueFrom` have one field, and say so.
    assert f"{shown((*path, 'surprise'))}: unknown field" in faults or any("must have one of" in f for f in faults)


def at(document: Any, path: tuple[object, ...]) -> Any:
    for part in path:
        document = document[part]
    return document
