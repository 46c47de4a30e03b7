"""What becomes of a preview's request head."""

from __future__ import annotations

import pytest

from proxy.codec.events import RequestHead
from proxy.codec.fields import request_kinds
from proxy.errors import BAD_REQUEST
from proxy.preview.credentials import Credentials, Tokens
from proxy.preview.head import enter, with_member, without_members
from proxy.routing.key import DEFAULT_NAMES, KeySettings
from tests.support.exchange import request_head
from tests.support.h2script import http2_head
from tests.support.hpack import decoder, pairs

KEYS = KeySettings(headers=(b"x-key",))
HOST = "web--k.preview.example"
TOKEN = b"a-token-of-the-team"
CREDENTIALS = Credentials(
    is_required=True,
    header=b"x-user",
    networks=[],
    tokens=Tokens([TOKEN]),
    is_secure=False,
    lifetime_s=60,
    clock=lambda: 0.0,
)
ADDED = [
    (b"x-forwarded-for", b"192.0.2.1"),
    (b"x-forwarded-host", HOST.encode()),
    (b"x-forwarded-proto", b"https"),
]


def entered(head: RequestHead) -> list[tuple[bytes, bytes]]:
    """The head's fields afterwards, but for those of every request. They go out as they say."""
    enter(head, b"k", b"web:8080", KEYS, CREDENTIALS, b"192.0.2.1", b"https")
    assert head.host == b"web:8080"
    if head.is_http2:
        found = pairs(decoder().read(b"".join(field.raw for field in head.fields)))
        assert found == pairs(head.fields)
        assert dict(found)[b":authority"] == b"web:8080"
        fields = [(name, value) for name, value in found if name[:1] != b":"]
    else:
        assert head.lines[1] == b"Host: web:8080"
        lines = [line.partition(b":") for line in head.lines[2:]]
        fields = [(name.lower(), value.strip()) for name, _, value in lines]
    assert [value for name, value in fields if name == b"baggage"] == head.baggage
    assert [value for name, value in fields if name == b"tracestate"] == head.tracestate
    assert fields[-3:] == ADDED
    return fields[:-3]


def heads(*fields: tuple[str, str]) -> list[RequestHead]:
    one = request_head(*[f"{name}: {value}" for name, value in fields], host=HOST)
    two = http2_head(*fields)
    two.host = HOST.encode()
    return [one, two]


def test_a_plain_request() -> None:
    for head in heads(("accept", "*/*")):
        keys = [(b"baggage", b"sd-routing-key=k"), (b"tracestate", b"sd-routing-key=k")]
        assert entered(head) == [(b"accept", b"*/*"), *keys]


def test_a_name_that_cgi_reads_alike_is_the_same() -> None:
    fields = (("X_Forwarded_For", "6.6.6.6"), ("x-forwarded_user", "me"), ("X_Key", "other"), ("x_user", "me"))
    for head in heads(*[(name.lower(), value) for name, value in fields], ("x_other", "1")):
        keys = [(b"baggage", b"sd-routing-key=k"), (b"tracestate", b"sd-routing-key=k")]
        assert entered(head) == [(b"x_other", b"1"), *keys]


def test_the_key_is_behind_and_before_what_there_was() -> None:
    fields = (("baggage", "a=1;p, b=2"), ("x", "y"), ("tracestate", "v=1, w=2"))
    for head in heads(*fields):
        assert entered(head) == [
            (b"baggage", b"a=1;p, b=2,sd-routing-key=k"),
            (b"x", b"y"),
            (b"tracestate", b"sd-routing-key=k,v=1, w=2"),
        ]


def test_members_of_the_key_names_go_and_others_stay() -> None:
    fields = (
        ("baggage", "sd-sandbox=x, a=1 , sd-routing-key = y;p=1"),
        ("baggage", "sd-routing-key=z"),
        ("baggage", "b=2,\tsd-routing-key"),
        ("tracestate", "sd-routing-key=z"),
        ("tracestate", "sd-routing-key =y,c=3,sd-sandbox=x"),
    )
    for head in heads(*fields):
        assert entered(head) == [
            (b"baggage", b"a=1"),
            (b"baggage", b"b=2,sd-routing-key=k"),
            (b"tracestate", b"sd-routing-key=k,c=3"),
        ]


def test_key_headers_go() -> None:
    head = request_head("X-Key: other", "x-KEY: another", "x-keys: stay", host=HOST)
    head.key_fields = [(b"x-key", b"other"), (b"x-key", b"another")]
    assert entered(head)[0] == (b"x-keys", b"stay")
    assert head.key_fields == ()


def test_what_only_proxies_say_is_not_believed() -> None:
    fields = (
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-prefix", "/x"),
        ("x-forwarded-client-cert", "By=a"),
        ("x-forwarded-access-token", "a"),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarde", "stays"),
    )
    for head in heads(*fields):
        assert entered(head)[0] == (b"x-forwarde", b"stays")


def test_credentials_go() -> None:
    fields = (
        ("authorization", f"Bearer {TOKEN.decode()}"),
        ("cookie", "a=b; pointsman-preview=1.2; c=d"),
        ("x-user", "me"),
        ("authorization", "Bearer of-the-application"),
    )
    for head in heads(*fields):
        assert entered(head)[:2] == [(b"cookie", b"a=b; c=d"), (b"authorization", b"Bearer of-the-application")]


@pytest.mark.parametrize(
    ("method", "target", "becomes"),
    [
        ("GET", f"http://{HOST}/a?b", "/a?b"),
        ("GET", f"http://{HOST}?b", "/?b"),
        ("GET", f"HTTPS://{HOST}", "/"),
        ("OPTIONS", f"http://{HOST}", "*"),
        ("OPTIONS", "*", "*"),
        ("GET", "/http://other/", "/http://other/"),
    ],
)
def test_a_target_names_no_other_host(method: str, target: str, becomes: str) -> None:
    head = request_head(host=HOST, method=method)
    head.lines[0] = f"{method} {target} HTTP/1.1".encode()
    head.target = target.encode()
    entered(head)
    assert head.target == becomes.encode()
    assert head.lines[0] == f"{method} {becomes} HTTP/1.1".encode()


def test_lines_that_are_kept_are_kept_byte_for_byte() -> None:
    head = request_head("X-Odd:  two  blanks ", "COOKIE:a=b;  c", host=HOST)
    entered(head)
    assert head.lines[2:4] == [b"X-Odd:  two  blanks ", b"COOKIE:a=b;  c"]


@pytest.mark.parametrize(
    ("lines", "at_the_end", "at_the_beginning"),
    [
        ([], [b"m=1"], [b"m=1"]),
        ([b""], [b"m=1"], [b"m=1"]),
        ([b" , "], [b"m=1"], [b"m=1"]),
        ([b"k"], [b"m=1"], [b"m=1"]),
        ([b"k=1", b"a=1", b"k=2"], [None, b"a=1,m=1", None], [None, b"m=1,a=1", None]),
        ([b"a=1", b"b=1"], [b"a=1", b"b=1,m=1"], [b"m=1,a=1", b"b=1"]),
    ],
)
def test_with_member(lines: list[bytes], at_the_end: list[bytes], at_the_beginning: list[bytes]) -> None:
    assert with_member(lines, (b"k",), b"m=1", is_first=False) == at_the_end
    assert with_member(lines, (b"k",), b"m=1", is_first=True) == at_the_beginning


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (b"sd-routing-keys=1,xsd-routing-key=2,SD-Sandbox=3", b"sd-routing-keys=1,xsd-routing-key=2,SD-Sandbox=3"),
        (b"a=sd-sandbox", b"a=sd-sandbox"),
        (b"a=1;sd-sandbox=2", b"a=1;sd-sandbox=2"),
        (b'a="1,sd-sandbox=2"', b'a="1'),
        (b"sd-sandbox;a=1,b=2", b"b=2"),
        (b"sd-sandbox,sd-routing-key=,\t", None),
    ],
)
def test_without_members(line: bytes, rest: bytes | None) -> None:
    assert without_members(line, DEFAULT_NAMES) == rest


def test_kinds_that_these_tests_rely_on() -> None:
    assert request_kinds(BAD_REQUEST, (b"x-key",))[b"X-Key"]
