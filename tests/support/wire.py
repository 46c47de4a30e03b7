"""Both ends of a proxy by their bytes: an origin that takes whatever comes and records it, and a client's view of what
came back. Neither judges: a strict parser here would hide what a proxy let through.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.origin import Server

Fields = list[tuple[bytes, bytes]]


@dataclass
class Seen:
    """One whole request as an origin saw it; names in lower case."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    framing: str  # none, length or chunked
    body: bytes = b""
    trailers: Fields = field(default_factory=list)


@dataclass
class Heard:
    """Every byte of one connection as an origin got it, whole requests or not."""

    data: bytearray = field(default_factory=bytearray)
    is_over: bool = False


class _Wire:
    """Reads from a socket."""

    def __init__(self, connection: socket.socket, heard: Heard) -> None:
        self._connection = connection
        self._heard = heard
        self.data = b""

    def more(self) -> None:
        piece = self._connection.recv(262144)
        if not piece:
            raise EOFError
        self._heard.data += piece
        self.data += piece

    def until(self, mark: bytes) -> bytes:
        while mark not in self.data:
            self.more()
        taken, _, self.data = self.data.partition(mark)
        return taken

    def exactly(self, size: int) -> bytes:
        while len(self.data) < size:
            self.more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken


def _parted(lines: list[bytes]) -> Fields:
    return [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


class WireOrigin(Server):
    """Answers every request, once it is whole, with a 200 on a connection that stays. It says who answered in
    `x-origin`, and the request's target is its body. `heard` are all connections, by their bytes."""

    def __init__(self, name: str = "baseline") -> None:
        self.name = name
        self.heard: list[Heard] = []
        self._seen: list[Seen] = []
        self._unfinished = 0
        self._changed = threading.Condition()
        super().__init__(self._converse)

    def _converse(self, connection: socket.socket) -> None:
        heard = Heard()
        self.heard.append(heard)
        wire = _Wire(connection, heard)
        try:
            while True:
                if not wire.data:
                    wire.more()
                self._count(1)
                try:
                    seen = self._read(wire)
                    with self._changed:
                        self._seen.append(seen)
                    head = b"HTTP/1.1 200 OK\r\nx-origin: %b\r\nContent-Length: %d\r\n\r\n"
                    body = b"" if seen.method == b"HEAD" else seen.target
                    connection.sendall(head % (self.name.encode(), len(seen.target)) + body)
                finally:
                    self._count(-1)
        except EOFError:
            pass
        finally:
            heard.is_over = True

    def _count(self, step: int) -> None:
        with self._changed:
            self._unfinished += step
            self._changed.notify_all()

    @staticmethod
    def _read(wire: _Wire) -> Seen:
        start, *lines = wire.until(b"\r\n\r\n").split(b"\r\n")
        method, target, version = [*start.split(b" "), b"", b""][:3]
        fields = _parted(lines)
        values = dict(fields)
        if b"chunked" in values.get(b"transfer-encoding", b"").lower():
            seen = Seen(method, target, version, fields, "chunked")
            while size := int(wire.until(b"\r\n").partition(b";")[0], 16):
                seen.body += wire.exactly(size)
                wire.exactly(2)
            while line := wire.until(b"\r\n"):
                seen.trailers += _parted([line])
            return seen
        length = values.get(b"content-length")
        if length is None:
            return Seen(method, target, version, fields, "none")
        return Seen(method, target, version, fields, "length", wire.exactly(int(length)))

    def take(self, timeout_s: float = 2.0) -> list[Seen]:
        """The whole requests since the last call, once none is under way."""
        with self._changed:
            self._changed.wait_for(lambda: self._unfinished == 0, timeout_s)
            seen, self._seen = self._seen, []
            return seen


@dataclass(frozen=True)
class Answer:
    """One whole response. `origin`: who gave it; empty where the proxy did."""

    status: int
    origin: str
    body: bytes = b""
    head: bytes = b""


_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


def answers(data: bytes, *, is_head: bool) -> tuple[list[Answer], bytes]:
    """The whole responses in a stream, all with a length, and what is left. `is_head`: the first one answers HEAD."""
    found = []
    while match := _HEAD.match(data):
        values = dict(_parted(match[2].split(b"\r\n")))
        origin = values.get(b"x-origin", b"").decode()
        size = int(values.get(b"content-length", b"0"))
        if is_head and origin and not found:
            size = 0
        if len(data) < match.end() + size:
            break
        found.append(Answer(int(match[1]), origin, data[match.end() : match.end() + size], match[0]))
        data = data[match.end() + size :]
    return found, data


def asked(port: int, data: bytes, *, patience_s: float, quiet_s: float) -> list[Answer]:
    """What comes back for these bytes on a connection of their own, until the peer closes or has nothing to say for
    `quiet_s` behind an answer, for `patience_s` before one."""
    received = b""
    is_head = data.startswith(b"HEAD ")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            connection.sendall(data)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while True:
                found, rest = answers(received, is_head=is_head)
                connection.settimeout(quiet_s if found and not rest else patience_s)
                if not (piece := connection.recv(262144)):
                    break
                received += piece
    found, rest = answers(received, is_head=is_head)
    assert not rest, f"half an answer: {rest[:200]!r}"
    return found


def said(port: int, pieces: Iterable[bytes], *, ends: bool, is_head: bool = False) -> list[Answer]:
    """What comes back for these pieces, each sent by itself, until the peer ends the connection, which it must do.

    `ends`: our side ends behind the last piece. A reset is an error: an answer could get lost by it.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(262144):
            received += piece
    found, rest = answers(received, is_head=is_head)
    assert not rest, f"what is no answer: {rest[:200]!r}"
    return found
