"""A raw client: sends bytes as they are, and reads what comes back by h11."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import h11


@dataclass
class Response:
    """One response as a client saw it. `is_complete`: its framing said so."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    is_complete: bool = False
    interim: list[int] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def value(self, name: str) -> str:
        """The values of a field, joined; empty where it is absent."""
        return ", ".join(v.decode("latin-1") for n, v in self.fields if n.lower() == name.encode())

    @property
    def origin(self) -> str:
        return self.value("x-origin")

    @property
    def decision(self) -> str:
        return self.value("pointsman-decision")


def get(path: str = "/", *lines: str, method: str = "GET", host: str = "location") -> bytes:
    """A request head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


class Client:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = 10.0, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.closed = False
        self.was_reset = False

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def read(self, method: str = "GET") -> Response:
        """The next response."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        if self._rest:
            http.receive_data(self._rest)
            self._rest = b""
        response: Response | None = None
        interim: list[int] = []
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError:
                if response is None:
                    raise ConnectionError("closed without a response") from None
                return response
            if event is h11.NEED_DATA:
                http.receive_data(self._recv())
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                response = Response(event.status_code, list(event.headers.raw_items()), interim=interim)
            elif isinstance(event, h11.Data):
                assert response is not None
                response.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                response.is_complete = True
                response.trailers = list(event.headers.raw_items())
                self._rest = http.trailing_data[0]
                return response
            else:
                raise ConnectionError("closed without a response")

    def _recv(self) -> bytes:
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            self.was_reset = True
            data = b""
        if not data:
            self.closed = True
        return data

    def ask(self, *pieces: bytes, method: str = "GET") -> Response:
        """Sends and reads one response."""
        self.send(*pieces)
        return self.read(method)

    def read_to_end(self) -> bytes:
        """Every byte until the peer closes."""
        data = self._rest
        self._rest = b""
        while piece := self._recv():
            data += piece
        return data

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def connected(port: int, host: str = "127.0.0.1") -> Iterator[Client]:
    client = Client(port, host=host)
    try:
        yield client
    finally:
        client.close()


def ask(port: int, *pieces: bytes, method: str = "GET", host: str = "127.0.0.1") -> Response:
    """One request on a connection of its own."""
    with connected(port, host) as client:
        return client.ask(*pieces, method=method)


def all_responses(data: bytes, methods: Iterable[str]) -> list[int]:
    """The status codes in a stream of responses."""
    statuses = []
    for method in methods:
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        http.receive_data(data)
        http.receive_data(b"")
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        data = http.trailing_data[0]
    return statuses
