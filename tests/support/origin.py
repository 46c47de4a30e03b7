"""Origins: small servers in threads that record what reaches them.

`Origin` serves real HTTP/1.1 by h11, an implementation that is not ours. `RawOrigin` says what a script tells it to.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h11


@dataclass
class Received:
    """One request as an origin saw it."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for spelled, value in self.fields if spelled.lower() == name]


Responder = Callable[[Received], tuple[int, list[tuple[str, str]], bytes]]


class Server:
    """Accepts on a loopback address, by default a free port, until closed; a thread for each connection."""

    def __init__(self, serve: Callable[[socket.socket], None], address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._serve = serve
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=1024, dualstack_ipv6=address[0] == "::")
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.callers: list[str] = []  # the address of each
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.callers.append(peer[0])
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, h11.RemoteProtocolError):  # a request that was cut short
            self._serve(connection)
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def drop_connections(self) -> None:
        """Closes what is open; the port stays."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the port and all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()


class Origin(Server):
    """A well-behaved HTTP/1.1 server. The default response names it in `x-origin`."""

    def __init__(
        self,
        name: str = "baseline",
        respond: Responder | None = None,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.name = name
        self.requests: list[Received] = []
        self._respond = respond or (lambda received: (200, [], b"hello from " + name.encode()))
        super().__init__(self._converse, address)

    def _converse(self, connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        received: Received | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = connection.recv(262144)
                http.receive_data(data)
                if not data and http.their_state is h11.IDLE:
                    return
            elif isinstance(event, h11.Request):
                received = Received(event.method, event.target, list(event.headers.raw_items()))
                self.requests.append(received)
                if http.they_are_waiting_for_100_continue:
                    connection.sendall(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            elif isinstance(event, h11.Data):
                assert received is not None
                received.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert received is not None
                received.trailers = list(event.headers.raw_items())
                received.is_complete = True
                self._answer(connection, http, received)
                if http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()
            else:
                return

    def _answer(self, connection: socket.socket, http: h11.Connection, received: Received) -> None:
        status, headers, body = self._respond(received)
        fields = [*headers, ("x-origin", self.name)]
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields):
            fields.append(("Content-Length", str(len(body))))
        data = http.send(h11.Response(status_code=status, headers=fields)) or b""
        if received.method != b"HEAD" and status not in (204, 304):
            data += http.send(h11.Data(body)) or b""
        connection.sendall(data + (http.send(h11.EndOfMessage()) or b""))


class RawOrigin(Server):
    """Runs `script(connection, head)` for each connection once a request head has arrived."""

    def __init__(self, script: Callable[[socket.socket, bytes], None]) -> None:
        self._script = script
        self.received: list[bytes] = []
        super().__init__(self._play)

    def _play(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                if data:
                    self.received.append(data)
                return
            data += piece
        self.received.append(data)
        self._script(connection, data)


def says(data: bytes, *, then: str = "close", delay_s: float = 0.0) -> Callable[[socket.socket, bytes], None]:
    """A script: sends `data`, and then `close`s, `reset`s, or `wait`s for the peer to end."""

    def script(connection: socket.socket, head: bytes) -> None:
        if delay_s:
            time.sleep(delay_s)
        connection.sendall(data)
        if then == "reset":
            time.sleep(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif then == "wait":
            while connection.recv(65536):
                pass

    return script


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Closes the servers at the end."""
    try:
        yield
    finally:
        for server in servers:
            server.close()
