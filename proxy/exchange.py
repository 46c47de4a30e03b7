"""THE hot path: one request and its response, in any HTTP version, from head to last byte.

Read it top to bottom; a request goes the same way:

    start            the head arrived: read the key, find the place, decide
    _enter_preview   off the common path: the host is no service's, but a preview's
    _forward         choose the endpoint; a pooled connection, or a new one
    connected        the head goes upstream
    request_body     pieces of the request follow, as they come
    response_head    the upstream answers
    response_body    pieces of the response follow
    response_end     the last byte, or of a tunnel (101) one side's
    _finish          counted, both connections are free again

and, where something fails: `connect_failed`, `upstream_failed`, `downstream_failed`.

The exchange does no I/O and knows no HTTP version. It talks to three things that `net` implements (`sides`): its
`Downstream`, its `Upstream`, and the `UpstreamPool`. It streams both ways and holds no body: whoever cannot write asks
the other side to stop reading (`pause_reading`), and pauses are counted there, because several parties may hold one.

What is forwarded is what came (SPEC 4). Nothing in a request names the place it goes to; only the table does.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final

from proxy import errors
from proxy.answers import decision_field, grpc_head, grpc_lines, grpc_timeout_s, own_head
from proxy.codec.edits import append_forwarded, set_host, set_one_line
from proxy.codec.events import END, NO_BODY, End, Prepared, RequestHead, ResponseHead, add_piece
from proxy.errors import Reason, Side
from proxy.places import Place
from proxy.routing.baggage import joined_lines
from proxy.routing.decision import AS_IT_CAME, CALLER_DECISION, HTTP2, Decision, decision_text
from proxy.routing.key import NO_READING, KeyReading
from proxy.routing.names import Endpoint
from proxy.sides import NO_CODE, Downstream, Port, Upstream

if TYPE_CHECKING:
    from proxy.preview.gateway import Gateway

# So many bytes of a request's body are kept until the upstream answers, for the case that it refuses the stream unread.
_MAX_REPLAY: Final = 65536
# RFC 9110 section 9.2.2
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_attempt_reason",
        "_attempts",
        "_downstream",
        "_end",
        "_endpoints",
        "_gateway",
        "_grpc_status",
        "_host",
        "_is_http2",
        "_is_waiting",
        "_place",
        "_port",
        "_reading",
        "_replay",
        "_replay_bytes",
        "_response_ended",
        "_started_s",
        "_status",
        "_upstream",
        "decision",
        "endpoint",
        "head",
        "is_over",
        "reason",
        "request_ended",
    )

    def __init__(self, port: Port, downstream: Downstream, head: RequestHead) -> None:
        self._port = port
        self._downstream = downstream
        self.head = head
        self._started_s = perf_counter()
        self._upstream: Upstream | None = None
        self._is_waiting = False  # for a connection, with the downstream's reading paused
        self.request_ended = head.body == NO_BODY  # the whole request was read
        self._status = 0  # of the final response head sent downstream; 0: none yet
        self._attempts = 0
        self._attempt_reason = errors.SANDBOX_UNREACHABLE
        self._response_ended = False  # of a tunnel, while the other direction is still open
        self._is_http2 = False  # towards the upstream
        self._gateway: Gateway | None = None  # by which it came, as a request for a preview
        self._replay: list[bytes] = []  # what was sent of the body, towards HTTP/2, until the upstream answers
        self._replay_bytes = 0  # _TOO_LONG: it was too much to keep
        self._end = END
        self._grpc_status = _GRPC_UNKNOWN  # a call that ends without a status
        self.is_over = False

    # --- the request ---

    def start(self) -> None:
        """Decides, and forwards or answers. Cost: independent of the table's size."""
        port, head = self._port, self.head
        self._reading: KeyReading = port.reader.read(head.baggage, head.tracestate, head.key_fields)
        self._host = head.host
        place = port.places.find(self._host)
        if place is None:
            place = self._enter_preview()
            if place is None:
                return
        elif place.callers is not None and not port.identities.may_call(place.callers, head, self._downstream.peer):
            self._refuse(CALLER_DECISION)
            return
        self._place: Place = place
        self.decision: Decision = place.decider.decide(self._reading, place.view, place.number, head.hops)
        self.reason: Reason = self.decision.reason
        if self._downstream.is_looped:
            self.reason = errors.LOOP
            self._answer(errors.LOOP.status)
            return
        if self.decision.status:
            if self.reason is not errors.NO_DESTINATION or not self._may_fall_back():
                self._answer(self.decision.status)
                return
            self._decide(_NO_DESTINATION_BASELINE)
        if len(head.baggage) > 1:
            self._join(b"baggage", head.baggage)
        if len(head.tracestate) > 1:
            self._join(b"tracestate", head.tracestate)
        if port.appends_forwarded and self._gateway is None:
            append_forwarded(head, self._downstream.peer)
        hop = place.hop if self.decision.mapping is not None else place.baseline_hop
        if hop is not None:
            head.append(hop)
        self._forward()

    def _enter_preview(self) -> Place | None:
        """No service has this host, but it may be a preview's: then the head becomes one for its upstream, under its
        key. None: it was answered."""
        port, head = self._port, self.head
        gateway = port.gateway
        arrival = gateway.arrive(head, self._downstream.peer, port.identities) if gateway is not None else None
        if arrival is None:
            self._refuse(port.places.why_none())
            return None
        if arrival.place is not None:
            self._gateway = gateway
            self._reading = port.reader.read(head.baggage, head.tracestate)
            return arrival.place
        self._reading = NO_READING
        if arrival.page is None or head.is_grpc:
            self._refuse(arrival.decision)
        else:
            self._decide(arrival.decision)
            self._send_head(arrival.page)
        return None

    def _refuse(self, decision: Decision) -> None:
        """Nobody's request, or not this caller's."""
        self._decide(decision)
        self._answer(decision.status)

    def _decide(self, decision: Decision) -> None:
        self.decision = decision
        self.reason = decision.reason

    def _forward(self) -> None:
        decision, port = self.decision, self._port
        self._endpoints: Sequence[Endpoint]
        if decision.mapping is None:
            self._endpoints = self._place.baseline
            version = port.baseline_version
        else:
            self._endpoints = decision.destinations
            version = decision.version
        self._is_http2 = self.head.is_http2 if version == AS_IT_CAME else version == HTTP2
        upstream = port.pool.take(self._endpoints, is_http2=self._is_http2)
        if upstream is not None:
            self._send_head(upstream)
        else:
            self._connect()

    def _connect(self) -> None:
        if not self.request_ended and not self._is_waiting:
            self._is_waiting = True
            self._downstream.pause_reading()
        self._port.pool.connect(self._endpoints, self, is_http2=self._is_http2)

    def _join(self, name: bytes, values: Sequence[bytes]) -> None:
        """Several lines become one, since some SDKs read only the first (SPEC 4); counted where that is too long."""
        joined = joined_lines(values)
        if joined is None:
            self._port.metrics.lines_not_joined += 1
        else:
            set_one_line(self.head, name, joined)

    def connected(self, upstream: Upstream) -> None:
        """A new connection stands. Not called when the exchange `is_over`."""
        self._send_head(upstream)

    def _send_head(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.endpoint = upstream.endpoint
        if self.decision.rewrites_host or not self.head.host:
            set_host(self.head, str(self.endpoint).encode())
        if not self._attempts:
            self._port.metrics.forwarded(perf_counter() - self._started_s)
        upstream.send_head(self.head, self)
        if self._replay or self._attempts:
            self._send_again(upstream)
        if self._is_waiting:
            self._is_waiting = False
            self._downstream.resume_reading()

    def _send_again(self, upstream: Upstream) -> None:
        """What another upstream refused unread."""
        for data in self._replay:
            upstream.send_body(data)
        if self.request_ended and self.head.body != NO_BODY:
            upstream.send_end(self._end)

    def request_body(self, data: bytes) -> None:
        if self._is_http2 and self._replay_bytes != _TOO_LONG:
            self._keep(data)
        if self._upstream is not None:
            self._upstream.send_body(data)

    def _keep(self, data: bytes) -> None:
        self._replay_bytes += len(data)
        if self._status or self._replay_bytes > _MAX_REPLAY:
            self._replay_bytes = _TOO_LONG
            self._replay = []
        else:
            add_piece(self._replay, data)

    def request_end(self, end: End) -> None:
        self.request_ended = True
        self._end = end
        if self._upstream is not None:
            self._upstream.send_end(end)
        if self._response_ended:
            self._finish()
            self._downstream.send_end(end)

    # --- the response ---

    def response_head(self, head: ResponseHead) -> None:
        status = head.status
        if self._gateway is not None:
            self._gateway.clean(head)
        if status < 200 and status != 101:
            self._downstream.send_interim(head)
            return
        if self.head.is_http2 and self.head.upgrade and status < 300 and status != 101:
            self._refuse_upgrade()
            return
        self._status = status
        key = self._reading.key
        if key is not None:
            self._count(key)
        if self._replay:
            self._replay = []
        self._grpc_status = head.grpc_status if head.grpc_status >= 0 else _GRPC_UNKNOWN
        if self._port.decision_field:
            head.append(self._decision_field())
        if status == 101:
            self.request_ended = False  # what comes from now on is not HTTP, in either direction
            self._downstream.send_head(head)
        else:
            # After an early answer the rest of the request is most likely not wanted (CHECKLIST 25), and after an
            # upgrade that was refused nobody can tell what the next bytes are meant to be (CHECKLIST 38).
            self._downstream.send_head(head, is_last=not self.request_ended or bool(self.head.upgrade))

    def _count(self, key: bytes) -> None:
        """Whose response head a tagged request got: the guard against a false green (`telemetry.traffic`)."""
        traffic = self._place.traffic
        if traffic is None:
            return
        if self.decision.mapping is not None:
            traffic.from_sandbox(key)
        else:
            traffic.from_baseline(key)

    def _refuse_upgrade(self) -> None:
        """An HTTP/1.1 upstream that answers as if nothing else was asked for: said in HTTP/2, that is a tunnel."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.cancel()
        self._fail(errors.UPGRADE_REFUSED)

    def response_body(self, data: bytes) -> None:
        self._downstream.send_body(data)

    def response_end(self, end: End) -> None:
        """The last byte. If the request is still being sent, the upstream did not want the rest of it."""
        if self._status == 101 and not self.request_ended:
            self._response_ended = True
        else:
            if end.grpc_status >= 0:
                self._grpc_status = end.grpc_status
            self._finish()
        self._downstream.send_end(end)

    def flush(self) -> None:
        self._downstream.flush()

    def _finish(self) -> None:
        self.is_over = True
        self._upstream = None
        metrics = self._port.metrics
        metrics.finished(self.decision, self.reason, self._status, perf_counter() - self._started_s, self.head)
        if self.head.is_grpc:
            metrics.grpc_finished(self.decision, self._grpc_status)

    # --- backpressure ---

    def downstream_is_full(self) -> None:
        if self._upstream is not None:
            self._upstream.pause_reading()

    def downstream_is_free(self) -> None:
        if self._upstream is not None:
            self._upstream.resume_reading()

    def upstream_is_full(self) -> None:
        self._downstream.pause_reading()

    def upstream_is_free(self) -> None:
        self._downstream.resume_reading()

    # --- what can go wrong ---

    def attempt_failed(self, reason: Reason, endpoint: Endpoint) -> None:
        """No connection to one address of `endpoint`; others may still be tried."""
        self.endpoint = endpoint
        self._attempt_reason = reason
        self._port.metrics.upstream_failed(self.decision, reason)

    def connect_failed(self, reason: Reason | None = None) -> None:
        """No connection to any address. `reason`, if it is not the last attempt's. Nothing was sent."""
        if self.is_over:
            return
        if reason is None:
            reason = self._attempt_reason
        if reason not in _NOT_THE_SANDBOX and self._may_fall_back():
            self._fall_back()
        else:
            self._fail(reason)

    def upstream_failed(self, reason: Reason, code: int = NO_CODE) -> None:
        """The connection broke, or what came over it was no answer. `reason` says which; `code` is the HTTP/2 error
        code with which the upstream ended the stream, if it did."""
        if self.is_over:
            return
        upstream = self._upstream
        self._upstream = None
        self._port.metrics.upstream_failed(self.decision, reason)
        if self._response_ended:
            self._finish()  # of a tunnel: the upstream had said all, and does not hear the rest
            self._downstream.send_end(END)
        elif self._status:
            self._truncate(code)
        elif upstream is not None and self._may_retry(upstream, reason):
            self._attempts += 1
            self._port.metrics.upstream_retries += 1
            self._connect()
        else:
            self._fail(reason)

    def _truncate(self, code: int) -> None:
        """The response broke off. A gRPC call still gets a status, unless the upstream ended its stream with a code."""
        self.reason = errors.UPSTREAM_TRUNCATED
        if self.head.is_grpc and self._status != 101 and code == NO_CODE:
            self._grpc_status = self.reason.grpc_status
            self._finish()
            self._downstream.send_end(End(grpc_lines(self._grpc_status, self.reason, self._details())))
        else:
            self._finish()
            self._downstream.abort(code)

    def downstream_failed(self, reason: Reason = errors.DOWNSTREAM_CLOSED) -> None:
        """The downstream left, or broke the rules in the middle of its body: both connections die (CHECKLIST 4, 6)."""
        if self.is_over:
            return
        upstream = self._upstream
        self.reason = reason
        self._grpc_status = reason.grpc_status
        self._finish()
        if upstream is not None:
            upstream.cancel()

    @property
    def upstream_active_at_s(self) -> float:
        """When the upstream side last moved; 0 while there is none."""
        return self._upstream.active_at_s if self._upstream is not None else 0.0

    @property
    def is_routed(self) -> bool:
        """Whether the table in force still leads this request where it went. Asked of tunnels only."""
        if self._gateway is not None:
            place = self._gateway.place_of(self._host)
        else:
            place = self._port.places.find(self._host)
        if place is None:
            return False
        if self.decision.mapping is None:
            return self.endpoint in place.baseline
        return self.endpoint in place.decider.decide(self._reading, place.view, place.number).destinations

    def route_ended(self) -> None:
        """A tunnel whose route left the table has had its time."""
        self.downstream_failed(errors.ROUTE_REMOVED)
        self._downstream.abort()

    def stream_timed_out(self) -> None:
        """Neither side moved for too long."""
        upstream = self._upstream
        if self._status:
            self.downstream_failed(errors.STREAM_TIMEOUT)
            self._downstream.abort()
            return
        if upstream is not None:
            self._upstream = None
            upstream.cancel()
        self._fail(errors.UPSTREAM_TIMEOUT if self.request_ended else errors.REQUEST_TIMEOUT)

    def _may_retry(self, upstream: Upstream, reason: Reason) -> bool:
        """What the upstream said it did not process, as long as all of it is still here; and, once, where a pooled
        connection turned out stale under an idempotent request without a body.

        Spec: RFC 9113 section 8.7; RFC 9110 section 9.2.2, RFC 9112 section 9.3.1. Whatever else was sent may have been
        executed.
        """
        if reason is errors.UPSTREAM_REFUSED:
            return self._attempts < _MAX_ATTEMPTS and self._replay_bytes != _TOO_LONG
        if reason is not errors.UPSTREAM_CLOSED or self._attempts or not upstream.is_reused:
            return False
        is_tunnel = self.head.is_http2 and bool(self.head.upgrade)  # CONNECT, which is a GET in HTTP/1.1
        return self.head.body == NO_BODY and (is_tunnel or self.head.method in _IDEMPOTENT)

    def _may_fall_back(self) -> bool:
        """`--on-sandbox-failure baseline`: only before any byte was sent, never for strict requests (SPEC 4), nor for a
        preview, whose visitor sees a page and no decision."""
        may = self._port.failure_to_baseline and self._attempts == 0 and not self._reading.strict
        return may and self._gateway is None and self.decision.mapping is not None

    def _fall_back(self) -> None:
        """To the baseline, marked as what goes there."""
        self._decide(_UNREACHABLE_BASELINE)
        self.head.take_out(self._place.hop)
        if self._place.baseline_hop is not None:
            self.head.append(self._place.baseline_hop)
        self._forward()

    def _fail(self, reason: Reason) -> None:
        if self.decision.mapping is None:
            reason = _OF_BASELINE.get(reason, reason)
        self.reason = reason
        self._answer(reason.status)

    def _answer(self, status: int) -> None:
        """Our own answer, marked as ours. Spec: RFC 9209; the reasons are `errors`' table."""
        if self._is_waiting:
            self._is_waiting = False
            self._downstream.resume_reading()
            if self.is_over:
                return  # the body that waited was bad, and has been answered
        reason = self.reason
        strict = " (the request is strict)" if self._reading.strict and status == errors.STRICT_STATUS else ""
        is_grpc = self.head.is_grpc
        if is_grpc:
            self._grpc_status = self._grpc_status_of(status)
            body = b""
            head = grpc_head(self._grpc_status, reason, self._details(), strict)
        else:
            body = f"pointsman: {reason}: {reason.text}{strict}\n".encode()
            head = own_head(status, reason, self._details(), body)
        if self._port.decision_field:
            head.append(self._decision_field())
        self._status = status  # a gRPC call's counts as the failure that it is
        self._finish()
        downstream = self._downstream
        downstream.send_head(head, is_last=not self.request_ended or bool(self.head.upgrade))
        if body and self.head.method != b"HEAD":
            downstream.send_body(body)
        downstream.send_end(END)

    def _grpc_status_of(self, status: int) -> int:
        """SPEC 4: DEADLINE_EXCEEDED only if the call's deadline has passed."""
        if status != 504:
            return self.reason.grpc_status
        timeout_s = grpc_timeout_s(self.head)
        is_past = timeout_s is not None and perf_counter() - self._started_s >= timeout_s
        return errors.GRPC_DEADLINE_EXCEEDED if is_past else errors.GRPC_UNAVAILABLE

    def _details(self) -> str:
        """`<reason>: <sandbox, endpoint>` (SPEC 4), as much of it as there is."""
        named = [self.decision.sandbox] if self.decision.sandbox else []
        if self.reason.side is Side.UPSTREAM and hasattr(self, "endpoint"):
            named.append(str(self.endpoint))
        return f"{self.reason}: {', '.join(named)}" if named else str(self.reason)

    def _decision_field(self) -> Prepared:
        decision = self.decision
        kind = "none" if self.reason is errors.LOOP else decision.kind
        return decision_field(decision_text(kind, decision.sandbox, self.reason, decision.note))


# `--on-sandbox-failure baseline`: where the request went instead, and why it did not go where its key leads.
_UNREACHABLE_BASELINE: Final = Decision(errors.SANDBOX_UNREACHABLE, "baseline", None, None, 0)
_NO_DESTINATION_BASELINE: Final = Decision(errors.NO_DESTINATION, "baseline", None, None, 0)

# What is no failure of the sandbox opens no way to the baseline.
_NOT_THE_SANDBOX: Final = (errors.DESTINATION_REFUSED, errors.OUT_OF_FILES, errors.INTERNAL_ERROR)

# A failure to connect is named after what was to be reached.
_OF_BASELINE: Final = {
    errors.SANDBOX_UNREACHABLE: errors.BASELINE_UNREACHABLE,
    errors.SANDBOX_TIMEOUT: errors.BASELINE_TIMEOUT,
}


# How often a request is sent again that upstreams refuse unread.
_MAX_ATTEMPTS: Final = 2
_TOO_LONG: Final = -1
_GRPC_UNKNOWN: Final = 2
