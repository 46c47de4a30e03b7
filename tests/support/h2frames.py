"""Streams of frames that are worth reading (mostly valid, in the order that a peer may choose, sometimes spoiled), and
what a connection makes of one, as a value that can be compared."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from proxy.codec.events import CHUNKED
from tests.support.h2script import (
    CONTINUATION,
    DATA,
    END,
    END_HEADERS,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITY,
    H2UpstreamScript,
    block,
    data,
    frame,
    goaway,
    headers,
    http2_head,
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

CUTS = st.lists(st.integers(0, 4000), max_size=6)
IDS = st.sampled_from([1, 1, 1, 3, 3, 5, 5, 7, 9, 2, 0, 4, 101])
SIZES = st.sampled_from([0, 1, 1, 2, 10, 100, 5000, 16384])
CODES = st.sampled_from([0, 1, 2, 5, 7, 8, 11, 99])
INCREMENTS = st.sampled_from([0, 1, 5, 100, 16384, 65535, 2**20, 2**31 - 1])
SETTINGS_PAIRS = st.tuples(
    st.sampled_from([1, 2, 3, 4, 4, 4, 5, 6, 8, 0x99]),
    st.sampled_from([0, 1, 2, 100, 16384, 65535, 100000, 2**24 - 1, 2**31 - 1, 2**32 - 1]),
)
FIELDS = st.lists(
    st.sampled_from(
        [
            ("x-a", "1"),
            ("baggage", "sd-routing-key=key"),
            ("cookie", "a=b"),
            ("content-length", "2"),
            ("content-length", "0"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-status", "0"),
            ("X", "bad"),
            ("connection", "close"),
            (":path", "/late"),
            ("x-long", "y" * 500),
        ]
    ),
    max_size=3,
)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "CONNECT", "OPTIONS"])


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    stream, end = draw(IDS), draw(st.booleans())
    fields = draw(FIELDS)
    method = draw(METHODS)
    if draw(st.booleans()):
        return request(stream, *fields, method=method, end=end)
    extended = [(":protocol", "websocket")] if method == "CONNECT" else []
    whole = block(*request_pairs(*extended, *fields, method=method))
    place = draw(st.integers(0, len(whole)))
    parts = frame(HEADERS, END * end, stream, whole[:place])
    return parts + frame(CONTINUATION, END_HEADERS, stream, whole[place:])


@st.composite
def _response(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 200, 200, 100, 103, 204, 304, 404, 503, 101, 99]))
    return response(draw(IDS), *draw(FIELDS), status=status, end=draw(st.booleans()))


@st.composite
def _other(draw: st.DrawFn) -> bytes:
    stream = draw(IDS)
    match draw(st.integers(0, 11)):
        case 0 | 1 | 2:
            return data(stream, b"x" * draw(SIZES), end=draw(st.booleans()))
        case 3:
            return headers(stream, *draw(FIELDS), end=draw(st.booleans()))
        case 4:
            return rst(stream, draw(CODES))
        case 5 | 6:
            return window(stream, draw(INCREMENTS))
        case 7:
            return settings(*draw(st.lists(SETTINGS_PAIRS, max_size=3)))
        case 8:
            return ping(ack=draw(st.booleans()))
        case 9:
            padding = draw(st.integers(0, 12))
            return frame(DATA, PADDED | END * draw(st.booleans()), stream, bytes([padding]) + b"x" * 10)
        case 10:
            return draw(st.sampled_from([goaway(3), frame(PRIORITY, 0, stream, b"12345"), frame(99, 1, stream, b"?")]))
        case _:
            kind, flags = draw(st.integers(0, 10)), draw(st.integers(0, 255))
            return frame(kind, flags, stream, draw(st.binary(max_size=12)))


@st.composite
def _spoiled(draw: st.DrawFn, whole: bytes) -> bytes:
    """Mostly not."""
    if draw(st.integers(0, 5)) or not whole:
        return whole
    place = draw(st.integers(0, len(whole) - 1))
    return whole[:place] + draw(st.binary(max_size=2)) + whole[place + 1 :]


REQUEST_STREAMS = st.lists(_request() | _other(), max_size=12).map(b"".join).flatmap(_spoiled)
RESPONSE_STREAMS = st.lists(_response() | _other(), max_size=12).map(b"".join).flatmap(_spoiled)
PREFACES = st.sampled_from([PREFACE + settings()] * 6 + [PREFACE, PREFACE + settings((4, 10)), PREFACE[:20]])


def in_pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    return [whole[start:end] for start, end in pairwise(places)]


Told = tuple[list[object], bytes]


def served(stream: bytes, cuts: list[int]) -> Told:
    """What a downstream connection makes of it: calls, and bytes that were written; answers come at the end."""
    with running_loop() as loop:
        down = DownstreamScript()
        for piece in in_pieces(stream, cuts):
            if down.transport.ending == "open":
                down.receive(piece)
        for upstream in down.used:
            if upstream.has_request:
                upstream.head(CHUNKED)
                upstream.exchange.response_body(b"x" * 300)
                upstream.exchange.response_body(b"y" * 70000)
                upstream.end()
        loop.settle()
        out = down.transport.take()
        told: list[object] = [call for call in down.calls if not call.startswith("down.")]
        told += [(up.fields, up.body, up.trailers, up.is_request_complete, up.is_cancelled) for up in down.used]
        told += [sorted((reason.name, count) for reason, count in down.metrics.refused.items()), down.transport.ending]
        if not down.transport.is_lost:
            down.transport.lose()
        assert all(not upstream.has_request for upstream in down.used), "nobody told it"
        assert down.metrics.downstream_connections == 0
        return told, out


def answered(stream: bytes, cuts: list[int]) -> Told:
    """What an upstream connection with three requests makes of it."""
    with running_loop() as loop:
        up = H2UpstreamScript(hello=b"")
        up.transport.receive(settings())
        scripts = [
            up.request(),
            up.request(http2_head(method="HEAD")),
            up.request(http2_head(("content-type", "application/grpc"), method="POST", end=False)),
        ]
        loop.settle()
        before = len(up.transport.writes)
        for piece in in_pieces(stream, cuts):
            if up.transport.ending == "open":
                up.transport.receive(piece)
        scripts[2].request_body(b"x" * 70000)
        if not scripts[2].exchange.request_ended and not scripts[2].exchange.is_over:
            scripts[2].request_end()
        loop.settle()
        out = b"".join(up.transport.writes[before:])
        told: list[object] = [[call for call in script.calls if call != "down.flush"] for script in scripts]
        told += [(script.down.body, script.down.trailers, script.exchange.reason.name) for script in scripts]
        told += [up.transport.ending, sorted(up.upstream.streams)]
        if not up.transport.is_lost:
            up.transport.lose()
        assert all(script.exchange.is_over or script.pool.pending for script in scripts)
        up.assert_nothing_is_left()
        return told, out
