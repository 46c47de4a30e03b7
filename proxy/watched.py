"""An exchange that is watched: the same, and it notes what the access log and traces tell.

Where neither is on, exchanges are plain ones and nothing here runs.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from proxy.codec.events import RequestHead, ResponseHead
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.routing.names import Endpoint
from proxy.sides import Downstream, Port, Upstream
from proxy.telemetry.record import Record
from proxy.telemetry.watch import Watch


def new_exchange(port: Port, downstream: Downstream, head: RequestHead) -> Exchange:
    """The exchange of a request that arrived at this port, not yet started."""
    watch = port.watch if port.watch is not None else port.asked.watch
    return Exchange(port, downstream, head) if watch is None else WatchedExchange(port, downstream, head, watch)


class WatchedExchange(Exchange):
    __slots__ = ("_record", "_watch")

    def __init__(self, port: Port, downstream: Downstream, head: RequestHead, watch: Watch) -> None:
        super().__init__(port, downstream, head)
        self._watch: Final = watch
        self._record: Final = Record(head, downstream.peer, self._started_s)

    def _send_head(self, upstream: Upstream) -> None:
        record = self._record
        record.attempts += 1
        record.endpoint = upstream.endpoint
        record.connected_s = perf_counter()
        super()._send_head(upstream)

    def attempt_failed(self, reason: Reason, endpoint: Endpoint) -> None:
        self._record.attempts += 1
        self._record.endpoint = endpoint
        super().attempt_failed(reason, endpoint)

    def request_body(self, data: bytes) -> None:
        self._record.request_bytes += len(data)
        super().request_body(data)

    def response_head(self, head: ResponseHead) -> None:
        if head.status >= 200 or head.status == 101:
            self._record.answered_s = perf_counter()
        super().response_head(head)

    def response_body(self, data: bytes) -> None:
        self._record.response_bytes += len(data)
        super().response_body(data)

    def _finish(self) -> None:
        super()._finish()
        record = self._record
        record.decision = self.decision
        record.reason = self.reason
        record.status = self._status
        if self.head.is_grpc:
            record.grpc_status = self._grpc_status
        record.key = self._reading.key
        record.authority = self._host
        if hasattr(self, "_place"):  # else it arrived nowhere
            record.workload = self._place.decider.workload
        self._watch.finished(record)
