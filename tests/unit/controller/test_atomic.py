from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.atomic import remove_file, remove_leftovers, write_file


def test_new_and_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(str(path), b"1")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"1", 0o600)
    path.chmod(0o644)
    write_file(str(path), b"2")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"2", 0o644)
    assert os.listdir(tmp_path) == ["a"]
    remove_file(str(path))
    assert os.listdir(tmp_path) == []


def test_a_symlink_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    write_file(str(tmp_path / "link"), b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"2"


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "a").write_bytes(b"1")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_file(str(tmp_path / "a"), b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


def test_the_order_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content before name, name before success: what a crash of the machine asks for."""
    calls: list[str] = []
    for name in ("fsync", "rename"):
        original = getattr(os, name)

        def traced(*arguments: object, name: str = name, original: object = original) -> object:
            calls.append(name)
            return original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, traced)
    write_file(str(tmp_path / "a"), b"2")
    assert calls == ["fsync", "rename", "fsync"]


def test_leftovers(tmp_path: Path) -> None:
    for name in (".pointsman-tmp-1", "a", ".other"):
        (tmp_path / name).touch()
    remove_leftovers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [".other", "a"]
