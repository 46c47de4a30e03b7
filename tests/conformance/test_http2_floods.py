"""CHECKLIST 28-32: peers of HTTP/2 that make us work for nothing. Their connection ends, memory stays flat, and another
client is served all the while.

The attacker does not read, so what is answered to it queues up. It sends until its connection ends; each flood is given
more frames than anybody may send, and fewer than would take long.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.http2 import (
    DEFAULT_WINDOW,
    MAX_FRAME,
    MAX_WINDOW,
    PREFACE,
    SETTINGS_ACK,
    SIZE_0,
    Code,
    Kind,
    Setting,
    answer,
    block,
    continuation,
    data,
    frame,
    get,
    goaway,
    head,
    headers,
    indexed,
    literal,
    ping,
    post,
    priority,
    reset,
    settings,
    window_update,
)
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Peer, Stream, connected
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy

MiB = 1 << 20
GROWTH = 48 * MiB  # what memory may grow by, and never by more from one flood to the next

Scene = tuple[Proxy, Http2Origin]


def reply(peer: Peer, stream: Stream) -> None:
    if stream.target == b"/long":
        peer.send(headers(stream.number, SIZE_0 + answer()))
        while min(stream.credit, peer.credit) >= MAX_FRAME:
            stream.credit -= MAX_FRAME
            peer.credit -= MAX_FRAME
            peer.send(data(stream.number, bytes(MAX_FRAME)))
    elif stream.target != b"/held":
        peer.send(headers(stream.number, SIZE_0 + answer(), end=True))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    origin = Http2Origin(respond=reply)
    with running(origin), run_proxy(tmp_path_factory.mktemp("floods"), origin.port) as proxy:
        with connected(proxy.port) as peer:  # all that is made once
            peer.send(get(3, "/long"), reset(3))
            peer.sync()
        yield proxy, origin


@dataclass
class Flood:
    """`before` opens it; `unit` is sent `count` times, made for a stream that nobody used so far."""

    unit: Callable[[int], bytes]
    count: int = 60_000
    before: bytes = b""
    code: Code = Code.ENHANCE_YOUR_CALM


def same(unit: bytes, count: int = 60_000, before: bytes = b"", code: Code = Code.ENHANCE_YOUR_CALM) -> Flood:
    return Flood(lambda _: unit, count, before, code)


OPEN = post(3, "/held")
BEGUN = headers(3, head("/")[:9], whole=False)
LONG = (":path", "/" + "a" * 50)

FLOODS = {
    "28: rapid reset": Flood(lambda n: get(n) + reset(n), 3000),
    "28: rapid reset of requests that are held": Flood(lambda n: get(n, "/held") + reset(n), 3000),
    "28: rapid reset with bodies": Flood(lambda n: post(n, "/held") + data(n, b"x") + reset(n), 3000),
    "28: made you reset by an increment of 0": Flood(lambda n: get(n, "/held") + window_update(n, 0), 3000),
    "28: made you reset by a window too large": Flood(lambda n: get(n, "/held") + window_update(n, MAX_WINDOW), 3000),
    "28: made you reset by PRIORITY of 4 bytes": Flood(
        lambda n: get(n, "/held") + frame(Kind.PRIORITY, bytes(4), stream=n), 3000
    ),
    "28: made you reset by DATA behind the end": Flood(lambda n: get(n, "/held") + data(n, b"x"), 3000),
    "28: made you reset by a second head": Flood(lambda n: get(n, "/held") * 2, 3000),
    "28: made you reset by a body too long": Flood(
        lambda n: post(n, "/held", ("content-length", "1")) + data(n, b"xx"), 3000
    ),
    "28: malformed requests": Flood(lambda n: headers(n, block(("X", "1")), end=True)),
    "28: requests that we answer": Flood(
        lambda n: headers(n, block((":method", "CONNECT"), (":authority", "a:1")), end=True)
    ),
    "29: CONTINUATION with data": same(continuation(3, literal(b"x-a", b"a" * 16000), whole=False), 1000, BEGUN),
    "29: CONTINUATION of a byte": same(continuation(3, b"\x00", whole=False), before=BEGUN),
    "29: CONTINUATION without data": same(continuation(3, whole=False), before=BEGUN),
    "29: CONTINUATION behind an empty head": same(continuation(3, whole=False), before=headers(3, b"", whole=False)),
    "30: SETTINGS": same(settings({Setting.INITIAL_WINDOW_SIZE: 100})),
    "30: SETTINGS without a setting": same(settings()),
    "30: SETTINGS with 2730 settings": same(settings([(0xEEEE, 1)] * 2730), 6000),
    "30: acknowledgements": same(SETTINGS_ACK),
    "30: PING": same(ping()),
    "30: answers to PING": same(ping(ack=True)),
    "30: PRIORITY": same(priority(3)),
    "30: PRIORITY of idle streams": Flood(priority),
    "30: WINDOW_UPDATE": same(window_update(0, 1)),
    "30: WINDOW_UPDATE of a stream": same(window_update(3, 1), before=OPEN),
    "30: WINDOW_UPDATE of a closed stream": same(window_update(1, 1)),
    "30: empty DATA": same(data(3), before=OPEN),
    "30: DATA that is padding": same(data(3, pad=0), before=OPEN),
    "30: DATA on a closed stream": same(data(1)),
    "30: RST_STREAM of a closed stream": same(reset(1)),
    "30: GOAWAY": same(goaway(), before=OPEN),
    "30: unknown frames": same(frame(Kind.UNKNOWN), before=OPEN),
    "32: more streams than allowed": Flood(lambda n: get(n, "/held"), 60_000),
}


def attack(port: int, flood: Flood, other: Peer, watch: Callable[[], None]) -> int | None:
    """The code that ended it; None if it was a plain end. Raises: AssertionError if it never ended."""
    numbers = itertools.count(5, 2)
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        peer = Peer(connection, {}, DEFAULT_WINDOW, preface=PREFACE)
        peer.send(headers(1, SIZE_0 + head("/"), end=True), SETTINGS_ACK, flood.before)
        sent, asked = 0, len(other.streams)
        try:
            while sent < flood.count:
                size = len(flood.unit(5))
                many = max(1, min(500, 500_000 // size, flood.count - sent))
                peer.send(*(flood.unit(next(numbers)) for _ in range(many)))
                sent += many
                number = 2 * (asked := asked + 1) + 1
                other.send(get(number))
                assert other.over(number).status == 200
                watch()
        except (ConnectionError, BrokenPipeError):
            pass
        try:
            return peer.end()
        except TimeoutError:
            raise AssertionError(f"{sent} of them, and nobody minds: {peer.heard()}") from None


@pytest.mark.parametrize("name", FLOODS)
def test_floods(scene: Scene, name: str) -> None:
    proxy, _ = scene
    before = proxy.rss_bytes()
    grown = [0]
    with connected(proxy.port) as other:
        code = attack(proxy.port, FLOODS[name], other, lambda: grown.append(proxy.rss_bytes() - before))
        assert code in (None, FLOODS[name].code)
        assert max(grown) < GROWTH
        other.sync()
        assert not other.goaways


def test_an_hpack_bomb(scene: Scene) -> None:
    """CHECKLIST 31: an entry of 4 KB, referred to 16000 times by a byte each: 64 MB in a frame."""
    proxy, origin = scene
    before = proxy.rss_bytes()
    with connected(proxy.port) as other, connected(proxy.port, first=False) as peer:
        peer.acks_settings = False  # so the table is there
        bomb = head("/bomb") + literal(b"x", b"a" * 4000, first=0x40) + indexed(62) * 12000
        for number in range(1, 41, 2):
            peer.send(headers(number, bomb, end=True))
        try:
            for number in range(1, 41, 2):
                assert peer.over(number).status == 431 or peer.stream(number).reset is not None
        except EOFError:
            assert peer.goaways[-1][1] in (Code.ENHANCE_YOUR_CALM, Code.COMPRESSION_ERROR)
        assert proxy.rss_bytes() - before < GROWTH
        other.send(get(3))
        assert other.over(3).status == 200
    assert not [each for each in origin.requests if each.target == b"/bomb"]


@pytest.mark.parametrize("field", [b"\x00\x00\x00", b"\x00\x01a\x00", b"\x00\x06cookie\x01a", indexed(2)])
def test_many_small_fields(scene: Scene, field: bytes) -> None:
    """CVE-2019-9516 and crumbs of cookies: as many as a frame holds, in 100 requests. Counted by RFC 9113 6.5.2."""
    proxy, origin = scene
    before = proxy.rss_bytes()
    with connected(proxy.port) as other, connected(proxy.port) as peer:
        full = head("/bomb") + field * (16000 // len(field))
        for number in range(3, 203, 2):
            peer.send(headers(number, full, end=True))
            assert peer.over(number).status == 431 or peer.stream(number).reset == Code.PROTOCOL_ERROR
        assert proxy.rss_bytes() - before < GROWTH
        other.send(get(3))
        assert other.over(3).status == 200
    assert not [each for each in origin.requests if each.target == b"/bomb"]


@pytest.mark.parametrize("window", [0, 1])
def test_readers_that_read_nothing(scene: Scene, window: int) -> None:
    """CVE-2019-9517 and slow reads: 500 long answers wanted, and no room given for them."""
    proxy, _ = scene
    before = proxy.rss_bytes()
    with (
        connected(proxy.port) as other,
        connected(proxy.port, {Setting.INITIAL_WINDOW_SIZE: window}, first=False) as peer,
    ):
        peer.send(headers(1, SIZE_0 + head("/long"), end=True), *(get(number, "/long") for number in range(3, 1001, 2)))
        for number in (3, 5, 7):
            other.send(get(number))
            assert other.over(number).status == 200
            peer.sync()
        assert proxy.rss_bytes() - before < GROWTH


def test_an_ordinary_client_is_no_flood(scene: Scene) -> None:
    """5000 requests on one connection, every tenth of which is cancelled, with pings, updates and settings."""
    proxy, _ = scene
    with connected(proxy.port, {}, DEFAULT_WINDOW) as peer:
        for number in range(3, 10_003, 2):
            path = "/held" if number % 20 == 3 else "/"
            peer.send(get(number, path), ping(), window_update(0, 1) if not number % 9 else b"")
            if path == "/held":
                peer.send(reset(number), settings())
            else:
                assert peer.over(number).status == 200, peer.heard()
        peer.sync()
        assert not peer.goaways
