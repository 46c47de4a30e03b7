"""One round of one target: load it, watch it and the machine meanwhile, check that every request went where it should.

A target is a process, or one with children.

A round is void unless the expected origin got every answered request, the other origin none, and nothing failed.
It is marked if the hypervisor took time from our cores, or other programs used the proxy's core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import generators, procfs
from benchmarks.figures import Round
from benchmarks.generators import Answered
from benchmarks.processes import Child
from benchmarks.scene import Scene
from benchmarks.targets import Target

STEAL_MARK = 0.02  # share of a core's time
FOREIGN_MARK = 0.05
LAG_MARK_US = 500.0  # the generator itself was late by half an interval at 1,000/s
_SETTLE_STEP_S, _SETTLED_NS, _SETTLE_LIMIT_S = 0.02, 500_000, 10.0
_IDLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Load:
    """How much load: one choice for all targets of a run."""

    connections: int = 16
    seconds: int = 1
    rate: int = 1000
    latency_seconds: float = 1.0
    warm_up_s: float = 0.2
    own_tools: bool = False


class Disturbance:
    """What else happened on the machine between its making and `stop`. In ticks of 10 ms: rough for short spans."""

    def __init__(self, scene: Scene) -> None:
        self._cores = scene.cores
        self._start_ns = time.monotonic_ns()
        self._proxy_core, self._all = self._read()

    def stop(self, target_cpu_ns: int | None) -> None:
        """None: no target uses the proxy's core, so it does not matter who else does."""
        wall_ns = time.monotonic_ns() - self._start_ns
        proxy_core, every = self._read()
        self.stolen = (every.stolen_ns - self._all.stolen_ns) / wall_ns
        self.foreign = 0.0
        if target_cpu_ns is not None and not self._cores.shared:
            foreign_ns = proxy_core.busy_ns - self._proxy_core.busy_ns - target_cpu_ns
            self.foreign = max(0.0, foreign_ns / wall_ns)

    def _read(self) -> tuple[procfs.CoreTime, procfs.CoreTime]:
        return procfs.core_time(self._cores.proxy), procfs.core_time(self._cores.proxy | self._cores.load)

    def mark(self) -> str:
        if self.stolen > STEAL_MARK:
            return f"{self.stolen:.0%} of a core stolen"
        return f"other programs used {self.foreign:.0%} of the proxy's core" if self.foreign > FOREIGN_MARK else ""

    def notes(self) -> dict[str, float]:
        return {"stolen": round(self.stolen, 4), "foreign": round(self.foreign, 4)}


class Watch:
    """A target under load: its CPU, the disturbance, and the requests at each origin."""

    def __init__(self, scene: Scene, target: Target) -> None:
        self._scene, self._target = scene, target
        self._counts = scene.counts()
        self.disturbance = Disturbance(scene)
        self._cpu_ns = self._cpu()
        self._start_ns = time.monotonic_ns()

    def stop(self) -> None:
        """Waits until the target has worked off what the generator left behind when it closed its connections: that
        belongs to this round, and would be taken for strays in the next one."""
        wall_ns = time.monotonic_ns() - self._start_ns
        if self._target.child:
            self._target.child.check()
        self.settled = self.settle()
        self.cpu_ns = self._cpu() - self._cpu_ns
        self.busy = self.cpu_ns / wall_ns
        self.disturbance.stop(self.cpu_ns if self._target.child else None)
        counts = self._scene.counts()
        self.served = {mark: counts[mark] - self._counts[mark] for mark in counts}

    def settle(self) -> bool:
        """Waits until target and origins are idle: no CPU used between two looks, and nothing that waits for a core."""
        children = [self._target.child, self._scene.baseline.child, self._scene.sandbox.child]
        pids = [pid for child in children if child for pid in procfs.family(child.pid)]
        deadline = time.monotonic() + _SETTLE_LIMIT_S
        before, now = 0, sum(map(procfs.cpu_ns, pids))
        while now - before > _SETTLED_NS or any(map(procfs.runs, pids)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_SETTLE_STEP_S)
            before, now = now, sum(map(procfs.cpu_ns, pids))
        return True

    def _cpu(self) -> int:
        return sum(map(procfs.cpu_ns, procfs.family(self._target.child.pid))) if self._target.child else 0

    def notes(self) -> dict[str, float]:
        return {"busy": round(self.busy, 4), **self.disturbance.notes()}


def cpu_round(scene: Scene, target: Target, tagged: bool, load: Load) -> Round:
    """CPU per request in a closed loop. Divided by the requests that came out, for which the CPU was spent: at the end
    some are out whose answer the generator no longer takes."""
    watch = Watch(scene, target)
    seen = generators.closed_loop(
        scene, target, tagged=tagged, connections=load.connections, seconds=load.seconds, own=load.own_tools
    )
    watch.stop()
    served = watch.served[scene.expected_origin(tagged).mark]
    values = {}
    if seen.answered and served:
        values = {"cpu_us": watch.cpu_ns / 1000 / served, "rps": seen.answered / seen.duration_s}
    void = void_because(scene, tagged, seen, watch, in_flight=load.connections)
    return Round(values, {**watch.notes(), "requests": served}, watch.disturbance.mark(), void)


def latency_round(scene: Scene, target: Target, tagged: bool, load: Load) -> Round:
    """Latency at a fixed rate."""
    watch = Watch(scene, target)
    seen = generators.open_loop(
        scene,
        target,
        tagged=tagged,
        connections=load.connections,
        seconds=load.latency_seconds,
        rate=load.rate,
        warm_up_s=load.warm_up_s,
    )
    watch.stop()
    values = {f"{name}_us": value for name, value in seen.latency_us.items()}
    notes = {**watch.notes(), "requests": seen.measured}
    notes.update({f"send_lag_{name}_us": value for name, value in seen.send_lag_us.items()})
    late = seen.send_lag_us.get("p99", 0.0) > LAG_MARK_US
    marked = watch.disturbance.mark() or ("the generator itself was late" if late else "")
    return Round(values, notes, marked, void_because(scene, tagged, seen, watch, in_flight=0))


def idle_round(scene: Scene, start_target: Callable[[], Target]) -> Round:
    """Start to first routed request, and memory shortly after it, of a process of its own."""
    disturbance = Disturbance(scene)
    target = start_target()
    try:
        assert target.child is not None, "direct has no process"
        time.sleep(_IDLE_S)
        values = {"start_ms": target.start_ms, **memory_values(target.child)}
        disturbance.stop(procfs.cpu_ns(target.child.pid))
    finally:
        target.stop()
    return Round(values, disturbance.notes(), disturbance.mark())


def memory_values(child: Child) -> dict[str, float]:
    """In MB of a million bytes. PSS only where it may be read."""
    memories = [procfs.memory(pid) for pid in procfs.family(child.pid)]
    values = {"rss_mb": sum(memory.rss_kib for memory in memories) * 1024 / 1e6}
    shares = [memory.pss_kib for memory in memories if memory.pss_kib is not None]
    if len(shares) == len(memories):
        values["pss_mb"] = sum(shares) * 1024 / 1e6
    return values


def void_because(scene: Scene, tagged: bool, seen: Answered, watch: Watch, in_flight: int) -> str:
    """Why the round does not count; empty if it does. A starved target that answers nothing is no fault of its own."""
    right, wrong = scene.expected_origin(tagged).mark, scene.expected_origin(not tagged).mark
    served = watch.served
    if seen.failed or seen.refused:
        why = f": {seen.why}" if seen.why else ""
        return f"{seen.failed} requests failed, {seen.refused} were answered with an error{why}"
    if not watch.settled:
        return f"still at work {_SETTLE_LIMIT_S:.0f} s after the load had ended"
    if served[wrong]:
        return f"{served[wrong]} requests reached the {wrong} instead of the {right}"
    if not seen.answered <= served[right] <= seen.answered + in_flight:
        return f"{seen.answered} answers, but the {right} served {served[right]} requests"
    if set(seen.origins) - {right}:
        return f"answers by origin: {seen.origins}"
    return "" if seen.answered or watch.disturbance.mark() else "no request was answered"
