"""What becomes of a connection does not depend on how its bytes are cut: whole connections, sent in any pieces."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.http2_frames import FRAMES
from tests.conformance.http2_messages import MALFORMED, SERVED
from tests.conformance.http2_row import Row
from tests.support.http2 import (
    PREFACE,
    SETTINGS_ACK,
    SIZE_0,
    Setting,
    block,
    continuation,
    data,
    get,
    goaway,
    head,
    headers,
    ping,
    post,
    priority,
    reset,
    settings,
    window_update,
)
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Peer
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy

BEGIN = (
    PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 100_000}) + headers(1, SIZE_0 + head("/"), end=True) + SETTINGS_ACK
)


def _row(table: tuple[Row, ...], name: str) -> bytes:
    (sent,) = [row.sent for row in table if row.name.endswith(name)]
    assert isinstance(sent, bytes)
    return sent


# Each ends with GOAWAY, so that its connection ends once all is answered, or with a fault.
CONNECTIONS = {
    "two requests": BEGIN + get(3) + goaway(),
    "a body, padding, trailers": BEGIN
    + post(3, "/", ("content-length", "7"))
    + data(3, b"hello", pad=9)
    + data(3, b"", pad=0)
    + data(3, b"!!")
    + headers(3, block(("x-end", "1")), end=True, pad=5, priority=(1, 5))
    + goaway(),
    "a head in pieces": BEGIN
    + headers(3, head("/")[:7], end=True, whole=False)
    + continuation(3, head("/")[7:20], whole=False)
    + continuation(3, whole=False)
    + continuation(3, head("/")[20:])
    + goaway(),
    "frames of all kinds": BEGIN
    + ping()
    + priority(3)
    + window_update(0, 5)
    + settings({Setting.MAX_FRAME_SIZE: 20_000, 0xEEEE: 1})
    + post(3, "/held")
    + window_update(3, 7)
    + reset(3)
    + get(5)
    + goaway(),
    "a malformed request between good ones": BEGIN
    + _row(MALFORMED, "8.2.2: transfer-encoding").replace(b"\0\0\0\5", b"\0\0\0\3", 1)
    + get(5)
    + goaway(),
    "8-bit values": BEGIN + _row(SERVED, "an 8-bit value") + goaway(),
    "a fault of the connection": BEGIN + get(3) + _row(FRAMES, "6.7: PING of 7 bytes"),
    "a fault inside a block": BEGIN + _row(FRAMES, "4.3: PING inside a block"),
    "a bad index": BEGIN + headers(3, head("/") + b"\x80", end=True),
    "a bad preface": PREFACE[:-3] + b"X\r\n" + settings() + get(1),
}

Outcome = tuple[object, ...]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    origin = Http2Origin()
    with running(origin), run_proxy(tmp_path_factory.mktemp("splits"), origin.port) as proxy:
        yield proxy


def outcome(port: int, pieces: list[bytes]) -> Outcome:
    """What was answered on each stream, and how it ended."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        peer = Peer(connection, {Setting.INITIAL_WINDOW_SIZE: 100_000}, silent=True)
        peer.acks_settings = False
        for piece in pieces:
            peer.send(piece)
        first = connection.recv(4, socket.MSG_PEEK)
        if first == b"HTTP":
            said = b""
            while piece := connection.recv(65536):
                said += piece
            return "HTTP/1.1", said[:12]
        code = peer.end()
    streams = sorted(peer.streams.values(), key=lambda stream: stream.number)
    # After a fault an answer that is on its way may or may not come.
    each = [(stream.number, stream.status, bytes(stream.body), stream.reset) for stream in streams] if not code else []
    return code, peer.was_reset, each, sorted(peer.pongs)


@pytest.fixture(scope="module")
def whole(proxy: Proxy) -> dict[str, Outcome]:
    return {name: outcome(proxy.port, [sent]) for name, sent in CONNECTIONS.items()}


def test_what_they_are(whole: dict[str, Outcome]) -> None:
    """They are not all the same fault."""
    assert len(set(map(str, whole.values()))) >= 6
    assert sum(1 for each in whole.values() if each[0] in (0, None)) >= 5


@pytest.mark.parametrize("name", CONNECTIONS)
def test_cut_once(proxy: Proxy, whole: dict[str, Outcome], name: str) -> None:
    """At every place, but within what nobody looks into only here and there."""
    sent = CONNECTIONS[name]
    for place in range(1, len(sent)):
        assert outcome(proxy.port, [sent[:place], sent[place:]]) == whole[name], place


@pytest.mark.parametrize("name", CONNECTIONS)
def test_byte_by_byte(proxy: Proxy, whole: dict[str, Outcome], name: str) -> None:
    sent = CONNECTIONS[name]
    assert outcome(proxy.port, [sent[index : index + 1] for index in range(len(sent))]) == whole[name]


@pytest.mark.parametrize("name", CONNECTIONS)
def test_cut_anywhere(proxy: Proxy, whole: dict[str, Outcome], name: str) -> None:
    draw = random.Random(name)
    sent = CONNECTIONS[name]
    for _ in range(20):
        places = sorted(draw.sample(range(1, len(sent)), draw.randint(1, 9)))
        pieces = [sent[start:end] for start, end in zip([0, *places], [*places, len(sent)], strict=True)]
        assert outcome(proxy.port, pieces) == whole[name], places
