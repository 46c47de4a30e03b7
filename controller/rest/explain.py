"""Where a request would go by the table that is in force, and each step that led there.

The same code decides as in the proxies, with the settings that they have by default: one that was started with others,
or has not got this table yet, may decide otherwise, and its own /explain says so.
"""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from controller.reader import MISSING, Reader, is_text, named
from controller.rest.bodies import document_of, known_query
from controller.rest.operations import Answer, Operation
from controller.rest.problems import Problem
from controller.rest.services import sees, synced_engine
from proxy.routing.decision import Decider, Policy
from proxy.routing.explain import explain, routing_inputs
from proxy.routing.explain import head_fields as read_head_fields
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload

_QUESTION: Final = named("workload head", "port")


async def _explain(request: web.Request) -> web.StreamResponse:
    known_query(request)
    compilation = synced_engine(request).compilation
    assert compilation is not None
    workload, port, fields = _question(await document_of(request))
    if not sees(request, workload.namespace):
        raise Problem("forbidden", f"the token is not for the namespace {workload.namespace}")
    table = compilation.table
    if port is None:
        routes = table.routes_of.get(workload, {}).values()
        port = next((mapping.port for route in routes for mapping in route.mappings), 80)
    settings = KeySettings()
    found = explain(
        routing_inputs(fields, settings),
        reader=KeyReader(settings),
        decider=Decider(workload, Policy()),
        table=table,
        port=port,
    )
    return web.Response(text=json.dumps(found.to_dict()) + "\n", content_type="application/json")


def _question(document: dict[str, object]) -> tuple[Workload, int | None, list[tuple[bytes, bytes]]]:
    reader = Reader()
    reader.fields(document, "", _QUESTION)
    workload = None
    if (text := reader.text(document.get("workload", MISSING), "workload", is_text, "text")) is not None:
        try:
            workload = Workload.parse(text)
        except ValueError as error:
            reader.fault("workload", str(error))
    port = reader.whole(document.get("port", MISSING), "port", 1, 65535)
    head = reader.text(document.get("head", MISSING), "head", is_text, "text") or ""
    fields = head_fields(head.encode("utf-8", "surrogateescape"))
    if isinstance(fields, str):
        reader.fault("head", fields)
        fields = []
    if reader.faults or workload is None:
        raise Problem("malformed", "the question can't be read", reader.faults)
    return workload, port, fields


def head_fields(head: bytes) -> list[tuple[bytes, bytes]] | str:
    """The field lines of a head as (name, value), or what is wrong with it."""
    fields = read_head_fields(head)
    return f"field line {fields} has no colon" if isinstance(fields, int) else fields


OPERATIONS: Final = (
    Operation(
        "POST",
        "/api/v1/explain",
        _explain,
        "Where a request would go by the table in force, and why",
        {200: Answer("The decision, and the steps that led to it", "Explanation")},
        body="Question",
        problems=(400, 413, 415),
        tag="routing",
    ),
)
