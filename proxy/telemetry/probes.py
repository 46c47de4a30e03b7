"""What is noted of one trace's requests while somebody asks for it (`POST /probe`): whether a marker came along, in
`baggage` and in `tracestate`. So `pointsman doctor --send` says where routing keys are lost.

Nothing of this runs unless it was asked for within the last minute. What is kept is bounded; values of others' requests
are not kept at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.telemetry.record import Record, identifiers, trace_id
from proxy.telemetry.watch import Asked, Watch

KEPT_S: Final = 60.0
MAX_PROBES: Final = 4
MAX_REQUESTS: Final = 100

_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_MARK: Final = re.compile(r"[a-z0-9]{13,63}")  # long enough to be nobody else's by chance


@dataclass(slots=True)
class _Probe:
    trace: bytes
    mark: bytes
    ends_s: float
    requests: list[dict[str, object]] = field(default_factory=list)


class Probes:
    """Of one process. `watch`: whom requests are told of anyway; None: nobody."""

    def __init__(self, asked: Asked, watch: Watch | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked: Final = asked
        self._watch: Final = watch
        self._clock: Final = clock
        self._probes: dict[bytes, _Probe] = {}

    def ask(self, body: bytes) -> dict[str, object]:
        """What is known of `{trace, mark}`, which is looked for from now on. Raises: ValueError."""
        trace, mark = _question(body)
        self._forget()
        probe = self._probes.get(trace)
        if probe is None or probe.mark != mark:
            if len(self._probes) >= MAX_PROBES:
                raise ValueError(
                    f"{MAX_PROBES} probes are under way; one is forgotten {KEPT_S:g} s after it was asked for"
                )
            probe = self._probes[trace] = _Probe(trace, mark, 0.0)
        probe.ends_s = self._clock() + KEPT_S
        if self._watch is not None:
            self._watch.probe = self._note
        else:
            self._asked.watch = Watch(None, None, self._note)
        return {"requests": probe.requests}

    def _note(self, record: Record) -> None:
        head = record.head
        if head is None:
            return
        if self._forget():
            return
        trace = trace_id(identifiers(head)[0]).encode("ascii")
        for probe in self._probes.values():
            in_baggage = any(probe.mark in value for value in head.baggage)
            in_tracestate = any(probe.mark in value for value in head.tracestate)
            has_trace = trace == probe.trace
            if (in_baggage or in_tracestate or has_trace) and len(probe.requests) < MAX_REQUESTS:
                probe.requests.append(
                    {
                        "workload": str(record.workload) if record.workload is not None else None,
                        "beganAt": record.ended_at_s - (record.ended_s - record.started_s),
                        "endedAt": record.ended_at_s,
                        "baggage": in_baggage,
                        "tracestate": in_tracestate,
                        "traceparent": has_trace,
                        "status": record.status,
                        "reason": record.reason.name if record.reason is not None else None,
                    }
                )

    def _forget(self) -> bool:
        """Leaves out probes whose time is over; whether none is left, and nothing is noted any more."""
        now_s = self._clock()
        self._probes = {trace: probe for trace, probe in self._probes.items() if probe.ends_s > now_s}
        if not self._probes:
            self._asked.watch = None
            if self._watch is not None:
                self._watch.probe = None
        return not self._probes


def _question(body: bytes) -> tuple[bytes, bytes]:
    document = json.loads(body)
    trace, mark = (document.get(name) for name in ("trace", "mark")) if isinstance(document, dict) else (None, None)
    if not isinstance(trace, str) or _TRACE.fullmatch(trace) is None:
        raise ValueError("trace: must be 32 lowercase hexadecimal digits")
    if not isinstance(mark, str) or _MARK.fullmatch(mark) is None:
        raise ValueError("mark: must be 13-63 of a-z 0-9")
    return trace.encode(), mark.encode()
