from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controller.following import Following, file_names, stamp_of
from controller.objectfile import ObjectFile
from tests.support.folder import run, until

NEVER_S = 1000.0


class Reads:
    """What was read, and what is known to have been."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, ObjectFile] = {}
        self.names: list[str] = []

    async def read(self, name: str) -> bool:
        self.names.append(name)
        stamp = stamp_of(str(self.folder / name))
        if stamp is None:
            self.files.pop(name, None)
        else:
            self.files[name] = ObjectFile(stamp)
        return True


def following(folder: Path, test: Callable[[Following, Reads], Awaitable[None]]) -> None:
    """The folder's watch is not started: the test gives the hints."""

    async def body() -> None:
        reads = Reads(folder)
        follower = Following(str(folder), reads.files, reads.read, use_inotify=False)
        follower._spawn(follower._follow())
        try:
            await test(follower, reads)
        finally:
            await follower.close()

    run(body)


def test_a_file_is_read_once_it_stands_still(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()

    async def test(follower: Following, reads: Reads) -> None:
        follower._on_hint("a.yaml", 0.02)
        assert reads.names == []
        await until(lambda: reads.names, "the file to be read")
        follower._on_hint("a.yaml", 0.0)  # as it was read
        follower._on_hint("b.txt", 0.0)
        follower._on_hint(".c.yaml", 0.0)
        follower._on_hint("none.yaml", 0.0)
        await asyncio.sleep(0.05)
        assert reads.names == ["a.yaml"]
        (tmp_path / "a.yaml").unlink()
        follower._on_hint("a.yaml", 0.0)
        await until(lambda: len(reads.names) == 2, "the file's end to be noticed")

    following(tmp_path, test)


def test_a_change_begins_the_time_anew(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("1")

    async def test(follower: Following, reads: Reads) -> None:
        follower._on_hint("a.yaml", 0.02)
        (tmp_path / "a.yaml").write_text("2, and its writer goes on")
        await asyncio.sleep(0.1)
        assert reads.names == []

    following(tmp_path, test)


def test_a_hint_never_makes_it_wait_longer(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("1")

    async def test(follower: Following, reads: Reads) -> None:
        follower._on_hint("a.yaml", 0.02)
        follower._on_hint("a.yaml", NEVER_S)
        await until(lambda: reads.names, "the file to be read")
        (tmp_path / "a.yaml").write_text("2")
        follower._on_hint("a.yaml", NEVER_S)
        follower._on_hint("a.yaml", 0.02)
        await until(lambda: len(reads.names) == 2, "the file to be read again")

    following(tmp_path, test)


def test_a_look_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    (tmp_path / "b.yaml").touch()
    (tmp_path / "c.txt").touch()

    async def test(follower: Following, reads: Reads) -> None:
        follower._on_hint(None, 0.0)
        await until(lambda: len(reads.names) == 2, "both to be read")
        assert sorted(reads.names) == file_names(str(tmp_path)) == ["a.yaml", "b.yaml"]
        (tmp_path / "b.yaml").unlink()
        follower._on_hint(None, 0.0)
        await until(lambda: len(reads.names) == 3, "the file's end to be noticed")
        assert reads.names[2] == "b.yaml"

    following(tmp_path, test)


def test_a_defect_is_logged_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").touch()
    (tmp_path / "b.yaml").touch()

    async def test(follower: Following, reads: Reads) -> None:
        async def broken(name: str) -> bool:
            if name == "a.yaml":
                raise RuntimeError("a defect")
            return await reads.read(name)

        follower._read = broken  # type: ignore[misc]
        follower._on_hint("a.yaml", 0.0)
        await until(lambda: "a defect" in caplog.text, "a line in the log")
        follower._on_hint("b.yaml", 0.0)
        await until(lambda: reads.names == ["b.yaml"], "the other file to be read")

    following(tmp_path, test)
