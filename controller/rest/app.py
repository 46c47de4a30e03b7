"""Operations to an aiohttp application: who may, what is refused, problems instead of pages."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from controller.access import PROXY
from controller.feed.endpoint import SOCKETS, Sockets, close_all
from controller.rest.guard import foreign
from controller.rest.operations import OPEN, Handler, Operation
from controller.rest.problems import Problem, problem_of
from controller.rest.services import SERVICES, Services, identity, set_identity

MAX_BODY_BYTES: Final = 1 << 20  # a sandbox of a hundred forks with patches; the longest text of one is 64 KiB

_log = logging.getLogger(__name__)


def make_app(services: Services, operations: Iterable[Operation]) -> web.Application:
    """The application with these operations."""
    app = web.Application(middlewares=[_answered, _identified], client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app[SOCKETS] = Sockets()
    app.on_shutdown.append(close_all)
    app[_OPEN] = frozenset(operation.path for operation in operations if operation.role == OPEN)
    for operation in operations:
        app.router.add_route(operation.method, operation.path, _permitted(operation))
    return app


_OPEN: Final = web.AppKey("open", frozenset[str])


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is a problem in one form."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return problem_of(error).response()
    except (ConnectionError, TimeoutError):
        raise
    except Exception:  # noqa: BLE001 - logged whole; who asked is not told what we are made of
        _log.exception("%s %s failed", request.method, request.path)
        return Problem("internal", "the controller failed at this: its log says why").response()


@web.middleware
async def _identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nothing but the open pages is told to those whom nobody knows, not even what there is."""
    app_services = request.app[SERVICES]
    if app_services.identify is None:
        if (why := foreign(request.headers)) is not None:
            raise Problem("foreign", why)
        return await handler(request)
    resource = request.match_info.route.resource
    if resource is not None and resource.canonical in request.app[_OPEN]:
        return await handler(request)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    who = app_services.identify(token.strip()) if scheme.lower() == "bearer" else None
    if who is None:
        what = "this token is not known" if token else "a bearer token is needed"
        raise Problem("unauthorized", what, headers={"WWW-Authenticate": "Bearer"})
    set_identity(request, who)
    return await handler(request)


def _permitted(operation: Operation) -> Handler:
    if operation.role == OPEN:
        return operation.handle

    async def handle(request: web.Request) -> web.StreamResponse:
        who = identity(request)
        is_open = request.app[SERVICES].identify is None
        if not is_open and not who.may(operation.role):
            what = "is for the feed only" if who.role == PROXY else f"has the role {who.role}"
            raise Problem("forbidden", f"this needs the role {operation.role}; the token {who.name} {what}")
        namespace = request.match_info.get("namespace")
        if namespace is not None and not who.sees(namespace):
            raise Problem("forbidden", f"the token {who.name} is not for the namespace {namespace}")
        return await operation.handle(request)

    return handle
