"""The process itself is hit (CHECKLIST 55): killed, held up, led back to itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import ask, connected, get
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until


@pytest.fixture
def origin() -> Iterator[Origin]:
    origin = Origin("baseline")
    with running(origin):
        yield origin


def test_killed_and_started_again(tmp_path: Path, origin: Origin) -> None:
    """On the same port at once, though connections of the first one are still known to the kernel."""
    with run_proxy(tmp_path, origin.port) as first, connected(first.port) as client:
        assert client.ask(get()).status == 200
        first.process.kill()
        first.process.wait()
        assert client.read_to_end() == b""
        began_s = time.monotonic()
        ports = ("--listen", f"127.0.0.1:{first.port}", "--baseline", f"127.0.0.1:{origin.port}")
        with run_proxy(tmp_path, flags=ports, workload_ports=()) as second:
            assert second.ports == [first.port]
            assert ask(second.port, get()).status == 200
            assert time.monotonic() - began_s < 2
            assert second.page("/readyz")[0] == 200
        first.process.returncode = 0  # it was meant


def test_held_up_and_continued(tmp_path: Path, origin: Origin) -> None:
    """Longer than a tick of its clock. What came meanwhile is answered, nothing is taken for too slow."""
    with run_proxy(tmp_path, origin.port, flags=("--head-timeout", "1")) as proxy, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(proxy.port)) for _ in range(10)]
        assert [client.ask(get()).status for client in clients] == [200] * 10
        clients[0].send(b"GET / HTTP/1.1\r\nHo")
        until(lambda: proxy.metric("pointsman_downstream_connections") == 10, "all connections")
        proxy.process.send_signal(signal.SIGSTOP)
        clients[0].send(b"st: location\r\n\r\n")
        for client in clients[1:]:
            client.send(get())
        late = stack.enter_context(connected(proxy.port))
        late.send(get())
        time.sleep(2.5)  # what is tested: that much time passes for all but the proxy
        proxy.process.send_signal(signal.SIGCONT)
        assert [client.read().status for client in [*clients, late]] == [200] * 11
        assert [client.ask(get()).status for client in clients] == [200] * 10


class Forward:
    """A port that leads to another one, so that nobody sees by the address where it goes."""

    def __init__(self) -> None:
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.count = 0
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self.count += 1
                there = socket.create_connection(("127.0.0.1", self.target))
                self._ends += (here, there)
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for end in (self._listener, *self._ends):
            end.close()


def requests(proxy: Proxy) -> float:
    text = proxy.page("/metrics")[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("pointsman_requests_total"))


def cpu_s(proxy: Proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_sandbox_that_leads_back(tmp_path: Path, origin: Origin) -> None:
    """Through a forwarder no address tells; the mark of the first passage does."""
    forward = Forward()
    document = table(route(KEY, [forward.port]))
    with contextlib.closing(forward), run_proxy(tmp_path, origin.port, document=document) as proxy:
        forward.target = proxy.port
        response = ask(proxy.port, get("/", f"baggage: sd-routing-key={KEY}"))
        assert response.status == 508
        assert "error=proxy_loop_detected" in response.value("proxy-status")
        assert (requests(proxy), forward.count) == (2, 1)


@pytest.mark.parametrize("way", ["sandbox", "baseline"])
def test_another_name_for_itself(tmp_path: Path, origin: Origin, way: str) -> None:
    """It listens on every address, and is led to one of them that it does not know as its own."""
    address = own_address()
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    baseline = f"{address}:{port}" if way == "baseline" else f"127.0.0.1:{origin.port}"
    mapping = {"port": port, "destinations": [{"host": address, "port": port}]}
    document = table({**route(KEY), "mappings": [mapping]})
    flags = ("--listen", f"0.0.0.0:{port}", "--baseline", baseline, "--workload-port", str(port), "--decision-header")
    with run_proxy(tmp_path, document=document, flags=flags, workload_ports=()) as proxy:
        lines = [f"baggage: sd-routing-key={KEY}"] if way == "sandbox" else []
        # A destination is refused before; a baseline is the operator's choice, and noticed when it arrives.
        status, error = (503, "destination_ip_prohibited") if way == "sandbox" else (508, "proxy_loop_detected")
        for _ in range(3):
            response = ask(port, get("/", *lines))
            assert response.status == status
            assert f"error={error}" in response.value("proxy-status")
        before_s = cpu_s(proxy)
        assert requests(proxy) <= 6
        assert proxy.metric("pointsman_upstream_connections_opened_total") <= 3
        assert cpu_s(proxy) - before_s < 0.5


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("needs an address beyond loopback")
        return str(sock.getsockname()[0])
