"""gRPC channels live long: servers and proxies come, go and grow old beneath them, and no call is lost by it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.support import grpc_h2
from tests.support.envoy import Route
from tests.support.grpc_envoy import run_http2_envoy
from tests.support.grpc_service import (
    Answer,
    GrpcServer,
    answer_of,
    ask,
    connected,
    connected_to,
    path,
    serving,
    start,
    tagged,
)
from tests.support.proxy import KEY, route, run_proxy, table
from tests.support.waiting import until

OK = grpc.StatusCode.OK
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Gate:
    """A method that ends when the test says so."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def stay(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"begun"
        assert self.may_end.wait(10)
        yield b"done"


class Load:
    """Clients that ask as soon as they have their answer, each on a channel of its own."""

    def __init__(self, target: str, clients: int = 4, key: str = "") -> None:
        self._target = target
        self._key = key
        self._has_stopped = threading.Event()
        self.answers: list[Answer] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with connected_to(self._target, ("grpc.default_authority", "location")) as channel:
            while not self._has_stopped.is_set():
                calls = [
                    start(channel, b"%d" % index, tagged(self._key) if self._key else (), wait_for_ready=True)
                    for index in range(3)
                ]
                self.answers += [answer_of(call) for call in calls]

    def more(self, count: int = 200) -> None:
        """So many more answers are there."""
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + count, f"{count} more answers", within_s=20)

    def codes(self) -> Counter[grpc.StatusCode]:
        return Counter(answer.code for answer in self.answers)

    def stop(self) -> None:
        self._has_stopped.set()
        for thread in self._threads:
            thread.join(25)
            assert not thread.is_alive(), "a call still waits for its answer"


@contextlib.contextmanager
def loaded(target: str, *, key: str = "") -> Iterator[Load]:
    load = Load(target, key=key)
    try:
        load.more()
        yield load
        load.more()
    finally:
        load.stop()


def at(*ports: int) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)


# --- servers ---


def test_servers_that_let_no_connection_grow_old(tmp_path: Path) -> None:
    """GOAWAY again and again, in the middle of load: every call is answered."""
    server = GrpcServer(options=(("grpc.max_connection_age_ms", 200), ("grpc.max_connection_age_grace_ms", 5000)))
    with serving(server), run_proxy(tmp_path, server.port) as proxy:
        with loaded(at(proxy.port)) as load:
            until(lambda: proxy.metric("pointsman_upstream_connections_opened_total") >= 4, "new connections")
        assert load.codes() == {OK: len(load.answers)}
        assert proxy.metric("pointsman_downstream_connections_opened_total") == 4


def test_an_envoy_that_ends_its_connections(tmp_path: Path) -> None:
    """After twenty calls each."""
    server = GrpcServer()
    with (
        serving(server),
        run_http2_envoy(tmp_path, Route(server.port), requests=20) as (port,),
        run_proxy(tmp_path, port) as proxy,
    ):
        with loaded(at(proxy.port)) as load:
            until(lambda: proxy.metric("pointsman_upstream_connections_opened_total") >= 10, "new connections")
        assert load.codes() == {OK: len(load.answers)}


def test_a_server_that_stops_gracefully(tmp_path: Path) -> None:
    """One of a sandbox's two destinations says GOAWAY and finishes; the other takes over.

    grpcio itself cancels what arrives just then, from a client that speaks to it straight as well.
    """
    first, second, baseline = GrpcServer("first"), GrpcServer("second"), GrpcServer()
    document = table(route(KEY, [first.port, second.port]))
    with serving(first, second, baseline), run_proxy(tmp_path, baseline.port, document=document) as proxy:
        with loaded(at(proxy.port), key=KEY) as load:
            first.stop(5)
        assert set(load.codes()) <= {OK, grpc.StatusCode.CANCELLED}
        assert load.answers[-1].origin == "second"
        assert not baseline.calls


def test_a_server_that_restarts(tmp_path: Path) -> None:
    """Meanwhile calls fail, by a status that says why; the channel to us stays, and serves as soon as it is back."""
    server = GrpcServer("before")
    with run_proxy(tmp_path, server.port) as proxy, connected(proxy.port) as channel:
        with serving(server):
            assert ask(channel).origin == "before"
        answer = ask(channel)
        assert answer.code is UNAVAILABLE
        assert "baseline_unreachable" in answer.details
        with serving(GrpcServer("after", port=server.port)):
            until(lambda: ask(channel).origin == "after", "the server is back")
        assert proxy.metric("pointsman_downstream_connections_opened_total") == 1


# --- the proxy ---


def test_a_client_waits_for_a_proxy_that_restarts(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    server = GrpcServer()
    with serving(server), contextlib.ExitStack() as stack:
        with run_proxy(folders[0], server.port) as first:
            channel = stack.enter_context(connected(first.port, ("grpc.max_reconnect_backoff_ms", 100)))
            assert ask(channel).code is OK
            assert first.stop() == 0
        until(lambda: ask(channel).code is UNAVAILABLE, "the client notices")
        waiting = start(channel, b"hi", wait_for_ready=True)
        again = ("--listen", f"127.0.0.1:{first.port}", "--baseline", f"127.0.0.1:{server.port}")
        stack.enter_context(run_proxy(folders[1], server.port, flags=(*again, "--workload-port", "8082")))
        assert answer_of(waiting).code is OK


def test_keep_alive_pings_are_answered(tmp_path: Path) -> None:
    """A client that pings each second and leaves if it hears nothing: neither busy nor idle does it leave."""
    server = GrpcServer()
    pings = (("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 300), ("grpc.http2.ping_timeout_ms", 300))
    pings += (("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0))
    with serving(server), run_proxy(tmp_path, server.port) as proxy, connected(proxy.port, *pings) as channel:
        call = channel.unary_stream(path("Wait"))(b"", timeout=20)
        assert next(call) == b"waiting"
        time.sleep(1.5)
        assert call.is_active()
        call.cancel()
        time.sleep(1.5)
        assert ask(channel).code is OK
        assert proxy.metric("pointsman_downstream_connections_opened_total") == 1


def test_a_drain_finishes_what_runs(tmp_path: Path) -> None:
    """The stream that runs ends well; a new call on its channel finds nobody; the exit code is 0."""
    gate = Gate()
    server = GrpcServer(methods={"Stay": gate.stay})
    with serving(server), run_proxy(tmp_path, server.port) as proxy, connected(proxy.port) as channel:
        call = channel.unary_stream(path("Stay"))(b"", timeout=20)
        assert next(call) == b"begun"
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: ask(channel).code is UNAVAILABLE, "new calls fail")
        assert proxy.process.poll() is None
        gate.may_end.set()
        assert list(call) == [b"done"]
        assert call.code() is OK
        assert proxy.process.wait(5) == 0


def test_a_drain_says_goaway(tmp_path: Path) -> None:
    """First that no more shall come, then which call is the last; an idle connection is closed at once."""
    gate = Gate()
    server = GrpcServer(methods={"Stay": gate.stay})
    with serving(server), run_proxy(tmp_path, server.port) as proxy:
        with grpc_h2.connected(proxy.port) as busy, grpc_h2.connected(proxy.port) as idle:
            assert idle.read(idle.call(path("Echo"))).values("grpc-status") == ["0"]
            stream = busy.call(path("Stay"))
            busy.until(lambda: busy.messages[stream].body)
            proxy.process.send_signal(signal.SIGTERM)
            busy.until(lambda: busy.goaways)
            assert busy.goaways[0] == ((1 << 31) - 1, 0)
            assert not idle.until(lambda: False)
            assert {code for _, code in idle.goaways} == {0}
            gate.may_end.set()
            answer = busy.read(stream)
            assert (answer.is_complete, answer.values("grpc-status")) == (True, ["0"])
            assert not busy.until(lambda: False)
            assert {code for _, code in busy.goaways} == {0}
            assert busy.goaways[-1][0] == stream
        assert proxy.process.wait(5) == 0


def test_a_drain_loses_no_call(tmp_path: Path) -> None:
    """Clients that know another proxy too go there, and lose nothing on the way."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    server = GrpcServer()
    with (
        serving(server),
        run_proxy(folders[0], server.port) as first,
        run_proxy(folders[1], server.port) as second,
    ):
        with loaded(at(first.port, second.port)) as load:
            assert first.stop() == 0
        assert load.codes() == {OK: len(load.answers)}
        assert second.metric("pointsman_downstream_connections_opened_total") >= 1


def test_the_drain_s_time_limit(tmp_path: Path) -> None:
    """What still runs is cut, and does not look finished."""
    server = GrpcServer()
    flags = ("--drain-timeout", "0.5")
    with serving(server), run_proxy(tmp_path, server.port, flags=flags) as proxy, connected(proxy.port) as channel:
        call = channel.unary_stream(path("Wait"))(b"", timeout=20)
        assert next(call) == b"waiting"
        assert proxy.stop() == 0
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() is UNAVAILABLE
        assert server.calls[-1].has_ended.wait(1)


def test_table_swaps_lose_no_call(tmp_path: Path) -> None:
    """Each call goes where one of the tables sends it."""
    baseline, first, second = GrpcServer(), GrpcServer("first"), GrpcServer("second")
    with (
        serving(baseline, first, second),
        run_proxy(tmp_path, baseline.port, document=table(route(KEY, [first.port]))) as proxy,
    ):
        with loaded(at(proxy.port), key=KEY) as load:
            for number in range(10):
                proxy.set_table(table(route(KEY, [(second, first)[number % 2].port]), version=f"swap {number}"))
                load.more(20)
        assert load.codes() == {OK: len(load.answers)}
        assert {answer.origin for answer in load.answers} == {"first", "second"}
        assert not baseline.calls


def test_a_route_that_changes_under_a_channel(tmp_path: Path) -> None:
    """The stream that runs stays where it began, the next call goes where its key says now; a gone key is refused."""
    gate = Gate()
    baseline = GrpcServer()
    old, new = GrpcServer("old", {"Stay": gate.stay}), GrpcServer("new")
    with (
        serving(baseline, old, new),
        run_proxy(tmp_path, baseline.port, document=table(route(KEY, [old.port]))) as proxy,
        connected(proxy.port) as channel,
    ):
        call = channel.unary_stream(path("Stay"))(b"", metadata=tagged(KEY), timeout=20)
        assert next(call) == b"begun"
        proxy.set_table(table(route(KEY, [new.port]), version="2"))
        assert ask(channel, b"", tagged(KEY)).origin == "new"
        proxy.set_table(table(version="3"))
        assert ask(channel, b"", tagged(KEY)).code is grpc.StatusCode.FAILED_PRECONDITION
        gate.may_end.set()
        assert list(call) == [b"done"]
        assert not baseline.calls
