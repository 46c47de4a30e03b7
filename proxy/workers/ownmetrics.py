"""What the supervisor itself adds to `/metrics`: how the workers are, and `process_*` of all processes together."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from proxy.workers.sums import Family, plain


@dataclass(frozen=True, slots=True)
class State:
    """How a worker is. `silent_s`: since it was heard of; None: it has no process."""

    number: int
    is_up: bool
    silent_s: float | None
    connections: int


def of_workers(states: Sequence[State], died: Mapping[tuple[int, str], int]) -> list[Family]:
    """`died`: how often, by worker and cause."""
    return [
        _per_worker(
            "pointsman_worker_up",
            "1 while the worker serves and answers.",
            {state.number: float(state.is_up) for state in states},
        ),
        _per_worker(
            "pointsman_worker_silent_seconds",
            "Since the worker was heard of.",
            {state.number: state.silent_s for state in states if state.silent_s is not None},
        ),
        _per_worker(
            "pointsman_worker_downstream_connections",
            "Connections that the worker serves.",
            {state.number: float(state.connections) for state in states},
        ),
        (
            "pointsman_worker_deaths",
            "counter",
            "Workers that ended unasked and were replaced, by how: a signal or an exit code.",
            [
                ("pointsman_worker_deaths_total", (("worker", str(number)), ("cause", cause)), float(count), None)
                for (number, cause), count in died.items()
            ],
        ),
    ]


def _per_worker(name: str, text: str, values: dict[int, float]) -> Family:
    return name, "gauge", text, [(name, (("worker", str(n)),), value, None) for n, value in values.items()]


def of_processes(processes: Sequence[int]) -> list[Family]:
    """`process_*` of all, this one first: sums, but for the start (ours) and the limit of files (the workers')."""
    from prometheus_client import ProcessCollector

    of_each = [plain(ProcessCollector(pid=partial(int, process), registry=None).collect()) for process in processes]
    total: dict[str, Family] = {}
    for families in of_each:
        for name, kind, text, samples in families:
            value = samples[0][2]
            before = total[name][3][0][2] if name in total else None
            if before is None or name == "process_max_fds":
                summed = value
            else:
                summed = before if name == "process_start_time_seconds" else before + value
            total[name] = name, kind, text, [(samples[0][0], (), summed, None)]
    # Those that are gone: the system keeps what their processor time was.
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "process_cpu_seconds" in total:
        name, kind, text, samples = total["process_cpu_seconds"]
        cpu_s = samples[0][2] + gone.ru_utime + gone.ru_stime
        total[name] = name, kind, text, [(samples[0][0], (), cpu_s, None)]
    return list(total.values())
