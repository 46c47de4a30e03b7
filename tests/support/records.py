"""Records as exchanges leave them, for tests of what is made of them."""

from __future__ import annotations

import json
from typing import Any

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.errors import Reason
from proxy.routing.decision import Decision
from proxy.routing.names import Endpoint, Workload
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.lines import Lines
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.record import Record
from tests.support.h2script import http2_head

WORKLOAD = Workload("hotrod", "Deployment", "location")
SANDBOX = Endpoint("10.0.0.7", 8081)
TO_SANDBOX = Decision(errors.ROUTE, "sandbox", "pr-1", None, 0)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
STARTED_S = 1000.0
AT_S = 1764079200.125  # 2025-11-25T14:00:00.125Z, when it had ended after a second


def h1_head(*lines: str, method: str = "GET", target: str = "/a", http10: bool = False) -> RequestHead:
    start = f"{method} {target} HTTP/1.1"
    head = RequestHead(method.encode(), target.encode(), [line.encode("latin-1") for line in (start, *lines)], http10)
    head.host = b"location"
    return head


def grpc_head(path: str = "/hotrod.Location/Echo", *fields: tuple[str, str]) -> RequestHead:
    head = http2_head(("content-type", "application/grpc"), *fields, method="POST", path=path)
    assert head.is_grpc
    return head


def record(head: RequestHead | None = None, peer: bytes = b"192.0.2.9", **changes: Any) -> Record:
    """Of a request that a sandbox answered, unless something else is said."""
    made = Record(head if head is not None else h1_head(), peer, STARTED_S)
    assert made.head is not None
    made.connected_s, made.answered_s, made.ended_s = STARTED_S + 0.25, STARTED_S + 0.5, STARTED_S + 1
    made.ended_at_s = AT_S
    made.authority = made.head.host
    made.decision, made.reason, made.status = TO_SANDBOX, errors.ROUTE, 200
    made.key, made.workload, made.endpoint, made.attempts = b"key", WORKLOAD, SANDBOX, 1
    made.request_bytes, made.response_bytes = 3, 5
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def refused_record(reason: Reason = errors.BAD_REQUEST) -> Record:
    """Of what was no request."""
    made = Record(None, b"192.0.2.9", STARTED_S)
    made.ended_s, made.ended_at_s = STARTED_S, AT_S
    made.reason, made.status = reason, reason.status
    return made


class Log:
    """An access log whose lines stay here."""

    def __init__(self, sample: float = 1.0) -> None:
        self.metrics = Metrics()
        self._lines = Lines(self.metrics, lambda: None, lambda: None)
        self.log = AccessLog(self._lines, sample)

    def taken(self) -> list[dict[str, Any]]:
        """The lines since they were taken last."""
        return [parsed(line) for line in self._lines.take()]


def parsed(line: str) -> dict[str, Any]:
    """A whole line's object; no name stands twice in it."""
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line.isascii()
    pairs = json.loads(line, object_pairs_hook=list)
    assert len({name for name, _ in pairs}) == len(pairs), line
    return dict(pairs)
