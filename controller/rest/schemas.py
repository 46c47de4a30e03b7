"""The shapes of bodies, as JSON Schema, for the OpenAPI document.

They tell programs what there is. What decides is `controller.schema`, which also knows grammars and what must not stand
twice; a test compares the fields of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.objects import API_VERSION
from controller.rest.problems import PREFIX, STATUSES

Schema = Mapping[str, object]

_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_KEY: Final[Schema] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
    "description": "Generated if it is left out; it stays for as long as the object does",
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(schema: Schema, at_least: int = 0) -> Schema:
    return {"type": "array", "items": schema, **({"minItems": at_least} if at_least else {})}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def fields(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, text: str = "") -> Schema:
    """An object of these fields and no others."""
    schema: dict[str, object] = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    schema["additionalProperties"] = False
    if text:
        schema["description"] = text
    return schema


def _object(kind: str, spec: str) -> Schema:
    return fields(
        {"apiVersion": one_of(API_VERSION), "kind": one_of(kind), "metadata": ref("Metadata"), "spec": ref(spec)},
        {"status": ref("Status")},
    )


def _list(kind: str) -> Schema:
    return fields({"apiVersion": one_of(API_VERSION), "kind": one_of(f"{kind}List"), "items": list_of(ref(kind))})


SCHEMAS: Final[dict[str, Schema]] = {
    "Sandbox": _object("Sandbox", "SandboxSpec"),
    "SandboxList": _list("Sandbox"),
    "RouteGroup": _object("RouteGroup", "RouteGroupSpec"),
    "RouteGroupList": _list("RouteGroup"),
    "Metadata": fields(
        {"name": _TEXT},
        {
            "namespace": _TEXT,
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "uid": _TEXT,
            "resourceVersion": {**_TEXT, "description": "If a writer names it and it is another one now: 409"},
            "generation": _WHOLE,
            "creationTimestamp": {"type": ["string", "null"], "format": "date-time"},
            "deletionTimestamp": {"type": ["string", "null"], "format": "date-time"},
            "finalizers": list_of(_TEXT),
        },
        "Name and namespace may be left out where the path says them; the fields from uid on are the controller's",
    ),
    "Workload": fields({"kind": _TEXT, "namespace": _TEXT, "name": _TEXT}),
    "SandboxSpec": fields(
        {},
        {
            "routingKey": _KEY,
            "forks": list_of(ref("Fork")),
            "local": list_of(ref("Local")),
            "endpoints": list_of(ref("Endpoint")),
            "ttl": ref("Ttl"),
            "grants": list_of(fields({"namespace": _TEXT})),
        },
    ),
    "RouteGroupSpec": fields(
        {"match": ref("Match")},
        {
            "routingKey": _KEY,
            "namespaces": list_of(_TEXT),
            "endpoints": list_of(ref("Endpoint")),
            "ttl": ref("Ttl"),
        },
    ),
    "Fork": fields(
        {"forkOf": ref("Workload")},
        {"customizations": ref("Customizations")},
        "A changed copy of a workload, made in a cluster",
    ),
    "Customizations": fields(
        {},
        {
            "images": list_of(fields({"container": _TEXT, "image": _TEXT})),
            "env": list_of(ref("Env")),
            "patch": fields({"type": one_of("strategic", "merge", "json"), "value": {}}),
        },
    ),
    "Env": fields(
        {"container": _TEXT, "name": _TEXT},
        {"operation": one_of("upsert", "delete"), "value": _TEXT, "valueFrom": {"type": "object"}},
    ),
    "Local": fields(
        {"from": ref("Workload"), "mappings": list_of(ref("LocalMapping"), 1)},
        text="Where a workload's requests go: something that exists already",
    ),
    "LocalMapping": fields({"port": _PORT, "toLocal": _TEXT}, {"appProtocol": one_of("http", "http2", "grpc")}),
    "Endpoint": fields({"name": _TEXT, "target": _TEXT}),
    "Ttl": fields(
        {"duration": {**_TEXT, "pattern": "^[1-9][0-9]{0,7}[smhdw]$"}}, {"from": one_of("updated", "created")}
    ),
    "Match": fields(
        {},
        {
            "any": list_of(ref("Match"), 1),
            "all": list_of(ref("Match"), 1),
            "label": fields({"key": _TEXT, "value": {**_TEXT, "description": "* and ? match"}}),
        },
        "One of them",
    ),
    "Status": fields(
        {},
        {
            "routingKey": {**_TEXT, "description": "The key in force; absent if another object has it"},
            "observedGeneration": _WHOLE,
            "updatedAt": _TIME,
            "expiresAt": _TIME,
            "endpoints": list_of(fields({"name": _TEXT, "target": _TEXT}, {"url": _TEXT})),
            "sandboxes": list_of(_TEXT),
            "conditions": list_of(ref("Condition")),
        },
    ),
    "Condition": fields(
        {
            "type": _TEXT,
            "status": one_of("True", "False", "Unknown"),
            "reason": _TEXT,
            "message": _TEXT,
            "lastTransitionTime": _TIME,
        },
        {"observedGeneration": _WHOLE},
    ),
    "Problem": fields(
        {
            "type": one_of(*(PREFIX + name for name in STATUSES)),
            "title": _TEXT,
            "status": _WHOLE,
            "detail": _TEXT,
        },
        {"faults": list_of(_TEXT)},
        "RFC 9457",
    ),
    "RoutingRule": fields(
        {
            "routingKey": _TEXT,
            "baseline": ref("Workload"),
            "destinationSandbox": fields({"name": _TEXT}),
            "mappings": list_of(
                fields({"workloadPort": _PORT, "destinations": list_of(fields({"host": _TEXT, "port": _PORT}))})
            ),
        }
    ),
    "RoutingRules": fields({"routingRules": list_of(ref("RoutingRule"))}),
    "RoutingRuleChange": fields(
        {"type": one_of("ADD", "REMOVE", "REPLACE", "SYNCED")}, {"routingRule": ref("RoutingRule")}
    ),
    "Question": fields(
        {"workload": {**_TEXT, "description": "namespace/kind/name"}, "head": {**_TEXT, "description": "Of a request"}},
        {"port": _PORT},
    ),
    "Explanation": {
        "type": "object",
        "description": "As `pointsman explain --json`",
        "required": ["workload", "port", "decision", "goes_to", "reason", "status", "steps"],
        "properties": {
            "workload": _TEXT,
            "port": _PORT,
            "decision": _TEXT,
            "goes_to": one_of("sandbox", "baseline", "none"),
            "sandbox": {"type": ["string", "null"]},
            "reason": _TEXT,
            "status": _WHOLE,
            "steps": list_of(_TEXT),
        },
    },
    "Faults": fields({"items": list_of(fields({"place": _TEXT, "faults": list_of(_TEXT)}))}),
}
