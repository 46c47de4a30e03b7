"""A caller and a server, both played by hypothesis, with a real connection of ours to each and real exchanges between.

Whatever they do in whatever order, every byte arrives in order or its stream is reset, and nothing stays behind.

Both peers keep their own account of all windows (`tests.support.h2script.Peer`), send only what they may, and fail what
they did not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.exchange import Exchange
from proxy.net.h2_upstream import H2UpstreamStream
from proxy.routing.names import Endpoint
from tests.support.h2script import (
    H2DownstreamScript,
    H2UpstreamScript,
    Peer,
    data,
    headers,
    request,
    response,
    rst,
    window,
)
from tests.support.h2script import settings as settings_frame
from tests.support.loop import running_loop

CANCEL, NO_ERROR = 8, 0
STREAMS_AT_MOST = 2


class Side:
    """What one peer has said, and may still say."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.used = 0

    def is_open(self, stream: int) -> bool:
        return stream in self.sent and stream not in self.ended | self.reset and stream not in self.peer.resets

    def room(self, stream: int) -> int:
        """By what we gave it."""
        given = self.peer.given
        own = self.peer.their_initial + given.get(stream, 0) - len(self.sent[stream])
        return min(own, 65535 + given.get(0, 0) - self.used)

    def say(self, stream: int, size: int) -> None:
        while size and self.is_open(stream) and (room := min(size, 16384, self.room(stream))):
            self.peer.send(data(stream, self._piece(stream, room)))
            size -= room

    def _piece(self, stream: int, size: int) -> bytes:
        start = len(self.sent[stream])
        piece = bytes((stream + place) * 31 % 251 for place in range(start, start + size))
        self.sent[stream] += piece
        self.used += size
        return piece

    def end(self, stream: int, size: int) -> None:
        """By trailers, or with the last bytes."""
        if self.is_open(stream):
            self.ended.add(stream)
            if size % 2:
                self.peer.send(headers(stream, ("x-sum", str(stream)), end=True))
            else:
                self.peer.send(data(stream, self._piece(stream, min(size, 16384, self.room(stream))), end=True))

    def give_up(self, stream: int) -> None:
        if stream in self.sent and stream not in self.reset | set(self.peer.resets):
            if stream in self.ended and stream in self.peer.ends:
                return  # it is over
            self.reset.add(stream)
            self.peer.send(rst(stream, CANCEL))


class OnePool:
    """`exchange.UpstreamPool`: one connection, with room."""

    def __init__(self, up: H2UpstreamScript) -> None:
        self._up = up
        self.lost: list[Exchange] = []

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> H2UpstreamStream:
        return self._up.upstream.open()

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        raise AssertionError("there is always one")


class World:
    def __init__(self, client_window: int, server_window: int) -> None:
        self.up = H2UpstreamScript(hello=settings_frame((4, server_window)))
        self.down = H2DownstreamScript()
        self.down.h2._port = replace(self.down.port, pool=OnePool(self.up))
        self.client, self.server = Side(self.down.peer), Side(self.up.peer)
        self.client.peer.send(settings_frame((4, client_window)))
        self.streams: dict[int, int] = {}  # of the client, to the server's number
        self.opened: list[int] = []

    def settle(self) -> None:
        """What came on one side was written to the other one."""
        for side in (self.client, self.server, self.client):
            side.peer.take()
        for stream in self.server.peer.heads:
            if stream not in self.streams.values():
                self.streams[self.opened[len(self.streams)]] = stream

    def act(self, action: tuple[str, int, int]) -> None:
        name, which, size = action
        if name == "open":
            if len(self.opened) < STREAMS_AT_MOST:
                stream = 1 + 2 * len(self.opened)
                self.opened.append(stream)
                self.client.sent[stream] = b""
                end = size % 3 == 0
                if end:
                    self.client.ended.add(stream)
                self.client.peer.send(request(stream, method="POST", end=end))
            self.settle()
            return
        if not self.opened:
            return
        stream = self.opened[which % len(self.opened)]
        theirs = self.streams.get(stream, 0)
        match name:
            case "client says":
                self.client.say(stream, size)
            case "client ends":
                self.client.end(stream, size)
            case "client gives up":
                self.client.give_up(stream)
            case "client reads":
                self.client.peer.send(window(stream, size + 1), window(0, size + 1))
            case "client resizes":
                self.client.peer.send(settings_frame((4, size)))
            case "client stalls":
                self.down.transport.fill()
            case "client goes on":
                self.down.transport.read_all()
            case "server stalls":
                self.up.transport.fill()
            case "server goes on":
                self.up.transport.read_all()
            case "server resizes":
                self.server.peer.send(settings_frame((4, size)))
            case _ if theirs:
                self._serve(name, theirs, size)
        self.settle()

    def _serve(self, name: str, stream: int, size: int) -> None:
        server = self.server
        match name:
            case "server answers":
                if stream not in server.sent and stream not in server.peer.resets:
                    server.sent[stream] = b""
                    server.peer.send(response(stream, status=103), response(stream))
            case "server says" if stream in server.sent:
                server.say(stream, size)
            case "server ends" if stream in server.sent:
                server.end(stream, size)
            case "server gives up" if stream in server.sent:
                server.give_up(stream)
            case "server reads":
                server.peer.send(window(stream, size + 1), window(0, size + 1))

    def finish(self) -> None:
        """Everybody reads all, and says the rest."""
        self.down.transport.read_all()
        self.up.transport.read_all()
        for _ in range(4):
            for side in (self.client, self.server):
                side.peer.send(settings_frame((4, 2**29)), window(0, 2**20))
            self.settle()
            for stream in self.opened:
                self.client.end(stream, 10)
                self.settle()
                if theirs := self.streams.get(stream, 0):
                    self._serve("server answers", theirs, 0)
                    self._serve("server ends", theirs, 10)
                self.settle()

    def check(self) -> None:
        client, server = self.client, self.server
        for stream in self.opened:
            theirs = self.streams.get(stream, 0)
            asked, answered = client.sent[stream], server.sent.get(theirs, b"")
            assert asked.startswith(server.peer.bodies.get(theirs, b"")), "in order, nothing but that"
            if theirs in server.sent:
                assert answered.startswith(client.peer.bodies.get(stream, b""))
            is_whole = stream in client.peer.ends
            assert is_whole or stream in client.peer.resets or stream in client.reset, "neither end nor reset"
            if is_whole and theirs in server.ended:
                assert client.peer.bodies.get(stream, b"") == answered, "an end that looks clean"
                assert len(client.peer.heads[stream]) in (2, 3)
            if theirs in server.peer.ends:
                assert stream in client.ended
                assert server.peer.bodies.get(theirs, b"") == asked, "an end that looks clean"
            if not (stream in client.reset or theirs in server.reset):
                assert theirs in server.ended, "who was not reset was served"
                assert is_whole
        self.down.assert_nothing_is_left()
        self.up.assert_nothing_is_left()
        assert not client.peer.is_gone
        assert not server.peer.is_gone


OFTEN = ("open", "client says", "client ends", "server answers", "server says", "server ends")
ONCE = tuple(
    f"{side} {act}" for side in ("client", "server") for act in ("gives up", "reads", "resizes", "stalls", "goes on")
)
NAMES = (*OFTEN, *OFTEN, *ONCE)
SIZES = st.sampled_from([0, 1, 2, 3, 10, 100, 1000, 16384, 16385, 40000, 70000, 300000])
ACTIONS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, STREAMS_AT_MOST - 1), SIZES), min_size=15, max_size=60
)
WINDOWS = st.sampled_from([0, 1, 10, 1000, 65535, 2**20])


@settings(deadline=None, max_examples=1500, derandomize=True)
@given(ACTIONS, WINDOWS, WINDOWS)
def test_every_byte_arrives_in_order_or_its_stream_is_reset(
    actions: list[tuple[str, int, int]], client_window: int, server_window: int
) -> None:
    with running_loop():
        world = World(client_window, server_window)
        for action in [("open", 0, 1), *actions]:
            world.act(action)
        world.finish()
        world.check()
