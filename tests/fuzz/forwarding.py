"""Requests through the exchange: what goes upstream must be what came, to whoever reads it there.

Each accepted request is decided and forwarded, its lines and body are written as `net` writes them, with another
request behind. Both we and h11 must find the same request there, and the other one behind it: nothing is smuggled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from proxy.codec.events import CHUNKED, NO_BODY, End, RequestHead
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.writer import chunk, head_bytes, last_chunk
from proxy.errors import ProtocolError
from proxy.routing.baggage import MAX_BYTES
from proxy.routing.key import KeyReader, KeySettings
from tests.corpus.http1 import REQUESTS, Sample
from tests.fuzz.cost import cpu_limit
from tests.fuzz.key import members
from tests.fuzz.request import STREAM, new_reader
from tests.support import codec
from tests.support.codec import framing_lines, reading
from tests.support.exchange import BASELINE, HOP, SANDBOX, Script, route_table
from tests.support.h11_peer import Message, h11_request
from tests.support.keys import PIECES

SCRAPS = [*codec.SCRAPS, *PIECES, b"baggage: sd-routing-key=key\r\n", b"Upgrade: a, b\r\n", b"TE: trailers\r\n"]
_BEHIND = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"
_MESSAGES_AT_MOST = 3
_READER = KeyReader(KeySettings())
_TABLES = [route_table(SANDBOX), route_table(SANDBOX, authority="destination")]
_CHANGED = (b"host", b"baggage", b"tracestate")


@dataclass
class Request:
    """One request as it was read."""

    head: RequestHead
    pieces: list[bytes] = field(default_factory=list)
    trailers: list[bytes] = field(default_factory=list)
    is_complete: bool = False


def seeds() -> Iterable[bytes]:
    for sample in REQUESTS.values():
        if len(sample.data) < 2000:
            yield sample.data
    tagged = b"POST /a?b HTTP/1.1\r\nX: 1\r\nhost: location\r\nBaggage: a=b, ,\r\nbaggage: sd-routing-key=key\r\n"
    tagged += b"tracestate: a=b\r\nTraceState: ,c=d\r\n"
    yield tagged + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"
    yield (
        tagged.replace(b"host", b"HOST")
        + b"Connection: upgrade, x, baggage, close\r\nUpgrade: WebSocket, h2c\r\nPointsman-Hop: a/b/c\r\n\r\n"
    )


def check(data: bytes) -> None:
    for number in range(len(_TABLES)):
        STREAM.forget()
        with cpu_limit():
            requests = list(received(data))
        for request in requests:
            check_request(request, number)


def received(data: bytes) -> Iterator[Request]:
    """The first requests of a stream, the last one maybe cut."""
    reader = new_reader(HeadLimits())
    reader.receive(data)
    request: Request | None = None
    try:
        for _ in range(_MESSAGES_AT_MOST):
            request = None
            while (event := reader.next_event()) is not None:
                if isinstance(event, RequestHead):
                    request = Request(event)
                else:
                    assert request is not None
                    if isinstance(event, End):
                        request.trailers = event.trailers
                    else:
                        assert isinstance(event, bytes)
                        request.pieces.append(event)
            if request is None or not reader.is_done:
                break
            request.is_complete = True
            yield request
            request = None
            reader.start_next()
    except ProtocolError:
        pass
    if request is not None:
        yield request


def check_request(request: Request, number: int) -> None:
    head = request.head
    before = list(head.lines)
    key = _READER.read(head.baggage, head.tracestate)
    script = Script(table=_TABLES[number], idle=[BASELINE, SANDBOX])
    script.start(head)
    if not script.used:
        assert script.down.head is not None, "answered or forwarded"
        return
    lines, endpoint = script.up.lines, script.up.endpoint
    is_sandbox = endpoint == SANDBOX
    assert is_sandbox == (key.key == b"key")
    host = head.host if head.host and not (is_sandbox and number) else str(endpoint).encode()

    # the head by itself
    assert all(line == line.translate(None, b"\r\n\0") for line in lines)
    assert framing_lines(lines) == framing_lines(before) <= 1
    assert framing_lines(lines) == 1 or head.body == NO_BODY
    assert named(lines, b"host") == [host]
    assert kept(lines, is_sandbox) == kept(before, False), "in order, in their case, with duplicates"
    assert named(lines, b"connection") == ([b"Upgrade"] if head.upgrade else [])
    for name in (b"baggage", b"tracestate"):
        check_list(name, before, lines)
    if is_sandbox:
        assert lines[-1] == HOP

    # the head and what follows it, read by the next
    body = b"".join(request.pieces)
    data = head_bytes(lines)
    if request.is_complete:
        if head.body == CHUNKED:
            data += b"".join(map(chunk, request.pieces)) + last_chunk(request.trailers)
        else:
            data += body
        data += _BEHIND
    again = reading(new_reader(HeadLimits(max_bytes=1 << 20, max_fields=1000)), [data])
    assert not again.fault
    assert len(again.messages) == 1 + request.is_complete
    second = again.messages[0]
    for name in ("method", "target", "body", "upgrade"):
        assert second.head[name] == getattr(head, name)
    assert second.head["host"] == host
    baggage, tracestate, hops = (second.head[name] for name in ("baggage", "tracestate", "hops"))
    assert isinstance(baggage, list | tuple)
    assert isinstance(tracestate, list | tuple)
    assert isinstance(hops, list | tuple)
    assert [*hops] == [*head.hops, *[HOP.partition(b": ")[2]] * is_sandbox]
    read_again = _READER.read(baggage, tracestate)
    assert (read_again.key, read_again.invalid, read_again.strict) == (key.key, key.invalid, key.strict)
    if request.is_complete:
        assert (second.body, second.trailers, again.messages[1].head["target"]) == (body, request.trailers, b"/behind")
        theirs = h11_request(Sample(data, ""))
        assert isinstance(theirs, Message), theirs
        assert (theirs.start, theirs.body, theirs.end) == ((head.method, head.target), body, len(data) - len(_BEHIND))


def check_list(name: bytes, before: list[bytes], after: list[bytes]) -> None:
    """One line of a list stays as it is; several become one, at the first one's place, unless that is too long."""
    several, joined = named(before, name), named(after, name)
    if len(several) < 2 or len(joined) > 1:
        assert joined == several
        assert len(several) < 2 or sum(map(len, several)) > MAX_BYTES - len(several)
        return
    (line,) = joined
    assert members(line) == [member for value in several for member in members(value)]
    assert names(before).index(name) == names(after).index(name)


def names(lines: list[bytes]) -> list[bytes]:
    """The fields' names but Host, each once."""
    spelled = (line.partition(b":")[0].lower() for line in lines[1:])
    return list(dict.fromkeys(name for name in spelled if name != b"host"))


def named(lines: list[bytes], name: bytes) -> list[bytes]:
    fields = (line.partition(b":") for line in lines[1:])
    return [value.strip(b" \t") for spelled, _, value in fields if spelled.lower() == name]


def kept(lines: list[bytes], has_hop: bool) -> list[bytes]:
    """The lines that the exchange must not touch."""
    lines = lines[:-1] if has_hop else lines
    return [lines[0], *(line for line in lines[1:] if line.partition(b":")[0].lower() not in _CHANGED)]
