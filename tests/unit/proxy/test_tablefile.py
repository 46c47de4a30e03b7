"""Real files in every way that they change. Nothing here measures time: what must happen is waited for."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proxy import tableload
from proxy.routing.faults import TableError
from proxy.routing.names import Workload
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document
from proxy.tablefile import TableFile
from proxy.tables import TableHolder

WORKLOAD = Workload("hotrod", "Deployment", "location")
LARGE = tableload.SMALL_ROUTES + 80


def document(version: str, routes: int = 2) -> str:
    """A table in YAML whose first half is a valid table too."""
    lines = ["apiVersion: pointsman.dev/v1alpha1", "kind: RoutingTable", f'version: "{version}"', "routes:"]
    for index in range(routes):
        lines += [
            f"- routingKey: key{index}",
            f"  sandbox: sandbox-{index}",
            "  baseline: {kind: Deployment, namespace: hotrod, name: location}",
            "  mappings: [{port: 8081, destinations: [{host: 127.0.0.1, port: 9081}]}]",
        ]
    return "\n".join(lines) + "\n"


def large_document(version: str, routes: int = LARGE, port: int = 9081) -> str:
    baseline = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
    return json.dumps(
        {
            "apiVersion": "pointsman.dev/v1alpha1",
            "kind": "RoutingTable",
            "version": version,
            "routes": [
                {
                    "routingKey": f"key{index}",
                    "sandbox": f"sandbox-{index}",
                    "baseline": baseline,
                    "mappings": [
                        {
                            "port": 8081,
                            "appProtocol": "grpc",
                            "authority": "destination",
                            "destinations": [{"host": "10.0.0.5", "port": port}, {"host": "fork.svc", "port": 80}],
                        },
                        {"port": 8082, "destinations": []},
                    ],
                }
                for index in range(routes)
            ],
            "liveKeys": ["alive"],
            "goneKeys": ["gone"],
            "goneRoutes": [{"routingKey": "alive", "baseline": baseline}],
            "services": [
                {"hosts": ["location"], "port": 8081, "baseline": baseline, "upstream": {"host": "l", "port": 80}},
                {
                    "hosts": ["m", "n"],
                    "port": 8082,
                    "baseline": baseline,
                    "upstream": {"host": "m", "port": 80},
                    "callers": ["cluster.local/ns/a/sa/b", "*/c"],
                },
            ],
            "previews": [
                {"domain": "preview.example", "endpoint": "web", "upstream": {"host": "f", "port": 80}},
                {"domain": "p.example", "endpoint": "w", "upstream": {"host": "f", "port": 80}, "routingKey": "k"},
            ],
        }
    )


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


class Watched:
    """A holder, fed by a file, with a record of what came into force."""

    def __init__(self, path: Path) -> None:
        self.tables = TableHolder(WORKLOAD, source=str(path))
        self.file = TableFile(str(path), self.tables)
        self.seen: list[tuple[str, int]] = []
        self.tables.on_swap(self._note)

    def _note(self) -> None:
        assert self.tables.current is not None
        self.seen.append((self.tables.current.version, len(self.tables.current.routes)))

    async def until_version(self, version: str) -> None:
        await until(lambda: self.seen[-1][0] == version)


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Watched]:
    result = Watched(path)
    await result.file.load()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(result.file.watch())
        await asyncio.sleep(0)
        yield result
        task.cancel()


class TestLoad:
    @pytest.mark.parametrize("text", [document("1"), large_document("1")], ids=["small", "large"])
    def test_valid(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "table"
        path.write_text(text)
        holder = TableHolder(WORKLOAD, source=str(path))
        uvloop.run(TableFile(str(path), holder).load())
        assert holder.current is not None
        assert holder.current.version == "1"
        assert holder.view is not None
        assert b"key1" in holder.view.routes

    @pytest.mark.parametrize("text", [document("1"), large_document("1")], ids=["small", "large"])
    def test_invalid(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "table"
        path.write_text(text.replace("8081", "70000"))
        with pytest.raises(TableError) as raised:
            uvloop.run(Watched(path).file.load())
        assert raised.value.faults[0].startswith("routes[0].mappings[0].port: ")
        assert len(raised.value.faults) >= 2

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="No such file"):
            uvloop.run(Watched(tmp_path / "table").file.load())

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="Is a directory"):
            uvloop.run(Watched(tmp_path).file.load())

    def test_read_aside_it_is_the_same_table(self, tmp_path: Path) -> None:
        path = tmp_path / "table"
        path.write_text(large_document("1"))
        watched = Watched(path)
        uvloop.run(watched.file.load())
        assert watched.tables.current is not None
        assert json.dumps(watched.tables.current.document()) == json.dumps(
            read_document(parse_text(path.read_bytes())).document()
        )


class TestChanges:
    @pytest.mark.parametrize("routes", [3, 100], ids=["read on the spot", "read in a thread"])
    def test_rename(self, tmp_path: Path, routes: int) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path) as it:
                for version in ("2", "3", "4"):
                    replace(path, document(version, routes))
                    await it.until_version(version)
            assert it.seen == [("1", 2), ("2", routes), ("3", routes), ("4", routes)]

        uvloop.run(run())

    @pytest.mark.parametrize("pause_s", [0.001, 0.03])
    def test_written_in_place_it_is_never_read_half(self, tmp_path: Path, pause_s: float) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1", 10))
            async with watched(path) as it:
                with path.open("w") as file:
                    for line in document("2", 5).splitlines(keepends=True):
                        file.write(line)
                        file.flush()
                        await asyncio.sleep(pause_s)
                await it.until_version("2")
            assert it.seen == [("1", 10), ("2", 5)]
            assert it.tables.refused_total == 0

        uvloop.run(run())

    def test_a_new_file_written_in_place_is_never_read_half(self, tmp_path: Path) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1", 10))
            async with watched(path) as it:
                path.unlink()
                with path.open("w") as file:
                    for line in document("2", 5).splitlines(keepends=True):
                        file.write(line)
                        file.flush()
                        await asyncio.sleep(0.01)
                await it.until_version("2")
            assert it.seen == [("1", 10), ("2", 5)]

        uvloop.run(run())

    def test_symlink_swap_of_a_config_map(self, tmp_path: Path) -> None:
        """As the kubelet does it: table.yaml -> ..data/table.yaml, and ..data -> a folder, swapped by rename."""

        def publish(version: str) -> None:
            folder = tmp_path / f"..{version}"
            folder.mkdir()
            (folder / "table.yaml").write_text(document(version))
            fresh = tmp_path / "..data_tmp"
            fresh.symlink_to(folder.name)
            fresh.rename(tmp_path / "..data")

        async def run() -> None:
            publish("1")
            path = tmp_path / "table.yaml"
            path.symlink_to("..data/table.yaml")
            async with watched(path) as it:
                for version in ("2", "3"):
                    publish(version)
                    await it.until_version(version)

        uvloop.run(run())

    def test_symlink_made_anew_far_away(self, tmp_path: Path) -> None:
        async def run() -> None:
            for version in ("1", "2"):
                (tmp_path / version).mkdir()
                (tmp_path / version / "table").write_text(document(version))
            (tmp_path / "current").symlink_to("1")
            (tmp_path / "etc").mkdir()
            path = tmp_path / "etc" / "table"
            path.symlink_to(tmp_path / "current" / "table")
            async with watched(path) as it:
                (tmp_path / "current").unlink()
                (tmp_path / "current").symlink_to("2")
                await it.until_version("2")
                replace(tmp_path / "2" / "table", document("3"))  # the new folder is watched too
                await it.until_version("3")

        uvloop.run(run())

    def test_invalid_is_refused_until_it_is_valid(self, tmp_path: Path) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path) as it:
                replace(path, document("2").replace("port: 9081", "port: 0"))
                await until(lambda: it.tables.is_stale)
                assert it.tables.refused_total == 1
                assert it.tables.last_faults[0].startswith("routes[0].mappings[0].destinations[0].port: ")
                assert len(it.tables.last_faults) == 2
                replace(path, document("3"))
                await it.until_version("3")
                assert it.tables.state()["last_error"] == []
            assert it.seen == [("1", 2), ("3", 2)]

        uvloop.run(run())

    def test_removed_is_reported_once_and_the_table_stays(self, tmp_path: Path) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path) as it:
                path.unlink()
                await until(lambda: it.tables.is_stale)
                assert it.tables.last_faults == ("the file is gone",)
                (tmp_path / "other").write_text("")
                await asyncio.sleep(0.05)
                assert it.tables.refused_total == 1
                assert it.seen == [("1", 2)]
                path.write_text(document("2"))
                await it.until_version("2")

        uvloop.run(run())

    def test_a_change_between_load_and_watch_is_found(self, tmp_path: Path) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            it = Watched(path)
            await it.file.load()
            replace(path, document("2"))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(it.file.watch())
                await it.until_version("2")
                task.cancel()

        uvloop.run(run())


class StuckChild:
    """When it is next, the process that is started is one that never answers."""

    def __init__(self) -> None:
        self.is_next = False
        self.process: asyncio.subprocess.Process | None = None
        self._start = asyncio.create_subprocess_exec

    async def start(self, *command: str, **options: Any) -> asyncio.subprocess.Process:
        if not self.is_next:
            return await self._start(*command, **options)
        self.is_next = False
        self.process = await self._start("sleep", "60", stdout=asyncio.subprocess.PIPE)
        return self.process

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None


@pytest.fixture
def stuck_child(monkeypatch: pytest.MonkeyPatch) -> StuckChild:
    child = StuckChild()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", child.start)
    return child


class TestLargeFiles:
    def test_valid_and_invalid(self, tmp_path: Path) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path) as it:
                replace(path, large_document("2"))
                await it.until_version("2")
                replace(path, large_document("3", port=0))
                await until(lambda: it.tables.is_stale)
                assert it.tables.last_faults[-1] == f"and {LARGE - 100} more"
                replace(path, large_document("4", routes=LARGE + 1))
                await it.until_version("4")
            assert it.seen == [("1", 2), ("2", LARGE), ("4", LARGE + 1)]

        uvloop.run(run())

    def test_a_change_while_reading_ends_that_reading(self, tmp_path: Path, stuck_child: StuckChild) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path) as it:
                stuck_child.is_next = True
                replace(path, large_document("2"))
                await until(lambda: stuck_child.process is not None)
                replace(path, large_document("3"))
                await it.until_version("3")
                assert stuck_child.has_ended
            assert it.seen == [("1", 2), ("3", LARGE)]

        uvloop.run(run())

    def test_the_child_ends_with_the_watch(self, tmp_path: Path, stuck_child: StuckChild) -> None:
        async def run() -> None:
            path = tmp_path / "table"
            path.write_text(document("1"))
            async with watched(path):
                stuck_child.is_next = True
                replace(path, large_document("2"))
                await until(lambda: stuck_child.process is not None)
            await until(lambda: stuck_child.has_ended)

        uvloop.run(run())

    def test_a_child_that_dies_is_a_fault(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "table"
        path.write_text(large_document("1"))
        monkeypatch.setattr(sys, "executable", shutil.which("false"))
        with pytest.raises(TableError, match="ended early, with exit code 1"):
            uvloop.run(Watched(path).file.load())
