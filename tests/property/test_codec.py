"""Properties of the HTTP/1.1 codec: whatever comes in, in whatever pieces, only our own exception and one reading;
what is written is read back; nothing grows beyond its bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.edits import set_host, set_one_line
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_CLOSE, RequestHead
from proxy.codec.fields import request_kinds, response_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.h1.response import ResponseReader
from proxy.codec.h1.writer import chunk, head_bytes, last_chunk
from proxy.routing.baggage import joined_lines
from tests.corpus.http1 import REQUESTS, RESPONSES, Sample
from tests.support.codec import (
    CHUNK_LINE_BYTES,
    Message,
    NewReader,
    Reading,
    check_bounds,
    check_stream,
    comparable,
    framing_lines,
    in_pieces,
    reading,
    streams,
)

QUICK = settings(deadline=None, max_examples=300, derandomize=True)
THOROUGH = settings(QUICK, max_examples=1500)

KEY_HEADERS = (b"x-key",)
# One of each for everything here, as in a process: what is remembered of earlier lines must not change a later reading.
REQUEST_KINDS = request_kinds(errors.BAD_REQUEST, KEY_HEADERS)
RESPONSE_KINDS = response_kinds(errors.UPSTREAM_INVALID)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def new_request_reader(limits: HeadLimits) -> RequestReader:
    return RequestReader(REQUEST_KINDS, limits)


def new_response_reader(limits: HeadLimits) -> ResponseReader:
    return ResponseReader(RESPONSE_KINDS, limits)


def short(samples: Iterable[Sample]) -> list[Sample]:
    return [sample for sample in samples if len(sample.data) < 1000]


REQUEST_STREAMS = streams(short(REQUESTS.values()))
RESPONSE_STREAMS = streams(short(RESPONSES.values()))
METHODS = st.lists(st.sampled_from([b"GET", b"HEAD", b"POST"]), min_size=1, max_size=3)
CUTS = st.lists(st.integers(0, 2**16), max_size=5)


# --- any bytes, in any pieces ---


@THOROUGH
@given(st.binary(max_size=80) | REQUEST_STREAMS | REQUEST_STREAMS, CUTS, st.booleans())
def test_any_request_stream(data: bytes, cuts: list[int], eof: bool) -> None:
    check_stream(new_request_reader, data, cuts, eof)


@THOROUGH
@given(st.binary(max_size=80) | RESPONSE_STREAMS | RESPONSE_STREAMS, CUTS, st.booleans(), METHODS)
def test_any_response_stream(data: bytes, cuts: list[int], eof: bool, methods: list[bytes]) -> None:
    check_stream(new_response_reader, data, cuts, eof, methods)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_cut_anywhere(name: str) -> None:
    check_cuts(new_request_reader, REQUESTS[name])


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_cut_anywhere(name: str) -> None:
    check_cuts(new_response_reader, RESPONSES[name])


def check_cuts(new: NewReader, sample: Sample) -> None:
    """In two pieces, at each place; of long samples, near the ends and round each line end."""
    data, limits, methods = sample.data, HeadLimits(), [sample.method]
    one = reading(new(limits), [data], eof=sample.eof, methods=methods)
    check_bounds(one, limits, data)
    whole = comparable(one)
    places: Iterable[int] = range(1, len(data))
    if len(data) > 1000:
        ends = [index for index in range(len(data)) if data[index] == 10]
        near = {end + step for end in (0, *ends[:8], *ends[-8:], len(data), 61440, 65536) for step in range(-6, 7)}
        places = sorted(near & set(places))
    for place in places:
        pieces = [data[:place], data[place:]]
        assert comparable(reading(new(limits), pieces, eof=sample.eof, methods=methods)) == whole, place


@QUICK
@given(st.lists(REQUEST_STREAMS, max_size=4))
def test_what_was_read_before_changes_nothing(datas: list[bytes]) -> None:
    kinds = request_kinds(errors.BAD_REQUEST, KEY_HEADERS)
    for data in datas:
        known = reading(RequestReader(kinds, HeadLimits()), [data])
        fresh = reading(RequestReader(request_kinds(errors.BAD_REQUEST, KEY_HEADERS), HeadLimits()), [data])
        assert known == fresh


def test_lines_from_strangers_are_remembered_within_bounds() -> None:
    kinds = request_kinds(errors.BAD_REQUEST)
    head = b"GET / HTTP/1.1\r\nHost: h%d\r\nAccept: %d\r\nDNT: %b\r\nX-%d: 1\r\n\r\n"
    data = b"".join(head % (number, number, b"x" * 300, number) for number in range(3000))
    assert len(reading(RequestReader(kinds, HeadLimits()), [data]).messages) == 3000
    assert 0 < len(kinds.lines) <= 1024
    assert all(len(line) <= 256 for line in kinds.lines)
    assert len(kinds) <= 2048


ENDLESS = {
    "a method": (b"", b"G"),
    "a target": (b"GET /", b"a"),
    "a value": (b"GET / HTTP/1.1\r\nX: ", b"a"),
    "a name": (b"GET / HTTP/1.1\r\n", b"a"),
    "fields": (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    "chunk digits": (CHUNKED_POST, b"0"),
    "an extension": (CHUNKED_POST + b"5;", b"a"),
    "a trailer": (CHUNKED_POST + b"0\r\nX: ", b"a"),
    "trailers": (CHUNKED_POST + b"0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("step", [1, 50, 5000])
@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_refused_at_its_bound(name: str, step: int) -> None:
    start, piece = ENDLESS[name]
    limits = HeadLimits(max_bytes=2000)
    data = piece * 10_000
    pieces = [start, *(data[index : index + step] for index in range(0, len(data), step))]
    result = reading(new_request_reader(limits), pieces)
    assert result.fault
    assert result.most_buffered <= limits.max_bytes + 3
    if name in ("chunk digits", "an extension"):
        assert result.most_buffered <= CHUNK_LINE_BYTES + 1


# --- what goes on is read alike ---


def forwarded(head: dict[str, object]) -> list[bytes]:
    """The lines that an exchange sends on: joined routing fields, a Host where there was none."""
    lines = head["lines"]
    assert isinstance(lines, list)
    edited = RequestHead(b"GET", b"/", lines, False)
    for name in ("baggage", "tracestate"):
        values = head[name]
        assert isinstance(values, list | tuple)
        if len(values) > 1 and (joined := joined_lines(list(values))) is not None:
            set_one_line(edited, name.encode(), joined)
    if not head["host"]:
        set_host(edited, b"127.0.0.1:8081")
    return edited.lines


@pytest.mark.parametrize("name", REQUESTS)
def test_a_forwarded_sample_is_read_alike(name: str) -> None:
    check_forwarded_requests(REQUESTS[name].data)


@QUICK
@given(REQUEST_STREAMS)
def test_a_forwarded_request_is_read_alike(data: bytes) -> None:
    check_forwarded_requests(data)


def check_forwarded_requests(data: bytes) -> None:
    """By the next proxy of our own: the same request, framed the same way, and nothing behind its head."""
    for message in reading(new_request_reader(HeadLimits()), [data]).messages:
        lines = forwarded(message.head)
        again = reading(new_request_reader(HeadLimits(max_fields=101)), [head_bytes(lines)], eof=True)
        (second,) = again.messages
        assert second.head["lines"] == lines
        for name in ("method", "target", "body", "hops", "key_fields"):
            assert second.head[name] == message.head[name]
        assert second.head["host"] == (message.head["host"] or b"127.0.0.1:8081")
        assert second.head["keep_alive"]
        assert not second.head["http10"]
        assert second.is_complete == (message.head["body"] == NO_BODY)
        assert framing_lines(lines) <= 1, "whatever reads this by the other one sees another message"


@pytest.mark.parametrize("name", RESPONSES)
def test_a_forwarded_response_sample_is_read_alike(name: str) -> None:
    check_forwarded_responses(RESPONSES[name].data, [RESPONSES[name].method])


@QUICK
@given(RESPONSE_STREAMS, METHODS)
def test_a_forwarded_response_is_read_alike(data: bytes, methods: list[bytes]) -> None:
    check_forwarded_responses(data, methods)


def check_forwarded_responses(data: bytes, methods: list[bytes]) -> None:
    """Where the end of the stream ends it, `net` adds the framing."""
    answered = 0
    for message in reading(new_response_reader(HeadLimits()), [data], eof=True, methods=methods).messages:
        lines = message.head["lines"]
        assert isinstance(lines, list)
        method = methods[min(answered, len(methods) - 1)]
        again = reading(new_response_reader(HeadLimits()), [head_bytes(lines)], methods=[method])
        (second,) = again.messages
        for name in ("lines", "status", "body"):
            assert second.head[name] == message.head[name]
        assert second.head["keep_alive"] == (message.head["body"] != UNTIL_CLOSE)
        status = message.head["status"]
        assert isinstance(status, int)
        answered += status >= 200
        assert framing_lines(lines) <= (status >= 200 and status != 204)


# --- what is written is read back ---

TCHARS = "!#$%&'*+-.^_`|~09azAZ"
TOKENS = st.text(TCHARS, min_size=1, max_size=8).map(str.encode)
VALUES = st.text('aZ9,;=":\\/% \t\xe9\x80\x85\xa0\xff', max_size=12).map(lambda text: text.encode("latin-1"))
PLAIN_NAMES = TOKENS.map(lambda name: b"x" + name) | st.sampled_from([b"Accept", b"Cookie", b"DNT", b"User-Agent"])
FIELDS = st.lists(st.tuples(PLAIN_NAMES, st.sampled_from([b":", b": ", b":\t "]), VALUES).map(b"".join), max_size=6)
PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=5)
METHOD_TOKENS = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"get", b"X-Y"]) | TOKENS.filter(
    lambda t: t != b"CONNECT"
)
TARGETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20)


def framed(lines: list[bytes], body: int) -> list[bytes]:
    """The head with the framing that `body` says, behind its first field."""
    framing = {NO_BODY: [], CHUNKED: [b"Transfer-Encoding: chunked"], UNTIL_CLOSE: []}
    return [*lines[:2], *framing.get(body, [b"Content-Length: %d" % body]), *lines[2:]]


def written(lines: list[bytes], body: int, pieces: list[bytes], trailers: list[bytes]) -> bytes:
    if body == CHUNKED:
        return head_bytes(lines) + b"".join(map(chunk, pieces)) + last_chunk(trailers)
    return head_bytes(lines) + b"".join(pieces)


BODIES = st.tuples(st.booleans(), PIECES, FIELDS)


def sized(body: tuple[bool, list[bytes], list[bytes]]) -> tuple[int, list[bytes], list[bytes]]:
    """(framing, pieces, trailers)"""
    is_chunked, pieces, trailers = body
    return (CHUNKED, pieces, trailers) if is_chunked else (sum(map(len, pieces)), pieces, [])


def check_read_back(
    message: Message, lines: list[bytes], body: int, pieces: list[bytes], trailers: list[bytes]
) -> None:
    assert message.is_complete
    assert message.head["lines"] == lines
    assert message.head["body"] == body
    assert message.body == b"".join(pieces)
    assert message.trailers == trailers


@QUICK
@given(st.lists(st.tuples(METHOD_TOKENS, TARGETS, FIELDS, BODIES), max_size=3), CUTS)
def test_requests_are_read_back(
    requests: list[tuple[bytes, str, list[bytes], tuple[bool, list[bytes], list[bytes]]]], cuts: list[int]
) -> None:
    data = b""
    expected = []
    for method, target, fields, parts in requests:
        body, pieces, trailers = sized(parts)
        lines = framed([b"%b /%b HTTP/1.1" % (method, target.encode()), b"Host: a", *fields], body)
        data += written(lines, body, pieces, trailers)
        expected.append((lines, body, pieces, trailers))
    result = reading(new_request_reader(HeadLimits()), in_pieces(data, cuts), eof=True)
    assert (result.fault, result.is_cut) == ("", True)
    for message, (lines, body, pieces, trailers) in zip(result.messages, expected, strict=True):
        check_read_back(message, lines, body, pieces, trailers)


@QUICK
@given(st.lists(st.tuples(st.integers(200, 999), FIELDS, BODIES), max_size=3), PIECES, CUTS)
def test_responses_are_read_back(
    responses: list[tuple[int, list[bytes], tuple[bool, list[bytes], list[bytes]]]], rest: list[bytes], cuts: list[int]
) -> None:
    """The last one goes on until the stream ends."""
    data = b""
    expected = []
    for status, fields, parts in responses:
        body, pieces, trailers = sized(parts)
        if status in (204, 304):
            body, pieces, trailers = NO_BODY, [], []
        lines = [b"HTTP/1.1 %d Phrase" % status, b"Server: a", *fields]
        if status not in (204, 304):
            lines = framed(lines, body) if body else [*lines, b"Content-Length: 0"]
        data += written(lines, body, pieces, trailers)
        expected.append((lines, body, pieces, trailers))
    lines = [b"HTTP/1.1 200 ", b"Server: a"]
    data += written(lines, UNTIL_CLOSE, rest, [])
    expected.append((lines, UNTIL_CLOSE, rest, []))
    result = reading(new_response_reader(HeadLimits()), in_pieces(data, cuts), eof=True)
    assert (result.fault, result.is_cut) == ("", True)
    for message, (lines, body, pieces, trailers) in zip(result.messages, expected, strict=True):
        check_read_back(message, lines, body, pieces, trailers)


# --- cost ---

# (start, what is repeated, end): all of them are valid, so that all of their bytes are looked at.
COSTS = {
    "one value": (GET + b"X: ", b"a", b"\r\n\r\n"),
    "a value of blanks": (GET + b"baggage:", b" \t", b"x\r\n\r\n"),
    "a value of colons": (GET + b"X:", b":", b"\r\n\r\n"),
    "a long name": (GET + b"X", b"x", b":\r\n\r\n"),
    "a long target": (b"GET /", b"?/", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long method": (b"G", b"-", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long absolute target": (b"GET http://a/", b"//a", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long Host": (b"GET / HTTP/1.1\r\nHost: ", b"a.", b"\r\n\r\n"),
    "a long IPv6 Host": (b"GET / HTTP/1.1\r\nHost: [", b"::", b"%251]\r\n\r\n"),
    "many options": (GET + b"Connection: ", b"x, ,", b"close\r\n\r\n"),
    "leading empty lines": (b"", b"\r\n", GET + b"\r\n"),
    "many requests": (b"", GET + b"Accept: */*\r\n\r\n", b""),
    "small chunks": (CHUNKED_POST, b"1\r\na\r\n", b"0\r\n\r\n"),
    "a chunk": (CHUNKED_POST, b"400\r\n" + b"a" * 1024 + b"\r\n", b"0\r\n\r\n"),
    "chunks with extensions": (CHUNKED_POST, b"1" + b';a="\\"";b' * 100 + b"\r\na\r\n", b"0\r\n\r\n"),
    "long trailers": (CHUNKED_POST + b"0\r\nX:", b" :", b"x\r\n\r\n"),
}


# These may go on for ever. A head and a trailer section are bounded; only up to there need they be linear in pieces.
STREAMS = {"leading empty lines", "many requests", "small chunks", "a chunk", "chunks with extensions"}


@pytest.mark.parametrize("step", [1 << 20, 1460], ids=["whole", "in segments"])
@pytest.mark.parametrize("name", COSTS)
def test_cost_is_linear(name: str, step: int) -> None:
    """So many times the bytes cost at most about so many times as much, not the square of it."""
    start, piece, end = COSTS[name]
    limits = HeadLimits(max_bytes=1 << 20)
    size, times = (16384, 32) if name in STREAMS else (4096, 15)

    def elapsed(size: int) -> float:
        data = start + piece * (size // len(piece)) + end
        pieces = [data[index : index + step] for index in range(0, len(data), step)]
        return min(_timed(lambda: reading(new_request_reader(limits), pieces)) for _ in range(3))

    small = elapsed(size)
    assert elapsed(size * times) < 10 * times * max(small, 50e-6)


def _timed(work: Callable[[], Reading]) -> float:
    start = time.thread_time()  # CPU, so that a busy machine changes little
    result = work()
    took = time.thread_time() - start
    assert not result.fault
    assert result.messages[-1].is_complete
    return took
