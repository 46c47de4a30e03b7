"""What `--transparent` costs: `python -m benchmarks.transparent`, as root, with iptables. 2 minutes.

Four ways to the same sidecar code, target after target within each round:

| way | is |
|---|---|
| plain | a sidecar with --listen and --baseline, in a network namespace without rules |
| tracked | the same where there are rules, which do not concern its connections: the kernel tracks connections now |
| redirected | the same sidecar, its connections led to it by REDIRECT, of which it knows nothing |
| transparent | a sidecar with --transparent, its connections led to it by REDIRECT |

So the last two differ by what our code does, and the last and the first by all that there is. Everything is on
loopback, and the rule is in OUTPUT: in a pod it is in PREROUTING, which asks as many rules as often (once for a
connection). Each namespace has origins of its own. Measured is CPU per request on connections that stay (16), and with
a connection for each request, as in `quick`.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import environment
from benchmarks.figures import Point, ratio
from benchmarks.processes import Child, Cores, free_port, pinned
from benchmarks.rounds import Load, cpu_round
from benchmarks.scene import Scene
from benchmarks.targets import HERE, Target, routing_table, start

_CLONE_NEWNET = 0x40000000
_START_TIMEOUT_S = 20.0
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace with a loopback; it lasts as long as this, or whoever runs in it."""

    def __init__(self) -> None:
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise SystemExit("needs root: no network namespace can be made")
        self._descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        _libc.setns(before, _CLONE_NEWNET)
        os.close(before)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process is there, and whatever it starts."""
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        _libc.setns(self._descriptor, _CLONE_NEWNET)
        try:
            yield
        finally:
            _libc.setns(before, _CLONE_NEWNET)
            os.close(before)


def redirect(port: int, to: int) -> None:
    """In the namespace that this process is in."""
    command = ["iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", str(port)]
    subprocess.run([*command, "-j", "REDIRECT", "--to-ports", str(to)], check=True)


def transparent(scene: Scene, sandboxes: int) -> Target:
    """A sidecar with --transparent, in the namespace that this process is in."""
    called, listen = free_port(), free_port()
    redirect(called, listen)
    home = scene.new_folder("transparent")
    table = home / "table.json"
    table.write_text(routing_table(scene.keys(sandboxes), called, scene.sandbox.port))
    command = [sys.executable, "-m", "proxy", "--transparent", "--workload", "hotrod/Deployment/location"]
    command += ["--table", str(table), "--admin", f"127.0.0.1:{free_port()}", "--listen", f"127.0.0.1:{listen}"]
    command += ["--baseline", f"127.0.0.1:{scene.baseline.port}", "--workload-port", str(called)]
    child = Child(command, cpus=scene.cores.proxy, log=home / "log", cwd=HERE)
    began_ns = time.monotonic_ns()
    try:
        answered_ns = scene.first_answer(child, called, sandboxes, _START_TIMEOUT_S)
    except BaseException:
        child.stop()
        raise
    return Target("transparent", sandboxes, {False: called, True: called}, child, (answered_ns - began_ns) / 1e6)


def led_to(target: Target) -> Target:
    """The same one, behind a rule."""
    called = free_port()
    redirect(called, target.ports[True])
    return replace(target, name="redirected", ports={False: called, True: called}, child=target.child)


def closing(scene: Scene) -> None:
    """From here on each request has a connection of its own."""
    for tagged, path in list(scene.templates.items()):
        text = path.read_bytes().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        other = path.with_name(f"{path.name}-closing")
        other.write_bytes(text)
        scene.templates[tagged] = other


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transparent")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=1, help="length of a round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    cores = Cores.split()
    load = Load(options.connections, options.seconds)
    with ExitStack() as stack:
        stack.enter_context(pinned(cores.load))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-bench-")))
        ways: list[tuple[Namespace, Scene, Target]] = []
        for name in ("bare", "ruled"):
            namespace = Namespace()
            (folder / name).mkdir()
            with namespace.inside():
                scene = Scene(cores, folder / name, own_tools=False)
                stack.callback(scene.stop)
                plain = start("sidecar", scene, 1, name="plain" if name == "bare" else "tracked")
                stack.callback(plain.stop)
                ways.append((namespace, scene, plain))
                if name == "ruled":
                    other = transparent(scene, 1)
                    stack.callback(other.stop)
                    ways += [(namespace, scene, led_to(plain)), (namespace, scene, other)]
        print(f"commit {environment.commit()}; {environment.versions()}; {environment.machine(cores)}")
        measure(options.rounds, ways, load, "CPU per request")
        for scene in {id(scene): scene for _, scene, _ in ways}.values():
            closing(scene)
        measure(options.rounds, ways, load, "CPU per connection with one request")
    return 0


def measure(rounds: int, ways: list[tuple[Namespace, Scene, Target]], load: Load, title: str) -> None:
    points = [Point("cpu", target.name, 1, True) for _, _, target in ways]
    for namespace, scene, target in ways:
        with namespace.inside():
            cpu_round(scene, target, True, load)
    for _ in range(rounds):
        for (namespace, scene, target), point in zip(ways, points, strict=True):
            with namespace.inside():
                point.rounds.append(cpu_round(scene, target, True, load))
    print(f"{title}, us (median, lowest-highest of {rounds} interleaved rounds)")
    for point in points:
        value = point.spread("cpu_us")
        against = {other.target: ratio(point, other, "cpu_us") for other in points if other is not point}
        shown = "; ".join(
            f"{each.median:.3f} ({each.low:.2f}-{each.high:.2f}) x {name}"
            for name, each in against.items()
            if each is not None
        )
        text = f"{value.median:7.2f} ({value.low:.2f}-{value.high:.2f})" if value else f"void: {point.void}"
        print(f"  {point.target:12} {text}   {shown}   {point.marked} marked")


if __name__ == "__main__":
    sys.exit(main())
