"""What a reader makes of a stream of bytes, as a value that can be compared, and streams that are worth reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st

from proxy.codec.events import CHUNKED, RequestHead, ResponseHead
from proxy.codec.h1.reader import HeadLimits, MessageReader
from proxy.codec.h1.response import ResponseReader
from proxy.errors import REASONS, ProtocolError
from tests.corpus.http1 import Sample

Head = RequestHead | ResponseHead


@dataclass
class Message:
    """One message; `head` holds every slot of the head by name."""

    head: dict[str, object]
    body: bytes = b""
    trailers: list[bytes] = field(default_factory=list)
    is_complete: bool = False


@dataclass
class Reading:
    """All of a stream: its messages, the name of the reason that ended it, and the largest of what was held."""

    messages: list[Message] = field(default_factory=list)
    fault: str = ""
    is_cut: bool = False  # the stream ended between messages, or was not said to end
    most_buffered: int = 0
    largest_piece: int = 0


def slots(head: Head) -> dict[str, object]:
    names = (name for name in dir(head) if not name.startswith("__"))  # a compiled class has no __slots__
    return {name: value for name in names if not callable(value := getattr(head, name))}


def reading(
    reader: MessageReader,
    pieces: Iterable[bytes],
    *,
    eof: bool = False,
    methods: Sequence[bytes] = (b"GET",),
    upgrade: Sequence[bytes] = (),
) -> Reading:
    """Reads message after message, as a connection does. Any exception but ProtocolError comes through.

    `methods`: of the requests that responses answer, the last one again and again. `upgrade`: what they offered.
    """
    result = Reading()
    answered = 0

    def expect() -> None:
        if isinstance(reader, ResponseReader):
            reader.expect(methods[min(answered, len(methods) - 1)], list(upgrade))

    def pull() -> None:
        nonlocal answered
        while True:
            event = reader.next_event()
            if isinstance(event, Head):
                result.messages.append(Message(slots(event)))
            elif isinstance(event, bytes):
                assert event, "an empty piece would end a chunked body"
                result.messages[-1].body += event
                result.largest_piece = max(result.largest_piece, len(event))
            elif event is not None:
                result.messages[-1].trailers = event.trailers
            if reader.is_done:
                result.messages[-1].is_complete = True
                answered += 1
                expect()
                reader.start_next()
            elif event is None:
                return

    expect()
    try:
        for piece in pieces:
            reader.receive(piece)
            pull()
            result.most_buffered = max(result.most_buffered, reader.buffered)
        reader.eof = eof
        pull()
        result.is_cut = reader.is_cut_before_head
    except ProtocolError as fault:
        result.fault = fault.reason.name
        assert reader.next_event() is None, "a fault is the last that is read"
    return result


def in_pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The bytes, cut at these places; places outside are taken round."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


def by_bytes(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


# Small enough that a spoiled sample reaches them. A chunk line's limit is the codec's own.
TIGHT = HeadLimits(max_bytes=160, max_fields=5)
LIMITS = [HeadLimits(), TIGHT]
CHUNK_LINE_BYTES = 1024

# What frames, routes or names a host (SPEC 4).
NEVER_TRAILERS = {b"host", b"content-length", b"transfer-encoding", b"connection", b"baggage", b"tracestate"}
NEVER_TRAILERS |= {b"pointsman-hop", b"te"}

NewReader = Callable[[HeadLimits], MessageReader]


def comparable(one: Reading) -> tuple[object, ...]:
    """What must not depend on the pieces. Of a body that a fault breaks off, more or less may have been handed on."""
    messages = [(m.head, m.body, m.trailers, m.is_complete) for m in one.messages]
    if one.fault and messages and not messages[-1][3]:
        head, _, trailers, _ = messages[-1]
        messages[-1] = (head, b"", trailers, False)
    return messages, one.fault, one.is_cut


def check_stream(
    new: NewReader,
    data: bytes,
    cuts: Iterable[int],
    eof: bool,
    methods: Sequence[bytes] = (b"GET",),
) -> None:
    """One reading, however the bytes come; nothing held or handed on beyond its bound."""
    for limits in LIMITS:
        whole = reading(new(limits), [data], eof=eof, methods=methods)
        for pieces in (in_pieces(data, cuts), by_bytes(data)):
            again = reading(new(limits), pieces, eof=eof, methods=methods)
            assert comparable(again) == comparable(whole)
            check_bounds(again, limits, data)
            check_buffered(again, limits)
        check_bounds(whole, limits, data)
        assert not whole.fault or whole.fault in {reason.name for reason in REASONS}


def check_buffered(one: Reading, limits: HeadLimits) -> None:
    """At most a head or trailer section up to its empty line, or a chunk line up to its end."""
    is_chunked = any(message.head["body"] == CHUNKED for message in one.messages)
    assert one.most_buffered <= max(limits.max_bytes + 3, CHUNK_LINE_BYTES + 1 if is_chunked else 0)


def check_bounds(one: Reading, limits: HeadLimits, data: bytes) -> None:
    assert one.largest_piece <= len(data)
    for message in one.messages:
        lines = message.head["lines"]
        assert isinstance(lines, list)
        for section, count in ((lines, len(lines) - 1), (message.trailers, len(message.trailers))):
            assert count <= limits.max_fields
            assert len(b"\r\n".join(section)) <= limits.max_bytes
        assert not {line.partition(b":")[0].lower() for line in message.trailers} & NEVER_TRAILERS


def framing_lines(lines: list[bytes]) -> int:
    return sum(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines)


# Pieces that matter to the grammar: put in anywhere they make a near miss, which random bytes never are.
SCRAPS = [b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"=", b'"', b"\\", b"0", b"5", b"f", b"-"]
SCRAPS += [b"\x00", b"\x0b", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xff", b"+5", b"0x5", b"1_0", b"chunked", b"close"]
SCRAPS += [b"HTTP/1.0", b"HTTP/1.1 ", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 204 x\r\n", b"HTTP/1.1 100 x\r\n\r\n"]
SCRAPS += [b"Host: location\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"]
SCRAPS += [b"Connection: close, x\r\n", b"Connection: keep-alive\r\n", b"Connection: host, te\r\n", b"X: y\r\n"]
SCRAPS += [b"baggage: a=b\r\n", b"tracestate: c=d\r\n", b"pointsman-hop: a/b/c\r\n", b"Accept: */*\r\n"]
SCRAPS += [b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX-Sum: 9\r\n\r\n", b"ffffffffffffffff\r\n"]


@st.composite
def streams(draw: st.DrawFn, samples: Sequence[Sample]) -> bytes:
    """Corpus messages, spoiled: scraps put in, bytes taken out, parts doubled, messages spliced, the end cut off."""
    data = draw(st.sampled_from(samples)).data
    for _ in range(draw(st.integers(0, 4))):
        size = len(data)
        place = draw(st.integers(0, size))
        until = min(size, place + draw(st.sampled_from([1, 2, 5, 20, 200])))
        match draw(st.sampled_from(["put in", "put in", "take out", "double", "splice", "follow", "cut"])):
            case "put in":
                data = data[:place] + draw(st.sampled_from(SCRAPS)) + data[place:]
            case "take out":
                data = data[:place] + data[until:]
            case "double":
                data = data[:until] + data[place:]
            case "splice":
                other = draw(st.sampled_from(samples)).data
                data = data[:place] + other[draw(st.integers(0, len(other))) :]
            case "follow":
                data += draw(st.sampled_from(samples)).data
            case "cut":
                data = data[:place]
    return data
