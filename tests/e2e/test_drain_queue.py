"""What stands in the accept queue at SIGTERM is served (SPEC 6): callers whom the kernel has answered."""

from __future__ import annotations

import contextlib
import errno
import select
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.support.client import connected, get
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until
from tests.support.wire import WireOrigin, answers

CLIENTS = 8
ROUNDS = 10


def test_a_full_queue(tmp_path: Path) -> None:
    """The proxy stands still while they come, and then learns of them and of SIGTERM at once."""
    origin = WireOrigin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, contextlib.ExitStack() as stack:
        proxy.process.send_signal(signal.SIGSTOP)
        waiting = [stack.enter_context(connected(proxy.port)) for _ in range(100)]
        for client in waiting[:99]:
            client.send(get())
        proxy.process.terminate()
        proxy.process.send_signal(signal.SIGCONT)
        responses = [client.read() for client in waiting[:99]]
        assert [response.status for response in responses] == [200] * 99
        assert {response.value("connection") for response in responses} == {"close"}
        assert waiting[99].read_to_end() == b"", "one that does not ask is closed, not reset"
        assert not waiting[99].was_reset
        assert proxy.process.wait(5) == 0
        with pytest.raises(ConnectionRefusedError):
            connected(proxy.port).__enter__()


def test_a_queue_without_room(tmp_path: Path) -> None:
    """Callers wait because files are short; the drain ends idle connections, and then it is their turn."""
    origin = WireOrigin()
    prefix = ("prlimit", "--nofile=64:64")
    with running(origin), run_proxy(tmp_path, origin.port, prefix=prefix) as proxy, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(proxy.port)) for _ in range(5)]
        until(lambda: proxy.metric("pointsman_downstream_connections") == 5, "the first")
        while not proxy.metric("pointsman_accepts_delayed_total"):
            idle.append(stack.enter_context(connected(proxy.port)))
        waiting = [stack.enter_context(connected(proxy.port)) for _ in range(5)]
        for client in waiting:
            client.send(get())
        proxy.process.terminate()
        statuses = [client.read().status for client in waiting]
        assert set(statuses) <= {200, 503}, "answered, if only by being told that there are too many"
        assert 200 in statuses
        assert proxy.process.wait(5) == 0


def ask_once(port: int) -> str:
    """How one request on a connection of its own ended. `turned away`: before anything was sent."""
    with socket.socket() as sock:
        sock.setblocking(False)
        if sock.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
            return "turned away"
        # A SYN that gets no answer would be sent again after a second.
        if not select.select([], [sock], [], 0.3)[1] or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return "turned away"
        sock.settimeout(5)
        received = b""
        try:
            sock.sendall(get())
            while not answers(received, is_head=False)[0]:
                if not (piece := sock.recv(4096)):
                    return f"closed after {received!r}"
                received += piece
        except OSError as error:
            return repr(error)
        return received.partition(b"\r\n")[0].decode()


def outcomes(proxy: Proxy) -> Counter[str]:
    """Of clients that make a connection for each request and learn of the end by being turned away."""
    found: Counter[str] = Counter()
    is_warm = threading.Barrier(CLIENTS + 1)

    def keep_asking() -> None:
        outcome, count = "", 0
        while outcome != "turned away":
            outcome = ask_once(proxy.port)
            found[outcome] += 1
            count += 1
            if count == 5:
                is_warm.wait(10)

    clients = [threading.Thread(target=keep_asking, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    is_warm.wait(10)
    proxy.process.terminate()
    for client in clients:
        client.join(10)
        assert not client.is_alive()
    assert proxy.process.wait(5) == 0
    return found


@pytest.mark.parametrize("delay", ["0", "0.1"])
def test_steady_load_of_new_connections(tmp_path: Path, delay: str) -> None:
    origin = WireOrigin()
    found: Counter[str] = Counter()
    with running(origin):
        for _ in range(ROUNDS // 2):
            with run_proxy(tmp_path, origin.port, flags=("--drain-delay", delay)) as proxy:
                found += outcomes(proxy)
    assert set(found) == {"HTTP/1.1 200 OK", "turned away"}
    assert found["turned away"] == CLIENTS * (ROUNDS // 2)
