"""A controller that does what a test says: a WebSocket server of the websockets library, none of our own code."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.support.proxy import WORKLOAD, table

LONG_S = 10.0


class Peer:
    """One proxy's connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.request = connection.request
        self.ended = threading.Event()
        self.seen: list[dict[str, Any]] = []  # passed over while something else was waited for

    def say(self, **message: object) -> None:
        self.connection.send(json.dumps(message))

    def next(self, kind: str, within_s: float = LONG_S) -> dict[str, Any]:
        """The next message of this kind; others are kept in `seen`."""
        while True:
            message = json.loads(self.connection.recv(timeout=within_s))
            assert isinstance(message, dict)
            if message["type"] == kind:
                return message
            self.seen.append(message)

    def snapshot(self, position: int, *routes: Mapping[str, object], nonce: str = "", **rest: object) -> dict[str, Any]:
        """Sends a whole slice in one part; the answer."""
        nonce = nonce or f"s{position}"
        document = table(*map(dict, routes), version=f"v{position}", **rest)
        self.say(
            type="snapshot",
            nonce=nonce,
            position=position,
            version=f"v{position}",
            part=0,
            isLast=True,
            document=document,
        )
        return self.answer(nonce)

    def change(self, position: int, since: int, nonce: str = "", **what: object) -> dict[str, Any]:
        """Sends a change; the answer."""
        nonce = nonce or f"c{position}"
        self.say(type="change", nonce=nonce, position=position, version=f"v{position}", **{"from": since}, **what)
        return self.answer(nonce)

    def answer(self, nonce: str) -> dict[str, Any]:
        """The ack, nack or resync that follows."""
        while True:
            message = json.loads(self.connection.recv(timeout=LONG_S))
            assert isinstance(message, dict)
            if message["type"] == "resync" or message.get("nonce") == nonce:
                return message
            self.seen.append(message)

    def cut(self) -> None:
        """Ends the connection as a crash does."""
        with contextlib.suppress(OSError):
            self.connection.socket.shutdown(2)
        self.ended.set()

    def is_gone(self, within_s: float = LONG_S) -> bool:
        """Whether the proxy leaves within this time; what it says until then is kept."""
        try:
            while True:
                self.seen.append(json.loads(self.connection.recv(timeout=within_s)))
        except ConnectionClosed:
            return True
        except TimeoutError:
            return False


class Controller:
    """Listens until stopped; `peer()` is the next proxy that dialled, after its hello."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._peers: queue.Queue[Peer] = queue.Queue()
        self._all: list[Peer] = []
        self.refuse_with: tuple[int, dict[str, str]] | None = None  # status and fields of the handshake's answer
        self.requests: list[Request] = []
        self._server = serve(
            self._handle,
            "127.0.0.1",
            port,
            ssl=tls,
            subprotocols=["pointsman.feed.v1"],  # type: ignore[list-item]
            compression=None,
            process_request=self._on_request,
            max_size=None,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peer(self, within_s: float = LONG_S) -> tuple[Peer, dict[str, Any]]:
        peer = self._peers.get(timeout=within_s)
        return peer, peer.next("hello")

    def stop(self) -> None:
        for peer in self._all:
            peer.cut()
        self._server.shutdown()
        self._server.socket.close()
        self._thread.join(5)

    def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.refuse_with is None:
            return None
        status, fields = self.refuse_with
        response = connection.respond(status, "")
        for name, value in fields.items():
            response.headers[name] = value
        return response

    def _handle(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        self._all.append(peer)
        self._peers.put(peer)
        peer.ended.wait()


@contextlib.contextmanager
def controlling(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Controller]:
    """A controller that is stopped at the end."""
    controller = Controller(port, tls)
    try:
        yield controller
    finally:
        controller.stop()


def baseline_of(workload: str = WORKLOAD) -> dict[str, str]:
    """A workload as documents name it."""
    namespace, kind, name = workload.split("/")
    return {"kind": kind, "namespace": namespace, "name": name}
