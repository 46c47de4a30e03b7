"""The command line: `quick`, `grpc`, `mesh`, `convergence` and `workers` for tables, `cpu` to tune one thing."""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from benchmarks import mesh, quick, tune, workers
from benchmarks.convergence import plan as convergence
from benchmarks.generators import GeneratorFailed
from benchmarks.grpc import plan as grpc
from benchmarks.grpc.scene import GrpcScene
from benchmarks.processes import ChildFailed, Cores, pinned
from benchmarks.scene import Bodies, Scene
from benchmarks.targets import NotInstalled


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--own-tools", action="store_true", help="our own generator and origin, even beside wrk and nginx"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    quick.add_arguments(commands.add_parser("quick", parents=[shared], help="the table of make bench-quick"))
    grpc.add_arguments(commands.add_parser("grpc", help="gRPC over h2c: CPU per call, memory of open streams"))
    mesh.add_arguments(commands.add_parser("mesh", parents=[shared], help="a mesh's rules and fan-in: CPU per request"))
    convergence.add_arguments(
        commands.add_parser("convergence", parents=[shared], help="from a change to the last proxy; the controller")
    )
    workers.add_arguments(commands.add_parser("workers", parents=[shared], help="two workers beside one, on all cores"))
    tune.add_arguments(commands.add_parser("cpu", parents=[shared], help="CPU per request of one target, or of two"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)  # as ^C: the stack below stops all children
    cores = Cores.split() if options.command != "workers" else workers.everywhere()
    if cores.shared and options.command != "workers":
        print("only one core: proxy, load and origins share it, and the figures suffer", file=sys.stderr)
    with ExitStack() as stack:
        stack.enter_context(pinned(cores.load))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-bench-")))
        try:
            scene = _scene(options, cores, folder)
            stack.callback(scene.stop)
            plans = {
                "quick": quick.run,
                "grpc": grpc.run,
                "mesh": mesh.run,
                "convergence": convergence.run,
                "workers": workers.run,
                "cpu": tune.run,
            }
            run = plans[options.command]
            return run(options, scene, stack)
        except (ChildFailed, GeneratorFailed, NotInstalled) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130


def _scene(options: argparse.Namespace, cores: Cores, folder: Path) -> Scene:
    if options.command == "grpc" or (options.command == "cpu" and options.grpc):
        return GrpcScene(cores, folder, own_tools=True)
    bodies = Bodies(options.up, options.down) if options.command == "cpu" else Bodies()
    return Scene(cores, folder, own_tools=options.own_tools, bodies=bodies)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
