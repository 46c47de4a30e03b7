"""Shared upstream connections in the pool, over a network that the test plays."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from proxy import errors
from proxy.net.h2_upstream import H2UpstreamStream
from proxy.net.pool import Pool
from tests.support.exchange import BASELINE, SANDBOX, SANDBOX_2, Script
from tests.support.h2script import Peer, data, goaway, http2_head, response, rst, settings
from tests.support.loop import FakeLoop
from tests.support.net import new_pool

HOST = "10.0.0.7"


@pytest.fixture
def pool(loop: FakeLoop) -> Pool:
    pool = new_pool()
    for endpoint in (BASELINE, SANDBOX, SANDBOX_2):
        pool._target(endpoint).found([HOST], math.inf)
    return pool


def request(pool: Pool, loop: FakeLoop) -> Script:
    """One that goes through the pool, to the baseline."""
    script = Script()
    script.port = replace(script.port, pool=pool)
    script.start(http2_head())
    loop.settle()
    return script


def peers(loop: FakeLoop) -> list[Peer]:
    return [Peer(transport, is_client=False) for transport in loop.transports]


def opened(told: list[str]) -> int:
    return sum(line.startswith("HEADERS") for line in told)


def test_all_who_wait_share_one_connection(pool: Pool, loop: FakeLoop) -> None:
    for _ in range(20):
        request(pool, loop)
    assert len(loop.attempts) == 1
    (peer,) = peers(loop)
    assert opened(peer.take()) == 0, "not before the peer has said how many it takes"
    assert opened(peer.send(settings())) == 20
    assert len(loop.attempts) == 1


def test_a_connection_with_room_is_used_at_once(pool: Pool, loop: FakeLoop) -> None:
    request(pool, loop)
    (peer,) = peers(loop)
    peer.send(settings((3, 2)))
    stream = pool.take([BASELINE], is_http2=True)
    assert isinstance(stream, H2UpstreamStream)
    assert pool.take([BASELINE], is_http2=False) is None, "another version's"
    assert pool.take([SANDBOX], is_http2=True) is None
    request(pool, loop)
    assert opened(peer.take()) == 1
    assert pool.take([BASELINE], is_http2=True) is None, "full"


@pytest.mark.parametrize("announced", [1, 3, 7])
def test_as_many_connections_as_it_takes(pool: Pool, loop: FakeLoop, announced: int) -> None:
    """None is refused, whatever the peer takes."""
    scripts = [request(pool, loop) for _ in range(20)]
    known: list[Peer] = []
    total = 0
    while len(loop.transports) > len(known):
        known.append(Peer(loop.transports[len(known)], is_client=False))
        known[-1].take()
        known[-1].send(settings((3, announced)))
        loop.settle()
        total += opened([line for peer in known for line in peer.take()])
    assert len(known) == math.ceil(20 / announced)
    assert not any(script.exchange.is_over for script in scripts)
    assert [sum(one.kind == 1 for one in peer.frames) for peer in known[:-1]] == [announced] * (len(known) - 1)


def test_a_peer_that_takes_no_stream(pool: Pool, loop: FakeLoop) -> None:
    script = request(pool, loop)
    (peer,) = peers(loop)
    peer.send(settings((3, 0)))
    loop.settle()
    assert script.exchange.reason is errors.UPSTREAM_REFUSED
    assert script.down.head is not None
    assert script.down.head.status == 503


def test_a_peer_that_says_nothing(pool: Pool, loop: FakeLoop) -> None:
    script = request(pool, loop)
    loop.advance(4.9)
    assert not script.exchange.is_over
    loop.advance(0.2)
    assert script.exchange.reason is errors.BASELINE_TIMEOUT
    assert loop.transports[0].ending == "abort"
    assert pool.take([BASELINE], is_http2=True) is None


def test_a_peer_that_closes_at_once(pool: Pool, loop: FakeLoop) -> None:
    script = request(pool, loop)
    loop.transports[0].lose()
    loop.settle()
    assert script.exchange.is_over
    assert script.down.head is not None
    assert script.down.head.status == 502
    assert pool._metrics.upstream_connections == 0


def test_a_peer_that_speaks_http1(pool: Pool, loop: FakeLoop) -> None:
    script = request(pool, loop)
    loop.transports[0].receive(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    loop.settle()
    assert script.exchange.reason is errors.UPSTREAM_INVALID
    assert loop.transports[0].ending == "close"


def test_a_refused_connection(pool: Pool, loop: FakeLoop) -> None:
    loop.peers[HOST] = ConnectionRefusedError()
    script = request(pool, loop)
    assert script.exchange.reason is errors.BASELINE_UNREACHABLE


def test_refused_streams_find_another_connection(pool: Pool, loop: FakeLoop) -> None:
    """More than it announced: a refusal is believed, and the next connection has room."""
    scripts = [request(pool, loop), request(pool, loop)]
    (first,) = peers(loop)
    first.take()
    first.send(settings())
    first.send(rst(3, 7))
    loop.settle()
    second = Peer(loop.transports[1], is_client=False)
    second.take()
    assert opened(second.send(settings())) == 1
    second.send(response(1), data(1, b"ok", end=True))
    first.send(response(1, end=True))
    assert [script.exchange.reason.name for script in scripts] == ["no_key", "no_key"]


def test_goaway_moves_what_was_not_served(pool: Pool, loop: FakeLoop) -> None:
    scripts = [request(pool, loop), request(pool, loop)]
    (first,) = peers(loop)
    first.take()
    first.send(settings())
    first.send(goaway(1))
    loop.settle()
    assert pool.take([BASELINE], is_http2=True) is None
    second = Peer(loop.transports[1], is_client=False)
    second.take()
    second.send(settings())
    second.send(response(1, end=True))
    assert [script.exchange.is_over for script in scripts] == [False, True]


def test_connections_to_endpoints_that_are_gone(pool: Pool, loop: FakeLoop) -> None:
    script = request(pool, loop)
    (peer,) = peers(loop)
    peer.take()
    peer.send(settings())
    pool.keep_only({SANDBOX})
    assert peer.take() == ["GOAWAY 0 NO_ERROR"]
    assert loop.transports[0].ending == "open"
    assert pool.take([BASELINE], is_http2=True) is None
    peer.send(response(1, end=True))
    assert (script.exchange.is_over, loop.transports[0].ending) == (True, "close")


def test_a_table_that_changes_under_those_who_wait(pool: Pool, loop: FakeLoop) -> None:
    """They keep the table that led there: the connection that is being made serves them, and nobody else."""
    scripts = [request(pool, loop), request(pool, loop)]
    (peer,) = peers(loop)
    peer.take()
    pool.keep_only([SANDBOX])
    assert loop.transports[0].ending != "close"
    assert opened(peer.send(settings())) == 2
    assert pool.take([BASELINE], is_http2=True) is None
    for stream, script in zip((1, 3), scripts, strict=True):
        assert loop.transports[0].ending != "close"
        peer.send(response(stream, end=True))
        loop.settle()
        assert script.down.head is not None
        assert script.down.head.status == 200
    assert loop.transports[0].ending == "close"


def test_load_counts_streams(pool: Pool, loop: FakeLoop) -> None:
    for _ in range(3):
        request(pool, loop)
    (peer,) = peers(loop)
    peer.send(settings())
    (address,) = pool._target(BASELINE).addresses
    assert address.load == 4  # three, and the connection itself
    peer.send(response(1, end=True))
    assert address.load == 3


def test_a_request_that_is_over_before_its_connection_stands(pool: Pool, loop: FakeLoop) -> None:
    """The connection stays for the next one."""
    script = request(pool, loop)
    script.exchange.downstream_failed()
    (peer,) = peers(loop)
    peer.take()
    assert peer.send(settings()) == ["SETTINGS ack"]
    assert pool.take([BASELINE], is_http2=True) is not None


def test_the_pool_ends_all(pool: Pool, loop: FakeLoop) -> None:
    request(pool, loop)
    (peer,) = peers(loop)
    peer.take()
    peer.send(settings())
    peer.send(response(1, end=True))
    pool.close()
    assert (peer.take(), loop.transports[0].ending) == (["GOAWAY 0 NO_ERROR"], "close")
