"""What downstream connections share: limit, clock, drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy import errors
from proxy.background import spawn
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.net.connections import Connections
from proxy.net.pool import Pool
from proxy.net.targets import Address
from proxy.net.upstream import H1Upstream
from proxy.telemetry.metrics import Metrics
from tests.support.exchange import BASELINE
from tests.support.loop import FakeLoop
from tests.support.net import TIMEOUTS, new_pool
from tests.support.transport import FakeTransport


class RecordingConnection:
    """`connections.Connection`: ends when `drain` finds it idle, or is cut."""

    def __init__(self, connections: Connections, busy_until_s: float = 0.0) -> None:
        self._connections = connections
        self.busy_until_s = busy_until_s
        self.active_at_s = connections.now_s
        self.times: list[float] = []
        self.on_time: Callable[[], None] = lambda: None
        self.ended_at_s = 0.0
        self.routes_asked: list[float] = []
        self.is_cut = False

    def check_time(self, now_s: float) -> None:
        self.times.append(now_s)
        self.on_time()

    def drain(self, idle_since_s: float) -> None:
        now_s = self._connections.now_s
        if now_s >= self.busy_until_s and max(self.active_at_s, self.busy_until_s) < idle_since_s:
            self._end()

    def end_unrouted_tunnel(self, within_s: float) -> None:
        self.routes_asked.append(within_s)

    def cut(self) -> None:
        self.is_cut = True
        self._end()

    def _end(self) -> None:
        self.ended_at_s = self._connections.now_s
        self._connections.remove(self)


class Shared:
    """Connections, with the pool and the metrics behind them."""

    def __init__(self, loop: FakeLoop, max_connections: int = 10) -> None:
        self.loop = loop
        self.metrics = Metrics()
        self.pool: Pool = new_pool(metrics=self.metrics)
        kinds = request_kinds(errors.BAD_REQUEST)
        self.connections = Connections(
            kinds, kinds, HeadLimits(), max_connections, 100, TIMEOUTS, self.pool, self.metrics
        )

    def connection(self, busy_s: float = 0.0) -> RecordingConnection:
        connection = RecordingConnection(self.connections, self.loop.time() + busy_s if busy_s else 0.0)
        self.connections.add(connection)
        return connection

    def drain(self, limit_s: float) -> asyncio.Task[bool]:
        task = spawn(self.connections.drain(limit_s), "drain")
        self.loop.settle()
        return task


@pytest.fixture
def shared(loop: FakeLoop) -> Shared:
    return Shared(loop)


# --- who is there --------------------------------------------------------------------------------------------------


def test_the_limit(loop: FakeLoop) -> None:
    shared = Shared(loop, max_connections=2)
    connections = [RecordingConnection(shared.connections) for _ in range(4)]
    assert [shared.connections.add(connection) for connection in connections[:3]] == [True, True, False]
    shared.connections.remove(connections[2])
    assert len(shared.connections) == 2
    shared.connections.remove(connections[0])
    assert shared.connections.add(connections[3])


def test_counts(shared: Shared) -> None:
    """The refused ones too, as long as they stand."""
    first, _ = shared.connection(), shared.connection()
    shared.connections.remove(first)
    assert (shared.metrics.downstream_connections, shared.metrics.downstream_connections_total) == (1, 2)


def test_our_own_connections(shared: Shared) -> None:
    upstream = H1Upstream(shared.pool, Address(BASELINE, "10.0.0.9"))
    out = FakeTransport(upstream, own=("10.0.0.1", 50_000))
    own, other = ("10.0.0.1", 50_000), ("10.0.0.1", 50_001)
    accepted = [
        FakeTransport(H1Upstream(shared.pool, Address(BASELINE, "10.0.0.9")), peer=peer) for peer in (own, other)
    ]
    assert [shared.connections.is_own(transport) for transport in accepted] == [True, False]
    out.lose()
    assert not shared.connections.is_own(accepted[0])


# --- the clock -----------------------------------------------------------------------------------------------------


def test_the_clock(shared: Shared) -> None:
    """About once a second everybody is asked, the pool too; by the time a tick ago, so that nothing ends too early."""
    start_s = shared.loop.time()
    connection = shared.connection()
    spawn(shared.connections.run_clock(), "clock")
    shared.loop.advance(3.5)
    assert connection.times == pytest.approx([start_s - 1, start_s, start_s + 1, start_s + 2])
    assert shared.connections.now_s == shared.pool.now_s == pytest.approx(start_s + 3)


def test_the_clock_closes_idle_upstreams(shared: Shared) -> None:
    upstream = H1Upstream(shared.pool, Address(BASELINE, "10.0.0.9"))
    transport = FakeTransport(upstream)
    shared.pool.put(upstream)
    spawn(shared.connections.run_clock(), "clock")
    shared.loop.advance(39.5)
    assert transport.ending == "open"
    shared.loop.advance(2)
    assert transport.ending == "close"


def test_a_connection_that_ends_when_asked(shared: Shared) -> None:
    """The others are asked all the same."""
    connections = [shared.connection() for _ in range(3)]
    for connection in connections:
        connection.on_time = connection.cut
    spawn(shared.connections.run_clock(), "clock")
    shared.loop.settle()
    assert [len(connection.times) for connection in connections] == [1, 1, 1]
    assert len(shared.connections) == 0


# --- drain ---------------------------------------------------------------------------------------------------------


def test_nobody_is_there(shared: Shared) -> None:
    assert shared.drain(30).result() is True
    assert shared.connections.is_draining


def test_who_was_idle_for_long_ends_at_once(shared: Shared) -> None:
    connection = shared.connection()
    shared.loop.advance(5)
    shared.drain(30)
    assert connection.ended_at_s == shared.loop.time()


def test_who_was_just_used_gets_a_moment(shared: Shared) -> None:
    """A request may be under way to us."""
    connection = shared.connection()
    start_s = shared.loop.time()
    task = shared.drain(30)
    shared.loop.advance(0.2)
    assert connection.ended_at_s == 0
    shared.loop.advance(0.4)
    assert connection.ended_at_s - start_s == pytest.approx(0.25, abs=0.05)
    assert task.result() is True


def test_who_is_busy_may_finish(shared: Shared) -> None:
    connection = shared.connection(busy_s=10)
    start_s = shared.loop.time()
    task = shared.drain(30)
    shared.loop.advance(9.9)
    assert not task.done()
    shared.loop.advance(0.5)
    assert task.result() is True
    assert connection.ended_at_s - start_s == pytest.approx(10.25, abs=0.05)
    assert not connection.is_cut


def test_the_limit_of_a_drain(shared: Shared) -> None:
    shared.loop.advance(5)
    connections = [shared.connection(), shared.connection(busy_s=100)]
    task = shared.drain(30)
    shared.loop.advance(29.9)
    assert not task.done()
    shared.loop.advance(0.2)
    assert task.result() is False
    assert [connection.is_cut for connection in connections] == [False, True]


def test_no_time_to_drain(shared: Shared) -> None:
    connection = shared.connection()
    assert shared.drain(0).result() is False
    assert connection.is_cut


# --- tunnels -------------------------------------------------------------------------------------------------------


def test_tunnels_are_asked_when_the_table_changes_and_when_they_open(shared: Shared) -> None:
    """The table may have changed between the request and its 101."""
    first, second = shared.connection(), shared.connection()
    shared.connections.add_tunnel(first)
    assert first.routes_asked == [0.0]
    shared.connections.table_swapped(30.0)
    assert first.routes_asked == [0.0, 30.0]
    shared.connections.add_tunnel(second)
    assert second.routes_asked == [30.0]
    shared.connections.remove_tunnel(first)
    shared.connections.table_swapped(20.0)
    assert (first.routes_asked, second.routes_asked) == ([0.0, 30.0], [30.0, 20.0])
    assert shared.metrics.tunnels == 1
