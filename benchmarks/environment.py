"""Where and with what a run was made: whatever a reader needs to judge or repeat it."""

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks import envoy, generators, nginx
from benchmarks.processes import Cores, pinned
from benchmarks.targets import HERE
from proxy import compiled


def machine(cores: Cores) -> dict[str, object]:
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_kib": int(_first_value("/proc/meminfo", "MemTotal").split()[0]),
        "kernel": platform.release(),
        "proxy_cores": sorted(cores.proxy),
        "load_cores": sorted(cores.load),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python_loop_ms": _python_loop_ms(cores),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "uvloop": version("uvloop"), "sidecar": sidecar_form()}
    for name, binary, flag in (
        ("envoy", envoy.find(), "--version"),
        ("nginx", nginx.find(), "-v"),
        ("wrk", generators.wrk(), "-v"),
    ):
        if binary is not None:
            found[name] = _version(binary, flag)
    return found


def sidecar_form() -> str:
    """Whether this checkout's hot path runs compiled."""
    return "compiled" if compiled.IS_USED else "plain Python"


def commit() -> str:
    """The commit of this checkout, with `+` if files differ from it; empty outside of a repository."""
    head = _git("rev-parse", "HEAD")
    return head + ("+" if head and _git("status", "--porcelain") else "")


def command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _python_loop_ms(cores: Cores) -> float:
    """A million additions: how fast this core is just now, without which CPU times of two runs cannot be compared."""

    def once() -> float:
        started_ns, total = time.process_time_ns(), 0
        for number in range(1_000_000):
            total += number
        return (time.process_time_ns() - started_ns) / 1e6

    with pinned(cores.proxy):
        return round(median(once() for _ in range(5)), 2)


def _version(binary: str | Path, flag: str) -> str:
    """The first dotted number that it prints, on whichever stream and with whichever status."""
    ended = subprocess.run([str(binary), flag], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"\b\d+\.\d+(\.\d+)*", (ended.stdout + ended.stderr).replace(str(binary), ""))
    return found[0] if found else "?"


def _git(*words: str) -> str:
    try:
        ended = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""


def _first_value(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "0"
