"""What peers do wrong, through a real process. Lines of CHECKLIST A and B by number."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, all_responses, ask, connected, get
from tests.support.origin import Origin, RawOrigin, Received, running, says
from tests.support.proxy import KEY, Proxy, route, run_proxy, table

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def baseline() -> Iterator[Origin]:
    origin = Origin("baseline")
    with running(origin):
        yield origin


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Origin]]:
    """One proxy for all attacks: it must survive every one of them."""
    origin = Origin("baseline")
    with running(origin), run_proxy(tmp_path_factory.mktemp("shared"), origin.port) as proxy:
        yield proxy, origin


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: location\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: location\r\n"
ATTACKS = {
    "A1 CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "A2 TE.CL": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "A2 two lengths": POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "A2 two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "A2 coding with a blank": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "A2 coding with a tab": POST + b"Transfer-Encoding:\tx,chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "A2 coding folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "A2 coding quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED,
    "A2 length and bare LF": POST + b"Content-Length: 0\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
    "A2 header by bare CR": POST + b"X: a\rContent-Length: 44\r\n\r\n" + SMUGGLED,
    "A3 +5": POST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED,
    "A3 1_0": POST + b"Content-Length: 1_0\r\n\r\n0123456789" + SMUGGLED,
    "A8 folded baggage": b"GET / HTTP/1.1\r\nHost: location\r\nbaggage: a=b,\r\n sd-routing-key=x\r\n\r\n" + SMUGGLED,
    "A9 NUL": b"GET / HTTP/1.1\r\nHost: location\r\nX: \x00\r\n\r\n" + SMUGGLED,
    "A11 two Hosts": b"GET / HTTP/1.1\r\nHost: location\r\nHost: evil\r\n\r\n" + SMUGGLED,
    "A12 HTTP/9.9": b"GET / HTTP/9.9\r\nHost: location\r\n\r\n" + SMUGGLED,
    "A13 coding in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "A14 CONNECT": b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n" + SMUGGLED,
    "A14 absolute-form": b"GET http://evil/ HTTP/1.1\r\nHost: location\r\n\r\n" + SMUGGLED,
    "A15 large": b"GET / HTTP/1.1\r\nHost: location\r\nX: " + b"x" * 70000 + b"\r\n\r\n" + SMUGGLED,
    "A15 many": b"GET / HTTP/1.1\r\nHost: location\r\n" + b"X: x\r\n" * 200 + b"\r\n" + SMUGGLED,
    "A15 long target": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: location\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(shared: tuple[Proxy, Origin], name: str) -> None:
    """One answer, the end of the connection, and nothing upstream."""
    proxy, origin = shared
    before = len(origin.requests)
    with connected(proxy.port) as client:
        client.send(ATTACKS[name])
        data = client.read_to_end()
    assert data.count(b"HTTP/1.1 ") == 1
    status = int(data[9:12])
    assert status in (400, 405, 414, 431, 501, 505)
    assert b"\r\nConnection: close\r\n" in data
    assert b"\r\nProxy-Status: pointsman; error=http_request_error; details=" in data
    assert len(origin.requests) == before
    assert ask(proxy.port, get()).status == 200


BAD_BODIES = {
    "A4 bad size": b"5\r\nhello\r\nzz\r\n",
    "A4 blank behind a size": b"5 \r\nhello\r\n0\r\n\r\n",
    "A4 bare LF": b"5\nhello\r\n0\r\n\r\n",
    "A5 control in an extension": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
    "A6 spill": b"5\r\nhello world\r\n0\r\n\r\n",
    "A7 control in a trailer": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(shared: tuple[Proxy, Origin], name: str) -> None:
    """Streaming may have begun before the fault is seen: both connections die, the request is never complete."""
    proxy, origin = shared
    with connected(proxy.port) as client:
        client.send(POST + b"X-Case: " + name.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.05)
        client.send(BAD_BODIES[name] + SMUGGLED)
        data = client.read_to_end()
    assert data.startswith(b"HTTP/1.1 400 ")
    assert data.count(b"HTTP/1.1 ") == 1
    time.sleep(0.05)
    assert not [received for received in origin.requests if received.is_complete and received.values(b"x-case")]
    assert not [received for received in origin.requests if received.target == b"/smuggled"]


def test_pipelining_up_to_a_fault(shared: tuple[Proxy, Origin]) -> None:
    """A16: in order; an invalid second request does not lose the first response."""
    proxy, _ = shared
    with connected(proxy.port) as client:
        client.send(get("/1") + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + SMUGGLED)
        data = client.read_to_end()
    assert all_responses(data, ["GET", "GET"]) == [200, 400]


def test_an_answer_goes_out_as_soon_as_the_fault_shows(shared: tuple[Proxy, Origin]) -> None:
    with connected(shared[0].port) as client:
        assert client.ask(b"GET / HTTP/9.9\r\n").status == 505


def test_expect_continue(shared: tuple[Proxy, Origin]) -> None:
    """A17: forwarded, the upstream's 100 comes back, then the final response."""
    with connected(shared[0].port) as client:
        client.send(get("/", "Expect: 100-continue", "Content-Length: 2", method="POST"))
        assert client.socket.recv(4096).startswith(b"HTTP/1.1 100")
        assert client.ask(b"hi").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-x\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"X: \x00\r\n\r\n",
        OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_no_valid_response(tmp_path: Path, answer: bytes) -> None:
    """B20, B23: 502, and the details name the endpoint."""
    origin = RawOrigin(says(answer))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        for _ in range(2):
            response = ask(proxy.port, get())
            assert response.status == 502
            assert f"127.0.0.1:{origin.port}" in response.value("proxy-status")


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 10\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor",
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_cut_responses_are_never_complete(tmp_path: Path, answer: bytes, then: str, version: bytes) -> None:
    """B21: no terminating chunk, no clean end where only the end of the connection ends the body."""
    origin = RawOrigin(says(answer, then=then))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        client.send(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        if version == b"1.0" and b"chunked" in answer:
            with pytest.raises(ConnectionResetError):
                while client.socket.recv(4096):
                    pass
        else:
            assert not client.read().is_complete
        assert client.closed or version == b"1.0"


def test_a_reset_body_until_close_is_not_complete(tmp_path: Path) -> None:
    origin = RawOrigin(says(OK + b"\r\nhello", then="reset"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert not ask(proxy.port, get()).is_complete


def test_a_body_until_close_is_chunked(tmp_path: Path) -> None:
    """B24."""
    origin = RawOrigin(says(OK + b"\r\nhello"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        for _ in range(2):
            response = ask(proxy.port, get())
            assert (response.value("transfer-encoding"), response.body) == ("chunked", b"hello")
            assert response.is_complete


def test_early_hints(tmp_path: Path) -> None:
    """B24: 103, then 200."""
    origin = RawOrigin(says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        response = ask(proxy.port, get())
        assert (response.interim, response.status, response.body) == ([103], 200, b"ok")


def test_a_second_response_reaches_nobody(tmp_path: Path) -> None:
    """B22: extra bytes are dropped with their connection; the next client gets its own response."""
    counter = itertools.count()

    def script(connection: socket.socket, head: bytes) -> None:
        # At once: a second one that comes when the next request is under way would be taken for its response.
        second = OK + b"Content-Length: 4\r\n\r\nevil"
        connection.sendall(OK + b"Content-Length: 1\r\n\r\n%d" % next(counter) + second)
        while connection.recv(4096):
            pass

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert [ask(proxy.port, get()).body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_early_final_response(tmp_path: Path) -> None:
    """B25: a 413 before the upload ends is delivered, then the connection ends."""
    origin = RawOrigin(says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", then="wait"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        client.send(get("/", "Content-Length: 10000000", method="POST"), b"x" * 1000)
        response = client.read()
        assert (response.status, response.body) == (413, b"big")
        assert client.read_to_end() == b""


def stale_origin() -> tuple[RawOrigin, list[bytes]]:
    """Closes each connection under the second request on it, unanswered."""
    executed: list[bytes] = []

    def script(connection: socket.socket, head: bytes) -> None:
        executed.append(head)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return RawOrigin(script), executed


def test_stale_connections(tmp_path: Path) -> None:
    """B26: GET is sent again once on a fresh connection; a POST never, once bytes were sent."""
    origin, executed = stale_origin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert [ask(proxy.port, get(f"/{n}")).status for n in range(4)] == [200] * 4
        assert len(executed) == 4
        assert proxy.metric("pointsman_upstream_retries_total") == 3
        assert ask(proxy.port, get("/post", "Content-Length: 2", method="POST"), b"hi").status == 502
        assert not [head for head in executed if head.startswith(b"POST")]


def test_a_get_is_not_repeated_on_a_fresh_connection(tmp_path: Path) -> None:
    origin = RawOrigin(says(b""))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert ask(proxy.port, get()).status == 502
        assert len(origin.received) == 1


def test_baseline_down(tmp_path: Path, baseline: Origin) -> None:
    """B19."""
    baseline.close()
    with run_proxy(tmp_path, baseline.port, flags=("--decision-header",)) as proxy:
        response = ask(proxy.port, get())
        assert (response.status, response.decision) == (503, "baseline; reason=baseline_unreachable")


def test_connect_timeout(tmp_path: Path, baseline: Origin) -> None:
    """A listener whose accept queue is full answers no SYN: 504."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    document = table(route(KEY, [full.getsockname()[1]]))
    flags = ("--connect-timeout", "0.5", "--decision-header")
    with run_proxy(tmp_path, baseline.port, document=document, flags=flags) as proxy:
        response = ask(proxy.port, get("/", f"baggage: sd-routing-key={KEY}"))
        assert (response.status, response.decision) == (504, "sandbox=local-location; reason=sandbox_unreachable")
        assert "error=connection_timeout" in response.value("proxy-status")
        assert proxy.stop() == 0
    for sock in [*waiting, full]:
        sock.close()


def test_response_timeout(tmp_path: Path) -> None:
    origin = RawOrigin(says(b"", delay_s=10))
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--response-timeout", "1")) as proxy:
        started = time.monotonic()
        response = ask(proxy.port, get())
        assert (response.status, "http_response_timeout" in response.value("proxy-status")) == (504, True)
        assert time.monotonic() - started < 5


def test_slow_heads_are_closed(tmp_path: Path, baseline: Origin) -> None:
    """CHECKLIST 39: byte by byte does not help."""
    with run_proxy(tmp_path, baseline.port, flags=("--head-timeout", "1")) as proxy, connected(proxy.port) as client:
        started = time.monotonic()
        client.send(b"GET / HTTP/1.1\r\n")
        end = threading.Event()

        def trickle() -> None:
            while not end.wait(0.2):
                try:
                    client.send(b"X: y\r\n")
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        response = client.read()
        end.set()
        assert response.status == 408
        assert time.monotonic() - started < 5


def test_a_slow_reader_stops_the_upstream(tmp_path: Path) -> None:
    """CHECKLIST 40, 42: what one stalled client costs is bounded."""
    size = 200_000_000
    sent = [0]

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % size)
        piece = b"x" * 65536
        while sent[0] < size:
            sent[0] += connection.send(piece[: size - sent[0]])

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        before = proxy.rss_bytes()
        client.send(get())
        time.sleep(1.0)
        stalled_at = sent[0]
        assert stalled_at < 30_000_000
        assert proxy.rss_bytes() - before < 8_000_000
        received = 0
        while received < size:
            received += len(client.socket.recv(1 << 20))
        assert received >= size
        assert proxy.rss_bytes() - before < 8_000_000


def test_a_slow_upstream_stops_the_client(tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        go_on.wait(10)
        left = 100_000_000 - len(head.partition(b"\r\n\r\n")[2])
        while left > 0 and (data := connection.recv(1 << 20)):
            left -= len(data)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        before = proxy.rss_bytes()
        client.send(get("/", "Content-Length: 100000000", method="POST"))
        sent = [0]

        def upload() -> None:
            piece = b"x" * 65536
            while sent[0] < 100_000_000:
                sent[0] += client.socket.send(piece[: 100_000_000 - sent[0]])

        threading.Thread(target=upload, daemon=True).start()
        time.sleep(1.0)
        assert sent[0] < 30_000_000
        assert proxy.rss_bytes() - before < 8_000_000
        go_on.set()
        assert client.read().status == 200


def test_clients_that_leave(tmp_path: Path) -> None:
    """Their upstream connections end; nothing leaks."""

    def slow(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
        time.sleep(0.3)
        return 200, [], b"x" * 100_000

    origin = Origin("baseline", slow)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        ask(proxy.port, get())
        files = proxy.open_files()
        for _ in range(20):
            client = Client(proxy.port)
            client.send(get())
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        time.sleep(1.0)
        assert proxy.open_files() <= files + 3
        assert ask(proxy.port, get()).status == 200
