"""A proxy that does what a test says: a WebSocket client of the websockets library, none of our own code."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

LONG_S = 10.0


class ScriptedProxy:
    """Says hello; answers every table with an ack for as long as `acks` is on, and every report with no counts."""

    def __init__(
        self,
        connection: ClientConnection,
        workload: str,
        id: str,
        acks: bool,
        position: int | None,
        version: str | None,
    ) -> None:
        self.connection = connection
        self.tables: list[dict[str, Any]] = []  # last parts of snapshots and changes, and currents
        self.texts: list[str] = []  # all that was said to it
        self.refused: str | None = None
        self.reports: list[str] = []  # what was asked with, and not answered
        self.acks = acks
        self.answers_reports = True
        self._seq = 0
        self.ended = threading.Event()
        proxy = {"id": id, "boot": f"boot-{id}", "workload": workload, "ports": [8081]}
        self.say(type="hello", schemas=["pointsman.dev/v1alpha1"], proxy=proxy, position=position, version=version)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def say(self, **message: object) -> None:
        self.connection.send(json.dumps(message))

    def ack(self, table: dict[str, Any]) -> None:
        self.say(type="ack", **{name: table[name] for name in ("nonce", "position", "version")})

    def report(self, counts: list[tuple[str, int, int]], reply: str | None = None) -> None:
        self._seq += 1
        self.say(type="traffic", seq=self._seq, counts=counts, lost=False, reply=reply)

    def _read(self) -> None:
        try:
            while True:
                self.texts.append(text := str(self.connection.recv()))
                self._take(json.loads(text))
        except ConnectionClosed:
            self.ended.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] in ("snapshot", "change", "current") and message.get("isLast", True):
            self.tables.append(message)
            if self.acks:
                self.ack(message)
        elif message["type"] == "report":
            if self.answers_reports:
                self.report([], message["reply"])
            else:
                self.reports.append(message["reply"])
        elif message["type"] == "refused":
            self.refused = message["reason"]


@contextlib.contextmanager
def scripted_proxy(
    url: str,
    workload: str = "hotrod/Deployment/location",
    id: str = "p1",
    *,
    acks: bool = True,
    token: str | None = None,
    position: int | None = None,
    version: str | None = None,
) -> Iterator[ScriptedProxy]:
    """A proxy that is cut off at the end."""
    with connect(
        f"ws{url.removeprefix('http')}/feed/v1",
        subprotocols=[Subprotocol("pointsman.feed.v1")],
        additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
        compression=None,
        max_size=None,
    ) as connection:
        proxy = ScriptedProxy(connection, workload, id, acks, position, version)
        try:
            yield proxy
        finally:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(2)
            proxy.thread.join(LONG_S)
