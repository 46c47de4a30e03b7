"""A span for each request, by an OpenTelemetry SDK that is configured as usual (`OTEL_*`).

Imported with `--traces otel` alone, as is `opentelemetry`.

The span is a child of the caller's span and a sibling of the service's: the `traceparent` goes on as it came (SPEC 4),
so the service hangs its own span onto the caller's too. That is what happened: the caller asked once, and two answered
for it, one within the other in time. Whoever rewrote the header would change requests, and a trace would break wherever
spans of the proxy are not collected. So the proxy's spans can be switched on, off and sampled without any other span
noticing. A request without a `traceparent` gets a trace of its own, which nothing joins; `OTEL_TRACES_SAMPLER`
`parentbased_always_off` leaves these out.

Spans are made when requests are over, with their times; so a sampler sees all attributes, and nothing is paid before.
The incoming `sampled` flag counts as the sampler says: by default it decides. The SDK exports in a thread of its own.

Spec: OpenTelemetry's semantic conventions for HTTP spans (stable), and for gRPC.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from proxy.codec.events import RequestHead
from proxy.routing.authority import split_authority
from proxy.telemetry.record import NO_CALL, Record, identifiers, trace_parts

_METHODS: Final = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_MAX_PATH: Final = 1024
_ROOT: Final = Context()
# In a sampler's description. Spec: OpenTelemetry SDK, "ParentBased"; so it is by default.
_UNSAMPLED_OFF: Final = "remoteParentNotSampled:AlwaysOffSampler"
_GROUP: Final = "opentelemetry_traces_exporter"
_SAY_AGAIN_S: Final = 60.0
_MAX_SAID: Final = 300

_log = logging.getLogger(__name__)


class NoExporter(LookupError):
    """No exporter of this name is installed."""


class _Voice(logging.Handler):
    """Of the SDK and its exporters, which say the same again and again: each kind once in a while, with what to do."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: Final[dict[str, float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        kind = str(record.msg)[:40]
        if now_s - self._said_s.get(kind, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said_s[kind] = now_s
            said = record.getMessage()[:_MAX_SAID]
            _log.warning("traces: requests go on; the OpenTelemetry SDK (OTEL_EXPORTER_OTLP_ENDPOINT) says: %s", said)


class Spans:
    """Makes spans, until `close`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer: Final = provider.get_tracer("pointsman")
        self._shutdown: Final = provider.shutdown
        # Then the SDK need not be asked what it will say, which costs it 14 us.
        self._leaves_unsampled_out: Final = _UNSAMPLED_OFF in provider.sampler.get_description()

    def make(self, record: Record) -> None:
        """The span of a request that is over. Cost: 35 us and more where it is sampled."""
        head = record.head
        if head is None:
            return
        parts = trace_parts(identifiers(head)[0])
        if parts is not None and self._leaves_unsampled_out and not parts[2] & TraceFlags.SAMPLED:
            return
        ended_ns = int(record.ended_at_s * 1e9)
        span = self._tracer.start_span(
            _name(head),
            context=_ROOT if parts is None else _parent(head, parts),
            kind=SpanKind.SERVER,
            attributes=_attributes(record, head),
            start_time=ended_ns - int((record.ended_s - record.started_s) * 1e9),
        )
        if not span.is_recording():
            return
        if record.has_failed:
            fault = record.reason.text if record.flag and record.reason is not None else None
            span.set_status(Status(StatusCode.ERROR, fault))
        span.end(ended_ns)

    def close(self, limit_s: float) -> bool:
        """Sends what waits, for at most so long. Whether all was sent, or given up by the SDK."""
        thread = threading.Thread(target=self._shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(limit_s)
        return not thread.is_alive()


def spans_by(exporters: Sequence[str]) -> Spans:
    """By exporters of these names, as installed packages offer them. All else is read from `OTEL_*` by the SDK.

    Raises: NoExporter.
    """
    library = logging.getLogger("opentelemetry")
    library.propagate = False
    library.handlers = [_Voice()]
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "pointsman"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in exporters:
        found = next(iter(entry_points(group=_GROUP, name=name)), None)
        if found is None:
            raise NoExporter(name)
        provider.add_span_processor(BatchSpanProcessor(found.load()()))
    return Spans(provider)


def _parent(head: RequestHead, parts: tuple[int, int, int]) -> Context:
    trace, parent, flags = parts
    state = TraceState.from_header([line.decode("latin-1") for line in head.tracestate]) if head.tracestate else None
    context = SpanContext(trace, parent, True, TraceFlags(flags), state)
    return set_span_in_context(NonRecordingSpan(context), _ROOT)


def _method(head: RequestHead) -> str:
    return head.method.decode("latin-1")


def _name(head: RequestHead) -> str:
    if head.is_grpc:
        return _path(head)[1:]
    method = _method(head)
    return method if method in _METHODS else "HTTP"


def _path(head: RequestHead) -> str:
    """Without the query, which may hold secrets."""
    return head.target.partition(b"?")[0][:_MAX_PATH].decode("latin-1")


def _attributes(record: Record, head: RequestHead) -> dict[str, str | int]:
    method, path = _method(head), _path(head)
    peer = record.peer.decode("latin-1")
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.path": path,
        "url.scheme": "http",
        "network.protocol.version": "2" if head.is_http2 else "1.0" if head.http10 else "1.1",
        "network.peer.address": peer,
        "client.address": peer,
        "pointsman.decision": record.kind,
    }
    if method not in _METHODS:
        attributes["http.request.method"] = "_OTHER"
        attributes["http.request.method_original"] = method[:32]
    _add_server(attributes, record.authority)
    if record.status:
        # HTTP/2 says 200 to a tunnel, and gRPC to calls that the proxy refuses.
        is_200 = (head.is_http2 and record.status == 101) or (head.is_grpc and not record.answered_s)
        attributes["http.response.status_code"] = 200 if is_200 else record.status
    if record.grpc_status != NO_CALL:
        code = record.grpc_status
        attributes["rpc.system.name"] = "grpc"
        attributes["rpc.method"] = path[1:]
        attributes["rpc.response.status_code"] = _CODES[code] if code < len(_CODES) else str(code)
    if record.reason is not None:
        attributes["pointsman.reason"] = record.reason.name
        if record.has_failed:
            attributes["error.type"] = _error_type(record)
    if record.decision is not None and record.decision.sandbox is not None:
        attributes["pointsman.sandbox"] = record.decision.sandbox
    if record.key is not None:
        attributes["pointsman.routing_key"] = record.key.decode("ascii")
    if record.workload is not None:
        attributes["pointsman.workload"] = str(record.workload)
    if record.endpoint is not None:
        attributes["pointsman.endpoint"] = str(record.endpoint)
    return attributes


def _add_server(attributes: dict[str, str | int], authority: bytes) -> None:
    parts = split_authority(authority)
    if parts is None:
        return
    host, port = parts
    attributes["server.address"] = host.decode("latin-1")
    if port:
        attributes["server.port"] = port


def _error_type(record: Record) -> str:
    if record.flag and record.reason is not None:
        return record.reason.name
    if record.grpc_status > 0:
        return _CODES[record.grpc_status]
    return str(record.status)
