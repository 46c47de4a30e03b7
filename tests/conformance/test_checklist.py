"""The table of CHECKLIST's lines is complete, in order, and names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.conformance.checklist import LINES
from tests.conformance.line import FRAMING, Line
from tests.conformance.test_framing import REFUSED, SERVED
from tests.corpus import connections, http1, routing
from tests.support.named import Names


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest) -> Names:
    names = Names(request.session)
    names.missing(test for line in LINES for test in line.tests)  # all files at once
    return names


EACH = pytest.mark.parametrize("line", LINES, ids=lambda line: str(line.number))


def test_every_line_stands_there_once_and_in_order() -> None:
    assert [line.number for line in LINES] == [*range(1, 48), *range(52, 56)]


@EACH
def test_it_says_what_and_why_in_a_line_each(line: Line) -> None:
    for text in (line.case, line.ours, line.others):
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text) < 120


@EACH
def test_it_has_tests_that_exist(line: Line, names: Names) -> None:
    assert line.tests
    assert len(set(line.tests)) == len(line.tests)
    assert names.missing(line.tests) == []


@pytest.mark.parametrize("line", [line for line in LINES if line.number < 16], ids=lambda line: str(line.number))
def test_every_sample_of_a_line_is_sent(line: Line) -> None:
    """What the corpus has on a line of A is among the tests that the line names."""
    of_line = [name for name, sample in http1.REQUESTS.items() if sample.proves.startswith(f"A{line.number}:")]
    assert of_line
    for name in of_line:
        test = "test_served" if name in SERVED else "test_refused"
        assert name in SERVED or name in REFUSED
        assert f"{FRAMING}{test}[A{line.number} *" in line.tests, name


def test_what_the_corpus_proves_is_on_the_list() -> None:
    """A sample that names a line names one that exists, by its letter and number."""
    letters = {number: letter for letter, numbers in LETTERS.items() for number in numbers}
    prose = [each.proves for each in (*http1.REQUESTS.values(), *http1.RESPONSES.values())]
    prose += [each.proves for each in (*connections.PIPELINES.values(), *connections.WAITING.values())]
    prose += [each.proves for each in routing.ROUTINGS.values()]
    named = {(match[1], int(match[2])) for text in prose if (match := re.match(r"([A-G])(\d+)[:,]", text))}
    assert named
    assert all(letters[number] == letter for letter, number in named)


LETTERS = {
    "A": range(1, 19),
    "B": range(19, 28),
    "C": range(28, 37),
    "D": range(37, 39),
    "E": range(39, 43),
    "F": range(43, 48),
    "G": range(48, 56),
}
