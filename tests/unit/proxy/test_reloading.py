"""Files that are read again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy import reloading
from proxy.reloading import ReloadError, Reloading


class File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken: list[str] = []

    def load(self) -> None:
        text = self.path.read_text() if self.path.exists() else "broken"
        if text == "broken":
            raise ReloadError("is broken")
        self.taken.append(text)


def test_a_change_is_taken_once_it_stands_still(tmp_path: Path) -> None:
    file = File(tmp_path / "file")
    file.path.write_text("one")
    reload = Reloading("--file", [str(file.path)], file.load)
    reload.look()
    assert file.taken == ["one"]
    file.path.write_text("tw")
    reload.look()
    file.path.write_text("two")  # its writer was not done
    reload.look()
    assert file.taken == ["one"]
    reload.look()
    reload.look()
    assert file.taken == ["one", "two"]


def test_a_broken_one_is_refused_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = File(tmp_path / "file")
    file.path.write_text("one")
    reload = Reloading("--file", [str(file.path)], file.load)
    file.path.write_text("broken")
    for _ in range(4):
        reload.look()
    assert reload.fault == "--file: is broken"
    assert [record.message for record in caplog.records] == ["--file: is broken; the old content stays in force"]
    file.path.write_text("two")
    for _ in range(2):
        reload.look()
    assert (reload.fault, file.taken) == (None, ["one", "two"])


def test_a_broken_one_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ReloadError, match="--file: is broken"):
        Reloading("--file", [str(tmp_path / "none")], File(tmp_path / "none").load)


def test_a_secret_that_is_swapped_by_a_symlink(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text(version)
    (tmp_path / "now").symlink_to("one")
    file = File(tmp_path / "now" / "file")
    reload = Reloading("--file", [str(file.path)], file.load)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "now")
    for _ in range(2):
        reload.look()
    assert file.taken == ["one", "two"]


def test_it_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "INTERVAL_S", 0.001)
    file = File(tmp_path / "file")
    file.path.write_text("one")
    reload = Reloading("--file", [str(file.path)], file.load)

    async def test() -> None:
        running = asyncio.get_running_loop().create_task(reload.run())
        file.path.write_text("two!")
        async with asyncio.timeout(5):
            while file.taken != ["one", "two!"]:
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(test())
