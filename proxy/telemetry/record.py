"""What is told of one request when it is over: to the access log, and to traces.

`proxy.watched` fills it. Times are `perf_counter`'s, and 0 for what did not happen; `ended_at_s` alone is the clock's.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import Final

from proxy.codec.events import RequestHead
from proxy.errors import LOOP, Reason, Side
from proxy.routing.decision import Decision
from proxy.routing.names import Endpoint, Workload

NO_CALL: Final = -1

# gRPC statuses that are the server's failure rather than the caller's: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
# INTERNAL, UNAVAILABLE, DATA_LOSS. Spec: OpenTelemetry's semantic conventions for gRPC spans, of a server.
_SERVER_FAILURES: Final = (2, 4, 12, 13, 14, 15)


class Record:
    """One request.

    `head` None: it was no request (bad framing, a head that took too long), and the rest is unknown. `authority`: as
    the caller named it, before a preview became its upstream. `status` 0: no response head was sent. `key`: the routing
    key that was read. `endpoint`: whom it was sent to last, or was to be. `attempts`: how often it was sent, and
    connections that failed. The bytes are those of bodies, or of a tunnel, as they passed; of own answers they are 0.
    """

    __slots__ = (
        "answered_s",
        "attempts",
        "authority",
        "connected_s",
        "decision",
        "ended_at_s",
        "ended_s",
        "endpoint",
        "grpc_status",
        "head",
        "key",
        "peer",
        "reason",
        "request_bytes",
        "response_bytes",
        "started_s",
        "status",
        "workload",
    )

    def __init__(self, head: RequestHead | None, peer: bytes, started_s: float) -> None:
        self.head: Final = head
        self.peer: Final = peer
        self.started_s: Final = started_s
        self.connected_s = 0.0  # an upstream connection had the head
        self.answered_s = 0.0  # the response head was there
        self.ended_s = started_s
        self.ended_at_s = 0.0
        self.decision: Decision | None = None
        self.reason: Reason | None = None
        self.status = 0
        self.grpc_status = NO_CALL
        self.key: bytes | None = None
        self.workload: Workload | None = None
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.authority = b""
        self.request_bytes = 0
        self.response_bytes = 0

    @property
    def kind(self) -> str:
        """Where it went: sandbox, baseline or none."""
        decision = self.decision
        return "none" if decision is None or self.reason is LOOP else decision.kind

    @property
    def flag(self) -> str:
        """Two letters where the proxy answered by itself, something failed, or another place had to do; else empty."""
        reason, decision = self.reason, self.decision
        if reason is None:
            return ""
        as_decided = decision is not None and reason is decision.reason and not decision.status
        return "" if as_decided and reason.side is not Side.UPSTREAM else reason.flag

    @property
    def has_failed(self) -> bool:
        """As a server fails: what the caller did wrong does not count, nor that another place had to do."""
        if self.status >= 500 or self.status == 0 or self.grpc_status in _SERVER_FAILURES:
            return True
        return self.status < 400 and (self.decision is None or self.reason is not self.decision.reason)

    @property
    def is_notable(self) -> bool:
        """Whether no sampling leaves it out: it has failed, or has a flag."""
        return self.has_failed or self.flag != ""


def identifiers(head: RequestHead) -> tuple[bytes, bytes]:
    """The values of `traceparent` and `x-request-id`, empty where there is none; the first of several.

    Fields that only a log wants are looked for here, not where heads are read, which every request pays for.
    """
    traceparent = request_id = b""
    if head.is_http2:
        for field in head.fields:
            if field.name == b"traceparent":
                traceparent = traceparent or field.value
            elif field.name == b"x-request-id":
                request_id = request_id or field.value
        return traceparent, request_id
    for line in head.lines:
        if len(line) < 14:
            continue
        # Most lines are told apart by two letters, without making an object.
        first = line[0] | 32
        if first == 116 and line[5] | 32 == 112 and line[:12].lower() == b"traceparent:":  # "t....p"
            traceparent = traceparent or _value(line, 12)
        elif first == 120 and line[2] | 32 == 114 and line[:13].lower() == b"x-request-id:":  # "x.r"
            request_id = request_id or _value(line, 13)
    return traceparent, request_id


def _value(line: bytes, at: int) -> bytes:
    """What stands behind the colon."""
    if line[at] == 32 and line[-1] > 32 and len(line) > at + 1 and line[at + 1] > 32:
        return line[at + 1 :]
    return line[at:].strip(b" \t")


def trace_id(traceparent: bytes) -> str:
    """The trace that a valid `traceparent` names, else empty. What stands behind it is not looked at."""
    if len(traceparent) < 55 or traceparent[2] != 45 or traceparent[35] != 45 or traceparent[52] != 45:
        return ""
    trace = traceparent[3:35]
    try:
        unhexlify(trace)
    except ValueError:
        return ""
    return "" if trace == _NO_TRACE else trace.decode("ascii")


def trace_parts(traceparent: bytes) -> tuple[int, int, int] | None:
    """Trace, parent and flags of a valid `traceparent`.

    Spec: W3C Trace Context, section 3.2. A later version than 00 may have more behind a dash.
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[5]):
        return None
    trace, parent, flags = int(match[2], 16), int(match[3], 16), int(match[4], 16)
    return (trace, parent, flags) if trace and parent else None


_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE: Final = b"0" * 32
