from __future__ import annotations

import pytest

from controller.allow import AllowList

OUTSIDE = "is outside the allowed networks"
NEVER = "is never a target"
NO_NAME = "is no allowed name"


@pytest.mark.parametrize(
    ("entries", "host", "refusal"),
    [
        ([], "10.0.0.1", OUTSIDE),
        ([], "localhost", NO_NAME),
        (["10.0.0.0/8"], "10.1.2.3", None),
        (["10.0.0.0/8"], "11.1.2.3", OUTSIDE),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", None),  # it is that address, whichever way it is written
        (["10.0.0.0/8"], "2002:a01:203::1", None),
        (["10.0.0.0/8"], "2001:db8::1", OUTSIDE),
        (["10.0.0.0/8"], "laptop.example", NO_NAME),
        (["10.0.0.1"], "10.0.0.1", None),
        (["2001:db8::/32"], "2001:db8::1", None),
        (["0.0.0.0/0", "::/0"], "127.0.0.1", None),
        (["0.0.0.0/0", "::/0"], "0.0.0.0", NEVER),
        (["0.0.0.0/0", "::/0"], "169.254.169.254", NEVER),
        (["0.0.0.0/0", "::/0"], "::ffff:169.254.169.254", NEVER),
        (["0.0.0.0/0", "::/0"], "fe80::1", NEVER),
        (["0.0.0.0/0", "::/0"], "::", NEVER),
        (["0.0.0.0/0", "::/0"], "224.0.0.1", NEVER),
        (["0.0.0.0/0", "::/0"], "ff02::1", NEVER),
        (["0.0.0.0/0", "::/0"], "localhost", NO_NAME),
        (["laptop.dev.example"], "Laptop.dev.example.", None),
        (["laptop.dev.example"], "x.laptop.dev.example", NO_NAME),
        (["*.dev.example"], "a.b.dev.example", None),
        (["*.dev.example"], "dev.example", NO_NAME),
        (["*.dev.example"], "evildev.example", NO_NAME),
        (["*.Dev.example."], "a.dev.example", None),
    ],
)
def test_what_is_allowed(entries: list[str], host: str, refusal: str | None) -> None:
    allow = AllowList(entries)
    assert allow.refusal(host) == refusal
    assert allow.refusal(host) == refusal  # remembered


@pytest.mark.parametrize("entry", ["", "*", "10.0.0.1/8", "10.0.0.0/33", "a b", "*.*.a", "127.1", "[::1]", "a/24"])
def test_what_is_no_entry(entry: str) -> None:
    with pytest.raises(ValueError, match="must be a network"):
        AllowList([entry])


def test_memory_has_a_bound() -> None:
    allow = AllowList(["10.0.0.0/8"])
    for number in range(10_000):
        allow.refusal(f"h{number}")
    assert len(allow._refusals) <= 4097
