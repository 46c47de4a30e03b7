"""A thousand proxies come back at once to a controller that was started again. CHECKLIST G48."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.feed.link import Controller as Place
from proxy.feed.link import Link
from proxy.feed.messages import Hello
from proxy.feed.receiver import Receiver
from proxy.feed.report import Reporter
from proxy.routing.names import Workload
from proxy.tables import TableHolder
from proxy.telemetry.traffic import KeyTraffic
from tests.support.controller import run_controller, sandbox

STORM = 1000


def spec(name: str, workload: str) -> dict[str, object]:
    baseline = {"kind": "Deployment", "namespace": "hotrod", "name": workload}
    return sandbox(name, local=[{"from": baseline, "mappings": [{"port": 8081, "toLocal": "127.0.0.1:9000"}]}])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


class Crowd:
    """Many proxies' links in one process, each with a connection of its own."""

    def __init__(self, url: str, workloads: int) -> None:
        self.receivers: list[Receiver] = []
        self.links: list[Link] = []
        for number in range(STORM):
            workload = Workload("hotrod", "Deployment", f"w{number % workloads}")
            tables = TableHolder(workload, "controller")
            receiver = Receiver(tables, (8081,))
            place = Place(url, None, None)
            self.receivers.append(receiver)
            self.links.append(
                Link(place, self.hello(number, workload, receiver), tables, receiver, Reporter(KeyTraffic()))
            )

    def hello(self, number: int, workload: Workload, receiver: Receiver) -> Callable[[], Hello]:
        return lambda: Hello(
            f"p{number}",
            f"boot{number}",
            str(workload),
            (8081,),
            position=receiver.position,
            version=receiver.version,
            salt=receiver.salt,
        )

    def slowest(self) -> int:
        return min(-1 if receiver.position is None else receiver.position for receiver in self.receivers)


async def eventually(condition: Callable[[], object], within_s: float) -> float:
    """How long it took."""
    began_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)
    return time.monotonic() - began_s


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_thousand_proxies_come_back_at_once(
    tmp_path: Path, is_changed: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    folder, workloads = tmp_path / "objects", 20
    folder.mkdir()
    documents = [spec(f"k{number}", f"w{number % workloads}") for number in range(1000)]
    (folder / "all.yaml").write_text("\n---\n".join(map(json.dumps, documents)))
    listen = ("--listen", f"127.0.0.1:{free_port()}")

    async def run() -> float:
        with run_controller(folder, *listen) as first:
            crowd = Crowd(first.url, workloads)
            tasks = [asyncio.ensure_future(link.run()) for link in crowd.links]  # noqa: TID251 - kept here
            try:
                await eventually(lambda: all(link.first_sync.is_set() for link in crowd.links), 120)
                before = max(receiver.position or 0 for receiver in crowd.receivers)
                first.process.kill()
                first.process.wait(10)
                await eventually(lambda: not any(link.is_connected for link in crowd.links), 60)
                if is_changed:
                    (folder / "more.yaml").write_text(json.dumps(spec("new", "w0")))
                with run_controller(folder, *listen) as second:
                    took_s = await eventually(lambda: crowd.slowest() > before, 60)
                    found = await asyncio.to_thread(second.ask, "GET", "/api/v1/proxies")
                    items = found.json["items"]
                    assert isinstance(items, list)
                    assert len(items) == STORM
                    assert all(each["isCurrent"] for each in items)
                    versions = {receiver.version for receiver in crowd.receivers}
                    assert len(versions) == 1
                    routes = [receiver.slice.count for receiver in crowd.receivers if receiver.slice is not None]
                    assert sum(routes) == STORM * 1000 // workloads + (STORM // workloads) * is_changed
                return took_s
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    took_s = asyncio.run(run())
    with capsys.disabled():
        print(f"\n{STORM} proxies in sync {took_s:.1f} s after the controller was ready ({is_changed=})")
