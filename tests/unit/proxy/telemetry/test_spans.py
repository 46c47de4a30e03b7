"""Attributes are named and filled as OpenTelemetry's semantic conventions say (its own list of names is compared)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

pytest.importorskip("opentelemetry.sdk", reason="no opentelemetry-sdk here (pip install 'pointsman[traces]')")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.semconv._incubating.attributes import rpc_attributes
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode

from proxy import errors
from proxy.routing.decision import Decision
from proxy.telemetry.record import Record
from proxy.telemetry.spans import NoExporter, Spans, spans_by
from tests.support.h2script import connect_head, http2_head
from tests.support.records import AT_S, PARENT, TRACE, TRACEPARENT, grpc_head, h1_head, record, refused_record

MODULES = (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    rpc_attributes,
    server_attributes,
    url_attributes,
)
CONVENTIONAL = {value for module in MODULES for name, value in vars(module).items() if name.isupper()}


def spans_of(*records: Record, sampler: Sampler | None = None) -> Sequence[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Spans(provider)
    for each in records:
        spans.make(each)
    return exporter.get_finished_spans()


def span_of(made: Record) -> ReadableSpan:
    (span,) = spans_of(made)
    return span


def attributes_of(made: Record) -> Mapping[str, object]:
    return dict(span_of(made).attributes or {})


def test_every_name_is_the_conventions_or_ours() -> None:
    made = (
        record(h1_head(method="BREW")),
        record(grpc_head(), grpc_status=14, reason=errors.UPSTREAM_CLOSED, status=502, authority=b"a:1"),
    )
    names = {name for each in made for name in attributes_of(each)}
    assert {name for name in names if not name.startswith("pointsman.")} <= CONVENTIONAL
    assert len(names) == 20


def test_times_and_kind() -> None:
    span = span_of(record())
    assert span.kind is SpanKind.SERVER
    assert (span.start_time, span.end_time) == (int((AT_S - 1) * 1e9), int(AT_S * 1e9))


class TestParent:
    def test_the_callers(self) -> None:
        span = span_of(record(h1_head(f"traceparent: {TRACEPARENT}")))
        assert span.context is not None
        assert span.parent is not None
        assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
        assert span.parent.is_remote
        assert span.context.trace_id == span.parent.trace_id
        assert span.context.span_id != span.parent.span_id

    def test_in_http2(self) -> None:
        span = span_of(record(http2_head(("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "b=2"))))
        assert span.parent is not None
        assert span.parent.trace_state.to_header() == "a=1,b=2"

    @pytest.mark.parametrize("state", ["", "nonsense", "a=\xff", "a=1,,b=2", ",".join(f"k{n}=v" for n in range(60))])
    def test_a_tracestate_of_any_kind(self, state: str) -> None:
        head = http2_head(("traceparent", TRACEPARENT), ("tracestate", state.encode("latin-1")))
        assert span_of(record(head)).parent is not None

    @pytest.mark.parametrize(
        ("sampler", "counts"),
        [
            (None, False),
            (sampling.ParentBased(sampling.ALWAYS_OFF), False),
            (sampling.ParentBased(sampling.ALWAYS_OFF, remote_parent_not_sampled=sampling.ALWAYS_ON), True),
            (sampling.ALWAYS_ON, True),
        ],
    )
    def test_not_sampled(self, sampler: Sampler | None, counts: bool) -> None:
        made = record(h1_head(f"traceparent: {TRACEPARENT[:-2]}00"))
        assert bool(spans_of(made, sampler=sampler)) is counts

    def test_none(self) -> None:
        assert span_of(record()).parent is None
        assert span_of(record(h1_head("traceparent: nonsense"))).parent is None


class TestNames:
    @pytest.mark.parametrize("method", ["GET", "QUERY"])
    def test_a_method(self, method: str) -> None:
        made = record(h1_head(method=method))
        assert span_of(made).name == method
        assert attributes_of(made)["http.request.method"] == method

    def test_an_unknown_method(self) -> None:
        made = record(h1_head(method="BREW" + "x" * 100))
        assert span_of(made).name == "HTTP"
        found = attributes_of(made)
        assert found["http.request.method"] == "_OTHER"
        assert found["http.request.method_original"] == "BREW" + "x" * 28

    def test_a_call(self) -> None:
        made = record(grpc_head(), grpc_status=0)
        assert span_of(made).name == "hotrod.Location/Echo"
        found = attributes_of(made)
        assert (found["rpc.system.name"], found["rpc.method"]) == ("grpc", "hotrod.Location/Echo")
        assert found["rpc.response.status_code"] == "OK"


@pytest.mark.parametrize(
    ("authority", "address", "port"),
    [
        (b"location", "location", None),
        (b"Location.:8081", "location", 8081),
        (b"[::1]:80", "::1", 80),
        (b"", None, None),
        (b"a:1,b:2", None, None),
    ],
)
def test_the_server(authority: bytes, address: str | None, port: int | None) -> None:
    found = attributes_of(record(authority=authority))
    assert (found.get("server.address"), found.get("server.port")) == (address, port)


def test_no_secrets() -> None:
    found = attributes_of(record(h1_head(target="/a?token=secret")))
    assert found["url.path"] == "/a"
    assert not [value for value in found.values() if "secret" in str(value)]


def test_it_is_bounded() -> None:
    assert len(str(attributes_of(record(h1_head(target="/" + "a" * 9000)))["url.path"])) == 1024


class TestStatus:
    @pytest.mark.parametrize(
        ("made", "code", "error", "text"),
        [
            (record(), StatusCode.UNSET, None, None),
            (record(status=404), StatusCode.UNSET, None, None),
            (record(status=500), StatusCode.ERROR, "500", None),
            (
                record(reason=errors.UPSTREAM_TRUNCATED),
                StatusCode.ERROR,
                "upstream_truncated",
                errors.UPSTREAM_TRUNCATED.text,
            ),
            (
                record(status=0, reason=errors.DOWNSTREAM_CLOSED),
                StatusCode.ERROR,
                "downstream_closed",
                errors.DOWNSTREAM_CLOSED.text,
            ),
            (
                record(decision=Decision(errors.GONE_KEY, "none", None, None, 424), reason=errors.GONE_KEY, status=424),
                StatusCode.UNSET,
                None,
                None,
            ),
            (
                record(
                    decision=Decision(errors.SANDBOX_UNREACHABLE, "baseline", None, None, 0),
                    reason=errors.SANDBOX_UNREACHABLE,
                ),
                StatusCode.UNSET,
                None,
                None,
            ),
            (record(grpc_head(), grpc_status=5), StatusCode.UNSET, None, None),
            (record(grpc_head(), grpc_status=13), StatusCode.ERROR, "INTERNAL", None),
        ],
    )
    def test_by_what_came_of_it(self, made: Record, code: StatusCode, error: str | None, text: str | None) -> None:
        span = span_of(made)
        assert (span.status.status_code, span.status.description) == (code, text)
        assert attributes_of(made).get("error.type") == error

    def test_what_stood_on_the_wire(self) -> None:
        refused = record(grpc_head(), status=424, grpc_status=9, answered_s=0.0)
        tunnel = record(connect_head(), status=101)
        none = record(status=0, reason=errors.DOWNSTREAM_CLOSED)
        assert attributes_of(refused)["http.response.status_code"] == 200
        assert attributes_of(tunnel)["http.response.status_code"] == 200
        assert attributes_of(record(status=101))["http.response.status_code"] == 101
        assert "http.response.status_code" not in attributes_of(none)

    def test_an_unknown_grpc_status(self) -> None:
        assert attributes_of(record(grpc_head(), grpc_status=99))["rpc.response.status_code"] == "99"


def test_what_was_no_request_has_no_span() -> None:
    assert not spans_of(refused_record())


def test_an_exporter_that_is_not_there() -> None:
    with pytest.raises(NoExporter, match="pigeon"):
        spans_by(("pigeon",))
