"""RFC 9113 section 3.4: how a connection begins; what is acknowledged; and that HTTP/1.1 is served beside it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.client import connected as http1
from tests.support.client import get as http1_get
from tests.support.http2 import (
    ACK,
    DEFAULT_WINDOW,
    MAX_WINDOW,
    PREFACE,
    SETTINGS_ACK,
    SIZE_0,
    Code,
    Kind,
    Setting,
    data,
    frame,
    get,
    head,
    headers,
    ping,
    priority,
    settings,
    window_update,
)
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Peer, connected
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy

Scene = tuple[Proxy, Http2Origin]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    origin = Http2Origin()
    folder = tmp_path_factory.mktemp("connection")
    with running(origin), run_proxy(folder, origin.port, flags=("--head-timeout", "1")) as proxy:
        yield proxy, origin


@pytest.fixture
def port(scene: Scene) -> int:
    scene[1].requests.clear()
    return scene[0].port


def test_settings_come_first(port: int) -> None:
    with connected(port, first=False) as peer:
        peer.sync()
        first = peer.frames[0]
        assert (first.kind, first.flags, first.stream) == (Kind.SETTINGS, 0, 0)
        assert peer.settings[Setting.MAX_CONCURRENT_STREAMS] >= 100  # RFC 9113 section 6.5.2
        assert peer.settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        assert Setting.ENABLE_PUSH not in peer.settings or not peer.settings[Setting.ENABLE_PUSH]
        assert peer.settings.get(Setting.MAX_HEADER_LIST_SIZE)


def test_a_request_need_not_wait_for_them(port: int) -> None:
    """All in one segment with the preface."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        peer = Peer(
            connection, {}, DEFAULT_WINDOW, preface=PREFACE + settings() + headers(1, SIZE_0 + head("/"), end=True)
        )
        assert peer.over(1).status == 200


def test_each_settings_frame_is_acknowledged_once_and_in_order(port: int) -> None:
    with connected(port) as peer:
        before = len(peer.frames)
        for size in (10, 20, 30):
            peer.send(settings({Setting.INITIAL_WINDOW_SIZE: size}), ping(bytes([size]) * 8))
        peer.sync()
        told = [(each.kind, each.payload[:1]) for each in list(peer.frames)[before:-1] if each.flags & ACK]
        assert told == [each for size in (10, 20, 30) for each in ((Kind.SETTINGS, b""), (Kind.PING, bytes([size])))]


def test_an_acknowledgement_is_not_acknowledged(port: int) -> None:
    with connected(port) as peer:
        peer.sync()
        before = len(peer.frames)
        peer.send(SETTINGS_ACK, ping(b"whatever", ack=True))
        peer.sync()
        assert len(peer.frames) == before + 1


FIRST_FRAMES = {
    "PING": ping(),
    "HEADERS": headers(1, head("/"), end=True),
    "an acknowledgement": SETTINGS_ACK,
    "WINDOW_UPDATE": window_update(0, 1),
    "PRIORITY": priority(1),
    "DATA": data(1, b"x"),
    "an unknown type": frame(Kind.UNKNOWN),
    "SETTINGS on a stream": frame(Kind.SETTINGS, stream=1),
}


@pytest.mark.parametrize("name", FIRST_FRAMES)
def test_another_first_frame(scene: Scene, port: int, name: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        peer = Peer(connection, silent=True)
        peer.send(PREFACE, FIRST_FRAMES[name])
        assert peer.end() == Code.PROTOCOL_ERROR
    assert not scene[1].requests


PREFACES = {
    "a byte is wrong": PREFACE[:-6] + b"X" + PREFACE[-5:],
    "the end is wrong": PREFACE[:-1] + b"X",
    "SM is missing": PREFACE[:-6] + settings(),
    "fields": b"PRI * HTTP/2.0\r\nHost: location\r\n\r\nSM\r\n\r\n",
    "another version": b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
    "another target": b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", PREFACES)
def test_another_preface(scene: Scene, port: int, name: str) -> None:
    """It ends the connection, with GOAWAY or as HTTP/1.1; what stands behind is never a request."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(PREFACES[name] + settings() + get(1) + http1_get("/smuggled"))
        said = b""
        while piece := connection.recv(65536):
            said += piece
    assert b" 200 " not in said
    assert not scene[1].requests


def test_a_preface_and_no_settings(port: int) -> None:
    """Not for ever."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        peer = Peer(connection, silent=True)
        peer.send(PREFACE)
        peer.end(10)


def test_a_preface_that_breaks_off(scene: Scene, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(PREFACE[:10])
        while connection.recv(65536):
            pass
    assert not scene[1].requests


def test_http1_beside_it(scene: Scene, port: int) -> None:
    """One port, told by the preface; both at the same time."""
    with connected(port) as peer, http1(port) as client:
        for number in (3, 5):
            peer.send(get(number))
            assert peer.over(number).status == 200
            assert client.ask(http1_get(f"/{number}")).status in (200, 502)  # the origin here speaks HTTP/2 only


def test_an_upgrade_to_h2c_is_served_as_it_is(scene: Scene, port: int) -> None:
    """RFC 9113 section 3.1: HTTP/1.1's way to HTTP/2 is no more."""
    with http1(port) as client:
        lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        response = client.ask(http1_get("/", *lines))
    assert response.status != 101


def test_a_faults_goaway_says_what_was_worked_on(port: int) -> None:
    """RFC 9113 section 6.8: a client may repeat only what is above."""
    with connected(port) as peer:
        peer.send(get(3, "/held"), get(5, "/held"), data(0, b"x"))
        assert peer.end() == Code.PROTOCOL_ERROR
        assert peer.goaways[-1][0] == 5


def test_a_client_that_closes_its_side(port: int) -> None:
    """It may read what it asked for before it closed its side; in no case is it left waiting."""
    with connected(port) as peer:
        peer.send(get(3))
        peer.socket.shutdown(socket.SHUT_WR)
        peer.end()
        assert peer.stream(3).status in (0, 200)


def test_no_stream_window_is_needed_to_begin(port: int) -> None:
    with connected(port, {Setting.INITIAL_WINDOW_SIZE: 0}, MAX_WINDOW, first=False) as peer:
        peer.send(headers(1, SIZE_0 + head("/"), end=True))
        assert peer.headed(1).status == 200
