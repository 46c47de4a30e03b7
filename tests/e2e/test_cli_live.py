"""The whole path as people and agents walk it: controller, proxies, apply --wait, requests, traffic, verify, delete."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.times import timestamp
from tests.support.commandline import (
    WORKLOAD,
    Attached,
    Controller,
    Result,
    attached_proxy,
    running_controller,
    sandbox,
    several,
)
from tests.support.origin import Origin, running
from tests.support.waiting import until

DRIVER = "hotrod/Deployment/driver"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running_controller(tmp_path) as controller:
        yield controller


@pytest.fixture
def fork() -> Iterator[Origin]:
    origin = Origin("fork")
    with running(origin):
        yield origin


@pytest.fixture
def proxy(controller: Controller, baseline: Origin) -> Iterator[Attached]:
    with attached_proxy(controller, baseline.port, name="location-1") as proxy:
        yield proxy


def apply(controller: Controller, document: dict[str, object], *flags: str) -> Result:
    return controller.run("sandbox", "apply", "-f", "-", *flags, stdin=several(document))


def verify(controller: Controller, since: str) -> Result:
    return controller.run("sandbox", "verify", "pr-1", "-n", "hotrod", "--since", since)


@pytest.fixture
def start(controller: Controller) -> str:
    """When the test began: the controller is younger than any round number of minutes, and would not know."""
    return timestamp(datetime.now(UTC))


def test_the_whole_path(controller: Controller, start: str, proxy: Attached, fork: Origin) -> None:
    found = apply(controller, sandbox(destination=fork.port), "--wait")
    assert found.code == 0, found
    assert "  live after 0." in found.out
    assert f"{WORKLOAD} 1 of 1; 1 of 1 proxies know the key" in found.out
    key = found.out.split("routing key: ")[1].split()[0]

    assert proxy.get(key) == (200, b"hello from fork")
    assert proxy.get() == (200, b"hello from baseline")
    traffic = controller.fine("sandbox", "traffic", "pr-1", "-n", "hotrod")
    (counted,) = traffic["workloads"]  # type: ignore[misc]
    assert (counted["fromSandbox"], counted["fromBaseline"]) == (1, 0)
    found = verify(controller, start)
    assert found.code == 0, found
    assert found.out.startswith(f"hotrod/pr-1 since {start}: passed\n")

    found = controller.run("sandbox", "delete", "pr-1", "-n", "hotrod", "--wait")
    assert found.code == 0, found
    assert proxy.get(key)[0] == 424
    assert verify(controller, start).code == 6


def test_a_test_that_tested_nothing_does_not_pass(
    controller: Controller, start: str, proxy: Attached, fork: Origin
) -> None:
    assert apply(controller, sandbox(destination=fork.port), "--wait").code == 0
    found = verify(controller, start)
    assert found.code == 3, found
    assert ": failed\n" in found.out
    assert WORKLOAD in found.err


def test_a_test_that_met_the_baseline_does_not_pass(
    controller: Controller, start: str, baseline: Origin, fork: Origin
) -> None:
    """One proxy of the workload sends the key's requests to the sandbox, another lets them through: it is told to."""
    with (
        attached_proxy(controller, baseline.port, "--on-sandbox-failure", "baseline", name="location-1") as proxy,
        attached_proxy(controller, baseline.port, name="location-2"),
    ):
        assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
        assert proxy.get("k1") == (200, b"hello from fork")
        assert verify(controller, start).code == 0
        fork.close()
        assert proxy.get("k1") == (200, b"hello from baseline")
        found = verify(controller, start)
        assert found.code == 3, found


def test_a_proxy_that_was_killed_leaves_verify_without_an_answer(
    controller: Controller, start: str, baseline: Origin, fork: Origin
) -> None:
    with (
        attached_proxy(controller, baseline.port, name="location-1") as proxy,
        attached_proxy(controller, baseline.port, name="location-2") as other,
    ):
        assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
        assert proxy.get("k1") == (200, b"hello from fork")
        assert verify(controller, start).code == 0
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        until(lambda: verify(controller, start).code == 4, "an unknown verdict")
        found = verify(controller, start)
        assert "location-2" in found.err, found


def test_a_workload_without_a_proxy_is_named(controller: Controller, proxy: Attached, fork: Origin) -> None:
    document = sandbox(destination=fork.port, workloads=(WORKLOAD, DRIVER))
    found = apply(controller, document, "--wait", "--timeout", "1s")
    assert found.code == 3, found
    assert DRIVER in found.err
    assert "not live everywhere after " in found.err
    assert f"{WORKLOAD} 1 of 1" in found.err


def test_a_proxy_that_does_not_answer_is_named_until_it_does(
    controller: Controller, proxy: Attached, baseline: Origin, fork: Origin
) -> None:
    with attached_proxy(controller, baseline.port, name="location-2") as stuck:
        stuck.process.send_signal(signal.SIGSTOP)
        found = apply(controller, sandbox(key="k1", destination=fork.port), "--wait", "--timeout", "1500ms")
        assert found.code == 3, found
        assert f"{WORKLOAD}: proxy location-2 has not acknowledged it" in found.err
        assert "location-1" not in found.err
        assert f"{WORKLOAD} 1 of 2; 1 of 2 proxies know the key" in found.err
        stuck.process.send_signal(signal.SIGCONT)
        found = controller.run("sandbox", "wait", "pr-1", "-n", "hotrod")
        assert found.code == 0, found
        assert f"{WORKLOAD} 2 of 2; 2 of 2 proxies know the key" in found.out


def test_a_proxy_that_was_killed_is_named_as_disconnected(
    controller: Controller, proxy: Attached, baseline: Origin, fork: Origin
) -> None:
    with attached_proxy(controller, baseline.port, name="location-2") as dead:
        dead.process.send_signal(signal.SIGKILL)
        dead.process.wait()
        until(lambda: "disconnected" in controller.run("proxies").out, "a lost proxy")
        found = apply(controller, sandbox(key="k1", destination=fork.port), "--wait", "--timeout", "1s")
        assert found.code == 3, found
        assert f"{WORKLOAD}: proxy location-2 is disconnected" in found.err


def test_a_controller_that_is_younger_than_the_test_does_not_know(
    controller: Controller, proxy: Attached, fork: Origin
) -> None:
    assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
    assert proxy.get("k1") == (200, b"hello from fork")
    found = verify(controller, "5m")
    assert found.code == 0, "before there was a sandbox, nothing of it was tested"
    controller.stop(signal.SIGKILL)
    controller.start()
    until(lambda: controller.fine("proxies")["items"][0]["isCurrent"], "the proxy to be back")  # type: ignore[index]
    assert proxy.get("k1") == (200, b"hello from fork")
    found = verify(controller, "5m")
    assert found.code == 4, found
    assert "this controller counts since" in found.err


def test_proxies(controller: Controller, proxy: Attached) -> None:
    (attached,) = controller.fine("proxies")["items"]  # type: ignore[misc]
    assert (attached["id"], attached["workload"], attached["isConnected"]) == ("location-1", WORKLOAD, True)
    until(lambda: " current " in controller.run("proxies").out, "a proxy that has acknowledged")
    head, row = controller.run("proxies").out.splitlines()
    assert head.split() == ["PROXY", "WORKLOAD", "STATE", "SINCE", "RELEASE", "TABLE"]
    assert row.split()[:3] == ["location-1", WORKLOAD, "current"]


def test_the_controller_is_restarted_while_somebody_waits(
    controller: Controller, proxy: Attached, fork: Origin
) -> None:
    """The wait goes on, and ends well once the proxy is back."""
    assert apply(controller, sandbox(key="k1", destination=fork.port)).code == 0
    controller.stop(signal.SIGKILL)
    results: list[Result] = []
    waiting = threading.Thread(
        target=lambda: results.append(controller.run("sandbox", "wait", "pr-1", "-n", "hotrod", "--timeout", "50s"))
    )
    waiting.start()
    controller.start()
    waiting.join(60)
    assert results[0].code == 0, results
    assert proxy.get("k1") == (200, b"hello from fork")


def test_a_proxy_that_has_not_come_back_to_a_restarted_controller_is_missed(
    controller: Controller, baseline: Origin, fork: Origin
) -> None:
    """It goes on by the table that it has, so what it answers is neither live nor verified before it is back."""
    with (
        attached_proxy(controller, baseline.port, name="location-1") as proxy,
        attached_proxy(controller, baseline.port, name="location-2") as other,
    ):
        until(lambda: len(controller.fine("proxies")["items"]) == 2, "both")  # type: ignore[arg-type]
        controller.stop(signal.SIGKILL)
        other.process.send_signal(signal.SIGSTOP)  # its turn to dial has not come
        controller.start()
        until(lambda: "current" in controller.run("proxies").out, "the one that is back", within_s=20)
        start = timestamp(datetime.now(UTC))
        found = apply(controller, sandbox(key="k1", destination=fork.port), "--wait", "--timeout", "1s")
        assert found.code == 3, found
        assert f"{WORKLOAD}: proxy location-2 is disconnected" in found.err
        assert proxy.get("k1") == (200, b"hello from fork")
        found = verify(controller, start)
        assert found.code == 4, found
        assert "location-2" in found.err
        other.process.send_signal(signal.SIGCONT)
        found = controller.run("sandbox", "wait", "pr-1", "-n", "hotrod")
        assert found.code == 0, found
        assert f"{WORKLOAD} 2 of 2" in found.out
        assert verify(controller, start).code == 0


def test_a_receipt_is_for_what_was_published_last(
    controller: Controller, proxy: Attached, fork: Origin, baseline: Origin
) -> None:
    """A key that goes from one object to another while somebody waits: its new routes are not yet everywhere."""
    assert apply(controller, sandbox("pr-1", key="k1", destination=baseline.port), "--wait").code == 0
    assert apply(controller, sandbox("pr-2", key="k1", destination=fork.port)).code == 5
    receipts: list[dict[str, object]] = []

    def wait() -> None:
        path = "/api/v1/namespaces/hotrod/sandboxes/pr-2/receipt?timeoutSeconds=6"
        with urllib.request.urlopen(controller.url + path, timeout=20) as response:
            receipts.append(json.load(response))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)  # it waits: nothing tells
    proxy.process.send_signal(signal.SIGSTOP)
    assert controller.run("sandbox", "delete", "pr-1", "-n", "hotrod").code == 0
    waiting.join(30)
    assert receipts[0]["isComplete"] is False, receipts
    proxy.process.send_signal(signal.SIGCONT)
    assert controller.run("sandbox", "wait", "pr-2", "-n", "hotrod").code == 0
    assert proxy.get("k1") == (200, b"hello from fork")


def test_what_another_sandbox_with_the_key_answered_is_no_answer_of_this_one(
    controller: Controller, start: str, proxy: Attached, fork: Origin
) -> None:
    assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
    assert proxy.get("k1") == (200, b"hello from fork")
    assert verify(controller, start).code == 0
    assert controller.run("sandbox", "delete", "pr-1", "-n", "hotrod", "--wait").code == 0
    assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
    found = verify(controller, start)
    assert (found.code, f"the sandbox at {WORKLOAD} answered no request" in found.err) == (3, True), found
    assert proxy.get("k1") == (200, b"hello from fork")
    assert verify(controller, start).code == 0


def test_clocks_that_are_not_the_same(controller: Controller, proxy: Attached, fork: Origin) -> None:
    """A test machine is an hour ahead: the beginning of its test would be after all that it did."""
    assert proxy.get("k1") == (200, b"hello from baseline")
    assert apply(controller, sandbox(key="k1", destination=fork.port), "--wait").code == 0
    assert proxy.get("k1") == (200, b"hello from fork")
    ahead = timedelta(hours=1)

    def asked(**query: datetime) -> dict[str, object]:
        texts = "&".join(f"{name}={timestamp(time)}" for name, time in query.items())
        path = f"/api/v1/namespaces/hotrod/sandboxes/pr-1/traffic?{texts}"
        with urllib.request.urlopen(controller.url + path, timeout=20) as response:
            found = json.load(response)
        assert isinstance(found, dict)
        return found

    now = datetime.now(UTC)
    assert asked(since=now + ahead)["verdict"] == "unknown"
    assert asked(since=now + ahead)["reasons"][-1].split(" has ")[1].startswith("not come yet")  # type: ignore[index]
    assert asked(since=now + ahead - timedelta(seconds=20), now=now + ahead)["verdict"] == "failed"
    assert asked(since=now - 48 * ahead)["reasons"][-1] == "counts are kept for 24 hours only"  # type: ignore[index]
