"""Spans of a real proxy, by the OpenTelemetry SDK, at a collector that is not ours."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.client import ask, get
from tests.support.collector import Receiver, Span, collecting, collector_program
from tests.support.grpc_service import GrpcServer, serving
from tests.support.grpc_service import ask as call
from tests.support.grpc_service import connected as grpc_connected
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, table
from tests.support.records import PARENT, TRACE, TRACEPARENT


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_MISSING = [
    f"opentelemetry-exporter-otlp-proto-{protocol}"
    for protocol in ("http", "grpc")
    if not _is_there(f"opentelemetry.exporter.otlp.proto.{protocol}")
]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")

TRACES = ("--traces", "otel")
TAG = f"baggage: sd-routing-key={KEY}"
UNSAMPLED = TRACEPARENT[:-2] + "00"
# The SDK's own: a batch goes after 5 s. Tests need not wait for that.
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.stop()


def straight(receiver: Receiver, **more: str) -> dict[str, str]:
    """The variables for a proxy that sends to the receiver itself, by gRPC."""
    url = f"http://127.0.0.1:{receiver.port}"
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **QUICK, **more}


@contextlib.contextmanager
def traced(tmp_path: Path, environ: dict[str, str], *flags: str) -> Iterator[tuple[Proxy, Origin, Origin]]:
    """A proxy with a sandbox, and both origins."""
    baseline, sandbox = Origin(), Origin("sandbox")
    document = table(route(destinations=[sandbox.port]), goneKeys=["gone"])
    flags = (*TRACES, *flags)
    with (
        running(baseline, sandbox),
        run_proxy(tmp_path, baseline.port, document=document, flags=flags, environ=environ) as proxy,
    ):
        yield proxy, baseline, sandbox


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_takes_a_span(tmp_path: Path, receiver: Receiver, protocol: str) -> None:
    program = collector_program()
    if program is None:
        pytest.skip("no collector here (pip install 'rotel>=0.0.1a15')")
    before_ns = time.time_ns()
    with collecting(program, receiver, tmp_path / "collector.log") as urls:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": urls[protocol],
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_SERVICE_NAME": "location-sidecar",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
            **QUICK,
        }
        with traced(tmp_path, environ) as (proxy, _, sandbox):
            lines = (TAG, f"traceparent: {TRACEPARENT}", "tracestate: congo=t61")
            assert ask(proxy.port, get("/a?secret", *lines, host="location:8081")).status == 200
            (span,) = receiver.wait_for(1)
    assert (span.name, span.kind, span.trace, span.parent) == ("GET", "SPAN_KIND_SERVER", TRACE, PARENT)
    assert (span.status, span.trace_state) == ("STATUS_CODE_UNSET", "congo=t61")
    assert before_ns < span.start_ns < span.end_ns < time.time_ns()
    assert span.resource["service.name"] == "location-sidecar"
    assert span.resource["deployment.environment.name"] == "staging"
    assert span.attributes == {
        "http.request.method": "GET",
        "url.path": "/a",
        "url.scheme": "http",
        "server.address": "location",
        "server.port": 8081,
        "network.protocol.version": "1.1",
        "network.peer.address": "127.0.0.1",
        "client.address": "127.0.0.1",
        "http.response.status_code": 200,
        "pointsman.decision": "sandbox",
        "pointsman.reason": "route",
        "pointsman.sandbox": "local-location",
        "pointsman.routing_key": KEY,
        "pointsman.workload": WORKLOAD,
        "pointsman.endpoint": f"127.0.0.1:{sandbox.port}",
    }


def test_the_request_goes_on_as_it_came(tmp_path: Path, receiver: Receiver) -> None:
    """So the service's span is the caller's child too, and ours its sibling."""
    with traced(tmp_path, straight(receiver)) as (proxy, baseline, _):
        lines = (f"traceparent: {TRACEPARENT}", "tracestate: congo=t61,rojo=1")
        assert ask(proxy.port, get("/", *lines)).status == 200
        receiver.wait_for(1)
        (seen,) = baseline.requests
    assert (seen.values(b"traceparent"), seen.values(b"tracestate")) == ([TRACEPARENT.encode()], [b"congo=t61,rojo=1"])
    assert not seen.values(b"tracestate")[1:]


class TestSampling:
    def test_the_callers_flag_counts(self, tmp_path: Path, receiver: Receiver) -> None:
        with traced(tmp_path, straight(receiver)) as (proxy, _, _):
            for number, parent in enumerate((UNSAMPLED, TRACEPARENT, UNSAMPLED)):
                assert ask(proxy.port, get(f"/{number}", f"traceparent: {parent}")).status == 200
            assert proxy.stop() == 0  # which sends what waits
        assert [span.attributes["url.path"] for span in receiver.spans] == ["/1"]

    @pytest.mark.parametrize("parent", ["", "00-" + "0" * 32 + f"-{PARENT}-01", "nonsense"])
    def test_without_a_caller_a_trace_of_its_own(self, tmp_path: Path, receiver: Receiver, parent: str) -> None:
        with traced(tmp_path, straight(receiver)) as (proxy, _, _):
            assert ask(proxy.port, get("/", *([f"traceparent: {parent}"] if parent else []))).status == 200
            (span,) = receiver.wait_for(1)
        assert (span.parent, span.trace != TRACE, len(span.trace)) == ("", True, 32)

    def test_the_sampler_of_the_environment(self, tmp_path: Path, receiver: Receiver) -> None:
        environ = straight(receiver, OTEL_TRACES_SAMPLER="parentbased_always_off")
        with traced(tmp_path, environ) as (proxy, _, _):
            assert ask(proxy.port, get("/alone")).status == 200
            assert ask(proxy.port, get("/called", f"traceparent: {TRACEPARENT}")).status == 200
            assert proxy.stop() == 0
        assert [span.attributes["url.path"] for span in receiver.spans] == ["/called"]


@pytest.mark.parametrize(
    ("lines", "status", "reason", "code", "error"),
    [
        (("baggage: sd-routing-key=gone",), 424, "gone_key", "STATUS_CODE_UNSET", None),
        ((f"pointsman-hop: {WORKLOAD}",), 508, "loop", "STATUS_CODE_ERROR", "loop"),
    ],
)
def test_refused(
    tmp_path: Path, receiver: Receiver, lines: tuple[str, ...], status: int, reason: str, code: str, error: str | None
) -> None:
    with traced(tmp_path, straight(receiver)) as (proxy, _, _):
        assert ask(proxy.port, get("/", *lines)).status == status
        (span,) = receiver.wait_for(1)
    attributes = span.attributes
    assert (attributes["http.response.status_code"], attributes["pointsman.reason"], span.status) == (
        status,
        reason,
        code,
    )
    assert attributes.get("error.type") == error
    assert attributes["pointsman.decision"] == "none"


def test_calls(tmp_path: Path, receiver: Receiver) -> None:
    server = GrpcServer()
    with serving(server), run_proxy(tmp_path, server.port, flags=TRACES, environ=straight(receiver)) as proxy:
        with grpc_connected(proxy.port) as channel:
            call(channel, b"hello", (("traceparent", TRACEPARENT),))
            server.stop()
            call(channel, b"hello", (("traceparent", TRACEPARENT),))
        good, bad = receiver.wait_for(2)
    for span in (good, bad):
        assert (span.name, span.kind, span.parent) == ("hotrod.Location/Echo", "SPAN_KIND_SERVER", PARENT)
        assert (span.attributes["rpc.system.name"], span.attributes["rpc.method"]) == ("grpc", "hotrod.Location/Echo")
        assert (span.attributes["network.protocol.version"], span.attributes["http.response.status_code"]) == ("2", 200)
    assert _outcome(good) == ("OK", "STATUS_CODE_UNSET", None)
    assert _outcome(bad) == ("UNAVAILABLE", "STATUS_CODE_ERROR", "baseline_unreachable")


def _outcome(span: Span) -> tuple[object, str, object]:
    return span.attributes["rpc.response.status_code"], span.status, span.attributes.get("error.type")


def test_spans_and_lines_name_the_same(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "access.log"
    flags = ("--access-log", "json", "--access-log-file", str(path))
    with traced(tmp_path, straight(receiver), *flags) as (proxy, _, _):
        assert ask(proxy.port, get("/", f"traceparent: {TRACEPARENT}")).status == 200
        (span,) = receiver.wait_for(1)
        assert proxy.stop() == 0
    line = json.loads(path.read_text())
    assert line["trace_id"] == span.trace
    assert abs(line["duration_us"] * 1000 - (span.end_ns - span.start_ns)) < 2000


def test_a_collector_that_is_not_there_stalls_nobody(tmp_path: Path) -> None:
    """Neither requests nor the end; and it is said, though not for each span."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **QUICK}
    with traced(tmp_path, environ) as (proxy, _, _):
        for number in range(50):
            assert ask(proxy.port, get(f"/{number}")).status == 200
        began_s = time.monotonic()
        assert proxy.stop() == 0
        assert time.monotonic() - began_s < 10
    assert 0 < sum("traces: " in line for line in proxy.lines) < 10


def test_off_loads_nothing_of_it(tmp_path: Path) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert ask(proxy.port, get()).status == 200
        maps = Path(f"/proc/{proxy.process.pid}/maps").read_text()
        names = [path.read_text().strip() for path in Path(f"/proc/{proxy.process.pid}/task").glob("*/comm")]
    assert "google/_upb" not in maps
    assert not [name for name in names if "Otel" in name]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf or grpc",
        ),
        ({"OTEL_TRACES_EXPORTER": "pigeon"}, "--traces: no exporter 'pigeon' is installed"),
    ],
)
def test_what_can_not_be(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    ended = _ended(tmp_path, environ)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"pointsman proxy: {said}")


def test_without_the_packages(tmp_path: Path) -> None:
    """As where nobody installed the extra: a folder that hides the SDK."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("")
    ended = _ended(tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 2
    assert "pip install 'pointsman[traces]'" in ended.stderr


def _ended(tmp_path: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table()))
    command = [sys.executable, "-m", "proxy", "--listen", "127.0.0.1:0", "--baseline", "127.0.0.1:1"]
    command += ["--workload", WORKLOAD, "--table", str(path), "--admin", "off", *TRACES]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **environ}
    )
