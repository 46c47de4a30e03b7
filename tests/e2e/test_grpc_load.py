"""Many gRPC calls at once: more than a connection takes, and more than anybody reads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from pathlib import Path

import grpc

from tests.support import grpc_h2
from tests.support.grpc_service import GrpcServer, answer_of, ask, connected, path, serving, start, tagged
from tests.support.proxy import KEY, route, run_proxy, table
from tests.support.waiting import until

OK = grpc.StatusCode.OK
MIB = 1 << 20
# By default grpcio refuses calls where thousands come at once.
MANY_WAIT = (("grpc.server.max_pending_requests", 10_000), ("grpc.server.max_pending_requests_hard_limit", 10_000))


class Meeting(grpc.GenericRpcHandler):
    """A method that nobody leaves before so many are there; without threads, which would not do for thousands."""

    def __init__(self, parties: int) -> None:
        self.present = 0
        self._parties = parties
        self._are_all_there = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(self._meet)

    async def _meet(self, message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.present += 1
        if self.present == self._parties:
            self._are_all_there.set()
        await self._are_all_there.wait()
        return message


def test_5000_streams_at_once(tmp_path: Path) -> None:
    """On five connections, all open before the first is answered."""

    async def main() -> int:
        meeting = Meeting(5000)
        server = grpc.aio.server(handlers=[meeting], options=MANY_WAIT)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await asyncio.to_thread(ask_5000, tmp_path, port)
        finally:
            await server.stop(None)
        return meeting.present

    assert asyncio.run(main()) == 5000


def ask_5000(folder: Path, port: int) -> None:
    answers: list[grpc_h2.Message] = []

    def run(client: grpc_h2.H2Client) -> None:
        streams = [client.call(path("Meet"), message=b"%d" % number) for number in range(1000)]
        answers.extend(client.read(stream) for stream in streams)

    with run_proxy(folder, port) as proxy, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(grpc_h2.connected(proxy.port, timeout_s=40)) for _ in range(5)]
        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
    assert [answer.values("grpc-status") for answer in answers] == [["0"]] * 5000
    bodies = [grpc_h2.framed(b"%d" % number) for number in range(1000)] * 5
    assert sorted(answer.body for answer in answers) == sorted(bodies)


def test_more_streams_than_the_server_takes_on_a_connection(tmp_path: Path) -> None:
    """Streams that stay open use up its limit; further calls are answered all the same."""
    server = GrpcServer(options=(("grpc.max_concurrent_streams", 10),))
    with (
        serving(server),
        run_proxy(tmp_path, server.port) as proxy,
        connected(proxy.port) as channel,
    ):
        assert ask(channel).code is OK
        waiting = [channel.unary_stream(path("Wait"))(b"", timeout=20) for _ in range(25)]
        assert [next(call) for call in waiting] == [b"waiting"] * 25
        calls = [start(channel, b"%d" % index) for index in range(100)]
        assert [answer_of(call).code for call in calls] == [OK] * 100
        for call in waiting:
            call.cancel()


def unread_streams(client: grpc_h2.H2Client, count: int) -> list[int]:
    """So many streams of 10 MiB each; their windows are filled, and stay so."""
    streams = [client.call(path("Count"), message=b"10,%d" % MIB) for _ in range(count)]
    client.unread.update(streams)
    client.until(lambda: all(client.messages[stream].body for stream in streams))
    return streams


def assert_served(client: grpc_h2.H2Client) -> None:
    for _ in range(20):
        stream = client.call(path("Echo"), message=bytes(50_000))
        assert client.read(stream).values("grpc-status") == ["0"]


def test_streams_that_nobody_reads(tmp_path: Path) -> None:
    """Calls beside them are answered, on the same connection and on others, and memory holds the windows alone."""
    server = GrpcServer()
    with (
        serving(server),
        run_proxy(tmp_path, server.port) as proxy,
        grpc_h2.connected(proxy.port, window=65535) as slow,
        grpc_h2.connected(proxy.port) as other,
    ):
        assert_served(slow)
        before = proxy.rss_bytes()
        unread = unread_streams(slow, 12)
        assert_served(slow)
        assert_served(other)
        assert not any(call.is_whole for call in server.calls if call.method == "Count")
        assert proxy.rss_bytes() - before < 50 * MIB
        for stream in unread:
            slow.reset(stream)
        assert_served(slow)
        assert all(call.has_ended.wait(2) for call in server.calls)


def test_a_client_that_does_not_read_stalls_nobody_else(tmp_path: Path) -> None:
    """However many streams it leaves unread: others share its connection to the server."""
    server = GrpcServer(threads=128)
    with (
        serving(server),
        run_proxy(tmp_path, server.port) as proxy,
        grpc_h2.connected(proxy.port, window=65535) as slow,
        grpc_h2.connected(proxy.port) as other,
    ):
        assert_served(other)
        streams = [slow.call(path("Count"), message=b"10,%d" % MIB) for _ in range(60)]
        slow.unread.update(streams)
        slow.until(lambda: sum(bool(slow.messages[stream].body) for stream in streams) >= 20)
        assert_served(other)


class Crowd:
    """Clients that answer for what they saw, beside others that behave badly."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.faults: list[object] = []

    def good(self, key: str, origin: str) -> None:
        """Everything that it asks must be answered, whole and by whom it asked."""
        with connected(self._port) as channel:
            for number in range(30):
                message = bytes([number]) * (number * 3000)
                answer = ask(channel, message, tagged(key))
                if (answer.code, answer.message, answer.origin) != (OK, message, origin):
                    self.faults.append((answer.code, answer.details, answer.origin, origin))
                messages = list(
                    channel.stream_stream(path("Echo"))(iter([message] * 3), metadata=tagged(key), timeout=20)
                )
                if messages != [message] * 3:
                    self.faults.append("a stream's messages differ")

    def rude(self, seed: int) -> None:
        """Asks, does not read, resets, leaves."""
        choices = random.Random(seed)
        for _ in range(30):
            client = grpc_h2.H2Client(self._port)
            for _ in range(choices.randrange(12)):
                method, message = choices.choice([("Wait", b""), ("Echo", b"x" * 1000), ("Count", b"3,100000")])
                stream = client.call(path(method), ("baggage", f"sd-routing-key={KEY}"), message=message)
                if choices.random() < 0.5:
                    client.unread.add(stream)
                if choices.random() < 0.5:
                    client.reset(stream, choices.randrange(14))
            choices.choice([client.close, client.abort])()


def test_bad_clients_beside_good_ones(tmp_path: Path) -> None:
    """Nobody's call suffers, and nothing of those that left stays behind, here or at the server."""
    baseline, sandbox = GrpcServer(threads=128), GrpcServer("sandbox", threads=128)
    with (
        serving(baseline, sandbox),
        run_proxy(tmp_path, baseline.port, document=table(route(KEY, [sandbox.port]))) as proxy,
    ):
        crowd = Crowd(proxy.port)
        threads = [
            threading.Thread(target=crowd.good, args=args) for args in ((KEY, "sandbox"), ("no", "baseline")) * 2
        ]
        threads += [threading.Thread(target=crowd.rude, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        assert crowd.faults == []
        until(lambda: all(call.has_ended.is_set() for call in baseline.calls + sandbox.calls), "every call ends")
        until(lambda: proxy.metric("pointsman_downstream_connections") == 0, "every connection ends")
        assert proxy.metric("pointsman_upstream_connections") <= 2
