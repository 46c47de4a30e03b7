from __future__ import annotations

from pathlib import Path

import pytest

from controller import journal as journals
from controller.errors import Unwritable
from controller.journal import Journal


def entries(path: Path) -> dict[str, object]:
    journal = Journal(str(path))
    try:
        return dict(journal.entries())
    finally:
        journal.close()


def test_what_is_written_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(str(path))
    journal.write({"a": 1, "b": {"x": ["\n", None, "ä"]}})
    journal.write({"a": [2], "c": 3})
    journal.write({"c": None, "never": None})
    expected = {"a": [2], "b": {"x": ["\n", None, "ä"]}}
    assert dict(journal.entries()) == expected
    journal.close()
    assert entries(path) == expected
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_cut_leaves_whole_entries(tmp_path: Path) -> None:
    """A crash may cut the file anywhere in what was written last."""
    path = tmp_path / "j"
    journal = Journal(str(path))
    journal.write({"a": 1})
    first = path.read_bytes()
    journal.write({"a": 2})
    journal.write({"a": None})
    whole = path.read_bytes()
    journal.close()
    seen = []
    for length in range(len(first), len(whole) + 1):
        path.write_bytes(whole[:length])
        found = entries(path)
        if found not in seen:
            seen.append(found)
    assert seen == [{"a": 1}, {"a": 2}, {}]


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(str(path))
    journal.write({"a": 1, "b": 2, "c": 3})
    journal.close()
    for damage in (b"x", b"\xff", b"[]"):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'["b",2]', b'["b",' + damage + b"]"))
        journal = Journal(str(path))
        assert dict(journal.entries()) == {"a": 1, "c": 3}
        assert journal.damaged == 1
        journal.write({"b": 2})
        journal.close()


def test_it_is_made_anew_at_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_SLACK_LINES", 10)
    path = tmp_path / "j"
    journal = Journal(str(path))
    sizes = []
    for number in range(100):
        journal.write({"a": number})
        sizes.append(path.stat().st_size)
    assert max(sizes) < 14 * 20
    assert dict(journal.entries()) == {"a": 99}
    journal.close()
    assert entries(path) == {"a": 99}


def test_after_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full in the middle of a line: the next write must not be lost with it."""
    path = tmp_path / "j"
    journal = Journal(str(path))

    def half(descriptor: int, content: bytes) -> None:
        with path.open("ab") as file:
            file.write(content[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(journals, "_write_all", half)
        journal.write({"a": 1})
    journal.write({"b": 2})
    journal.close()
    assert entries(path) == {"a": 1, "b": 2}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "j"))
    with pytest.raises(Unwritable):
        Journal(str(tmp_path / "j"))
    journal.close()
    Journal(str(tmp_path / "j")).close()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(str(tmp_path / "none" / "j"))
