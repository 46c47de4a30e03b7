"""`/api/v1/live`: all that there is to see, and how it changes, as server-sent events (WHATWG HTML, section 9.2).

| event | data |
|---|---|
| start | `now`, who reads and what they may, and `isAll`: what the reader has is no more, all follows |
| rows | `rows` that are new or have changed, whole, and the ids of those that are `gone` |

A reader that comes back with `Last-Event-ID` gets what changed since. Events between two ids belong together: what was
read since the last id counts once the next one is there. Empty comments are heartbeats.

A reader is a number here (`controller.live`): what it has not read yet is put together, not kept. One that takes no
byte for long is cut off; one whose token is not what it was is left within `CHECK_S`, with a whole end of the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Final

from aiohttp import web

from controller.access import READ, WRITE, Identity
from controller.live.board import Audience, Delta, encode
from controller.live.watch import Watch
from controller.rest.bodies import known_query
from controller.rest.operations import Answer, Operation
from controller.rest.services import bearer, identity, services, synced_engine
from controller.times import timestamp

HEARTBEAT_S: Final = 10.0
CHECK_S: Final = 5.0  # how long a token that was taken away may go on, as with feeds
_STALL_S: Final = 30.0  # one write: three heartbeats
_PIECE: Final = 200  # rows in one event: about 200 KB

_HEARTBEAT: Final = b":\n\n"


async def _live(request: web.Request) -> web.StreamResponse:
    known_query(request)
    synced_engine(request)
    watch = services(request).live
    who = identity(request)
    assert who is not None
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    with watch.reading(), suppress(ConnectionError, TimeoutError):
        while not watch.is_filled and not watch.is_closed:
            await watch.until_changed()
        await response.prepare(request)
        await _follow(request, response, watch, who)
    return response


async def _follow(request: web.Request, response: web.StreamResponse, watch: Watch, who: Identity) -> None:
    """Raises: ConnectionError, TimeoutError when the reader is gone or too slow."""
    name = stream_name(watch.epoch, who.namespaces)
    delta = watch.board.since(seen(request.headers.get("Last-Event-ID", ""), name), who.namespaces)
    start = {
        "now": timestamp(services(request).clock()),
        "who": who.name if services(request).identify is not None else None,
        "mayWrite": who.may(WRITE),
        "namespaces": sorted(who.namespaces) if who.namespaces is not None else None,
        "isAll": delta.is_all,
    }
    await _write(request, response, b"event: start\nretry: 1000\ndata: " + encode(start) + b"\n\n")
    for piece in pieces(delta, name):  # with an id, also if there is nothing new
        await _write(request, response, piece)
    while not watch.is_closed:
        is_quiet = not await _has_changed(request, watch, delta.revision)
        if not _may(request, who):
            return
        if is_quiet:
            await _write(request, response, _HEARTBEAT)
            continue
        delta = watch.board.since(delta.revision, who.namespaces)
        if not delta.is_empty:
            for piece in pieces(delta, name):
                await _write(request, response, piece)


async def _has_changed(request: web.Request, watch: Watch, revision: int) -> bool:
    """Whether there is something new, within the time of a heartbeat, or before a token must be looked at."""
    if watch.board.revision == revision:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_S if services(request).identify is not None else HEARTBEAT_S):
                await watch.until_changed()
    return watch.board.revision != revision


def _may(request: web.Request, who: Identity) -> bool:
    """Whether the token that it came with is still the same one's, with the same role and namespaces."""
    identify, token = services(request).identify, bearer(request)
    if identify is None:
        return True
    return token is not None and identify(token) == who


async def _write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    try:
        async with asyncio.timeout(_STALL_S):
            await response.write(piece)
    except TimeoutError:
        services(request).live.dropped += 1
        if request.transport is not None:
            request.transport.abort()
        raise


def stream_name(epoch: str, audience: Audience) -> str:
    """Names what a stream's revisions count: those of one process, of what one audience sees."""
    seen_ones = "\n".join(sorted(audience)) if audience is not None else "*"
    return f"{epoch}.{sha256(seen_ones.encode()).hexdigest()[:8]}"


def seen(last_event_id: str, name: str) -> int | None:
    """The revision that a reader of this stream has seen; None: it must start anew."""
    of, _, revision = last_event_id.rpartition("-")
    return int(revision) if of == name and len(revision) < 16 and revision.isascii() and revision.isdecimal() else None


def pieces(delta: Delta, name: str) -> Iterator[bytes]:
    """The events of it; only the last one has the id."""
    for start in range(0, len(delta.rows) - _PIECE, _PIECE):
        yield b'event: rows\ndata: {"rows":[' + b",".join(delta.rows[start : start + _PIECE]) + b"]}\n\n"
    rest = delta.rows[(len(delta.rows) - 1) // _PIECE * _PIECE :] if delta.rows else []
    gone = encode({"gone": delta.gone})[1:]
    id_ = f"{name}-{delta.revision}".encode()
    yield b"event: rows\nid: " + id_ + b'\ndata: {"rows":[' + b",".join(rest) + b"]," + gone + b"\n\n"


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/v1/live",
        _live,
        "Objects, proxies and counts, and how they change, for people who look: server-sent events",
        {200: Answer("The events start and rows, comments as heartbeats", media_type="text/event-stream")},
        READ,
        problems=(400,),
        tag="page",
    ),
)
