"""Starts a real `python -m proxy` and tells where it listens."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WORKLOAD = "hotrod/Deployment/location"
KEY = "qwblp48fpmb30"
PORT = 8081
_LISTENING = re.compile(r"listening on (?P<host>\S+):(?P<port>\d+) for")
_ADMIN = re.compile(r"admin on \S+:(\d+)")
_HEALTH = re.compile(r"health on \S+:(\d+)")


def route(
    key: str = KEY,
    destinations: list[int] | None = None,
    *,
    sandbox: str = "local-location",
    workload: str = WORKLOAD,
    port: int = PORT,
    **mapping: object,
) -> dict[str, object]:
    """One route of a table document; `destinations` are ports on loopback."""
    namespace, kind, name = workload.split("/")
    hosts = [{"host": "127.0.0.1", "port": destination} for destination in destinations or []]
    return {
        "routingKey": key,
        "sandbox": sandbox,
        "baseline": {"kind": kind, "namespace": namespace, "name": name},
        "mappings": [{"port": port, "destinations": hosts, **mapping}],
    }


def service(
    *hosts: str,
    upstream: int,
    workload: str = WORKLOAD,
    port: int = PORT,
    upstream_host: str = "127.0.0.1",
    **rest: object,
) -> dict[str, object]:
    """One entry of a router's `services`; `upstream` is a port on loopback."""
    namespace, kind, name = workload.split("/")
    return {
        "hosts": list(hosts),
        "port": port,
        "baseline": {"kind": kind, "namespace": namespace, "name": name},
        "upstream": {"host": upstream_host, "port": upstream},
        **rest,
    }


def table(*routes: dict[str, object], version: str = "1", **rest: object) -> dict[str, object]:
    """A table document."""
    return {
        "apiVersion": "pointsman.dev/v1alpha1",
        "kind": "RoutingTable",
        "version": version,
        "routes": list(routes),
        **rest,
    }


def write_table(path: Path, document: Mapping[str, object]) -> None:
    """Puts a table file in place by an atomic rename."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(document))
    os.replace(temporary, path)


@dataclass
class Proxy:
    """A running proxy."""

    process: subprocess.Popen[str]
    table_path: Path
    lines: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    admin: int = 0
    health: int = 0
    admin_token: str | None = None

    @property
    def port(self) -> int:
        return self.ports[0]

    def page(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an admin page."""
        headers = {"Authorization": f"Bearer {self.admin_token}"} if self.admin_token is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def state(self) -> dict[str, object]:
        """`/table`."""
        state = json.loads(self.page("/table")[1])
        assert isinstance(state, dict)
        return state

    def metric(self, sample: str) -> float:
        """The value of one sample, by its name with labels as it is written; 0 where it is absent."""
        for line in self.page("/metrics")[1].decode().splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def set_table(self, document: Mapping[str, object], *, wait: bool = True) -> None:
        """Another table; returns when it is live."""
        write_table(self.table_path, document)
        end = time.monotonic() + 5
        while wait and self.state()["version"] != document["version"]:
            assert time.monotonic() < end, f"the table did not become live: {self.state()}"
            time.sleep(0.01)

    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)

    def read_lines(self, until_admin: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if match := _LISTENING.search(line):
                self.ports.append(int(match["port"]))
            elif match := _HEALTH.search(line):
                self.health = int(match[1])
            elif match := _ADMIN.search(line):
                self.admin = int(match[1])
                until_admin.set()
        until_admin.set()


@contextlib.contextmanager
def run_proxy(
    tmp_path: Path,
    *baselines: int | str,
    document: Mapping[str, object] | None = None,
    flags: tuple[str, ...] = (),
    workload_ports: tuple[int, ...] = (PORT,),
    environ: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    controller: str | None = None,
    workload: str = WORKLOAD,
    admin: str = "127.0.0.1:0",
) -> Iterator[Proxy]:
    """A proxy in front of baselines (ports on loopback, or addresses). `controller`: its URL, in place of a table.

    It must stop cleanly within the block or is stopped here.
    """
    arguments = ["--workload", workload]
    if controller is not None:
        arguments += ["--controller", controller]
    for baseline, workload_port in zip(baselines, workload_ports, strict=True):
        address = baseline if isinstance(baseline, str) else f"127.0.0.1:{baseline}"
        arguments += ["--listen", "127.0.0.1:0", "--baseline", address, "--workload-port", str(workload_port)]
    with _running(tmp_path, [*arguments, *flags], document, environ, prefix, admin) as proxy:
        yield proxy


@contextlib.contextmanager
def run_router(
    tmp_path: Path,
    document: Mapping[str, object] | None = None,
    *,
    flags: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    controller: str | None = None,
) -> Iterator[Proxy]:
    """A router by this table, or by a controller's; as with `run_proxy`."""
    arguments = ["--mode", "router", "--listen", "127.0.0.1:0", *flags]
    if controller is not None:
        arguments += ["--controller", controller]
    with _running(tmp_path, arguments, document, environ) as proxy:
        yield proxy


@contextlib.contextmanager
def _running(
    tmp_path: Path,
    arguments: Sequence[str],
    document: Mapping[str, object] | None,
    environ: Mapping[str, str] | None,
    prefix: Sequence[str] = (),
    admin: str = "127.0.0.1:0",
) -> Iterator[Proxy]:
    path = tmp_path / "table.json"
    command = [*prefix, sys.executable, "-m", "proxy", *arguments, "--admin", admin]
    if "--controller" not in arguments:
        if not path.exists():
            write_table(path, document if document is not None else table())
        command += ["--table", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})})
    proxy = Proxy(process, path)
    is_up = threading.Event()
    reader = threading.Thread(target=proxy.read_lines, args=(is_up,), daemon=True)
    reader.start()
    try:
        assert is_up.wait(20), "the proxy did not start"
        assert proxy.admin, f"the proxy did not start: {proxy.lines}"
        yield proxy
        assert process.poll() in (None, 0), f"the proxy died: {proxy.lines}"
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()
    said = [line for line in proxy.lines if "OpenTelemetry SDK" not in line]  # which names exceptions in passing
    faults = [line for line in said if "Traceback" in line or "Error" in line]
    assert not faults, f"the proxy reported faults: {proxy.lines}"
