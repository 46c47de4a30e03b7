"""gRPC calls go where SPEC 4 says, each by its own metadata, and what the proxy refuses is a gRPC status."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.support import grpc_h2
from tests.support.grpc_service import (
    GrpcServer,
    Metadata,
    answer_of,
    ask,
    connected,
    path,
    serving,
    start,
    tagged,
)
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, table
from tests.support.waiting import until

OK = grpc.StatusCode.OK
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
OTHER_KEY = "otherkey1"
ROUTED = "sandbox=local-location; reason=route"


@dataclass
class Stage:
    """A proxy and the servers behind it."""

    proxy: Proxy
    baseline: GrpcServer
    sandbox: GrpcServer
    other: GrpcServer

    @property
    def calls(self) -> int:
        return len(self.baseline.calls) + len(self.sandbox.calls) + len(self.other.calls)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    baseline, sandbox, other = GrpcServer("baseline"), GrpcServer("sandbox"), GrpcServer("other")
    document = table(
        route(KEY, [sandbox.port]),
        route(OTHER_KEY, [other.port], sandbox="other-location"),
        route("notready1", []),
        route("otherport", [sandbox.port], port=9),
        route("elsewhere", [sandbox.port], workload="hotrod/Deployment/driver"),
        goneKeys=["gonekey"],
    )
    with (
        serving(baseline, sandbox, other),
        run_proxy(folder, baseline.port, document=document, flags=("--decision-header",)) as proxy,
    ):
        yield Stage(proxy, baseline, sandbox, other)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For tests that break nothing."""
    with staged(tmp_path_factory.mktemp("shared")) as stage:
        yield stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A test's own."""
    with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
def channel(shared: Stage) -> Iterator[grpc.Channel]:
    with connected(shared.proxy.port) as channel:
        yield channel


@pytest.fixture
def own_channel(stage: Stage) -> Iterator[grpc.Channel]:
    with connected(stage.proxy.port) as channel:
        yield channel


@pytest.mark.parametrize(
    ("metadata", "origin", "decision"),
    [
        ((), "baseline", "baseline; reason=no_key"),
        (tagged(KEY), "sandbox", ROUTED),
        ((("tracestate", f"v=1,sd-routing-key={KEY}"),), "sandbox", ROUTED),
        ((("baggage", "a=b"), ("baggage", f"sd-sandbox={KEY}")), "sandbox", ROUTED),
        (tagged(KEY, strict=True), "sandbox", ROUTED),
        (tagged("nobody"), "baseline", "baseline; reason=unknown_key"),
        (tagged("elsewhere"), "baseline", "baseline; reason=not_forked"),
        (tagged("%zz"), "baseline", "baseline; reason=invalid_key"),
        ((("x-sd-routing-key", KEY),), "baseline", "baseline; reason=no_key"),
        ((("pointsman-hop", f"{WORKLOAD};baseline"),), "baseline", "baseline; reason=no_key"),
    ],
)
def test_calls_that_are_forwarded(channel: grpc.Channel, metadata: Metadata, origin: str, decision: str) -> None:
    answer = ask(channel, b"hi", metadata)
    assert (answer.code, answer.message) == (OK, b"hi")
    assert (answer.origin, answer.decision) == (origin, decision)
    assert not answer.value("proxy-status")


REFUSED = [
    (tagged("nobody", strict=True), 9, "none; reason=unknown_key"),
    ((("baggage", "sd-strict=1"),), 9, "none; reason=no_key"),
    (tagged("gonekey"), 9, "none; reason=gone_key"),
    (tagged(f"x,sd-routing-key={KEY}", strict=True), 9, "none; reason=ambiguous_key"),
    ((("pointsman-hop", WORKLOAD),), 9, "none; reason=loop"),
    (tagged("notready1"), 14, "sandbox=local-location; reason=no_destination"),
    (tagged("otherport"), 14, "sandbox=local-location; reason=port_not_mapped"),
]


@pytest.mark.parametrize(("metadata", "code", "decision"), REFUSED)
@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_calls_that_are_refused(
    channel: grpc.Channel, shared: Stage, kind: str, metadata: Metadata, code: int, decision: str
) -> None:
    """No server hears of them; the channel stays good."""
    before = shared.calls
    if kind == "unary":
        answer = ask(channel, b"hi", metadata)
    else:
        said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        said.put(b"never ends")
        answer = answer_of(
            channel.stream_unary(path("Join")).future(iter(said.get, None), metadata=metadata, timeout=20)
        )
        said.put(None)
    reason = decision.rpartition("=")[2]
    assert answer.code.value[0] == code
    assert reason in answer.details
    assert (answer.origin, answer.decision) == ("", decision)
    assert answer.value("proxy-status").startswith("pointsman; error=")
    assert f'details="{reason}' in answer.value("proxy-status")
    assert shared.calls == before
    assert ask(channel, b"hi").code is OK


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;x=y"])
@pytest.mark.parametrize(("metadata", "code", "decision"), REFUSED)
def test_a_refusal_has_trailers_only(
    shared: Stage, metadata: Metadata, code: int, decision: str, content_type: str
) -> None:
    """One block of fields that ends the stream: HTTP 200, and the status of gRPC."""
    fields = [(name, str(value)) for name, value in metadata]
    with grpc_h2.connected(shared.proxy.port) as client:
        stream = client.start(path("Echo"), ("content-type", content_type), *fields, method="POST", end=False)
        client.data(stream, grpc_h2.framed(b"hi"), end=True)
        answer = client.read(stream)
        assert answer.is_complete
        assert (answer.body, answer.trailers) == (b"", [])
        assert answer.fields[0] == (b":status", b"200")
        assert answer.value("content-type").startswith("application/grpc")
        assert answer.values("grpc-status") == [str(code)]
        reason = decision.rpartition("=")[2]
        assert reason in answer.value("grpc-message")
        assert answer.value("pointsman-decision") == decision
        assert answer.value("proxy-status").startswith("pointsman; error=")
        assert f'details="{reason}' in answer.value("proxy-status")


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc-web+proto", "application/grpcx", None])
def test_other_requests_are_refused_by_http_status(shared: Stage, content_type: str | None) -> None:
    with grpc_h2.connected(shared.proxy.port) as client:
        fields = [("content-type", content_type)] if content_type else []
        answer = client.ask("/", *fields, ("baggage", "sd-routing-key=gonekey"), method="POST")
        assert (answer.status, answer.values("grpc-status")) == (424, [])
        assert answer.value("pointsman-decision") == "none; reason=gone_key"


def test_each_call_on_a_channel_is_decided_alone(stage: Stage, own_channel: grpc.Channel) -> None:
    """HTTP/2 refers to fields of earlier requests, and connections are shared: neither may carry a key over."""
    turns: list[tuple[Metadata, str]] = [
        (tagged(KEY), "sandbox"),
        ((), "baseline"),
        (tagged(OTHER_KEY), "other"),
        (tagged("nobody"), "baseline"),
        ((("tracestate", f"sd-routing-key={OTHER_KEY}"), ("baggage", "user=1")), "other"),
        ((("baggage", "user=1"),), "baseline"),
    ]
    calls = [(start(own_channel, b"hi", metadata), origin) for metadata, origin in turns * 50]
    for call, origin in calls:
        assert answer_of(call).origin == origin
    assert stage.proxy.metric("pointsman_downstream_connections_opened_total") == 1


def test_streams_with_different_keys_at_once(channel: grpc.Channel) -> None:
    """All are open together, and each message goes where its stream went."""
    turns = [(tagged(KEY), "sandbox"), ((), "baseline"), (tagged(OTHER_KEY), "other")] * 4
    said: list[queue.SimpleQueue[bytes | None]] = [queue.SimpleQueue() for _ in turns]
    calls = [
        channel.stream_stream(path("Echo"))(iter(queue_.get, None), metadata=metadata, timeout=20)
        for (metadata, _), queue_ in zip(turns, said, strict=True)
    ]
    for number in range(5):
        for queue_ in said:
            queue_.put(b"%d" % number)
        assert [next(call) for call in calls] == [b"%d" % number] * len(calls)
    for queue_ in said:
        queue_.put(None)
    for call, (_, origin) in zip(calls, turns, strict=True):
        assert list(call) == []
        assert dict(call.initial_metadata())["x-origin"] == origin


def test_metadata_arrive_as_they_came(channel: grpc.Channel, shared: Stage) -> None:
    """Several routing lines are joined, and a sandbox's route leaves its mark; nothing else is added."""
    sent = (
        ("x-b", "1"),
        ("x-a", "2"),
        ("baggage", "a=1"),
        ("x-b", "3"),
        ("x-trace", "00"),
        ("x-bin", b"\0"),
    )
    for server, key, hops in ((shared.baseline, "b=2", []), (shared.sandbox, f"sd-routing-key={KEY}", [WORKLOAD])):
        assert ask(channel, b"", (*sent, ("baggage", key))).origin == server.name
        received = server.calls[-1]
        assert received.values("baggage") == [f"a=1,{key}"]
        assert received.values("pointsman-hop") == hops
        names = [name for name, _ in received.metadata if name not in ("user-agent", "pointsman-hop")]
        assert names == ["x-b", "x-a", "baggage", "x-b", "x-trace", "x-bin"]


# --- upstreams that fail ---


def test_a_sandbox_that_is_down(stage: Stage, own_channel: grpc.Channel) -> None:
    assert ask(own_channel, b"", tagged(KEY)).origin == "sandbox"
    stage.sandbox.stop()
    answer = ask(own_channel, b"", tagged(KEY))
    place = f"sandbox_unreachable: local-location, 127.0.0.1:{stage.sandbox.port}"
    assert answer.code is UNAVAILABLE
    assert answer.value("proxy-status") == f'pointsman; error=connection_refused; details="{place}"'
    assert place in answer.details
    assert answer.decision == "sandbox=local-location; reason=sandbox_unreachable"
    assert not stage.baseline.calls
    assert ask(own_channel, b"").origin == "baseline"


def test_a_baseline_that_is_down(stage: Stage, own_channel: grpc.Channel) -> None:
    stage.baseline.stop()
    answer = ask(own_channel, b"")
    assert answer.code is UNAVAILABLE
    assert "baseline_unreachable" in answer.details
    assert f'details="baseline_unreachable: 127.0.0.1:{stage.baseline.port}"' in answer.value("proxy-status")
    assert answer.decision == "baseline; reason=baseline_unreachable"
    assert ask(own_channel, b"", tagged(KEY)).origin == "sandbox"


def test_on_sandbox_failure_baseline(tmp_path: Path, shared: Stage) -> None:
    flags = ("--on-sandbox-failure", "baseline", "--decision-header")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        document = table(route(KEY, [closed.getsockname()[1]]))
    with (
        run_proxy(tmp_path, shared.baseline.port, document=document, flags=flags) as proxy,
        connected(proxy.port) as channel,
    ):
        answer = ask(channel, b"hi", tagged(KEY))
        assert (answer.origin, answer.message) == ("baseline", b"hi")
        assert answer.decision == "baseline; reason=sandbox_unreachable"
        assert ask(channel, b"hi", tagged(KEY, strict=True)).code is UNAVAILABLE


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A listener whose accept queue is full: it answers no SYN."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_a_sandbox_that_does_not_answer(tmp_path: Path, shared: Stage) -> None:
    """504 in HTTP: DEADLINE_EXCEEDED where the call's own deadline has passed by then, UNAVAILABLE where it has not."""
    flags = ("--connect-timeout", "0.5", "--decision-header")
    before = shared.calls
    with (
        silent_port() as port,
        run_proxy(tmp_path, shared.baseline.port, document=table(route(KEY, [port])), flags=flags) as proxy,
        grpc_h2.connected(proxy.port) as client,
    ):
        key = ("baggage", f"sd-routing-key={KEY}")
        limits = ["100m", "20S", None]
        streams = [
            client.call(path("Echo"), key, *([("grpc-timeout", limit)] if limit is not None else []))
            for limit in limits
        ]
        answers = [client.read(stream) for stream in streams]
        assert [answer.values("grpc-status") for answer in answers] == [["4"], ["14"], ["14"]]
        for answer in answers:
            assert (answer.status, answer.body, answer.is_complete) == (200, b"", True)
            assert "error=connection_timeout" in answer.value("proxy-status")
        assert shared.calls == before


def test_a_server_that_takes_its_time(tmp_path: Path) -> None:
    """`--response-timeout` is not for gRPC: a stream's head may come with its first message, whenever that is."""

    def late(connection: grpc_h2.Connection, request: grpc_h2.Message) -> None:
        if request.value("content-type") == "application/grpc":
            connection.until(lambda: any(each.reset is not None for each in connection.messages.values()))
            grpc_h2.answers(b"late")(connection, request)

    origin = grpc_h2.H2Origin(late)
    with (
        contextlib.closing(origin),
        run_proxy(tmp_path, origin.port, flags=("--response-timeout", "0.5")) as proxy,
        grpc_h2.connected(proxy.port) as client,
    ):
        other, call = client.start("/"), client.call(path("Echo"), ("grpc-timeout", "30S"))
        assert (client.read(other).status, client.read(other).value("proxy-status")[:10]) == (504, "pointsman;")
        assert client.read(call).values("grpc-status") == ["0"]
        assert client.read(call).body == grpc_h2.framed(b"late")
        assert origin.requests[-1].values("grpc-timeout") == ["30S"]


# --- what is counted ---


def counted(proxy: Proxy, status: int, kind: str, sandbox: str = "") -> float:
    labels = f'grpc_status="{status}",route="{kind}",sandbox="{sandbox}"'
    return proxy.metric(f"pointsman_grpc_calls_total{{{labels}}}")


def test_calls_are_counted_by_status(stage: Stage, own_channel: grpc.Channel) -> None:
    channel, proxy = own_channel, stage.proxy
    for _ in range(3):
        ask(channel)
    ask(channel, b"", tagged(KEY))
    ask(channel, b"", tagged(KEY), method="Nothing")
    ask(channel, method="Nothing")
    ask(channel, b"", tagged("gonekey"))
    ask(channel, b"", tagged("notready1"))
    requests = "pointsman_requests_total"
    assert proxy.metric(f'{requests}{{reason="no_key",route="baseline",sandbox="",status="2xx"}}') == 4
    assert proxy.metric(f'{requests}{{reason="route",route="sandbox",sandbox="local-location",status="2xx"}}') == 2
    call = channel.unary_stream(path("Wait"))(b"", metadata=tagged(KEY))
    assert next(call) == b"waiting"
    call.cancel()
    until(lambda: counted(proxy, 1, "sandbox", "local-location") == 1, "the cancelled call")
    assert list(channel.unary_stream(path("Count"))(b"3", timeout=20)) == [b"0", b"1", b"2"]
    stage.sandbox.stop()
    ask(channel, b"", tagged(KEY))
    assert counted(proxy, 0, "baseline") == 4
    assert counted(proxy, 12, "baseline") == 1
    assert counted(proxy, 0, "sandbox", "local-location") == 1
    assert counted(proxy, 12, "sandbox", "local-location") == 1
    assert counted(proxy, 9, "none") == 1
    assert counted(proxy, 14, "sandbox", "local-location") == 2
    assert counted(proxy, 1, "baseline") == 0
