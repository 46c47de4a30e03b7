"""A stream of requests, as it comes from a downstream: bodies, trailers, an upgrade and the tunnel behind it."""

from __future__ import annotations

from collections.abc import Iterable

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.errors import ProtocolError
from tests.corpus.http1 import REQUESTS, Sample
from tests.fuzz.streams import Stream
from tests.support import codec
from tests.support.codec import by_bytes
from tests.support.h11_peer import Message, check_spoiled, h11_request, our_request

_KINDS = request_kinds(errors.BAD_REQUEST, (b"x-key",))
_MESSAGES_AT_MOST = 3
SCRAPS = [*codec.SCRAPS, b"0\r\nContent-Type: a\r\n\r\n", b"0\r\nconnection: b\r\n\r\n", b"0\r\nx-key: c\r\n\r\n"]
SCRAPS += [b"x-key: a\r\n", b"Connection: upgrade\r\nUpgrade: a, b/1\r\n", b"Upgrade: h2c\r\n"]


def new_reader(limits: HeadLimits) -> RequestReader:
    return RequestReader(_KINDS, limits)


STREAM = Stream(new_reader, _KINDS)


def seeds() -> Iterable[bytes]:
    yield from (sample.data for sample in REQUESTS.values() if len(sample.data) < 2000)
    upgrade = b"/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\nUpgrade: websocket, h2c\r\nX: 1\r\n"
    yield b"GET " + upgrade + b"\r\nearly bytes\x00\r\n\r\n"
    yield b"POST " + upgrade + b"Content-Length: 2\r\n\r\nok\r\nGET / HTTP/1.1\r\n\r\n"


def check(data: bytes) -> None:
    STREAM.check(data)
    check_tunnel(data)
    check_h11(data)


def check_h11(data: bytes) -> None:
    """What we accept, h11 accepts and reads alike, to where each message ends."""
    for _ in range(_MESSAGES_AT_MOST):
        sample = Sample(data, "")
        ours = our_request(sample)
        check_spoiled(sample, ours, h11_request(sample))
        if not isinstance(ours, Message) or ours.end is None:
            return
        data = data[ours.end :]


def check_tunnel(data: bytes) -> None:
    """Behind a request that turns to another protocol every byte goes on as it came."""
    for pieces in ([data], by_bytes(data)):
        STREAM.forget()
        reader = new_reader(HeadLimits())
        is_tunnel, through, taken = False, b"", 0
        try:
            for piece in pieces:
                reader.receive(piece)
                taken += 0 if is_tunnel else len(piece)
                while (event := reader.next_event()) is not None or reader.is_done:
                    if isinstance(event, RequestHead):
                        if not event.upgrade:
                            return  # also what most inputs cost here: their first head
                        assert all(name == name.lower() for name in event.upgrade)
                        assert event.lines[-2] == b"Connection: Upgrade"
                    elif is_tunnel:
                        assert isinstance(event, bytes)
                        through += event
                    if reader.is_done:
                        is_tunnel = True
                        taken -= reader.buffered
                        reader.start_tunnel()
        except ProtocolError:
            assert not is_tunnel
        if is_tunnel:
            assert through == data[taken:]
