from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from proxy.filewatch import FileWatch
from proxy.inotify import CLOSE_SETTLE_S, POLL_SETTLE_S, RENAME_SETTLE_S, WRITER_SETTLE_S


def hints(path: Path, change: Callable[[], object], *, use_inotify: bool = True) -> list[float]:
    """The hints that a change gives, without the first sweep's."""
    found: list[float] = []

    async def run() -> None:
        watch = FileWatch(str(path), found.append, use_inotify=use_inotify)
        watch.start()
        assert len(found) == 1
        found.clear()
        change()
        async with asyncio.timeout(10):
            while use_inotify and not found:  # the next sweep hints too, so there is an end
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.06)
        watch.close()

    uvloop.run(run())
    return found


def move(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text("2")
    fresh.rename(path)


def link_anew(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "settle_s"),
    [
        (lambda path: path.write_text("2"), CLOSE_SETTLE_S),
        (lambda path: path.unlink(), CLOSE_SETTLE_S),
        (move, RENAME_SETTLE_S),
        (link_anew, RENAME_SETTLE_S),
    ],
    ids=["write", "unlink", "rename", "symlink"],
)
def test_a_change_tells_how_long_to_wait(tmp_path: Path, change: Callable[[Path], object], settle_s: float) -> None:
    path = tmp_path / "table"
    path.write_text("1")
    found = hints(path, lambda: change(path))
    assert min(found) == settle_s


def test_neighbours_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("1")
    found = hints(path, lambda: (tmp_path / "other").write_text("1"))
    assert set(found) == {WRITER_SETTLE_S}  # the sweep's


def test_a_file_that_is_being_made_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "table"
    kept: list[object] = []  # open: nobody may take it for finished
    found = hints(path, lambda: kept.append(path.open("w")))
    assert set(found) == {WRITER_SETTLE_S}
    for file in kept:
        file.close()  # type: ignore[attr-defined]


def test_symlinks_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert min(hints(tmp_path / "a", lambda: move(tmp_path / "a"))) == RENAME_SETTLE_S


def test_without_inotify_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "table"
    assert set(hints(path, lambda: None, use_inotify=False)) <= {POLL_SETTLE_S}


def test_inotify_that_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("proxy.inotify.Inotify", refused)
    with caplog.at_level(logging.WARNING):
        found = hints(tmp_path / "table", lambda: None, use_inotify=True)
    assert found[0] == POLL_SETTLE_S
    assert "Too many open files" in caplog.text
