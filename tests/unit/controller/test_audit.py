"""The audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.audit import Audit
from tests.support.folder import ref
from tests.support.objects import NOON


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    audit = Audit(str(path), lambda: NOON)
    audit.write("ci", "create", ref("one"), "done", status=201, remote="::1")
    audit.write("unknown", "delete", None, "refused", status=401, reason="unauthorized")
    audit.close()
    assert lines(path) == [
        {
            "time": "2026-11-25T12:00:00Z",
            "who": "ci",
            "verb": "create",
            "object": {"kind": "Sandbox", "namespace": "hotrod", "name": "one"},
            "result": "done",
            "status": 201,
            "remote": "::1",
        },
        {
            "time": "2026-11-25T12:00:00Z",
            "who": "unknown",
            "verb": "delete",
            "result": "refused",
            "status": 401,
            "reason": "unauthorized",
        },
    ]
    assert audit.counts == {("create", "done"): 1, ("delete", "refused"): 1}
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_goes_on_where_it_stood_and_where_it_is_rotated_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for name in ("one", "two"):
        audit = Audit(str(path), lambda: NOON)
        audit.write(name, "create", None, "done")
        audit.close()
    audit = Audit(str(path), lambda: NOON)
    path.rename(tmp_path / "old")
    audit.write("three", "create", None, "done")
    audit.close()
    assert [line["who"] for line in lines(tmp_path / "old")] == ["one", "two"]
    assert [line["who"] for line in lines(path)] == ["three"]


def test_a_line_cannot_be_forged(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "log"), lambda: NOON)
    audit.write('x"}\n{"who": "y', "create", None, "done")
    audit.close()
    assert len(lines(tmp_path / "log")) == 1


def test_a_log_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    audit = Audit(str(path), lambda: NOON)
    for _ in range(3):
        audit.write("ci", "create", None, "done")
    assert audit.failures == 3
    assert len(caplog.records) == 1
    path.unlink()
    audit.write("ci", "create", None, "done")
    audit.close()
    assert (audit.failures, len(lines(path))) == (3, 1)


def test_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Audit(None, lambda: NOON).write("ci", "create", None, "done")
    assert json.loads(capsys.readouterr().err)["who"] == "ci"


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Audit(str(tmp_path / "none" / "log"), lambda: NOON)
