"""`python -m benchmarks mesh`: what choosing costs a mesh's own Envoy, by rules for each sandbox and by fan-in; beside
it the router and the sidecar. 4 minutes.

Rounds are interleaved over all of them. A bare Envoy each: see `benchmarks.envoy`.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import generators, report
from benchmarks.bars import mesh_comparisons
from benchmarks.figures import Point, Round, find, scenario
from benchmarks.rounds import Load, cpu_round, memory_values
from benchmarks.scene import Scene
from benchmarks.targets import HERE, Target, start

FEW, SOME, MANY = 1, 100, 1_000  # sandboxes
TARGETS = ("envoy", "envoy-strict", "envoy-fan-in", "router", "sidecar")
_TITLES = {
    "envoy": "loose rules",
    "envoy-strict": "strict rules",
    "envoy-fan-in": "fan-in",
    "router": "router",
    "sidecar": "sidecar",
}
# (sandboxes, tagged), in the order in which they run.
_SCENARIOS = ((FEW, True), (SOME, True), (MANY, True), (FEW, False), (MANY, False))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="length of a round")
    parser.add_argument("--connections", type=int, default=Load().connections)
    parser.add_argument("--json", type=Path, default=HERE / "benchmarks/results/latest-mesh.json", metavar="FILE")


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    load = Load(options.connections, options.seconds, own_tools=options.own_tools)
    began = time.time()
    targets = _started(scene, stack)
    points = _sizes(targets)
    for target in targets.values():
        cpu_round(scene, target, True, load)
    report.say("warmed up")
    measured = [Point("cpu", name, sandboxes, tagged) for sandboxes, tagged in _SCENARIOS for name in TARGETS]
    for number in range(1, options.rounds + 1):
        for point in measured:
            done = cpu_round(scene, targets[point.target, point.sandboxes], point.tagged, load)
            point.rounds.append(done)
            cost = done.values.get("cpu_us", 0)
            report.say(
                f"{number}/{options.rounds}  {point.target:12} {point.scenario:26}{cost:10.1f} us  "
                f"{done.void or done.marked}"
            )
    points += measured
    result = report.Result(
        plan="mesh",
        began=began,
        took_s=time.time() - began,
        rounds=options.rounds,
        load=load,
        tools={
            "closed loop": "own generator" if load.own_tools or generators.wrk() is None else "wrk",
            "origin": "nginx" if scene.nginx_origin else "own origin",
        },
        left_out={},
        points=points,
        comparisons=mesh_comparisons(points),
        cores=scene.cores,
    )
    print(_table(result))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    return 1 if any(point.void for point in points) else 0


def _started(scene: Scene, stack: ExitStack) -> dict[tuple[str, int], Target]:
    """Raises: NotInstalled, ChildFailed."""
    targets = {}
    for sandboxes in (FEW, SOME, MANY):
        for name in TARGETS:
            target = start(name, scene, sandboxes)
            stack.callback(target.stop)
            targets[name, sandboxes] = target
            report.say(f"started {name}, {scenario(sandboxes)}, in {target.start_ms:.0f} ms")
    return targets


def _sizes(targets: dict[tuple[str, int], Target]) -> list[Point]:
    """Memory before any load: one reading, it does not vary."""
    return [
        Point("idle", name, sandboxes, True, [Round({"start_ms": target.start_ms, **memory_values(target.child)})])
        for (name, sandboxes), target in targets.items()
        if target.child
    ]


def _table(result: report.Result[Load]) -> str:
    lines = [*report.heading(result), f"CPU per request, us ({result.load.connections} connections, closed loop)"]
    lines.append(_row("", *(_TITLES[name] for name in TARGETS)))
    for sandboxes, tagged in _SCENARIOS:
        points = [find(result.points, "cpu", name, sandboxes, tagged) for name in TARGETS]
        lines.append(_row(scenario(sandboxes, tagged), *(report.cell(point, "cpu_us") for point in points)))
    lines += ["", "RSS, MB"]
    for sandboxes in (FEW, SOME, MANY):
        points = [find(result.points, "idle", name, sandboxes) for name in TARGETS]
        lines.append(_row(scenario(sandboxes), *(report.cell(point, "rss_mb", 0) for point in points)))
    lines.append("")
    for each in result.comparisons:
        lines.append(_row(each.what, *report.bar_cells(each, 3)))
    lines += ["", *report.remarks(result, "cpu")]
    return "\n".join(line.rstrip() for line in lines)


def _row(title: str, *cells: str) -> str:
    return f"  {title:24}" + "".join(f"{cell:19}" for cell in cells)
