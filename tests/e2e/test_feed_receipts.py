"""Receipts of a real controller with real proxies: what they call live is live at that moment. CHECKLIST G50, M11."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.client import Response, ask, get
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.origin import Origin
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

FLAGS = ("--decision-header", "--destination-allow", "127.0.0.0/8")
HASTY = (
    sys.executable,
    "-c",
    "import sys; sys.argv = sys.argv[3:]\n"
    "from controller.rest import feed; feed.HEARTBEAT_TIMEOUT_S = 1.0\n"
    "from controller.__main__ import main; sys.exit(main())",
)
TO_SANDBOX = "sandbox=pr-1; reason=route"


def tagged(proxy: Proxy, key: str = "pr-1") -> Response:
    return ask(proxy.port, get("/", f"baggage: sd-routing-key={key}"))


def spec(port: int, name: str = "pr-1", workload: str = "location") -> dict[str, object]:
    """A sandbox's document: its workload answers at this port."""
    baseline = {"kind": "Deployment", "namespace": "hotrod", "name": workload}
    return sandbox(name, local=[{"from": baseline, "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{port}"}]}])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def known(controller: Controller) -> dict[str, dict[str, Any]]:
    items = controller.ask("GET", "/api/v1/proxies").json["items"]
    assert isinstance(items, list)
    return {item["id"]: item for item in items}


def verdict(controller: Controller, since: str, name: str = "pr-1") -> dict[str, Any]:
    return controller.ask("GET", f"{path_of(name)}/traffic?since={since}").json


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def receipt(controller: Controller, name: str = "pr-1", timeout_s: float = 10) -> dict[str, Any]:
    return controller.ask("GET", f"{path_of(name)}/receipt?timeoutSeconds={timeout_s:g}").json


@contextlib.contextmanager
def proxied(tmp_path: Path, baseline: Origin, url: str, id_: str = "proxy-1") -> Iterator[Proxy]:
    with run_proxy(tmp_path, baseline.port, controller=url, flags=FLAGS, environ={"POD_NAME": id_}) as proxy:
        yield proxy


def test_attach_change_and_delete(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    with (
        run_controller(tmp_path / "objects") as controller,
        proxied(tmp_path, baseline, controller.url) as proxy,
        proxied(tmp_path, baseline, controller.url, "proxy-2") as second,
    ):
        until(lambda: len(known(controller)) == 2, "both proxies")
        began = now()
        assert controller.put(spec(sandbox.port)).status == 201
        found = receipt(controller)
        assert (found["isComplete"], found["faults"], found["proxies"]) == (True, [], {"attached": 2, "knowing": 2})
        for each in (proxy, second):  # the receipt is the proof: nothing is waited for here
            assert tagged(each).decision == TO_SANDBOX
            assert tagged(each, "other").decision == "baseline; reason=unknown_key"
        assert controller.put(spec(sandbox.port, "pr-2", "driver")).status == 201
        found = receipt(controller, "pr-2", timeout_s=0.3)
        assert found["faults"] == ["no proxy of hotrod/Deployment/driver is attached"]
        assert found["proxies"] == {"attached": 2, "knowing": 2}
        assert tagged(proxy, "pr-2").decision == "baseline; reason=not_forked"
        found = verdict(controller, began)
        assert (found["verdict"], found["workloads"][0]["fromSandbox"]) == ("passed", 2)
        assert controller.ask("DELETE", path_of("pr-1")).status == 202
        controller.until_gone("pr-1")
        assert {tagged(each).status for each in (proxy, second)} == {424}
        assert second.stop() == 0
        assert list(known(controller)) == ["proxy-1"]  # it said goodbye


def test_a_controller_that_is_killed_and_comes_back(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    listen = ("--listen", f"127.0.0.1:{free_port()}")
    with run_controller(tmp_path / "objects", *listen) as first:
        url = first.url
        with proxied(tmp_path, baseline, url) as proxy:
            first.put(spec(sandbox.port))
            until(lambda: "proxy-1" in known(first), "the proxy")
            assert receipt(first)["isComplete"]
            before = known(first)["proxy-1"]
            first.process.kill()
            first.process.wait(10)
            until(lambda: proxy.state()["stale"], "staleness")
            for _ in range(10):
                assert tagged(proxy).decision == TO_SANDBOX
            swaps = [line for line in proxy.lines if "in force" in line]
            with run_controller(tmp_path / "objects", *listen) as second:
                until(lambda: known(second).get("proxy-1", {}).get("isCurrent"), "the proxy", within_s=20)
                after = known(second)["proxy-1"]
                assert after["position"] > before["position"]
                assert after["tableVersion"] == before["tableVersion"]
                # Nothing had changed: "current" was all that it took, no snapshot.
                assert [line for line in proxy.lines if "in force" in line] == swaps
                assert proxy.state()["stale"] is False
                assert second.put(spec(sandbox.port, "pr-2")).status == 201
                assert receipt(second, "pr-2")["isComplete"]
                assert tagged(proxy, "pr-2").decision == "sandbox=pr-2; reason=route"
                assert second.stop() == 0


def test_a_proxy_that_is_stopped_is_named(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    with (
        run_controller(tmp_path / "objects", prefix=HASTY) as controller,
        proxied(tmp_path, baseline, controller.url) as proxy,
        proxied(tmp_path, baseline, controller.url, "proxy-2") as second,
    ):
        until(lambda: len(known(controller)) == 2, "both proxies")
        began = now()
        second.process.send_signal(signal.SIGSTOP)
        try:
            assert controller.put(spec(sandbox.port)).status == 201
            found = receipt(controller, timeout_s=0.2)
            assert not found["isComplete"]
            [workload] = found["workloads"]
            assert (workload["proxies"], workload["acknowledged"]) == (2, 1)
            [missing] = workload["missing"]
            assert (missing["id"], missing["state"]) == ("proxy-2", "pending")
            until(lambda: not known(controller)["proxy-2"]["isConnected"], "it to be given up", within_s=20)
            found = receipt(controller, timeout_s=0.2)
            [missing] = found["workloads"][0]["missing"]
            assert (missing["id"], missing["state"]) == ("proxy-2", "disconnected")
            assert tagged(proxy).decision == TO_SANDBOX
            found = verdict(controller, began)
            assert found["verdict"] == "unknown"
            assert "proxy-2" in str(found["reasons"])
        finally:
            second.process.send_signal(signal.SIGCONT)
        assert receipt(controller, timeout_s=30)["isComplete"]
        assert tagged(second).decision == TO_SANDBOX
        tagged(second)
        found = verdict(controller, began)
        assert (found["verdict"], found["reasons"]) == ("passed", [])  # the same process, with all that it counted
