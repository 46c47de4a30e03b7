import os
import time

from benchmarks import procfs


def test_cpu_time_counts_what_this_process_burns() -> None:
    before_ns, own_ns = procfs.cpu_ns(os.getpid()), time.process_time_ns()
    while time.process_time_ns() - own_ns < 30_000_000:
        pass
    assert 20_000_000 <= procfs.cpu_ns(os.getpid()) - before_ns < 500_000_000


def test_memory_of_this_process() -> None:
    memory = procfs.memory(os.getpid())
    assert memory.rss_kib > 5_000
    assert memory.pss_kib is None or 0 < memory.pss_kib <= memory.rss_kib * 2


def test_core_time_only_grows() -> None:
    cpus = os.sched_getaffinity(0)
    before = procfs.core_time(cpus)
    after = procfs.core_time(cpus)
    assert after.busy_ns >= before.busy_ns > 0
    assert after.stolen_ns >= before.stolen_ns >= 0
