"""What Prometheus looks at: two controllers, sidecars and a router, steady traffic, and the ways to break each thing.

Each fault has a place of its own, so that an alert can be told from its neighbour's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from proxy.telemetry.traffic import MAX_KEYS
from tests.observability.prometheus import Prometheus
from tests.support.client import Client, get
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.feedclient import ScriptedProxy, scripted_proxy
from tests.support.origin import Origin, running
from tests.support.proxy import WORKLOAD, Proxy, route, run_proxy, run_router, service, table, write_table
from tests.support.waiting import until
from tests.support.workers import TWO, workers

TRACE = "0af7651916cd43dd8448eb211c80319c"
_TRACED = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"
_LOCAL = ("--destination-allow", "127.0.0.0/8")
_PAUSE_S = 0.05
_STALL_S = 0.4
_MANY_LINES = 12_000


def tagged(key: str, *lines: str, host: str = "location") -> bytes:
    return get("/", f"baggage: sd-routing-key={key}", *lines, host=host)


class Traffic:
    """Sends what it was told to, one after the other, over and over, each over a connection of its own."""

    def __init__(self) -> None:
        self._asking: dict[tuple[int, bytes], Client | None] = {}
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, port: int, *requests: bytes) -> None:
        self._asking |= {(port, request): None for request in requests}

    def stop(self) -> None:
        self._has_ended.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._has_ended.wait(_PAUSE_S):
            for port, request in list(self._asking):
                self._ask(port, request)

    def _ask(self, port: int, request: bytes) -> None:
        client = self._asking[port, request]
        try:
            if client is None:
                client = Client(port, timeout_s=3)
            client.ask(request)
        except OSError:
            if client is not None:
                client.close()
            client = None
        self._asking[port, request] = client


@dataclass
class Scene:
    """`proxies` by their instance, as Prometheus names them."""

    folder: Path
    prometheus: Prometheus
    controller: Controller
    other: Controller  # whose audit log has no room
    third: Controller  # of `stormy` alone
    baseline: Origin
    lonely: Origin
    traffic: Traffic
    stack: ExitStack
    proxies: dict[str, Proxy] = field(default_factory=dict)
    scripted: ScriptedProxy | None = None
    _ends: list[threading.Event] = field(default_factory=list)

    def start(self, name: str, *flags: str, controller: str | None = None, baseline: Origin | None = None) -> Proxy:
        """A sidecar of this instance."""
        folder = self.folder / name
        folder.mkdir()
        if controller is None:
            write_table(folder / "table.json", table(route(destinations=[self.baseline.port])))
        proxy = self.stack.enter_context(
            run_proxy(
                folder,
                (baseline or self.baseline).port,
                flags=(*flags, "--health-listen", "127.0.0.1:0"),
                controller=controller,
                environ={"POD_NAME": name},
            )
        )
        until(lambda: proxy.health, "the health listener")
        self.proxies[name] = proxy
        self.prometheus.scrape(name, proxy.health)
        return proxy

    def again_and_again(self, act: Callable[[], None], every_s: float) -> None:
        """Until the end."""
        end = threading.Event()
        self._ends.append(end)

        def run() -> None:
            while not end.wait(every_s):
                act()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.stack.callback(thread.join, 10)
        self.stack.callback(end.set)

    # --- faults --------------------------------------------------------------------------------------------------

    def make_stale(self) -> None:
        self.proxies["file"].table_path.write_text("{")

    def make_unknown_keys(self) -> None:
        self.traffic.add(self.proxies["sidecar"].port, tagged("nobody-knows-it"))

    def make_a_dead_sandbox(self) -> None:
        dead = {
            "from": {"kind": "Deployment", "namespace": "hotrod", "name": "location"},
            "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{dead_port()}"}],
        }
        assert self.controller.put(sandbox("pr-dead", local=[dead])).status == 201
        self.traffic.add(self.proxies["sidecar"].port, tagged("pr-dead"))

    def make_a_loop(self) -> None:
        self.traffic.add(self.proxies["sidecar"].port, tagged("pr-1", f"pointsman-hop: {WORKLOAD}"))

    def make_connections(self) -> None:
        """More than `small` has room for."""
        port = self.proxies["small"].port

        def connect() -> None:
            with contextlib.suppress(OSError), contextlib.closing(Client(port, timeout_s=2)) as client:
                client.socket.recv(4096)

        for _ in range(4):
            self.stack.enter_context(contextlib.closing(Client(port)))
        self.again_and_again(connect, 0.1)

    def make_it_slow(self) -> None:
        process = self.proxies["slow"].process

        def stall() -> None:
            process.send_signal(signal.SIGSTOP)
            threading.Event().wait(_STALL_S)
            process.send_signal(signal.SIGCONT)

        self.again_and_again(stall, 0.3)

    def make_lines_that_are_dropped(self) -> None:
        """More than wait for a disk that is full."""
        _storm(self.proxies["logging"].port, (get(f"/{number:x<200}") for number in range(_MANY_LINES)))

    def make_a_storm_of_keys(self) -> None:
        """More keys than are counted while nobody takes the counts."""
        self.third.process.kill()
        self.third.process.wait(10)
        _storm(self.proxies["stormy"].port, (tagged(f"stranger-{number}") for number in range(MAX_KEYS + 100)))

    def make_a_worker_hang(self) -> None:
        proxy = self.proxies["workers"]
        process = workers(proxy)[2]
        os.kill(process, signal.SIGSTOP)
        self.stack.callback(_go_on, process)

    def make_a_proxy_without_table(self) -> None:
        self.start("late", "--sync-timeout", "0", controller=f"http://127.0.0.1:{dead_port()}")

    def make_a_baseline_fail(self) -> None:
        """`alone` has one of its own."""
        self.lonely.close()

    def make_a_proxy_missing(self) -> None:
        proxy = self.proxies["missing"]
        self.prometheus.forget("missing")
        proxy.process.kill()
        proxy.process.wait(10)
        proxy.process.returncode = 0  # asked for

    def make_a_refusal(self) -> None:
        assert self.scripted is not None
        self.scripted.acks = False
        count = len(self.scripted.tables)
        self.change("pr-refused")
        scripted = self.scripted
        until(lambda: len(scripted.tables) > count, "the table that is refused")
        scripted.say(type="nack", nonce=scripted.tables[-1]["nonce"], isWhole=True, faults=["routes: no"], routes=[])
        scripted.acks = True

    def make_a_proxy_hang(self) -> None:
        self.proxies["hanging"].process.send_signal(signal.SIGSTOP)
        self.change("pr-behind")

    def let_it_go_on(self) -> None:
        self.proxies["hanging"].process.send_signal(signal.SIGCONT)

    def change(self, name: str) -> None:
        assert self.controller.put(sandbox(name)).status in (200, 201)

    def make_a_file_unreadable(self) -> None:
        (self.other.folder / "faulty.yaml").write_text("kind: Nothing\n")

    def make_the_state_fail(self) -> None:
        resource.prlimit(self.other.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        (self.other.folder / "new.yaml").write_text(_SANDBOX)

    def make_the_audit_log_fail(self) -> None:
        self.other.ask("DELETE", path_of("nothing-there"))
        self.other.put(sandbox("audited"))

    def make_the_controllers_die(self) -> None:
        for name, controller in (("controller", self.controller), ("other", self.other)):
            self.prometheus.forget(name)
            controller.process.kill()
            controller.process.wait(10)


_SANDBOX = """\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata: {name: new, namespace: hotrod}
spec:
  local:
  - from: {kind: Deployment, namespace: hotrod, name: location}
    mappings: [{port: 8081, toLocal: "127.0.0.1:9081"}]
"""


def _storm(port: int, requests: Iterable[bytes]) -> None:
    """All of them, one behind the other on one connection; the last closes it."""
    last = get("/", "Connection: close")
    with contextlib.closing(Client(port, timeout_s=60)) as client:
        sending = threading.Thread(target=client.send, args=(b"".join([*requests, last]),))
        sending.start()
        while client.socket.recv(1 << 20):
            pass
        sending.join()


def _go_on(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def dead_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def call(port: int) -> None:
    """A gRPC call; that it fails does not matter."""
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel,
        contextlib.suppress(grpc.RpcError),
    ):
        channel.unary_unary("/hotrod.Location/Get")(b"", timeout=5)


@contextlib.contextmanager
def running_scene(folder: Path, prometheus: Prometheus) -> Iterator[Scene]:
    """All is well in it."""
    with ExitStack() as stack:
        baseline, changed, lonely = Origin("baseline"), Origin("sandbox"), Origin("lonely")
        stack.enter_context(running(baseline, changed, lonely))
        services = folder / "services.json"
        write_table(services, {"services": [service("location", upstream=baseline.port)]})
        controller = stack.enter_context(run_controller(folder / "objects", "--services", str(services)))
        other = stack.enter_context(run_controller(folder / "other", "--audit-log", "/dev/full"))
        third = stack.enter_context(run_controller(folder / "third"))
        prometheus.scrape("controller", _port(controller.url), "controllers")
        prometheus.scrape("other", _port(other.url), "controllers")
        traffic = Traffic()
        stack.callback(traffic.stop)
        scene = Scene(folder, prometheus, controller, other, third, baseline, lonely, traffic, stack)
        fed = [scene.start(name, *_LOCAL, controller=controller.url) for name in ("sidecar", "missing", "hanging")]
        fed.append(scene.start("stormy", *_LOCAL, controller=third.url))
        scene.start("file")
        traffic.add(scene.start("alone", baseline=lonely).port, get())
        scene.start("small", "--max-connections", "2")
        scene.start("slow")
        scene.start("workers", *TWO)
        scene.start("logging", "--access-log", "json", "--access-log-file", "/dev/full")
        router = stack.enter_context(
            run_router(folder, controller=controller.url, flags=_LOCAL, environ={"POD_NAME": "router"})
        )
        prometheus.scrape("router", router.admin)
        scene.scripted = stack.enter_context(scripted_proxy(controller.url, id="scripted"))
        mapping = {"port": 8081, "toLocal": f"127.0.0.1:{changed.port}"}
        origin = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
        assert controller.put(sandbox("pr-1", local=[{"from": origin, "mappings": [mapping]}])).status == 201
        for proxy in (*fed, router):
            until(lambda proxy=proxy: proxy.state()["version"], "the table", within_s=20)  # type: ignore[misc]
        traffic.add(fed[0].port, get("/", _TRACED), tagged("pr-1"), tagged("pr-1", "sd-none: 1"))
        traffic.add(router.port, tagged("pr-1"))
        traffic.add(scene.proxies["workers"].port, get())
        call(fed[0].port)
        prometheus.until_scraped(*scene.proxies, "router", "controller", "other")
        yield scene
