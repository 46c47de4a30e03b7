from __future__ import annotations

import pytest

from proxy.routing.faults import TableError, excerpt


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (7, "7"),
        (1.5, "1.5"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ([1], "a list"),
        ({"a": 1}, "an object"),
        ("a\x1b[0m\n", r"'a\x1b[0m\n'"),
        ("\ud800ä", r"'\ud800\xe4'"),
    ],
)
def test_excerpt(value: object, expected: str) -> None:
    assert excerpt(value) == expected


def test_excerpt_is_short() -> None:
    assert len(excerpt("x" * 10**6)) <= 64
    assert len(excerpt("\x00" * 10**6)) <= 64


def test_error_text_is_one_line_of_the_first_faults() -> None:
    error = TableError([f"fault {number}" for number in range(12)])
    assert len(error.faults) == 12
    assert str(error).endswith("fault 9; and 2 more")
    assert str(TableError(["a", "b"])) == "a; b"


def test_excerpt_of_a_number_that_python_refuses_to_print() -> None:
    assert excerpt(10**5000) == "a huge number"
