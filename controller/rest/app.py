"""Operations to an aiohttp application: who may, what is refused, problems instead of pages."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from controller.access import ANYBODY, PROXY, ROUTER
from controller.objects import Ref
from controller.rest.feed import SOCKETS, Sockets, close_all
from controller.rest.guard import foreign
from controller.rest.operations import OPEN, OPERATIONS_KEY, Handler, Operation
from controller.rest.patience import Patience
from controller.rest.problems import TYPE, Problem, problem_of
from controller.rest.services import SERVICES, Services, bearer, changed, identity, set_identity

MAX_BODY_BYTES: Final = 1 << 20  # a sandbox of a hundred forks with patches; the longest text of one is 64 KiB

PATIENCE: Final = web.AppKey("patience", Patience)

_log = logging.getLogger(__name__)


def make_app(services: Services, operations: Iterable[Operation]) -> web.Application:
    """The application with these operations."""
    app = web.Application(middlewares=[_audited, _answered, _identified], client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app[SOCKETS] = Sockets()
    app[PATIENCE] = Patience()
    app.on_shutdown.append(close_all)
    app[OPERATIONS_KEY] = {(operation.method, operation.path): operation for operation in operations}
    app.on_response_prepare.append(_signed)
    for operation in app[OPERATIONS_KEY].values():
        handle = _permitted(operation)
        app.router.add_route(operation.method, operation.path, handle)
        if operation.method == "GET":
            app.router.add_route("HEAD", operation.path, handle)
    return app


def _operation(request: web.Request) -> Operation | None:
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return request.app[OPERATIONS_KEY].get((method, resource.canonical)) if resource is not None else None


async def _signed(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "pointsman"  # and not what it is made of, with versions
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def _audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A line for each change, done or refused. A dry run is none."""
    operation = _operation(request)
    if operation is None or operation.verb is None or request.query.get("dryRun"):
        return await handler(request)
    status: int = 500
    reason: str | None = "cancelled"  # asked to stop while it was under way
    try:
        response = await handler(request)
        status, reason = response.status, response.get(TYPE)
        return response
    finally:
        request.app[SERVICES].audit.write(
            who.name if (who := identity(request)) is not None else "unknown",
            "create" if status == 201 else operation.verb,
            changed(request) or _named(request, operation),
            "done" if status < 300 else "refused" if status < 500 else "failed",
            status=status,
            reason=reason,
            remote=request.remote,
        )


def _named(request: web.Request, operation: Operation) -> Ref | None:
    """The object in the path; without a name where only the body says it, and was not read."""
    if operation.kind is None:
        return None
    return Ref(operation.kind, request.match_info.get("namespace", ""), request.match_info.get("name", ""))


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is a problem in one form; within an answer that has begun, an end that is none."""
    request.app[PATIENCE].heard(request.protocol)
    try:
        return await handler(request)
    except Problem as error:
        problem = error
    except web.HTTPException as error:
        problem = problem_of(error)
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - logged whole; who asked is not told what we are made of
        _log.exception("%s %s failed", request.method, request.path)
        problem = Problem("internal", "the controller failed at this: its log says why")
    if request.writer.output_size:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError
    return problem.response()


@web.middleware
async def _identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nothing but the open pages is told to those whom nobody knows, not even what there is."""
    identify = request.app[SERVICES].identify
    if identify is None:
        if (why := foreign(request.headers, request.scheme)) is not None:
            raise Problem("foreign", why)
        set_identity(request, ANYBODY)
        return await handler(request)
    operation = _operation(request)
    if operation is not None and operation.role == OPEN:
        return await handler(request)
    token = bearer(request)
    who = identify(token) if token is not None else None
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
        assert who is not None
        if who is not ANYBODY and not who.may(operation.role):
            what = "is for the feed only" if who.role in (PROXY, ROUTER) else f"has the role {who.role}"
            raise Problem("forbidden", f"this needs the role {operation.role}; the token {who.name} {what}")
        namespace = request.match_info.get("namespace")
        if namespace is not None and not who.sees(namespace):
            raise Problem("forbidden", f"the token {who.name} is not for the namespace {namespace}")
        return await operation.handle(request)

    return handle
