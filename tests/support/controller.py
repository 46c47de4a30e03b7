"""Starts a real `python -m controller` and asks its REST API."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.waiting import until

NAMESPACE = "hotrod"
_LISTENING = re.compile(r"listening on (?P<url>https?://\S+) for")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def problem(self) -> str:
        """The type of the problem that it is, without its prefix; fails if it is none."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        document = self.json
        assert document["status"] == self.status
        return str(document["type"]).removeprefix("urn:pointsman:problem:")

    @property
    def faults(self) -> list[str]:
        faults = self.json.get("faults", [])
        assert isinstance(faults, list)
        return faults


def sandbox(
    name: str, key: str | None = "", *, labels: Mapping[str, str] | None = None, **spec: object
) -> dict[str, object]:
    """A document; its name is its key, unless `key` says otherwise."""
    local = [
        {
            "from": {"kind": "Deployment", "namespace": NAMESPACE, "name": "location"},
            "mappings": [{"port": 8081, "toLocal": "127.0.0.1:9081"}],
        }
    ]
    metadata: dict[str, object] = {"name": name, "namespace": NAMESPACE}
    if labels:
        metadata["labels"] = dict(labels)
    body: dict[str, object] = {"local": local, **spec}
    if key is not None:
        body["routingKey"] = key or name
    return {"apiVersion": "pointsman.dev/v1alpha1", "kind": "Sandbox", "metadata": metadata, "spec": body}


def path_of(name: str = "", plural: str = "sandboxes", namespace: str = NAMESPACE) -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


@dataclass
class Controller:
    """A running controller."""

    process: subprocess.Popen[str]
    folder: Path
    url: str = ""
    lines: list[str] = field(default_factory=list)
    token: str | None = None
    ca: str | None = None

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=15)
        context = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=15, context=context)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        connection: http.client.HTTPConnection | None = None,
        **headers: str,
    ) -> Reply:
        """One request. A body that is no bytes is sent as JSON; headers are named with `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        token = token or self.token
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.ExitStack() as stack:
            if connection is None:
                connection = stack.enter_context(contextlib.closing(self.connect()))
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())

    def put(self, document: Mapping[str, object], query: str = "", **headers: str) -> Reply:
        """PUT of a sandbox's document."""
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        return self.ask("PUT", path_of(str(metadata["name"])) + query, document, **headers)

    def get(self, name: str) -> Reply:
        return self.ask("GET", path_of(name))

    def until_gone(self, name: str) -> None:
        until(lambda: self.get(name).status == 404, f"the end of {name}", within_s=15)

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)

    def read_lines(self, is_listening: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if match := _LISTENING.search(line):
                self.url = match["url"]
                is_listening.set()
        is_listening.set()


@contextlib.contextmanager
def run_controller(
    folder: Path,
    *flags: str,
    environ: Mapping[str, str] | None = None,
    wait: bool = True,
    prefix: tuple[str, ...] = (),
    token: str | None = None,
    ca: str | None = None,
) -> Iterator[Controller]:
    """A controller of this folder, which is made if it is missing; it is ready, unless `wait` is off."""
    folder.mkdir(exist_ok=True)
    command = [*prefix, sys.executable, "-m", "controller", "--source", f"dir:{folder}"]
    if not any(flag.startswith("--listen") for flag in flags):
        command += ["--listen", "127.0.0.1:0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    process = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True, env={**clean, **(environ or {})})
    controller = Controller(process, folder, token=token, ca=ca)
    is_listening = threading.Event()
    reader = threading.Thread(target=controller.read_lines, args=(is_listening,), daemon=True)
    reader.start()
    try:
        assert is_listening.wait(15)
        assert controller.url, controller.lines
        if wait:
            until(lambda: controller.ask("GET", "/readyz").status == 200, "readiness", within_s=30)
        yield controller
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(15)
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()
