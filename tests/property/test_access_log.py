"""Whatever stands in a request, its line is one valid JSON object that says what came, and fits into a pipe."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.errors import REASONS
from proxy.routing.decision import Decision
from proxy.telemetry.access_log import MAX_LINE, MAX_TARGET, text
from tests.support.records import Log, parsed, record, refused_record

ANYTHING = st.binary(max_size=3000) | st.text(max_size=1500).map(lambda it: it.encode("utf-8", "surrogatepass"))
NAMES = st.text("abcXYZ019._/-", min_size=1, max_size=253)


@given(ANYTHING, st.integers(6, 1500))
def test_any_bytes_are_one_string(value: bytes, limit: int) -> None:
    quoted = text(value, limit)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert len(quoted) <= limit + 2
    shown = json.loads(quoted)
    whole = value.decode("utf-8", "backslashreplace")
    assert shown == whole or (
        shown.endswith("\u2026") and whole.startswith(shown[:-1]) and len(json.dumps(whole)) > limit - 6
    )


@given(ANYTHING)
def test_nothing_is_cut_that_need_not_be(value: bytes) -> None:
    if len(value) * 6 < MAX_TARGET:
        assert json.loads(text(value, MAX_TARGET)) == value.decode("utf-8", "backslashreplace")


@given(
    *(ANYTHING for _ in range(6)),
    st.sampled_from(REASONS),
    st.sampled_from(REASONS),
    NAMES,
    st.integers(0, 999),
    st.integers(-1, 999),
)
def test_any_request_is_one_line(
    method: bytes,
    target: bytes,
    authority: bytes,
    peer: bytes,
    traceparent: bytes,
    request_id: bytes,
    decided: errors.Reason,
    reason: errors.Reason,
    sandbox: str,
    status: int,
    grpc_status: int,
) -> None:
    lines = [b"GET / HTTP/1.1", b"traceparent:" + traceparent, b"x-request-id:" + request_id]
    head = RequestHead(method, target, lines, False)
    decision = Decision(decided, "sandbox", sandbox, None, 0)
    made = record(
        head, decision=decision, reason=reason, status=status, grpc_status=grpc_status, authority=authority, peer=peer
    )
    line = Log().log.line(made)
    found = parsed(line)
    assert line.isprintable() or line[:-1].isprintable()
    assert len(line) <= MAX_LINE
    assert (found["status"], found["reason"], found["sandbox"]) == (status, reason.name, sandbox)
    assert (found["attempts"], found["request_bytes"], found["response_bytes"]) == (1, 3, 5)
    assert b"?" not in target or found["target"].endswith(("?", "\u2026"))


@given(ANYTHING, st.sampled_from(REASONS))
def test_nor_does_what_was_no_request_break_a_line(peer: bytes, reason: errors.Reason) -> None:
    made = refused_record(reason)
    assert parsed(Log().log.line(made))["reason"] == reason.name
