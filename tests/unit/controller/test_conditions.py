from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from controller.conditions import Finding, findings_to_conditions, listed
from controller.objects import Status
from tests.support.objects import HOUR, NOON


def test_the_time_of_the_last_transition() -> None:
    first = findings_to_conditions([Finding("Ready", False, "NoDestination", "x")], Status(), 1, NOON)
    assert first[0].document() == {
        "type": "Ready",
        "status": "False",
        "reason": "NoDestination",
        "message": "x",
        "lastTransitionTime": "2026-11-25T12:00:00Z",
        "observedGeneration": 1,
    }
    # Another reason is no transition, another status is.
    second = findings_to_conditions([Finding("Ready", False, "Other")], Status(conditions=first), 2, NOON + HOUR)
    assert second == (replace(first[0], reason="Other", message="", observed_generation=2),)
    later = NOON + HOUR + timedelta(microseconds=5)
    third = findings_to_conditions([Finding("Ready", True, "Ready")], Status(conditions=second), 2, later)
    assert third[0].last_transition_time == NOON + HOUR


def test_messages_have_a_length() -> None:
    (condition,) = findings_to_conditions([Finding("Ready", True, "Ready", "x" * 9999)], Status(), None, NOON)
    assert len(condition.message) == 1024
    assert condition.message.endswith("x...")


def test_lists() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a; b"
    assert listed(map(str, range(12))) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more"
