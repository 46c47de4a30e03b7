"""Runs a load generator as a child on the load's cores and reads what it counted: wrk, or our own `load`."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import pinned
from benchmarks.scene import Scene
from benchmarks.targets import HERE, Target

_GRACE_S = 15.0  # beyond the planned duration: a generator that hangs ends the run


@dataclass(frozen=True, slots=True)
class Answered:
    """What the generator saw. `failed`: no whole answer. `refused`: an answer other than 200."""

    answered: int
    duration_s: float
    failed: int
    refused: int
    origins: dict[str, int] = field(default_factory=dict)  # answers by the origin's mark, where the generator reads it
    measured: int = 0
    latency_us: dict[str, float] = field(default_factory=dict)
    send_lag_us: dict[str, float] = field(default_factory=dict)
    why: dict[str, int] = field(default_factory=dict)  # what failed or was refused, where the generator tells


class GeneratorFailed(RuntimeError):
    pass


def wrk() -> str | None:
    return shutil.which("wrk")


def closed_loop(scene: Scene, target: Target, *, tagged: bool, connections: int, seconds: int, own: bool) -> Answered:
    binary = wrk()
    if own or binary is None:
        return _own("closed", scene, target, tagged, connections, seconds, [])
    url = f"http://127.0.0.1:{target.ports[tagged]}/"
    script = Path(__file__).parent / "wrk.lua"
    command = [binary, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url, "--"]
    words = [*_requests(scene, target, tagged), str(scene.bodies.up)]
    output = run([*command, *words], scene, seconds)
    summary = [line.partition(" ")[2] for line in output.splitlines() if line.startswith("summary ")]
    if not summary:
        raise GeneratorFailed(f"wrk printed no summary: {output[-500:]}")
    return Answered(**json.loads(summary[-1]))


def open_loop(
    scene: Scene, target: Target, *, tagged: bool, connections: int, seconds: float, rate: int, warm_up_s: float
) -> Answered:
    return _own("open", scene, target, tagged, connections, seconds, ["--rate", str(rate), "--warm-up", str(warm_up_s)])


def _own(
    loop: str, scene: Scene, target: Target, tagged: bool, connections: int, seconds: float, more: list[str]
) -> Answered:
    heads, keys, seed = _requests(scene, target, tagged)
    command = [sys.executable, "-m", "benchmarks.load", loop, "--port", str(target.ports[tagged])]
    command += ["--heads", heads, "--keys", keys, "--seed", seed]
    command += ["--connections", str(connections), "--seconds", str(seconds), *more]
    summary: dict[str, Any] = json.loads(run(command, scene, seconds))
    return Answered(**summary)


def _requests(scene: Scene, target: Target, tagged: bool) -> list[str]:
    """Files of templates and keys, and a seed that no other run of this benchmark has."""
    return [str(scene.templates[tagged]), str(scene.key_file(target.sandboxes)), str(scene.next_seed())]


def run(command: list[str], scene: Scene, seconds: float) -> str:
    limit_s = seconds + _GRACE_S
    try:
        with pinned(scene.cores.load):
            ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise GeneratorFailed(f"{' '.join(command)}: still running after {limit_s} s") from None
    if ended.returncode != 0:
        output = (ended.stderr or ended.stdout)[-800:]
        raise GeneratorFailed(f"{' '.join(command)}: status {ended.returncode}: {output}")
    return ended.stdout
