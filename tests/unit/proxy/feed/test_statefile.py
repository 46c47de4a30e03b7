"""State files: what is written is read back, what is not due is not written, and what fails is said and tried again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from proxy.feed.messages import Ack, Change, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.statefile import StateError, StateFile
from proxy.routing.names import Workload
from proxy.tables import TableHolder
from tests.support.feed import baseline_of
from tests.support.proxy import WORKLOAD, route, table

ME = Workload.parse(WORKLOAD)


def holder() -> tuple[TableHolder, Receiver]:
    tables = TableHolder(ME, "controller")
    return tables, Receiver(tables, (8081,))


def taken(receiver: Receiver, *messages: Snapshot | Change) -> object:
    """The last answer."""
    return [receiver.take(message) for message in messages][-1]


async def kept(folder: Path, document: dict[str, object], position: int = 7) -> StateFile:
    """The file of this table."""
    state = StateFile(str(folder), ME)
    _, receiver = holder()
    state._receiver = receiver
    receiver._on_table = state.note  # type: ignore[misc]
    assert isinstance(taken(receiver, Snapshot("n", position, "v7", document)), Ack)
    assert await state.write()
    return state


def test_no_file_is_no_table(tmp_path: Path) -> None:
    assert StateFile(str(tmp_path / "new"), ME).load() == []
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("salt", [None, "00ff"])
def test_what_is_written_is_read_back(tmp_path: Path, salt: str | None) -> None:
    digests = [] if salt is None else [f"{number:024x}" for number in range(12_000)]
    document = table(
        *(route(f"k{number}", [1, 2], authority="destination") for number in range(250)),
        liveKeys=digests or ["live"],
        goneKeys=digests[:5] or ["gone"],
        goneRoutes=[{"routingKey": "taken", "baseline": baseline_of()}],
        **({} if salt is None else {"keyDigest": {"salt": salt}}),
    )

    async def run() -> None:
        state = await kept(tmp_path, document)
        before = state._receiver
        assert before is not None
        _, after = holder()
        answer = taken(after, *state.load())
        assert answer == Ack("state", 7, "v7")
        assert before.slice is not None
        assert after.slice is not None
        assert after.slice.routes == before.slice.routes
        assert after.slice.of(ME).gone_routes == before.slice.of(ME).gone_routes
        for name in ("live", "gone", "salt", "version"):
            assert getattr(after.slice, name) == getattr(before.slice, name)
        assert (after.position, after.salt) == (7, salt)

    asyncio.run(run())


def test_an_empty_table_is_not_none(tmp_path: Path) -> None:
    async def run() -> None:
        state = await kept(tmp_path, table(), 0)
        tables, receiver = holder()
        assert isinstance(taken(receiver, *state.load()), Ack)
        assert tables.view is not None

    asyncio.run(run())


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    async def run() -> None:
        state = await kept(tmp_path, table())
        os.unlink(state.path)
        assert await state.write()
        assert not os.path.exists(state.path)
        state.note(has_changed=True)
        assert await state.write()
        assert os.path.exists(state.path)

    asyncio.run(run())


def test_a_write_that_fails_is_counted_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        state = await kept(tmp_path / "folder", table())
        os.unlink(state.path)
        os.rmdir(tmp_path / "folder")
        state.note(has_changed=False)
        assert not await state.write()
        assert not await state.write()
        assert state.failures_total == 2
        assert len(caplog.records) == 1
        os.mkdir(tmp_path / "folder")
        assert await state.write()
        assert os.path.exists(state.path)

    (tmp_path / "folder").mkdir()
    asyncio.run(run())


def test_one_left_behind_by_a_kill_is_overwritten(tmp_path: Path) -> None:
    async def run() -> None:
        state = StateFile(str(tmp_path), ME)
        (tmp_path / f"{os.path.basename(state.path)}.new").write_text("half")
        (tmp_path / f"{os.path.basename(state.path)}.new").chmod(0o644)
        await kept(tmp_path, table())
        assert os.stat(state.path).st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == [os.path.basename(state.path)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        (lambda raw: raw[:-1], "is damaged"),
        (lambda raw: raw + b"x", "is damaged"),
        (lambda raw: raw.replace(b"v7", b"v8"), "is damaged"),
        (lambda raw: b"", "must begin with pointsman-state/1"),
        (lambda raw: b"\x00" * 100, "must begin with pointsman-state/1"),
        (lambda raw: raw.replace(b"state/1", b"state/9"), "must begin with pointsman-state/1"),
    ],
)
def test_what_is_no_good_is_refused(tmp_path: Path, spoiled: object, fault: str) -> None:
    async def run() -> None:
        state = await kept(tmp_path, table(route("a")))
        path = Path(state.path)
        path.write_bytes(spoiled(path.read_bytes()))  # type: ignore[operator]
        with pytest.raises(StateError, match=fault):
            state.load()

    asyncio.run(run())


def test_another_workloads_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        state = await kept(tmp_path, table(route("a")))
        other = StateFile(str(tmp_path), Workload("hotrod", "Deployment", "driver"))
        assert other.path != state.path
        os.rename(state.path, other.path)
        with pytest.raises(StateError, match="is of 'hotrod/Deployment/location'"):
            other.load()

    asyncio.run(run())


def test_a_move_of_the_position_alone_waits(tmp_path: Path) -> None:
    async def run() -> None:
        state = StateFile(str(tmp_path), ME)
        _, receiver = holder()
        receiver._on_table = state.note  # type: ignore[misc]
        task = asyncio.create_task(state.run(receiver))  # noqa: TID251
        taken(receiver, Snapshot("n", 1, "v1", table()))
        async with asyncio.timeout(10):
            while not os.path.exists(state.path):
                await asyncio.sleep(0.01)
        stamp = os.stat(state.path).st_mtime_ns
        taken(receiver, Change("n", 2, 1, "v2"))
        await asyncio.sleep(1.2)  # nothing can be waited for: it does not happen
        assert os.stat(state.path).st_mtime_ns == stamp
        taken(receiver, Change("n", 3, 2, "v3", live_keys=["a"]))
        async with asyncio.timeout(10):
            while os.stat(state.path).st_mtime_ns == stamp:
                await asyncio.sleep(0.01)
        assert state.load()[0].position == 3
        task.cancel()

    asyncio.run(run())


def test_routes_that_were_refused_are_told_apart(tmp_path: Path) -> None:
    async def run() -> None:
        state = await kept(tmp_path, table(route("a"), route("b")))
        assert state._receiver is not None
        bad = {**route("a"), "mappings": [{"port": 0, "destinations": []}]}
        assert not state._receiver.take(Change("n", 8, 7, "v8", [bad])).is_whole  # type: ignore[union-attr]
        assert await state.write()
        again = StateFile(str(tmp_path), ME)
        again.load()
        assert again.refused_routes.keys() == {(ME, b"a")}

    asyncio.run(run())
