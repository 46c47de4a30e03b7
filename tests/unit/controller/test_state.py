"""The state folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.state import StateError, open_state


def test_private_and_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with open_state(str(folder)) as state:
        state.keys.write({"k": 1})
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        with pytest.raises(StateError, match="another controller uses it"), open_state(str(folder)):
            pass
    with open_state(str(folder)) as state:
        assert dict(state.keys.entries()) == {"k": 1}
        assert dict(state.feed.entries()) == {}


def test_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".pointsman-tmp-x").write_text("half")
    with open_state(str(tmp_path)):
        assert not os.path.exists(tmp_path / ".pointsman-tmp-x")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="can't be written"), open_state(str(tmp_path / "file")):
        pass
