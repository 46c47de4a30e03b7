"""`/livez` and `/readyz` for whoever runs us, and what the store can't read."""

from __future__ import annotations

from aiohttp import web

from controller.rest.bodies import known_query
from controller.rest.operations import OPEN, Answer, Operation
from controller.rest.problems import Problem
from controller.rest.services import identity, services


async def _livez(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.StreamResponse:
    """Ready once the store is read. A disk that is full later is said, but proxies are better off with us than
    without."""
    engine = services(request).engine
    if engine.compilation is None:
        return web.Response(status=503, text="not ready: the store is not read yet\n")
    return web.Response(text="ok\n" if engine.fault is None else f"ok, but {engine.fault}\n")


async def _faults(request: web.Request) -> web.StreamResponse:
    """Places are names of files, which belong to no namespace."""
    known_query(request)
    who = identity(request)
    if who is None or who.namespaces is not None:
        raise Problem("forbidden", "this needs a token for all namespaces")
    items = [{"place": place, "faults": list(faults)} for place, faults in services(request).store.faults.items()]
    return web.json_response({"items": items})


OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/faults",
        _faults,
        "What the store can't read: its objects are missing, or in an older state",
        {200: Answer("The places and what is wrong there", "Faults")},
        problems=(400,),
        tag="health",
    ),
    Operation(
        "GET",
        "/livez",
        _livez,
        "Whether the process is alive",
        {200: Answer("It is", media_type="text/plain")},
        OPEN,
        tag="health",
    ),
    Operation(
        "GET",
        "/readyz",
        _readyz,
        "Whether the store is read",
        {200: Answer("It is", media_type="text/plain"), 503: Answer("Not yet", media_type="text/plain")},
        OPEN,
        tag="health",
    ),
)
