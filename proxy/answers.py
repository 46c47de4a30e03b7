"""Answers of our own: their heads, in HTTP/1.1's form, which every codec can translate. Off the common path.

Spec: RFC 9209 (Proxy-Status); gRPC's PROTOCOL-HTTP2 (a trailers-only answer, percent-encoded messages, timeouts).
"""

from __future__ import annotations

import re
from typing import Final

from proxy.codec.edits import prepared
from proxy.codec.events import NO_BODY, Prepared, RequestHead, ResponseHead
from proxy.codec.translate import PHRASES
from proxy.errors import Reason

# TimeoutValue TimeoutUnit: at most eight digits.
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def decision_field(text: str) -> Prepared:
    """The field that `--decision-header` adds to every response."""
    return prepared(b"pointsman-decision", text.encode())


def own_head(status: int, reason: Reason, details: str, body: bytes) -> ResponseHead:
    """The head of an answer to a request that is no gRPC call."""
    lines = [
        b"HTTP/1.1 %d %b" % (status, PHRASES.get(status, b"Error")),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        _proxy_status(reason, details),
    ]
    return ResponseHead(status, lines, len(body), True)


def refusal(reason: Reason, text: str) -> tuple[ResponseHead, bytes]:
    """Head and body for what is no request that could be decided; `text` says what is wrong with it."""
    body = f"pointsman: {reason}: {text}\n".encode("ascii", "backslashreplace")
    return own_head(reason.status, reason, reason.name, body), body


def grpc_head(grpc_status: int, reason: Reason, details: str, remark: str = "") -> ResponseHead:
    """A trailers-only answer to a gRPC call."""
    lines = [b"HTTP/1.1 200 OK", b"content-type: application/grpc", *grpc_lines(grpc_status, reason, details, remark)]
    head = ResponseHead(200, lines, NO_BODY, True)
    head.grpc_status = grpc_status
    return head


def grpc_lines(grpc_status: int, reason: Reason, details: str, remark: str = "") -> list[bytes]:
    """The trailers that end a gRPC call."""
    message = f"pointsman: {details}: {reason.text}{remark}".replace("%", "%25")
    return [
        b"grpc-status: %d" % grpc_status,
        b"grpc-message: " + message.encode("ascii", "replace"),
        _proxy_status(reason, details),
    ]


def _proxy_status(reason: Reason, details: str) -> bytes:
    return f'Proxy-Status: pointsman; error={reason.proxy_error}; details="{details}"'.encode()


def grpc_timeout_s(head: RequestHead) -> float | None:
    """How long the caller of this (HTTP/2) call waits; None: for ever."""
    for field in head.fields:
        if field.name == b"grpc-timeout" and (match := _TIMEOUT.fullmatch(field.value)):
            return int(match[1]) * _UNITS_S[match[2]]
    return None
