"""CHECKLIST 36 and 52: connections that end while requests are under way, from either side and by our own drain."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.support.http2 import MAX_WINDOW, Code, answer, data, get, goaway, headers, post
from tests.support.http2_peer import Peer, Stream
from tests.support.http2_wire import Wire, wired

Two = tuple[Peer, Peer, Stream, Stream]


@pytest.fixture
def two(wire: Wire) -> Two:
    """A client, an upstream, and two requests as they arrived there, from the client's streams 1 and 3."""
    client = wire.client()
    upstream, first = wire.opened(client, get(1, "/one"))
    client.send(get(3, "/two"))
    return client, upstream, first, upstream.next_stream()


def finish(client: Peer, number: int, upstream: Peer, stream: Stream, body: bytes = b"ok") -> None:
    upstream.send(headers(stream.number, answer()), data(stream.number, body, end=True))
    response = client.over(number)
    assert (response.status, response.body, response.is_complete) == (200, body, True)


# --- an upstream that leaves ---


@pytest.mark.parametrize("last", ["of two", MAX_WINDOW])
def test_what_runs_is_finished(wire: Wire, two: Two, last: object) -> None:
    """Nothing new goes there, and when all is done we leave."""
    client, upstream, one, second = two
    upstream.send(goaway(second.number if last == "of two" else MAX_WINDOW))
    upstream.sync()
    client.send(get(5, "/three"))
    another, third = wire.next_request(upstream)
    assert another is not upstream
    finish(client, 5, another, third)
    finish(client, 1, upstream, one)
    finish(client, 3, upstream, second)
    assert upstream.end() in (None, Code.NO_ERROR)


@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.ENHANCE_YOUR_CALM])
def test_what_was_not_worked_on_is_sent_elsewhere(wire: Wire, two: Two, code: Code) -> None:
    client, upstream, one, _ = two
    upstream.send(goaway(one.number, code))
    another, again = wire.next_request(upstream)
    assert (another is not upstream, again.target) == (True, b"/two")
    finish(client, 3, another, again)
    finish(client, 1, upstream, one)


def test_last_words_come_in_two_steps(wire: Wire, two: Two) -> None:
    client, upstream, one, _ = two
    upstream.send(goaway(MAX_WINDOW))
    upstream.sync()
    upstream.send(goaway(one.number))
    another, again = wire.next_request(upstream)
    finish(client, 3, another, again)
    finish(client, 1, upstream, one)


@pytest.mark.parametrize("size", [4, 60_000, 200_000])
def test_a_body_under_way_is_never_lost_in_silence(wire: Wire, size: int) -> None:
    """It is sent again from its first byte, or, where that is gone, the request is answered."""
    client = wire.client()
    upstream, stream = wire.opened(client, post(1))
    client.send_body(1, b"x" * size, end=False)
    upstream.until(lambda: len(stream.body) == size, "the half")
    upstream.send(goaway(0))
    client.send(data(1, b"the rest", end=True))
    try:
        another, again = wire.next_request(upstream)
    except TimeoutError:
        response = client.over(1)
        assert response.status in (502, 503)
        assert response.value("proxy-status").startswith("pointsman; error=")
    else:
        assert another.over(again.number).body == b"x" * size + b"the rest"
        finish(client, 1, another, again)


def test_last_words_and_no_more(wire: Wire, two: Two) -> None:
    """It said that it would answer, and went: what may have been done is not done again."""
    client, upstream, _, second = two
    upstream.send(goaway(second.number))
    upstream.socket.close()
    for number in (1, 3):
        assert client.over(number).status == 502


# --- a client that leaves ---


@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.PROTOCOL_ERROR, 0xEEEE])
def test_a_client_that_says_goodbye(wire: Wire, two: Two, code: int) -> None:
    """Its streams are answered; then the connection ends."""
    client, upstream, one, second = two
    client.send(goaway(0, code))
    client.sync()
    finish(client, 3, upstream, second)
    finish(client, 1, upstream, one)
    assert client.end() in (None, Code.NO_ERROR)


# --- we leave ---


@pytest.fixture
def wire_of_its_own(tmp_path: Path) -> Wire:
    with wired(tmp_path) as wire:
        yield wire


def is_told(client: Peer, last: int) -> None:
    client.until(lambda: client.goaways and client.goaways[-1][0] == last, f"GOAWAY {last}")
    assert client.goaways[-1][1] == Code.NO_ERROR


def test_a_drain_finishes_what_runs(wire_of_its_own: Wire) -> None:
    """RFC 9113 section 6.8: first that no more may come, then, once the client knows, what the last one was."""
    wire = wire_of_its_own
    client, idle = wire.client(), wire.client()
    client.answers_pings = False
    upstream, stream = wire.opened(client, post(1))
    wire.proxy.process.send_signal(signal.SIGTERM)
    is_told(client, MAX_WINDOW)
    client.send(get(3))  # it crosses the GOAWAY
    crossing = upstream.next_stream()
    client.answers_pings = True
    is_told(client, 3)
    client.send(get(5))  # it should have known
    client.send(data(1, b"the rest", end=True))
    assert upstream.over(stream.number).body == b"the rest"
    finish(client, 3, upstream, crossing)
    finish(client, 1, upstream, stream)
    assert client.end() == Code.NO_ERROR
    assert not client.was_reset
    assert not client.stream(5).is_over
    assert idle.end() == Code.NO_ERROR
    assert upstream.end() in (None, Code.NO_ERROR)
    assert wire.proxy.process.wait(10) == 0


def test_a_drain_does_not_wait_for_a_client_that_answers_no_ping(wire_of_its_own: Wire) -> None:
    wire = wire_of_its_own
    client = wire.client()
    client.answers_pings = False
    upstream, stream = wire.opened(client, get(1))
    wire.proxy.process.send_signal(signal.SIGTERM)
    is_told(client, 1)
    finish(client, 1, upstream, stream)
    assert client.end() == Code.NO_ERROR
    assert wire.proxy.process.wait(10) == 0


def test_a_drain_loses_no_request(wire_of_its_own: Wire) -> None:
    """Streams that are opened all the while: each up to the last id is answered, and none above it is worked on."""
    wire = wire_of_its_own
    client = wire.client()
    upstream, stream = wire.opened(client, get(1))
    upstream.send(headers(stream.number, answer(), end=True))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                stream = upstream.next_stream(0.2)
            except TimeoutError:
                continue
            except EOFError:
                return
            upstream.send(headers(stream.number, answer(), end=True))

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    asked = 1
    while not client.goaways or client.goaways[-1][0] == MAX_WINDOW:
        if asked == 101:
            wire.proxy.process.send_signal(signal.SIGTERM)
        asked += 2
        client.send(get(asked))
        client.until(lambda asked=asked: client.stream(asked - 2).is_over or len(client.goaways) > 1, "an answer")
        assert asked < 20_000
    last = client.goaways[-1][0]
    assert client.end() == Code.NO_ERROR
    ended.set()
    server.join(5)
    lost = [number for number in range(1, last + 1, 2) if client.stream(number).status != 200]
    assert lost == []
    assert not any(client.stream(number).heads for number in range(last + 2, asked + 1, 2))
    assert wire.proxy.process.wait(10) == 0


def test_a_drains_limit_ends_what_does_not_end(tmp_path: Path) -> None:
    """Cut, and never complete."""
    with wired(tmp_path, "--drain-timeout", "1") as wire:
        client = wire.client()
        upstream, stream = wire.opened(client, get(1))
        upstream.send(headers(stream.number, answer()), data(stream.number, b"half"))
        client.headed(1)
        wire.proxy.process.send_signal(signal.SIGTERM)
        client.end(10)
        assert not client.stream(1).is_complete
        assert wire.proxy.process.wait(10) == 0
