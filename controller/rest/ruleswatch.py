"""The pages of routing rules: a list, and a stream of their changes.

A stream is JSON lines: an ADD for each rule that there is, one SYNCED, then ADD, REPLACE and REMOVE as they happen, and
an empty line as a heartbeat. Who reads too slowly is cut off, and comes back to a new start: a stream with holes would
be worse than none, and one without an end costs memory.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from controller.compile import Compilation
from controller.rest.bodies import known_query
from controller.rest.operations import Answer, Operation, Parameter
from controller.rest.rules import ADD, RuleChange, RuleFilter, Rules, rule_document
from controller.rest.services import sees, services, synced_engine
from proxy.routing.table import Route

HEARTBEAT_S: Final = 10.0
_STALL_S: Final = 30.0  # one write: three heartbeats
_MAX_PENDING: Final = 20_000  # changes that wait for one reader; about 3 MB
_PIECE: Final = 200  # rules that are written at once: about 2 ms

_SYNCED: Final = b'{"type": "SYNCED"}\n'
_FILTERS: Final = {
    "baselineKind": "kind",
    "baselineNamespace": "namespace",
    "baselineName": "name",
    "routingKey": "routing_key",
    "destinationSandboxName": "sandbox",
}


class RulesFeed:
    """All rules, and those who follow them."""

    def __init__(self) -> None:
        self.rules: Final = Rules()
        self.watchers: Final[set[_Watcher]] = set()
        self.dropped = 0  # readers that were too slow
        self.is_closed = False

    def hear(self, compilation: Compilation) -> None:
        """For the engine's `on_compiled`."""
        changes = self.rules.apply(compilation)
        if not self.watchers:
            return
        lines = [(change, change.line()) for change in changes]  # once for all
        for watcher in list(self.watchers):
            watcher.hear(lines)

    def close(self) -> None:
        """Ends all streams."""
        self.is_closed = True
        for watcher in self.watchers:
            watcher.wake()


class _Watcher:
    """One reader: what it has not been sent yet."""

    def __init__(self, takes: Callable[[Route], bool], cut: Callable[[], None]) -> None:
        self._takes: Final = takes
        self._cut: Final = cut
        self._pending: Final[deque[bytes]] = deque()
        self._news: Final = asyncio.Event()
        self.is_cut = False

    def hear(self, lines: list[tuple[RuleChange, bytes]]) -> None:
        self._pending.extend(line for change, line in lines if self._takes(change.route))
        if len(self._pending) > _MAX_PENDING and not self.is_cut:
            self.is_cut = True
            self._pending.clear()
            self._cut()
        if self._pending:
            self._news.set()

    def wake(self) -> None:
        self._news.set()

    async def next(self) -> bytes:
        """What is to be sent next: some changes, or a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await self._news.wait()
        self._news.clear()
        lines = [self._pending.popleft() for _ in range(min(len(self._pending), _PIECE))]
        if self._pending:
            self._news.set()
        return b"".join(lines) or b"\n"


async def _list(request: web.Request) -> web.StreamResponse:
    takes, filter_ = _filter(request)
    synced_engine(request)
    feed = services(request).rules
    routes = [route for route in feed.rules.matching(filter_) if takes(route)]
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in _pieces(routes):
            await response.write(piece)
    await response.write_eof()
    return response


async def _pieces(routes: list[Route]) -> AsyncIterator[bytes]:
    yield b'{"routingRules": ['
    for start in range(0, len(routes), _PIECE):
        texts = (json.dumps(rule_document(route)) for route in routes[start : start + _PIECE])
        yield (", " * (start > 0) + ", ".join(texts)).encode()
        await asyncio.sleep(0)
    yield b"]}\n"


async def _watch(request: web.Request) -> web.StreamResponse:
    takes, filter_ = _filter(request)
    synced_engine(request)
    feed = services(request).rules
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    if request.method == "HEAD":
        await response.prepare(request)
        return response

    def cut() -> None:
        feed.dropped += 1
        if request.transport is not None:
            request.transport.abort()

    watcher = _Watcher(takes, cut)
    routes = [route for route in feed.rules.matching(filter_) if takes(route)]
    feed.watchers.add(watcher)  # in the same breath, so that no change is missed or told twice
    try:
        await response.prepare(request)
        for start in range(0, len(routes), _PIECE):
            lines = (RuleChange(ADD, route).line() for route in routes[start : start + _PIECE])
            await _written(response, b"".join(lines), cut)
        del routes
        await _written(response, _SYNCED, cut)
        while not watcher.is_cut and not feed.is_closed:
            await _written(response, await watcher.next(), cut)
    except (ConnectionError, TimeoutError):
        pass  # the reader is gone, or too slow
    finally:
        feed.watchers.discard(watcher)
    return response


async def _written(response: web.StreamResponse, piece: bytes, cut: Callable[[], None]) -> None:
    """Raises: ConnectionError; TimeoutError, and then the connection is cut."""
    try:
        async with asyncio.timeout(_STALL_S):
            await response.write(piece)
            await asyncio.sleep(0)
    except TimeoutError:
        cut()
        raise


def _filter(request: web.Request) -> tuple[Callable[[Route], bool], RuleFilter]:
    """What the request asks for, as far as it may see it: a key belongs to the namespace of its object."""
    query = known_query(request, *_FILTERS)
    filter_ = RuleFilter(**{_FILTERS[name]: value for name, value in query.items()})
    engine = services(request).engine

    def takes(route: Route) -> bool:
        return filter_.takes(route) and sees(request, engine.namespace_of(route.routing_key) or "")

    return takes, filter_


_PARAMETERS: Final = tuple(Parameter(name, "Only the rules of this one") for name in _FILTERS)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/v1/workloads/routing-rules",
        _list,
        "Which keys lead where, now",
        {200: Answer("The rules", "RoutingRules")},
        parameters=_PARAMETERS,
        problems=(400,),
        tag="routing",
    ),
    Operation(
        "GET",
        "/api/v1/workloads/routing-rules/watch",
        _watch,
        "Which keys lead where, and how that changes: JSON lines, empty ones are heartbeats",
        {200: Answer("The changes", "RoutingRuleChange", "application/x-ndjson")},
        parameters=_PARAMETERS,
        problems=(400,),
        tag="routing",
    ),
)
