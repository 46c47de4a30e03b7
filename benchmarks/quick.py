"""`make bench-quick`: the main figures beside Envoy, and the controller's, in one run of 2 minutes.

Every measure goes target after target within each round, so that what disturbs the machine for a while disturbs all.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import generators, report
from benchmarks.bars import comparisons, convergence_comparisons
from benchmarks.convergence import plan as convergence
from benchmarks.convergence.load import ConvergenceLoad
from benchmarks.convergence.report import rows
from benchmarks.figures import Point, Round, scenario
from benchmarks.processes import ChildFailed
from benchmarks.rounds import Load, cpu_round, idle_round, latency_round, memory_values
from benchmarks.scene import Scene
from benchmarks.targets import HERE, NotInstalled, Sidecar, Target, direct, start

FEW, MANY, MOST = 1, 1_000, 100_000  # sandboxes

# (target, sandboxes) and (target, sandboxes, tagged), in the order in which they run.
_STARTED = (("sidecar", FEW), ("envoy", FEW), ("sidecar", MANY), ("envoy", MANY), ("sidecar", MOST))
# Cost of a request. At 100,000 only tagged: an untagged request looks nothing up. Direct shows the generator's limit.
_CPU = (
    ("direct", FEW, True),
    ("sidecar", FEW, False),
    ("envoy", FEW, False),
    ("sidecar", FEW, True),
    ("envoy", FEW, True),
    ("sidecar", MOST, True),
    ("sidecar", MANY, False),
    ("envoy", MANY, False),
    ("sidecar", MANY, True),
    ("envoy", MANY, True),
)
_LATENCY = (("direct", FEW, True), ("sidecar", FEW, True), ("envoy", FEW, True))
_CONVERGENCE = ConvergenceLoad(changes=24, reconnecting=0)
_IDLE = (("sidecar", FEW, True), ("envoy", FEW, True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    load = Load()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=load.seconds, help="length of a CPU round")
    parser.add_argument("--latency-seconds", type=float, default=load.latency_seconds, help="length of a latency round")
    parser.add_argument("--connections", type=int, default=load.connections)
    parser.add_argument("--rate", type=int, default=load.rate, help="requests per second in latency rounds")
    parser.add_argument("--no-convergence", action="store_true", help="only the sidecar")
    parser.add_argument("--checkout", type=Path, default=HERE, help="the sidecar's code")
    parser.add_argument("--json", type=Path, default=HERE / "benchmarks/results/latest-quick.json", metavar="FILE")


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    load = Load(
        options.connections, options.seconds, options.rate, options.latency_seconds, own_tools=options.own_tools
    )
    sidecar = Sidecar() if options.checkout == HERE else Sidecar.of_checkout(options.checkout)
    began = time.time()
    plan = _Plan(scene, stack, sidecar, load, options.rounds)
    plan.start_all()
    plan.measure_all()
    if not options.no_convergence:
        plan.converge()
    result = report.Result(
        plan="quick",
        began=began,
        took_s=time.time() - began,
        rounds=options.rounds,
        load=load,
        tools={
            "closed loop": "own generator" if load.own_tools or generators.wrk() is None else "wrk",
            "open loop": "own generator",
            "origin": "nginx" if scene.nginx_origin else "own origin",
        },
        left_out=plan.left_out,
        points=plan.points,
        comparisons=[*comparisons(plan.points), *convergence_comparisons(plan.points)],
        cores=scene.cores,
    )
    print(report.table(result))
    print("\n".join(["", *(line.rstrip() for line in rows(plan.points, result.comparisons, _CONVERGENCE))]))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    complete = not any(point.void for point in plan.points) and not {"sidecar", "convergence"} & plan.left_out.keys()
    return 0 if complete else 1


class _Plan:
    def __init__(self, scene: Scene, stack: ExitStack, sidecar: Sidecar, load: Load, rounds: int) -> None:
        self._scene, self._stack, self._sidecar, self._load, self._rounds = scene, stack, sidecar, load, rounds
        self._targets: dict[tuple[str, int], Target] = {("direct", FEW): direct(scene, FEW)}
        self.points: list[Point] = []
        self.left_out: dict[str, str] = {}

    def start_all(self) -> None:
        for kind, sandboxes in _STARTED:
            if kind in self.left_out:
                continue
            try:
                target = self._start(kind, sandboxes)
            except (NotInstalled, ChildFailed) as why:
                self.left_out[kind] = str(why)
                report.say(f"left out: {kind}: {why}")
                continue
            self._stack.callback(target.stop)
            self._targets[kind, sandboxes] = target
            report.say(f"started {kind}, {scenario(sandboxes)}, in {target.start_ms:.0f} ms")

    def measure_all(self) -> None:
        self._sizes()
        self._interleave("idle", _IDLE, self._idle, "start_ms")
        for target in self._targets.values():
            cpu_round(self._scene, target, True, self._load)
        report.say("warmed up")
        self._interleave("cpu", _CPU, cpu_round, "cpu_us")
        self._interleave("latency", _LATENCY, latency_round, "p50_us")

    def converge(self) -> None:
        """The controller's figures, by this checkout."""
        with ExitStack() as stack:
            try:
                self.points += convergence.measure(self._scene, stack, _CONVERGENCE)
            except ChildFailed as why:
                self.left_out["convergence"] = str(why)

    def _start(self, kind: str, sandboxes: int) -> Target:
        return start(kind, self._scene, sandboxes, self._sidecar)

    def _sizes(self) -> None:
        """Memory with many routes, before any load: one reading, it does not vary."""
        for (kind, sandboxes), target in self._targets.items():
            if target.child and sandboxes != FEW:
                values = {"start_ms": target.start_ms, **memory_values(target.child)}
                self.points.append(Point("idle", kind, sandboxes, True, [Round(values)]))

    def _idle(self, scene: Scene, target: Target, tagged: bool, load: Load) -> Round:
        return idle_round(scene, lambda: self._start(target.name, target.sandboxes))

    def _interleave(
        self,
        measure: str,
        scenarios: Sequence[tuple[str, int, bool]],
        one: Callable[[Scene, Target, bool, Load], Round],
        shown: str,
    ) -> None:
        points = [
            (self._targets[kind, sandboxes], Point(measure, kind, sandboxes, tagged))
            for kind, sandboxes, tagged in scenarios
            if (kind, sandboxes) in self._targets
        ]
        for number in range(1, self._rounds + 1):
            for target, point in points:
                done = one(self._scene, target, point.tagged, self._load)
                point.rounds.append(done)
                report.say(
                    f"{measure} {number}/{self._rounds}  {point.target:8} {point.scenario:26}"
                    f"{done.values.get(shown, 0):10.1f} {shown}  {done.void or done.marked}"
                )
        self.points += [point for _, point in points]
