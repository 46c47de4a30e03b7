"""Idle upstream connections, and new ones over a network that the test plays (`tests.support.loop`)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable

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
    target = pool._target(endpoint)
    if not target.is_known:
        target.found(["10.0.0.7"], math.inf)
    upstream = H1Upstream(pool, target.addresses[0])
    transport = FakeTransport(upstream)
    pool.put(upstream)
    return upstream, transport


# --- idle connections ----------------------------------------------------------------------------------------------


def test_an_empty_pool(pool: Pool) -> None:
    assert pool.take([BASELINE], is_http2=False) is None


def test_the_last_used_first(pool: Pool) -> None:
    """So that the others grow old together and end."""
    connections = [idle(pool)[0] for _ in range(3)]
    taken = [pool.take([BASELINE], is_http2=False) for _ in range(4)]
    assert taken == [*reversed(connections), None]
    assert all(upstream.is_reused for upstream in connections)


def test_endpoints_are_apart(pool: Pool) -> None:
    first, second = idle(pool, SANDBOX)[0], idle(pool, SANDBOX_2)[0]
    assert pool.take([BASELINE], is_http2=False) is None
    assert pool.take([SANDBOX], is_http2=False) is first
    assert pool.take([SANDBOX], is_http2=False) is None
    assert pool.take([SANDBOX_2], is_http2=False) is second


def test_so_many_stay_idle(pool: Pool) -> None:
    transports = [idle(pool)[1] for _ in range(514)]
    assert [transport.ending for transport in transports] == ["open"] * 512 + ["close"] * 2
    assert idle(pool, SANDBOX)[1].ending == "open"


def test_a_lost_connection_is_not_handed_out(pool: Pool) -> None:
    kept, (_, transport) = idle(pool)[0], idle(pool)
    transport.lose()
    assert pool.take([BASELINE], is_http2=False) is kept
    assert pool.take([BASELINE], is_http2=False) is None


def test_keep_only(pool: Pool) -> None:
    """SPEC 4: nothing reaches the destinations of a route that is gone."""
    kept, gone = idle(pool, SANDBOX)[1], [idle(pool, SANDBOX_2)[1] for _ in range(2)]
    pool.keep_only({SANDBOX, BASELINE})
    assert [transport.ending for transport in (kept, *gone)] == ["open", "close", "close"]
    assert pool.take([SANDBOX_2], is_http2=False) is None
    for transport in gone:
        transport.lose()
    assert pool.take([SANDBOX], is_http2=False) is not None


def test_check_time(pool: Pool) -> None:
    """The clock is the pool's; who was used since stays."""
    start_s = pool.now_s
    old = idle(pool)[1]
    pool.check_time(start_s + 30)
    assert pool.now_s == start_s + 30
    young_upstream, young = idle(pool)
    pool.check_time(start_s + 41)
    assert (old.ending, young.ending) == ("close", "open")
    assert pool.take([BASELINE], is_http2=False) is young_upstream
    assert pool.take([BASELINE], is_http2=False) is None


def test_close(pool: Pool) -> None:
    transports = [idle(pool)[1] for _ in range(3)]
    pool.take([BASELINE], is_http2=False)
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
    pool.connect([endpoint], script.exchange, is_http2=False)
    loop.settle()
    return script


def test_a_literal_is_not_looked_up(pool: Pool, loop: FakeLoop) -> None:
    script = connect(pool, loop, LITERAL)
    assert loop.attempts == [("10.0.0.1", 80)]
    (transport,) = loop.transports
    assert transport.take().startswith(b"GET / HTTP/1.1\r\n")
    script.does(lambda: transport.receive(TWO))
    script.assert_finished(errors.ROUTE, 200)
    assert pool.take([LITERAL], is_http2=False) is not None


def test_a_name_is_looked_up(pool: Pool, loop: FakeLoop) -> None:
    """Each address is tried once."""
    loop.names["box"] = ["10.0.0.1", "10.0.0.1", "fd00::1"]
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    connect(pool, loop)
    assert loop.attempts == [("10.0.0.1", 1), ("fd00::1", 1)]
    assert len(loop.transports) == 1


def test_the_next_address_where_one_does_not_answer(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    loop.peers.update(dict.fromkeys(loop.names["box"][:2], ConnectionRefusedError()))
    script = connect(pool, loop)
    *tried, (last, _) = loop.attempts
    assert last == "10.0.0.3"
    assert len(set(tried)) == len(tried)
    assert script.calls == ["connect box:1"]
    assert len(loop.transports) == 1
    assert sum(script.metrics.upstream_failures.values()) == len(tried)


def test_the_next_address_where_one_is_silent(pool: Pool, loop: FakeLoop) -> None:
    """It gets half of the time, while others are left."""
    loop.names["box"] = ["10.0.0.1", "fd00::1"]  # IPv4 first
    loop.peers["10.0.0.1"] = None
    connect(pool, loop)
    loop.advance(2.4)
    assert loop.transports == []
    loop.advance(0.2)
    assert loop.attempts == [("10.0.0.1", 1), ("fd00::1", 1)]
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
    loop.on_attempt = script.exchange.downstream_failed
    pool.connect([NAMED], script.exchange, is_http2=False)
    loop.settle()
    assert loop.transports[0].writes == []
    assert pool.take([NAMED], is_http2=False) is not None


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


def test_nobody_is_asked_for_a_request_that_is_over(pool: Pool, loop: FakeLoop) -> None:
    script = Script(route_table(LITERAL))
    script.start(request_head(TAGGED))
    pool.connect([LITERAL], script.exchange, is_http2=False)
    script.exchange.downstream_failed()
    loop.settle()
    assert loop.attempts == []


# --- names ---------------------------------------------------------------------------------------------------------


def test_a_name_holds_as_long_as_it_says(pool: Pool, loop: FakeLoop) -> None:
    """Then it is looked up in the background: the request at hand is served by what is known."""
    loop.names["box"] = ["10.0.0.1"]
    connect(pool, loop).does(lambda: loop.transports[0].receive(TWO))
    loop.names["box"] = ["10.0.0.2"]
    pool.check_time(loop.time() + 39)
    upstream = pool.take([NAMED], is_http2=False)
    assert (upstream is not None, loop.looked_up) == (True, ["box"])
    loop.advance(61)
    pool.check_time(loop.time())
    pool.take([NAMED], is_http2=False)
    loop.settle()
    assert loop.looked_up == ["box", "box"]
    connect(pool, loop)
    assert loop.attempts[-1] == ("10.0.0.2", 1)


def test_connections_to_an_address_that_left_its_name_end(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1"]
    connect(pool, loop).does(lambda: loop.transports[0].receive(TWO))
    connect(pool, loop)
    idle_one, busy = loop.transports
    loop.names["box"] = ["10.0.0.2"]
    pool._look_up_once(pool._target(NAMED))
    loop.settle()
    assert (idle_one.ending, busy.ending) == ("close", "open")
    busy.receive(TWO)
    assert busy.ending == "close"
    assert pool.take([NAMED], is_http2=False) is None


def test_what_was_known_holds_while_nobody_can_tell(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1"]
    connect(pool, loop)
    del loop.names["box"]
    loop.advance(61)
    pool.check_time(loop.time())
    connect(pool, loop)
    assert loop.looked_up == ["box", "box"]
    assert loop.attempts == [("10.0.0.1", 1)] * 2
    loop.advance(0.5)
    pool.check_time(loop.time())
    connect(pool, loop)
    assert loop.looked_up == ["box", "box"], "not before a second has passed"


def test_a_name_whose_addresses_all_fail_is_looked_up_again(pool: Pool, loop: FakeLoop) -> None:
    """The pod moved before its name's time was over."""
    loop.names["box"] = ["10.0.0.1"]
    connect(pool, loop)
    loop.advance(2)
    loop.names["box"] = ["10.0.0.2"]
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    script = connect(pool, loop)
    assert loop.attempts[1:] == [("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert script.down.head is None
    assert len(loop.transports) == 2


# --- several addresses ---------------------------------------------------------------------------------------------


def test_all_destinations_are_used(pool: Pool, loop: FakeLoop) -> None:
    endpoints = [Endpoint(f"10.0.0.{number}", 80) for number in range(1, 5)]
    for _ in range(60):
        script = Script(route_table(*endpoints))
        script.start(request_head(TAGGED))
        pool.connect(endpoints, script.exchange, is_http2=False)
        loop.settle()
    loads = Counter(host for host, _ in loop.attempts)
    assert set(loads) == {endpoint.host for endpoint in endpoints}
    assert max(loads.values()) - min(loads.values()) <= 8, "the less loaded of two"


def test_an_address_that_fails_is_set_aside_and_tried_again(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1", "10.0.0.2"]
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    while ("10.0.0.1", 1) not in loop.attempts:
        connect(pool, loop)
    loop.attempts.clear()
    for _ in range(20):
        connect(pool, loop)
    assert set(loop.attempts) == {("10.0.0.2", 1)}
    del loop.peers["10.0.0.1"]
    pool.check_time(loop.time() + 1.5)
    for _ in range(20):
        connect(pool, loop)
    assert loop.attempts.count(("10.0.0.1", 1)) == 1, "one tries, the others wait for what comes of it"
    transport = next(each for each in loop.transports if each.get_extra_info("peername")[0] == "10.0.0.1")
    transport.receive(TWO)
    for _ in range(20):
        connect(pool, loop)
    assert loop.attempts.count(("10.0.0.1", 1)) > 5


def test_the_only_address_is_never_set_aside(pool: Pool, loop: FakeLoop) -> None:
    loop.peers["10.0.0.1"] = ConnectionRefusedError()
    for _ in range(3):
        connect(pool, loop, LITERAL)
    assert len(loop.attempts) == 3


def test_a_route_that_went_away_under_a_request_keeps_no_connection(pool: Pool, loop: FakeLoop) -> None:
    pool.keep_only({BASELINE})
    connect(pool, loop, LITERAL)
    (transport,) = loop.transports
    transport.receive(TWO)
    assert transport.ending == "close"
    pool.keep_only({BASELINE, LITERAL})  # and is back
    connect(pool, loop, LITERAL)
    loop.transports[1].receive(TWO)
    assert pool.take([LITERAL], is_http2=False) is not None


def test_a_connection_that_is_lost_is_not_pooled(pool: Pool) -> None:
    """Its last words may be a whole response that would leave it usable."""
    upstream, transport = idle(pool)
    assert pool.take([BASELINE], is_http2=False) is upstream
    transport.lose()
    pool.put(upstream)
    assert pool.take([BASELINE], is_http2=False) is None


def test_a_connection_that_its_time_limit_ends_as_it_stands(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop closes it without a word to its protocol."""
    metrics = Metrics()
    pool = new_pool(metrics=metrics)

    async def create_connection(factory: Callable[[], H1Upstream], *_: object, **__: object) -> None:
        FakeTransport(factory())
        raise TimeoutError

    monkeypatch.setattr(loop, "create_connection", create_connection)
    script = connect(pool, loop, LITERAL)
    assert script.down.head is not None
    assert script.down.head.status == 504
    assert (metrics.upstream_connections, pool.own_ends) == (0, {})
    assert pool._target(LITERAL).addresses[0].connections == 0


def test_requests_that_need_the_same_name_share_its_look_up(pool: Pool, loop: FakeLoop) -> None:
    loop.names["box"] = ["10.0.0.1"]
    scripts = [Script(route_table(NAMED)) for _ in range(3)]
    for script in scripts:
        script.start(request_head(TAGGED))
        pool.connect([NAMED], script.exchange, is_http2=False)
    loop.settle()
    assert loop.looked_up == ["box"]
    assert len(loop.transports) == 3
