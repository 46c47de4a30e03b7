"""RFC 8441: WebSocket over one stream of HTTP/2, towards either version, and HTTP/1.1 upgrades towards HTTP/2."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.client import connected as http1
from tests.support.client import get as http1_get
from tests.support.http2 import Code, Fields, Setting, answer, block, data, get, headers, reset
from tests.support.http2_peer import WIDE, Peer, connected
from tests.support.http2_wire import Wire, wired
from tests.support.origin import RawOrigin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
EXTENDS = {**WIDE, Setting.ENABLE_CONNECT_PROTOCOL: 1}


def connect_head(*more: tuple[str, str], path: str = "/chat?room=1", protocol: str = "websocket") -> bytes:
    pseudo = ((":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path))
    return block(*pseudo, (":authority", "location"), ("sec-websocket-version", "13"), *more)


def accept_of(request: bytes) -> bytes:
    match = re.search(rb"\r\nSec-WebSocket-Key: *([^\r]*)\r\n", request, re.IGNORECASE)
    assert match is not None
    assert len(base64.b64decode(match[1], validate=True)) == 16
    return base64.b64encode(hashlib.sha1(match[1] + GUID, usedforsecurity=False).digest())


class Upgrading(RawOrigin):
    """Says what `answer` makes of the request's key, then plays the connection to the test."""

    def __init__(self) -> None:
        self.answer = self.good
        self.tunnels: list[socket.socket] = []
        self.is_done = threading.Event()
        super().__init__(self._upgrade)

    @staticmethod
    def good(request: bytes) -> bytes:
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        return b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + accept_of(request), b"X-Origin: raw", b"", b""])

    def _upgrade(self, connection: socket.socket, request: bytes) -> None:
        connection.sendall(self.answer(request))
        connection.settimeout(5)
        self.tunnels.append(connection)
        self.is_done.wait(10)

    def tunnel(self, number: int = 1) -> socket.socket:
        """The last one, of so many."""
        until(lambda: len(self.tunnels) >= number, "the upgrade")
        return self.tunnels[-1]


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, list[Upgrading]]]:
    """A proxy before an origin of HTTP/1.1."""
    origin = Upgrading()
    flags = ("--baseline-protocol", "http")
    with running(origin), run_proxy(tmp_path_factory.mktemp("upgrade"), origin.port, flags=flags) as proxy:
        yield proxy, [origin]


@pytest.fixture
def origin(down: tuple[Proxy, list[Upgrading]]) -> Iterator[Upgrading]:
    (origin,) = down[1]
    origin.answer, origin.is_done = origin.good, threading.Event()
    origin.tunnels.clear()
    origin.received.clear()
    yield origin
    origin.is_done.set()


@pytest.fixture
def client(down: tuple[Proxy, list[Upgrading]]) -> Iterator[Peer]:
    with connected(down[0].port, first=False) as peer:
        peer.acks_settings = False
        peer.sync()
        yield peer


# --- HTTP/2 to HTTP/1.1 ---


def test_an_extended_connect_becomes_an_upgrade(client: Peer, origin: Upgrading) -> None:
    client.send(headers(1, connect_head(("origin", "http://a"), ("sec-websocket-protocol", "chat"))))
    response = client.headed(1)
    assert (response.status, response.origin, response.is_over) == (200, "raw", False)
    names = {name for name, _ in response.fields}
    assert not names & {b"upgrade", b"connection", b"sec-websocket-accept", b"transfer-encoding"}
    request = origin.received[0].lower()
    assert request.startswith(b"get /chat?room=1 http/1.1\r\n")
    for line in (b"host: location", b"upgrade: websocket", b"origin: http://a", b"sec-websocket-protocol: chat"):
        assert request.count(b"\r\n" + line + b"\r\n") == 1
    assert re.search(rb"\r\nconnection: [^\r]*upgrade", request)
    assert b":" not in {line[:1] for line in request.split(b"\r\n")}


def test_bytes_pass_both_ways(client: Peer, origin: Upgrading) -> None:
    client.send(headers(1, connect_head()), data(1, b"early"))
    client.headed(1)
    tunnel = origin.tunnel()
    assert tunnel.recv(100) == b"early"
    for piece in (b"\x81\x02hi", bytes(range(256))):
        client.send(data(1, piece, pad=3))
        assert tunnel.recv(1000) == piece
        tunnel.sendall(piece)
        client.until(lambda piece=piece: client.stream(1).body.endswith(piece), "the bytes")
    tunnel.shutdown(socket.SHUT_WR)
    client.until(lambda: client.stream(1).is_over, "the end")
    assert client.stream(1).is_complete


def test_the_client_ends_its_side(client: Peer, origin: Upgrading) -> None:
    client.send(headers(1, connect_head()))
    client.headed(1)
    tunnel = origin.tunnel()
    client.send(data(1, b"last", end=True))
    assert tunnel.recv(100) == b"last"
    assert tunnel.recv(100) == b""
    tunnel.sendall(b"words")
    tunnel.shutdown(socket.SHUT_WR)
    assert client.over(1).body == b"words"
    assert client.stream(1).is_complete


def test_the_client_resets(client: Peer, origin: Upgrading) -> None:
    client.send(headers(1, connect_head()))
    client.headed(1)
    client.send(reset(1))
    assert origin.tunnel().recv(100) == b""


def test_other_streams_are_not_in_the_way(client: Peer, origin: Upgrading) -> None:
    """Two tunnels and their bytes never mix."""
    client.send(headers(1, connect_head()))
    client.headed(1)
    first = origin.tunnel()
    client.send(headers(3, connect_head()))
    client.headed(3)
    second = origin.tunnel(2)
    client.send(data(1, b"one"), data(3, b"three"))
    assert (first.recv(100), second.recv(100)) == (b"one", b"three")


@pytest.mark.parametrize("name", ["another key", "no key", "another protocol", "no protocol"])
def test_an_accept_that_is_none(client: Peer, origin: Upgrading, name: str) -> None:
    """RFC 6455 section 4.1: we asked, so we check."""
    change = {
        "another key": (rb"Accept: .*?\r\n", b"Accept: " + base64.b64encode(bytes(20)) + b"\r\n"),
        "no key": (rb"Sec-WebSocket-Accept: .*?\r\n", b""),
        "another protocol": (rb"Upgrade: websocket", b"Upgrade: other"),
        "no protocol": (rb"Upgrade: websocket\r\n", b""),
    }[name]
    origin.answer = lambda request: re.sub(*change, origin.good(request))
    client.send(headers(1, connect_head()))
    response = client.over(1)
    assert (response.status, response.is_complete) == (502, True)


def test_a_refusal_passes(client: Peer, origin: Upgrading) -> None:
    origin.answer = lambda request: (
        b"HTTP/1.1 403 Forbidden\r\nX-Origin: raw\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    )
    client.send(headers(1, connect_head()), data(1, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
    client.until(lambda: client.stream(1).is_complete, "the answer")
    response = client.stream(1)
    assert (response.status, response.origin, response.body) == (403, "raw", b"no")
    client.send(get(3))
    until(lambda: len(origin.received) == 2, "the next request")
    assert not any(b"smuggled" in each for each in origin.received)


def test_a_200_is_no_tunnel(client: Peer, origin: Upgrading) -> None:
    """Towards HTTP/1.1 a success that is not 101 has opened nothing; towards HTTP/2 it would read as if it had."""
    origin.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    client.send(headers(1, connect_head()))
    response = client.over(1)
    assert not 200 <= response.status < 300


# --- HTTP/2 to HTTP/2 ---


@pytest.fixture(scope="module")
def wire2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wired(tmp_path_factory.mktemp("extended"), "--baseline-protocol", "http2") as wire:
        yield wire


@pytest.fixture
def both(wire2: Wire) -> Iterator[Wire]:
    yield wire2
    wire2.clear()


def test_it_stays_what_it_is(both: Wire) -> None:
    client = both.client()
    upstream, stream = both.opened(client, headers(1, connect_head(("x-a", "1"))), announced=EXTENDS)
    expected: Fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":path", b"/chat?room=1")]
    assert set(expected) <= set(stream.fields)
    assert stream.values(b"x-a") == [b"1"]
    assert not stream.is_complete
    upstream.send(headers(stream.number, answer(200, ("x-origin", "raw"))))
    assert (client.headed(1).status, client.stream(1).origin) == (200, "raw")
    client.send(data(1, b"ping"))
    upstream.until(lambda: stream.body == b"ping", "the bytes")
    upstream.send(data(stream.number, b"pong", end=True))
    client.until(lambda: client.stream(1).is_complete, "the end")
    assert client.stream(1).reset is None
    client.send(data(1, b"bye", end=True))
    assert upstream.over(stream.number).body == b"pingbye"


def test_an_upstream_that_does_not_take_it(both: Wire) -> None:
    """RFC 8441 section 3: without the setting it is not sent."""
    client = both.client()
    client.send(headers(1, connect_head()))
    upstream = both.upstream()
    upstream.sync()
    response = client.over(1)
    assert (response.status, response.is_complete) == (502, True) or response.status in (501, 503)
    upstream.sync()
    assert not upstream.streams


@pytest.mark.parametrize("code", [Code.CANCEL, Code.INTERNAL_ERROR])
def test_a_reset_of_either_side(both: Wire, code: Code) -> None:
    client = both.client()
    upstream, stream = both.opened(client, headers(1, connect_head()), announced=EXTENDS)
    upstream.send(headers(stream.number, answer()))
    client.headed(1)
    client.send(reset(1, code))
    upstream.until(lambda: stream.reset is not None, "the reset upstream", 1)
    client.send(headers(3, connect_head()))
    second = upstream.next_stream()
    upstream.send(headers(second.number, answer()), data(second.number, b"x"), reset(second.number, code))
    assert client.over(3).reset not in (None, Code.NO_ERROR)


def test_a_tunnels_windows_are_kept(both: Wire) -> None:
    client = both.client({Setting.INITIAL_WINDOW_SIZE: 10})
    upstream, stream = both.opened(client, headers(1, connect_head()), announced=EXTENDS)
    upstream.send(headers(stream.number, answer()), data(stream.number, bytes(100)))
    client.until(lambda: len(client.stream(1).body) == 10, "what there is room for")
    client.allow(1, 90)
    client.until(lambda: len(client.stream(1).body) == 100, "the rest")


# --- HTTP/1.1 to HTTP/2 ---

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY_LINE = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def upgraded(client: Client, wire: Wire) -> tuple[Peer, int, bytes]:
    client.send(http1_get("/chat", *UPGRADE, KEY_LINE))
    upstream = wire.upstream(EXTENDS)
    stream = upstream.next_stream()
    assert (stream.method, stream.value(":protocol"), stream.target) == (b"CONNECT", "websocket", b"/chat")
    names = {name for name, _ in stream.fields}
    assert not names & {b"connection", b"upgrade", b"host", b"sec-websocket-key"}
    upstream.send(headers(stream.number, answer()))
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.socket.recv(1)
    return upstream, stream.number, head


def test_an_upgrade_becomes_an_extended_connect(both: Wire) -> None:
    with http1(both.proxy.port) as client:
        upstream, number, head = upgraded(client, both)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455 section 1.3
        assert re.search(rb"\r\nupgrade: websocket\r\n", head, re.IGNORECASE)
        client.send(b"ping")
        upstream.until(lambda: upstream.stream(number).body == b"ping", "the bytes")
        upstream.send(data(number, b"pong", end=True))
        assert client.read_to_end() == b"pong"


def test_a_client_of_http1_that_leaves_its_tunnel(both: Wire) -> None:
    with http1(both.proxy.port) as client:
        upstream, number, _ = upgraded(client, both)
    upstream.over(number)


def test_a_refusal_passes_to_http1(both: Wire) -> None:
    with http1(both.proxy.port) as client:
        client.send(http1_get("/chat", *UPGRADE, KEY_LINE))
        upstream = both.upstream(EXTENDS)
        stream = upstream.next_stream()
        upstream.send(
            headers(stream.number, answer(403, ("content-length", "2"))), data(stream.number, b"no", end=True)
        )
        response = client.read()
        assert (response.status, response.body) == (403, b"no")


def test_it_is_announced(tmp_path: Path) -> None:
    with wired(tmp_path) as wire:
        assert wire.client().settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
