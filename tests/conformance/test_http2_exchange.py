"""A request and its response over HTTP/2 on both sides, step by step: what passes, when, and how each of them ends."""

from __future__ import annotations

import pytest

from tests.support.http2 import Code, Fields, Setting, answer, block, data, get, head, headers, in_frames, post, reset
from tests.support.http2_peer import Peer, Stream
from tests.support.http2_wire import Wire

Open = tuple[Peer, Peer, Stream]


@pytest.fixture
def asked(wire: Wire) -> Open:
    """A client, an upstream, and the client's request on stream 1 as it arrived there; its body is to come."""
    client = wire.client()
    upstream, stream = wire.opened(client, post(1, "/path?query", ("x-a", "1"), ("te", "trailers"), ("x-a", "2")))
    return client, upstream, stream


def test_the_head_arrives_as_it_was(asked: Open) -> None:
    _, _, stream = asked
    assert stream.fields == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"location"),
        (b":path", b"/path?query"),
        (b"x-a", b"1"),
        (b"te", b"trailers"),
        (b"x-a", b"2"),
    ]


def test_the_response_arrives_as_it_was(asked: Open) -> None:
    client, upstream, stream = asked
    fields: Fields = [
        (b":status", b"418"),
        (b"set-cookie", b"a=1"),
        (b"x-y", b"\xff"),
        (b"set-cookie", b"b=2"),
    ]
    upstream.send(headers(stream.number, block(*fields), end=True))
    assert client.over(1).fields == fields


def test_pieces_pass_as_they_come(asked: Open) -> None:
    """Both ways at once, the response before the request has ended."""
    client, upstream, stream = asked
    upstream.send(headers(stream.number, answer()))
    client.headed(1)
    for piece in (b"a", b"bc", b"def"):
        client.send(data(1, piece))
        upstream.until(lambda piece=piece: stream.body.endswith(piece), "the piece")
        upstream.send(data(stream.number, piece))
        client.until(lambda piece=piece: client.stream(1).body.endswith(piece), "the piece")
    upstream.send(data(stream.number, end=True))
    assert client.over(1).body == b"abcdef"
    assert client.stream(1).reset in (None, Code.NO_ERROR)


def test_interim_heads_pass_at_once(asked: Open) -> None:
    client, upstream, stream = asked
    for status in (100, 103, 103):
        upstream.send(headers(stream.number, answer(status, ("link", "</a>"))))
        client.until(lambda status=status: client.stream(1).interim[-1:] == [status], "the interim head")
        client.stream(1)
    client.send(data(1, b"x", end=True))
    assert upstream.over(stream.number).body == b"x"
    upstream.send(headers(stream.number, answer()), data(stream.number, b"ok", end=True))
    response = client.over(1)
    assert (response.interim, response.status, response.body) == ([100, 103, 103], 200, b"ok")
    assert (b"link", b"</a>") in response.heads[1]


def test_trailers_pass_both_ways(asked: Open) -> None:
    client, upstream, stream = asked
    client.send(data(1, b"x"), headers(1, block(("x-end", "1"), ("x-end", "2")), end=True))
    received = upstream.over(stream.number)
    assert (received.body, received.trailers) == (b"x", [(b"x-end", b"1"), (b"x-end", b"2")])
    upstream.send(headers(stream.number, answer()), headers(stream.number, block(("x-over", "3")), end=True))
    assert client.over(1).trailers == [(b"x-over", b"3")]


def test_trailers_do_not_route_nor_frame(asked: Open) -> None:
    """SPEC 4: what names framing, routing or a host is dropped."""
    client, upstream, stream = asked
    bad = (("baggage", "sd-routing-key=a"), ("content-length", "5"), ("host", "a"), ("tracestate", "sd-sandbox=a"))
    client.send(headers(1, block(*bad, ("x-end", "1")), end=True))
    assert upstream.over(stream.number).trailers == [(b"x-end", b"1")]


@pytest.mark.parametrize(
    ("method", "status", "more"),
    [
        ("HEAD", 200, [("content-length", "100")]),
        ("HEAD", 404, []),
        ("GET", 204, []),
        ("GET", 304, [("content-length", "100")]),
        ("GET", 304, [("etag", "a")]),
    ],
)
@pytest.mark.parametrize("how", ["with its head", "with an empty frame"])
def test_responses_without_a_body(wire: Wire, method: str, status: int, more: list[tuple[str, str]], how: str) -> None:
    client = wire.client()
    upstream, stream = wire.opened(client, get(1, method=method))
    at_once = how == "with its head"
    upstream.send(headers(stream.number, answer(status, *more), end=at_once))
    if not at_once:
        upstream.send(data(stream.number, end=True))
    response = client.over(1)
    assert (response.status, response.body, response.is_complete) == (status, b"", True)
    assert [(name.decode(), value.decode()) for name, value in response.fields[1:]] == more


@pytest.mark.parametrize("code", [Code.CANCEL, Code.NO_ERROR, Code.INTERNAL_ERROR, 0xEEEE])
@pytest.mark.parametrize("when", ["before the head", "behind the head"])
def test_a_client_that_cancels(asked: Open, code: int, when: str) -> None:
    """CHECKLIST 35: it is no longer worked for, within a second; other requests go on."""
    client, upstream, stream = asked
    if when == "behind the head":
        upstream.send(headers(stream.number, answer()), data(stream.number, b"x"))
        client.headed(1)
    client.send(reset(1, code))
    upstream.until(lambda: stream.reset is not None, "the reset upstream", 1)
    upstream.send(data(stream.number, b"crosses the reset") if when == "behind the head" else b"")
    client.send(get(3))
    another = upstream.next_stream()
    upstream.send(headers(another.number, answer(), end=True))
    assert client.over(3).status == 200
    assert client.stream(1).reset is None
    assert not client.stream(1).is_complete


def test_a_client_that_leaves(asked: Open) -> None:
    client, upstream, stream = asked
    client.send(get(3))
    other = upstream.next_stream()
    client.socket.close()
    for each in (stream, other):
        upstream.until(lambda each=each: each.reset is not None, "the reset upstream")


@pytest.mark.parametrize("code", [None, Code.NO_ERROR])
def test_an_early_response(asked: Open, code: int | None) -> None:
    """RFC 9113 section 8.1: it is delivered whole, with or without a word that the rest is not wanted."""
    client, upstream, stream = asked
    client.send(data(1, b"half"))
    upstream.until(lambda: stream.body == b"half", "the half")
    upstream.send(headers(stream.number, answer(413)), data(stream.number, b"too large", end=True))
    if code is not None:
        upstream.send(reset(stream.number, code))
    client.until(lambda: client.stream(1).is_complete, "the response")
    response = client.stream(1)
    assert (response.status, response.body) == (413, b"too large")
    client.send(data(1, b"more"), data(1, end=True))
    client.send(get(3))
    another = upstream.next_stream()
    upstream.send(headers(another.number, answer(), end=True))
    assert client.over(3).status == 200
    assert response.reset in (None, Code.NO_ERROR)


def test_a_head_over_many_frames(asked: Open) -> None:
    """As long as it may be, both ways."""
    client, upstream, _ = asked
    long = [("x-long", "a" * 9000), ("x-more", "b" * 9000), ("x-most", "c" * 20000)]
    client.send(in_frames(3, head("/long", *long), end=True, size=5000))
    request = upstream.next_stream()
    assert [value.decode() for _, value in request.fields[4:]] == [value for _, value in long]
    upstream.send(in_frames(request.number, answer(200, *long), end=True, size=5000))
    assert [value.decode() for _, value in client.over(3).fields[1:]] == [value for _, value in long]


def test_streams_share_one_connection(wire: Wire) -> None:
    """One upstream connection carries many requests, whichever client asks."""
    clients = [wire.client() for _ in range(3)]
    upstream, first = wire.opened(clients[0], get(1, "/0"))
    for number, client in enumerate(clients[1:], 1):
        client.send(get(1, f"/{number}"))
    streams = [first, upstream.next_stream(), upstream.next_stream()]
    for stream in reversed(streams):
        upstream.send(headers(stream.number, answer()), data(stream.number, bytes(stream.target), end=True))
    for number, client in enumerate(clients):
        assert client.over(1).body == f"/{number}".encode()


def test_an_upstreams_limit_of_streams(wire: Wire) -> None:
    """RFC 9113 section 5.1.2: never more at once; what is above waits, or goes over another connection."""
    client = wire.client()
    upstream, first = wire.opened(client, get(1, "/1"), announced={Setting.MAX_CONCURRENT_STREAMS: 1})
    upstream.sync()
    client.send(get(3, "/3"))
    client.sync()
    upstream.sync()
    assert len(upstream.streams) == 1
    upstream.send(headers(first.number, answer()), data(first.number, b"1", end=True))
    assert client.over(1).body == b"1"
    upstream, second = wire.next_request(upstream)
    upstream.send(headers(second.number, answer()), data(second.number, b"3", end=True))
    assert client.over(3).body == b"3"


def test_an_upstream_that_refuses_a_stream(asked: Open, wire: Wire) -> None:
    """RFC 9113 section 8.7: REFUSED_STREAM was not worked on, so a request without a body may be sent again."""
    client, upstream, _ = asked
    client.send(get(3))
    stream = upstream.next_stream()
    upstream.send(reset(stream.number, Code.REFUSED_STREAM))
    upstream, again = wire.next_request(upstream)
    upstream.send(headers(again.number, answer(), end=True))
    assert client.over(3).status == 200


def test_more_streams_than_announced(wire: Wire) -> None:
    """CHECKLIST 32: refused, each alone; those that are open go on, and there is room again when they end."""
    client = wire.client()
    limit = client.settings[Setting.MAX_CONCURRENT_STREAMS]
    last = 2 * limit - 1
    upstream, stream = wire.opened(client, b"".join(get(number, f"/{number}") for number in range(1, last + 2, 2)))
    client.send(get(last + 2), get(last + 4))
    for above in (last + 2, last + 4):
        assert client.over(above).reset == Code.REFUSED_STREAM
    upstream.send(headers(stream.number, answer(), end=True))
    ended = int(stream.target[1:])
    assert client.over(ended).status == 200
    client.send(get(last + 6), get(last + 8))
    assert client.over(last + 8).reset == Code.REFUSED_STREAM
    client.sync()
    over = {each.number for each in client.streams.values() if each.is_over}
    assert over == {ended, last + 2, last + 4, last + 8}
    assert not client.goaways
