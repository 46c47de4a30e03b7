"""`python -m benchmarks grpc`: CPU per unary call and memory of open streams beside Envoy, in one run of 4 minutes.

Every measure goes target after target within each round, so that what disturbs the machine for a while disturbs all.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.bars import grpc_comparisons
from benchmarks.figures import Point, Round
from benchmarks.grpc.report import table
from benchmarks.grpc.rounds import GrpcLoad, closed_round, rate_round, single_round, streams_round
from benchmarks.processes import ChildFailed
from benchmarks.scene import Scene
from benchmarks.targets import HERE, NotInstalled, Sidecar, Target, start

_SANDBOXES = 1
_PROXIES = ("sidecar", "envoy")
# name in the JSON, what a round is
_CPU: dict[str, Callable[[Scene, Target, bool, GrpcLoad], Round]] = {
    "grpc": partial(closed_round, style="core"),
    "grpc-single": single_round,
    "grpc-go": partial(closed_round, style="go"),
    "grpc-rate": partial(rate_round, style="core"),
}
_SPLITS = "5x1000,50x100"


@dataclass(frozen=True, slots=True)
class _Split:
    connections: int
    streams: int

    @classmethod
    def of(cls, text: str) -> "_Split":
        connections, _, streams = text.partition("x")
        return cls(int(connections), int(streams))


def _splits(text: str) -> list[_Split]:
    return [_Split.of(part) for part in text.split(",") if part]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    load = GrpcLoad()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=load.seconds, help="length of a round")
    parser.add_argument("--connections", type=int, default=load.connections)
    parser.add_argument("--calls", type=int, default=load.calls, help="that are out on each connection (closed loop)")
    parser.add_argument("--rate", type=int, default=load.rate, help="calls per second in all (fixed rate)")
    parser.add_argument("--measure", action="append", choices=[*_CPU, "streams"], help="only this; repeatable")
    parser.add_argument("--tagged", action="append_const", dest="tags", const=True, help="only tagged calls")
    parser.add_argument("--untagged", action="append_const", dest="tags", const=False, help="only untagged calls")
    parser.add_argument("--splits", type=_splits, default=_SPLITS, help="connections x open streams on each, several")
    parser.add_argument("--target", action="append", choices=["direct", *_PROXIES], help="only this; repeatable")
    parser.add_argument("--checkout", type=Path, default=HERE, help="the sidecar's code")
    parser.add_argument("--json", type=Path, default=HERE / "benchmarks/results/latest-grpc.json", metavar="FILE")


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    load = GrpcLoad(options.connections, options.calls, options.seconds, options.rate)
    sidecar = Sidecar() if options.checkout == HERE else Sidecar.of_checkout(options.checkout)
    began = time.time()
    plan = _Plan(scene, stack, sidecar, load, options.rounds)
    plan.start_all(options.target or ["direct", *_PROXIES])
    measures = options.measure or [*_CPU, "streams"]
    for name in _CPU:
        if name in measures:
            plan.cpu(name, sorted(set(options.tags or (False, True))))
    if "streams" in measures:
        for split in options.splits:
            plan.streams(split)
    result = report.Result(
        plan="grpc",
        began=began,
        took_s=time.time() - began,
        rounds=options.rounds,
        load=load,
        tools={"generator": "own", "origin": "own"},
        left_out=plan.left_out,
        points=plan.points,
        comparisons=grpc_comparisons(plan.points),
        cores=scene.cores,
    )
    print(table(result))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    return 1 if plan.left_out or any(point.void for point in plan.points) else 0


class _Plan:
    def __init__(self, scene: Scene, stack: ExitStack, sidecar: Sidecar, load: GrpcLoad, rounds: int) -> None:
        self._scene, self._stack, self._sidecar, self._load, self._rounds = scene, stack, sidecar, load, rounds
        self._targets: list[Target] = []
        self.points: list[Point] = []
        self.left_out: dict[str, str] = {}

    def start_all(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            try:
                target = self._start(kind)
            except (NotInstalled, ChildFailed) as why:
                self.left_out[kind] = str(why)
                report.say(f"left out: {kind}: {why}")
                continue
            self._stack.callback(target.stop)
            self._targets.append(target)
        for target in self._targets:
            for tagged in (False, True):
                closed_round(self._scene, target, tagged, self._load)
        report.say("warmed up")

    def cpu(self, name: str, tags: Iterable[bool]) -> None:
        """Direct only tagged: it shows the limit of generator and origin."""
        scenarios = [
            (Point(name, target.name, _SANDBOXES, tagged), partial(_CPU[name], self._scene, target, tagged, self._load))
            for tagged in tags
            for target in self._targets
            if tagged or target.child
        ]
        self._interleave(scenarios, "cpu_us")

    def streams(self, split: _Split) -> None:
        scenarios = [
            (
                Point(f"grpc-streams-{split.connections}x{split.streams}", target.name, _SANDBOXES, True),
                partial(
                    streams_round, self._scene, partial(self._start, target.name), split.connections, split.streams
                ),
            )
            for target in self._targets
            if target.child
        ]
        self._interleave(scenarios, "rss_mb")

    def _start(self, kind: str) -> Target:
        return start(kind, self._scene, _SANDBOXES, self._sidecar)

    def _interleave(self, scenarios: Sequence[tuple[Point, Callable[[], Round]]], shown: str) -> None:
        for number in range(1, self._rounds + 1):
            for point, one in scenarios:
                done = one()
                point.rounds.append(done)
                busy = f"core busy {done.notes['busy']:4.0%}" if shown == "cpu_us" else ""
                report.say(
                    f"{point.measure} {number}/{self._rounds}  {point.target:8} {point.scenario:20}"
                    f"{done.values.get(shown, 0):10.1f} {shown}  {busy}  {done.void or done.marked}"
                )
        self.points += [point for point, _ in scenarios]
