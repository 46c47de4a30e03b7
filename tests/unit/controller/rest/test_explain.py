"""The head of a question."""

from __future__ import annotations

import pytest

from controller.rest.explain import head_fields

FIELDS = [(b"Baggage", b"a=b"), (b"x", b"")]


@pytest.mark.parametrize(
    "head",
    [
        b"Baggage: a=b\nx:",
        b"GET / HTTP/1.1\r\nBaggage: a=b\r\nx:\r\n\r\nbody: no",
        b"\r\nGET / HTTP/1.1\nBaggage:a=b \nx: \t",
        b":method: GET\n:path: /\nBaggage: a=b\nx:\n",
    ],
)
def test_forms(head: bytes) -> None:
    assert head_fields(head) == FIELDS


def test_others() -> None:
    assert head_fields(b"") == []
    assert head_fields(b"GET / HTTP/1.1") == []
    assert head_fields(b"a: b\nc") == "field line 2 has no colon"
