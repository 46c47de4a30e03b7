"""Heads and trailers in the form of one HTTP version, whichever they came in.

Spec: RFC 9113 section 8 (pseudo-headers, lowercase names, cookie crumbs, no connection-specific fields), RFC 9112
sections 3.2, 6 and 7 (Host, framing), RFC 8441 section 5 (a WebSocket's opening). What came in that version is passed
on as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64encode
from typing import Final

from proxy.codec.events import CHUNKED, NO_BODY, End, RequestHead, ResponseHead
from proxy.codec.fields import FieldLine
from proxy.codec.h2.hpack import field_line

# Of one connection; what is left of them in a head that the HTTP/1.1 codec made.
_NOT_IN_HTTP2: Final = frozenset((b"transfer-encoding", b"connection", b"upgrade", b"te", b"host"))
_OF_AN_OPENING: Final = frozenset((b"sec-websocket-key", b"sec-websocket-accept"))
# A tunnel's bytes are no content, which a length would announce to HTTP/1.1.
_NOT_IN_AN_OPENING: Final = _OF_AN_OPENING | {b"content-length"}
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
_WITHOUT_BODY: Final = frozenset((*range(100, 200), 204, 304))
# Absolute-form; the group is path and query (RFC 9112 section 3.2.2).
_ABSOLUTE: Final = re.compile(rb"[A-Za-z]+://[^/?]*(.*)")
_TE_TRAILERS: Final = field_line(b"te", b"trailers")
_SCHEME: Final = field_line(b":scheme", b"http")

# RFC 9110 section 15. HTTP/2 has no phrases, so answers that came by it get theirs from here.
PHRASES: Final = {
    100: b"Continue",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    206: b"Partial Content",
    301: b"Moved Permanently",
    302: b"Found",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    414: b"URI Too Long",
    421: b"Misdirected Request",
    424: b"Failed Dependency",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    508: b"Loop Detected",
}


def origin_form(method: bytes, target: bytes) -> bytes:
    """The target without the authority that absolute-form names, which is Host's."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return target
    target = match[1]
    if target[:1] == b"/":
        return target
    return b"/" + target if target or method != b"OPTIONS" else b"*"  # section 3.2.4: no path at all means the server


# --- HTTP/2 to HTTP/1.1 ---


def request_lines(head: RequestHead) -> list[bytes]:
    """The start line and field lines of a request."""
    if not head.is_http2:
        return head.lines
    is_connect = bool(head.upgrade)
    lines = [b"%b %b HTTP/1.1" % (b"GET" if is_connect else head.method, head.target), b"Host: " + head.host]
    cookie = -1  # where the cookie stands: its crumbs become one line (RFC 9113 section 8.2.3)
    has_length = False
    for field in head.fields:
        name = field.name
        if name[:1] == b":" or name == b"te" or name == b"host":
            continue
        if name == b"cookie":
            if cookie >= 0:
                lines[cookie] += b"; " + field.value
                continue
            cookie = len(lines)
        elif is_connect and name in _NOT_IN_AN_OPENING:
            continue
        elif name == b"content-length":
            has_length = True
        lines.append(name + b": " + field.value)
    if is_connect:
        lines += (b"Connection: Upgrade", b"Upgrade: " + _protocol(head))
        if _protocol(head) == b"websocket":
            head.websocket_key = b64encode(os.urandom(16))
            lines.append(b"Sec-WebSocket-Key: " + head.websocket_key)
    elif head.body == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.body == NO_BODY and not has_length and head.method in _WITH_BODY:
        lines.append(b"Content-Length: 0")
    return lines


def response_lines(head: ResponseHead, request: RequestHead) -> list[bytes]:
    """The same of a response to a request that came by HTTP/1.1."""
    if not head.is_http2:
        return head.lines
    status = head.status
    if status == 101:
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: " + _protocol(request)]
        key = _websocket_key(request)
        if key:
            lines.append(b"Sec-WebSocket-Accept: " + websocket_accept(key))
        named = [field for field in head.fields if field.name[:1] != b":" and field.name != b"content-length"]
        return lines + [field.name + b": " + field.value for field in named]
    lines = [b"HTTP/1.1 %d %b" % (status, PHRASES.get(status, b""))]
    has_length = False
    for field in head.fields:
        if field.name == b"content-length":
            if status < 200 or status == 204:
                continue  # RFC 9110 section 8.6: a peer that believes it would wait for a body
            has_length = True
        if field.name[:1] != b":":
            lines.append(field.name + b": " + field.value)
    if head.body == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.body == NO_BODY and not has_length and request.method != b"HEAD" and status not in _WITHOUT_BODY:
        lines.append(b"Content-Length: 0")
    return lines


def trailer_lines(end: End) -> list[bytes]:
    """Trailers in HTTP/1.1's form."""
    return end.trailers or [field.name + b": " + field.value for field in end.fields]


# --- HTTP/1.1 to HTTP/2 ---


def request_fields(head: RequestHead) -> list[FieldLine]:
    """The field block of a request."""
    if head.is_http2:
        return head.fields
    target = origin_form(head.method, head.target)
    authority = field_line(b":authority", head.host)
    if head.upgrade:
        start = [field_line(b":method", b"CONNECT"), field_line(b":protocol", _protocol(head))]
    else:
        start = [field_line(b":method", head.method)]
    fields = [*start, _SCHEME, authority, field_line(b":path", target)]
    fields += _fields(head.lines, bool(head.upgrade))
    if head.takes_trailers:
        fields.append(_TE_TRAILERS)
    return fields


def response_fields(head: ResponseHead) -> list[FieldLine]:
    """The field block of a response. To a CONNECT, 101 is 200 (RFC 8441 section 5)."""
    if head.is_http2:
        return head.fields
    is_opening = head.status == 101
    status = b"200" if is_opening else b"%d" % head.status
    return [field_line(b":status", status), *_fields(head.lines, is_opening)]


def trailer_fields(end: End) -> list[FieldLine]:
    """Trailers in HTTP/2's form."""
    if end.trailers:
        return [_field(line) for line in end.trailers]
    return end.fields


def _fields(lines: list[bytes], is_opening: bool) -> list[FieldLine]:
    fields: list[FieldLine] = []
    for line in lines[1:]:
        field = _field(line)
        if field.name not in _NOT_IN_HTTP2 and not (is_opening and field.name in _NOT_IN_AN_OPENING):
            fields.append(field)
    return fields


def _field(line: bytes) -> FieldLine:
    name, _, value = line.partition(b":")
    return field_line(name.lower(), value.strip(b" \t"))


# --- WebSocket ---


def _protocol(request: RequestHead) -> bytes:
    """The one that an extended CONNECT names, or the first that an upgrade offers."""
    return next(iter(request.upgrade), b"")


def websocket_accept(key: bytes) -> bytes:
    """What a server answers to this key. Spec: RFC 6455 section 4.2.2."""
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return b64encode(digest)


def _websocket_key(request: RequestHead) -> bytes:
    for line in request.lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return value.strip(b" \t")
    return b""
