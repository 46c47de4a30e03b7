"""Heads and trailers from one HTTP version's form to the other's."""

from __future__ import annotations

from base64 import b64decode

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_CLOSE, End, RequestHead, ResponseHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.h2.heads import end_of
from proxy.codec.translate import (
    request_fields,
    request_lines,
    response_fields,
    response_lines,
    trailer_fields,
    trailer_lines,
    websocket_accept,
)
from tests.support.h2script import connect_head, http2_head, http2_response, lines
from tests.support.hpack import kinds, pairs

Fields = list[tuple[str, str]]
KINDS = request_kinds(errors.BAD_REQUEST)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def http1_head(*text: str, start: str = "GET / HTTP/1.1") -> RequestHead:
    """As the codec makes it; Host is `a`."""
    reader = RequestReader(KINDS, HeadLimits())
    reader.receive("\r\n".join([start, "Host: a", *text, "", ""]).encode("latin-1"))
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


def text(fields: list) -> list[str]:  # type: ignore[type-arg]
    return [f"{name.decode()}={value.decode('latin-1')}" for name, value in pairs(fields)]


# --- requests from HTTP/1.1 ----------------------------------------------------------------------------------------

GET = [":method=GET", ":scheme=http", ":authority=a", ":path=/"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (http1_head(), GET),
        (http1_head("X-B:  2 ", "X-A: 1", "x-b: 1"), [*GET, "x-b=2", "x-a=1", "x-b=1"]),
        (http1_head("Connection: close, x-y", "X-Y: 1", "Keep-Alive: 5", "Proxy-Connection: x"), GET),
        (http1_head("TE: gzip, trailers"), [*GET, "te=trailers"]),
        (http1_head("TE: gzip"), GET),
        (http1_head("Transfer-Encoding: chunked", start="PUT / HTTP/1.1"), [":method=PUT", *GET[1:]]),
        (http1_head("Content-Length: 3", start="POST / HTTP/1.1"), [":method=POST", *GET[1:], "content-length=3"]),
        (http1_head("Cookie: a=b; c=d"), [*GET, "cookie=a=b; c=d"]),
        (http1_head("X: \xe9\t\xff"), [*GET, "x=\xe9\t\xff"]),
        (http1_head("X:"), [*GET, "x="]),
        (http1_head(start="OPTIONS * HTTP/1.1"), [":method=OPTIONS", *GET[1:3], ":path=*"]),
        (http1_head(start="GET /a?b=http://c/d HTTP/1.1"), [*GET[:3], ":path=/a?b=http://c/d"]),
        (http1_head(start="GET http://A/b?c HTTP/1.1"), [*GET[:3], ":path=/b?c"]),
        (http1_head(start="GET HTTPS://a/b://c HTTP/1.1"), [*GET[:3], ":path=/b://c"]),
        (http1_head(start="GET http://a HTTP/1.1"), GET),
        (http1_head(start="GET http://a?b=/c HTTP/1.1"), [*GET[:3], ":path=/?b=/c"]),
        (http1_head(start="OPTIONS http://a HTTP/1.1"), [":method=OPTIONS", *GET[1:3], ":path=*"]),
        (
            http1_head("Upgrade: WebSocket, x", "Connection: upgrade", f"Sec-WebSocket-Key: {KEY}", "X: y"),
            [":method=CONNECT", ":protocol=websocket", *GET[1:], "x=y"],
        ),
        (http1_head("Upgrade: h2c", "Connection: upgrade, http2-settings", "HTTP2-Settings: x"), GET),
    ],
)
def test_a_request_to_http2(head: RequestHead, expected: list[str]) -> None:
    """RFC 9113 section 8.3.1, RFC 9112 section 3.2.4 for targets without a path."""
    before = list(head.lines)
    assert text(request_fields(head)) == expected
    assert head.lines == before


# --- requests from HTTP/2 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (http2_head(), ["GET / HTTP/1.1", "Host: location"]),
        (http2_head(method="OPTIONS", path="*"), ["OPTIONS * HTTP/1.1", "Host: location"]),
        (
            http2_head(("x-b", "2"), ("x-a", ""), ("x-b", "1"), path="/a?b"),
            ["GET /a?b HTTP/1.1", "Host: location", "x-b: 2", "x-a: ", "x-b: 1"],
        ),
        (http2_head(("te", "trailers"), ("host", "location")), ["GET / HTTP/1.1", "Host: location"]),
        (
            http2_head(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")),
            ["GET / HTTP/1.1", "Host: location", "cookie: a=b; c=d; e=f", "x: y"],
        ),
        (
            http2_head(method="POST", end=False),
            ["POST / HTTP/1.1", "Host: location", "Transfer-Encoding: chunked"],
        ),
        (http2_head(method="GET", end=False), ["GET / HTTP/1.1", "Host: location", "Transfer-Encoding: chunked"]),
        (http2_head(method="PATCH"), ["PATCH / HTTP/1.1", "Host: location", "Content-Length: 0"]),
        (
            http2_head(("content-length", "0"), method="PUT"),
            ["PUT / HTTP/1.1", "Host: location", "content-length: 0"],
        ),
        (
            http2_head(("content-length", "0"), method="PUT", end=False),
            ["PUT / HTTP/1.1", "Host: location", "content-length: 0"],
        ),
        (
            http2_head(("content-length", "7"), method="PUT", end=False),
            ["PUT / HTTP/1.1", "Host: location", "content-length: 7"],
        ),
        (http2_head(method="DELETE"), ["DELETE / HTTP/1.1", "Host: location"]),
    ],
)
def test_a_request_to_http1(head: RequestHead, expected: list[str]) -> None:
    assert [line.decode() for line in request_lines(head)] == expected


def test_a_websocket_to_http1() -> None:
    """RFC 8441 section 5: the key is of one connection, so a new one is made each time."""
    head = connect_head("websocket", ("sec-websocket-version", "13"), ("sec-websocket-key", "old"), ("x", "y"))
    *rest, key = (line.decode() for line in request_lines(head))
    assert rest == [
        "GET / HTTP/1.1",
        "Host: location",
        "sec-websocket-version: 13",
        "x: y",
        "Connection: Upgrade",
        "Upgrade: websocket",
    ]
    assert key == f"Sec-WebSocket-Key: {head.websocket_key.decode()}"
    assert len(b64decode(head.websocket_key, validate=True)) == 16
    assert request_lines(head)[-1] != key.encode()


def test_a_tunnel_has_no_length() -> None:
    """An HTTP/1.1 upstream would take the tunnel's first bytes for the request's content."""
    head = connect_head("x", ("content-length", "5"))
    assert not any(line.lower().startswith(b"content-length") for line in request_lines(head))


def test_another_protocol_to_http1() -> None:
    head = connect_head("x/1".replace("/", "."))
    assert [line.decode() for line in request_lines(head)][2:] == ["Connection: Upgrade", "Upgrade: x.1"]
    assert head.websocket_key == b""


# --- responses -----------------------------------------------------------------------------------------------------


def response(status: int, *text: str, body: int = NO_BODY) -> ResponseHead:
    return ResponseHead(status, [b"HTTP/1.1 %d Phrase" % status, *(line.encode() for line in text)], body, True)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (response(200), [":status=200"]),
        (response(999, "X-A: 1", "x-a:2"), [":status=999", "x-a=1", "x-a=2"]),
        (response(200, "Transfer-Encoding: chunked", body=CHUNKED), [":status=200"]),
        (response(200, "Content-Length: 5", body=5), [":status=200", "content-length=5"]),
        (response(103, "Link: x"), [":status=103", "link=x"]),
        (
            response(101, "Connection: Upgrade", "Upgrade: x", "Sec-WebSocket-Accept: y", "Sec-WebSocket-Protocol: z"),
            [":status=200", "sec-websocket-protocol=z"],
        ),
        (response(200, "Sec-WebSocket-Accept: y"), [":status=200", "sec-websocket-accept=y"]),
    ],
)
def test_a_response_to_http2(head: ResponseHead, expected: list[str]) -> None:
    assert text(response_fields(head)) == expected


@pytest.mark.parametrize(
    ("status", "fields", "end", "method", "expected"),
    [
        (200, [], True, "GET", ["HTTP/1.1 200 OK", "Content-Length: 0"]),
        (200, [], True, "HEAD", ["HTTP/1.1 200 OK"]),
        (200, [], False, "GET", ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"]),
        (200, [("content-length", "5")], False, "GET", ["HTTP/1.1 200 OK", "content-length: 5"]),
        (200, [("content-length", "0")], True, "GET", ["HTTP/1.1 200 OK", "content-length: 0"]),
        (204, [], True, "GET", ["HTTP/1.1 204 No Content"]),
        (204, [("content-length", "5")], True, "GET", ["HTTP/1.1 204 No Content"]),
        (103, [("content-length", "5")], False, "GET", ["HTTP/1.1 103 Early Hints"]),
        (304, [("content-length", "5")], True, "GET", ["HTTP/1.1 304 Not Modified", "content-length: 5"]),
        (304, [("etag", "x")], True, "GET", ["HTTP/1.1 304 Not Modified", "etag: x"]),
        (103, [("link", "x")], False, "GET", ["HTTP/1.1 103 Early Hints", "link: x"]),
        (299, [], True, "GET", ["HTTP/1.1 299 ", "Content-Length: 0"]),
        (503, [("x", "1"), ("y", ""), ("x", "2")], True, "GET",
         ["HTTP/1.1 503 Service Unavailable", "x: 1", "y: ", "x: 2", "Content-Length: 0"]),
    ],
)  # fmt: skip
def test_a_response_to_http1(status: int, fields: Fields, end: bool, method: str, expected: list[str]) -> None:
    head = http2_response(*fields, status=status, end=end)
    assert [line.decode() for line in response_lines(head, http1_head(start=f"{method} / HTTP/1.1"))] == expected


def test_a_websocket_is_accepted_towards_http1() -> None:
    """RFC 6455 section 1.3 has this key and its answer."""
    request = http1_head("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key:{KEY}")
    head = http2_response(("sec-websocket-protocol", "z"))
    head.status, head.body = 101, UNTIL_CLOSE
    assert [line.decode() for line in response_lines(head, request)] == [
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "sec-websocket-protocol: z",
    ]
    assert websocket_accept(KEY.encode()) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_tunnel_without_a_key() -> None:
    request = http1_head("Upgrade: x", "Connection: Upgrade")
    head = http2_response()
    head.status = 101
    assert response_lines(head, request)[1:] == [b"Connection: Upgrade", b"Upgrade: x"]


# --- trailers ------------------------------------------------------------------------------------------------------


def test_trailers() -> None:
    assert trailer_lines(End([b"X-A: 1"])) == [b"X-A: 1"]
    assert text(trailer_fields(End([b"X-A: 1", b"x-b:\t2 "]))) == ["x-a=1", "x-b=2"]
    end = end_of(lines(("x-a", "1"), ("x-b", "")), kinds())
    assert trailer_lines(end) == [b"x-a: 1", b"x-b: "]
    assert trailer_fields(end) == end.fields
    assert trailer_lines(End()) == []
    assert trailer_fields(End()) == []
