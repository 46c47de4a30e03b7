"""The developers' mode: CPU per request of one target, or of two side by side, while the hot path is being tuned.

python -m benchmarks cpu --target sidecar --sandboxes 1 --tagged --against envoy
python -m benchmarks cpu --target sidecar --against sidecar:../before      # another checkout, same load, same minute
python -m benchmarks cpu --against sidecar+log --against sidecar+traces    # what a log and spans cost
python -m benchmarks cpu --grpc --tagged --against envoy                   # unary calls over h2c
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import generators
from benchmarks.figures import Point, Round, ratio
from benchmarks.grpc.calls import STYLES
from benchmarks.grpc.rounds import GrpcLoad, closed_round
from benchmarks.rounds import Load, cpu_round
from benchmarks.scene import Scene
from benchmarks.targets import KINDS, TOLD, Sidecar, Target, start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    target = (
        f"{', '.join(KINDS)}; sidecar:DIR runs the proxy of another checkout, by its .venv if it has one;"
        f" sidecar+WORD tells of its requests: {', '.join(TOLD).replace('%', '%%')}"
    )
    parser.add_argument("--target", default="sidecar", help=target)
    parser.add_argument(
        "--against", action="append", default=[], help="another target, measured in turn with the first; repeatable"
    )
    parser.add_argument("--sandboxes", type=int, default=1)
    parser.add_argument("--tagged", action="store_true", help="requests carry a routing key")
    parser.add_argument("--python", type=Path, help="interpreter that runs the first target, if it is a sidecar")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="length of a round")
    parser.add_argument("--connections", type=int, help="default: 16, with --grpc 4")
    parser.add_argument("--grpc", action="store_true", help="gRPC over h2c, with our own generator and origin")
    parser.add_argument("--calls", type=int, default=GrpcLoad().calls, help="that are out on each connection (--grpc)")
    parser.add_argument("--style", choices=STYLES, default="core", help="who writes the fields (--grpc)")
    parser.add_argument("--up", type=int, default=0, help="bytes of each request's body, e.g. 1048576 (wrk and nginx)")
    parser.add_argument("--down", type=int, default=0, help="bytes of each response's body (wrk and nginx)")


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    if (options.up or options.down) and not (scene.nginx_origin and generators.wrk()):
        raise SystemExit("--up and --down need wrk and nginx")
    targets = [_start(options.target, options.python, scene, options.sandboxes, stack)]
    targets += [_start(other, None, scene, options.sandboxes, stack) for other in options.against]
    points = [Point("cpu", target.name, target.sandboxes, options.tagged) for target in targets]
    measure = _measure(options)
    for target in targets:
        measure(scene, target, 1)
    for number in range(options.rounds):
        for target, point in zip(targets, points, strict=True):
            point.rounds.append(measure(scene, target, options.seconds))
            _say(number + 1, point)
    for point in points:
        print(_line(point))
    for other in points[1:]:
        between = ratio(points[0], other, "cpu_us")
        if between:
            print(f"{points[0].target} / {other.target} {between.median:.3f} ({between.low:.3f}-{between.high:.3f})")
    return 1 if any(point.void for point in points) else 0


def _measure(options: argparse.Namespace) -> Callable[[Scene, Target, int], Round]:
    """One round of so many seconds."""

    def h1(scene: Scene, target: Target, seconds: int) -> Round:
        load = Load(options.connections or Load().connections, seconds, own_tools=options.own_tools)
        return cpu_round(scene, target, options.tagged, load)

    def grpc(scene: Scene, target: Target, seconds: int) -> Round:
        load = GrpcLoad(options.connections or GrpcLoad().connections, options.calls, seconds)
        return closed_round(scene, target, options.tagged, load, options.style)

    return grpc if options.grpc else h1


def _start(spec: str, python: Path | None, scene: Scene, sandboxes: int, stack: ExitStack) -> Target:
    words, _, checkout = spec.partition(":")
    kind, *told = words.split("+")
    if kind not in KINDS:
        raise SystemExit(f"--target {spec}: known are {', '.join(KINDS)}")
    if not set(told) <= set(TOLD):
        raise SystemExit(f"--target {spec}: behind a + are known {', '.join(TOLD)}")
    sidecar = Sidecar.of_checkout(Path(checkout), tuple(told)) if checkout else Sidecar(told=tuple(told))
    if python:
        # absolute, but not resolved: the interpreter of a virtual environment is a link, and the link is what counts
        sidecar = Sidecar(python.absolute(), sidecar.checkout, told=sidecar.told)
    target = start(kind, scene, sandboxes, sidecar, spec)
    stack.callback(target.stop)
    return target


def _say(number: int, point: Point) -> None:
    done = point.rounds[-1]
    cost = f"{done.values['cpu_us']:8.2f} us  {done.values['rps']:7.0f}/s" if done.values else "nothing measured"
    busy = f"core busy {done.notes['busy']:4.0%}"
    print(f"round {number}: {point.target:24} {cost}  {busy}  {done.void or done.marked}", file=sys.stderr)


def _line(point: Point) -> str:
    title = f"{point.target}, {point.scenario}"
    cpu, rate = point.spread("cpu_us"), point.spread("rps")
    if cpu is None or rate is None:
        return f"{title}: void: {point.void or 'nothing measured'}"
    marked = f", {point.marked} marked" if point.marked else ""
    return f"{title}: {cpu.median:.2f} us CPU per request ({cpu.low:.2f}-{cpu.high:.2f}{marked}), {rate.median:.0f}/s"
