"""All pairings of versions: what a request and a response must become on the other side (RFC 9113 section 8, 9112)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.client import connected as http1
from tests.support.client import get as http1_get
from tests.support.http2 import (
    Code,
    Setting,
    answer,
    block,
    data,
    get,
    head,
    headers,
    post,
    reset,
)
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Peer, Stream, connected
from tests.support.http2_wire import Wire, wired
from tests.support.origin import Origin, RawOrigin, Received, Server, running, says
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until

MiB = 1 << 20
BODY = bytes(range(256)) * 8 * 1024  # 2 MiB


# --- HTTP/2 to HTTP/1.1 ---


def respond(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
    if received.target == b"/long":
        return 200, [], BODY
    if received.target == b"/chunked":
        return (
            200,
            [("Transfer-Encoding", "chunked"), ("Connection", "x-hop"), ("X-Hop", "1"), ("X-End", "2")],
            b"hello",
        )
    if received.target == b"/304":
        return 304, [("Content-Length", "100")], b""
    return 200, [("X-Mixed-Case", "Kept As It Is")], received.body


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Origin]]:
    origin = Origin(respond=respond)
    flags = ("--baseline-protocol", "http")
    with running(origin), run_proxy(tmp_path_factory.mktemp("down"), origin.port, flags=flags) as proxy:
        yield proxy, origin


@pytest.fixture
def client(down: tuple[Proxy, Origin]) -> Iterator[Peer]:
    with connected(down[0].port) as peer:
        down[1].requests.clear()
        yield peer


def test_a_request_becomes_one_of_http1(down: tuple[Proxy, Origin], client: Peer) -> None:
    client.send(get(3, "/path?query", ("x-a", "1"), ("te", "trailers"), ("x-a", b"\xff")))
    assert client.over(3).status == 200
    (received,) = down[1].requests
    assert (received.method, received.target) == (b"GET", b"/path?query")
    assert received.values(b"host") == [b"location"]
    assert received.values(b"x-a") == [b"1", b"\xff"]
    assert not any(name.startswith(b":") for name, _ in received.fields)
    assert not received.values(b"transfer-encoding") + received.values(b"content-length")


def test_host_comes_first_and_once(down: tuple[Proxy, Origin], client: Peer) -> None:
    client.send(headers(3, head("/", ("host", "LOCATION")), end=True))
    assert client.over(3).status == 200
    (received,) = down[1].requests
    assert received.values(b"host") in ([b"location"], [b"LOCATION"])


def test_crumbs_become_one_cookie(down: tuple[Proxy, Origin], client: Peer) -> None:
    """RFC 9113 section 8.2.3."""
    client.send(get(3, "/", ("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")))
    assert client.over(3).status == 200
    (received,) = down[1].requests
    assert received.values(b"cookie") == [b"a=1; b=2; c=3; d=4"]


@pytest.mark.parametrize("length", [True, False])
def test_a_body_is_framed(down: tuple[Proxy, Origin], client: Peer, length: bool) -> None:
    """By its length where it is known, else in chunks; no byte is lost."""
    client.send(post(3, "/", *([("content-length", str(len(BODY)))] if length else [])))
    client.send_body(3, BODY)
    assert client.over(3, 10).body == BODY
    (received,) = down[1].requests
    assert received.values(b"content-length") == ([str(len(BODY)).encode()] if length else [])
    assert received.values(b"transfer-encoding") == ([] if length else [b"chunked"])


def test_trailers_follow_the_chunks(down: tuple[Proxy, Origin], client: Peer) -> None:
    client.send(post(3), data(3, b"x"), headers(3, block(("x-end", "1")), end=True))
    assert client.over(3).status == 200
    (received,) = down[1].requests
    assert (received.body, received.trailers) == (b"x", [(b"x-end", b"1")])


def test_a_response_becomes_one_of_http2(client: Peer) -> None:
    client.send(get(3))
    fields = client.over(3).fields
    assert fields[0] == (b":status", b"200")
    assert (b"x-mixed-case", b"Kept As It Is") in fields
    assert all(name == name.lower() for name, _ in fields)


def test_a_chunked_response_loses_its_framing(client: Peer) -> None:
    client.send(get(3, "/chunked"))
    response = client.over(3)
    assert response.body == b"hello"
    names = {name for name, _ in response.fields}
    assert not names & {b"transfer-encoding", b"connection", b"keep-alive", b"x-hop"}
    assert b"x-end" in names


@pytest.mark.parametrize(("target", "method", "status"), [("/304", "GET", 304), ("/", "HEAD", 200)])
def test_a_response_without_a_body(client: Peer, target: str, method: str, status: int) -> None:
    client.send(get(3, target, method=method))
    response = client.over(3)
    assert (response.status, response.body, response.is_complete) == (status, b"", True)


@pytest.mark.parametrize("window", [1000, 65535])
def test_a_long_response_within_small_windows(down: tuple[Proxy, Origin], window: int) -> None:
    with connected(down[0].port, {Setting.INITIAL_WINDOW_SIZE: window}, 65535) as client:
        client.send(get(3, "/long"))
        stream = client.headed(3)
        while not stream.is_complete:
            size = len(stream.body)
            client.until(lambda size=size: stream.is_complete or len(stream.body) > size, "more")
            client.allow(3, len(stream.body) - size)
            client.allow(0, len(stream.body) - size)
        assert stream.body == BODY


HTTP1_RESPONSES = {
    "103 before": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
    ),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nok", 200),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n", 200),
    "no status line": (b"garbage\r\n\r\n", 502),
    "both lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", 502),
    "101 without being asked": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", 502),
}


@contextlib.contextmanager
def before_http1(folder: Path, origin: RawOrigin) -> Iterator[Peer]:
    """A client, which acknowledges no settings, of a proxy before this origin."""
    flags = ("--baseline-protocol", "http")
    with (
        running(origin),
        run_proxy(folder, origin.port, flags=flags) as proxy,
        connected(proxy.port, first=False) as peer,
    ):
        peer.acks_settings = False
        yield peer


@pytest.mark.parametrize("name", HTTP1_RESPONSES)
def test_odd_responses_of_http1(tmp_path: Path, name: str) -> None:
    said, status = HTTP1_RESPONSES[name]
    origin = RawOrigin(says(said))
    with before_http1(tmp_path, origin) as peer:
        peer.send(get(1))
        response = peer.over(1)
        assert (response.status, response.is_complete) == (status, True)
        assert status != 200 or response.body == b"ok"
        assert response.interim == ([103] if name == "103 before" else [])
        assert response.trailers == ([(b"x-end", b"1")] if name == "trailers" else [])


def test_a_cut_response_of_http1_is_never_complete(tmp_path: Path) -> None:
    origin = RawOrigin(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"))
    with before_http1(tmp_path, origin) as peer:
        peer.send(get(1))
        response = peer.over(1)
        assert (response.status, response.body, response.is_complete) == (200, b"half", False)
        assert response.reset not in (None, Code.NO_ERROR)


def test_a_cancelled_request_ends_its_connection(tmp_path: Path) -> None:
    """HTTP/1.1 has no other way to say so."""
    ended: list[bytes] = []
    origin = RawOrigin(lambda connection, head: ended.append(connection.recv(100)))
    with before_http1(tmp_path, origin) as peer:
        peer.send(get(1))
        until(lambda: origin.received, "the request")
        peer.send(reset(1))
        until(lambda: ended == [b""], "the end", within_s=1)


# --- HTTP/1.1 to HTTP/2 ---


@pytest.fixture(scope="module")
def up_wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wired(tmp_path_factory.mktemp("up"), "--baseline-protocol", "http2") as wire:
        yield wire


@pytest.fixture
def up(up_wire: Wire) -> Iterator[tuple[Client, Wire]]:
    with http1(up_wire.proxy.port) as client:
        yield client, up_wire
    up_wire.clear()


def asked(up: tuple[Client, Wire], request: bytes) -> tuple[Client, Peer, Stream]:
    client, wire = up
    client.send(request)
    upstream = wire.upstream()
    return client, upstream, upstream.next_stream()


def test_a_request_becomes_one_of_http2(up: tuple[Client, Wire]) -> None:
    lines = (
        "X-Mixed: Kept",
        "Connection: x-hop, TE, keep-alive",
        "X-Hop: 1",
        "Keep-Alive: a",
        "TE: trailers, gzip;q=0.5",
    )
    _, _, stream = asked(up, http1_get("/path?query", *lines, "Cookie: a=1; b=2", "x-8bit: \xff"))
    assert sorted(stream.fields[:4]) == [
        (b":authority", b"location"),
        (b":method", b"GET"),
        (b":path", b"/path?query"),
        (b":scheme", b"http"),
    ]
    assert stream.values(b"te") == [b"trailers"]
    fields = [each for each in stream.fields[4:] if each[0] != b"te"]
    assert fields == [(b"x-mixed", b"Kept"), (b"cookie", b"a=1; b=2"), (b"x-8bit", b"\xff")]
    assert stream.is_complete


def test_te_without_trailers_goes(up: tuple[Client, Wire]) -> None:
    _, _, stream = asked(up, http1_get("/", "Connection: TE", "TE: gzip"))
    assert not stream.values(b"te")


def test_chunks_become_data_and_trailers(up: tuple[Client, Wire]) -> None:
    request = http1_get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n"
    _, upstream, stream = asked(up, request)
    upstream.over(stream.number)
    assert (stream.body, stream.trailers) == (b"hello", [(b"x-end", b"1")])
    assert not stream.values(b"transfer-encoding")


def test_a_length_is_kept(up: tuple[Client, Wire]) -> None:
    _, upstream, stream = asked(up, http1_get("/", "Content-Length: 5", method="POST") + b"hello")
    assert upstream.over(stream.number).body == b"hello"
    assert stream.values(b"content-length") == [b"5"]


@pytest.mark.parametrize("target", ["http://location/a?b", "/a?b"])
def test_targets(up: tuple[Client, Wire], target: str) -> None:
    _, _, stream = asked(up, http1_get(target))
    assert (stream.target, stream.value(":authority")) == (b"/a?b", "location")


def test_an_asterisk(up: tuple[Client, Wire]) -> None:
    _, _, stream = asked(up, http1_get("*", method="OPTIONS"))
    assert stream.target == b"*"


def test_a_response_becomes_one_of_http1(up: tuple[Client, Wire]) -> None:
    """Without a length it is chunked; trailers follow; interim heads pass; what repeats stays so."""
    client, upstream, stream = asked(up, http1_get("/", "TE: trailers", "Connection: TE"))
    upstream.send(
        headers(stream.number, answer(103, ("link", "</a>"))),
        headers(stream.number, answer(200, ("set-cookie", "a=1"), ("set-cookie", "b=2"))),
        data(stream.number, b"hello"),
        headers(stream.number, block(("x-end", "1")), end=True),
    )
    response = client.read()
    assert (response.interim, response.status, response.body, response.is_complete) == ([103], 200, b"hello", True)
    assert response.value("transfer-encoding") == "chunked"
    assert [value for name, value in response.fields if name.lower() == b"set-cookie"] == [b"a=1", b"b=2"]
    assert not any(name.startswith(b":") for name, _ in response.fields)
    assert response.trailers == [(b"x-end", b"1")]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_bodiless_response(up: tuple[Client, Wire], method: str, status: int) -> None:
    client, upstream, stream = asked(up, http1_get("/", method=method))
    upstream.send(headers(stream.number, answer(status), end=True))
    response = client.read(method)
    assert (response.status, response.body, response.is_complete) == (status, b"", True)
    client.send(http1_get("/again"))  # the connection is good for another
    second = upstream.next_stream()
    upstream.send(headers(second.number, answer(200, ("content-length", "2"))), data(second.number, b"ok", end=True))
    assert client.read().body == b"ok"


def test_a_cut_response_of_http2_is_never_complete(up: tuple[Client, Wire]) -> None:
    client, upstream, stream = asked(up, http1_get())
    upstream.send(
        headers(stream.number, answer()), data(stream.number, b"half"), reset(stream.number, Code.INTERNAL_ERROR)
    )
    assert not client.read().is_complete


def test_a_client_of_http1_that_leaves(up: tuple[Client, Wire]) -> None:
    client, upstream, stream = asked(up, http1_get("/", "Content-Length: 10", method="POST") + b"half")
    client.close()
    upstream.until(lambda: stream.reset is not None, "the reset upstream", 1)


# --- routing, whatever the versions ---


@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", None])
def test_a_sandbox_speaks_what_its_mapping_says(tmp_path: Path, protocol: str | None) -> None:
    """`appProtocol`; without it, the version that the request came in."""
    speaks2 = protocol != "http"
    sandbox: Server = Http2Origin("sandbox") if speaks2 else Origin("sandbox")
    baseline = Http2Origin("baseline")
    how = {} if protocol is None else {"appProtocol": protocol}
    document = table(route(KEY, [sandbox.port], **how))
    with running(sandbox, baseline), run_proxy(tmp_path, baseline.port, document=document) as proxy:
        with connected(proxy.port) as peer:
            for number, lines in (
                (3, []),
                (5, [("baggage", f"sd-routing-key={KEY}")]),
                (7, [("baggage", "a=1"), ("baggage", f"sd-routing-key={KEY}")]),
            ):
                peer.send(get(number, "/", *lines))
            assert [peer.over(number).origin for number in (3, 5, 7)] == ["baseline", "sandbox", "sandbox"]
        if protocol in ("http2", "grpc"):
            with http1(proxy.port) as client:
                assert client.ask(http1_get("/", f"baggage: sd-routing-key={KEY}")).origin == "sandbox"
