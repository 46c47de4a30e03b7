"""`--workers 2 --controller`: each worker is a proxy there. Receipts, counts, state files, no controller."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.e2e.test_feed_receipts import (
    FLAGS,
    TO_SANDBOX,
    free_port,
    known,
    now,
    proxied,
    receipt,
    spec,
    tagged,
    verdict,
)
from tests.support.client import connected, get
from tests.support.controller import path_of, run_controller
from tests.support.origin import Origin
from tests.support.proxy import run_proxy
from tests.support.waiting import until
from tests.support.workers import TWO, kill, run_workers, served_by, states

TAGGED = get("/", "baggage: sd-routing-key=pr-1")


def test_receipts_count_every_worker(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    flags = FLAGS
    with (
        run_controller(tmp_path / "objects") as controller,
        run_workers(
            tmp_path, baseline.port, controller=controller.url, flags=flags, environ={"POD_NAME": "pod"}
        ) as proxy,
    ):
        until(lambda: sorted(known(controller)) == ["pod/1", "pod/2"], "both workers")
        until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
        began = now()
        assert controller.put(spec(sandbox.port)).status == 201
        found = receipt(controller)
        assert (found["isComplete"], found["proxies"]) == (True, {"attached": 2, "knowing": 2})
        with contextlib.ExitStack() as stack:  # the receipt is the proof: nothing is waited for here
            clients = [stack.enter_context(connected(proxy.port)) for _ in range(10)]
            assert {client.ask(TAGGED).decision for client in clients} == {TO_SANDBOX}
            by_worker = [served_by(proxy, client) for client in clients]
            assert set(by_worker) == {1, 2}
            # None is lost, none is counted twice.
            found = verdict(controller, began)
            assert (found["verdict"], found["workloads"][0]["fromSandbox"]) == ("passed", 10)
            assert found["workloads"][0]["fromBaseline"] == 0
            assert {state["version"] for state in states(proxy)} == {known(controller)["pod/1"]["tableVersion"]}
            # What one that is killed had told counts on; what it may not have told is a gap, and is said to be one.
            kill(proxy, 2)
            until(lambda: known(controller)["pod/2"]["isCurrent"], "the replacement")
            assert tagged(proxy).decision == TO_SANDBOX
            found = verdict(controller, began)
            assert found["workloads"][0]["fromSandbox"] == 11
            assert found["verdict"] == "unknown"
        assert controller.ask("DELETE", path_of("pr-1")).status == 202
        controller.until_gone("pr-1")
        assert {tagged(proxy).status for _ in range(6)} == {424}
        assert proxy.metric("pointsman_feed_connected") == 1
        assert proxy.stop() == 0
        assert known(controller) == {}, "both said goodbye"


def test_a_drain_tells_the_last_counts_of_each(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    with run_controller(tmp_path / "objects") as controller:
        controller.put(spec(sandbox.port))
        with run_workers(tmp_path, baseline.port, controller=controller.url, flags=FLAGS) as proxy:
            until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
            began = now()
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(connected(proxy.port)) for _ in range(6)]
                assert {client.ask(TAGGED).decision for client in clients} == {TO_SANDBOX}
            assert proxy.stop() == 0
        found = verdict(controller, began)
        assert (found["verdict"], found["workloads"][0]["fromSandbox"]) == ("passed", 6)


def test_a_start_without_the_controller(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """By the state files; a worker that has none begins with another one's."""
    folder = tmp_path / "state"
    listen = ("--listen", f"127.0.0.1:{free_port()}")
    flags = (*FLAGS, "--state-dir", str(folder), "--sync-timeout", "0.2")
    with run_controller(tmp_path / "objects", *listen) as controller:
        url = controller.url
        controller.put(spec(sandbox.port))
        with run_proxy(tmp_path, baseline.port, controller=url, flags=flags) as proxy:  # one process
            until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
            assert receipt(controller)["isComplete"]
        with run_workers(tmp_path, baseline.port, controller=url, flags=flags) as proxy:
            until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
            until(lambda: len(list(folder.glob("*.state"))) == 3, "a file of each")
    with run_workers(tmp_path, baseline.port, controller=url, flags=flags, count=3) as proxy:
        until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(proxy.port)) for _ in range(12)]
            assert {client.ask(TAGGED).decision for client in clients} == {TO_SANDBOX}
            assert {served_by(proxy, client) for client in clients} == {1, 2, 3}
        assert proxy.metric("pointsman_feed_connected") == 0
        assert proxy.metric("pointsman_table_stale") == 1
        kill(proxy, 3)
        assert {tagged(proxy).decision for _ in range(6)} == {TO_SANDBOX}
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.state")} == {0o600}


def test_without_a_table_tagged_requests_wait_for_one(tmp_path: Path, baseline: Origin) -> None:
    with proxied(tmp_path, baseline, "http://127.0.0.1:9") as alone:
        expected = tagged(alone).status
    with run_proxy(tmp_path, baseline.port, controller="http://127.0.0.1:9", flags=(*FLAGS, *TWO)) as proxy:
        assert {tagged(proxy).status for _ in range(4)} == {expected} == {503}
        assert proxy.page("/readyz")[1].startswith(b"not ready: worker 1: no table of the controller yet")
