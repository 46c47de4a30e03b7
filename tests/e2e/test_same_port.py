"""A caller on this machine that comes from the very port that one of the proxy's own connections came from.

The kernel gives a local port to several connections as long as they lead to different places. It does so rarely, and so
nobody would know why one request in thousands was taken for a loop.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

import pytest

from tests.support.client import Client, ask, connected, get
from tests.support.origin import RawOrigin, running
from tests.support.proxy import run_proxy

_IP_LOCAL_PORT_RANGE = 51  # linux/in.h, since Linux 6.3


def connected_from(local_port: int, port: int) -> Client:
    """A client whose connection to `port` comes from `local_port`."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_IP, _IP_LOCAL_PORT_RANGE, struct.pack("=I", local_port << 16 | local_port))
    except OSError:
        sock.close()
        pytest.skip("needs IP_LOCAL_PORT_RANGE, Linux 6.3")
    sock.connect(("127.0.0.1", port))
    client = Client(port)
    client.socket.close()
    sock.settimeout(10)
    client.socket = sock
    return client


def test_it_is_no_loop(tmp_path: Path) -> None:
    came_from: list[int] = []

    def script(connection: socket.socket, head: bytes) -> None:
        came_from.append(connection.getpeername()[1])
        while head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            head = connection.recv(65536)

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert ask(proxy.port, get()).status == 200
        with contextlib.closing(connected_from(came_from[0], proxy.port)) as client:
            assert client.socket.getsockname()[1] == came_from[0]
            assert client.ask(get()).status == 200
        with connected(proxy.port) as client:
            assert client.ask(get()).status == 200
