"""CHECKLIST 33, 34, towards upstreams: what is no response is a 502 of its own stream, what breaks off is never whole;
an upstream that breaks its connection's rules is told so and left, and the next request goes over another.
"""

from __future__ import annotations

import pytest

from tests.conformance.http2_responses import BROKEN, CONNECTION, MALFORMED, ODD, Bad
from tests.support.http2 import Code, answer, block, data, get, headers, reset
from tests.support.http2_peer import Peer, Stream
from tests.support.http2_wire import Wire

Two = tuple[Peer, Peer, Stream, Stream]


@pytest.fixture
def two(wire: Wire) -> Two:
    """A client, an upstream, and two requests as they arrived there, from the client's streams 1 and 3."""
    client = wire.client()
    upstream, first = wire.opened(client, get(1, "/one"))
    client.send(get(3, "/two"))
    return client, upstream, first, upstream.next_stream()


def names(rows: tuple[Bad, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bad", rows, ids=lambda bad: bad.name)


def check_other(client: Peer, upstream: Peer, other: Stream) -> None:
    """The other request of the same connections is answered."""
    upstream.send(headers(other.number, answer()), data(other.number, b"ok", end=True))
    response = client.over(3)
    assert (response.status, response.body, response.is_complete) == (200, b"ok", True)
    assert not upstream.goaways


@names(MALFORMED)
def test_malformed(two: Two, bad: Bad) -> None:
    client, upstream, stream, other = two
    upstream.send(bad.said(stream.number))
    response = client.over(1)
    assert (response.status, response.is_complete) == (502, True)
    assert response.value("proxy-status").startswith("pointsman; error=")
    upstream.until(lambda: stream.reset is not None, "the reset upstream")
    assert stream.reset == bad.code
    check_other(client, upstream, other)


@names(BROKEN)
def test_broken(two: Two, bad: Bad) -> None:
    client, upstream, stream, other = two
    upstream.send(bad.said(stream.number))
    response = client.over(1)
    assert not response.is_complete
    assert response.reset not in (None, Code.NO_ERROR)
    upstream.until(lambda: stream.reset is not None, "the reset upstream")
    check_other(client, upstream, other)


@names(CONNECTION)
def test_a_broken_connection(wire: Wire, two: Two, bad: Bad) -> None:
    client, upstream, stream, _ = two
    upstream.send(bad.said(stream.number))
    assert upstream.end() == bad.code, upstream.heard()
    for number in (1, 3):
        response = client.over(number)
        assert response.status == 502 or (response.reset not in (None, Code.NO_ERROR))
    another, again = wire.opened(client, get(5))
    another.send(headers(again.number, answer(), end=True))
    assert client.over(5).status == 200


@pytest.mark.parametrize("name", ODD)
def test_odd(two: Two, name: str) -> None:
    client, upstream, stream, other = two
    said, status, body = ODD[name]
    upstream.send(said(stream.number))
    response = client.over(1)
    assert (response.status, response.body, response.is_complete) == (status, body, True)
    check_other(client, upstream, other)


@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.PROTOCOL_ERROR, Code.INTERNAL_ERROR, Code.CANCEL, 0xEEEE])
def test_a_reset_before_the_head(two: Two, code: int) -> None:
    client, upstream, stream, other = two
    upstream.send(reset(stream.number, code))
    response = client.over(1)
    assert (response.status, response.is_complete) == (502, True)
    check_other(client, upstream, other)


@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.PROTOCOL_ERROR, Code.INTERNAL_ERROR, Code.CANCEL, 0xEEEE])
def test_a_reset_behind_the_head(two: Two, code: int) -> None:
    """Never a clean-looking end, even where the upstream calls it no error."""
    client, upstream, stream, other = two
    upstream.send(headers(stream.number, answer()), data(stream.number, b"x"), reset(stream.number, code))
    response = client.over(1)
    assert not response.is_complete
    assert response.reset not in (None, Code.NO_ERROR)
    check_other(client, upstream, other)


def test_bytes_behind_a_response_reach_nobody(two: Two) -> None:
    """Frames on a stream that is complete concern it alone, whoever asks next."""
    client, upstream, stream, other = two
    upstream.send(headers(stream.number, answer()), data(stream.number, b"ok", end=True), data(stream.number, b"more"))
    assert client.over(1).body == b"ok"
    check_other(client, upstream, other)


def test_an_upstream_that_dies_before_the_head(wire: Wire, two: Two) -> None:
    client, upstream, _, _ = two
    upstream.socket.close()
    for number in (1, 3):
        assert client.over(number).status == 502


def test_an_upstream_that_dies_behind_the_head(two: Two) -> None:
    client, upstream, stream, _ = two
    upstream.send(headers(stream.number, answer()), data(stream.number, b"half"))
    client.headed(1)
    upstream.socket.close()
    response = client.over(1)
    assert not response.is_complete
    assert response.reset not in (None, Code.NO_ERROR)
    assert client.over(3).status == 502


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", headers(1, answer(), end=True)])
def test_an_upstream_that_does_not_speak_http2(wire: Wire, said: bytes) -> None:
    """RFC 9113 section 3.4: what comes first must be its settings."""
    client = wire.client()
    client.send(get(1))
    wire.listener.accept_raw(said)
    response = client.over(1)
    assert (response.status, response.is_complete) == (502, True)


def test_trailers_end_as_they_came(two: Two) -> None:
    client, upstream, stream, other = two
    trailers = block(("x-a", "1"), ("x-b", ""), ("grpc-status", "0"))
    upstream.send(
        headers(stream.number, answer()), data(stream.number, b"x"), headers(stream.number, trailers, end=True)
    )
    assert client.over(1).trailers == [(b"x-a", b"1"), (b"x-b", b""), (b"grpc-status", b"0")]
    check_other(client, upstream, other)
