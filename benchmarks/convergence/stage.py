"""The processes: a controller on a folder, a crowd of proxies in one process, and a few that are whole proxies."""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks import probe
from benchmarks.convergence.farm import NAMESPACE, PORT, WORKLOADS, Farm, Step, workload_name
from benchmarks.processes import Child, Cores, free_port
from benchmarks.targets import HERE

_READY_S = 120.0
_SYNC_S = 180.0
_REACH_S = 30.0
_LOOK_S = 0.002


class Controller:
    """`python -m controller`, which can be killed and started again at the same address."""

    def __init__(self, farm: Farm, cores: Cores, new_folder: Callable[[str], Path], baseline_port: int) -> None:
        self._farm, self._cores, self._new_folder = farm, cores, new_folder
        self._services = new_folder("services") / "services.json"
        self._services.write_text(json.dumps({"services": services(baseline_port)}))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.child = self._start()

    def _start(self) -> Child:
        command = [sys.executable, "-m", "controller", "--source", f"dir:{self._farm.folder}"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--services", str(self._services)]
        log = self._new_folder("controller") / "log"
        return Child(command, cpus=self._cores.proxy, log=log, cwd=HERE, env={"PYTHONPATH": _path()})

    def start_again(self) -> None:
        self.child = self._start()

    def stop(self) -> None:
        """The one that was started last."""
        self.child.stop()

    def until_ready(self) -> int:
        """When its store is read; monotonic time in ns."""
        return until(lambda: self._status("/readyz") == 200, self.child, "it does not become ready", _READY_S)

    def _status(self, path: str) -> int:
        try:
            return self.ask("GET", path)
        except OSError:
            return 0

    def ask(self, method: str, path: str, body: str | None = None) -> int:
        """The status."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/yaml"} if body else {})
            response = connection.getresponse()
            response.read()
            return response.status

    def write(self, step: Step) -> None:
        """By REST. Raises: ChildFailed if it says no."""
        path = f"/api/v1/namespaces/{NAMESPACE}/sandboxes/{step.sandbox.name}"
        if step.kind == "remove":
            status = self.ask("DELETE", path)
        else:
            status = self.ask("PUT", path, step.sandbox.text())
        if status not in (200, 201, 202):
            raise self.child.failure(f"it answers {status} to a {step.kind}")


class Crowd:
    """`benchmarks.convergence.crowd`."""

    def __init__(self, url: str, cores: Cores, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = [sys.executable, "-m", "benchmarks.convergence.crowd", "--controller", url]
            command += ["--port", str(listener.getsockname()[1])]
            self.child = Child(command, cpus=cores.load, log=folder / "log", cwd=HERE, env={"PYTHONPATH": _path()})
            listener.settimeout(30)
            self._socket, _ = listener.accept()
        self._lines = self._socket.makefile("rb")

    def order(self, do: str, **what: object) -> None:
        self._socket.sendall(json.dumps({"do": do, **what}).encode() + b"\n")

    def answer(self) -> dict[str, float]:
        found = json.loads(self._line())
        assert isinstance(found, dict)
        return found

    def times_ns(self) -> list[int]:
        """The answer to a watch."""
        found = json.loads(self._line(_REACH_S))["at_ns"]
        assert isinstance(found, list)
        return found

    def ask(self, do: str, **what: object) -> dict[str, float]:
        self.order(do, **what)
        return self.answer()

    def _line(self, within_s: float = _SYNC_S) -> bytes:
        self._socket.settimeout(within_s)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise self.child.failure("not all of the crowd got there") from None
        if not line:
            raise self.child.failure("it ended")
        return line

    def stop(self) -> None:
        self._lines.close()
        self._socket.close()
        self.child.stop()


class RealProxy:
    """A whole `python -m proxy`, which is asked by requests. `number`: its workload's."""

    def __init__(self, number: int, url: str, baseline_port: int, cores: Cores, folder: Path) -> None:
        self.number = number
        self.port, self._admin = free_port(), free_port()
        command = [sys.executable, "-m", "proxy", "--controller", url, "--listen", f"127.0.0.1:{self.port}"]
        command += ["--admin", f"127.0.0.1:{self._admin}", "--destination-allow", "127.0.0.0/8"]
        command += self._options(baseline_port)
        self.child = Child(command, cpus=cores.load, log=folder / "log", cwd=HERE, env={"PYTHONPATH": _path()})

    def _options(self, baseline_port: int) -> list[str]:
        workload = ["--workload", f"{NAMESPACE}/Deployment/{workload_name(self.number)}"]
        return [*workload, "--workload-port", str(PORT), "--baseline", f"127.0.0.1:{baseline_port}"]

    def until_synced(self) -> int:
        return until(self._is_synced, self.child, "it is not in sync", _SYNC_S)

    def _is_synced(self) -> bool:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._admin, timeout=10)) as connection:
                connection.request("GET", "/table")
                state = json.loads(connection.getresponse().read())
        except OSError:
            return False
        return state["version"] is not None and not state["stale"]

    def concerns(self, step: Step) -> bool:
        return step.kind != "change" or self.number in step.sandbox.workloads

    def has(self, step: Step, marks: dict[int, str], baseline: str) -> bool:
        """Whether a request with the key is answered by what the step wants. `marks`: of origins, by port. Requests are
        strict, so that nothing but a known key leads to the baseline."""
        strict = "" if step.kind == "remove" else ",sd-strict=1"
        number = self._asked(step)
        host = workload_name(number)
        head = f"GET / HTTP/1.1\r\nHost: {host}\r\nbaggage: sd-routing-key={step.sandbox.key}{strict}\r\n\r\n"
        answer = probe.ask(self.port, head.encode())
        if step.kind == "remove":
            return answer.status == 424
        expected = marks[step.sandbox.port] if number in step.sandbox.workloads else baseline
        return answer.status == 200 and answer.origin == expected

    def _asked(self, step: Step) -> int:
        """The workload that is asked."""
        return self.number


class RealRouter(RealProxy):
    """`python -m proxy --mode router`, of all workloads."""

    def _options(self, baseline_port: int) -> list[str]:
        return ["--mode", "router"]

    def concerns(self, step: Step) -> bool:
        return True

    def _asked(self, step: Step) -> int:
        return step.sandbox.workloads[self.number % len(step.sandbox.workloads)]


def services(baseline_port: int) -> list[dict[str, object]]:
    """Of all workloads, for routers."""
    return [
        {
            "hosts": [workload_name(number), f"{workload_name(number)}.{NAMESPACE}.svc.cluster.local"],
            "port": PORT,
            "baseline": {"kind": "Deployment", "namespace": NAMESPACE, "name": workload_name(number)},
            "upstream": {"host": "127.0.0.1", "port": baseline_port},
        }
        for number in range(WORKLOADS)
    ]


def until_all_have(proxies: Sequence[RealProxy], step: Step, marks: dict[int, str], baseline: str) -> list[int]:
    """When each of those that the step concerns had it."""
    waiting = [proxy for proxy in proxies if proxy.concerns(step)]
    at_ns: list[int] = []
    end_s = time.monotonic() + _REACH_S
    while waiting:
        for proxy in list(waiting):
            if proxy.has(step, marks, baseline):
                at_ns.append(time.monotonic_ns())
                waiting.remove(proxy)
            elif time.monotonic() > end_s:
                raise proxy.child.failure(f"it has not heard of {step} within {_REACH_S:g} s")
        time.sleep(_LOOK_S)
    return at_ns


def until(condition: Callable[[], bool], child: Child, what: str, within_s: float) -> int:
    """When it held; monotonic time in ns. Raises: ChildFailed."""
    end_s = time.monotonic() + within_s
    while not condition():
        child.check()
        if time.monotonic() > end_s:
            raise child.failure(f"{what} within {within_s:g} s")
        time.sleep(5 * _LOOK_S)
    return time.monotonic_ns()


def _path() -> str:
    """`-m` finds modules in the working directory first; this keeps it so where safe_path is set."""
    return os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
