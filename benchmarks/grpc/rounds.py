"""One round of one target: unary calls, or streams that stay open. Void and marked as in `benchmarks.rounds`.

Every answer was checked by the client, and the origins counted as many: at the end of a load all calls that are out
are waited for, so the counts must agree exactly.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import generators
from benchmarks.figures import Round
from benchmarks.generators import Answered, GeneratorFailed
from benchmarks.grpc.calls import Style
from benchmarks.processes import pinned
from benchmarks.rounds import LAG_MARK_US, Watch, memory_values, void_because
from benchmarks.scene import Scene
from benchmarks.targets import HERE, Target

_IDLE_S = 0.3
_STREAMS_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class GrpcLoad:
    """How much load: one choice for all targets of a run."""

    connections: int = 4
    calls: int = 16  # that are out on each connection, in the closed loop
    seconds: float = 1.0
    rate: int = 10_000  # calls per second in all, at a fixed rate

    def single(self) -> "GrpcLoad":
        """As many calls out, but nobody can read or write two of them at once."""
        return replace(self, connections=self.connections * self.calls, calls=1)


def closed_round(scene: Scene, target: Target, tagged: bool, load: GrpcLoad, style: Style = "core") -> Round:
    """CPU per call in a closed loop, which fills the proxy's core."""
    more = ["--calls", str(load.calls)]
    return _unary_round("closed", more, scene, target, tagged, load, style)


def single_round(scene: Scene, target: Target, tagged: bool, load: GrpcLoad) -> Round:
    """The same with as many calls out, but each on a connection of its own."""
    return closed_round(scene, target, tagged, load.single())


def rate_round(scene: Scene, target: Target, tagged: bool, load: GrpcLoad, style: Style = "core") -> Round:
    """CPU per call and latency at a fixed rate."""
    return _unary_round("rate", ["--rate", str(load.rate)], scene, target, tagged, load, style)


def _unary_round(
    loop: str, more: list[str], scene: Scene, target: Target, tagged: bool, load: GrpcLoad, style: Style
) -> Round:
    more = [*more, "--connections", str(load.connections), "--seconds", str(load.seconds)]
    watch = Watch(scene, target)
    seen = Answered(
        **json.loads(generators.run(_command(loop, scene, target, tagged, style, more), scene, load.seconds))
    )
    watch.stop()
    served = watch.served[scene.expected_origin(tagged).mark]
    values = {f"{name}_us": value for name, value in seen.latency_us.items()}
    if seen.answered and served:
        values |= {"cpu_us": watch.cpu_ns / 1000 / served, "rps": seen.answered / seen.duration_s}
    # Of the load's time alone: while the generator starts, for half a second, no core can be full.
    busy = watch.cpu_ns / 1e9 / seen.duration_s
    notes = {**watch.notes(), "busy": round(busy, 4), "requests": served}
    notes.update({f"send_lag_{name}_us": value for name, value in seen.send_lag_us.items()})
    late = seen.send_lag_us.get("p99", 0.0) > LAG_MARK_US
    marked = watch.disturbance.mark() or ("the generator itself was late" if late else "")
    return Round(values, notes, marked, void_because(scene, tagged, seen, watch, in_flight=0))


def streams_round(scene: Scene, start_target: Callable[[], Target], connections: int, streams: int) -> Round:
    """Memory of a process of its own, before and while so many streams are open on each connection."""
    target = start_target()
    try:
        assert target.child is not None, "direct has no process"
        time.sleep(_IDLE_S)
        before = memory_values(target.child)
        watch = Watch(scene, target)
        more = ["--connections", str(connections), "--calls", str(streams)]
        held: dict[str, float] = {}

        def look() -> None:
            assert target.child is not None
            watch.settle()
            held.update(memory_values(target.child))

        seen = _with_streams(_command("streams", scene, target, True, "core", more), scene, look)
        watch.stop()
    finally:
        target.stop()
    values = {}
    if held:
        values = {**held, "idle_rss_mb": before["rss_mb"]}
        values["added_mb"] = max(held["rss_mb"] - before["rss_mb"], 0.001)
        values["stream_kb"] = values["added_mb"] * 1000 / (connections * streams)
    # Who else uses the core does not matter to memory: never marked.
    return Round(values, watch.notes(), void=void_because(scene, True, seen, watch, in_flight=0))


def _command(loop: str, scene: Scene, target: Target, tagged: bool, style: Style, more: list[str]) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.grpc.load", loop, "--port", str(target.ports[tagged])]
    command += ["--keys", str(scene.key_file(target.sandboxes)), "--seed", str(scene.next_seed()), "--style", style]
    return [*command, *more, *(["--tagged"] if tagged else [])]


def _with_streams(command: list[str], scene: Scene, look: Callable[[], None]) -> Answered:
    """Looks while all streams are open, if they are."""
    with pinned(scene.cores.load):
        process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    limit = threading.Timer(_STREAMS_LIMIT_S, process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line == "open\n":
            look()
            line = ""
        rest = process.communicate()[0]
    finally:
        limit.cancel()
        process.kill()
        process.wait()
    if process.returncode:
        raise GeneratorFailed(f"{' '.join(command)}: status {process.returncode}")
    return Answered(**json.loads(line + rest))
