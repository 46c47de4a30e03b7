"""A server that breaks off: the client gets a status that says so, never OK, and the call is not made twice."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.support import grpc_h2
from tests.support.grpc_h2 import OK_HEAD, Connection, H2Origin, Message, Script, framed
from tests.support.grpc_service import ask, connected, path
from tests.support.grpc_ways import Way, way
from tests.support.origin import Server
from tests.support.proxy import run_proxy

OK = grpc.StatusCode.OK
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


PIECES = {"between messages": b"", "in a message": framed(bytes(100_000))[:50_000], "in a length": framed(b"x")[:3]}
ENDS: dict[str, Callable[[Connection, Message], None]] = {
    "FIN": lambda connection, request: connection.close(),
    "RST": lambda connection, request: connection.abort(),
    "no status": lambda connection, request: connection.data(request.stream, b"", end=True),
}


def after_one_message(connection: Connection, request: Message) -> None:
    """A message, and a piece of the next; how it ends waits until the client has ended its side."""
    asked = {name.decode(): value.decode() for name, value in request.fields}
    connection.head(request.stream, *OK_HEAD)
    connection.data(request.stream, framed(b"first") + PIECES[asked["x-piece"]])
    connection.until(lambda: request.is_complete)
    if asked["x-end"] in ENDS:
        ENDS[asked["x-end"]](connection, request)
    else:
        connection.reset(request.stream, int(asked["x-end"]))


@pytest.fixture(scope="module", params=["direct", "proxy"])
def dying(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[H2Origin, Way]]:
    """Straight: what gRPC itself makes of it."""
    origin = H2Origin(after_one_message, at_head=True)
    with contextlib.closing(origin), way(request.param, tmp_path_factory.mktemp("way"), origin.port) as found:
        yield origin, found


def status_after_one_message(port: int, end: str, piece: str = "between messages") -> grpc.StatusCode:
    """Of a stream whose first message is awaited before the client ends its side."""
    said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    said.put(b"hello")
    with connected(port) as channel:
        asked = (("x-end", end), ("x-piece", piece))
        call = channel.stream_stream(path("Echo"))(iter(said.get, None), timeout=20, metadata=asked)
        assert next(call) == b"first"
        said.put(None)
        with contextlib.suppress(grpc.RpcError):
            assert list(call) == []
        return call.code()


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_a_server_that_dies_in_a_stream(dying: tuple[H2Origin, Way], end: str, piece: str) -> None:
    origin, found = dying
    before = len(origin.requests)
    assert status_after_one_message(found.port, end, piece) is UNAVAILABLE
    assert len(origin.requests) == before + 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, grpc.StatusCode.INTERNAL),
        (2, grpc.StatusCode.INTERNAL),
        (8, grpc.StatusCode.CANCELLED),
        (11, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["NO_ERROR", "INTERNAL_ERROR", "CANCEL", "ENHANCE_YOUR_CALM"],
)
def test_a_stream_that_is_reset(dying: tuple[H2Origin, Way], code: int, status: grpc.StatusCode) -> None:
    """The client gets the status that the server's own code means; the connection stays."""
    origin, found = dying
    assert status_after_one_message(found.port, str(code)) is status
    before = origin.connections
    assert status_after_one_message(found.port, str(code)) is status
    assert found.proxy is None or origin.connections == before


def test_an_end_without_a_status(dying: tuple[H2Origin, Way]) -> None:
    assert status_after_one_message(dying[1].port, "no status") not in (OK, None)


@contextlib.contextmanager
def playing(script: Script, folder: Path) -> Iterator[tuple[H2Origin, int]]:
    """An origin, and the port of a proxy in front of it."""
    origin = H2Origin(script)
    with contextlib.closing(origin), run_proxy(folder, origin.port) as proxy:
        yield origin, proxy.port


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_a_server_that_dies_before_it_answers(tmp_path: Path, end: str) -> None:
    """It may have done what it was asked, so it is not asked again."""
    with playing(ENDS[end], tmp_path) as (origin, port), connected(port) as channel:
        answer = ask(channel, b"hi")
        assert answer.code is UNAVAILABLE
        assert "upstream_closed" in answer.details
        assert 'details="upstream_closed' in answer.value("proxy-status")
        assert len(origin.requests) == 1


def test_a_server_that_refuses_every_call(tmp_path: Path) -> None:
    """REFUSED_STREAM: it did nothing, so it is asked again, but not for ever."""
    with (
        playing(lambda connection, request: connection.reset(request.stream, 7), tmp_path) as (origin, port),
        connected(port) as channel,
    ):
        answer = ask(channel, b"hi")
        assert answer.code is UNAVAILABLE
        assert 'details="upstream_refused' in answer.value("proxy-status")
        assert [request.body for request in origin.requests] == [framed(b"hi")] * 3


def test_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    """HTTP/1.1, and bytes that are nothing."""
    for said in (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\0" * 100):
        origin = SayingOrigin(said)
        folder = tmp_path / str(len(said))
        folder.mkdir()
        with contextlib.closing(origin), run_proxy(folder, origin.port) as proxy, connected(proxy.port) as channel:
            answer = ask(channel, b"hi")
            assert answer.code is UNAVAILABLE
            assert answer.value("proxy-status").startswith("pointsman; error=")


class SayingOrigin(Server):
    """Says the same to everybody, and listens."""

    def __init__(self, said: bytes) -> None:
        def serve(connection: socket.socket) -> None:
            connection.sendall(said)
            while connection.recv(65536):
                pass

        super().__init__(serve)


def test_responses_that_are_not_grpc_pass(tmp_path: Path) -> None:
    """A gateway behind us that answers by HTTP alone: its answer is its own."""

    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, (b":status", b"503"), (b"content-type", b"text/plain"))
        connection.data(request.stream, b"away", end=True)

    with playing(script, tmp_path) as (_, port), grpc_h2.connected(port) as client:
        answer = client.read(client.call(path("Echo")))
        assert (answer.status, answer.body, answer.values("grpc-status")) == (503, b"away", [])
        assert not answer.value("proxy-status")


class GoingAway:
    """A script: its first connection takes so many calls, says GOAWAY in their middle, and finishes the lower half."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._first: Connection | None = None
        self._requests: list[Message] = []

    def __call__(self, connection: Connection, request: Message) -> None:
        self._first = self._first or connection
        if connection is not self._first:
            grpc_h2.answers(b"second")(connection, request)
            return
        self._requests.append(request)
        if len(self._requests) == self._calls:
            lower = sorted(self._requests, key=lambda message: message.stream)[: self._calls // 2]
            connection.goaway(lower[-1].stream)
            for message in lower:
                grpc_h2.answers(b"first")(connection, message)


def test_goaway_of_the_server(tmp_path: Path) -> None:
    """Calls up to the last that it names are finished, those above go to another connection; none is lost."""
    with playing(GoingAway(6), tmp_path) as (origin, port), grpc_h2.connected(port) as client:
        streams = [client.call(path("Echo"), message=b"%d" % number) for number in range(6)]
        answers = [client.read(stream) for stream in streams]
        assert [answer.values("grpc-status") for answer in answers] == [["0"]] * 6
        assert sorted(answer.body for answer in answers) == [framed(b"first")] * 3 + [framed(b"second")] * 3
        assert origin.connections == 2
