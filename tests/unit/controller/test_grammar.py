from __future__ import annotations

from collections.abc import Callable

import pytest

from controller import grammar


@pytest.mark.parametrize(
    ("holds", "yes", "no"),
    [
        (grammar.is_name, ["a", "0", "a-b", "a" * 63], ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n", "ä"]),
        (
            grammar.is_label_key,
            ["a", "A_b.c-d", "example.com/a", "a" * 63, "x/" + "a" * 63],
            ["", "/a", "a/", "a/b/c", "-a", "Ex.com/a", "a..b/c", "a" * 64, "a" * 254 + "/a", "a b"],
        ),
        (grammar.is_label_value, ["", "a", "A_b.c-d", "a" * 63], ["-a", "a ", "a/b", "a" * 64, "*", "a\n"]),
        (grammar.is_glob, ["", "*", "a?c", "12*", "-*"], ["[a]", "a b", "*" * 64, "a/b", "a\n"]),
        (grammar.is_key, ["a", "A.b_c-d", "a" * 63], ["", "-a", "a b", "ä", "a" * 64, "a;b", "a\n"]),
        (grammar.is_endpoint_name, ["a", "a-b", "a" * 60], ["", "a--b", "xn", "a" * 61, "A", "a.b"]),
        (
            grammar.is_local_target,
            ["a:1", "127.0.0.1:65535", "[::1]:80", "a.b.example:80"],
            [
                "a",
                "a:",
                ":80",
                "a:0",
                "a:080",
                "a:65536",
                "::1:80",
                "[a]:80",
                "[::1]",
                "http://a:80",
                "a:80\n",
                "a b:80",
            ],
        ),
        (
            grammar.is_target,
            ["a", "a:1", "http://a", "grpc://a:1", "[::1]", "http://[::1]:80"],
            ["", "https://a", "http://", "http://http://a", "a:0", "::1", "a/b", "http://a/", "user@a"],
        ),
        (grammar.is_image, ["a", "r.example:5000/a/b:tag@sha256:0a"], ["", "a b", "-a", "a" * 513, "a\n"]),
        (grammar.is_env_name, ["A", "_a.b-c", "a" * 253], ["", "1A", "A=", "a b", "a" * 254, "A\n"]),
        (grammar.is_token, ["a", "!~"], ["", "a b", "a\n", "ä", "a" * 254]),
        (grammar.is_short, ["a", "a b ä"], ["", "a\n", "a" * 513]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_grammars(holds: Callable[[str], bool], yes: list[str], no: list[str]) -> None:
    assert [text for text in yes if not holds(text)] == []
    assert [text for text in no if holds(text)] == []
