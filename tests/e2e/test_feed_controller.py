"""Real proxies and a real controller: it dies, comes back, and comes back without its memory."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Response, ask, connected, get
from tests.support.controller import NAMESPACE, Controller, run_controller, sandbox
from tests.support.origin import Origin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

FLAGS = ("--decision-header", "--destination-allow", "127.0.0.0/8")
DRIVER = "hotrod/Deployment/driver"
ROUTED = "sandbox=one; reason=route"


def tagged(proxy: Proxy, key: str) -> Response:
    return ask(proxy.port, get("/", f"baggage: sd-routing-key={key}"))


def local(origin: Origin) -> dict[str, object]:
    """A sandbox's part that leads the workload `location` to this origin."""
    return {
        "local": [
            {
                "from": {"kind": "Deployment", "namespace": NAMESPACE, "name": "location"},
                "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{origin.port}"}],
            }
        ]
    }


@contextlib.contextmanager
def restarted(controller: Controller, *flags: str) -> Iterator[Controller]:
    """The same controller again, where it was."""
    place = controller.url.removeprefix("http://").rstrip("/")
    with run_controller(controller.folder, "--listen", place, *flags) as again:
        yield again


@pytest.fixture
def fork() -> Iterator[Origin]:
    origin = Origin("fork")
    with running(origin):
        yield origin


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects") as controller:
        yield controller


@pytest.fixture
def proxy(tmp_path: Path, baseline: Origin, controller: Controller) -> Iterator[Proxy]:
    with run_proxy(tmp_path, baseline.port, controller=controller.url.rstrip("/"), flags=FLAGS) as proxy:
        yield proxy


def test_a_slice_reveals_no_other_key(
    tmp_path: Path, baseline: Origin, fork: Origin, controller: Controller, proxy: Proxy
) -> None:
    kept = ("--state-dir", str(tmp_path / "state"))
    url = controller.url.rstrip("/")
    with run_proxy(tmp_path, baseline.port, controller=url, flags=(*FLAGS, *kept), workload=DRIVER) as driver:
        controller.put(sandbox("one", **local(fork)))
        until(lambda: tagged(proxy, "one").decision == ROUTED, "the route")
        until(lambda: tagged(driver, "one").decision == "baseline; reason=not_forked", "the key")
        assert tagged(driver, "two").decision == "baseline; reason=unknown_key"
        assert driver.stop() == 0
        held = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())
        assert b"liveKeys" in held
        assert b'"one"' not in held


def test_a_controller_that_is_killed_and_comes_back(fork: Origin, controller: Controller, proxy: Proxy) -> None:
    controller.put(sandbox("one", **local(fork)))
    until(lambda: tagged(proxy, "one").decision == ROUTED, "the route")
    controller.stop(signal.SIGKILL)
    until(lambda: proxy.state()["stale"], "staleness")
    assert tagged(proxy, "one").decision == ROUTED
    assert proxy.page("/readyz")[0] == 200
    with restarted(controller) as again:
        until(lambda: not proxy.state()["stale"], "the feed", within_s=15)
        assert tagged(proxy, "one").decision == ROUTED
        assert again.ask("DELETE", "/api/v1/namespaces/hotrod/sandboxes/one").status == 202
        until(lambda: tagged(proxy, "one").status == 424, "the end of the key")


def test_a_controller_that_lost_its_memory(fork: Origin, controller: Controller, proxy: Proxy, tmp_path: Path) -> None:
    """Another salt, and positions from the beginning: the proxy gets all of it anew, and nothing is misrouted."""
    controller.put(sandbox("one", **local(fork)))
    controller.put(sandbox("left", **local(fork)))
    until(lambda: tagged(proxy, "left").decision != "baseline; reason=unknown_key", "the route")
    controller.stop(signal.SIGKILL)
    shutil.rmtree(controller.folder / ".pointsman")
    next(iter(controller.folder.glob("*left*"))).unlink()
    with connected(proxy.port) as client, restarted(controller) as again:
        while proxy.state()["stale"]:
            client.send(get("/", "baggage: sd-routing-key=one"))
            assert client.read().decision == ROUTED
        again.put(sandbox("two", **local(fork)))
        until(lambda: tagged(proxy, "two").decision == "sandbox=two; reason=route", "the next change")
        assert tagged(proxy, "one").decision == ROUTED
        assert tagged(proxy, "left").status == 424  # by the proxy's own memory: the route was its own


def test_a_proxy_that_starts_while_the_controller_is_gone(
    tmp_path: Path, baseline: Origin, fork: Origin, controller: Controller
) -> None:
    flags = (*FLAGS, "--state-dir", str(tmp_path / "state"))
    url = controller.url.rstrip("/")
    controller.put(sandbox("one", **local(fork)))
    with run_proxy(tmp_path, baseline.port, controller=url, flags=flags) as proxy:
        until(lambda: tagged(proxy, "one").decision == ROUTED, "the route")
        assert proxy.stop() == 0
    controller.stop(signal.SIGKILL)
    with run_proxy(tmp_path, baseline.port, controller=url, flags=flags) as proxy:
        assert tagged(proxy, "one").decision == ROUTED
        assert proxy.state()["stale"] is True
        with restarted(controller):
            until(lambda: not proxy.state()["stale"], "the feed", within_s=15)
            assert tagged(proxy, "one").decision == ROUTED
