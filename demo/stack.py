"""The whole demo, running: services, a sidecar before each, sandboxes, and the controller that feeds all sidecars.

Callers of a service get the address of its sidecar, never its own. All addresses are known before anything runs, so
everything starts at once; importing the frameworks is what takes the time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from demo import controller, instrumented, sandboxes
from demo.client import greets, probe
from demo.controller import Controller, Done
from demo.ports import HOST, held_ports
from demo.processes import DemoError, Processes, clean_environ
from demo.sidecar import Sidecar
from demo.topology import BASELINE, SANDBOXES, SERVICES, Framework, Sandbox, Service

_START_TIMEOUT_S: Final = 40.0  # 5 s on two idle cores; the rest is for busy ones


@dataclass(frozen=True, slots=True)
class Instance:
    """A running copy of a service: the baseline's or a sandbox's."""

    service: str
    version: str
    port: int
    pid: int

    def is_up(self) -> bool:
        """Whether it answers anything at all, a 404 too."""
        address = f"{HOST}:{self.port}"
        return greets(address) if SERVICES[self.service].framework is Framework.GRPC else probe(address) is not None


class Stack:
    """Empty until `start`; then every service has an instance and a sidecar, and every sandbox an instance."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.controller: Controller
        self.baselines: Final[dict[str, Instance]] = {}
        self.sandboxes: Final[dict[str, Instance]] = {}
        self.sidecars: Final[dict[str, Sidecar]] = {}
        self._processes: Final = processes
        self._folder: Final = folder

    def start(self) -> None:
        """Returns when everything answers; no sandbox is known yet. Raises: DemoError."""
        with held_ports(3 * len(SERVICES) + len(SANDBOXES) + 1) as ports:
            free = iter(ports)
            self.sidecars.update({name: Sidecar(service, *islice(free, 3)) for name, service in SERVICES.items()})
            for name, service in SERVICES.items():
                self.baselines[name] = self._start_instance(service, BASELINE, self.sidecars[name].baseline_port)
            for name, sandbox in SANDBOXES.items():
                forked = SERVICES[sandbox.fork_of]
                self.sandboxes[name] = self._start_instance(forked, name, next(free), sandbox.change)
            self.controller = Controller(next(free), self._folder / "sandboxes")
            self._start_controller()
            for sidecar in self.sidecars.values():
                self._start_sidecar(sidecar)
            self._wait_until_up()

    def apply(self, sandbox: Sandbox, *options: str) -> Done:
        """`pointsman sandbox apply`, of a file that is written for it. Raises: DemoError if it fails."""
        instance = self.sandboxes.get(sandbox.name)
        file = self.file_of(sandbox)
        file.write_text(sandboxes.text(sandbox, instance.port if instance is not None else None))
        return self.run("sandbox", "apply", "-f", str(file), *options)

    def file_of(self, sandbox: Sandbox) -> Path:
        return self._folder / f"{sandbox.name}.yaml"

    def run(self, *arguments: str, code: int = 0) -> Done:
        """A command that must end so. Raises: DemoError."""
        done = self.controller.run(*arguments)
        if done.code != code:
            raise DemoError(f"{done.command}\nended with {done.code} instead of {code}:\n{done.output}")
        return done

    def instances(self) -> list[Instance]:
        return [*self.baselines.values(), *self.sandboxes.values()]

    def _start_instance(self, service: Service, version: str, port: int, *change: tuple[str, str]) -> Instance:
        name = service.name if version == BASELINE else version
        urls = {
            f"{called.upper()}_URL": SERVICES[called].url(self.sidecars[called].address) for called in service.calls
        }
        own = {"SERVICE": service.name, "VERSION": version, "PORT": str(port)}
        environ = clean_environ() | instrumented.environ(service) | urls | own | dict(change)
        pid = self._processes.start(name, instrumented.command(service, port), environ)
        return Instance(service.name, version, port, pid)

    def _start_controller(self) -> None:
        self.controller.folder.mkdir()
        command = [sys.executable, "-m", "controller", *self.controller.arguments()]
        self._processes.start(controller.NAME, command, clean_environ())

    def _start_sidecar(self, sidecar: Sidecar) -> None:
        command = [sys.executable, "-m", "proxy", *sidecar.arguments(self.controller.url)]
        self._processes.start(sidecar.name, command, clean_environ())

    def _wait_until_up(self) -> None:
        for sidecar in self.sidecars.values():
            self._processes.wait_for(f"{sidecar.name} to be ready", sidecar.is_ready, _START_TIMEOUT_S)
        for name, instance in (self.baselines | self.sandboxes).items():
            self._processes.wait_for(f"{name} to answer", instance.is_up, _START_TIMEOUT_S)
