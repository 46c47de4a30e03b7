"""`/ui`: the page for people. Files without data, the same for everybody: what they show they ask the API for.

Names, labels and messages come from users. The page sets them as text, and its policy lets no other script run, also
if it did not: no inline script or style, no HTML made of strings (trusted types), nothing from elsewhere, no frames.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

from aiohttp import web

from controller.rest.operations import OPEN, Answer, Operation
from controller.rest.problems import Problem

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, by its tag
}
_PAGE: Final = "index.html"


class File(NamedTuple):
    media_type: str
    body: bytes
    tag: str


@cache
def page_files() -> dict[str, File]:
    """All that there is, by name. They are small, and asked for often when a controller has come back."""
    found: dict[str, File] = {}
    for each in files("controller.rest").joinpath("www").iterdir():
        if (media_type := _TYPES.get(each.name.rpartition(".")[2])) is not None:
            body = each.read_bytes()
            found[each.name] = File(media_type, body, sha256(body).hexdigest()[:16])
    return found


async def _page(request: web.Request) -> web.StreamResponse:
    return _file(request, _PAGE)


async def _part(request: web.Request) -> web.StreamResponse:
    return _file(request, request.match_info["file"])


def _file(request: web.Request, name: str) -> web.StreamResponse:
    found = page_files().get(name)
    if found is None:
        raise Problem("not-found", "the page has no such file")
    headers = {**_HEADERS, "ETag": f'"{found.tag}"'}
    if any(tag.value == found.tag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.body, headers={**headers, "Content-Type": found.media_type})


async def _slash(_: web.Request) -> web.StreamResponse:
    return web.Response(status=308, headers={"Location": "../ui"})


OPERATIONS: Final = (
    Operation(
        "GET",
        "/ui",
        _page,
        "The page that shows all of it, live",
        {200: Answer("The page", media_type="text/html")},
        OPEN,
        tag="page",
    ),
    Operation(
        "GET",
        "/ui/",
        _slash,
        "The page, with a slash too many",
        {308: Answer("Where it is", media_type="text/plain")},
        OPEN,
        tag="page",
    ),
    Operation(
        "GET",
        "/ui/{file}",
        _part,
        "A file of the page",
        {
            200: Answer("The file", media_type="*/*"),
            404: Answer("None of that name", "Problem", "application/problem+json"),
        },
        OPEN,
        tag="page",
    ),
)
