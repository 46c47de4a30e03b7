"""The OpenAPI document: whole, and about what is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields as fields_of
from typing import cast

import pytest

from controller import parts, schema
from controller.objects import Condition, Status
from controller.reader import Fields
from controller.rest.openapi import document
from controller.rest.operations import OPEN
from controller.rest.pages import OPERATIONS
from controller.rest.problems import STATUSES
from controller.rest.schemas import SCHEMAS

DOCUMENT = json.loads(json.dumps(document(OPERATIONS)))


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, entry in value.items():
            if name == "$ref":
                yield entry
            yield from references(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from references(entry)


def operations() -> Iterator[tuple[str, str, dict[str, object]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    found = set(references(DOCUMENT))
    assert found <= {f"#/components/schemas/{name}" for name in SCHEMAS}
    assert found == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_operations_are_whole() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids) == len(OPERATIONS)
    for path, method, operation in operations():
        assert method in ("get", "post", "put", "delete")
        parameters = cast("list[dict[str, object]]", operation.get("parameters", []))
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))
        assert all(p["required"] for p in parameters if p["in"] == "path")
        responses = cast("dict[str, dict[str, object]]", operation["responses"])
        assert any(status[0] in "123" for status in responses)
        assert all(response["description"] for response in responses.values())
        assert operation["summary"]


def test_who_may_is_said() -> None:
    for row in OPERATIONS:
        described = DOCUMENT["paths"][row.path][row.method.lower()]
        if row.role == OPEN:
            assert described["security"] == []
            assert "401" not in described["responses"]
        else:
            assert row.role in described["description"]
            assert {"401", "403"} <= described["responses"].keys()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("SandboxSpec", schema._SANDBOX),
        ("RouteGroupSpec", schema._ROUTE_GROUP),
        ("Fork", schema._FORK),
        ("Customizations", schema._CUSTOMIZATIONS),
        ("Env", schema._ENV),
        ("Local", schema._LOCAL),
        ("LocalMapping", schema._LOCAL_MAPPING),
        ("Match", schema._MATCH),
        ("Metadata", parts._METADATA),
        ("Workload", parts._WORKLOAD),
        ("Endpoint", parts._ENDPOINT),
        ("Ttl", parts._TTL),
        ("Status", parts._STATUS),
        ("Condition", parts._CONDITION),
        ("Sandbox", schema._OBJECT),
        ("RouteGroup", schema._OBJECT),
    ],
)
def test_shapes_are_what_is_read(name: str, fields: Fields) -> None:
    found = DOCUMENT["components"]["schemas"][name]
    assert set(found["properties"]) == fields.all
    assert set(found.get("required", [])) == fields.required
    assert found["additionalProperties"] is False


def test_nothing_of_a_status_is_left_out() -> None:
    properties = DOCUMENT["components"]["schemas"]
    assert len(properties["Status"]["properties"]) == len(fields_of(Status))
    assert len(properties["Condition"]["properties"]) == len(fields_of(Condition))


def test_problems_are_all_there() -> None:
    assert {name.rpartition(":")[2] for name in SCHEMAS["Problem"]["properties"]["type"]["enum"]} == set(STATUSES)  # type: ignore[index]
