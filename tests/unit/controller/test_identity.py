from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.identity import authored, completed, with_status
from controller.objects import Metadata, Object, Sandbox, Status, Ttl
from tests.support.objects import NOON, group, sandbox

LATER = NOON + timedelta(hours=1)


def key() -> str:
    return "generated"


def bare(object_: Object) -> Object:
    return replace(
        object_, metadata=Metadata(object_.metadata.name, object_.metadata.namespace, object_.metadata.labels)
    )


@pytest.mark.parametrize("make", [sandbox, group])
def test_what_is_left_out_is_added_and_kept(make: Callable[..., Object]) -> None:
    first = completed(bare(make("a", key=None)), None, NOON, key)
    assert first.spec.routing_key == "generated"
    assert first.metadata.uid
    assert (first.metadata.creation_timestamp, first.metadata.generation) == (NOON, 1)
    assert completed(bare(make("a", key=None)), first, LATER, lambda: "another") == first
    other = completed(bare(make("a", key=None)), None, NOON, key)
    assert other.metadata.uid != first.metadata.uid


def test_what_counts_as_a_change() -> None:
    first = completed(bare(sandbox("a")), None, NOON, key)
    labelled = completed(bare(sandbox("a", labels={"pr": "1"})), first, LATER, key)
    assert labelled.metadata.generation == 1  # of the spec alone, as in Kubernetes
    assert labelled.metadata.resource_version != first.metadata.resource_version
    changed = completed(bare(sandbox("a", ttl=Ttl("1h"))), labelled, LATER, key)
    assert changed.metadata.generation == 2
    assert changed.metadata.creation_timestamp == NOON
    told = with_status(changed, Status("k"))
    assert told.metadata == changed.metadata
    assert completed(bare(sandbox("a", ttl=Ttl("1h"))), told, LATER, key) == told


def test_another_key_is_another_object() -> None:
    first = with_status(completed(bare(sandbox("a")), None, NOON, key), Status("a"))
    other = completed(bare(sandbox("a", key="other")), first, LATER, key)
    assert other.metadata.uid != first.metadata.uid
    assert (other.metadata.creation_timestamp, other.metadata.generation) == (LATER, 1)
    assert other.status == Status()


def test_what_the_author_says_counts() -> None:
    found = completed(sandbox("a", created=NOON), None, LATER, key)
    assert (found.metadata.uid, found.metadata.creation_timestamp) == ("uid-hotrod-a", NOON)


def test_a_file_holds_what_does_not_change_by_itself() -> None:
    found = with_status(completed(bare(sandbox("a", key=None)), None, NOON, key), Status("a"))
    kept = authored(found)
    assert isinstance(kept, Sandbox)
    assert kept.status == Status()
    assert (kept.metadata.resource_version, kept.metadata.generation) == (None, None)
    assert with_status(completed(kept, None, LATER, lambda: "another"), found.status) == found
