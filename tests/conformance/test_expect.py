"""CHECKLIST 17, end to end: a request whose body waits for a word of the origin."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.corpus.connections import WAITING
from tests.corpus.http1 import SMUGGLED
from tests.support.client import Client, connected
from tests.support.origin import RawOrigin, running
from tests.support.proxy import Proxy, run_proxy, table
from tests.support.waiting import until

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"


class ExpectingOrigin(RawOrigin):
    """Says `first` when a head has come, and `then` when the body of its request has."""

    def __init__(self) -> None:
        self.first, self.then, self.body = b"", b"", b""
        self.has_begun, self.is_over = threading.Event(), threading.Event()
        super().__init__(self._answer)

    def expect(self, first: bytes, then: bytes, body: bytes) -> None:
        self.first, self.then, self.body = first, then, body
        self.received.clear()
        self.has_begun.clear()
        self.is_over.clear()

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        self.has_begun.set()
        connection.sendall(self.first)
        while not self.received[0].endswith(b"\r\n\r\n" + self.body):
            piece = connection.recv(65536)
            if not piece:
                break
            self.received[0] += piece
        else:
            connection.sendall(self.then)
        self.is_over.set()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, ExpectingOrigin]]:
    origin = ExpectingOrigin()
    folder = tmp_path_factory.mktemp("expect")
    with running(origin), run_proxy(folder, origin.port, document=table(goneKeys=["gonekey"])) as proxy:
        yield proxy, origin


@pytest.fixture
def client(scene: tuple[Proxy, ExpectingOrigin]) -> Iterator[Client]:
    with connected(scene[0].port) as client:
        yield client


@pytest.fixture
def origin(scene: tuple[Proxy, ExpectingOrigin]) -> ExpectingOrigin:
    return scene[1]


@pytest.mark.parametrize("name", WAITING)
def test_100_is_forwarded_once(client: Client, origin: ExpectingOrigin, name: str) -> None:
    """Not before the origin says it: until then the head is all that there is, with its `Expect`."""
    waiting = WAITING[name]
    origin.expect(b"", OK, waiting.body)
    client.send(waiting.head)
    assert origin.has_begun.wait(5)
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(5)
    assert origin.received == [waiting.head]
    client.send(waiting.body)
    response = client.read()
    assert (response.status, response.interim, response.body) == (200, [], b"ok")


@pytest.mark.parametrize("name", WAITING)
def test_the_body_follows_100(client: Client, origin: ExpectingOrigin, name: str) -> None:
    waiting = WAITING[name]
    origin.expect(CONTINUE, OK, waiting.body)
    client.send(waiting.head)
    assert client.socket.recv(65536) == CONTINUE
    client.send(waiting.body)
    response = client.read()
    assert (response.status, response.interim, response.body) == (200, [], b"ok")
    assert origin.received == [waiting.head + waiting.body]


@pytest.mark.parametrize("name", WAITING)
def test_the_body_need_not_wait(client: Client, origin: ExpectingOrigin, name: str) -> None:
    waiting = WAITING[name]
    origin.expect(CONTINUE, OK, waiting.body)
    response = client.ask(waiting.head + waiting.body)
    assert (response.status, response.interim, response.body) == (200, [100], b"ok")
    assert origin.received == [waiting.head + waiting.body]


@pytest.mark.parametrize("name", WAITING)
def test_a_final_status_may_come_first(client: Client, origin: ExpectingOrigin, name: str) -> None:
    """No deadlock: it is delivered, and as the body may or may not come now, what comes is neither it nor a request."""
    waiting = WAITING[name]
    origin.expect(NO, b"", waiting.body)
    response = client.ask(waiting.head)
    assert (response.status, response.interim, response.body) == (417, [], b"no")
    assert response.value("connection") == "close"
    client.send(SMUGGLED)
    assert client.read_to_end() == b""
    until(origin.is_over.is_set, "the end upstream")
    assert origin.received == [waiting.head]


@pytest.mark.parametrize("name", WAITING)
def test_our_own_answer_comes_first(client: Client, origin: ExpectingOrigin, name: str) -> None:
    waiting = WAITING[name]
    origin.expect(CONTINUE, OK, waiting.body)
    response = client.ask(waiting.head.removesuffix(b"\r\n") + b"baggage: sd-routing-key=gonekey\r\n\r\n")
    assert (response.status, response.interim, response.value("connection")) == (424, [], "close")
    client.send(SMUGGLED)
    assert client.read_to_end() == b""
    assert origin.received == []
