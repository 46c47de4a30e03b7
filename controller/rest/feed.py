"""`/feed/v1`: a WebSocket for each proxy. What is said is the hub's matter; here is how long anything may take.

Who it is was asked when it dialled, and is asked again while it is there: a token that is taken away ends its feed.

A proxy that does not read is left, not waited for: what it must know is in the hub, and it gets that when it dials
again. One that says what can't be read is left, too. Neither touches any other.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from controller.access import PROXY, Identity
from controller.background import spawn
from controller.feed.hub import HelloRefused, Hub, workload_of
from controller.feed.subscription import Subscription
from controller.rest.operations import Answer, Operation
from controller.rest.services import bearer, identity, services
from proxy.feed.messages import (
    HEARTBEAT_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    PATH,
    SUBPROTOCOL,
    Ack,
    FromProxy,
    Goodbye,
    Hello,
    Nack,
    Refused,
    Resync,
    Traffic,
)
from proxy.feed.wire import WireError, encode, read_from_proxy

_HELLO_S: Final = 10.0
_SEND_S: Final = 30.0  # a message that is not taken within this is not read any more
_CLOSE_S: Final = 1.0  # when we leave
_CHECK_S: Final = 5.0  # how long a token that was taken away may go on

_log = logging.getLogger(__name__)


class _Left(Exception):
    """The connection must end; the text is for the log and the proxy."""


async def _feed(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_TIMEOUT_S,  # and half of that for the pong: 30 s in all
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
    )
    await socket.prepare(request)
    hub = services(request).hub
    sockets = request.app[SOCKETS].open
    sockets.add(socket)
    try:
        hello = await _hello(socket)
        who = identity(request)
        assert who is not None
        await _serve(request, socket, hub, hello, who)
    except _Left as left:
        _log.warning("a proxy at %s is left: %s", request.remote, left)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_SEND_S):
                await socket.send_str(encode(Refused(str(left))))
                await socket.close()
    finally:
        sockets.discard(socket)
        if socket.close_code == WSCloseCode.ABNORMAL_CLOSURE:
            _abort(request)  # what it does not take would be kept for as long as its kernel says that it is there
    return socket


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _hello(socket: web.WebSocketResponse) -> Hello:
    try:
        async with asyncio.timeout(_HELLO_S):
            message = await _next(socket)
    except TimeoutError:
        raise _Left(f"no hello within {_HELLO_S:g} s") from None
    if not isinstance(message, Hello):
        raise _Left("the first message must be hello")
    return message


async def _next(socket: web.WebSocketResponse) -> FromProxy | None:
    """The next message that is known here; None: there is none, the connection has ended.

    Raises: _Left.
    """
    while True:
        received = await socket.receive()
        if received.type is WSMsgType.TEXT:
            try:
                message = read_from_proxy(received.data)
            except WireError as error:
                raise _Left(str(error)) from None
            if message is not None:
                return message
        elif received.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        else:
            raise _Left("messages must be text")


async def _serve(request: web.Request, socket: web.WebSocketResponse, hub: Hub, hello: Hello, who: Identity) -> None:
    news = asyncio.Event()
    try:
        workload = workload_of(hello)
        if not who.may_attach(workload):
            raise _Left(f"the token {who.name} is for {who.workload or 'routers'}, not for {workload or 'routers'}")
        subscription = hub.attach(hello, news.set)
    except HelloRefused as refused:
        raise _Left(str(refused)) from None
    news.set()
    sending = spawn(_send(request, socket, hub, subscription, news), f"the feed of {subscription.id}")

    def give_up(_: object) -> None:
        # It does not read, has gone, has dialled again or may not any more. A close would wait for it, too.
        _abort(request)

    sending.add_done_callback(give_up)
    is_clean = False
    try:
        while (message := await _next(socket)) is not None:
            if isinstance(message, Goodbye):
                is_clean = True
                break
            _take(hub, subscription, message, news)
    finally:
        hub.detach(subscription, is_clean=is_clean)
        sending.remove_done_callback(give_up)
        sending.cancel()


def _take(hub: Hub, subscription: Subscription, message: FromProxy, news: asyncio.Event) -> None:
    if isinstance(message, Ack | Nack):
        hub.take(subscription, message)
    elif isinstance(message, Resync):
        subscription.resync()
    elif isinstance(message, Traffic):
        hub.take_traffic(subscription, message)
    else:
        raise _Left("hello comes once")
    news.set()  # what changed meanwhile is due


async def _send(
    request: web.Request, socket: web.WebSocketResponse, hub: Hub, subscription: Subscription, news: asyncio.Event
) -> None:
    """Sends what is due, for as long as the proxy is there, reads, and may."""
    check_s = _CHECK_S if services(request).identify is not None else None
    with suppress(ConnectionError, TimeoutError):
        while hub.is_attached(subscription):
            with suppress(TimeoutError):
                async with asyncio.timeout(check_s):
                    await news.wait()
            news.clear()
            if not _may(request, subscription):
                _log.warning("%s is left: its token was taken away", subscription.id)
                return
            for number, text in enumerate(hub.due(subscription)):
                if number:
                    await asyncio.sleep(0)  # a router's are made one by one
                async with asyncio.timeout(_SEND_S):
                    await socket.send_str(text)


def _may(request: web.Request, subscription: Subscription) -> bool:
    """Whether the token that it dialled with is still one for its workload."""
    identify, token = services(request).identify, bearer(request)
    if identify is None:
        return True
    who = identify(token) if token is not None else None
    return who is not None and who.may_attach(subscription.workload)


class Sockets:
    """Those that are open."""

    def __init__(self) -> None:
        self.open: Final[set[web.WebSocketResponse]] = set()


SOCKETS: Final = web.AppKey("feed", Sockets)


async def close_all(app: web.Application) -> None:
    """We leave: proxies dial again, and find whoever comes next."""
    async with asyncio.TaskGroup() as closing:
        for socket in app[SOCKETS].open:
            closing.create_task(_close(socket))


async def _close(socket: web.WebSocketResponse) -> None:
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"the controller restarts")


OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        _feed,
        "The feed of one proxy, or router, as a WebSocket",
        {101: Answer("The protocol is pointsman.feed.v1", media_type="text/plain")},
        PROXY,
        tag="feed",
    ),
)
