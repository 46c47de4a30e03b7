"""Our own answers' heads, and the deadline that a gRPC call brings."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.answers import decision_field, grpc_head, grpc_lines, grpc_timeout_s, own_head
from proxy.codec.events import NO_BODY
from proxy.codec.translate import response_fields
from tests.support.h2script import http2_head


def test_an_answer() -> None:
    head = own_head(503, errors.SANDBOX_UNREACHABLE, "sandbox_unreachable: pr-1", b"why\n")
    assert head.lines == [
        b"HTTP/1.1 503 Service Unavailable",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 4",
        b'Proxy-Status: pointsman; error=connection_refused; details="sandbox_unreachable: pr-1"',
    ]
    assert (head.status, head.body, head.is_http2) == (503, 4, False)


def test_a_status_without_a_phrase() -> None:
    assert own_head(599, errors.INTERNAL_ERROR, "", b"").lines[0] == b"HTTP/1.1 599 Error"


def test_every_reason_has_an_answer() -> None:
    for reason in errors.REASONS:
        head = own_head(reason.status or errors.STRICT_STATUS, reason, reason.name, b"")
        assert not head.lines[0].endswith(b" Error") or reason.status == 500
        assert 0 < reason.grpc_status <= 16
        assert response_fields(grpc_head(reason.grpc_status, reason, reason.name))[0].name == b":status"


def test_an_answer_to_a_grpc_call() -> None:
    head = grpc_head(14, errors.SANDBOX_UNREACHABLE, "sandbox_unreachable: pr-1", " (strict)")
    assert (head.status, head.body, head.grpc_status) == (200, NO_BODY, 14)
    fields = [(field.name, field.value) for field in response_fields(head)]
    assert fields == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (
            b"grpc-message",
            b"pointsman: sandbox_unreachable: pr-1: no destination of the sandbox's route answers (strict)",
        ),
        (b"proxy-status", b'pointsman; error=connection_refused; details="sandbox_unreachable: pr-1"'),
    ]


def test_a_grpc_message_is_percent_encoded() -> None:
    """gRPC's PROTOCOL-HTTP2: % and what is not printable ASCII."""
    assert grpc_lines(2, errors.INTERNAL_ERROR, "100%41")[1].startswith(b"grpc-message: pointsman: 100%2541: ")


def test_the_decision_field() -> None:
    added = decision_field("route; reason=x")
    assert added.line == b"pointsman-decision: route; reason=x"
    assert (added.field.name, added.field.value) == (b"pointsman-decision", b"route; reason=x")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("99999999m", 99999.999),
        ("5u", 5e-6),
        ("6n", 6e-9),
        ("0S", 0),
        ("100000000S", None),
        ("-1S", None),
        ("1", None),
        ("S", None),
        ("1s", None),
        ("1S ,", None),
        ("", None),
    ],
)
def test_a_deadline(value: str, seconds: float | None) -> None:
    assert grpc_timeout_s(http2_head(("x", "1S"), ("grpc-timeout", value))) == (
        None if seconds is None else pytest.approx(seconds)
    )


def test_no_deadline() -> None:
    assert grpc_timeout_s(http2_head()) is None
