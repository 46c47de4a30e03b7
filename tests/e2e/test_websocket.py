"""WebSocket and other upgrades: routed like any request, then a tunnel (CHECKLIST 37, 38)."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect as library_connect
from websockets.sync.server import ServerConnection, serve

from tests.support.client import Client, ask, connected, get
from tests.support.origin import Origin, RawOrigin, running, says
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, table
from tests.support.waiting import until
from tests.support.websocket import EchoOrigin, Said, WebSocket, connect

TAG = ("baggage", f"sd-routing-key={KEY}")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@contextlib.contextmanager
def before(tmp_path: Path, origin: RawOrigin | Origin | EchoOrigin, *flags: str) -> Iterator[Proxy]:
    with running(origin), run_proxy(tmp_path, origin.port, flags=flags) as proxy:
        yield proxy


# --- CHECKLIST 37: what arrives through the proxy equals what arrives without it -----------------------------------

TEXT, BINARY, CONT, PING = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING
DIALOGS: dict[str, tuple[list[Frame], int]] = {
    "one message": ([Frame(TEXT, b"hello")], 1),
    "nothing in it": ([Frame(TEXT, b""), Frame(BINARY, b"")], 2),
    "fragments": ([Frame(TEXT, b"a", fin=False), Frame(CONT, b"b", fin=False), Frame(CONT, b"c")], 3),
    "a ping between fragments": ([Frame(TEXT, b"a", fin=False), Frame(PING, b"p"), Frame(CONT, b"c")], 3),
    "binary": ([Frame(BINARY, bytes(range(256)) * 40)], 1),
    "large": ([Frame(BINARY, os.urandom(3_000_000))], 1),
    "what looks like HTTP": ([Frame(TEXT, b"GET / HTTP/1.1\r\nHost: location\r\n\r\n")], 1),
    "many": ([Frame(TEXT, b"%d" % number) for number in range(300)], 300),
}


def dialog(port: int, frames: list[Frame], answers: int, code: int) -> tuple[list[Said], int | None, int | None]:
    """What the client hears, and the close codes that it sent and got."""
    end = connect(port, TAG)
    with end.socket:
        end.send(*frames)
        end.hear(answers)
        end.close(code, "bye")
        end.hear(answers + 2)
        sent, got = end.protocol.close_sent, end.protocol.close_rcvd
        return end.heard, sent and sent.code, got and got.code


def pongs(heard: list[Said]) -> tuple[list[Said], list[Said]]:
    return [each for each in heard if each[0] == "PONG"], [each for each in heard if each[0] != "PONG"]


@pytest.mark.parametrize("case", DIALOGS)
def test_the_same_dialog_with_and_without(tmp_path: Path, case: str) -> None:
    frames, answers = DIALOGS[case]
    origin = EchoOrigin()
    with before(tmp_path, origin) as proxy:
        direct = dialog(origin.port, frames, answers, 4321)
        heard_directly = origin.heard.copy()
        origin.heard.clear()
        through = dialog(proxy.port, frames, answers, 4321)
        # When a ping is answered, between which of the fragments, depends on how the bytes were cut on their way.
        assert (pongs(through[0]), through[1:]) == (pongs(direct[0]), direct[1:])
        assert origin.heard == heard_directly
        assert direct[1:] == (4321, 4321)


def test_a_library_on_both_sides(tmp_path: Path) -> None:
    def converse(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)
            if message == "leave":
                connection.close(4000, "asked to")

    with serve(converse, "127.0.0.1", 0, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        with run_proxy(tmp_path, port) as proxy, library_connect(f"ws://127.0.0.1:{proxy.port}/", max_size=None) as end:
            large = os.urandom(5_000_000)
            end.send(large)
            assert end.recv() == large
            end.send(iter(["in ", "three ", "parts"]))
            assert end.recv() == "in three parts"
            assert end.ping().wait(5)
            end.send("leave")
            assert end.recv() == "leave"
            with pytest.raises(ConnectionClosed):
                end.recv()
            assert (end.close_code, end.close_reason) == (4000, "asked to")
        server.shutdown()


def test_routed_like_any_request(tmp_path: Path) -> None:
    baseline, sandbox = EchoOrigin("baseline"), EchoOrigin("sandbox")
    document = table(route(KEY, [sandbox.port]), goneKeys=["gonekey"])
    with (
        running(baseline, sandbox),
        run_proxy(tmp_path, baseline.port, document=document, flags=("--decision-header",)) as proxy,
    ):
        plain, tagged = connect(proxy.port), connect(proxy.port, TAG)
        with plain.socket, tagged.socket:
            assert plain.response.headers["x-origin"] == "baseline"
            assert plain.response.headers["pointsman-decision"] == "baseline; reason=no_key"
            assert tagged.response.headers["x-origin"] == "sandbox"
            assert tagged.response.headers["pointsman-decision"] == "sandbox=local-location; reason=route"
            assert sandbox.requests[0].headers["pointsman-hop"] == WORKLOAD
            until(lambda: proxy.metric("pointsman_tunnels") == 2)
        with pytest.raises(ConnectionError, match="424"):
            connect(proxy.port, ("baggage", "sd-routing-key=gonekey"))
        until(lambda: proxy.metric("pointsman_tunnels") == 0)
        sample = 'pointsman_requests_total{reason="route",route="sandbox",sandbox="local-location",status="1xx"}'
        assert proxy.metric(sample) == 1


# --- what is no tunnel (CHECKLIST 38) ------------------------------------------------------------------------------


def test_a_refused_upgrade_passes_and_early_bytes_are_no_request(tmp_path: Path) -> None:
    origin = Origin(respond=lambda received: (403, [], b"no"))
    with before(tmp_path, origin) as proxy:
        with connected(proxy.port) as client:
            response = client.ask(get("/", *UPGRADE), get("/smuggled"))
            assert (response.status, response.body) == (403, b"no")
            assert client.read_to_end() == b""
        with connected(proxy.port) as client:
            assert client.ask(get("/", *UPGRADE)).status == 403
            with contextlib.suppress(OSError):
                client.send(get("/smuggled later"))
            assert client.read_to_end() == b""
        assert [received.target for received in origin.requests] == [b"/", b"/"]


def test_early_bytes_reach_the_other_side_as_they_are(tmp_path: Path) -> None:
    got = b""

    def script(connection: socket.socket, head: bytes) -> None:
        nonlocal got
        time.sleep(0.1)  # the early bytes wait in the proxy
        connection.sendall(SWITCHED)
        while data := connection.recv(65536):
            got += data
        connection.sendall(b"the end")

    with before(tmp_path, RawOrigin(script)) as proxy, connected(proxy.port) as client:
        early = get("/early") + os.urandom(200_000)
        client.send(get("/", *UPGRADE), early)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert answer.endswith(b"\r\n\r\nthe end")
        assert got == early


def test_a_tunnel_behind_a_chunked_request(tmp_path: Path) -> None:
    """Its framing ends with it."""
    got = b""

    def script(connection: socket.socket, head: bytes) -> None:
        nonlocal got
        body = head.partition(b"\r\n\r\n")[2]
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        connection.sendall(SWITCHED)
        while data := connection.recv(65536):
            got += data
        connection.sendall(b"the end")

    with before(tmp_path, RawOrigin(script)) as proxy, connected(proxy.port) as client:
        client.send(get("/", *UPGRADE, "Transfer-Encoding: chunked", method="POST"), b"2\r\nok\r\n0\r\n\r\n")
        client.send(b"raw")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end().endswith(b"\r\n\r\nthe end")
        assert got == b"raw"


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        ("Connection: upgrade", "Upgrade: H2C"),
        ("Connection: upgrade", "Upgrade: HTTP/2.0, TLS/1.3"),
        ("Connection: upgrade",),
        ("Upgrade: websocket",),  # not offered to us: it belongs to another hop
        ("Connection: close", "Upgrade: websocket"),
    ],
)
def test_what_is_not_offered_on(tmp_path: Path, lines: tuple[str, ...]) -> None:
    origin = Origin()
    with before(tmp_path, origin) as proxy:
        response = ask(proxy.port, get("/", *lines))
        assert (response.status, response.origin) == (200, "baseline")
        names = {name.lower() for name, _ in origin.requests[0].fields}
        assert names & {b"upgrade", b"connection", b"http2-settings"} == set()


def test_http2_is_taken_out_of_a_list(tmp_path: Path) -> None:
    origin = Origin()
    with before(tmp_path, origin) as proxy:
        ask(proxy.port, get("/", "Connection: keep-alive, Upgrade", "Upgrade: h2c, WebSocket", "Upgrade: foo/2"))
        assert origin.requests[0].values(b"upgrade") == [b"WebSocket, foo/2"]
        assert origin.requests[0].values(b"connection") == [b"Upgrade"]


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(b"websocket", b"h2c"),
        SWITCHED.replace(b"websocket", b"foo"),
        SWITCHED.replace(b"Upgrade: websocket\r\n", b""),
        SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
    ],
)
def test_a_101_to_something_else_opens_nothing(tmp_path: Path, answer: bytes) -> None:
    with before(tmp_path, RawOrigin(says(answer, then="wait"))) as proxy:
        assert ask(proxy.port, get("/", *UPGRADE)).status == 502


def test_a_101_that_nobody_asked_for(tmp_path: Path) -> None:
    with before(tmp_path, RawOrigin(says(SWITCHED, then="wait"))) as proxy:
        assert ask(proxy.port, get("/")).status == 502


def test_a_101_before_the_end_of_the_request(tmp_path: Path) -> None:
    with before(tmp_path, RawOrigin(says(SWITCHED, then="wait"))) as proxy:
        assert ask(proxy.port, get("/", *UPGRADE, "Content-Length: 5", method="POST")).status == 502


# --- ends ----------------------------------------------------------------------------------------------------------


def test_the_client_ends_its_side_first(tmp_path: Path) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(SWITCHED)
        heard = b""
        while data := connection.recv(65536):
            heard += data
        time.sleep(0.1)
        connection.sendall(b"heard " + heard)

    with before(tmp_path, RawOrigin(script)) as proxy, connected(proxy.port) as client:
        client.send(get("/", *UPGRADE), b"all")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end().endswith(b"\r\n\r\nheard all")
        until(lambda: proxy.metric("pointsman_tunnels") == 0)


def test_the_server_ends_its_side_first(tmp_path: Path) -> None:
    heard = b""

    def script(connection: socket.socket, head: bytes) -> None:
        nonlocal heard
        connection.sendall(SWITCHED + b"over")
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            heard += data

    with before(tmp_path, RawOrigin(script)) as proxy, connected(proxy.port) as client:
        client.send(get("/", *UPGRADE))
        assert client.read_to_end().endswith(b"\r\n\r\nover")
        client.send(b"still ")
        time.sleep(0.1)
        client.send(b"talking")
        client.socket.shutdown(socket.SHUT_WR)
        until(lambda: heard == b"still talking")
        until(lambda: proxy.metric("pointsman_tunnels") == 0)


def test_the_servers_last_words_arrive_though_it_hears_no_more(tmp_path: Path) -> None:
    """A server that goes while the client still sends answers that with a reset, which must not overtake its words."""
    said = os.urandom(300_000)

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(SWITCHED + said)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.05)

    with before(tmp_path, RawOrigin(script)) as proxy:
        for _ in range(5):
            with connected(proxy.port) as client:
                client.send(get("/", *UPGRADE))
                for _ in range(20):
                    with contextlib.suppress(OSError):
                        client.send(b"x" * 1000)
                assert client.read_to_end().endswith(said)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_client_that_dies(tmp_path: Path) -> None:
    ended = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(SWITCHED)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass
        ended.set()

    with before(tmp_path, RawOrigin(script)) as proxy:
        client = Client(proxy.port)
        client.send(get("/", *UPGRADE))
        assert client.socket.recv(65536).startswith(b"HTTP/1.1 101 ")
        reset(client.socket)
        assert ended.wait(5)


def test_a_server_that_dies(tmp_path: Path) -> None:
    with (
        before(tmp_path, RawOrigin(says(SWITCHED + b"half a", then="reset"))) as proxy,
        connected(proxy.port) as client,
    ):
        client.send(get("/", *UPGRADE))
        client.socket.settimeout(5)
        with pytest.raises(ConnectionResetError):
            while client.socket.recv(65536):
                pass
        until(lambda: "upstream_truncated" in proxy.page("/metrics")[1].decode())


def test_silence_ends_a_tunnel(tmp_path: Path) -> None:
    origin = EchoOrigin()
    with before(tmp_path, origin, "--tunnel-idle-timeout", "1") as proxy:
        silent, talking = connect(proxy.port), connect(proxy.port)
        with silent.socket, talking.socket:
            until = time.monotonic() + 3.5
            count = 0
            while time.monotonic() < until:
                count += 1
                talking.send(Frame(TEXT, b"x"))
                assert len(talking.hear(count)) == count
                time.sleep(0.2)
            with contextlib.suppress(ConnectionResetError):
                silent.hear(1)
            assert silent.heard == []
            assert "stream_timeout" in proxy.page("/metrics")[1].decode()


def ended(end: WebSocket) -> bool:
    """Whether it ended, seen without blocking."""
    end.socket.settimeout(0.01)
    try:
        return not end.socket.recv(1)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_a_drain_ends_tunnels_within_its_limit(tmp_path: Path) -> None:
    origin = EchoOrigin()
    with before(tmp_path, origin, "--drain-timeout", "1.5") as proxy:
        end = connect(proxy.port)
        with end.socket:
            began = time.monotonic()
            proxy.process.terminate()
            time.sleep(0.5)
            end.send(Frame(TEXT, b"still there"))
            assert end.hear(1) == [("TEXT", True, b"still there")]
            assert proxy.process.wait(10) == 0
            assert 1.4 < time.monotonic() - began < 5
            assert ended(end)


def test_a_route_that_leaves_takes_its_tunnels_along(tmp_path: Path) -> None:
    baseline, sandbox = EchoOrigin("baseline"), EchoOrigin("sandbox")
    both = table(route(KEY, [sandbox.port]), route("other", [sandbox.port], sandbox="other"))
    with (
        running(baseline, sandbox),
        run_proxy(tmp_path, baseline.port, document=both, flags=("--drain-timeout", "1")) as proxy,
    ):
        leaving, staying, plain = (
            connect(proxy.port, TAG),
            connect(proxy.port, ("baggage", "sd-routing-key=other")),
            connect(proxy.port),
        )
        with leaving.socket, staying.socket, plain.socket:
            proxy.set_table(table(route("other", [sandbox.port], sandbox="other"), version="2"))
            leaving.send(Frame(TEXT, b"a moment"))
            assert leaving.hear(1) == [("TEXT", True, b"a moment")]
            until(lambda: ended(leaving))
            for end in (staying, plain):
                end.send(Frame(TEXT, b"here"))
                assert end.hear(1) == [("TEXT", True, b"here")]
            assert "route_removed" in proxy.page("/metrics")[1].decode()
            proxy.set_table(table(route("other", [baseline.port], sandbox="other"), version="3"))  # re-pointed
            until(lambda: ended(staying))
            assert not ended(plain)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_slow_side_stops_the_other(tmp_path: Path, direction: str) -> None:
    """Backpressure: what a side does not read is not piled up."""
    go = threading.Event()
    got = 0
    size = 60_000_000

    def script(connection: socket.socket, head: bytes) -> None:
        nonlocal got
        connection.sendall(SWITCHED)
        if direction == "up":
            go.wait(20)
            while data := connection.recv(262144):
                got += len(data)
        else:
            for _ in range(size // 100_000):
                connection.sendall(bytes(100_000))

    with before(tmp_path, RawOrigin(script)) as proxy, connected(proxy.port) as client:
        rss = proxy.rss_bytes()
        client.send(get("/", *UPGRADE))
        assert client.socket.recv(len(SWITCHED), socket.MSG_WAITALL)
        if direction == "up":
            sender = threading.Thread(target=client.send, args=(bytes(size),), daemon=True)
            sender.start()
            time.sleep(0.5)
            assert proxy.rss_bytes() - rss < 8_000_000
            go.set()
            sender.join(20)
            client.socket.shutdown(socket.SHUT_WR)
            until(lambda: got == size, within_s=20)
        else:
            time.sleep(0.5)
            assert proxy.rss_bytes() - rss < 8_000_000
            assert len(client.read_to_end()) == size
