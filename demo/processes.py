"""The processes that the demo starts, so that none outlives it: not after an error, Ctrl-C, SIGTERM, or `kill -9`.

- Each process leads a group of its own: a terminal's Ctrl-C reaches the demo alone, which then stops the others in its
  own way, together with whatever they may have started.
- A signal only leaves a note. It becomes an exception at the next wait (`wait_for`, `pause`), so never between a
  process's start and its entry in the books, nor while processes are being stopped.
- On Linux the kernel kills them if the demo is killed before it can.
- Each process writes to a log file of its own; the end of it is quoted when the process dies too early.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

_ROOT: Final = Path(__file__).resolve().parent.parent

_STOP_TIMEOUT_S: Final = 5.0  # an idle sidecar leaves at once, services within a second
_POLL_S: Final = 0.01
_LOG_LINES: Final = 15
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """Something did not start, or not in time. The text is for the user."""


class Interrupted(Exception):
    """Asked to stop by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.number = number


class Processes:
    """All child processes by name. As a context it listens to signals, and stops every process at its end."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._signal: int | None = None

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored: nohup
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """The id of a process started from the project's root, under a name that is not in use."""
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=partial(_die_with, os.getpid()) if sys.platform == "linux" else None,
            )
        return self._running[name].pid

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float) -> None:
        """Returns as soon as the condition holds. Raises: DemoError when it does not in time, or a process dies."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended with {process.returncode}\n{self.end_of_log(name)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {timeout_s:g} s")
            self.pause(_POLL_S)

    def pause(self, seconds: float) -> None:
        """Sleeps, and is where a signal becomes an exception. Raises: Interrupted."""
        if self._signal is None:
            time.sleep(seconds)
        if self._signal is not None:
            raise Interrupted(self._signal)

    def ended(self) -> list[str]:
        """The names of processes that have ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def stop(self) -> dict[str, int]:
        """Exit codes by name, negative for a signal, of all processes, none of which runs any longer."""
        running = [process for process in self._running.values() if process.poll() is None]
        for process in running:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
        codes = {name: process.wait() for name, process in self._running.items()}
        self._running.clear()
        return codes

    def end_of_log(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(f"  {name} | {line}" for line in lines)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def _die_with(parent: int) -> None:
    """In the child, before `exec`: the parent's end is the child's too, also if it came before this request."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def clean_environ() -> dict[str, str]:
    """The demo's own environment without what would change its children: proxies, and settings of either party."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OTEL_", "POINTSMAN_"))
    } | {"PYTHONUNBUFFERED": "1"}
