"""`/livez` and `/readyz`, for whoever runs us."""

from __future__ import annotations

from aiohttp import web

from controller.rest.operations import OPEN, Answer, Operation
from controller.rest.services import services


async def _livez(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.StreamResponse:
    """Ready once the store is read. A disk that is full later is said, but proxies are better off with us than
    without."""
    engine = services(request).engine
    if engine.compilation is None:
        return web.Response(status=503, text="not ready: the store is not read yet\n")
    return web.Response(text="ok\n" if engine.fault is None else f"ok, but {engine.fault}\n")


OPERATIONS = (
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
