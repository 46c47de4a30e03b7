"""The access log: one line of JSON for each request, put together here and written elsewhere (`log_file`).

No input can forge a line or a field. Of what came with a request everything but printable ASCII is escaped, as are the
quote and the backslash; so a line is ASCII, and has one line feed, at its end. Each such field has a limit, in bytes as
written, so a line has one too (`MAX_LINE`), small enough that a pipe takes it whole (`log_file`). What was cut ends in
an ellipsis, which targets and hosts, being ASCII, have nowhere else.

Not in it, since logs are read by many: a target's query (tokens, signatures), fields that are not named below, bodies.

Spec: RFC 8259 section 7; RFC 3339 section 5.6 (time, in UTC).
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii
from random import random
from typing import Final

from proxy.routing.names import Endpoint, Workload
from proxy.telemetry.lines import Lines
from proxy.telemetry.record import NO_CALL, Record, identifiers, trace_parts

MAX_METHOD: Final = 32
MAX_AUTHORITY: Final = 272  # a DNS name with its port, or a few addresses of a gRPC target
MAX_TARGET: Final = 1024
MAX_REQUEST_ID: Final = 128
MAX_PEER: Final = 64
MAX_LINE: Final = 4096

# What stands in a JSON string as it is.
_PLAIN: Final = bytes([byte for byte in range(0x20, 0x7F) if byte not in b'"\\'])
_ELLIPSIS: Final = "\\u2026"
_REMEMBERED_AT_MOST: Final = 256
_MILLISECONDS: Final = [f".{number:03d}Z" for number in range(1000)]


class AccessLog:
    """Makes lines of records. `sample`: the share of requests without errors that get one."""

    __slots__ = ("_authorities", "_endpoints", "_lines", "_sample", "_second", "_second_text", "_workloads")

    def __init__(self, lines: Lines, sample: float) -> None:
        self._lines: Final = lines
        self._sample: Final = sample
        self._second = -1
        self._second_text = ""
        # Texts that come again and again, made once; bounded, since hosts come from strangers.
        self._authorities: dict[bytes, str] = {}
        self._endpoints: dict[Endpoint, str] = {}
        self._workloads: dict[Workload, str] = {}

    def finished(self, record: Record) -> None:
        """Puts the record's line where lines wait to be written, unless sampling leaves it out."""
        if self._sample < 1.0 and not record.is_notable and random() >= self._sample:
            return
        self._lines.put(self.line(record))

    def line(self, record: Record) -> str:
        """Cost: 2 us, compiled."""
        reason = record.reason
        decision = record.decision
        head = record.head
        took_s = record.ended_s - record.started_s
        time_text = self._time(record.ended_at_s - took_s)
        who = request = routed = ids = ""
        if head is not None:
            target = head.target
            query = target.find(b"?")
            if query >= 0:
                target = target[: query + 1]
            version = "HTTP/2" if head.is_http2 else "HTTP/1.0" if head.http10 else "HTTP/1.1"
            request = (
                f',"method":"{text(head.method, MAX_METHOD)}","authority":"{self._authority(record.authority)}"'
                f',"target":"{text(target, MAX_TARGET)}","protocol":"{version}"'
            )
            traceparent, request_id = identifiers(head)
            if traceparent:
                trace = trace_parts(traceparent)
                if trace is not None:
                    ids = f',"trace_id":"{trace[0].decode("ascii")}"'
            if request_id:
                ids += f',"request_id":"{text(request_id, MAX_REQUEST_ID)}"'
        if record.grpc_status != NO_CALL:
            routed = f',"grpc_status":{record.grpc_status}'
        routed += f',"decision":"{record.kind}"'
        if reason is not None:
            routed += f',"reason":"{reason.name}"'
            flag = record.flag
            if flag:
                routed += f',"flag":"{flag}"'
        if decision is not None:
            if decision.reason is not reason:
                routed += f',"decided":"{decision.reason.name}"'
            if decision.note is not None:
                routed += f',"note":"{decision.note.name}"'
            if decision.sandbox is not None:
                routed += f',"sandbox":"{decision.sandbox}"'
        if record.key is not None:
            routed += f',"routing_key":"{record.key.decode("ascii")}"'
        if record.workload is not None:
            routed += self._workload(record.workload)
        if record.endpoint is not None:
            routed += self._endpoint(record.endpoint)
        if record.connected_s:
            who = f',"connect_us":{_microseconds(record.connected_s - record.started_s)}'
        if record.answered_s:
            who += f',"head_us":{_microseconds(record.answered_s - record.started_s)}'
        return (
            f'{{"time":"{time_text}","duration_us":{_microseconds(took_s)}{who}{request},"status":{record.status}{routed}'
            f',"attempts":{record.attempts},"request_bytes":{record.request_bytes}'
            f',"response_bytes":{record.response_bytes},"peer":"{text(record.peer, MAX_PEER)}"{ids}}}\n'
        )

    def _time(self, at_s: float) -> str:
        second = int(at_s)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._second_text + _MILLISECONDS[int((at_s - second) * 1000)]

    def _authority(self, host: bytes) -> str:
        found = self._authorities.get(host)
        if found is None:
            if len(self._authorities) >= _REMEMBERED_AT_MOST:
                self._authorities.clear()
            found = self._authorities[host] = text(host, MAX_AUTHORITY)
        return found

    def _endpoint(self, endpoint: Endpoint) -> str:
        found = self._endpoints.get(endpoint)
        if found is None:
            if len(self._endpoints) >= _REMEMBERED_AT_MOST:
                self._endpoints.clear()
            found = self._endpoints[endpoint] = f',"endpoint":"{endpoint}"'
        return found

    def _workload(self, workload: Workload) -> str:
        found = self._workloads.get(workload)
        if found is None:
            if len(self._workloads) >= _REMEMBERED_AT_MOST:
                self._workloads.clear()
            found = self._workloads[workload] = f',"workload":"{workload}"'
        return found


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6) if seconds > 0 else 0


def text(value: bytes, limit: int) -> str:
    """The value as the inside of a JSON string of at most `limit` bytes."""
    if len(value) <= limit and not value.translate(None, _PLAIN):
        return value.decode("ascii")
    return _escaped(value, limit)


def _escaped(value: bytes, limit: int) -> str:
    """The same for what is long or strange. Bytes that are no UTF-8 are shown as `\\xff`."""
    pieces: list[str] = []
    left = limit - len(_ELLIPSIS)
    shown = value[:limit].decode("utf-8", "backslashreplace")
    for character in shown:
        piece = "\\u007f" if character == "\x7f" else encode_basestring_ascii(character)[1:-1]
        left -= len(piece)
        if left < 0:
            break
        pieces.append(piece)
    else:
        if len(value) <= limit:
            return "".join(pieces)
    return "".join(pieces) + _ELLIPSIS
