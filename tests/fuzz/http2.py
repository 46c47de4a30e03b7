"""HTTP/2 frames from a stranger, on either side of the proxy, with real connections all the way.

The first line says who they come from: `client` (behind a good preface), `raw` (a client's first bytes, whatever they
are) or `server`, which answers three requests. The rest of the input is the stream. The other end is the h2 package,
which checks strictly what we send on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from zlib import crc32

import h2.config
import h2.connection

from proxy.exchange import Exchange
from proxy.net.h2_upstream import H2UpstreamStream
from proxy.routing.names import Endpoint
from tests.fuzz.cost import cpu_limit, pumped
from tests.support.h2frames import Told, answered, served
from tests.support.h2script import (
    CONTINUATION,
    END,
    END_HEADERS,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITY,
    SPARE_WINDOW,
    H2UpstreamScript,
    block,
    data,
    frame,
    goaway,
    headers,
    ping,
    request,
    request_pairs,
    response,
    rst,
    settings,
    window,
)
from tests.support.loop import running_loop
from tests.support.net import DownstreamScript

_GET = block(*request_pairs())
_OPEN = request(1, method="POST", end=False)
_SENT = [
    request(1),
    request(1, ("baggage", "sd-routing-key=key"), ("cookie", "a=b"), ("cookie", "c=d")) + ping(),
    _OPEN + data(1, b"ab") + data(1, b"c", end=True) + request(3),
    _OPEN + data(1, b"ab") + headers(1, ("x-sum", "1"), end=True),
    _OPEN + frame(0, PADDED | END, 1, b"\x03body\0\0\0"),
    _OPEN + window(1, 0) + data(1, b"late") + request(3),
    _OPEN + rst(1) + window(1, 5) + goaway(0),
    request(1, ("content-length", "2"), method="PUT", end=False) + data(1, b"ab", end=True),
    request(1, (":protocol", "websocket"), method="CONNECT", end=False) + data(1, b"early"),
    frame(HEADERS, END, 1, _GET[:9]) + frame(CONTINUATION, 0, 1, _GET[9:20]) + frame(CONTINUATION, 4, 1, _GET[20:]),
    settings((4, 10), (5, 16384), (8, 1)) + request(1) + settings((4, 0)) + window(0, 100),
    frame(HEADERS, END | END_HEADERS, 1, b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff") * 2,
]
_ANSWERS = [
    response(1, end=True) + response(3, ("content-length", "9"), end=True),
    response(1) + data(1, b"ok") + data(1, end=True) + response(5, ("grpc-status", "5"), end=True),
    response(1, ("content-length", "2")) + data(1, b"ok", end=True),
    response(5) + headers(5, ("grpc-status", "0"), end=True),
    response(1, status=103) + response(1) + rst(1, 8) + rst(3, 7) + window(5, 100),
    goaway(1) + response(1) + data(1, b"x" * 100, end=True),
    response(5) + data(5, b"\0\0\0\0\1x") + settings((4, 3)) + window(0, 9) + ping(),
]  # fmt: skip
SCRAPS = [
    *_SENT[:3],
    _ANSWERS[0],
    settings((4, 0)),
    window(1, 1),
    window(0, 2**31 - 1),
    rst(1),
    rst(3, 7),
    data(1, b"x"),
    data(1, end=True),
    frame(PRIORITY, 0, 1, b"12345"),
    frame(HEADERS, 0, 5, _GET),
    frame(CONTINUATION, END_HEADERS, 5),
    block((":path", "/")),
    block(("content-length", "1")),
    block(("te", "trailers")),
    block(("connection", "close")),
    b"\x20",
    b"\xbe",
    b"\0\0\0",
    b"\0\x40\x01",
    PREFACE,
]
_BYTEWISE_AT_MOST = 300


def seeds() -> Iterable[bytes]:
    for sent in _SENT:
        yield b"client\n" + sent
        yield b"raw\n" + PREFACE + settings() + sent
    for sent in _ANSWERS:
        yield b"server\n" + sent


def check(whole: bytes) -> None:
    word, _, stream = whole.partition(b"\n")
    if word == b"server":
        check_cuts(answered, stream)
        check_responses(stream)
    else:
        if word != b"raw":
            stream = PREFACE + settings() + stream
        elif not stream.startswith(PREFACE[:18]):
            return  # HTTP/1.1's, and another target's
        check_cuts(served, stream)
        check_requests(stream)


def check_cuts(read: Callable[[bytes, list[int]], Told], stream: bytes) -> None:
    """However it is cut, the same; what is said is bounded by what came."""
    random = Random(crc32(stream))
    with cpu_limit():
        once = read(stream, [])
    cuts = [random.randint(0, len(stream)) for _ in range(3)]
    assert read(stream, cuts) == once, "how it is cut changes nothing"
    if len(stream) <= _BYTEWISE_AT_MOST and not random.randrange(4):
        assert read(stream, list(range(len(stream)))) == once, "how it is cut changes nothing"
    if (long := pumped(stream)) is not None:
        with cpu_limit():
            read(long, [])


class _OnePool:
    """`exchange.UpstreamPool`: one connection."""

    def __init__(self, up: H2UpstreamScript) -> None:
        self._up = up

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> H2UpstreamStream | None:
        return self._up.upstream.open() if self._up.upstream.has_room else None

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        exchange.connect_failed()


def check_requests(stream: bytes) -> None:
    """What goes upstream is HTTP/2 to h2 too, whatever came."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    with running_loop() as loop:
        up = H2UpstreamScript(hello=b"", reads=False)
        up.transport.receive(server.data_to_send())
        down = DownstreamScript()
        down.port = replace(down.port, pool=_OnePool(up))
        down.protocol, down.transport = down.accept()
        down.transport.receive(stream)
        loop.settle()
        server.receive_data(up.transport.take())
        down.transport.lose()
        loop.settle()
        server.receive_data(up.transport.take())
        assert not up.upstream.streams
        assert not up.upstream.blocked
        assert up.upstream.spare_window == SPARE_WINDOW


def check_responses(stream: bytes) -> None:
    """What goes downstream is HTTP/2 to h2 too, whatever the server says."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    start = [(b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    for number, method in ((1, b"GET"), (3, b"HEAD"), (5, b"POST")):
        client.send_headers(number, [(b":method", method), *start, (b"content-type", b"application/grpc")])
        if number < 5:
            client.end_stream(number)
    with running_loop() as loop:
        up = H2UpstreamScript()
        down = DownstreamScript()
        down.port = replace(down.port, pool=_OnePool(up))
        down.protocol, down.transport = down.accept()
        down.transport.receive(client.data_to_send())
        loop.settle()
        up.transport.receive(stream)
        loop.settle()
        client.receive_data(down.transport.take())
        if not up.transport.is_lost:
            up.transport.lose()
        loop.settle()
        client.receive_data(down.transport.take())
        assert not up.upstream.streams
        if down.transport.ending == "open":
            down.transport.lose()
