from __future__ import annotations

import pytest

from proxy import errors
from proxy.errors import REASONS, Reason
from proxy.routing.decision import Decision
from proxy.telemetry.record import Record, identifiers, trace_id, trace_parts
from tests.support.h2script import http2_head
from tests.support.records import PARENT, TO_SANDBOX, TRACE, TRACEPARENT, h1_head, record, refused_record

STRICT = Decision(errors.NO_KEY, "none", None, None, 424)
NOT_READY = Decision(errors.NO_DESTINATION, "sandbox", "pr-1", None, 503)
FELL_BACK = Decision(errors.SANDBOX_UNREACHABLE, "baseline", None, None, 0)
NO_KEY = Decision(errors.NO_KEY, "baseline", None, None, 0)
GONE_BASELINE = Decision(errors.GONE_KEY, "baseline", None, None, 0)


def test_flags_are_two_letters_and_no_two_are_the_same() -> None:
    flags = [reason.flag for reason in REASONS]
    assert len(set(flags)) == len(flags)
    assert all(len(flag) == 2 and flag.isalpha() and flag.isupper() for flag in flags)


@pytest.mark.parametrize(
    ("decision", "reason", "status", "flag", "has_failed"),
    [
        (TO_SANDBOX, errors.ROUTE, 200, "", False),
        (TO_SANDBOX, errors.ROUTE, 404, "", False),
        (TO_SANDBOX, errors.ROUTE, 500, "", True),
        (NO_KEY, errors.NO_KEY, 200, "", False),
        (GONE_BASELINE, errors.GONE_KEY, 200, "", False),
        (STRICT, errors.NO_KEY, 424, "NK", False),
        (NOT_READY, errors.NO_DESTINATION, 503, "ND", True),
        (TO_SANDBOX, errors.SANDBOX_UNREACHABLE, 503, "SU", True),
        (TO_SANDBOX, errors.SANDBOX_TIMEOUT, 504, "ST", True),
        (FELL_BACK, errors.SANDBOX_UNREACHABLE, 200, "SU", False),
        (TO_SANDBOX, errors.UPSTREAM_TRUNCATED, 200, "UX", True),
        (NO_KEY, errors.DOWNSTREAM_CLOSED, 0, "DC", True),
        (NO_KEY, errors.LOOP, 508, "LP", True),
    ],
)
def test_what_is_flagged_and_what_has_failed(
    decision: Decision, reason: Reason, status: int, flag: str, has_failed: bool
) -> None:
    made = record(decision=decision, reason=reason, status=status)
    assert (made.flag, made.has_failed) == (flag, has_failed)
    assert made.is_notable is (has_failed or flag != "")


@pytest.mark.parametrize("status", range(17))
def test_grpc_statuses_that_are_the_servers_failure(status: int) -> None:
    assert record(grpc_status=status).has_failed is (status in (2, 4, 12, 13, 14, 15))


def test_what_was_no_request() -> None:
    made = refused_record()
    assert (made.kind, made.flag, made.has_failed, made.is_notable) == ("none", "BR", False, True)
    assert refused_record(errors.CONNECTION_LIMIT).has_failed


def test_where_it_went() -> None:
    assert record().kind == "sandbox"
    assert record(decision=NO_KEY, reason=errors.NO_KEY).kind == "baseline"
    assert record(decision=NO_KEY, reason=errors.LOOP).kind == "none"
    assert Record(None, b"", 0.0).kind == "none"


class TestIdentifiers:
    @pytest.mark.parametrize(
        ("lines", "found"),
        [
            ((), (b"", b"")),
            (("traceparent: a", "x-request-id: b"), (b"a", b"b")),
            (("TraceParent:a ", "X-Request-ID:\tb c "), (b"a", b"b c")),
            (("traceparent: a", "traceparent: b", "x-request-id: c", "x-request-id: d"), (b"a", b"c")),
            (("traceparents: a", "tracestate: b=c", "x-request-ids: d", "x-real-ip: e"), (b"", b"")),
            (("traceparent:", "x-request-id: "), (b"", b"")),
            (("t: a", "x: b", "te: trailers", "x-r: 1"), (b"", b"")),
        ],
    )
    def test_of_http1(self, lines: tuple[str, ...], found: tuple[bytes, bytes]) -> None:
        assert identifiers(h1_head(*lines)) == found

    def test_of_http2(self) -> None:
        head = http2_head(("traceparent", "a"), ("x-request-id", "b"), ("traceparent", "c"), ("x-request-id", "d"))
        assert identifiers(head) == (b"a", b"b")


GOOD = [TRACEPARENT, TRACEPARENT[:-2] + "00", "01" + TRACEPARENT[2:], "fe" + TRACEPARENT[2:] + "-more"]


@pytest.mark.parametrize("text", GOOD)
def test_a_traceparent(text: str) -> None:
    assert trace_id(text.encode()) == TRACE
    assert trace_parts(text.encode()) == (int(TRACE, 16), int(PARENT, 16), int(text[53:55], 16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACEPARENT[:-1],
        TRACEPARENT + "-more",
        TRACEPARENT + "x",
        "ff" + TRACEPARENT[2:],
        TRACEPARENT.replace(TRACE, "0" * 32),
        TRACEPARENT.replace(PARENT, "0" * 16),
        TRACEPARENT.replace(TRACE, TRACE.upper()),
        TRACEPARENT.replace(TRACE, "g" + TRACE[1:]),
        TRACEPARENT.replace("-", "_"),
    ],
)
def test_no_traceparent(text: str) -> None:
    assert trace_parts(text.encode()) is None


@pytest.mark.parametrize("trace", ["0" * 32, '"' + TRACE[1:], TRACE[:-1] + "\\", TRACE[:-1] + "\xff", TRACE[:-1] + " "])
def test_a_log_shows_no_trace_that_is_none(trace: str) -> None:
    assert trace_id(f"00-{trace}-{PARENT}-01".encode("latin-1")) == ""
