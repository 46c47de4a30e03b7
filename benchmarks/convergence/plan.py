"""`python -m benchmarks convergence`: from a change to the last proxy that routes by it, and what the controller needs.

A real controller on a folder of 10,000 sandboxes; proxies of 200 workloads, of which five are processes that are asked
by requests and the others are the same code without the data path, all in one process, over real sockets; and two
routers of all workloads, which are processes.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import procfs, report
from benchmarks.bars import convergence_comparisons
from benchmarks.convergence.farm import Farm, Step
from benchmarks.convergence.load import ConvergenceLoad
from benchmarks.convergence.report import table
from benchmarks.convergence.stage import Controller, Crowd, RealProxy, RealRouter, until_all_have
from benchmarks.figures import Point, Round
from benchmarks.processes import Child
from benchmarks.scene import Scene
from benchmarks.targets import HERE

_PAUSE_S = 0.05  # between two changes, so that none gains or loses by the one before
_IDLE_S = 2.0
_WARM_UP = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    load = ConvergenceLoad()
    parser.add_argument("--sandboxes", type=int, default=load.sandboxes)
    parser.add_argument("--proxies", type=int, default=load.proxies, help="attached while changes are measured")
    parser.add_argument("--processes", type=int, default=load.processes, help="of them that are whole proxies")
    parser.add_argument("--routers", type=int, default=load.routers, help="processes too, beside the proxies")
    parser.add_argument("--changes", type=int, default=load.changes)
    parser.add_argument("--reconnecting", type=int, default=load.reconnecting, help="0: no restart")
    parser.add_argument(
        "--json", type=Path, default=HERE / "benchmarks/results/latest-convergence.json", metavar="FILE"
    )


def run(options: argparse.Namespace, scene: Scene, stack: ExitStack) -> int:
    load = ConvergenceLoad(
        options.sandboxes,
        options.proxies,
        options.processes,
        options.routers,
        options.changes,
        options.reconnecting,
    )
    began = time.time()
    points = measure(scene, stack, load)
    result = report.Result(
        plan="convergence",
        began=began,
        took_s=time.time() - began,
        rounds=1,
        load=load,
        tools={"proxies": "own", "origin": "nginx" if scene.nginx_origin else "own origin"},
        left_out={},
        points=points,
        comparisons=convergence_comparisons(points),
        cores=scene.cores,
    )
    print(table(result))
    report.write(result, options.json)
    print(f"\nwritten to {options.json}", file=sys.stderr)
    return 0


def measure(scene: Scene, stack: ExitStack, load: ConvergenceLoad) -> list[Point]:
    """Raises: ChildFailed if a change does not arrive, or proxies do not come back."""
    plan = _Plan(scene, stack, load)
    plan.start()
    plan.change()
    if load.reconnecting:
        plan.reconnect(meanwhile=False)
        plan.reconnect(meanwhile=True)
    return plan.points


class _Plan:
    def __init__(self, scene: Scene, stack: ExitStack, load: ConvergenceLoad) -> None:
        self._scene, self._stack, self._load = scene, stack, load
        self._marks = {each.port: each.mark for each in (scene.sandbox, scene.baseline)}
        self._farm = Farm(scene.new_folder("source"), load.sandboxes, (scene.sandbox.port, scene.baseline.port))
        self._values: dict[str, float] = {}
        self.points: list[Point] = []

    def start(self) -> None:
        scene, load = self._scene, self._load
        self._farm.fill()
        starts = ("first_s", "ready_s")  # without what it keeps beside the files, and with that
        for name in starts[: 2 if load.reconnecting else 1]:
            began_ns = time.monotonic_ns()
            self._controller = Controller(self._farm, scene.cores, scene.new_folder, scene.baseline.port)
            self._stack.callback(self._controller.stop)
            self._values[name] = (self._controller.until_ready() - began_ns) / 1e9
            report.say(f"controller ready in {self._values[name]:.1f} s")
            if name != starts[-1] and load.reconnecting:
                time.sleep(_IDLE_S)  # statuses are being written
                self._controller.stop()
        url = self._controller.url
        self._crowd = Crowd(url, scene.cores, scene.new_folder("crowd"))
        self._stack.callback(self._crowd.stop)
        self._real: list[RealProxy] = []
        for number in range(load.processes):
            proxy = RealProxy(number, url, scene.baseline.port, scene.cores, scene.new_folder("proxy"))
            self._stack.callback(proxy.child.stop)
            self._real.append(proxy)
        self._routers: list[RealRouter] = []
        for number in range(load.routers):
            router = RealRouter(number, url, scene.baseline.port, scene.cores, scene.new_folder("router"))
            self._stack.callback(router.child.stop)
            self._routers.append(router)
        self._attach(load.proxies)

    def _attach(self, count: int) -> None:
        began_ns = time.monotonic_ns()
        answer = self._crowd.ask("attach", count=count - self._load.processes)
        for proxy in (*self._real, *self._routers):
            proxy.until_synced()
        took_s = (time.monotonic_ns() - began_ns) / 1e9
        report.say(
            f"{count:,} proxies attached in {took_s:.1f} s, of which the crowd used {answer['cpu_s']:.1f} s of CPU"
        )

    # --- changes ---

    def change(self) -> None:
        point = Point("convergence", "controller", self._load.sandboxes, True)
        steps = list(self._farm.steps(_WARM_UP + self._load.changes, self._load.processes))
        for step in steps[:_WARM_UP]:
            self._one(step)
        idle_s = self._idle_cpu()
        cpu_ns, began_s = self._cpu_ns(), time.monotonic()
        for number, step in enumerate(steps[_WARM_UP:], 1):
            took_ms = self._one(step)
            way = "rest" if step.by_rest else "file"
            point.rounds.append(Round({"took_ms": took_ms, f"{step.kind}_{way}_ms": took_ms}))
            if number % 10 == 0:
                report.say(f"change {number}/{self._load.changes}  {took_ms:6.0f} ms")
        spent_s = (self._cpu_ns() - cpu_ns) / 1e9 - idle_s * (time.monotonic() - began_s)
        self._values["cpu_ms"] = spent_s * 1000 / self._load.changes
        self._values["rss_mb"] = _rss_mb(self._controller.child)
        self._values["idle_cpu"] = idle_s
        if self._routers:
            self._values["router_rss_mb"] = max(_rss_mb(router.child) for router in self._routers)
        self.points += [
            point,
            Point("controller", "controller", self._load.sandboxes, True, [Round(dict(self._values))]),
        ]

    def _one(self, step: Step) -> float:
        """From before the write to the last proxy's having it, in ms."""
        sandbox = step.sandbox
        what = {"kind": step.kind, "name": sandbox.name, "key": sandbox.key, "port": sandbox.port}
        self._crowd.ask("watch", **what, workloads=sandbox.workloads)
        began_ns = time.monotonic_ns()
        if step.by_rest:
            self._controller.write(step)
        else:
            self._farm.write(step)
        at_ns = until_all_have([*self._real, *self._routers], step, self._marks, self._scene.baseline.mark)
        at_ns += self._crowd.times_ns()
        time.sleep(_PAUSE_S)
        return (max(at_ns, default=began_ns) - began_ns) / 1e6

    def _idle_cpu(self) -> float:
        """The share of a core that heartbeats and reports take."""
        cpu_ns, began_ns = self._cpu_ns(), time.monotonic_ns()
        time.sleep(_IDLE_S)
        return (self._cpu_ns() - cpu_ns) / (time.monotonic_ns() - began_ns)

    def _cpu_ns(self) -> int:
        self._controller.child.check()
        return procfs.cpu_ns(self._controller.child.pid)

    # --- all come back ---

    def reconnect(self, *, meanwhile: bool) -> None:
        """Killed and started again. `meanwhile`: the table changes while it is gone, so that nobody has the present
        one."""
        self._attach(self._load.reconnecting)
        began_ns = time.monotonic_ns()
        self._controller.child.kill()
        self._crowd.ask("lose")
        if meanwhile:
            step = replace(next(self._farm.steps(1, self._load.processes)), by_rest=False)
            self._farm.write(step)
        started_ns = time.monotonic_ns()
        self._controller.start_again()
        self._crowd.order("sync")
        ready_ns = self._controller.until_ready()
        answer = self._crowd.answer()
        synced_ns = max(
            int(answer["at_ns"]), *(proxy.until_synced() for proxy in (*self._real, *self._routers)), ready_ns
        )
        time.sleep(_PAUSE_S)
        values = {
            "killed_s": (synced_ns - began_ns) / 1e9,
            "sync_s": (synced_ns - ready_ns) / 1e9,
            "start_s": (synced_ns - started_ns) / 1e9,
            "ready_s": (ready_ns - started_ns) / 1e9,
            "rss_mb": _rss_mb(self._controller.child),
            "cpu_s": self._cpu_ns() / 1e9,
            "crowd_cpu_s": answer["cpu_s"],
        }
        name = "reconnect-changed" if meanwhile else "reconnect"
        self.points.append(Point(name, "controller", self._load.sandboxes, True, [Round(values)]))
        report.say(f"{name}: {values['start_s']:.1f} s, of which {values['ready_s']:.1f} s until the store was read")


def _rss_mb(child: Child) -> float:
    return procfs.memory(child.pid).rss_kib * 1024 / 1e6
