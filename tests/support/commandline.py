"""A real `python -m controller`, proxies that dial it, and `pointsman` commands as people and agents run them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import until

WORKLOAD = "hotrod/Deployment/location"
PORT = 8081
_ADMIN = re.compile(r"admin on \S+:(\d+)")
_LISTENING = re.compile(r"listening on \S+:(\d+) for")


@dataclass
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """All of stdout as one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@dataclass
class Controller:
    """A controller on a folder. It keeps its port over restarts."""

    folder: Path
    port: int
    flags: tuple[str, ...] = ()
    authority: Path | None = None  # of its certificate, if it speaks TLS
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.parent / "controller.log"

    @property
    def url(self) -> str:
        return f"http{'s' if self.authority is not None else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "controller", "--source", f"dir:{self.folder}"]
        command += ["--listen", f"127.0.0.1:{self.port}", *self.flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ())
        until(self.is_ready, f"a controller that is ready: {self.log.read_text()}", within_s=20)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            context = ssl.create_default_context(cafile=self.authority) if self.authority is not None else None
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=context) as response:
                return int(response.status) == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(15)

    def run(self, *words: str, stdin: str = "", timeout_s: float = 60, **variables: str) -> Result:
        """`pointsman ...` with this controller."""
        settings = {"POINTSMAN_CONTROLLER": self.url, **variables}
        return run(*words, stdin=stdin, timeout_s=timeout_s, **settings)

    def fine(self, *words: str, stdin: str = "", **variables: str) -> dict[str, object]:
        """The JSON document of a command that must succeed."""
        found = self.run(*words, "--output", "json", stdin=stdin, **variables)
        assert found.code == 0, found
        return found.document


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}


def run(*words: str, stdin: str = "", timeout_s: float = 60, **variables: str) -> Result:
    command = [sys.executable, "-m", "pointsman", *words]
    found = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, env={**environ(), **variables}
    )
    assert "Traceback" not in found.stderr, found.stderr
    return Result(found.returncode, found.stdout, found.stderr)


@contextlib.contextmanager
def running_controller(tmp_path: Path, *flags: str, authority: Path | None = None) -> Iterator[Controller]:
    folder = tmp_path / "objects"
    folder.mkdir(exist_ok=True)
    with socket.socket() as holder:  # the port stays ours while the controller is away
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        controller = Controller(folder, holder.getsockname()[1], flags, authority)
        try:
            controller.start()
            yield controller
        finally:
            if controller.process is not None:
                controller.stop()
    assert "Traceback" not in controller.log.read_text(), controller.log.read_text()


@dataclass
class Attached:
    """A proxy that dials a controller."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0
    admin: int = 0

    def get(self, key: str | None = None) -> tuple[int, bytes]:
        """Status and body of a request through it, with this routing key."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/")
        if key is not None:
            request.add_header("baggage", f"sd-routing-key={key}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextlib.contextmanager
def attached_proxy(
    controller: Controller, baseline: int, *flags: str, name: str = "proxy", workload: str = WORKLOAD
) -> Iterator[Attached]:
    """A proxy of the workload's port 8081, once it has a table."""
    log = controller.folder.parent / f"{name}.log"
    command = [sys.executable, "-m", "proxy", "--controller", controller.url, "--workload", workload]
    command += ["--listen", "127.0.0.1:0", "--baseline", f"127.0.0.1:{baseline}", "--workload-port", str(PORT)]
    command += ["--admin", "127.0.0.1:0", "--destination-allow", "127.0.0.0/8", *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env={**environ(), "POD_NAME": name})
    proxy = Attached(process, log)
    try:
        until(lambda: _ADMIN.search(log.read_text()) and _LISTENING.search(log.read_text()), "a listening proxy")
        text = log.read_text()
        proxy.admin = int(_found(_ADMIN, text))
        proxy.port = int(_found(_LISTENING, text))
        until(lambda: _is_ready(proxy.admin), "a proxy that is ready", within_s=15)
        yield proxy
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(15)
    assert "Traceback" not in log.read_text(), log.read_text()


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    assert match is not None
    return match[1]


def _is_ready(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5) as response:
            return int(response.status) == 200
    except OSError:
        return False


def sandbox(
    name: str = "pr-1",
    destination: int = 9,
    *,
    key: str | None = None,
    namespace: str = "hotrod",
    workloads: tuple[str, ...] = (WORKLOAD,),
    labels: dict[str, str] | None = None,
) -> dict[str, object]:
    """A sandbox's document: JSON is YAML too."""
    local = [
        {
            "from": dict(zip(("namespace", "kind", "name"), workload.split("/"), strict=True)),
            "mappings": [{"port": PORT, "toLocal": f"127.0.0.1:{destination}"}],
        }
        for workload in workloads
    ]
    spec = {"local": local} | ({"routingKey": key} if key is not None else {})
    metadata = {"name": name, "namespace": namespace} | ({"labels": labels} if labels is not None else {})
    return {"apiVersion": "pointsman.dev/v1alpha1", "kind": "Sandbox", "metadata": metadata, "spec": spec}


def group(name: str = "epic", *, key: str | None = None, value: str = "*") -> dict[str, object]:
    spec = {"match": {"label": {"key": "pr", "value": value}}} | ({"routingKey": key} if key is not None else {})
    metadata = {"name": name, "namespace": "hotrod"}
    return {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RouteGroup", "metadata": metadata, "spec": spec}


def several(*documents: dict[str, object]) -> str:
    return "".join(f"---\n{json.dumps(document, indent=1)}\n" for document in documents)
