"""Receivers of spans: a collector that is not ours (Rotel), and one by OpenTelemetry's own protocol definitions.

`Receiver` is an OTLP/gRPC server whose messages are the official ones; `Collector` takes OTLP over HTTP and gRPC as any
collector does, and sends what it takes on to a receiver.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc

from tests.support.waiting import until


@dataclass(frozen=True)
class Span:
    """One span as it was received; ids in hexadecimal, attributes as Python's values."""

    name: str
    kind: str
    trace: str
    parent: str
    trace_state: str
    attributes: dict[str, object]
    resource: dict[str, object]
    status: str
    message: str
    start_ns: int
    end_ns: int


class Receiver:
    """Listens on loopback until it is stopped."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

        received: list[Span] = []

        class Traces(service.TraceServiceServicer):  # type: ignore[misc]
            def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
                received.extend(_spans(request))
                return messages.ExportTraceServiceResponse()

        self.spans = received
        self._server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
        service.add_TraceServiceServicer_to_server(Traces(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def wait_for(self, count: int) -> list[Span]:
        until(lambda: len(self.spans) >= count, f"{count} spans", within_s=20)
        return list(self.spans)

    def stop(self) -> None:
        self._server.stop(None).wait(10)


def _spans(request: Any) -> Iterator[Span]:
    from opentelemetry.proto.trace.v1 import trace_pb2

    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind),
                    trace=span.trace_id.hex(),
                    parent=span.parent_span_id.hex(),
                    trace_state=span.trace_state,
                    attributes=_values(span.attributes),
                    resource=_values(resource.resource.attributes),
                    status=trace_pb2.Status.StatusCode.Name(span.status.code),
                    message=span.status.message,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                )


def _values(pairs: Any) -> dict[str, object]:
    found = {}
    for pair in pairs:
        found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value"))
    return found


def collector_program() -> Path | None:
    """Rotel's, which its package holds."""
    spec = find_spec("rotel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "rotel-agent"


@contextlib.contextmanager
def collecting(program: Path, receiver: Receiver, log: Path) -> Iterator[dict[str, str]]:
    """A collector in front of a receiver. Gives its URLs by protocol, as OTEL_EXPORTER_OTLP_PROTOCOL calls them."""
    http, grpc_port = _unused_port(), _unused_port()
    command = [str(program), "start", "--exporter", "otlp", "--otlp-exporter-protocol", "grpc", "--disable-batching"]
    command += ["--otlp-exporter-endpoint", f"http://127.0.0.1:{receiver.port}"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until(lambda: _answers(http) and _answers(grpc_port), "the collector", within_s=20)
            yield {"http/protobuf": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc_port}"}
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait(5)


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False
