"""Which HTTP/2 fields are a head or trailers, and what they mean (RFC 9113 section 8)."""

from __future__ import annotations

import pytest

from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_END
from proxy.codec.h2.heads import Malformed, RequestHeads, end_of, response_head
from proxy.codec.h2.hpack import MalformedError
from tests.support.h2script import http2_head, lines
from tests.support.hpack import decoder, kinds, pairs, response_decoder

START = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
POST = [(":method", "POST"), *START[1:]]
CONNECT = [(":method", "CONNECT"), *START[1:], (":protocol", "websocket")]


def without(name: str, start: list[tuple[str, str]] = START) -> list[tuple[str, str]]:
    return [pair for pair in start if pair[0] != name]


def with_value(name: str, value: str, start: list[tuple[str, str]] = START) -> list[tuple[str, str]]:
    return [(one, value if one == name else old) for one, old in start]


# --- requests ------------------------------------------------------------------------------------------------------

GOOD = [
    ("plain", START),
    ("pseudo-headers in any order", START[::-1]),
    ("https", with_value(":scheme", "https")),
    ("a strange scheme", with_value(":scheme", "a+b-1.c")),
    ("host instead of :authority", [*without(":authority"), ("host", "a")]),
    ("host beside :authority, in capitals", [*START, ("host", "A")]),
    ("a port", with_value(":authority", "a.b:8080")),
    ("several addresses of gRPC", [*with_value(":authority", "a,b"), ("content-type", "application/grpc")]),
    ("IPv6", with_value(":authority", "[::1]:80")),
    ("OPTIONS *", [(":method", "OPTIONS"), *START[1:3], (":path", "*")]),
    ("a query", with_value(":path", "/a?b=c&d=/")),
    ("a strange method", with_value(":method", "M-SEARCH")),
    ("te", [*START, ("te", "trailers")]),
    ("te in capitals", [*START, ("te", "Trailers")]),
    ("many cookies", [*START, ("cookie", "a=b"), ("cookie", "c=d")]),
    ("a content-length of 0", [*START, ("content-length", "0")]),
    ("an empty value", [*START, ("x", "")]),
    ("8-bit characters", [*START, ("x", "\xe9")]),
]
BAD = [
    ("no method", without(":method")),
    ("no scheme", without(":scheme")),
    ("no path", without(":path")),
    ("no authority", without(":authority")),
    ("nothing", []),
    *((f"{name} twice", [*START[:4], (name, value)]) for name, value in START),
    (":status", [*START, (":status", "200")]),
    ("a pseudo-header behind a field", [*START[:3], ("x", "y"), START[3]]),
    ("a field before them", [("x", "y"), *START]),
    ("an empty authority", with_value(":authority", "")),
    ("userinfo", with_value(":authority", "me@a")),
    ("a comma", with_value(":authority", "a,b")),
    ("an empty one of several", [*with_value(":authority", "a,"), ("content-type", "application/grpc")]),
    ("two authorities", [*START, ("host", "b")]),
    ("two hosts", [*START, ("host", "a"), ("host", "a")]),
    ("an empty path", with_value(":path", "")),
    ("an absolute path", with_value(":path", "http://a/")),
    ("* without OPTIONS", with_value(":path", "*")),
    ("a fragment", with_value(":path", "/#x")),
    ("a blank in the path", with_value(":path", "/a b")),
    ("a tab in the path", with_value(":path", "/a\tb")),
    ("8-bit characters in the path", with_value(":path", "/\xe9")),
    ("a method that is no token", with_value(":method", "GE T")),
    ("an empty method", with_value(":method", "")),
    ("an empty scheme", with_value(":scheme", "")),
    ("a scheme with a blank", with_value(":scheme", "ht tp")),
    ("connection", [*START, ("connection", "close")]),
    ("keep-alive", [*START, ("keep-alive", "x")]),
    ("proxy-connection", [*START, ("proxy-connection", "x")]),
    ("transfer-encoding", [*START, ("transfer-encoding", "chunked")]),
    ("upgrade", [*START, ("upgrade", "x")]),
    ("http2-settings", [*START, ("http2-settings", "x")]),
    ("another te", [*START, ("te", "trailers, gzip")]),
    ("two content-lengths", [*START, ("content-length", "0"), ("content-length", "0")]),
    ("a list of content-lengths", [*START, ("content-length", "0, 0")]),
    ("a signed content-length", [*START, ("content-length", "+0")]),
    ("an empty content-length", [*START, ("content-length", "")]),
    ("an endless content-length", [*START, ("content-length", "9" * 20)]),
    ("a content-length without content", [*START, ("content-length", "1")]),
    (":protocol without CONNECT", [*START, (":protocol", "websocket")]),
    ("an extended CONNECT that ends", CONNECT),
    ("a CONNECT with a path", [(":method", "CONNECT"), (":authority", "a"), (":path", "/")]),
    ("a CONNECT with a scheme", [(":method", "CONNECT"), (":authority", "a"), (":scheme", "http")]),
    ("a CONNECT to nobody", [(":method", "CONNECT")]),
    ("an unknown pseudo-header", [*START, (":what", "x")]),
    ("a name with capitals", [*START, ("X", "y")]),
    ("a name that is no token", [*START, ("x y", "y")]),
    ("a line end in a value", [*START, ("x", "a\r\nb")]),
    ("NUL in a value", [*START, ("x", "a\0b")]),
    ("a blank before a value", [*START, ("x", " y")]),
    ("a tab behind a value", [*START, ("x", "y\t")]),
]  # fmt: skip


@pytest.mark.parametrize("fields", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
def test_a_good_request(fields: list[tuple[str, str]]) -> None:
    read = lines(*fields)
    head = RequestHeads().read(list(read), is_end=True)
    assert head.is_http2
    assert not head.lines
    if "host" not in dict(fields):
        assert head.fields == read, "as it came"
    assert (head.method, head.target) == (dict(fields)[":method"].encode(), dict(fields)[":path"].encode())
    assert head.host == (dict(fields).get(":authority") or dict(fields)["host"]).encode()
    assert head.body == NO_BODY


@pytest.mark.parametrize("start", [without(":authority"), START], ids=["without :authority", "beside it"])
def test_a_host_does_not_go_on(start: list[tuple[str, str]]) -> None:
    """Section 8.3.1. A server may end the whole connection where the two are spelled differently (Python's h2 does)."""
    name = dict(start).get(":authority", "A")
    head = RequestHeads().read(lines(*start, ("host", "A"), ("x", "y")), is_end=True)
    pairs = [(field.name, field.value) for field in head.fields]
    assert [value for key, value in pairs if key == b":authority"] == [name.encode()]
    assert b"host" not in dict(pairs)
    assert [key[:1] for key, _ in pairs] == [b":"] * 4 + [b"x"]


@pytest.mark.parametrize("fields", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_request(fields: list[tuple[str, str]]) -> None:
    heads = RequestHeads()
    for _ in range(2):  # what is remembered of the first one must not excuse the second
        with pytest.raises((Malformed, MalformedError)):
            heads.read(lines(*fields), is_end=True)


@pytest.mark.parametrize("fields", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_request_behind_good_ones(fields: list[tuple[str, str]]) -> None:
    """Good pieces are known by their representation; each is good only where it was found so."""
    heads, of = RequestHeads(), decoder()
    for _, good in GOOD:
        heads.read(lines(*good, of=of), is_end=True)
        with pytest.raises((Malformed, MalformedError)):
            heads.read(lines(*fields, of=of), is_end=True)


@pytest.mark.parametrize(
    ("fields", "is_end", "body"),
    [
        ([], True, NO_BODY),
        ([], False, CHUNKED),
        ([("content-length", "0")], True, NO_BODY),
        ([("content-length", "0")], False, UNTIL_END),
        ([("content-length", "7")], False, 7),
        ([("content-length", str(2**63 - 1))], False, 2**63 - 1),
    ],
)
def test_framing(fields: list[tuple[str, str]], is_end: bool, body: int) -> None:
    assert RequestHeads().read(lines(*POST, *fields), is_end=is_end).body == body


def test_what_a_request_says_to_us() -> None:
    head = http2_head(
        ("baggage", "a=1"),
        ("x-key", "k"),
        ("tracestate", "b=2"),
        ("baggage", "c=3"),
        ("te", "trailers"),
        ("tracestate", "d=4"),
        ("pointsman-hop", "x/y/z"),
        ("x-key", "l"),
    )
    assert head.baggage == [b"a=1", b"c=3"]
    assert head.tracestate == [b"b=2", b"d=4"]
    assert head.key_fields == [(b"x-key", b"k"), (b"x-key", b"l")]
    assert head.hops == [b"x/y/z"]
    assert (head.takes_trailers, head.is_grpc, head.upgrade) == (True, False, ())


@pytest.mark.parametrize(
    ("value", "is_grpc"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=x", True),
        ("application/grpc-web", False),
        ("application/json", False),
    ],
)
def test_grpc_calls(value: str, is_grpc: bool) -> None:
    assert http2_head(("content-type", value), method="POST", end=False).is_grpc is is_grpc


def test_an_extended_connect() -> None:
    head = RequestHeads().read(lines(*with_value(":protocol", "WebSocket", CONNECT)), is_end=False)
    assert (head.method, head.target, head.host, head.upgrade) == (b"CONNECT", b"/", b"a", [b"websocket"])


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "h2", "http", "tls"])
def test_a_tunnel_of_http_itself(protocol: str) -> None:
    """As with HTTP/1.1's Upgrade: what goes through it would be routed by nobody."""
    fields = with_value(":protocol", protocol, CONNECT)
    with pytest.raises(Malformed):
        RequestHeads().read(lines(*fields), is_end=False)


def test_a_plain_connect_is_read() -> None:
    head = RequestHeads().read(lines((":method", "CONNECT"), (":authority", "a:443")), is_end=False)
    assert (head.method, head.host, head.upgrade) == (b"CONNECT", b"a:443", ())


# --- responses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "is_head_request", "is_end", "body"),
    [
        ([(":status", "200")], False, False, CHUNKED),
        ([(":status", "200")], False, True, NO_BODY),
        ([(":status", "200"), ("content-length", "5")], False, False, 5),
        ([(":status", "200"), ("content-length", "0")], False, False, UNTIL_END),
        ([(":status", "200"), ("content-length", "5")], True, True, NO_BODY),
        ([(":status", "200"), ("content-length", "5")], True, False, UNTIL_END),
        ([(":status", "304"), ("content-length", "5")], False, True, NO_BODY),
        ([(":status", "304"), ("content-length", "5")], False, False, UNTIL_END),
        ([(":status", "204")], False, False, UNTIL_END),
        ([(":status", "100")], False, False, NO_BODY),
        ([(":status", "103"), ("link", "x")], False, False, NO_BODY),
        ([(":status", "999"), ("x", "y")], False, False, CHUNKED),
    ],
)
def test_a_response(fields: list[tuple[str, str]], is_head_request: bool, is_end: bool, body: int) -> None:
    read = lines(*fields, of=response_decoder())
    head = response_head(read, is_head_request=is_head_request, is_end=is_end)
    assert (head.status, head.body, head.fields, head.is_http2) == (int(fields[0][1]), body, read, True)


@pytest.mark.parametrize(
    ("fields", "is_end"),
    [
        ([], False),
        ([("x", "y")], False),
        ([("x", "y"), (":status", "200")], False),
        ([(":status", "200"), (":status", "200")], False),
        ([(":status", "101")], False),
        ([(":status", "099")], False),
        ([(":status", "20")], False),
        ([(":status", "2000")], False),
        ([(":status", "2x0")], False),
        ([(":status", "100")], True),
        ([(":status", "200"), (":path", "/")], False),
        ([(":status", "200"), ("connection", "close")], False),
        ([(":status", "200"), ("transfer-encoding", "chunked")], False),
        ([(":status", "200"), ("upgrade", "x")], False),
        ([(":status", "200"), ("content-length", "5")], True),
        ([(":status", "200"), ("content-length", "5"), ("content-length", "5")], False),
        ([(":status", "200"), ("content-length", "-5")], False),
        ([(":status", "103"), ("content-length", "x")], False),
        ([(":status", "204"), ("content-length", "x")], False),
        ([(":status", "304"), ("content-length", "x")], True),
    ],
)
def test_no_response(fields: list[tuple[str, str]], is_end: bool) -> None:
    with pytest.raises((Malformed, MalformedError)):
        response_head(lines(*fields, of=response_decoder()), is_head_request=False, is_end=is_end)


@pytest.mark.parametrize(("value", "status"), [("0", 0), ("14", 14), ("", -1), ("x", -1), ("1000", -1), ("-1", -1)])
def test_a_grpc_status(value: str, status: int) -> None:
    """Of a trailers-only answer, or of trailers; in a head that more follows it says nothing."""
    of = response_decoder()
    fields = lines((":status", "200"), ("grpc-status", value), of=of)
    assert response_head(fields, is_head_request=False, is_end=True).grpc_status == status
    assert response_head(fields, is_head_request=False, is_end=False).grpc_status == -1
    assert end_of(lines(("grpc-status", value), of=of), kinds()).grpc_status == status


# --- trailers ------------------------------------------------------------------------------------------------------


def test_trailers_pass_but_those_that_must_not() -> None:
    """As in HTTP/1.1: framing, target and routing are said before the body."""
    dropped = "host content-length te baggage tracestate pointsman-hop x-key trailer content-encoding content-type"
    fields = [
        ("x-a", "1"),
        *((name, "x") for name in dropped.split()),
        ("cookie", "c"),
        ("grpc-status", "0"),
        ("x-a", "2"),
    ]
    end = end_of(lines(*fields), kinds())
    assert pairs(end.fields) == [(b"x-a", b"1"), (b"cookie", b"c"), (b"grpc-status", b"0"), (b"x-a", b"2")]


@pytest.mark.parametrize("name", [":path", ":status", ":method", "connection", "transfer-encoding", "upgrade"])
def test_no_trailers(name: str) -> None:
    with pytest.raises((Malformed, MalformedError)):
        end_of(lines((name, "x")), kinds())
