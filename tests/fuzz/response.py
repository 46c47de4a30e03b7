"""A stream of responses, as it comes from an upstream.

The first line is not theirs. Words in it say what they answer: the requests' methods in order, `websocket` if that
was offered. The rest of the input is the stream.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy import errors
from proxy.codec.fields import response_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.response import ResponseReader
from tests.corpus.http1 import RESPONSES, Sample
from tests.fuzz.streams import Stream
from tests.support import codec
from tests.support.codec import reading
from tests.support.h11_peer import check_spoiled, h11_response, our_response

SCRAPS = [*codec.SCRAPS, b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"GET ", b"HEAD "]
_KINDS = response_kinds(errors.UPSTREAM_INVALID, replace_decision=True)


def new_reader(limits: HeadLimits) -> ResponseReader:
    return ResponseReader(_KINDS, limits)


STREAM = Stream(new_reader, _KINDS)


def seeds() -> Iterable[bytes]:
    for sample in RESPONSES.values():
        if len(sample.data) < 2000:
            yield sample.method + b"\n" + sample.data
    yield b"GET websocket\nHTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbytes\x00\r\n\r\n"
    yield b"GET HEAD POST\nHTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n"


def check_tunnel(stream: bytes, methods: list[bytes], upgrade: list[bytes]) -> None:
    """What was offered, and agreed to with a `Connection`, is a tunnel; every byte behind it goes through."""
    messages = reading(new_reader(HeadLimits()), [stream], methods=methods, upgrade=upgrade).messages
    for message in messages:
        if message.head["status"] == 101:
            assert upgrade
            assert b"\nconnection:" in stream.lower()
            assert stream.endswith(b"\r\n\r\n" + message.body)
            assert message is messages[-1], "what follows is no HTTP"


def check(data: bytes) -> None:
    first, _, stream = data.partition(b"\n")
    words = first.split()
    methods = [word for word in words if word in (b"GET", b"HEAD", b"POST")][:8] or [b"GET"]
    upgrade = [b"websocket"] if b"websocket" in words else []
    STREAM.check(stream, methods, upgrade)
    check_tunnel(stream, methods, upgrade)
    if not upgrade:  # of h11, an upgrade is its user's matter
        for eof in (False, True):
            sample = Sample(stream, "", methods[0], eof)
            check_spoiled(sample, our_response(sample), h11_response(sample))
