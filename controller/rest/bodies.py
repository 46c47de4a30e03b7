"""What a request says: bodies of JSON or YAML, parameters of the query."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from controller.background import aside
from controller.documents import pieces
from controller.rest.patience import BODY_S
from controller.rest.problems import Problem
from proxy.routing.faults import TableError, excerpt
from proxy.routing.text import parse_text

JSON: Final = "application/json"
YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_ASIDE_BYTES: Final = 32 << 10  # as YAML about 20 ms


async def document_of(request: web.Request) -> dict[str, object]:
    """The one object that the body holds.

    A content type is required: no form of a web page can send these without being asked whether it may (CORS).
    Raises: Problem.
    """
    media_type = request.content_type if "Content-Type" in request.headers else ""
    if media_type != JSON and media_type not in YAML:
        raise Problem(
            "media-type",
            f"the Content-Type must be {JSON} or {YAML[0]}, is {media_type[:100]!a}",
            headers={"Accept-Post": f"{JSON}, {YAML[0]}"},
        )
    try:
        async with asyncio.timeout(BODY_S):
            raw = await request.read()
    except TimeoutError:
        raise Problem("too-slow", f"the body was not there within {BODY_S:g} s") from None
    if media_type != JSON:
        found = pieces(raw)
        if len(found) != 1:
            raise Problem("malformed", f"the body must hold one document, holds {len(found)}")
        raw = raw[found[0].start : found[0].end]
    elif not raw.lstrip().startswith(b"{"):
        raise Problem("malformed", "the body must be a JSON object")
    try:
        value = await aside(parse_text, raw) if len(raw) > _ASIDE_BYTES else parse_text(raw)
    except TableError as error:
        raise Problem("malformed", "the body can't be read", error.faults) from None
    if not isinstance(value, dict):
        raise Problem("malformed", "the body must be an object")
    return value


def known_query(request: web.Request, *names: str) -> dict[str, str]:
    """The parameters. One that is not known is refused: a misspelt `dryRun` must not change anything.

    Raises: Problem.
    """
    faults = []
    for name in request.query:
        if name not in names:
            faults.append(f"{name[:100]!a}: unknown parameter ({', '.join(names) or 'there are none'})")
        elif len(request.query.getall(name)) > 1:
            faults.append(f"{name}: given more than once")
    if faults:
        raise Problem("malformed", "the query can't be read", sorted(set(faults)))
    return {name: value for name, value in request.query.items() if value}


def dry_run(request: web.Request) -> bool:
    """Whether `?dryRun=All` asks for checks only. Raises: Problem."""
    value = known_query(request, "dryRun").get("dryRun")
    if value not in (None, "All"):
        raise Problem("malformed", "the query can't be read", [f"dryRun: must be All, is {excerpt(value)}"])
    return value is not None
