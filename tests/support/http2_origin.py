"""HTTP/2 upstreams: a server in threads that answers by itself, and one that the test itself plays, frame by frame."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

from tests.support.http2 import MAX_WINDOW, PREFACE, SIZE_0, Kind, answer, data, headers
from tests.support.http2_peer import WIDE, Peer, Stream
from tests.support.origin import Server

Reply = Callable[[Peer, Stream], None]


def _greeted(connection: socket.socket, announced: Mapping[int, int], window: int) -> Peer:
    """A server's side. Raises: ConnectionError if it is not spoken to in HTTP/2."""
    begin = b""
    while len(begin) < len(PREFACE):
        piece = connection.recv(len(PREFACE) - len(begin))
        if not piece:
            raise ConnectionError(f"not a preface: {begin!r}")
        begin += piece
    if begin != PREFACE:
        raise ConnectionError(f"not a preface: {begin!r}")
    return Peer(connection, announced, window)


def reply(peer: Peer, stream: Stream, name: str = "") -> None:
    """What a well-behaved origin says: `hello from` itself, and nothing to `/held`."""
    if stream.target == b"/held":
        return
    owed = SIZE_0 if not peer.heads_sent else b""  # as a reader may ask whose smaller table was acknowledged
    body = b"hello from " + name.encode()
    fields = (("x-origin", name), ("content-length", str(len(body))))
    peer.heads_sent += 1
    if stream.method == b"HEAD":
        peer.send(headers(stream.number, owed + answer(200, *fields), end=True))
    else:
        peer.send(headers(stream.number, owed + answer(200, *fields)), data(stream.number, body, end=True))


class Http2Origin(Server):
    """Answers every whole request; `requests` has all of them, whole or not, in order of their heads."""

    def __init__(
        self,
        name: str = "baseline",
        respond: Reply | None = None,
        announced: Mapping[int, int] = WIDE,
        window: int = MAX_WINDOW,
    ) -> None:
        self.name = name
        self.requests: list[Stream] = []
        self.peers: list[Peer] = []
        self._respond = respond or (lambda peer, stream: reply(peer, stream, name))
        self._announced, self._window = announced, window
        super().__init__(self._converse)

    def _converse(self, connection: socket.socket) -> None:
        peer = _greeted(connection, self._announced, self._window)
        self.peers.append(peer)
        known: set[int] = set()
        while (frame := peer.read(3600)) is not None:
            stream = peer.streams.get(frame.stream)
            if stream is None or not stream.fields:
                continue
            if stream.number not in known:
                known.add(stream.number)
                self.requests.append(stream)
            if frame.kind in (Kind.DATA, Kind.HEADERS, Kind.CONTINUATION) and stream.is_complete:
                self._respond(peer, stream)


class Listener:
    """An upstream that the test plays: it accepts when told to, within a time limit."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []

    def accept(self, announced: Mapping[int, int] = WIDE, window: int = MAX_WINDOW, *, timeout_s: float = 5.0) -> Peer:
        """Raises: TimeoutError if nobody connects."""
        self._listener.settimeout(timeout_s)
        connection, _ = self._listener.accept()
        connection.settimeout(timeout_s)
        peer = _greeted(connection, announced, window)
        peer.acks_settings = False  # so that no block owes a size update
        self.peers.append(peer)
        return peer

    def accept_raw(self, said: bytes) -> None:
        """An upstream that says so and ends, whatever it is told."""
        self._listener.settimeout(5)
        with self._listener.accept()[0] as connection:
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def drop(self) -> None:
        """Closes what was accepted, and what was not yet; the port stays."""
        self._listener.settimeout(0)
        with contextlib.suppress(OSError):
            while True:
                self._listener.accept()[0].close()
        for peer in self.peers:
            peer.socket.close()
        self.peers.clear()

    def close(self) -> None:
        self.drop()
        with contextlib.suppress(OSError):
            self._listener.close()
