"""Child processes: pinned to cores, their output kept for the error message, always ended with the run."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Cores:
    """The proxy under test has a core for itself; the load and the origins have the others."""

    proxy: frozenset[int]
    load: frozenset[int]

    @classmethod
    def split(cls) -> "Cores":
        """The last core for the proxy: interrupts tend to go to the first. Its hyperthread twins stay idle if the load
        has others to run on. With a single core all share it."""
        cpus = os.sched_getaffinity(0)
        proxy = max(cpus)
        others = cpus - {proxy}
        return cls(proxy=frozenset({proxy}), load=frozenset(others - _twins(proxy) or others or cpus))

    @property
    def shared(self) -> bool:
        return self.proxy == self.load


def _twins(cpu: int) -> set[int]:
    """Logical cores on the same physical one, `cpu` among them; written as `0,4` or `0-1`."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return {cpu}
    ranges = [part.split("-") for part in text.strip().split(",")]
    return {each for bounds in ranges for each in range(int(bounds[0]), int(bounds[-1]) + 1)}


class ChildFailed(RuntimeError):
    """A child ended, or never answered. The first line says what happened; its command and last output follow."""


@contextmanager
def pinned(cpus: frozenset[int]) -> Iterator[None]:
    """Within, this process and the children it starts run on `cpus`; children stay there afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A running program. It has a session of its own, so that a ^C reaches us alone and we end it in order."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cpus: frozenset[int],
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self._log = log
        with pinned(cpus), log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raises: ChildFailed if it has ended."""
        if self._process.poll() is not None:
            raise self.failure(f"ended with status {self._process.returncode}")

    def failure(self, what: str) -> ChildFailed:
        lines = self._log.read_text(errors="replace").splitlines()[-8:]
        return ChildFailed("\n    ".join([what, f"$ {' '.join(self.command)}", *lines]))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


_PORTS = range(20_000, 32_000)  # below the range from which the kernel takes ports for outgoing connections
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on and that was not given before in this run."""
    while True:
        port = random.choice(_PORTS)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
