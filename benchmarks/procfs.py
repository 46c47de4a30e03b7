"""What the kernel counts about a process and about the machine. Linux only: all of it is read from /proc."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# Fields of a cpu line in /proc/stat, see proc(5).
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True, slots=True)
class Memory:
    """In KiB. RSS counts pages shared with other processes in full, PSS by their share; PSS may be unreadable."""

    rss_kib: int
    pss_kib: int | None


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Time of some cores together since boot, in steps of a tick (10 ms)."""

    busy_ns: int
    stolen_ns: int  # the hypervisor ran something else while we wanted to run


def cpu_ns(pid: int) -> int:
    """CPU time of all tasks of a process, user and system.

    schedstat counts nanoseconds, but only of tasks that live; utime + stime in /proc/<pid>/stat count ticks of 10 ms.
    The first is taken where the kernel has it: no proxy here starts or ends threads while it is measured.
    """
    tasks = Path(f"/proc/{pid}/task")
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
    except FileNotFoundError:
        fields = _after_name(Path(f"/proc/{pid}/stat"))
        return (int(fields[11]) + int(fields[12])) * _TICK_NS


def family(pid: int) -> list[int]:
    """A process and its children: a proxy may be several."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def runs(pid: int) -> bool:
    """Whether any task runs, or would run if it had a core: a process that is starved uses no CPU but is not idle."""
    states = (_after_name(task / "stat")[0] for task in Path(f"/proc/{pid}/task").iterdir())
    return any(state in "RD" for state in states)


def memory(pid: int) -> Memory:
    rss_kib = _kib(Path(f"/proc/{pid}/status").read_text(), "VmRSS:")
    try:
        pss_kib = _kib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:")
    except OSError:
        pss_kib = None
    if rss_kib is None:
        raise ProcessLookupError(f"process {pid} has no memory: it has ended")
    return Memory(rss_kib, pss_kib)


def core_time(cpus: Iterable[int]) -> CoreTime:
    names = {f"cpu{cpu}" for cpu in cpus}
    busy = stolen = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            ticks = [int(field) for field in fields[:8]]
            stolen += ticks[_STEAL]
            busy += sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT] - ticks[_STEAL]
    return CoreTime(busy * _TICK_NS, stolen * _TICK_NS)


def _after_name(stat: Path) -> list[str]:
    """The fields from the state on. The name before them, in parentheses, may hold spaces and parentheses."""
    return stat.read_text().rpartition(")")[2].split()


def _kib(text: str, name: str) -> int | None:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return None
