"""Receipts that must not say too much, against a real controller and proxies that do what a test says."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from controller.documents import rendered
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.feedclient import scripted_proxy
from tests.support.waiting import until

DRIVER = "hotrod/Deployment/driver"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects") as controller:
        yield controller


@contextlib.contextmanager
def full_disk(controller: Controller) -> Iterator[None]:
    """No file of the controller's can get longer: as far as it can tell, the disk is full."""
    pid = controller.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def receipt(controller: Controller, name: str, query: str = "") -> dict[str, Any]:
    reply = controller.ask("GET", f"{path_of(name)}/receipt{query}")
    assert reply.status == 200, reply.body
    return reply.json


def with_driver(document: dict[str, Any]) -> dict[str, Any]:
    """The same sandbox, changing one workload more."""
    location = document["spec"]["local"][0]
    driver = {**location, "from": {**location["from"], "name": "driver"}}
    return {**document, "spec": {**document["spec"], "local": [location, driver]}}


def test_what_is_not_in_force_is_not_complete(controller: Controller) -> None:
    """The disk is full, so that nothing new is told: all proxies have the table that there is, the old one."""
    made = controller.put(sandbox("pr-1")).json
    with scripted_proxy(controller.url), scripted_proxy(controller.url, DRIVER, "p2"):
        assert receipt(controller, "pr-1", "?timeoutSeconds=10")["isComplete"]
        file = next(controller.folder.glob("*.yaml"))
        with full_disk(controller):
            file.write_bytes(rendered(with_driver(made)))
            until(lambda: b"state can't" in controller.ask("GET", "/readyz").body, "the fault", within_s=10)
            late = receipt(controller, "pr-1", "?timeoutSeconds=0.3")
            assert not late["isComplete"]
            assert "Sandbox hotrod/pr-1 is not in force in the state that was asked for" in late["faults"][0]
        again = receipt(controller, "pr-1", "?timeoutSeconds=10")
        assert again["isComplete"]
        assert [each["acknowledged"] for each in again["workloads"]] == [1, 1]


def test_who_comes_at_the_last_moment_is_waited_for(controller: Controller) -> None:
    """While the counts are asked for, another proxy comes: it does not know the key yet."""
    controller.put(sandbox("pr-1"))
    with scripted_proxy(controller.url) as first, ThreadPoolExecutor() as threads:
        first.answers_reports = False
        asked = threads.submit(receipt, controller, "pr-1", "?timeoutSeconds=10")
        until(lambda: first.reports, "the question for its counts")
        with scripted_proxy(controller.url, id="p2", acks=False) as second:
            until(lambda: second.tables, "the table of the other one")
            first.answers_reports = True
            first.report([], first.reports[0])
            wait([asked], 0.3)
            second.ack(second.tables[0])
            found = asked.result(15)
    assert found["isComplete"], found["faults"]
    assert found["proxies"] == {"attached": 2, "knowing": 2}
