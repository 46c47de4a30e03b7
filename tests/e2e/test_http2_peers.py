"""HTTP/2 with peers that are not ours (nghttp2's programs, the h2 library), and between its versions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import grpc_h2
from tests.support.client import ask, connected, get
from tests.support.grpc_h2 import Connection, H2Origin, Message
from tests.support.grpc_nghttp2 import h2load, nghttp, nghttpd
from tests.support.origin import Origin, RawOrigin, running
from tests.support.proxy import KEY, route, run_proxy, table

TAGGED = f"baggage: sd-routing-key={KEY}"
HTTP1 = ("--baseline-protocol", "http")
HTTP2 = ("--baseline-protocol", "http2")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "index.html").write_text("hello\n")
    (folder / "big").write_bytes(bytes(range(256)) * 400)
    return folder


# --- nghttp2 ---


def test_h2load(tmp_path: Path, files: Path) -> None:
    """More streams at once than a connection to the origin takes."""
    with nghttpd(files) as port, run_proxy(tmp_path, port) as proxy:
        loaded = h2load(f"http://127.0.0.1:{proxy.port}/index.html", requests=2000)
        assert (loaded.succeeded, loaded.statuses["2xx"], loaded.body_bytes) == (2000, 2000, 2000 * 6)
        sample = 'pointsman_requests_total{reason="no_key",route="baseline",sandbox="",status="2xx"}'
        assert proxy.metric(sample) == 2000


def test_h2load_with_a_key(tmp_path: Path, files: Path, baseline: Origin) -> None:
    with nghttpd(files) as port, run_proxy(tmp_path, baseline.port, document=table(route(KEY, [port]))) as proxy:
        loaded = h2load(f"http://127.0.0.1:{proxy.port}/index.html", "-H", TAGGED, requests=1000)
        assert (loaded.succeeded, loaded.statuses["2xx"], loaded.body_bytes) == (1000, 1000, 1000 * 6)
        assert not baseline.requests


def test_h2load_with_bodies(tmp_path: Path, files: Path) -> None:
    """102,400 bytes there and back, 200 times."""
    big = files / "big"
    with nghttpd(files) as port, run_proxy(tmp_path, port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/index.html"
        loaded = h2load(url, "-d", str(big), requests=200)
        assert (loaded.succeeded, loaded.statuses["2xx"]) == (200, 200)
        assert loaded.body_bytes == 200 * big.stat().st_size


def test_h2load_towards_http_1(tmp_path: Path, baseline: Origin) -> None:
    with run_proxy(tmp_path, baseline.port, flags=HTTP1) as proxy:
        loaded = h2load(f"http://127.0.0.1:{proxy.port}/", requests=400, streams=20)
        assert (loaded.succeeded, loaded.statuses["2xx"]) == (400, 400)
        assert len(baseline.requests) == 400


def test_h2load_in_http_1_towards_http_2(tmp_path: Path, files: Path) -> None:
    with nghttpd(files) as port, run_proxy(tmp_path, port, flags=HTTP2) as proxy:
        loaded = h2load(f"http://127.0.0.1:{proxy.port}/index.html", "--h1", requests=400, streams=1)
        assert (loaded.succeeded, loaded.statuses["2xx"], loaded.body_bytes) == (400, 400, 2400)


def test_nghttp(tmp_path: Path, files: Path) -> None:
    """Its priorities are heard without harm; trailers arrive."""
    with nghttpd(files, "--trailer", "x-end: 1") as port, run_proxy(tmp_path, port) as proxy:
        said = nghttp(f"http://127.0.0.1:{proxy.port}/index.html")
        assert ":status: 200" in said
        assert "x-end: 1" in said
        assert "hello\n" in said
        assert "recv RST_STREAM" not in said
        said = nghttp(f"http://127.0.0.1:{proxy.port}/nowhere")
        assert ":status: 404" in said


def test_nghttp_with_trailers(tmp_path: Path) -> None:
    origin = H2Origin(echo)
    with contextlib.closing(origin), run_proxy(tmp_path, origin.port) as proxy:
        body = tmp_path / "body"
        body.write_text("hi")
        said = nghttp(f"http://127.0.0.1:{proxy.port}/", "-d", str(body), "--trailer", "x-sum: 7", "-H", "x-a: 1")
        assert ":status: 200" in said
        request = origin.requests[-1]
        assert (request.body, request.trailers, request.values("x-a")) == (b"hi", [(b"x-sum", b"7")], ["1"])


# --- HTTP/2 on both sides ---


def echo(connection: Connection, request: Message) -> None:
    connection.head(request.stream, (b":status", b"200"), (b"x-origin", b"h2"))
    connection.data(request.stream, request.body, end=True)


def test_bodies_both_ways(tmp_path: Path) -> None:
    """Around the windows, and beyond."""
    origin = H2Origin(echo)
    with (
        contextlib.closing(origin),
        run_proxy(tmp_path, origin.port) as proxy,
        grpc_h2.connected(proxy.port) as client,
    ):
        for size in (0, 1, 16384, 65535, 65536, 262144, 3_000_000):
            body = (bytes(range(256)) * (size // 256 + 1))[:size]
            answer = client.ask("/p%20a?q=%zz&x", method="POST", body=body)
            assert (answer.status, answer.is_complete) == (200, True)
            assert answer.body == body
            assert origin.requests[-1].body == body
            assert origin.requests[-1].values(":path") == ["/p%20a?q=%zz&x"]


def test_interim_heads_pass(tmp_path: Path) -> None:
    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, (b":status", b"103"), (b"link", b"</a>"))
        echo(connection, request)

    origin = H2Origin(script)
    with (
        contextlib.closing(origin),
        run_proxy(tmp_path, origin.port) as proxy,
        grpc_h2.connected(proxy.port) as client,
    ):
        answer = client.ask("/")
        assert (answer.interim, answer.status, answer.value("x-origin")) == ([103], 200, "h2")


def five(connection: Connection, request: Message) -> None:
    """A length of 5 and the status that the path asks for."""
    status = request.value(":path").removeprefix("/").encode()
    has_body = status != b"304" and request.value(":method") != "HEAD"
    connection.head(request.stream, (b":status", status), (b"content-length", b"5"), end=not has_body)
    if has_body:
        connection.data(request.stream, b"hello", end=True)


@pytest.mark.parametrize("is_http1", [False, True], ids=["HTTP/2 client", "HTTP/1.1 client"])
def test_methods_and_statuses(tmp_path: Path, is_http1: bool) -> None:
    asked = [(method, 200) for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PURGE")]
    asked += [("GET", status) for status in (304, 404, 500, 599)]
    origin = H2Origin(five)
    with (
        contextlib.closing(origin),
        run_proxy(tmp_path, origin.port, flags=HTTP2) as proxy,
        grpc_h2.connected(proxy.port) as client,
        connected(proxy.port) as old,
    ):
        for method, status in asked:
            has_body = status != 304 and method != "HEAD"
            if is_http1:
                answer = old.ask(get(f"/{status}", method=method), method=method)
            else:
                answer = client.ask(f"/{status}", method=method)
            assert (answer.status, answer.value("content-length"), answer.is_complete) == (status, "5", True)
            assert answer.body == (b"hello" if has_body else b"")
            assert origin.requests[-1].values(":method") == [method]


# --- HTTP/2 to HTTP/1.1 ---


PIECES = [bytes(range(256)) * (size // 256) + b"x" for size in (16384, 40_000, 70_000, 1_000_000)]


def test_an_http_1_origin_answers_in_pieces_longer_than_a_frame(tmp_path: Path) -> None:
    origin = Origin("baseline", lambda received: (200, [], received.body))
    with (
        running(origin),
        run_proxy(tmp_path, origin.port, flags=HTTP1) as proxy,
        grpc_h2.connected(proxy.port) as client,
    ):
        assert [client.ask("/", method="POST", body=body).body == body for body in PIECES] == [True] * len(PIECES)


def test_an_http_1_client_asks_in_pieces_longer_than_a_frame(tmp_path: Path) -> None:
    origin = H2Origin(echo)
    with contextlib.closing(origin), run_proxy(tmp_path, origin.port, flags=HTTP2) as proxy:
        for body in PIECES:
            with connected(proxy.port) as client:
                answer = client.ask(get("/", f"Content-Length: {len(body)}", method="POST") + body)
                assert (answer.status, answer.body == body) == (200, True)


def test_requests_become_http_1(tmp_path: Path, baseline: Origin) -> None:
    """RFC 9113 section 8: the authority is Host, pieces of Cookie are one line, a body without a length is chunked."""
    sent = [("x-b", "1"), ("cookie", "a=b"), ("x-a", "2"), ("x-b", "3"), ("cookie", "c=d"), ("te", "trailers")]
    with run_proxy(tmp_path, baseline.port, flags=HTTP1) as proxy, grpc_h2.connected(proxy.port) as client:
        assert client.ask("/p%20a?q=1", *sent, method="GET").value("x-origin") == "baseline"
        received = baseline.requests[-1]
        assert (received.method, received.target) == (b"GET", b"/p%20a?q=1")
        assert received.values(b"host") == [b"location"]
        assert received.values(b"cookie") == [b"a=b; c=d"]
        assert [value for name, value in received.fields if name.lower().startswith(b"x-")] == [b"1", b"2", b"3"]
        assert not any(name.startswith(b":") for name, _ in received.fields)
        assert not received.values(b"transfer-encoding")
        client.ask("/", ("content-length", "5"), method="POST", body=b"hello")
        received = baseline.requests[-1]
        assert (received.body, received.values(b"content-length")) == (b"hello", [b"5"])
        client.ask("/", method="PUT", body=b"hello")
        received = baseline.requests[-1]
        assert (received.body, received.values(b"transfer-encoding")) == (b"hello", [b"chunked"])


def test_requests_with_trailers_become_http_1(tmp_path: Path, baseline: Origin) -> None:
    with run_proxy(tmp_path, baseline.port, flags=HTTP1) as proxy, grpc_h2.connected(proxy.port) as client:
        stream = client.start("/", method="POST", end=False)
        client.data(stream, b"hello")
        client.head(stream, (b"x-sum", b"7"), end=True)
        assert client.read(stream).status == 200
        received = baseline.requests[-1]
        assert (received.body, received.trailers) == (b"hello", [(b"x-sum", b"7")])


CHUNKED = b"Transfer-Encoding: chunked\r\nConnection: keep-alive, X-Gone\r\nKeep-Alive: 5\r\nX-Gone: 1\r\nX-Kept: a\r\n"
RESPONSES: dict[str, tuple[bytes, bool, list[tuple[bytes, bytes]]]] = {  # whether the connection ends; trailers
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kept: a\r\n\r\nhello", False, []),
    "chunks": (b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", False, []),
    "trailers": (
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
        False,
        [(b"x-sum", b"7")],
    ),
    "until close": (b"HTTP/1.1 200 OK\r\nX-Kept: a\r\n\r\nhello", True, []),
    "early hints": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-Kept: a\r\nContent-Length: 5\r\n\r\nhello",
        False,
        [],
    ),
}


CUT = {
    "a cut length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
    "cut chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
}


@pytest.fixture(scope="module")
def old_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a proxy before an HTTP/1.1 origin that says what the path names."""

    def script(connection: socket.socket, head: bytes) -> None:
        while head:
            name = head.split(b" ")[1].removeprefix(b"/").decode().replace("_", " ")
            data, ends, _ = RESPONSES[name] if name in RESPONSES else (CUT[name], True, [])
            connection.sendall(data)
            head = b"" if ends else connection.recv(65536)

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path_factory.mktemp("old"), origin.port, flags=HTTP1) as proxy:
        yield proxy.port


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_become_http_2(old_port: int, name: str) -> None:
    with grpc_h2.connected(old_port) as client:
        answer = client.ask(f"/{name.replace(' ', '_')}")
        assert (answer.status, answer.body, answer.is_complete) == (200, b"hello", True)
        assert answer.trailers == RESPONSES[name][2]
        assert answer.value("x-kept") == "a"
        for gone in ("connection", "keep-alive", "x-gone", "transfer-encoding"):
            assert answer.values(gone) == []
        assert answer.interim == ([103] if name == "early hints" else [])


@pytest.mark.parametrize("name", CUT)
def test_a_cut_response_is_reset(old_port: int, name: str) -> None:
    """Never a clean end; the connection, which others share, stays."""
    with grpc_h2.connected(old_port) as client:
        for _ in range(2):
            answer = client.ask(f"/{name.replace(' ', '_')}")
            assert not answer.is_complete
            assert answer.reset is not None
        assert client.ask("/a_length").is_complete


# --- HTTP/1.1 to HTTP/2 ---


def test_requests_become_http_2(tmp_path: Path) -> None:
    """RFC 9113 section 8.2: lowercase names, no field of the connection; Host is the authority."""
    origin = H2Origin(echo)
    lines = ["X-b: 1", "X-A:  2", "X-b: 3", "Cookie: a=b; c=d", "Connection: keep-alive, X-Gone", "X-Gone: 1"]
    lines += ["Keep-Alive: 5", "Proxy-Connection: close", TAGGED]
    with contextlib.closing(origin), run_proxy(tmp_path, origin.port, flags=HTTP2) as proxy:
        response = ask(proxy.port, get("/p%20a?q=1", *lines, host="Location:8081"))
        assert (response.status, response.origin, response.is_complete) == (200, "h2", True)
        fields = origin.requests[-1].fields
        pseudo = {b":method": b"GET", b":scheme": b"http", b":authority": b"Location:8081", b":path": b"/p%20a?q=1"}
        assert dict(fields[:4]) == pseudo
        rest = [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"cookie", b"a=b; c=d")]
        assert fields[4:] == [*rest, (b"baggage", f"sd-routing-key={KEY}".encode())]
        body = get("/", "Content-Length: 5", method="POST"), b"hello"
        assert ask(proxy.port, *body).body == b"hello"
        assert origin.requests[-1].values("content-length") == ["5"]
        chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 7\r\n\r\n"
        assert ask(proxy.port, get("/", "Transfer-Encoding: chunked", method="POST"), chunks).body == b"hello"
        assert origin.requests[-1].trailers == [(b"x-sum", b"7")]
        assert origin.requests[-1].values("transfer-encoding") == []


def test_responses_become_http_1(tmp_path: Path) -> None:
    """A body without a length is chunked, and trailers follow it."""

    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, (b":status", b"200"), (b"x-b", b"1"), (b"set-cookie", b"a"), (b"x-b", b"2"))
        connection.data(request.stream, b"hello")
        connection.head(request.stream, (b"x-sum", b"7"), end=True)

    origin = H2Origin(script)
    with (
        contextlib.closing(origin),
        run_proxy(tmp_path, origin.port, flags=HTTP2) as proxy,
        connected(proxy.port) as client,
    ):
        for _ in range(2):
            response = client.ask(get("/", "TE: trailers", "Connection: TE"))
            assert (response.status, response.body, response.is_complete) == (200, b"hello", True)
            assert [(name.lower(), value) for name, value in response.trailers] == [(b"x-sum", b"7")]
            assert (response.value("x-b"), response.value("transfer-encoding")) == ("1, 2", "chunked")


def test_a_reset_stream_is_cut_in_http_1(tmp_path: Path) -> None:
    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, (b":status", b"200"))
        connection.data(request.stream, b"hel")
        connection.reset(request.stream, 2)

    origin = H2Origin(script)
    with contextlib.closing(origin), run_proxy(tmp_path, origin.port, flags=HTTP2) as proxy:
        assert not ask(proxy.port, get()).is_complete


# --- both ways ---


def test_pieces_arrive_before_the_next_are_made(tmp_path: Path) -> None:
    """Where the versions differ, too."""
    may_go = threading.Event()

    def new_script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, (b":status", b"200"))
        connection.data(request.stream, b"one")
        assert may_go.wait(10)
        connection.data(request.stream, b"two", end=True)

    def old_script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        assert may_go.wait(10)
        connection.sendall(b"two")

    new, old = H2Origin(new_script), RawOrigin(old_script)
    document = table(route(KEY, [old.port], appProtocol="http"))
    with (
        contextlib.closing(new),
        running(old),
        run_proxy(tmp_path, new.port, document=document, flags=HTTP2) as proxy,
        connected(proxy.port) as old_client,
        grpc_h2.connected(proxy.port) as client,
    ):
        old_client.send(get())
        stream = client.start("/", ("baggage", f"sd-routing-key={KEY}"))
        client.until(lambda: client.messages[stream].body)
        assert client.messages[stream].body == b"one"
        data = b""
        while b"one" not in data:
            data += old_client.socket.recv(65536)
        may_go.set()
        assert client.read(stream).body == b"onetwo"
        while b"two" not in data:
            data += old_client.socket.recv(65536)


# --- the mapping's protocol ---


def test_the_mapping_says_what_a_sandbox_speaks(tmp_path: Path, sandbox: Origin) -> None:
    """`appProtocol`, for either client; without it, as the request came."""
    new = H2Origin(echo)
    document = table(
        route("old1", [sandbox.port], appProtocol="http"),
        route("new2", [new.port], appProtocol="http2", sandbox="new"),
        route("grpc3", [new.port], appProtocol="grpc", sandbox="new"),
    )
    with contextlib.closing(new), run_proxy(tmp_path, new.port, document=document) as proxy:
        with grpc_h2.connected(proxy.port) as client:
            for key, origin in (
                ("old1", "sandbox"),
                ("new2", "h2"),
                ("grpc3", "h2"),
                ("none", "h2"),
                ("old1", "sandbox"),
            ):
                answer = client.ask("/", ("baggage", f"sd-routing-key={key}"))
                assert (answer.status, answer.value("x-origin")) == (200, origin)
        for key, origin in (("old1", "sandbox"), ("new2", "h2"), ("grpc3", "h2")):
            response = ask(proxy.port, get("/", f"baggage: sd-routing-key={key}"))
            assert (response.status, response.origin) == (200, origin)


def test_both_versions_on_one_port(tmp_path: Path, baseline: Origin) -> None:
    """By the first bytes of a connection, however they are cut."""
    new = H2Origin(echo)
    with contextlib.closing(new), run_proxy(tmp_path, baseline.port, document=table(route(KEY, [new.port]))) as proxy:
        with grpc_h2.connected(proxy.port) as client, connected(proxy.port) as old:
            for _ in range(3):
                assert client.ask("/", tuple(TAGGED.split(": "))).value("x-origin") == "h2"
                assert old.ask(get()).origin == "baseline"
        with grpc_h2.connected(proxy.port, bytewise=True) as client:
            assert client.ask("/", tuple(TAGGED.split(": "))).value("x-origin") == "h2"
        assert ask(proxy.port, *(bytes([byte]) for byte in get())).origin == "baseline"
