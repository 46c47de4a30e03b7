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

from proxy.codec.events import RequestHead
from proxy.routing.decision import Decision
from proxy.routing.names import Endpoint, Workload
from proxy.telemetry.lines import Lines
from proxy.telemetry.record import NO_CALL, Record, identifiers, trace_id

MAX_NAME: Final = 272  # method, authority (a DNS name with its port), peer
MAX_TARGET: Final = 1024
MAX_REQUEST_ID: Final = 128
MAX_LINE: Final = 4096

_ELLIPSIS: Final = "\\u2026"
_REMEMBERED_AT_MOST: Final = 512
_MILLISECONDS: Final = [f".{number:03d}Z" for number in range(1000)]


class AccessLog:
    """Makes lines of records. `sample`: the share of requests without errors that get one."""

    __slots__ = ("_decisions", "_endpoints", "_lines", "_names", "_sample", "_second", "_second_text", "_workloads")

    def __init__(self, lines: Lines, sample: float) -> None:
        self._lines: Final = lines
        self._sample: Final = sample
        self._second = -1
        self._second_text = ""
        # Texts that come again and again, made once. Bounded, since names come from strangers.
        self._names: dict[bytes, str] = {}
        self._decisions: dict[Decision, str] = {}
        self._endpoints: dict[Endpoint, str] = {}
        self._workloads: dict[Workload, str] = {}

    def finished(self, record: Record) -> None:
        """Puts the record's line where lines wait to be written, unless sampling leaves it out."""
        if self._sample < 1.0 and not record.is_notable and random() >= self._sample:
            return
        self._lines.put(self.line(record))

    def line(self, record: Record) -> str:
        """Cost: a tenth of a request, compiled."""
        head = record.head
        started_s = record.started_s
        took_s = record.ended_s - started_s
        request = ids = ""
        if head is not None:
            target = head.target
            if 63 in target:  # "?"
                target = target[: target.find(b"?") + 1]
            version = "HTTP/2" if head.is_http2 else "HTTP/1.0" if head.http10 else "HTTP/1.1"
            request = (
                f',"method":{self._name(head.method)},"authority":{self._name(record.authority)}'
                f',"target":{text(target, MAX_TARGET)},"protocol":"{version}"'
            )
            ids = _ids(head)
        return (
            f'{{"time":"{self._time(record.ended_at_s - took_s)}","duration_us":{_microseconds(took_s)}'
            f'{_parts(record)}{request},"status":{record.status}{self._where(record)},"attempts":{record.attempts}'
            f',"request_bytes":{record.request_bytes},"response_bytes":{record.response_bytes}'
            f',"peer":{self._name(record.peer)}{ids}}}\n'
        )

    def _time(self, at_s: float) -> str:
        second = int(at_s)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._second_text + _MILLISECONDS[int((at_s - second) * 1000)]

    def _where(self, record: Record) -> str:
        """Where the request went, and why."""
        call = f',"grpc_status":{record.grpc_status}' if record.grpc_status != NO_CALL else ""
        key = f',"routing_key":"{record.key.decode("ascii")}"' if record.key is not None else ""
        workload = self._workload(record.workload) if record.workload is not None else ""
        endpoint = self._endpoint(record.endpoint) if record.endpoint is not None else ""
        return f"{call}{self._decision(record)}{key}{workload}{endpoint}"

    def _decision(self, record: Record) -> str:
        decision = record.decision
        if decision is None or record.reason is not decision.reason:
            return _decided(record)
        found = self._decisions.get(decision)
        if found is None:
            if len(self._decisions) >= _REMEMBERED_AT_MOST:
                self._decisions.clear()
            found = self._decisions[decision] = _decided(record)
        return found

    def _name(self, name: bytes) -> str:
        found = self._names.get(name)
        if found is None:
            if len(self._names) >= _REMEMBERED_AT_MOST:
                self._names.clear()
            found = self._names[name] = text(name, MAX_NAME)
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


def _parts(record: Record) -> str:
    """Of the duration, those that there were."""
    connect_us = _microseconds(record.connected_s - record.started_s)
    head_us = _microseconds(record.answered_s - record.started_s)
    if record.connected_s and record.answered_s:
        return f',"connect_us":{connect_us},"head_us":{head_us}'
    return f',"connect_us":{connect_us}' if record.connected_s else f',"head_us":{head_us}' if record.answered_s else ""


def _decided(record: Record) -> str:
    reason, decision = record.reason, record.decision
    fields = f',"decision":"{record.kind}"'
    if reason is not None:
        fields += f',"reason":"{reason.name}"'
        if record.flag:
            fields += f',"flag":"{record.flag}"'
    if decision is not None:
        if decision.reason is not reason:
            fields += f',"decided":"{decision.reason.name}"'
        if decision.note is not None:
            fields += f',"note":"{decision.note.name}"'
        if decision.sandbox is not None:
            fields += f',"sandbox":"{decision.sandbox}"'
    return fields


def _ids(head: RequestHead) -> str:
    """By which other logs and traces name the request."""
    traceparent, request_id = identifiers(head)
    trace = trace_id(traceparent) if traceparent else ""
    fields = f',"trace_id":"{trace}"' if trace else ""
    return f'{fields},"request_id":{text(request_id, MAX_REQUEST_ID)}' if request_id else fields


def text(value: bytes, limit: int) -> str:
    """The value as a JSON string of at most `limit` bytes between its quotes."""
    plain = value.decode("latin-1")
    quoted: str = encode_basestring_ascii(plain)
    if len(quoted) == len(plain) + 2 and len(plain) <= limit:  # nothing had to be escaped
        return quoted
    return _escaped(value, limit)


def _escaped(value: bytes, limit: int) -> str:
    """The same for what is long or strange. Bytes that are no UTF-8 are shown as `\\xff`."""
    pieces: list[str] = []
    left = limit - len(_ELLIPSIS)
    is_cut = len(value) > limit
    for character in value[:limit].decode("utf-8", "backslashreplace"):
        piece = encode_basestring_ascii(character)[1:-1]
        left -= len(piece)
        if left < 0:
            is_cut = True
            break
        pieces.append(piece)
    inside = "".join(pieces)
    return f'"{inside}{_ELLIPSIS}"' if is_cut else f'"{inside}"'
