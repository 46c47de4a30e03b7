"""What is streamed arrives piece by piece, in both directions at once (CHECKLIST 17, 22, 24, 25)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, ask, connected, get
from tests.support.origin import RawOrigin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = "Transfer-Encoding: chunked"


@contextlib.contextmanager
def before(tmp_path: Path, script: Callable[[socket.socket, bytes], None], *flags: str) -> Iterator[Proxy]:
    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port, flags=flags) as proxy:
        yield proxy


def until_bytes(client: Client | socket.socket, wanted: bytes) -> bytes:
    """What is received, as soon as `wanted` is in it."""
    sock = client.socket if isinstance(client, Client) else client
    received = b""
    while wanted not in received:
        piece = sock.recv(65536)
        assert piece, f"ended after {received!r}"
        received += piece
    return received


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("framing", ["chunked", "length", "until the end"])
def test_events_arrive_at_once(tmp_path: Path, framing: str) -> None:
    """Each one is sent when the client has the one before, so whoever holds one back stops all."""
    events = [b"data: event %d\n\n" % number for number in range(20)]
    may_send = threading.Semaphore(0)

    def script(connection: socket.socket, head: bytes) -> None:
        lines = {
            "chunked": b"Transfer-Encoding: chunked\r\n",
            "length": b"Content-Length: %d\r\n" % sum(map(len, events)),
            "until the end": b"",
        }
        connection.sendall(OK + b"Content-Type: text/event-stream\r\n" + lines[framing] + b"\r\n")
        for event in events:
            assert may_send.acquire(timeout=10)
            connection.sendall(chunk(event) if framing == "chunked" else event)
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        client.send(get("/", "Accept: text/event-stream"))
        until_bytes(client, b"\r\n\r\n")
        for event in events:
            may_send.release()
            received = until_bytes(client, event)
        if framing != "length" and not received.endswith(b"\r\n0\r\n\r\n"):
            until_bytes(client, b"0\r\n\r\n")


def test_a_long_poll(tmp_path: Path) -> None:
    """Longer than the timeouts that other proxies' examples have; the upstream's idle timeout is not for this."""

    def script(connection: socket.socket, head: bytes) -> None:
        time.sleep(5.5)
        connection.sendall(OK + b"Content-Length: 5\r\n\r\nfinal")

    with before(tmp_path, script) as proxy:
        response = ask(proxy.port, get())
        assert (response.status, response.body, response.is_complete) == (200, b"final", True)


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_request_and_response_at_once(tmp_path: Path, framing: str) -> None:
    """Each piece comes back before the next is sent: an echo while the upload is under way."""
    pieces = [b"piece %d;" % number for number in range(50)]

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        body = head.partition(b"\r\n\r\n")[2]
        while b"the end" not in body:
            piece = connection.recv(65536)
            body += piece
            connection.sendall(chunk(piece))
        connection.sendall(b"0\r\n\r\n")

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        size = sum(map(len, pieces)) + len(b"the end")
        client.send(get("/", CHUNKED if framing == "chunked" else f"Content-Length: {size}", method="POST"))
        until_bytes(client, b"\r\n\r\n")
        for piece in pieces:
            client.send(chunk(piece) if framing == "chunked" else piece)
            until_bytes(client, piece)
        client.send(chunk(b"the end")[:-2] if framing == "chunked" else b"the end")
        assert until_bytes(client, b"\r\n0\r\n\r\n")


def test_continue_comes_before_the_body(tmp_path: Path) -> None:
    """The upstream's 100, and only then the body; the client's `Expect` reaches it."""
    heads: list[bytes] = []

    def script(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        until_bytes(connection, b"hello")
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        client.send(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert until_bytes(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert b"\r\nExpect: 100-continue\r\n" in heads[0]
        response = client.ask(b"hello")
        assert (response.interim, response.body) == ([], b"ok")


def test_an_expectation_that_is_refused(tmp_path: Path) -> None:
    """A final status in place of 100: the body was never asked for, and the connection cannot go on."""

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        connection.recv(65536)

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        assert client.ask(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST")).status == 417
        assert client.read_to_end() == b""


def test_hints_come_before_the_answer_is_known(tmp_path: Path) -> None:
    may_answer = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        may_answer.wait(10)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        client.send(get())
        assert until_bytes(client, b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        may_answer.set()
        assert client.read().body == b"ok"


def test_an_early_answer_stops_the_upload(tmp_path: Path) -> None:
    """413 while gigabytes are on their way: delivered whole, though the upload goes on for a while, and then stops."""

    def script(connection: socket.socket, head: bytes) -> None:
        received = len(head)
        while received < 1_000_000:
            received += len(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.recv(1)

    with before(tmp_path, script) as proxy, connected(proxy.port) as client:
        sent = [0]

        def upload() -> None:
            with contextlib.suppress(OSError):
                while sent[0] < 80_000_000_000:
                    sent[0] += client.socket.send(b"x" * 1_000_000)

        client.send(get("/", "Content-Length: 80000000000", method="POST"))
        uploading = threading.Thread(target=upload, daemon=True)
        uploading.start()
        response = client.read()
        assert (response.status, response.body, response.is_complete) == (413, b"big", True)
        uploading.join(10)
        assert not uploading.is_alive()
        assert sent[0] < 80_000_000_000
        until(lambda: proxy.metric("pointsman_upstream_connections") == 0, "the upstream connection's end")


def test_bytes_that_come_late_reach_nobody(tmp_path: Path) -> None:
    """A second response on a connection that stands idle in the pool: it is closed, unused."""
    connections: list[socket.socket] = []

    def script(connection: socket.socket, head: bytes) -> None:
        connections.append(connection)
        connection.sendall(OK + b"Content-Length: 1\r\n\r\n%d" % len(connections))
        while connection.recv(65536):
            connection.sendall(OK + b"Content-Length: 5\r\n\r\nagain")

    with before(tmp_path, script, "--upstream-idle-timeout", "60") as proxy:
        for number in range(1, 4):
            assert ask(proxy.port, get()).body == b"%d" % number
            assert proxy.metric("pointsman_upstream_connections") == 1, "it was kept"
            connections[-1].sendall(OK + b"Content-Length: 4\r\n\r\nevil")
            until(lambda: proxy.metric("pointsman_upstream_connections") == 0, "its end")
