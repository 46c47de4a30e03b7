from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller import folderwatch
from controller.folderwatch import GONE_SETTLE_S, FolderWatch
from proxy.inotify import CLOSE_SETTLE_S, RENAME_SETTLE_S, WRITER_SETTLE_S
from tests.support.folder import run, until

Hints = list[tuple[str | None, float]]


def hints(folder: Path, change: Callable[[], object]) -> Hints:
    found: Hints = []

    async def test() -> None:
        watch = FolderWatch(str(folder), lambda name, settle_s: found.append((name, settle_s)))
        change()  # before it is started: nothing is missed
        watch.start()
        (folder / "last").touch()
        await until(lambda: ("last", CLOSE_SETTLE_S) in found, "the last hint")
        watch.close()

    run(test)
    return found[:-1]


def move(path: Path) -> None:
    fresh = path.parent.parent / "fresh"
    fresh.write_text("2")
    fresh.rename(path)


@pytest.mark.parametrize(
    ("change", "name", "settle_s"),
    [
        (lambda folder: (folder / "a").write_text("2"), "a", CLOSE_SETTLE_S),
        (lambda folder: (folder / "new").write_text("2"), "new", CLOSE_SETTLE_S),
        (lambda folder: (folder / "a").unlink(), "a", GONE_SETTLE_S),
        (lambda folder: (folder / "a").rename(folder.parent / "b"), "a", GONE_SETTLE_S),
        (lambda folder: move(folder / "a"), "a", RENAME_SETTLE_S),
        (lambda folder: (folder / "link").symlink_to("a"), "link", RENAME_SETTLE_S),
        (lambda folder: (folder / "..data").symlink_to("a"), None, RENAME_SETTLE_S),
    ],
    ids=["write", "create", "unlink", "move away", "move here", "symlink", "mount"],
)
def test_changes(tmp_path: Path, change: Callable[[Path], object], name: str | None, settle_s: float) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    assert hints(folder, lambda: change(folder)) == [(name, settle_s)]


def test_a_writer_that_has_not_closed_gives_no_hint(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb", buffering=0) as file:
        assert hints(tmp_path, lambda: file.write(b"x")) == []


def test_it_looks_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folderwatch, "SWEEP_S", 0.01)
    found: Hints = []

    async def test() -> None:
        watch = FolderWatch(str(tmp_path), lambda name, settle_s: found.append((name, settle_s)))
        watch.start()
        await until(lambda: len(found) >= 2, "two looks")
        watch.close()

    run(test)
    assert set(found) == {(None, WRITER_SETTLE_S)}
