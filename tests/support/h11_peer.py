"""One message as we read it and as h11 does, in one form that can be compared; what both make of it must be the same.

The lists of samples that one of us refuses, and why, stand in `tests/differential/test_h11.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import h11

from proxy import errors
from proxy.codec.events import End, RequestHead, ResponseHead
from proxy.codec.fields import request_kinds, response_kinds
from proxy.codec.h1.reader import HeadLimits, MessageReader
from proxy.codec.h1.request import RequestReader
from proxy.codec.h1.response import ResponseReader
from proxy.errors import ProtocolError
from tests.corpus.http1 import Sample

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """One message as a reader saw it. `end`: how many bytes it took; None while it is not complete."""

    start: tuple[bytes, ...] = ()
    fields: Fields = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    end: int | None = None


# What a reader made of some bytes: a message, complete or not, or its refusal.
Reading = Message | str


def verdict(reading: Reading) -> str:
    """`accepted`, `unfinished` or `refused`."""
    if isinstance(reading, str):
        return "refused"
    return "unfinished" if reading.end is None else "accepted"


# --- ours ---


def parted(lines: Iterable[bytes]) -> Fields:
    """Field lines as pairs."""
    pairs = []
    for line in lines:
        name, _, value = line.partition(b":")
        pairs.append((name, value.strip(b" \t")))
    return pairs


def drained(reader: MessageReader, sample: Sample) -> Reading:
    message = Message()
    reader.receive(sample.data)
    reader.eof = sample.eof
    try:
        while not reader.is_done and (event := reader.next_event()) is not None:
            if isinstance(event, RequestHead):
                message.start = (event.method, event.target)
                # The two last lines of an offer to upgrade are our own hop's, in place of those taken out.
                message.fields = parted(event.lines[1:-2] if event.upgrade else event.lines[1:])
            elif isinstance(event, ResponseHead):
                if event.status < 200:
                    message.interim.append(event.status)
                    continue
                message.start = (b"%d" % event.status,)
                message.fields = parted(event.lines[1:])
            elif isinstance(event, bytes):
                message.body += event
            else:
                assert isinstance(event, End)
                message.trailers = parted(event.trailers)
    except ProtocolError as fault:
        return fault.reason.name
    if reader.is_done:
        message.end = len(sample.data) - len(reader.take_rest())
    return message


# One of each for all messages, as in a process: what is remembered of earlier lines must not change a later reading.
REQUEST_KINDS = request_kinds(errors.BAD_REQUEST)
RESPONSE_KINDS = response_kinds(errors.UPSTREAM_INVALID)


def our_request(sample: Sample) -> Reading:
    return drained(RequestReader(REQUEST_KINDS, HeadLimits()), sample)


def our_response(sample: Sample) -> Reading:
    reader = ResponseReader(RESPONSE_KINDS, HeadLimits())
    reader.expect(sample.method)
    return drained(reader, sample)


# --- h11's, without what we take out on purpose (SPEC 4) ---

_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"}
_KEPT = {b"host", b"content-length", b"transfer-encoding", b"baggage", b"tracestate", b"pointsman-hop"}
NO_TRAILERS = _HOP_BY_HOP | _KEPT | {b"trailer", b"content-encoding", b"content-type", b"content-range"}


def forwarded(pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
    """h11's fields without the hop-by-hop ones."""
    pairs = list(pairs)
    named = {
        option.strip(b" \t").lower()
        for name, value in pairs
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    gone = _HOP_BY_HOP | (named - _KEPT)
    return [(name, value) for name, value in pairs if name.lower() not in gone]


def h11_reading(connection: h11.Connection, sample: Sample) -> Reading:
    message = Message()
    connection.receive_data(sample.data)
    if sample.eof:
        connection.receive_data(b"")
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                message.start = (event.method, event.target)
                message.fields = forwarded(event.headers.raw_items())
            elif isinstance(event, h11.InformationalResponse):
                message.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                message.start = (b"%d" % event.status_code,)
                message.fields = forwarded(event.headers.raw_items())
                if event.status_code == 204:  # RFC 9110 section 8.6: we take out what does not belong there
                    message.fields = [f for f in message.fields if f[0].lower() not in _KEPT]
            elif isinstance(event, h11.Data):
                message.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                message.trailers = [f for f in event.headers.raw_items() if f[0].lower() not in NO_TRAILERS]
                message.end = len(sample.data) - len(connection.trailing_data[0])
                break
            else:
                return "closed"
    except h11.RemoteProtocolError as fault:
        return str(fault)
    return message


def h11_request(sample: Sample) -> Reading:
    return h11_reading(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), sample)


def h11_response(sample: Sample) -> Reading:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=sample.method, target="/", headers=[("Host", "location")]))
    connection.send(h11.EndOfMessage())
    return h11_reading(connection, sample)


def comparable(message: Message) -> Message:
    """h11 writes a coding in lower case."""
    fields = [(n, v.lower() if n.lower() == b"transfer-encoding" else v) for n, v in message.fields]
    return Message(message.start, fields, message.interim, message.body, message.trailers, message.end)


def check_same(ours: Reading, theirs: Reading) -> None:
    """Where both accept, they agree on everything."""
    if isinstance(ours, Message) and isinstance(theirs, Message):
        assert comparable(ours) == comparable(theirs)


def check_spoiled(sample: Sample, ours: Reading, theirs: Reading) -> None:
    check_same(ours, theirs)
    if verdict(ours) == "accepted":
        # What we take and h11 does not: an empty line first, and trailers that frame: dropped unread (CHECKLIST 7).
        is_known = (
            sample.data.startswith(b"\r\n") or "Content-Length" in str(theirs) or "Transfer-Encoding" in str(theirs)
        )
        assert verdict(theirs) == "accepted" or is_known, theirs
