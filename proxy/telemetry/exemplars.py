"""Exemplars: one request's trace beside a bucket of a histogram, so that a slow bucket leads to a slow request.

Spec: OpenMetrics 1.0, "Exemplars" (at most 128 characters of labels); W3C Trace Context section 3.2 (traceparent). Only
traces that were sampled count, as with OpenTelemetry's SDKs (exemplar filter `trace_based`): others were never stored.
"""

from __future__ import annotations

import time
from typing import Final

from proxy.codec.events import RequestHead

_NAME: Final = b"traceparent"
_LINE: Final = b"traceparent:"
_HEX: Final = b"0123456789abcdef"
_LENGTH: Final = 55  # of version 00; later ones go on after a dash
_SAMPLED: Final = 1


class Exemplar:
    """A trace (32 hexadecimal digits), and when it took how long."""

    __slots__ = ("at_s", "elapsed_s", "trace")

    def __init__(self, trace: str, elapsed_s: float) -> None:
        self.trace: Final = trace
        self.elapsed_s: Final = elapsed_s
        self.at_s: Final = time.time()


def sampled_trace(head: RequestHead) -> str | None:
    """The id of the trace that the request belongs to, if it is sampled."""
    value = _traceparent(head)
    if len(value) < _LENGTH or (len(value) > _LENGTH and (value[:2] == b"00" or value[_LENGTH] != 45)):
        return None
    version, trace, parent, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if value[2] != 45 or value[35] != 45 or value[52] != 45 or version == b"ff":
        return None
    if (version + trace + parent + flags).translate(None, _HEX) or not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return trace.decode("ascii") if int(flags, 16) & _SAMPLED else None


def _traceparent(head: RequestHead) -> bytes:
    """Its value; of several the last, which is no worse than another. Empty: there is none."""
    value = b""
    if head.is_http2:
        for field in head.fields:
            if field.name == _NAME:
                value = field.value
        return value
    for line in head.lines:
        # The first comparison alone decides for nearly all lines.
        if line[0] | 32 == 116 and line[:12].lower() == _LINE:
            value = line[12:].strip(b" \t")
    return value
