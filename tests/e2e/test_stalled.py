"""Many peers that do nothing: each is let go in its time, and the others are served as ever (CHECKLIST 39, 40)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, ask, get
from tests.support.origin import Origin, RawOrigin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

COUNT = 60


@contextlib.contextmanager
def clients(proxy: Proxy, data: bytes) -> Iterator[list[Client]]:
    """So many, each of which sends this and nothing more."""
    with contextlib.ExitStack() as stack:
        opened = [Client(proxy.port) for _ in range(COUNT)]
        for client in opened:
            stack.callback(client.close)
            client.send(data)
        yield opened


@pytest.mark.parametrize("trickles", [False, True])
def test_heads_that_never_end(tmp_path: Path, trickles: bool) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--head-timeout", "1")) as proxy:
        open_files = proxy.open_files()
        with clients(proxy, b"GET / HTTP/1.1\r\nHost: location\r\n") as slow:

            def ended() -> bool:
                assert ask(proxy.port, get()).status == 200
                if trickles:
                    for client in slow:
                        with contextlib.suppress(OSError):
                            client.send(b"x: y\r\n")
                refused = proxy.metric('pointsman_refused_requests_total{reason="request_timeout"}')
                return refused == COUNT and proxy.metric("pointsman_downstream_connections") <= 1

            until(ended, "the end of the slow ones", within_s=15)
            for client in slow:
                if not trickles:
                    assert client.read().status == 408
            assert proxy.open_files() <= open_files + 5


def test_bodies_that_never_end(tmp_path: Path) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--stream-idle-timeout", "1")) as proxy:
        with clients(proxy, get("/", "Content-Length: 10", method="POST") + b"half") as slow:
            until(lambda: proxy.metric("pointsman_downstream_connections") >= COUNT, "all of them", within_s=15)
            assert ask(proxy.port, get()).status == 200
            for client in slow:
                assert client.read().status == 408
        until(lambda: proxy.metric("pointsman_upstream_connections") <= 1, "the end upstream", within_s=15)
        assert not any(received.is_complete for received in origin.requests if received.method == b"POST")


def test_readers_that_never_read(tmp_path: Path) -> None:
    """What they do not read is not piled up, and they do not stay."""

    def script(connection: socket.socket, head: bytes) -> None:
        if b"GET /small" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(bytes(1_000_000))

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--stream-idle-timeout", "2")) as proxy:
        assert ask(proxy.port, get("/small")).status == 200
        rss = proxy.rss_bytes()
        most = 0
        with clients(proxy, get()):
            until(lambda: proxy.metric("pointsman_upstream_connections") >= COUNT, "all of them", within_s=15)

            def ended() -> bool:
                nonlocal most
                most = max(most, proxy.rss_bytes())
                assert ask(proxy.port, get("/small")).status == 200
                return proxy.metric("pointsman_downstream_connections") <= 1

            until(ended, "the end of the stalled ones", within_s=30)
        assert most - rss < COUNT * 600_000  # a read's piece and what waits to be written, each
        until(lambda: proxy.metric("pointsman_upstream_connections") <= 1, "the end upstream", within_s=15)
