"""THREAT_MODEL.md names tests, flags and reasons that exist, and claims nothing without a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.config import OPTIONS
from proxy import flags
from proxy.errors import REASONS
from tests.support.named import Names

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`\n]+)`", TEXT)


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table below this heading, without the table's head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("Who can send what", 3),
        ("What they could gain, and what stops it", 3),
        ("What is not stopped", 2),
    ],
)
def test_tables_are_whole(heading: str, columns: int) -> None:
    assert len(list(rows(heading))) > 5
    assert all(len(cells) == columns and all(cells) for cells in rows(heading))


def test_whatever_is_stopped_has_tests_that_exist(request: pytest.FixtureRequest) -> None:
    named = []
    for attack, _, shown_by in rows("What they could gain, and what stops it"):
        names = re.findall(r"`(tests/[^`]+::[^`]+)`", shown_by)
        assert names, f"nothing shows that this is stopped: {attack}"
        assert re.sub(r"`[^`]+`|[, ]", "", shown_by) == ""
        named += names
    assert [span for span in SPANS if "::" in span] == named, "tests belong into the last column"
    assert Names(request.session).missing(named) == []


def test_flags_and_reasons_exist() -> None:
    known = {option.flag for option in (*flags.OPTIONS, *OPTIONS)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT)) <= known
    reasons = {reason.name for reason in REASONS}
    words = {span for span in SPANS if re.fullmatch(r"[a-z]+_[a-z_]+", span)}
    assert words <= reasons


def test_it_is_short_and_linked() -> None:
    assert len(TEXT.splitlines()) < 200
    assert "(THREAT_MODEL.md)" in (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Security\n")[2]
