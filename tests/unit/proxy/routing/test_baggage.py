from __future__ import annotations

import pytest

from proxy.routing.baggage import Member, finder, joined_lines, members, processed
from proxy.routing.names import is_token

NO_EQUALS = "it has no '='"
NO_TOKEN = "its name is not a token"
BAD_VALUE = "its value holds a character that must be percent-encoded"

# One member, its name and value as the grammar of W3C Baggage section 3.3.1 with SPEC 3 reads it, or what breaks it.
MEMBERS: list[tuple[bytes, bytes, bytes, str | None]] = [
    (b"k=v", b"k", b"v", None),
    (b"k=", b"k", b"", None),
    (b"k \t= \tv", b"k", b"v", None),
    (b"k=v;p=1", b"k", b"v", None),
    (b"k=v ; p = 1 ; q", b"k", b"v", None),
    (b"k=v;", b"k", b"v", None),
    (b"k=;p", b"k", b"", None),
    (b'k=v;p="quoted \x80"', b"k", b"v", None),  # properties never break a member
    (b"k=a=b==", b"k", b"a=b==", None),
    (b"k=a%20b", b"k", b"a%20b", None),
    (b"k=%zz", b"k", b"%zz", None),
    (b"!#$%&'*+-.^_`|~=v", b"!#$%&'*+-.^_`|~", b"v", None),
    (b"k=!#$%&'()*+-./:<=>?@[]^_`{|}~", b"k", b"!#$%&'()*+-./:<=>?@[]^_`{|}~", None),
    (b"k", b"k", b"", NO_EQUALS),
    (b"k;p", b"k;p", b"", NO_EQUALS),
    (b"=v", b"", b"", NO_TOKEN),
    (b"a b=v", b"a b", b"", NO_TOKEN),
    (b"k;p=1", b"k;p", b"", NO_TOKEN),
    (b"k\xa0=v", b"k\xa0", b"", NO_TOKEN),
    (b'"k"=v', b'"k"', b"", NO_TOKEN),
    (b"k=a b", b"k", b"", BAD_VALUE),
    (b"k=a\tb", b"k", b"", BAD_VALUE),
    (b'k="v"', b"k", b"", BAD_VALUE),
    (b"k=a\\b", b"k", b"", BAD_VALUE),
    (b"k=a\x00", b"k", b"", BAD_VALUE),
    (b"k=a\x7f", b"k", b"", BAD_VALUE),
    (b"k=\x0bv", b"k", b"", BAD_VALUE),  # what bytes.strip() without argument would take away
    (b"k=v\x0c", b"k", b"", BAD_VALUE),
    (b"k=v\x85", b"k", b"", BAD_VALUE),
    (b"k=\xa0v", b"k", b"", BAD_VALUE),
    (b"k=\xc3\xa4", b"k", b"", BAD_VALUE),
    (b"k=v\n", b"k", b"", BAD_VALUE),
]


@pytest.mark.parametrize(("raw", "name", "value", "fault"), MEMBERS)
@pytest.mark.parametrize("around", [b"%b", b" \t%b\t ", b",,%b, ,"])
def test_one_member(raw: bytes, name: bytes, value: bytes, fault: str | None, around: bytes) -> None:
    assert list(members([around % raw])) == [Member(raw, name, value, fault)]


@pytest.mark.parametrize(("raw", "name", "value", "fault"), MEMBERS)
def test_finder_agrees_with_members(raw: bytes, name: bytes, value: bytes, fault: str | None) -> None:
    if is_token(name):
        found = finder(name).values([b"x=1, " + raw + b" ,y=2"])
        assert found == ([value] if fault is None else [])


@pytest.mark.parametrize(
    "line",
    [
        b"xk=v",
        b"k-=v",
        b"-k=v",
        b"K=v",
        b"a=1;k=v",
        b"a=k=v",
        b"a k=v",
        b"x k =v",
        b"%6b=v",
        b"k",
        b"a=1 k=v",
        b"\xa0k=v",
    ],
)
def test_finder_finds_only_its_name(line: bytes) -> None:
    assert finder(b"k").values([line]) == []


def test_broken_members_are_skipped_alone() -> None:
    line = b'k=1,k="2",k,=,k=3 3,k=4'
    assert finder(b"k").values([line, b"", b"k=5"]) == [b"1", b"4", b"5"]
    assert [member.fault is None for member in members([line])] == [True, False, False, False, False, True]


def test_several_lines_are_one_list() -> None:
    assert [member.raw for member in members([b"a=1,", b"", b" b=2"])] == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"abc", b"abc"),
        (b"%61bc", b"abc"),
        (b"a%2Db", b"a-b"),
        (b"a%2db", b"a-b"),
        (b"a%3Bp%3D1", b"a"),  # OpenTelemetry's Python SDK, of `a;p=1`
        (b"a+%3Bp%3D1", b"a"),  # of `a ;p=1`
        (b"a%3bb", b"a"),
        (b"%3Ba", b""),
        (b"%253Ba", b"%3Ba"),  # decoded once
        (b"%%3Ba", b"%"),
        (b"%2%3Ba", b"%2"),
        (b"+a+", b"a"),
        (b"%20a%09", b"a"),
        (b"%2Ba", b"a"),
        (b"a+b", b"a+b"),
        (b"%zz", b"%zz"),
        (b"%", b"%"),
        (b"%4", b"%4"),
        (b"%+1a", b"%+1a"),
        (b"%C3%A4", b"\xc3\xa4"),
        (b"%A0a%85", b"\xa0a\x85"),
        (b"%0Ba", b"\x0ba"),
        (b"", b""),
    ],
)
def test_processed(value: bytes, expected: bytes) -> None:
    assert processed(value) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"a=1", b"b=2"], b"a=1,b=2"),
        ([b" a=1 , ,b=2;p ", b",", b"", b"\t", b"c=3"], b"a=1 ,b=2;p ,c=3"),
        ([b"", b" ,"], b""),
        ([b'broken "x"', b"a"], b'broken "x",a'),
        ([], b""),
    ],
)
def test_joined_lines(lines: list[bytes], expected: bytes) -> None:
    assert joined_lines(lines) == expected


def test_joined_lines_keep_within_the_limit() -> None:
    assert joined_lines([b"a" * 4095, b"b" * 4096]) == b"a" * 4095 + b"," + b"b" * 4096
    assert joined_lines([b"a" * 4096, b"b" * 4096]) is None
    assert joined_lines([b"a", b"b"], limit=3) == b"a,b"
    assert joined_lines([b"a", b"b"], limit=2) is None
    assert joined_lines([b"a,,,,,", b",,b"], limit=3) == b"a,b"
