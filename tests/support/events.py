"""Reads the live stream of a controller over a socket, with the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.controller import Controller

LIVE = "/api/v1/live"


class Stream:
    """One connection. `start` is the first event's data; `rows` is what was told, put together."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.connection = connection
        self.response = response
        self.rows: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []  # the ids of the last event's rows
        self.last_id: str | None = None
        self.heartbeats = 0
        type_, self.start = self._event()
        assert type_ == "start"

    def _event(self) -> tuple[str, dict[str, Any]]:
        """The next event; EOFError if the stream ended, as it should."""
        fields: dict[str, str] = {}
        while line := self.response.readline():
            name, _, value = line.decode().rstrip("\n").partition(":")
            if line == b":\n":
                self.heartbeats += 1
            elif name:
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                return fields["event"], json.loads(fields["data"])
        raise EOFError

    def next(self) -> list[str]:
        """Takes one event of rows; the ids that it brought."""
        type_, data = self._event()
        assert type_ == "rows"
        for row in data["rows"]:
            self.rows[row["id"]] = row
        for id_ in data.get("gone", ()):
            self.rows.pop(id_, None)
        self.changed = [row["id"] for row in data["rows"]]
        return self.changed

    def until(self, id_: str, **fields: object) -> dict[str, Any]:
        """The row, once it says this."""
        while True:
            row = self.rows.get(id_)
            if row is not None and all(row.get(name) == value for name, value in fields.items()):
                return row
            self.next()

    def until_gone(self, id_: str) -> None:
        while id_ in self.rows:
            self.next()

    def ends(self, within_s: float = 15.0) -> bool:
        """Waits for the end; whether there is one, and a whole one."""
        end_s = time.monotonic() + within_s
        try:
            while time.monotonic() < end_s:
                if not self.response.read(1):
                    return True  # its last chunk; IncompleteRead without one
        except (http.client.HTTPException, OSError):
            pass
        return False


@contextlib.contextmanager
def streaming(
    controller: Controller, *, token: str | None = None, last_id: str | None = None, within_s: float = 15
) -> Iterator[Stream]:
    headers = {"Accept": "text/event-stream"}
    if (found := token or controller.token) is not None:
        headers["Authorization"] = f"Bearer {found}"
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    connection = controller.connect()
    connection.timeout = within_s
    try:
        connection.request("GET", LIVE, headers=headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        with response:
            yield Stream(connection, response)
    finally:
        connection.close()
