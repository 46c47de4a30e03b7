"""RFC 9113 section 5.2 and 6.9: never beyond a window, whoever set it; a stalled stream stalls nobody else.

`Peer` fails a test at once when more comes than its windows allow: these tests say what must come all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.support.http2 import (
    DEFAULT_WINDOW,
    MAX_WINDOW,
    Code,
    Kind,
    Setting,
    answer,
    block,
    data,
    get,
    head,
    headers,
    post,
    reset,
)
from tests.support.http2_peer import WIDE, Peer, Stream
from tests.support.http2_wire import Wire

MiB = 1 << 20


@dataclass
class Transfer:
    """A body on its way through the proxy: who sends it, who reads it, and the stream's number at each."""

    sender: Peer
    reader: Peer
    at_sender: int
    at_reader: int

    @property
    def got(self) -> Stream:
        return self.reader.stream(self.at_reader)

    def send(self, body: bytes, *, end: bool = False) -> None:
        self.sender.send_body(self.at_sender, body, end=end)

    def check_got(self, size: int) -> None:
        """So much arrives, and no more: whatever was on its way is there once both sides have answered a ping."""
        self.reader.until(lambda: len(self.got.body) >= size, f"{size} bytes")
        self.sender.sync()
        self.reader.sync()
        assert len(self.got.body) == size


Begin = Callable[[Wire, Mapping[int, int], int], Transfer]


def download(wire: Wire, announced: Mapping[int, int], window: int) -> Transfer:
    client = wire.client(announced, window)
    upstream, stream = wire.opened(client, get(1))
    upstream.send(headers(stream.number, answer()))
    client.headed(1)
    return Transfer(upstream, client, stream.number, 1)


def upload(wire: Wire, announced: Mapping[int, int], window: int) -> Transfer:
    client = wire.client()
    upstream, stream = wire.opened(client, post(1), announced=announced, window=window)
    upstream.sync()  # it has acknowledged our settings
    return Transfer(client, upstream, 1, stream.number)


both_ways = pytest.mark.parametrize("begin", [download, upload])


@both_ways
@pytest.mark.parametrize("size", [0, 1, 10, 20_000])
def test_a_streams_window(wire: Wire, begin: Begin, size: int) -> None:
    transfer = begin(wire, {Setting.INITIAL_WINDOW_SIZE: size}, MAX_WINDOW)
    transfer.send(bytes(30_000), end=True)
    transfer.check_got(size)
    for more in (1, 30, 1000):
        transfer.reader.allow(transfer.at_reader, more)
        transfer.check_got(size := size + more)
    transfer.reader.allow(transfer.at_reader, 30_000)
    assert len(transfer.reader.over(transfer.at_reader).body) == 30_000


@both_ways
def test_the_connections_window(wire: Wire, begin: Begin) -> None:
    transfer = begin(wire, WIDE, DEFAULT_WINDOW)
    transfer.send(bytes(100_000), end=True)
    transfer.check_got(DEFAULT_WINDOW)
    transfer.reader.allow(0, 1)
    transfer.check_got(DEFAULT_WINDOW + 1)
    transfer.reader.allow(0, 100_000)
    assert len(transfer.reader.over(transfer.at_reader).body) == 100_000


@both_ways
def test_a_window_that_settings_change(wire: Wire, begin: Begin) -> None:
    """RFC 9113 section 6.9.2: up at once; down below what was sent, so that it is negative for a while."""
    transfer = begin(wire, {Setting.INITIAL_WINDOW_SIZE: 10}, MAX_WINDOW)
    transfer.send(bytes(1000))
    transfer.check_got(10)
    transfer.reader.announce({Setting.INITIAL_WINDOW_SIZE: 25})
    transfer.check_got(25)
    transfer.reader.announce({Setting.INITIAL_WINDOW_SIZE: 5})  # 20 below 0
    transfer.check_got(25)
    transfer.reader.allow(transfer.at_reader, 20)  # 0
    transfer.check_got(25)
    transfer.reader.allow(transfer.at_reader, 1)
    transfer.check_got(26)
    transfer.reader.announce({Setting.INITIAL_WINDOW_SIZE: 0})
    transfer.reader.announce({Setting.INITIAL_WINDOW_SIZE: 6})
    transfer.check_got(27)


@both_ways
def test_an_end_needs_no_window(wire: Wire, begin: Begin) -> None:
    transfer = begin(wire, {Setting.INITIAL_WINDOW_SIZE: 0}, MAX_WINDOW)
    transfer.sender.send(data(transfer.at_sender, b"", end=True))
    assert transfer.reader.over(transfer.at_reader).body == b""


@both_ways
def test_trailers_wait_for_the_body(wire: Wire, begin: Begin) -> None:
    transfer = begin(wire, {Setting.INITIAL_WINDOW_SIZE: 4}, MAX_WINDOW)
    transfer.send(b"12345")
    transfer.sender.send(headers(transfer.at_sender, block(("x-trailer", "1")), end=True))
    transfer.check_got(4)
    assert not transfer.got.trailers
    transfer.reader.allow(transfer.at_reader, 1)
    assert transfer.reader.over(transfer.at_reader).trailers == [(b"x-trailer", b"1")]
    assert transfer.got.body == b"12345"


@both_ways
def test_frames_are_as_short_as_the_reader_wants(wire: Wire, begin: Begin) -> None:
    """`Peer` looks at every frame's size. We may send longer ones only to whom announced them."""
    transfer = begin(wire, WIDE, MAX_WINDOW)
    transfer.send(bytes(200_000), end=True)
    assert len(transfer.reader.over(transfer.at_reader).body) == 200_000
    assert max(len(each.payload) for each in transfer.reader.frames if each.kind == Kind.DATA) <= 16384


@both_ways
def test_a_stalled_stream_stops_its_sender_only(wire: Wire, begin: Begin) -> None:
    """What its sender may send is used up, and not given back until it is read; others on both connections go on."""
    stalled = begin(wire, {Setting.INITIAL_WINDOW_SIZE: 0}, MAX_WINDOW)
    sender, reader = stalled.sender, stalled.reader
    sender.sync()
    held = fill(stalled)
    client, upstream = (reader, sender) if begin is download else (sender, reader)
    for number in (3, 5):
        client.send(post(number, "/other"))
        other = upstream.next_stream()
        upstream.send(headers(other.number, answer()))
        client.headed(number)
        at_sender, at_reader = (other.number, number) if begin is download else (number, other.number)
        reader.allow(at_reader, 2 * MiB)
        sender.send_body(at_sender, bytes(2 * MiB))
        assert len(reader.over(at_reader).body) == 2 * MiB
    assert stalled.got.body == b""
    assert sender.stream(stalled.at_sender).credit <= 0
    reader.allow(stalled.at_reader, held + MiB)
    stalled.check_got(held)
    stalled.send(bytes(MiB), end=True)
    assert len(reader.over(stalled.at_reader).body) == held + MiB


def fill(transfer: Transfer) -> int:
    """Sends as much as the windows allow, again and again, until no more is given back. Bounded, or it never ends."""
    sender, stream = transfer.sender, transfer.sender.stream(transfer.at_sender)
    held = 0
    while room := min(stream.credit, sender.credit):
        sender.send_body(transfer.at_sender, bytes(room), end=False)
        held += room
        assert held <= 4 * MiB, "a stalled stream is read on and on"
        sender.sync()
    return held


@both_ways
def test_many_stalled_streams_stop_nobody_else(wire: Wire, begin: Begin) -> None:
    first = begin(wire, {Setting.INITIAL_WINDOW_SIZE: 0}, MAX_WINDOW)
    sender, reader = first.sender, first.reader
    client, upstream = (reader, sender) if begin is download else (sender, reader)
    transfers = [first]
    for number in range(3, 19, 2):
        client.send(post(number))
        other = upstream.next_stream()
        upstream.send(headers(other.number, answer()))
        client.headed(number)
        numbers = (other.number, number) if begin is download else (number, other.number)
        transfers.append(Transfer(sender, reader, *numbers))
    held = [fill(each) for each in transfers[:-1]]
    last = transfers[-1]
    reader.allow(last.at_reader, MiB)
    last.send(bytes(MiB), end=True)
    assert len(reader.over(last.at_reader).body) == MiB
    for each, size in zip(transfers, held, strict=False):
        reader.allow(each.at_reader, size + 1)
        each.send(b"x", end=True)
        assert len(reader.over(each.at_reader).body) == size + 1


@both_ways
def test_padding_is_given_back(wire: Wire, begin: Begin) -> None:
    """RFC 9113 section 6.9.1: it counts. As nobody else will see it, its room must come back by itself."""
    transfer = begin(wire, WIDE, MAX_WINDOW)
    sender = transfer.sender
    sender.sync()
    stream, start = sender.stream(transfer.at_sender), sender.credit
    for _ in range(2 * (start + MiB) // 256):
        sender.until(lambda: min(stream.credit, sender.credit) >= 257, "room")
        stream.credit -= 257
        sender.credit -= 257
        sender.send(data(transfer.at_sender, b"x", pad=255))
    transfer.send(b"", end=True)
    sender.send(data(transfer.at_sender, end=True))
    assert set(transfer.reader.over(transfer.at_reader, 20).body) == set(b"x")


def test_what_comes_for_a_lost_stream_is_given_back(wire: Wire) -> None:
    """RFC 9113 section 6.9: DATA that nobody wants any more counts for the connection, or it would run dry."""
    client = wire.client()
    client.sync()
    lost = headers(1, head("/", ("X-BAD", "1")))
    for number in range(3, 3 + 2 * (client.credit // 16384 + 100), 2):
        client.until(lambda: client.credit >= 16384, "room")
        client.credit -= 16384
        client.send(lost.replace(b"\0\0\0\1", number.to_bytes(4, "big"), 1), data(number, bytes(16384)))
    client.until(lambda: client.credit >= 16384, "room")
    assert not client.goaways


def test_what_comes_for_a_cancelled_stream_is_given_back(wire: Wire) -> None:
    """The same towards upstreams, whose answers cross the reset."""
    client = wire.client()
    upstream, stream = wire.opened(client, get(1, "/kept"))
    upstream.sync()
    start = upstream.credit
    for number in range(3, 3 + 2 * (start // 60000 + 20), 2):
        client.send(get(number))
        stream = upstream.next_stream()
        upstream.send(headers(stream.number, answer()))
        client.headed(number)
        client.send(reset(number))
        client.sync()  # the proxy knows; the upstream does not look yet
        upstream.until(lambda: upstream.credit >= 60000, "room")
        stream.reset = None
        upstream.credit -= 60000
        upstream.send(*(data(stream.number, bytes(15000)) for _ in range(4)))
        upstream.until(lambda stream=stream: stream.reset is not None, "the reset")
    upstream.until(lambda: upstream.credit >= 60000, "room")
    assert not upstream.goaways


def test_a_client_that_exceeds_a_streams_window(wire: Wire) -> None:
    client = wire.client()
    upstream, stream = wire.opened(client, post(1), announced={Setting.INITIAL_WINDOW_SIZE: 0})
    held = fill(Transfer(client, upstream, 1, stream.number))
    assert held
    client.send(data(1, b"x"))
    client.until(lambda: client.stream(1).reset is not None or client.goaways, "a refusal")
    assert Code.FLOW_CONTROL_ERROR in (client.stream(1).reset, *(code for _, code in client.goaways))
    upstream.until(lambda: stream.reset is not None, "the reset upstream")


def test_what_many_stalled_streams_hold_is_bounded(wire: Wire) -> None:
    """By the windows that were announced, however long their bodies would be."""
    client = wire.client()
    wire.opened(client, post(1), announced={Setting.INITIAL_WINDOW_SIZE: 0})
    before = wire.proxy.rss_bytes()
    count = min(300, client.settings[Setting.MAX_CONCURRENT_STREAMS])
    for number in range(3, 2 * count, 2):
        client.send(post(number))
        stream = client.stream(number)
        while room := min(stream.credit, client.credit, 16384):
            client.send_body(number, bytes(room), end=False)
            client.sync()
    window = client.settings[Setting.INITIAL_WINDOW_SIZE]
    assert wire.proxy.rss_bytes() - before < 2 * count * window + 16 * MiB


def test_an_upstream_that_exceeds_a_streams_window(wire: Wire) -> None:
    """It is the upstream's fault, and its other streams go on."""
    client = wire.client({Setting.INITIAL_WINDOW_SIZE: 0})
    upstream, stream = wire.opened(client, get(1))
    upstream.send(headers(stream.number, answer()))
    client.headed(1)
    fill(Transfer(upstream, client, stream.number, 1))
    upstream.send(data(stream.number, b"x"))
    assert client.over(1).reset not in (None, Code.NO_ERROR)
    upstream.until(lambda: stream.reset is not None or upstream.goaways, "a refusal")
    assert Code.FLOW_CONTROL_ERROR in (stream.reset, *(code for _, code in upstream.goaways))
