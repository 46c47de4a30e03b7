"""What is captured and is not HTTP: it passes as it is."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import RunSidecar
from tests.support.certificates import write_certificate
from tests.support.netns import POD, POD6, Pod, connect
from tests.support.origin import Server, running
from tests.support.proxy import Proxy
from tests.support.waiting import until

PORT = 8081
Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def application(pod: Pod, serve: Serve, address: str = POD) -> Iterator[Server]:
    with pod.inside():
        server = Server(serve, (address, PORT))
    with running(server):
        yield server


def passed(pod: Pod, proxy: Proxy, protocol: str) -> float:
    with pod.inside():
        return proxy.metric(f'pointsman_passed_connections_opened_total{{port="{PORT}",protocol="{protocol}"}}')


def settled(pod: Pod, proxy: Proxy) -> None:
    """Nothing is left of the connections that passed."""
    with pod.inside():
        names = ("passed_connections", "downstream_connections", "upstream_connections")
        until(lambda: not any(proxy.metric(f"pointsman_{name}") for name in names), "no connection")


def read_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while piece := connection.recv(1 << 20):
        data += piece
    return bytes(data)


def read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(1)
        assert piece, f"ended after {line!r}"
        line += piece
    return line


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


# --- the application speaks first ---

GREETING = b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(range(60))


def mysql(connection: socket.socket) -> None:
    """A greeting with a salt, a login, an answer."""
    connection.sendall(GREETING)
    login = connection.recv(65536)
    connection.sendall(b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00" if login == b"\x20\x00\x00\x01login" else b"no")


def smtp(connection: socket.socket) -> None:
    connection.sendall(b"220 mail ESMTP\r\n")
    for want, answer in ((b"EHLO a\r\n", b"250-mail\r\n250 PIPELINING\r\n"), (b"QUIT\r\n", b"221 bye\r\n")):
        assert read_line(connection) == want
        connection.sendall(answer)


@pytest.mark.parametrize("called", [POD, POD6])
def test_mysql(pod: Pod, sidecar: Proxy, called: str) -> None:
    with application(pod, mysql, called), pod.neighbour.inside():
        with connect(called, PORT) as client:
            assert client.recv(65536) == GREETING
            client.sendall(b"\x20\x00\x00\x01login")
            assert read_all(client).startswith(b"\x07\x00\x00\x02\x00")
        assert passed(pod, sidecar, "server_first") == 1
        settled(pod, sidecar)


def test_smtp(pod: Pod, sidecar: Proxy) -> None:
    with application(pod, smtp) as server, pod.neighbour.inside():
        with connect(POD, PORT) as client:
            assert read_line(client) == b"220 mail ESMTP\r\n"
            client.sendall(b"EHLO a\r\n")
            assert [read_line(client), read_line(client)] == [b"250-mail\r\n", b"250 PIPELINING\r\n"]
            client.sendall(b"QUIT\r\n")
            assert read_all(client) == b"221 bye\r\n"
        assert server.callers == ["127.0.0.6"]


def test_it_speaks_http_behind_a_greeting(pod: Pod, sidecar: Proxy) -> None:
    """Once the application has spoken nothing is looked at any more."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"hello\n")
        assert connection.recv(65536) == request
        connection.sendall(b"seen")

    with application(pod, greet), pod.neighbour.inside(), connect(POD, PORT) as client:
        assert read_line(client) == b"hello\n"
        client.sendall(request)
        assert read_all(client) == b"seen"


def test_nobody_speaks(pod: Pod, sidecar: Proxy) -> None:
    """A probe that connects and goes; and a client that only ends its side, whom the application then answers."""

    def after_the_end(connection: socket.socket) -> None:
        assert read_all(connection) == b""
        connection.sendall(b"Wed Nov 25 2026\r\n")

    with application(pod, after_the_end) as server, pod.neighbour.inside():
        connect(POD, PORT).close()
        with connect(POD, PORT) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"Wed Nov 25 2026\r\n"
        with connect(POD, PORT):
            until(lambda: server.connections == 3)  # silent for longer than it is waited for
        settled(pod, sidecar)
        assert passed(pod, sidecar, "silent") == 3


# --- the client speaks first ---


def test_tls(pod: Pod, sidecar: Proxy, tmp_path: Path) -> None:
    """With the application's own certificate, end to end; counted, and said once."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    write_certificate(chain, key, "localhost")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)

    def answer(connection: socket.socket) -> None:
        with serving.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(secured.recv(65536).upper())
            secured.unwrap()

    trusting = ssl.create_default_context(cafile=str(chain))
    with application(pod, answer), pod.neighbour.inside():
        for _ in range(3):
            with trusting.wrap_socket(connect(POD, PORT), server_hostname="localhost") as client:
                client.sendall(b"get / http/1.1")
                assert client.recv(65536) == b"GET / HTTP/1.1"
        assert passed(pod, sidecar, "tls") == 3
    until(lambda: [line for line in sidecar.lines if "TLS" in line])
    said = [line for line in sidecar.lines if "TLS" in line]
    assert said == [
        "pointsman proxy: port 8081: TLS passes to the application as it is: encrypted, its requests cannot be routed"
        " to sandboxes (said again after 10 minutes)"
    ]


@pytest.mark.parametrize(
    "data",
    [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"*1\r\n$4\r\nPING\r\n", b"get foo\r\n", b"SSH-2.0-x\r\n", b"ruok", b"\r\n"],
)
def test_other_protocols(pod: Pod, sidecar: Proxy, data: bytes) -> None:
    """Also in pieces: nothing is lost, added or changed."""
    with application(pod, echo), pod.neighbour.inside():
        for pieces in ([data], [data[:1], data[1:]]):
            with connect(POD, PORT) as client:
                for piece in pieces:
                    client.sendall(piece)
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == data
        assert passed(pod, sidecar, "other") == 2


def test_what_can_not_be_http_does_not_wait(pod: Pod, run_sidecar: RunSidecar) -> None:
    with application(pod, echo), run_sidecar(detect_timeout="30"), pod.neighbour.inside(), connect(POD, PORT) as client:
        client.sendall(b"\x00\x01")
        assert client.recv(65536) == b"\x00\x01"


# --- how it passes ---


def test_large_and_both_ways_at_once(pod: Pod, sidecar: Proxy) -> None:
    """50 MB each way."""
    data = b"\x00" + random.Random(2).randbytes(50_000_000)
    with application(pod, echo), pod.neighbour.inside(), connect(POD, PORT) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert read_all(client) == data
        sender.join()
    settled(pod, sidecar)


def test_half_close_from_the_application(pod: Pod, sidecar: Proxy) -> None:
    """It has said all, and still listens."""
    heard = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"\x01hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with application(pod, serve), pod.neighbour.inside(), connect(POD, PORT) as client:
        assert read_all(client) == b"\x01hello"
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        until(lambda: heard == [b"still here"])
    settled(pod, sidecar)


def reset_now(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset_is_a_reset(pod: Pod, sidecar: Proxy) -> None:
    """In either direction: nobody takes what came for the whole."""
    seen = []

    def serve(connection: socket.socket) -> None:
        if connection.recv(1) == b"\x01":
            connection.sendall(b"half of")
            time.sleep(0.05)
            reset_now(connection)
            return
        try:
            read_all(connection)
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")

    with application(pod, serve) as server, pod.neighbour.inside():
        with connect(POD, PORT) as client, pytest.raises(ConnectionResetError):
            client.sendall(b"\x01")
            read_all(client)
        client = connect(POD, PORT)
        client.sendall(b"\x02and more")
        until(lambda: server.connections == 2)
        time.sleep(0.05)
        reset_now(client)
        until(lambda: seen == ["reset"])
    settled(pod, sidecar)


def test_no_application(pod: Pod, sidecar: Proxy) -> None:
    """As near to refused as a connection can be that stood already."""
    with pod.neighbour.inside(), connect(POD, PORT) as client, pytest.raises(ConnectionResetError):
        client.sendall(b"\x00")
        client.recv(1)
    with pod.inside():
        labels = 'reason="baseline_unreachable",route="baseline",sandbox=""'
        assert sidecar.metric(f"pointsman_upstream_failures_total{{{labels}}}") == 1


@pytest.mark.parametrize("who_stalls", ["application", "client"])
def test_who_does_not_read_stops_the_other(pod: Pod, sidecar: Proxy, who_stalls: str) -> None:
    """What waits is bounded, by buffers of the kernel and of the proxy; and all of it arrives in the end."""
    piece, most = b"\x00" * 65536, 100_000_000
    may_read = threading.Event()
    counts = {"sent": 0, "read": 0}

    def flood(connection: socket.socket) -> None:
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while counts["sent"] < most:
                counts["sent"] += connection.send(piece)
        may_read.set()
        connection.settimeout(10)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    def stall(connection: socket.socket) -> None:
        assert may_read.wait(30)
        while data := connection.recv(1 << 20):
            counts["read"] += len(data)

    here, there = (flood, stall) if who_stalls == "application" else (stall, flood)
    before = sidecar.rss_bytes()
    with application(pod, there), pod.neighbour.inside(), connect(POD, PORT, 30) as client:
        if who_stalls == "client":
            client.sendall(b"\x00")
        here(client)
        until(lambda: counts["read"] == counts["sent"], "all of it")
    assert counts["sent"] < most, "nobody was stopped"
    assert sidecar.rss_bytes() - before < 8_000_000
    settled(pod, sidecar)


def test_a_drain(pod: Pod, run_sidecar: RunSidecar) -> None:
    """What passes may go on until the limit, and is reset then; what nobody used ends at once."""
    with application(pod, echo) as server, run_sidecar("--drain-timeout", "1.5") as proxy, pod.neighbour.inside():
        finishing, lasting = connect(POD, PORT), connect(POD, PORT)
        for client in (finishing, lasting):
            client.sendall(b"\x00")
            assert client.recv(1) == b"\x00"
        silent = connect(POD, PORT)
        until(lambda: server.connections == 3)
        proxy.process.terminate()
        assert silent.recv(1) == b""
        finishing.sendall(b"bye")
        finishing.shutdown(socket.SHUT_WR)
        assert read_all(finishing) == b"bye"
        with pytest.raises(ConnectionResetError):
            lasting.recv(1)
        assert proxy.process.wait(10) == 0
        assert any("the drain's time limit passed" in line for line in proxy.lines)
        for client in (finishing, lasting, silent):
            client.close()


def test_a_drain_without_anything_is_over_at_once(pod: Pod, run_sidecar: RunSidecar) -> None:
    with application(pod, echo), run_sidecar("--drain-timeout", "30") as proxy, pod.neighbour.inside():
        client = connect(POD, PORT)
        client.sendall(b"\x00")
        assert client.recv(1) == b"\x00"
        proxy.process.terminate()
        client.close()
        assert proxy.process.wait(10) == 0
