from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from controller.errors import ObjectError
from controller.objects import RouteGroup, Sandbox
from controller.schema import change_faults, read_object, read_ref
from proxy.routing.text import parse_text

CORPUS = Path(__file__).parents[2] / "corpus" / "objects"
VALID = sorted((CORPUS / "valid").iterdir())
INVALID = sorted((CORPUS / "invalid").iterdir())


def document(name: str) -> Any:
    return parse_text((CORPUS / "valid" / f"{name}.yaml").read_bytes())


def faults_of(value: object) -> list[str]:
    with pytest.raises(ObjectError) as caught:
        read_object(value)
    return caught.value.faults


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid(path: Path) -> None:
    value = parse_text(path.read_bytes())
    before = copy.deepcopy(value)
    found = read_object(value)
    assert value == before
    written = found.document()
    assert read_object(written) == found
    assert read_object(json.loads(json.dumps(written))) == found
    assert contains(written, before), "something was lost"


def contains(larger: object, smaller: object) -> bool:
    """Whether all of a document stands in another, which may say more (defaults) and write times its own way."""
    if isinstance(larger, dict) and isinstance(smaller, dict):
        return all(value is None or contains(larger.get(name), value) for name, value in smaller.items())
    if isinstance(larger, list) and isinstance(smaller, list):
        return len(larger) == len(smaller) and all(map(contains, larger, smaller))
    return larger == smaller or smaller == "2026-11-25T12:00:00+01:00"


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path: Path) -> None:
    raw = path.read_bytes()
    expected = [line.removeprefix("# fault: ") for line in raw.decode().splitlines() if line.startswith("# fault: ")]
    assert expected
    assert sorted(faults_of(parse_text(raw))) == sorted(expected)


def test_defaults() -> None:
    sandbox = read_object(document("least"))
    assert isinstance(sandbox, Sandbox)
    assert sandbox.metadata.namespace == "default"
    assert sandbox.spec.routing_key is None
    group = read_object(document("route-group-nested"))
    assert isinstance(group, RouteGroup)
    assert group.spec.ttl is not None
    assert group.spec.ttl.from_ == "updated"
    assert group.metadata.creation_timestamp is None


def test_times_are_utc() -> None:
    metadata = read_object(document("everything")).metadata
    assert metadata.document()["creationTimestamp"] == "2026-11-25T10:00:00.123456Z"
    assert metadata.document()["deletionTimestamp"] == "2026-11-25T11:00:00Z"


@pytest.mark.parametrize("kind", ["any", "all"])
def test_match_has_a_depth(kind: str) -> None:
    def nested(depth: int) -> dict[str, object]:
        match: dict[str, object] = {"label": {"key": "a", "value": "b"}}
        for _ in range(depth):
            match = {kind: [match]}
        return {**document("spec-8-route-group"), "spec": {"match": match}}

    read_object(nested(8))
    assert faults_of(nested(9)) == [f"spec.match{f'.{kind}[0]' * 9}: must be nested at most 8 deep"]
    assert len(faults_of(nested(900))) == 1


def test_a_patch_has_a_depth() -> None:
    def nested(depth: int) -> dict[str, object]:
        patch: object = []
        for _ in range(depth):
            patch = {"a": patch}
        fork = {**document("least")["spec"]["forks"][0], "customizations": {"patch": {"type": "merge", "value": patch}}}
        return {**document("least"), "spec": {"forks": [fork]}}

    read_object(nested(24))
    (fault,) = faults_of(nested(25))
    assert fault.endswith(": must be nested at most 24 deep")
    assert len(faults_of(nested(5000))) == 1


def test_lists_have_a_length() -> None:
    value = document("least")
    value["spec"]["forks"] = [
        {"forkOf": {"kind": "Deployment", "namespace": "n", "name": f"w{index}"}} for index in range(257)
    ]
    assert faults_of(value) == ["spec.forks: must hold 0-256 entries, holds 257"]
    value["spec"]["forks"].pop()
    read_object(value)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 65537])
def test_text_can_be_written(text: str) -> None:
    value = document("least")
    value["metadata"]["annotations"] = {"a": text}
    (fault,) = faults_of(value)
    assert fault.startswith("metadata.annotations.a: must be at most 65536 characters of text, is ")


def test_a_fault_is_one_short_line_of_ascii() -> None:
    value = document("least")
    value["spec"]["forks"][0]["\n\x1b[2J"] = 1
    value["metadata"]["name"] = "\u202e" * 100_000
    for fault in faults_of(value):
        assert fault.isascii()
        assert fault.isprintable()
        assert len(fault) < 400


def test_which_object_a_broken_document_means() -> None:
    value = document("least")
    value["spec"] = 7
    assert str(read_ref(value)) == "Sandbox default/s"
    others: list[Any] = [
        None,
        [],
        {},
        {**value, "kind": []},
        {**value, "metadata": 7},
        {**value, "metadata": {"name": "A"}},
    ]
    for other in others:
        assert read_ref(other) is None


def test_a_key_stays() -> None:
    old, new = document("spec-8-sandbox"), document("spec-8-sandbox")
    new["spec"]["ttl"] = {"duration": "1h"}
    assert change_faults(read_object(old), read_object(new)) == []
    new["spec"]["routingKey"] = "other"
    assert change_faults(read_object(old), read_object(new)) == [
        "spec.routingKey: must stay 'qwblp48fpmb30', is 'other': make another object instead"
    ]
    del new["spec"]["routingKey"]  # left out: as it was
    assert change_faults(read_object(old), read_object(new)) == []
