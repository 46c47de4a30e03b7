"""The OpenAPI document (3.1), made of the very operations that are served."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from controller.rest.bodies import JSON, YAML
from controller.rest.operations import OPEN, OPERATIONS_KEY, Answer, Operation
from controller.rest.problems import MEDIA_TYPE
from controller.rest.schemas import SCHEMAS, ref

_IN_PATH: Final = re.compile(r"\{([a-z]+)\}")


def document(operations: Iterable[Operation]) -> dict[str, object]:
    """The whole document."""
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pointsman controller",
            "version": "v1",
            "description": "Sandboxes and route groups, what became of them, and where requests go.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not asked for by a controller that has no --tokens-file, on loopback",
                }
            },
        },
    }


def _described(operation: Operation) -> dict[str, object]:
    parameters: list[object] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _IN_PATH.findall(operation.path)
    ]
    parameters += [
        {"name": parameter.name, "in": "query", "description": parameter.text, "schema": parameter.schema}
        for parameter in operation.parameters
    ]
    found: dict[str, object] = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        content = {media_type: {"schema": _schema(operation.body)} for media_type in (JSON, YAML[0])}
        found["requestBody"] = {"required": True, "content": content}
    if operation.role == OPEN:
        found["security"] = []
    else:
        found["description"] = f"Needs the role {operation.role}."
    return found


def _responses(operation: Operation) -> dict[str, object]:
    responses: dict[str, object] = {}
    for status, answer in operation.answers.items():
        schema = {"type": "string"} if answer.schema is None else _schema(answer.schema)
        responses[str(status)] = {"description": answer.text, "content": {answer.media_type: {"schema": schema}}}
    problems = () if operation.role == OPEN else (401, 403, *operation.problems, 503)
    for status in problems:
        content = {MEDIA_TYPE: {"schema": ref("Problem")}}
        responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": content})
    return dict(sorted(responses.items()))


def _schema(schema: str | Mapping[str, object]) -> Mapping[str, object]:
    return ref(schema) if isinstance(schema, str) else schema


def _id(operation: Operation) -> str:
    path = operation.path.removeprefix("/api/v1")
    words = re.findall(r"[A-Za-z0-9]+", f"{path}index" if path.endswith("/") else path)
    return operation.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


async def _openapi(request: web.Request) -> web.StreamResponse:
    return web.json_response(document(request.app[OPERATIONS_KEY].values()))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/openapi.json",
        _openapi,
        "This document",
        {200: Answer("OpenAPI 3.1", {"type": "object"})},
        OPEN,
        tag="health",
    ),
)
