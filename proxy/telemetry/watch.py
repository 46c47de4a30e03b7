"""Who is told of each request that is over: the access log, traces. Where nobody is, there is no `Watch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter
from typing import Final

from proxy.errors import Reason
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.record import Record


class Watch:
    """`trace` makes a span of a record; `probe` notes it, while somebody asks (`probes`)."""

    __slots__ = ("_log", "_trace", "probe")

    def __init__(
        self,
        log: AccessLog | None,
        trace: Callable[[Record], None] | None,
        probe: Callable[[Record], None] | None = None,
    ) -> None:
        self._log: Final = log
        self._trace: Final = trace
        self.probe = probe

    def finished(self, record: Record) -> None:
        record.ended_s = perf_counter()
        record.ended_at_s = time.time()
        if self._log is not None:
            self._log.finished(record)
        if self._trace is not None and record.head is not None:
            self._trace(record)
        if self.probe is not None:
            self.probe(record)

    def refused(self, reason: Reason, peer: bytes) -> None:
        """What was no request, and was answered (or ended) without a decision."""
        record = Record(None, peer, perf_counter())
        record.reason = reason
        record.status = reason.status
        self.finished(record)


class Asked:
    """`watch`: told of requests where nobody else is, while somebody asks for them (`probes`)."""

    __slots__ = ("watch",)

    def __init__(self) -> None:
        self.watch: Watch | None = None
