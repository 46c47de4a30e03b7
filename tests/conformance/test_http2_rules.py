"""The rules of HTTP/2 say what the tables say, and each row and test that they name exists."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest

from tests.conformance.http2_blocks import BLOCKS
from tests.conformance.http2_frames import FRAMES
from tests.conformance.http2_messages import ANSWERED, LATE, MALFORMED, SERVED
from tests.conformance.http2_row import Row
from tests.conformance.http2_rule import Rule
from tests.conformance.http2_rules import RULES
from tests.support.named import Names

FOLDER = "tests/conformance/"
TABLES: dict[str, tuple[Row, ...]] = {
    "test_http2_frames.py::test_frames[{}]": FRAMES,
    "test_http2_hpack.py::test_blocks[{}]": BLOCKS,
    "test_http2_messages.py::test_malformed[http2-{}]": MALFORMED,
    "test_http2_messages.py::test_malformed_later[http2-{}]": LATE,
    "test_http2_messages.py::test_served[http2-{}]": SERVED,
    "test_http2_messages.py::test_answered_by_us[http2-{}]": ANSWERED,
}
ROWS = {row.name: (FOLDER + test.format(row.name), row) for test, rows in TABLES.items() for row in rows}


def rows_of(rule: Rule) -> list[str]:
    return [name for name in ROWS if any(fnmatchcase(name, pattern) for pattern in rule.rows)]


EACH = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.section} {rule.must}")


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest) -> Names:
    names = Names(request.session)
    names.missing([test for test, _ in ROWS.values()] + [test for rule in RULES for test in rule.tests])
    return names


def test_no_two_rows_have_one_name() -> None:
    assert len(ROWS) == sum(map(len, TABLES.values()))


@EACH
def test_it_says_what_in_a_line(rule: Rule) -> None:
    assert rule.must.endswith(".")
    assert len(rule.must) < 90


@EACH
def test_its_rows_say_the_same(rule: Rule) -> None:
    assert rule.rows or rule.tests
    for pattern in rule.rows:
        assert any(fnmatchcase(name, pattern) for name in ROWS), f"no row: {pattern}"
    for name in rows_of(rule):
        row = ROWS[name][1]
        assert (row.level, row.code) == (rule.level, rule.code), name


@EACH
def test_its_proofs_exist(rule: Rule, names: Names) -> None:
    assert names.missing([*rule.tests, *(ROWS[name][0] for name in rows_of(rule))]) == []


def test_each_row_belongs_to_one_rule() -> None:
    counts = Counter(name for rule in RULES for name in rows_of(rule))
    assert {name: counts[name] for name in ROWS if counts[name] != 1} == {}
