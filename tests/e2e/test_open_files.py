"""Open files run out (CHECKLIST 41): whoever is there is served on, whoever comes waits or is told, and when others
leave it goes on by itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.client import ask, connected, get
from tests.support.origin import Origin, RawOrigin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

LIMIT = 256
TIGHT = ("prlimit", f"--nofile={LIMIT}:{LIMIT}")


def cpu_s(proxy: Proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def flood(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing; the kernel completes them even when nobody accepts them."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def lowered_to(proxy: Proxy) -> int:
    (line,) = [line for line in proxy.lines if "--max-connections" in line]
    assert line.endswith(f"no more fit into {LIMIT} open files (ulimit -Hn)")
    return int(line.partition(" is lowered to ")[2].partition(":")[0])


def test_a_flood(tmp_path: Path) -> None:
    origin = Origin("baseline")
    with running(origin), run_proxy(tmp_path, origin.port, prefix=TIGHT) as proxy, connected(proxy.port) as early:
        assert early.ask(get()).status == 200
        assert proxy.page("/metrics")[0] == 200
        lines = len(proxy.lines)
        most = lowered_to(proxy)
        with flood(proxy.port, 400) as flooding:
            until(lambda: proxy.metric("pointsman_accepts_delayed_total") > 0, "connections that wait")
            assert most < proxy.metric("pointsman_downstream_connections") < LIMIT
            # Those beyond the limit are told so; they hold their connections all the same.
            flooding[most].settimeout(5)
            assert flooding[most].recv(4096).startswith(b"HTTP/1.1 503 ")

            began_s = cpu_s(proxy)
            waits = proxy.metric("pointsman_accepts_delayed_total")
            until(lambda: proxy.metric("pointsman_accepts_delayed_total") >= waits + 20, "20 pauses, a second")
            assert cpu_s(proxy) - began_s < 0.5
            assert early.ask(get()).status == 200, "who is there is served"
            assert proxy.page("/readyz")[0] == 200
        with connected(proxy.port) as late:
            assert late.ask(get()).status == 200
        until(lambda: proxy.metric("pointsman_downstream_connections") == 1, "the end of all others")
        (said,) = proxy.lines[lines:]  # once, however often it happens
        assert said.startswith("pointsman proxy: connections wait to be accepted: ")


def test_requests_that_use_all_files(tmp_path: Path) -> None:
    """Connections that were let in need one more each, to their upstream: those that get none are answered, callers who
    come now wait in the kernel, and the admin pages have files of their own."""
    go_on = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        go_on.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.recv(65536)

    origin = RawOrigin(script)
    flags = ("--upstream-idle-timeout", "0.5")  # idle connections to upstreams hold files too
    with (
        running(origin),
        run_proxy(tmp_path, origin.port, prefix=TIGHT, flags=flags) as proxy,
        contextlib.ExitStack() as stack,
    ):
        assert proxy.page("/metrics")[0] == 200
        clients = [stack.enter_context(connected(proxy.port)) for _ in range(lowered_to(proxy))]
        until(lambda: proxy.metric("pointsman_downstream_connections") == len(clients), "all of them accepted")
        for client in clients:
            client.send(get())
        until(lambda: proxy.open_files() == LIMIT, "the last file")
        for _ in range(3):
            assert proxy.page("/readyz")[0] == 200

        late = stack.enter_context(connected(proxy.port))
        late.send(get())
        began_s = cpu_s(proxy)
        waits = proxy.metric("pointsman_accepts_delayed_total")
        until(lambda: proxy.metric("pointsman_accepts_delayed_total") >= waits + 20, "20 pauses, a second")
        assert cpu_s(proxy) - began_s < 0.5

        go_on.set()
        responses = [client.read() for client in clients]
        failed = [response for response in responses if response.status == 503]
        assert len(failed) + sum(response.status == 200 for response in responses) == len(clients)
        assert 0 < len(failed) < len(clients)
        assert {response.value("proxy-status").partition(";")[2] for response in failed} == {
            ' error=connection_limit_reached; details="out_of_files"'
        }
        assert [client.ask(get()).status for client in clients[:5]] == [200] * 5
        assert late.read().status in (200, 503)
        for client in clients:
            client.close()
        assert ask(proxy.port, get()).status == 200


def test_the_soft_limit_is_raised(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    origin = Origin("baseline")
    prefix = ("prlimit", f"--nofile=64:{hard}")
    with (
        running(origin),
        run_proxy(tmp_path, origin.port, prefix=prefix, flags=("--max-connections", "100")) as proxy,
        flood(proxy.port, 99),
    ):
        assert ask(proxy.port, get()).status == 200
        assert resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert not [line for line in proxy.lines if "--max-connections" in line]


def test_the_cheap_way_again(tmp_path: Path) -> None:
    """After each flood uvloop accepts again, on a copy of the socket."""
    origin = Origin("baseline")
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--max-connections", "5")) as proxy:
        until(lambda: listening(proxy) == 2, "a copy")
        for _ in range(2):
            with flood(proxy.port, 8):
                until(lambda: listening(proxy) == 1, "no copy")
            until(lambda: listening(proxy) == 2, "a copy again")
            assert ask(proxy.port, get()).status == 200


def listening(proxy: Proxy) -> int:
    """How many of its descriptors are the socket that it listens on."""
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{proxy.port:04X}")
    }
    folder = f"/proc/{proxy.process.pid}/fd"
    found = 0
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            found += os.readlink(f"{folder}/{name}") in {f"socket:[{inode}]" for inode in inodes}
    return found
