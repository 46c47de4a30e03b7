"""What is told of one request when it is over: to the access log, and to traces.

`proxy.watched` fills it. Times are `perf_counter`'s, and 0 for what did not happen; `ended_at_s` alone is the clock's.
"""

from __future__ import annotations

from typing import Final

from proxy.codec.events import RequestHead
from proxy.errors import LOOP, Reason, Side
from proxy.routing.decision import Decision
from proxy.routing.names import Endpoint, Workload

NO_CALL: Final = -1

# gRPC statuses that are the server's failure rather than the caller's: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
# INTERNAL, UNAVAILABLE, DATA_LOSS. Spec: OpenTelemetry's semantic conventions for gRPC spans, of a server.
_SERVER_FAILURES: Final = (2, 4, 12, 13, 14, 15)

_TRACEPARENT: Final = b"traceparent:"
_REQUEST_ID: Final = b"x-request-id:"


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
    """The values of `traceparent` and `x-request-id`, empty where there is none; the first of several."""
    trace = request_id = b""
    if head.is_http2:
        for field in head.fields:
            if field.name == b"traceparent":
                trace = trace or field.value
            elif field.name == b"x-request-id":
                request_id = request_id or field.value
        return trace, request_id
    for line in head.lines:
        first = line[0] | 32  # a line is never empty; one comparison leaves most of them out
        if first == 116:  # "t"
            if not trace and line[:12].lower() == _TRACEPARENT:
                trace = line[12:].strip(b" \t")
        elif first == 120 and not request_id and line[:13].lower() == _REQUEST_ID:  # "x"
            request_id = line[13:].strip(b" \t")
    return trace, request_id


def trace_parts(traceparent: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Trace id, parent id and flags, in lowercase hexadecimal; None: not valid.

    Spec: W3C Trace Context, section 3.2. A later version than 00 may have more behind a dash.
    """
    if len(traceparent) != 55 and (len(traceparent) < 55 or traceparent[:2] == b"00" or traceparent[55] != 45):
        return None
    version, trace, parent, flags = traceparent[:2], traceparent[3:35], traceparent[36:52], traceparent[53:55]
    if traceparent[2] != 45 or traceparent[35] != 45 or traceparent[52] != 45 or version == b"ff":
        return None
    if (version + trace + parent + flags).translate(None, _HEX) or trace == _NO_TRACE or parent == _NO_PARENT:
        return None
    return trace, parent, flags


_HEX: Final = b"0123456789abcdef"
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16
