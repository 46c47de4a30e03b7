from __future__ import annotations

import json
from datetime import timedelta

import pytest

from controller.errors import ObjectError
from controller.memory import KeyMemory, gone, live, read_memory
from tests.support.objects import HOUR, NOON, workload

A, B = workload("a"), workload("b")


def test_a_key_that_lives() -> None:
    first = live(None, "hotrod", frozenset({A, B}), NOON)
    assert first == KeyMemory("hotrod", None, {A: None, B: None})
    assert first.next_expiry is None
    second = live(first, "hotrod", frozenset({A}), NOON)
    assert second.routes == {A: None, B: NOON + HOUR}
    assert second.next_expiry == NOON + HOUR
    later = live(second, "hotrod", frozenset({A}), NOON + HOUR / 2)
    assert later.routes == {A: None, B: NOON + HOUR}
    assert live(later, "hotrod", frozenset({A}), NOON + HOUR).routes == {A: None}
    assert live(later, "hotrod", frozenset({A, B}), NOON + HOUR / 2).routes == {A: None, B: None}


def test_a_key_that_goes() -> None:
    record = gone(KeyMemory("hotrod", None, {A: None, B: NOON + HOUR / 2}), NOON)
    assert record == KeyMemory("hotrod", NOON + HOUR, {A: NOON + HOUR, B: NOON + HOUR / 2})
    assert record is not None
    assert record.next_expiry == NOON + HOUR / 2
    assert gone(record, NOON + HOUR / 2) == KeyMemory("hotrod", NOON + HOUR, {A: NOON + HOUR})
    assert gone(record, NOON + HOUR) is None
    back = live(record, "hotrod", frozenset({B}), NOON + HOUR / 4)
    assert back == KeyMemory("hotrod", None, {A: NOON + HOUR, B: None})


def test_a_clock_that_was_ahead() -> None:
    far = NOON + timedelta(days=10_000)
    record = gone(KeyMemory("hotrod", far, {A: far}), NOON)
    assert record == KeyMemory("hotrod", NOON + HOUR, {A: NOON + HOUR})


@pytest.mark.parametrize(
    "record",
    [KeyMemory("a"), KeyMemory("a", NOON), KeyMemory("a", NOON + timedelta(microseconds=1), {A: None, B: NOON})],
)
def test_round_trip(record: KeyMemory) -> None:
    assert read_memory(json.loads(json.dumps(record.document()))) == record


def test_records_are_small() -> None:
    assert len(json.dumps(KeyMemory("hotrod", NOON, {A: NOON}).document())) < 160


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (7, "document: must be an object, is 7"),
        ({}, "namespace: missing"),
        (
            {"namespace": "a b"},
            "namespace: must be 1-63 of a-z 0-9 -, first and last alphanumeric (RFC 1123), is 'a b'",
        ),
        ({"namespace": "a", "goneUntil": 1}, "goneUntil: must be a string: quote it, is 1"),
        ({"namespace": "a", "until": 1}, "until: unknown field"),
        ({"namespace": "a", "routes": []}, "routes: must be an object, is a list"),
        ({"namespace": "a", "routes": {"x": None}}, "routes: must be namespace/kind/name, is 'x'"),
        ({"namespace": "a", "routes": {1: None}}, "routes: must be namespace/kind/name, is ''"),
        (
            {"namespace": "a", "routes": {"n/D/x": "soon"}},
            "routes.n/D/x: must be null or a timestamp like 2026-11-25T10:00:00Z, is 'soon'",
        ),
    ],
)
def test_faults(document: object, fault: str) -> None:
    with pytest.raises(ObjectError) as caught:
        read_memory(document)
    assert caught.value.faults == [fault]
