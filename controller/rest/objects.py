"""Sandboxes and route groups: list, get, create, replace, delete.

A change is answered once it is in force here (which proxies have it, a receipt tells), or after a moment if that takes
long: then the status is the one from before. The resource version is the ETag; who names it, in the body or as
If-Match, gets a conflict instead of undoing what somebody else did.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import web

from controller.access import WRITE
from controller.errors import Conflict, Deleting, Exists, NotFound, ObjectError, OverQuota, StoreError, Unwritable
from controller.identity import with_status
from controller.objects import API_VERSION, PLURALS, Object, Ref, RouteGroup, Sandbox
from controller.rest.bodies import document_of, dry_run, known_query
from controller.rest.operations import Answer, Operation, Parameter
from controller.rest.problems import Problem
from controller.rest.services import sees, services, set_changed, synced_engine
from controller.schema import read_object
from controller.store import NONE_YET

_IN_FORCE_S: Final = 2.0
_PIECE: Final = 100  # objects of a list that are written at once: about 5 ms


def ref_of(kind: str, request: web.Request) -> Ref:
    """Which object the path names."""
    return Ref(kind, request.match_info["namespace"], request.match_info["name"])


async def list_objects(kind: str, request: web.Request) -> web.StreamResponse:
    known_query(request)
    synced_engine(request)
    namespace = request.match_info.get("namespace")
    found = [
        object_
        for object_ in await services(request).store.list()
        if object_.ref.kind == kind
        and (object_.ref.namespace == namespace if namespace is not None else sees(request, object_.ref.namespace))
    ]
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in _list_pieces(request, kind, found):
            await response.write(piece)
    await response.write_eof()
    return response


async def _list_pieces(request: web.Request, kind: str, objects: list[Object]) -> AsyncIterator[bytes]:
    """Piece by piece, so that a long list holds up nobody, nor takes its size in memory."""
    head = json.dumps({"apiVersion": API_VERSION, "kind": f"{kind}List"})
    yield f'{head[:-1]}, "items": ['.encode()
    for start in range(0, len(objects), _PIECE):
        documents = (json.dumps(document(request, object_)) for object_ in objects[start : start + _PIECE])
        yield (", " * (start > 0) + ", ".join(documents)).encode()
        await asyncio.sleep(0)
    yield b"]}\n"


async def get_object(kind: str, request: web.Request) -> web.StreamResponse:
    known_query(request)
    synced_engine(request)
    return answer(request, await found_object(ref_of(kind, request), request))


async def found_object(ref: Ref, request: web.Request) -> Object:
    """Raises: Problem if there is no such object."""
    try:
        return await services(request).store.get(ref)
    except NotFound as error:
        raise Problem("not-found", str(error)) from None


async def post_object(kind: str, request: web.Request) -> web.StreamResponse:
    is_dry = dry_run(request)
    synced_engine(request)
    object_ = _read(await document_of(request), kind, request.match_info["namespace"])
    set_changed(request, object_.ref)
    stored, _ = await _put(request, object_, NONE_YET, is_dry=is_dry)
    return await _answer_in_force(request, stored, is_new=True, is_dry=is_dry)


async def put_object(kind: str, request: web.Request) -> web.StreamResponse:
    is_dry = dry_run(request)
    synced_engine(request)
    ref = ref_of(kind, request)
    object_ = _read(await document_of(request), ref.kind, ref.namespace, ref.name)
    stored, before = await _put(request, object_, _expected(request, object_), is_dry=is_dry)
    return await _answer_in_force(request, stored, is_new=before is None, is_dry=is_dry)


async def delete_object(kind: str, request: web.Request) -> web.StreamResponse:
    is_dry = dry_run(request)
    synced_engine(request)
    try:
        going = await services(request).writer.delete(ref_of(kind, request), _if_match(request), is_dry=is_dry)
    except StoreError as error:
        raise problem_of_store(error) from None
    return answer(request, going, 202)


def answer(
    request: web.Request, object_: Object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    text = json.dumps(document(request, object_)) + "\n"
    version = object_.metadata.resource_version
    etag = {"ETag": f'"{version}"'} if version is not None else {}
    return web.Response(status=status, text=text, content_type="application/json", headers={**etag, **(headers or {})})


def document(request: web.Request, object_: Object) -> dict[str, object]:
    """The object with the newest status that there is: the store has it a little later."""
    status = services(request).engine.status(object_.ref)
    if status is not None and status != object_.status:
        return with_status(object_, status).document()
    return object_.document()


def problem_of_store(error: StoreError) -> Problem:
    types: Iterable[tuple[type[StoreError], str]] = (
        (NotFound, "not-found"),
        (Exists, "exists"),
        (Deleting, "deleting"),
        (Conflict, "conflict"),
        (OverQuota, "quota"),
        (Unwritable, "unwritable"),
    )
    return Problem(next((name for type_, name in types if isinstance(error, type_)), "internal"), str(error))


def _read(found: dict[str, object], kind: str, namespace: str, name: str | None = None) -> Object:
    """The body's object. What the path says may be left out, and nothing else may be said.

    Raises: Problem with every fault.
    """
    given = found.get("metadata", {})
    if isinstance(given, dict):
        defaults = {"namespace": namespace} if name is None else {"namespace": namespace, "name": name}
        found = {**found, "metadata": {**defaults, **given}}
    found.pop("status", None)  # nobody else's to say, and whoever sends back what it got sends it too
    faults: list[str] = []
    object_: Sandbox | RouteGroup | None = None
    try:
        object_ = read_object(found)
    except ObjectError as error:
        faults += error.faults
    asked: list[tuple[str, object, object]] = [("kind", found.get("kind"), kind)]
    if isinstance(given, dict):
        asked += [("metadata.namespace", given.get("namespace", namespace), namespace)]
        asked += [("metadata.name", given.get("name", name), name)] if name is not None else []
    for path, value, wanted in asked:
        if isinstance(value, str) and value != wanted:
            faults.append(f"{path}: must be {wanted} as in the path, is {value[:100]!a}")
    if faults or object_ is None:
        raise Problem("invalid", f"the object is refused: {faults[0]}", faults)
    return object_


async def _put(
    request: web.Request, object_: Object, expected: str | None, *, is_dry: bool
) -> tuple[Object, Object | None]:
    try:
        return await services(request).writer.put(object_, expected, is_dry=is_dry)
    except ObjectError as error:
        raise Problem("invalid", f"the change is refused: {error}", error.faults) from None
    except StoreError as error:
        raise problem_of_store(error) from None


async def _answer_in_force(request: web.Request, object_: Object, *, is_new: bool, is_dry: bool) -> web.StreamResponse:
    if not is_dry:
        with suppress(TimeoutError):
            engine = services(request).engine
            await engine.compiled(object_.ref, object_.metadata.resource_version, _IN_FORCE_S)
    if not is_new:
        return answer(request, object_)
    kind, namespace, name = object_.ref
    place = f"/api/v1/namespaces/{namespace}/{PLURALS[kind]}/{name}"
    return answer(request, object_, 201, {"Location": place})


def _expected(request: web.Request, object_: Object) -> str | None:
    """The state that the writer expects, by header or in the body."""
    if (none_match := request.headers.get("If-None-Match")) is not None:
        if none_match.strip() != "*":
            raise Problem("malformed", "If-None-Match must be * here")
        return NONE_YET
    named = _if_match(request)
    if named is not None and object_.metadata.resource_version not in (None, named):
        raise Problem("malformed", "If-Match and metadata.resourceVersion are not the same")
    return named or object_.metadata.resource_version


def _if_match(request: web.Request) -> str | None:
    value = request.headers.get("If-Match")
    if value is None or value.strip() == "*":
        return None
    value = value.strip()
    if len(value) < 3 or value[0] != '"' or value[-1] != '"' or "," in value:
        raise Problem("malformed", 'If-Match must be one ETag, "..."')
    return value[1:-1]


# --- the operations --------------------------------------------------------------------------------------------------

_DRY_RUN: Final = Parameter(
    "dryRun", "`All`: everything is checked, nothing is stored", {"type": "string", "enum": ["All"]}
)


def _operations(kind: str) -> Iterator[Operation]:
    plural = PLURALS[kind]
    all_path, path = f"/api/v1/{plural}", f"/api/v1/namespaces/{{namespace}}/{plural}"
    many, one = {200: Answer("The objects", f"{kind}List")}, {200: Answer("The object", kind)}
    created = {201: Answer("The object as it is stored now", kind)}
    yield Operation("GET", all_path, partial(list_objects, kind), f"The {plural} of all namespaces", many)
    yield Operation("GET", path, partial(list_objects, kind), f"The {plural} of a namespace", many)
    yield Operation(
        "POST",
        path,
        partial(post_object, kind),
        f"Makes a {kind}",
        created,
        WRITE,
        (_DRY_RUN,),
        kind,
        (400, 409, 413, 415, 422),
        verb="create",
        kind=kind,
    )
    path = f"{path}/{{name}}"
    yield Operation("GET", path, partial(get_object, kind), f"One {kind}", one, problems=(404,))
    yield Operation(
        "PUT",
        path,
        partial(put_object, kind),
        f"Makes a {kind}, or replaces it",
        {**one, **created},
        WRITE,
        (_DRY_RUN,),
        kind,
        (400, 409, 413, 415, 422),
        verb="update",
        kind=kind,
    )
    yield Operation(
        "DELETE",
        path,
        partial(delete_object, kind),
        f"Deletes a {kind}: its routes go at once, the object once the proxies know",
        {202: Answer("The object, which is being deleted", kind)},
        WRITE,
        (_DRY_RUN,),
        problems=(400, 404, 409),
        verb="delete",
        kind=kind,
    )


OPERATIONS: Final = tuple(operation for kind in PLURALS for operation in _operations(kind))
