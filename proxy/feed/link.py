"""The connection to the controller: dialled for as long as the proxy runs, and whatever it does, routing goes on.

    dial -> hello (what we have) -> tables in, answers and traffic out -> it breaks -> wait -> dial

- Waiting is random in 0 to 0.1 s, doubled to at most 10 s with each failure ("full jitter"), so that a thousand proxies
  do not come back in one moment. A connection that brought a table and held for a while begins anew.
- Each dial reads token and CA anew, since both are renewed in place.
- A peer that does not answer pings, stops in the middle of a table, or says what can't be read, is left. One that says
  nothing at all may not have read its store yet: it is listened to.
- Nothing is followed elsewhere: no redirects, no proxies of the environment; the token is for this controller.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from proxy.background import spawn
from proxy.feed.messages import (
    HEARTBEAT_S,
    HEARTBEAT_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    PATH,
    SUBPROTOCOL,
    Ack,
    Change,
    Counted,
    Current,
    FromController,
    FromProxy,
    Goodbye,
    Hello,
    Nack,
    Refused,
    Report,
    Snapshot,
)
from proxy.feed.receiver import Receiver
from proxy.feed.report import Reporter
from proxy.feed.wire import WireError, encode, read_from_controller
from proxy.release import RELEASE
from proxy.tables import Holder

_MIN_WAIT_S: Final = 0.1
_MAX_WAIT_S: Final = 10.0
_SETTLED_S: Final = 5.0
_OPEN_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0
_STALLED_S: Final = 30.0  # within a table that comes in parts
_REPORT_EVERY_S: Final = 1.0
_MAX_QUEUE: Final = 2  # messages read ahead, each of up to MAX_MESSAGE_BYTES
_MAX_TOKEN_BYTES: Final = 16384
_MAX_WHY: Final = 300

_log = logging.getLogger(__name__)
_library_log = logging.getLogger("websockets.client")


@dataclass(frozen=True, slots=True)
class Controller:
    """Where it is and how it is spoken to."""

    url: str  # http://host:port or https://host:port, maybe with a path before the feed's own
    token_file: str | None
    ca_file: str | None


class LinkError(Exception):
    """The connection can't be made, or must not go on."""


class Link:
    """Keeps one connection. `first_sync` is set once a table of the controller, or its word on ours, was taken."""

    def __init__(
        self,
        controller: Controller,
        hello: Callable[[], Hello],
        tables: Holder,
        receiver: Receiver,
        reporter: Reporter,
    ) -> None:
        self.first_sync: Final = asyncio.Event()
        self._controller: Final = controller
        self._hello: Final = hello
        self._tables: Final = tables
        self._receiver: Final = receiver
        self._reporter: Final = reporter
        self._connection: ClientConnection | None = None
        self._reporting: Final = asyncio.Lock()  # whoever makes reports sends them before the next ones are made
        self._is_leaving = False
        self._all_counted: Final = asyncio.Event()
        self._failures = 0  # in a row
        self.failures_total = 0
        self.connected_total = 0
        if controller.token_file is not None and controller.url.startswith("http:"):
            _log.warning("the token goes to %s without TLS: whoever listens on the way can use it", controller.url)
        self._context: tuple[object, ssl.SSLContext] | None = None
        self._last_why = ""
        self._synced_at_s = inf  # of the connection that there is

    async def run(self) -> None:
        """Until cancelled, or `leave` was called."""
        self._tables.unheard("the controller was not heard of yet")
        while not self._is_leaving:
            self._synced_at_s = inf
            try:
                why = await self._one_connection()
            except (LinkError, OSError, WebSocketException) as error:
                why = _text(error)
            except Exception as error:  # noqa: BLE001
                # Whatever it is, a proxy must not stay without a feed for ever.
                _log.exception("the connection to the controller failed in a way that was not foreseen")
                why = _text(error)
            if self._has_left():
                return
            if self._tables.now_s - self._synced_at_s > _SETTLED_S:
                self._failures = 0
            self.failures_total += 1
            self._tables.unheard(f"no connection to the controller: {why}")
            if why != self._last_why:
                self._last_why = why
                so = (
                    "routing goes on by the last table"
                    if self._receiver.is_whole
                    else "tagged requests get 503 meanwhile"
                )
                _log.warning("no connection to the controller, trying again; %s: %s", so, why)
            await asyncio.sleep(_wait_s(self._failures))
            self._failures += 1

    def _has_left(self) -> bool:
        return self._is_leaving

    async def leave(self, limit_s: float = 1.0) -> None:
        """Send the last counts and say goodbye, if there is a connection, within so many seconds."""
        self._is_leaving = True
        connection = self._connection
        if connection is None:
            if self._reporter.last() or not self._reporter.is_all_counted:
                _log.warning("the last counts are lost: there is no connection to the controller")
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._report(connection, self._reporter.last)
                while not self._reporter.is_all_counted:
                    self._all_counted.clear()
                    await self._all_counted.wait()
                await connection.send(encode(Goodbye()))
                await connection.close()
        except (TimeoutError, ConnectionClosed):
            _log.warning("the controller did not take the last counts")

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    # --- one connection ---

    async def _one_connection(self) -> str:
        """Why it ended."""
        connection = await self._dial()
        self.connected_total += 1
        self._receiver.restart()
        reports = None
        try:
            await connection.send(encode(self._hello()))
            await self._report(connection, self._reporter.again)
            self._connection = connection
            reports = spawn(self._send_reports(connection), "traffic reports")
            while True:
                async with asyncio.timeout(_STALLED_S if self._receiver.is_in_parts else None):
                    text = await connection.recv()
                if (why := await self._take(connection, text)) is not None:
                    return why
        except TimeoutError:
            return "it stopped in the middle of a table"
        finally:
            self._connection = None
            if reports is not None:
                reports.cancel()
            await _close(connection)

    async def _dial(self) -> ClientConnection:
        scheme, _, rest = self._controller.url.partition("://")
        secure = scheme == "https"
        return await _Dial(
            f"{'wss' if secure else 'ws'}://{rest.rstrip('/')}{PATH}",
            ssl=self._tls() if secure else None,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=self._credentials(),
            user_agent_header=f"pointsman-proxy/{RELEASE}",
            compression=None,
            proxy=None,
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=HEARTBEAT_S,
            ping_timeout=HEARTBEAT_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=_MAX_QUEUE,
            logger=_library_log,
        )

    def _credentials(self) -> dict[str, str]:
        path = self._controller.token_file
        if path is None:
            return {}
        try:
            with open(path, "rb") as file:
                token = file.read(_MAX_TOKEN_BYTES + 1).strip()
        except OSError as error:
            raise LinkError(f"--token-file {path} can't be read: {error.strerror}") from None
        if not token or len(token) > _MAX_TOKEN_BYTES or not token.isascii() or not token.decode().isprintable():
            raise LinkError(f"--token-file {path} holds no token: one line of printable ASCII")
        return {"Authorization": f"Bearer {token.decode()}"}

    def _tls(self) -> ssl.SSLContext:
        """Made anew when the CA file changed: reading the system's takes 20 ms."""
        path = self._controller.ca_file
        try:
            found = os.stat(path) if path is not None else None
            stamp = found and (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._context is None or self._context[0] != stamp:
                self._context = (stamp, ssl.create_default_context(cafile=path))
        except (OSError, ssl.SSLError) as error:
            raise LinkError(f"--controller-ca {path} can't be used: {error.strerror or error}") from None
        return self._context[1]

    async def _take(self, connection: ClientConnection, text: str | bytes) -> str | None:
        """Acts on a message. A text: why the connection must end."""
        try:
            message = read_from_controller(text)
        except WireError as error:
            if error.nonce is None:
                self._tables.refuse([f"the controller said what can't be read: {error}"])
                return f"it said what can't be read: {error}"
            await connection.send(encode(self._receiver.refuse(error.nonce, [str(error)])))
            return None
        if isinstance(message, Refused):
            return f"it refuses this proxy: {message.reason}"
        await self._act(connection, message)
        return None

    async def _act(self, connection: ClientConnection, message: FromController | None) -> None:
        if isinstance(message, Snapshot | Change | Current):
            answer = self._receiver.take(message)
            if answer is not None:
                await connection.send(encode(answer))
            if isinstance(answer, Ack) or (isinstance(answer, Nack) and not answer.is_whole):
                self._synced()
            await self._receiver.tidy()
        elif isinstance(message, Report):
            reply = message.reply
            await self._report(connection, lambda: self._reporter.asked(reply))
        elif isinstance(message, Counted):
            self._reporter.counted(message.seq)
            if self._reporter.is_all_counted:
                self._all_counted.set()
        await asyncio.sleep(0)  # messages may stand in a queue, and requests must come in between

    def _synced(self) -> None:
        if self._synced_at_s == inf:
            self._synced_at_s = self._tables.now_s
            _log.info("in sync with the controller, at position %s", self._receiver.position)
        self._last_why = ""
        self.first_sync.set()

    async def _send_reports(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            try:
                await self._report(connection, self._reporter.due)
            except ConnectionClosed:
                return  # whoever reads notices, too

    async def _report(self, connection: ClientConnection, messages: Callable[[], Iterable[FromProxy]]) -> None:
        """In the order of their numbers: the controller takes a later one as the word that it has those before."""
        async with self._reporting:
            for message in messages():
                await connection.send(encode(message))


class _Dial(connect):
    """Follows no redirects: whoever answers in the controller's place gets no token sent on."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _wait_s(failures: int) -> float:
    return random.uniform(0, min(_MAX_WAIT_S, _MIN_WAIT_S * 2 ** min(failures, 20)))


async def _close(connection: ClientConnection) -> None:
    """Within `_CLOSE_TIMEOUT_S`."""
    try:
        await connection.close()
    except OSError:
        connection.transport.abort()


def _text(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return text.encode("ascii", "backslashreplace").decode()[:_MAX_WHY].replace("\n", " ")
