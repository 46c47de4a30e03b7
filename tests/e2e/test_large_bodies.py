"""Bodies far larger than memory should hold pass a peer that pauses (CHECKLIST 42), with bounded memory and whole."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from hashlib import blake2b
from pathlib import Path

import pytest

from tests.support.client import connected, get
from tests.support.origin import RawOrigin, running
from tests.support.proxy import Proxy, run_proxy

# POINTSMAN_TEST_BODY_MB=1024 for a longer look.
BLOCK = os.urandom(1 << 20)
BLOCKS = int(os.environ.get("POINTSMAN_TEST_BODY_MB", "256"))
SIZE = BLOCKS * len(BLOCK)
# What the proxy may hold for one exchange: its buffers' high marks, and a few pieces of 256 KiB under way.
MEMORY = 4_000_000


def send(sock: socket.socket, sent: list[int]) -> None:
    """Every block, counted when the kernel has taken it; each begins with its number."""
    with contextlib.suppress(OSError):
        for number in range(BLOCKS):
            sock.sendall(number.to_bytes(8, "big") + BLOCK[8:])
            sent[0] += len(BLOCK)


def digest() -> str:
    whole = blake2b()
    for number in range(BLOCKS):
        whole.update(number.to_bytes(8, "big") + BLOCK[8:])
    return whole.hexdigest()


class Reader:
    """Reads a body in pieces, and pauses."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self._sock = sock
        self._digest = blake2b(rest)
        self.left = SIZE - len(rest)

    def read(self, count: int) -> None:
        while self.left > 0 and count > 0:
            piece = self._sock.recv(min(1 << 18, self.left))
            assert piece, f"ended, {self.left} bytes are missing"
            self._digest.update(piece)
            self.left -= len(piece)
            count -= len(piece)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def head_of(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def stands_still(sent: list[int]) -> None:
    """Returns when the sender has not moved for 0.1 s."""
    seen, since_s = sent[0], time.monotonic()
    end_s = since_s + 10
    while time.monotonic() < since_s + 0.1:
        assert time.monotonic() < end_s, "the sender does not pause"
        time.sleep(0.005)
        if sent[0] != seen:
            seen, since_s = sent[0], time.monotonic()


def read_with_pauses(reader: Reader, sent: list[int], proxy: Proxy, before: int) -> None:
    """Stands still three times, until the sender does too; then reads on to the end."""
    for _ in range(3):
        reader.read(SIZE // 8)
        stands_still(sent)
        assert sent[0] < SIZE
        assert proxy.rss_bytes() - before < MEMORY
    reader.read(SIZE)
    assert proxy.rss_bytes() - before < MEMORY


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_peer_that_pauses(tmp_path: Path, direction: str) -> None:
    sent = [0]
    found: list[str] = []
    proxies: list[tuple[Proxy, int]] = []

    def script(connection: socket.socket, head: bytes) -> None:
        if direction == "down":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            send(connection, sent)
            return
        reader = Reader(connection, head.partition(b"\r\n\r\n")[2])
        read_with_pauses(reader, sent, *proxies[0])
        found.append(reader.hexdigest())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        before = proxy.rss_bytes()
        proxies.append((proxy, before))
        if direction == "down":
            client.send(get())
            head, rest = head_of(client.socket)
            assert head.startswith(b"HTTP/1.1 200 ")
            reader = Reader(client.socket, rest)
            read_with_pauses(reader, sent, proxy, before)
            found.append(reader.hexdigest())
        else:
            client.send(get("/", f"Content-Length: {SIZE}", method="POST"))
            sender = threading.Thread(target=send, args=(client.socket, sent), daemon=True)
            sender.start()
            client.socket.settimeout(60)
            assert client.read().status == 200
            sender.join(5)
        assert found == [digest()]
