"""Idle upstream connections, and new ones over a network that the test plays (`tests.support.loop`)."""

from __future__ import annotations

import logging

import pytest

from proxy import errors
from proxy.net.addresses import DestinationPolicy
from proxy.net.pool import Pool
from proxy.net.upstream import H1Upstream
from proxy.routing.names import Endpoint
from proxy.telemetry.metrics import Metrics
from tests.support.exchange import BASELINE, SANDBOX, SANDBOX_2, TAGGED, Script, request_head, route_table
from tests.support.loop import FakeLoop
from tests.support.net import new_pool
from tests.support.transport import FakeTransport

LITERAL = Endpoint("10.0.0.1", 80)
NAMED = Endpoint("box", 1)
TWO = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def pool(loop: FakeLoop) -> Pool:
    return new_pool()


def idle(pool: Pool, endpoint: Endpoint = BASELINE) -> tuple[H1Upstream, FakeTransport]:
    """A connection that was put into the pool."""
    upstream = H1Upstream(pool, endpoint)
    transport = FakeTransport(upstream)
    pool.put(upstream)
    return upstream, transport


# --- idle connections ----------------------------------------------------------------------------------------------


def test_an_empty_pool(pool: Pool) -> None:
    assert pool.take(BASELINE) is None


def test_the_last_used_first(pool: Pool) -> None:
    """So that the others grow old together and end."""
    connections = [idle(pool)[0] for _ in range(3)]
    taken = [pool.take(BASELINE) for _ in range(4)]
    assert taken == [*reversed(connections), None]
    assert all(upstream.is_reused for upstream in connections)


def test_endpoints_are_apart(pool: Pool) -> None:
    first, second = idle(pool, SANDBOX)[0], idle(pool, SANDBOX_2)[0]
    assert pool.take(BASELINE) is None
    assert pool.take(SANDBOX) is first
    assert pool.take(SANDBOX) is None
    assert pool.take(SANDBOX_2) is second


def test_so_many_stay_idle(pool: Pool) -> None:
    transports = [idle(pool)[1] for _ in range(514)]
    assert [transport.ending for transport in transports] == ["open"] * 512 + ["close"] * 2
    assert idle(pool, SANDBOX)[1].ending == "open"


def test_a_lost_connection_is_not_handed_out(pool: Pool) -> None:
    kept, (_, transport) = idle(pool)[0], idle(pool)
    transport.lose()
    assert pool.take(BASELINE) is kept
    assert pool.take(BASELINE) is None


def test_keep_only(pool: Pool) -> None:
    """SPEC 4: nothing reaches the destinations of a route that is gone."""
    kept, gone = idle(pool, SANDBOX)[1], [idle(pool, SANDBOX_2)[1] for _ in range(2)]
    pool.keep_only({SANDBOX, BASELINE})
    assert [transport.ending for transport in (kept, *gone)] == ["open", "close", "close"]
    assert pool.take(SANDBOX_2) is None
    for transport in gone:
        transport.lose()
    assert pool.take(SANDBOX) is not None


def test_check_time(pool: Pool) -> None:
    """The clock is the pool's; who was used since stays."""
    start_s = pool.now_s
    old = idle(pool)[1]
    pool.check_time(start_s + 30)
    assert pool.now_s == start_s + 30
    young_upstream, young = idle(pool)
    pool.check_time(start_s + 41)
    assert (old.ending, young.ending) == ("close", "open")
    assert pool.take(BASELINE) is young_upstream
    assert pool.take(BASELINE) is None


def test_close(pool: Pool) -> None:
    transports = [idle(pool)[1] for _ in range(3)]
    pool.take(BASELINE)
    pool.close()
    assert [transport.ending for transport in transports] == ["close"] * 3


def test_counts(loop: FakeLoop) -> None:
    metrics = Metrics()
    pool = new_pool(metrics=metrics)
    transports = [idle(pool)[1] for _ in range(3)]
    transports[0].lose()
    assert (metrics.upstream_connections, metrics.upstream_connections_total) == (2, 3)


# --- connecting ----------------------------------------------------------------------------------------------------


def connect(pool: Pool, loop: FakeLoop, endpoint: Endpoint = NAMED) -> Script:
    """A request to the sandbox that waits for this connection."""
    script = Script(route_table(endpoint))
    script.start(request_head(TAGGED))
    script.pool.pending.clear()
    pool.connect(endpoint, script.exchange)
    loop.settle()
    return script


def test_a_literal_is_not_looked_up(pool: Pool, loop: FakeLoop) -> None:
    script = connect(pool, loop, LITERAL)
    assert loop.attempts == [("10.0.0.1", 80)]
    (transport,) = loop.transports
    assert transport.take().startswith(b"GET / HTTP/1.1\r\n")
    script.does(lambda: transport.receive(TWO))
    script.assert_finished(errors.ROUTE, 200)
    assert pool.take(LITERAL) is not None


def test_a_name_is_looked_up(pool: Pool, loop: FakeLoop) -> None:
    """Each address is tried once."""
    loop.names["box"] = ["10.0.0.1", "10.0.0.1", "fd00::1"]
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    connect(pool, loop)
    assert loop.attempts == [("10.0.0.1", 1), ("fd00::1", 1)]
    assert len(loop.transports) == 1


def test_the_next_address_where_one_does_not_answer(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    script = connect(pool, loop)
    assert loop.attempts == [("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert script.calls == ["connect box:1"]
    assert len(loop.transports) == 1


def test_the_next_address_where_one_is_silent(pool: Pool, loop: FakeLoop) -> None:
    """`--connect-timeout` is for one address."""
    loop.names["box"] = ["10.0.0.1", "10.0.0.2"]
    loop.peers["10.0.0.1"] = None
    connect(pool, loop)
    loop.advance(4.9)
    assert loop.transports == []
    loop.advance(0.2)
    assert loop.attempts == [("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert len(loop.transports) == 1


@pytest.mark.parametrize(
    ("addresses", "peers", "status", "details"),
    [
        ([], {}, 503, "sandbox_unreachable"),
        (["10.0.0.1"], {"10.0.0.1": ConnectionRefusedError()}, 503, "sandbox_unreachable"),
        (["10.0.0.1", "10.0.0.2"], {"10.0.0.1": OSError(), "10.0.0.2": OSError()}, 503, "sandbox_unreachable"),
        (["10.0.0.1"], {"10.0.0.1": None}, 504, "sandbox_unreachable"),
        (["169.254.169.254"], {}, 503, "destination_refused"),
        (["169.254.169.254", "fe80::1%eth0"], {}, 503, "destination_refused"),
        (["10.0.0.1", "169.254.169.254"], {"10.0.0.1": OSError()}, 503, "destination_refused"),
    ],
)
def test_no_connection(
    loop: FakeLoop, addresses: list[str], peers: dict[str, Exception | None], status: int, details: str
) -> None:
    pool = new_pool(is_refused=DestinationPolicy().is_refused)
    loop.names["box"] = addresses
    loop.peers.update(peers)
    script = connect(pool, loop)
    loop.advance(5.1)
    assert script.down.head is not None
    assert script.down.head.status == status
    assert f'details="{details}: pr-1, box:1"' in script.down.proxy_status
    assert {address for address, _ in loop.attempts} == set(peers)


def test_a_name_without_an_address(pool: Pool, loop: FakeLoop) -> None:
    script = connect(pool, loop)
    assert script.down.head is not None
    assert script.down.head.status == 503
    assert loop.attempts == []


def test_refused_addresses_are_passed_over(loop: FakeLoop) -> None:
    """Checked after resolution, each time (SPEC 4)."""
    policy = DestinationPolicy()
    pool = new_pool(is_refused=policy.is_refused)
    loop.names["box"] = ["169.254.169.254", "10.0.0.2"]
    connect(pool, loop)
    assert loop.attempts == [("10.0.0.2", 1)]
    policy.add_own([("10.0.0.2", 1)])
    script = connect(pool, loop)
    assert script.down.head is not None
    assert len(loop.attempts) == 1


def test_a_connection_that_nobody_waits_for(pool: Pool, loop: FakeLoop) -> None:
    """It is good, so the next request gets it."""
    script = Script(route_table(NAMED))
    script.start(request_head(TAGGED))
    loop.names["box"] = ["10.0.0.1"]
    pool.connect(NAMED, script.exchange)
    script.exchange.downstream_failed()
    loop.settle()
    assert loop.transports[0].writes == []
    assert pool.take(NAMED) is not None


def test_a_fault_of_our_own_is_answered_and_logged(
    pool: Pool, loop: FakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is, the request must not hang."""
    loop.names["box"] = ["10.0.0.1"]
    loop.peers["10.0.0.1"] = ZeroDivisionError()
    script = connect(pool, loop)
    assert script.down.head is not None
    assert script.down.head.status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_whom_it_connected_from(pool: Pool, loop: FakeLoop) -> None:
    """The address by which a connection to ourselves is recognised, while it stands."""
    connect(pool, loop, LITERAL)
    (transport,) = loop.transports
    assert pool.own_ends == {transport.get_extra_info("sockname"): [transport.get_extra_info("peername")]}
    transport.lose()
    assert pool.own_ends == {}
