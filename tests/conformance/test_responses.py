"""CHECKLIST B, end to end: every response of the corpus through the real process, whole and byte by byte.

What is no response is a 502 that names the endpoint; one that breaks off is never complete; bytes that nobody asked for
reach nobody; and whatever an origin said, the next client gets its own answer over a connection that is not spoiled.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.corpus.http1 import RESPONSES, Sample
from tests.support.client import Response, ask, connected, get
from tests.support.origin import RawOrigin, Server, running, says
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

GOOD = Sample(b"HTTP/1.1 200 OK\r\nX-Origin: good\r\nContent-Length: 4\r\n\r\ngood", "")

# The head is good and the body is not, or not whole.
BROKEN = [
    "a bad chunk",
    "a chunk that spills",
    "a blank behind a size",
    "a control in an extension",
    "a size over 2^63",
    "trailers over the limit",
    "a cut length",
    "a cut chunk",
    "no last chunk",
]
# Name -> the body that a client gets.
SERVED = {
    "a length": b"hello",
    "a length of 0": b"",
    "chunks": b"hello!",
    "trailers": b"hello",
    "chunk extensions": b"hello",
    "two responses": b"hello",
    "until the end": b"hello",
    "until the end, still open": b"hello",
    "nothing until the end": b"",
    "HEAD with a length": b"",
    "HEAD, chunked": b"",
    "HEAD without framing": b"",
    "204": b"",
    "204 with a length": b"",
    "204 with a coding": b"",
    "204 with a body": b"",
    "304": b"",
    "100 before": b"hello",
    "103 before": b"hello",
    "HTTP/1.0": b"hello",
    "HTTP/1.0 until the end": b"hello",
    "no phrase": b"hello",
    "no blank behind the code": b"hello",
    "an 8-bit phrase": b"hello",
    "a code of 599": b"hello",
    "a code of 999": b"hello",
    "Connection hides the coding": b"hello",
    "Connection hides a length": b"hello",
    "the largest head": b"hello",
    "the largest trailers": b"",
}
INVALID = [name for name in RESPONSES if name not in (*SERVED, *BROKEN)]
# So many samples wait for more; here the origin ends instead.
UNFINISHED = ["until the end, still open", "1xx without end", "half a head"]
# Behind these the origin's connection can serve another request.
SPOILED = {"two responses", "204 with a body", "HTTP/1.0", *UNFINISHED}


# Idle upstream connections stay, so that one that ends was ended for what came over it.
KEPT = ("--upstream-idle-timeout", "600")


class Player(Server):
    """Answers each request with `sample`, as it stands."""

    def __init__(self) -> None:
        self.sample, self.is_slow = GOOD, False
        self.heads: list[bytes] = []
        self.open = 0
        super().__init__(self._play)

    def _play(self, connection: socket.socket) -> None:
        self.open += 1
        try:
            while head := connection.recv(65536):
                self.heads.append(head)
                data = self.sample.data
                step = (1 if len(data) < 5000 else 509) if self.is_slow else len(data)
                for start in range(0, len(data), step):
                    connection.sendall(data[start : start + step])
                    if self.is_slow and data[: start + step].endswith(b"\r\n\r\n"):
                        time.sleep(0.01)  # the head has gone on before what follows it
                if self.sample.eof or self.sample.data in [RESPONSES[name].data for name in UNFINISHED]:
                    return
        finally:
            self.open -= 1


@dataclass(frozen=True)
class Scene:
    """One proxy before one player: it must survive every answer."""

    proxy: Proxy
    player: Player

    def play(self, name: str, is_slow: bool) -> Response:
        """What a client gets; nothing follows it.

        Raises: ConnectionError where the connection ends without a response.
        """
        self.player.sample, self.player.is_slow = RESPONSES[name], is_slow
        method = RESPONSES[name].method.decode()
        with connected(self.proxy.port) as client:
            response = client.ask(get("/", "Connection: close", method=method), method=method)
            assert client.read_to_end() == b""
        return response

    def is_well(self) -> None:
        self.player.sample, self.player.is_slow = GOOD, False
        response = ask(self.proxy.port, get("/good"))
        assert (response.status, response.origin, response.body) == (200, "good", b"good")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    player = Player()
    with running(player), run_proxy(tmp_path_factory.mktemp("responses"), player.port, flags=KEPT) as proxy:
        yield Scene(proxy, player)


BOTH = pytest.mark.parametrize("is_slow", [False, True], ids=["whole", "byte by byte"])


@BOTH
@pytest.mark.parametrize("name", INVALID)
def test_no_response(scene: Scene, name: str, is_slow: bool) -> None:
    """CHECKLIST 20, 23: said as ours, and never sent again: the origin may have done what it was asked to."""
    scene.player.heads.clear()
    response = scene.play(name, is_slow)
    assert response.status == 502
    assert f"127.0.0.1:{scene.player.port}" in response.value("proxy-status")
    assert len(scene.player.heads) == 1
    until(lambda: scene.player.open == 0, "the end of the origin's connection")
    scene.is_well()


@BOTH
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_never_complete(scene: Scene, name: str, is_slow: bool) -> None:
    """CHECKLIST 21: the head shows, and that the rest is missing."""
    response = scene.play(name, is_slow)
    assert response.is_complete == (response.status == 502)
    until(lambda: scene.player.open == 0, "the end of the origin's connection")
    scene.is_well()


@BOTH
@pytest.mark.parametrize("name", SERVED)
def test_served(scene: Scene, name: str, is_slow: bool) -> None:
    """CHECKLIST 22-24: and what stands behind it spoils nothing but its own connection."""
    response = scene.play(name, is_slow)
    assert response.is_complete
    assert response.body == SERVED[name]
    assert not response.value("proxy-status")
    if "until the end" in name:
        assert response.value("transfer-encoding") == "chunked"
    assert response.interim == {"100 before": [100], "103 before": [103]}.get(name, [])
    if name in SPOILED or RESPONSES[name].eof:
        until(lambda: scene.player.open == 0, "the end of the origin's connection")
    scene.is_well()


def test_204_goes_on_without_framing(scene: Scene) -> None:
    """CHECKLIST 23: who believed it would wait for a body."""
    for name in ("204 with a length", "204 with a body", "204 with a coding"):
        response = scene.play(name, False)
        assert response.status == 204
        assert not response.value("content-length") + response.value("transfer-encoding")


def test_a_late_response_reaches_nobody(tmp_path: Path) -> None:
    """CHECKLIST 22: what comes over an idle connection ends it, before anybody else gets it."""
    said_late = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(GOOD.data)
        until(go_on.is_set, "the client's end")
        connection.sendall(RESPONSES["a length"].data)
        said_late.set()
        assert connection.recv(65536) == b""

    go_on = threading.Event()
    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port, flags=KEPT) as proxy:
        assert ask(proxy.port, get()).body == b"good"
        go_on.set()
        assert said_late.wait(5)
        until(lambda: proxy.metric("pointsman_upstream_connections") == 0, "the end of the idle connection")
        assert ask(proxy.port, get()).body == b"good"
        assert origin.connections == 2


# --- CHECKLIST 26, 27: what is sent again ---


class StaleOrigin(RawOrigin):
    """Serves the first request of each connection, reads the second and ends without a word. `arrived` counts ids."""

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()
        self.is_dead = False  # ends under the first one as well
        super().__init__(self._serve_one)

    def _serve_one(self, connection: socket.socket, head: bytes) -> None:
        self._count(head)
        if not self.is_dead:
            connection.sendall(GOOD.data.replace(b"good", b"") if head.startswith(b"HEAD") else GOOD.data)
            self._count(connection.recv(65536))

    def _count(self, head: bytes) -> None:
        if head:
            self.arrived[head.split(b" ")[1].decode()] += 1


@pytest.fixture
def stale(tmp_path: Path) -> Iterator[tuple[Proxy, StaleOrigin]]:
    origin = StaleOrigin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        yield proxy, origin


def warm_up(proxy: Proxy, count: int) -> None:
    """So many idle upstream connections."""
    with connected(proxy.port) as first:
        assert first.ask(get("/warm")).status == 200
    assert proxy.metric("pointsman_upstream_connections") == count == 1


@pytest.mark.parametrize(
    ("method", "lines", "body", "times"),
    [
        ("GET", (), b"", 2),
        ("HEAD", (), b"", 2),
        ("PUT", (), b"", 2),
        ("DELETE", (), b"", 2),
        ("POST", (), b"", 1),
        ("PATCH", (), b"", 1),
        ("POST", ("Content-Length: 2",), b"hi", 1),
        ("PUT", ("Content-Length: 2",), b"hi", 1),
        ("GET", ("Transfer-Encoding: chunked",), b"0\r\n\r\n", 1),
    ],
)
def test_what_may_have_been_executed_is_not_sent_again(
    stale: tuple[Proxy, StaleOrigin], method: str, lines: tuple[str, ...], body: bytes, times: int
) -> None:
    """CHECKLIST 26: once more where it does no harm and a pooled connection was stale, else 502 and never again."""
    proxy, origin = stale
    warm_up(proxy, 1)
    response = ask(proxy.port, get("/unique", *lines, method=method), body, method=method)
    assert response.status == (200 if times == 2 else 502)
    assert origin.arrived["/unique"] == times


def test_retries_are_bounded(stale: tuple[Proxy, StaleOrigin]) -> None:
    """CHECKLIST 27: one attempt on a pooled connection and one on a fresh one, however the origin goes on."""
    proxy, origin = stale
    warm_up(proxy, 1)
    origin.is_dead = True
    assert ask(proxy.port, get("/unique")).status == 502
    assert origin.arrived["/unique"] == 2
    assert ask(proxy.port, get("/another")).status == 502
    assert origin.arrived["/another"] == 1
    assert proxy.metric("pointsman_upstream_retries_total") == 1


def test_a_timeout_is_not_tried_again(tmp_path: Path) -> None:
    """CHECKLIST 27: the limit holds for the request, not for each attempt."""
    origin = RawOrigin(says(b"", delay_s=5))
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--response-timeout", "0.2")) as proxy:
        response = ask(proxy.port, get("/unique"))
        assert (response.status, "upstream_timeout" in response.value("proxy-status")) == (504, True)
        assert len(origin.received) == 1
