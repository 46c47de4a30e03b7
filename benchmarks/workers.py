"""`python -m benchmarks workers`: what a second worker brings, on all cores of this machine.

Load generator and origin run on the same cores as the proxy, and take more with each request that it lets through. So
with few cores the throughput says how well the whole fills the machine, not what two workers can do: for that see CPU
per request, which must not grow with the number of workers. `direct` is generator and origin alone.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import generators, report
from benchmarks.bars import Comparison
from benchmarks.figures import Point, Round, ratio
from benchmarks.processes import Cores
from benchmarks.rounds import Load, cpu_round, memory_values
from benchmarks.scene import Scene
from benchmarks.targets import HERE, Sidecar, Target, direct, start

_BAR = 1.10  # a second worker may make a request dearer by so much: caches, and a supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="compared with one")
    parser.add_argument("--json", type=Path, default=HERE / "benchmarks/results/latest-workers.json", metavar="FILE")


def everywhere() -> Cores:
    """All cores for everybody."""
    cpus = frozenset(os.sched_getaffinity(0))
    return Cores(cpus, cpus)


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    load = Load(options.connections, options.seconds, own_tools=options.own_tools)
    began = time.time()
    one, many = (_start(count, scene, stack) for count in (1, options.workers))
    targets = [direct(scene, 1), one, many]
    points = [Point("workers", target.name, target.sandboxes, True) for target in targets]
    idle = [Point("idle", target.name, 1, True, [_memory(target)]) for target in (one, many)]
    for target in targets:
        cpu_round(scene, target, True, load)
    for number in range(options.rounds):
        for target, point in zip(targets, points, strict=True):
            point.rounds.append(cpu_round(scene, target, True, load))
            report.say(f"{number + 1}/{options.rounds}  {_line(point, point.rounds[-1])}")
    dearer = Comparison(f"cpu per request, {many.name}", "x one", _BAR, ratio(points[2], points[1], "cpu_us"))
    result = report.Result(
        plan="workers",
        began=began,
        took_s=time.time() - began,
        rounds=options.rounds,
        load=load,
        tools={
            "closed loop": "own generator" if load.own_tools or generators.wrk() is None else "wrk",
            "origin": "nginx" if scene.nginx_origin else "own origin",
        },
        left_out={},
        points=[*points, *idle],
        comparisons=[dearer],
        cores=scene.cores,
    )
    print("\n".join([*report.heading(result), *_rows(result)]))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    return 1 if any(point.void for point in points) else 0


def _start(count: int, scene: Scene, stack: ExitStack) -> Target:
    name = "1 worker" if count == 1 else f"{count} workers"
    target = start("sidecar", scene, 1, Sidecar(workers=count), name)
    stack.callback(target.stop)
    return target


def _memory(target: Target) -> Round:
    """Shortly after the start, of all its processes."""
    assert target.child is not None
    time.sleep(1)
    return Round({"start_ms": target.start_ms, **memory_values(target.child)})


def _line(point: Point, done: Round) -> str:
    cost = f"{done.values['rps']:8.0f}/s {done.values['cpu_us']:7.2f} us" if done.values else "nothing measured"
    return f"{point.target:10} {cost}  {done.notes['busy']:.2f} cores  {done.void or done.marked}"


def _rows(result: report.Result[Load]) -> list[str]:
    lines = [report.row("", "requests/s", "CPU us/request", "RSS MB", "PSS MB")]
    for name in dict.fromkeys(point.target for point in result.points):
        cells = [
            report.cell(point, value, 0 if value == "rps" else 1)
            for measure, values in (("workers", ("rps", "cpu_us")), ("idle", ("rss_mb", "pss_mb")))
            for value in values
            if (point := next((p for p in result.points if (p.target, p.measure) == (name, measure)), None)) is not None
        ]
        lines.append(report.row(name, *cells))
    one, many = result.points[1:3]
    for what, name in (("requests/s", "rps"), ("CPU per request", "cpu_us")):
        if (value := ratio(many, one, name)) is not None:
            lines.append(f"{what}, {many.target} over one: {value.median:.2f} ({value.low:.2f}-{value.high:.2f})")
    return [line.rstrip() for line in lines]
