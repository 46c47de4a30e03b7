from __future__ import annotations

import pytest

from proxy.routing.baggage import Member
from proxy.routing.tracestate import finder, members

MEMBERS: list[tuple[bytes, bytes, bytes, str | None]] = [
    (b"k=v", b"k", b"v", None),
    (b"k=", b"k", b"", None),
    (b"k= v", b"k", b" v", None),  # whitespace is the value's: no key, but no other name either
    (b"k=a b", b"k", b"a b", None),
    (b"k=v;p", b"k", b"v;p", None),  # no properties here
    (b"k=%61", b"k", b"%61", None),
    (b"k=a=b", b"k", b"a=b", None),
    (b"k=v\xa0", b"k", b"v\xa0", None),
    (b"t@s=v", b"t@s", b"v", None),
    (b"k =v", b"k", b"", "whitespace before its '='"),
    (b"k\t=v", b"k", b"", "whitespace before its '='"),
    (b"k", b"k", b"", "it has no '='"),
]


@pytest.mark.parametrize(("raw", "name", "value", "fault"), MEMBERS)
@pytest.mark.parametrize("around", [b"%b", b" \t%b\t ", b",,%b, ,"])
def test_one_member(raw: bytes, name: bytes, value: bytes, fault: str | None, around: bytes) -> None:
    line = around % raw
    assert list(members([line])) == [Member(raw, name, value, fault)]
    assert finder(name).values([line]) == ([value] if fault is None else [])


@pytest.mark.parametrize("line", [b"xk=v", b"k@s=v", b"K=v", b"a=k=v", b"a k=v", b"a=1;k=v"])
def test_finder_finds_only_its_name(line: bytes) -> None:
    assert finder(b"k").values([line]) == []
