"""Request heads and bodies: each case whole, byte by byte, and with bytes behind it. Lines of CHECKLIST A by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, NO_BODY, End, RequestHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.errors import ProtocolError, Reason

KEY_HEADERS = (b"ot-baggage-sd-routing-key",)


def new_reader(limits: HeadLimits | None = None) -> RequestReader:
    return RequestReader(request_kinds(errors.BAD_REQUEST, KEY_HEADERS), limits or HeadLimits())


@dataclass
class Message:
    head: RequestHead
    body: bytes
    trailers: list[bytes]
    behind: bytes


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    step = 1 if len(data) < 20_000 else 509  # 100 KB by single bytes takes minutes and proves no more
    for index in range(0, len(data), step):
        yield data[index : index + step]


CHUNKINGS: list[Callable[[bytes], Iterator[bytes]]] = [whole, byte_by_byte]


def read(data: bytes, chunking: Callable[[bytes], Iterator[bytes]] = whole) -> Message:
    """One whole message; raises ProtocolError, or AssertionError if it does not end."""
    reader = new_reader()
    head: RequestHead | None = None
    body = b""
    end: End | None = None
    pieces = chunking(data)
    for piece in pieces:
        reader.receive(piece)
        while not reader.is_done and (event := reader.next_event()) is not None:
            if isinstance(event, RequestHead):
                head = event
            elif isinstance(event, bytes):
                body += event
            else:
                assert isinstance(event, End)
                end = event
        if reader.is_done:
            break
    assert head is not None, "no head"
    assert reader.is_done, "the message did not end"
    behind = reader.take_rest() + b"".join(pieces)
    return Message(head, body, end.trailers if end else [], behind)


def fault(data: bytes, chunking: Callable[[bytes], Iterator[bytes]] = whole) -> Reason:
    with pytest.raises(ProtocolError) as caught:
        read(data, chunking)
    return caught.value.reason


HOST = b"Host: a\r\n"

GOOD = {
    "plain get": (b"GET /x?y=1 HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "empty lines before the request line": (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "a body with a length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "a length of 0": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", b""),
    "leading zeros in a length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 005\r\n\r\nhello", b"hello"),
    "chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"hello world",
    ),
    "chunk extensions are dropped": (
        b"POST / HTTP/1.1\r\n" + HOST + b'Transfer-Encoding: Chunked\r\n\r\n5;a=b;c="d \\" e";f\r\nhello\r\n0\r\n\r\n',
        b"hello",
    ),
    "upper case hex": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n00\r\n\r\n",
        b"0123456789",
    ),
    "absolute-form that agrees with Host": (b"GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "absolute-form with a query and no path": (b"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "an empty value": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Empty:\r\n\r\n", b""),
    "8-bit and tab in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Name: caf\xc3\xa9\t!\r\n\r\n", b""),
    "an unusual method": (b"PROPFIND /dav HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "an IPv6 Host": (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b""),
    "an underscore in Host": (b"GET / HTTP/1.1\r\nHost: my_service:80\r\n\r\n", b""),
}


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", b"\x00garbage"])
def test_good(name: str, chunking: Callable[[bytes], Iterator[bytes]], behind: bytes) -> None:
    data, body = GOOD[name]
    message = read(data + behind, chunking)
    assert message.body == body
    assert message.behind == behind


POST = b"POST / HTTP/1.1\r\n" + HOST
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED_POST = POST + TE + b"\r\n"

BAD = {
    # A1, A2
    "A1 both lengths": (POST + b"Content-Length: 5\r\n" + TE + b"\r\n0\r\n\r\n", 400),
    "A1 both lengths, the other order": (POST + TE + b"Content-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "A2 two codings": (POST + TE + TE + b"\r\n0\r\n\r\n", 400),
    # A3
    **{
        f"A3 Content-Length {value!r}": (POST + b"Content-Length: " + value + b"\r\n\r\n0000000000", 400)
        for value in (
            b"+5",
            b"5,5",
            b"5, 5",
            b"0x5",
            b"1_0",
            b"-1",
            b"",
            b"5 5",
            b"5;",
            b"\xb2",
            b"5.0",
            b"9223372036854775808",
            b"99999999999999999999999",
            b"\x0b5",
            b"five",
        )
    },
    "A3 two different": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "A3 twice the same": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    # A4
    "a malformed Upgrade": (POST + b"Connection: upgrade\r\nUpgrade: web socket\r\n\r\n", 400),
    **{
        f"A4 chunk size {size!r}": (CHUNKED_POST + size + b"\r\nhello\r\n0\r\n\r\n", 400)
        for size in (
            b"0x5",
            b"+5",
            b"-5",
            b"1_0",
            b"",
            b" 5",
            b"5 ",
            b"5\t",
            b"5 ;a",
            b"5garbage",
            b"g",
            b"11111111111111111",
            b"fffffffffffffff0",
            b"5;",
            b"5;=x",
            b"5; a",
            b"5;a= b",
            b"\x0b5",
        )
    },
    "A4 bare LF behind a size": (CHUNKED_POST + b"5\nhello\r\n0\r\n\r\n", 400),
    "A4 bare LF behind data": (CHUNKED_POST + b"5\r\nhello\n0\r\n\r\n", 400),
    "A4 CR and something": (CHUNKED_POST + b"5\r\nhello\rX0\r\n\r\n", 400),
    "A4 CR behind a size": (CHUNKED_POST + b"5\rX\nhello\r\n0\r\n\r\n", 400),
    # A5
    "A5 control in an extension": (CHUNKED_POST + b"5;a=\x01\r\nhello\r\n0\r\n\r\n", 400),
    "A5 bare CR in an extension": (CHUNKED_POST + b"5;a=\rb\r\nhello\r\n0\r\n\r\n", 400),
    "A5 bare LF in an extension": (CHUNKED_POST + b"5;a=\nb\r\nhello\r\n0\r\n\r\n", 400),
    "A5 no token": (CHUNKED_POST + b"5;(=1\r\nhello\r\n0\r\n\r\n", 400),
    "A5 endless": (CHUNKED_POST + b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n", 400),
    # A6
    "A6 spill": (CHUNKED_POST + b"5\r\nhello!\r\n0\r\n\r\n", 400),
    # A7
    "A7 control in a trailer": (CHUNKED_POST + b"0\r\nX: a\x00b\r\n\r\n", 400),
    "A7 fold in a trailer": (CHUNKED_POST + b"0\r\nX: a\r\n b\r\n\r\n", 400),
    "A7 no colon in a trailer": (CHUNKED_POST + b"0\r\nX\r\n\r\n", 400),
    # A8
    "A8 obs-fold": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "A8 obs-fold of baggage": (b"GET / HTTP/1.1\r\n" + HOST + b"baggage: a=b\r\n\tsd-routing-key=x\r\n\r\n", 400),
    "A8 a blank before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    # A9
    **{
        f"A9 {char!r} in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a" + char + b"b\r\n\r\n", 400)
        for char in (b"\x00", b"\r", b"\n", b"\x01", b"\x07", b"\x0b", b"\x0c", b"\x1b", b"\x7f")
    },
    "A9 bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "A9 bare CR everywhere": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    # A10
    "A10 blank before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "A10 no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", 400),
    "A10 no colon, a known name": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    "A10 empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": a\r\n\r\n", 400),
    "A10 no token": (b"GET / HTTP/1.1\r\n" + HOST + b"X(: a\r\n\r\n", 400),
    "A10 8-bit name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\xe9: a\r\n\r\n", 400),
    # A11
    "A11 no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "A11 two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "A11 two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400),
    **{
        f"A11 Host {value!r}": (b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", 400)
        for value in (
            b"a,b",
            b"u@a",
            b"u:p@a",
            b"a/b",
            b"a b",
            b"",
            b"a:b",
            b"a:123456",
            b"[::1",
            b"a\\b",
            b"a#b",
            b"a?b",
        )
    },
    # A12
    "A12 HTTP/9.9": (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", 505),
    "A12 HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "A12 the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "A12 no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "A12 HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "A12 lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "A12 two digits": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "A12 a blank behind": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "A12 two blanks": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A12 a tab": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A12 a blank before": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    # A13
    **{
        f"A13 Transfer-Encoding {value!r}": (POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", status)
        for value, status in (
            (b"xchunked", 400),
            (b"gzip, chunked", 501),
            (b"chunked, gzip", 400),
            (b"chunked, chunked", 400),
            (b"", 400),
            (b"identity", 400),
            (b"gzip", 400),
            (b"chunked;q=1", 400),
            (b"\x0bchunked", 400),
            (b"\x0cchunked", 400),
            (b"chunked\xa0", 400),
            (b"\x85chunked", 400),
            (b'"chunked"', 400),
            (b"chunked,", 400),
            (b",chunked", 400),
        )
    },
    "A13 in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + TE + b"\r\n0\r\n\r\n", 400),
    "A13 a blank before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    # A14
    "A14 absolute-form, another Host": (b"GET http://b/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 absolute-form, another port": (b"GET http://a:81/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 absolute-form with userinfo": (b"GET http://u@a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 another scheme": (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 * with GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    "A14 a tab in the target": (b"GET /\ta HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 a fragment": (b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 raw 8-bit": (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "A14 no slash": (b"GET x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    # A15
    "A15 a head of 61 KiB": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 61440 + b"\r\n\r\n", 431),
    "A15 101 fields": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100 + b"\r\n", 431),
    "A15 a target of 100 KB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("behind", [b"", b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"])
def test_bad(name: str, chunking: Callable[[bytes], Iterator[bytes]], behind: bytes) -> None:
    data, status = BAD[name]
    assert fault(data + behind, chunking).status == status


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_read_behind_a_fault(name: str) -> None:
    reader = new_reader()
    reader.receive(BAD[name][0] + b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n")
    with pytest.raises(ProtocolError):
        while reader.next_event() is not None:
            pass
    assert reader.next_event() is None
    reader.receive(b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n")
    assert reader.next_event() is None


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/9.9\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n",
        b"GET / HTTP/1.1\nHost: a",
        b"GET / HTTP/1.1\r\nX: a\x00",
        b"\x16\x03\x01",
        b"GET /\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n",
    ],
)
def test_a_fault_shows_before_the_head_ends(start: bytes) -> None:
    """A peer that waits for an answer gets it: the rest need not come."""
    reader = new_reader()
    reader.receive(start)
    with pytest.raises(ProtocolError):
        reader.next_event()


@pytest.mark.parametrize("line", [b"a" * 100, b"X: " + b"b" * 60 + b"\r\n"])
def test_endless_head(line: bytes) -> None:
    reader = new_reader(HeadLimits(max_bytes=4096))
    reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    with pytest.raises(ProtocolError) as caught:
        for _ in range(100):
            reader.receive(line)
            assert reader.next_event() is None
    assert caught.value.reason is errors.HEAD_TOO_LARGE


def test_the_largest_head() -> None:
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    fitting = b"a" * (61440 - len(start))
    assert read(start + fitting + end).head.target == b"/"
    assert fault(start + fitting + b"a" + end) is errors.HEAD_TOO_LARGE


def test_100_fields() -> None:
    assert len(read(b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 99 + b"\r\n").head.lines) == 101


def lines(*extra: bytes, start: bytes = b"GET / HTTP/1.1") -> list[bytes]:
    """What is forwarded of a head with these field lines behind Host."""
    data = b"\r\n".join([start, b"Host: a", *extra]) + b"\r\n\r\n"
    return read(data).head.lines[2:]


WEBSOCKET = [b"Connection: Upgrade", b"Upgrade: WebSocket"]


def test_an_upgrade_is_noted() -> None:
    message = read(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: WebSocket, foo/2\r\n\r\n")
    assert message.head.upgrade == [b"websocket", b"foo/2"]
    message = read(b"GET / HTTP/1.0\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: WebSocket\r\n\r\n")
    assert (list(message.head.upgrade), message.head.lines[1:]) == ([], [HOST.strip()])


def test_a_head_is_forwarded_as_it_came() -> None:
    kept = [b"X-b: 1", b"x-A:2", b"X-b:\t1 ", b"baggage:  a=b", b"Cookie: x=y; z", b"TRACESTATE: a=b"]
    assert lines(*kept) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([b"Connection: keep-alive", b"X: 1"], [b"X: 1"]),
        ([b"Connection: close", b"Keep-Alive: 5", b"Proxy-Connection: x", b"TE: trailers", b"Upgrade: x"], []),
        ([b"Connection: x-gone, X-Also", b"X-Gone: 1", b"x-also: 2", b"X-Stays: 3"], [b"X-Stays: 3"]),
        ([b"Connection: a", b"connection: b", b"A: 1", b"B: 2", b"C: 3"], [b"C: 3"]),
        ([b"Connection: upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA"], []),
        ([b"Connection: upgrade", b"Upgrade: HTTP/2.0, TLS/1.0,h2 ,"], []),
        ([b"Upgrade: websocket"], []),
        ([b"Connection: keep-alive", b"Upgrade: websocket"], []),
        ([b"Upgrade: WebSocket", b"A: b", b"Connection: Upgrade"], [b"A: b", *WEBSOCKET]),
        ([b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: WebSocket"], WEBSOCKET),
        ([b"Connection: A, upgrade", b"Upgrade: foo/2 , h2c,bar", b"A: b"], [WEBSOCKET[0], b"Upgrade: foo/2, bar"]),
        # A18: what routes is never removed because a request says so
        (
            [b"Connection: baggage, tracestate, host, pointsman-hop", b"baggage: a=b", b"tracestate: c=d"],
            [b"baggage: a=b", b"tracestate: c=d"],
        ),
        (
            [b"Connection: ot-baggage-sd-routing-key", b"ot-baggage-sd-routing-key: k"],
            [b"ot-baggage-sd-routing-key: k"],
        ),
        ([b"Connection: content-length", b"Content-Length: 0"], [b"Content-Length: 0"]),
    ],
)
def test_hop_by_hop(given: list[bytes], kept: list[bytes]) -> None:
    assert lines(*given) == kept


def test_connection_transfer_encoding_keeps_the_framing() -> None:
    message = read(POST + b"Connection: transfer-encoding\r\n" + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n")
    assert message.head.body == CHUNKED
    assert b"Transfer-Encoding: chunked" in message.head.lines


def test_routing_fields_are_collected() -> None:
    head = read(
        b"GET / HTTP/1.1\r\nHost: a\r\nbaggage: a=1\r\nTraceState: v=1\r\nBaggage:  b=2 \r\ntracestate: w=2\r\n"
        b"Ot-Baggage-Sd-Routing-Key: k\r\nPointsman-Hop: a/b/c\r\npointsman-hop: d/e/f\r\n\r\n"
    ).head
    assert head.baggage == [b"a=1", b"b=2"]
    assert head.tracestate == [b"v=1", b"w=2"]
    assert head.key_fields == [(b"ot-baggage-sd-routing-key", b"k")]
    assert head.hops == [b"a/b/c", b"d/e/f"]


def test_python_strips_too_much() -> None:
    """\\x85 and \\xa0 are blanks to str.strip, not to HTTP."""
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\nbaggage: \xa0a=1\x85\r\n\r\n").head.baggage == [b"\xa0a=1\x85"]


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x,close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_keep_alive(data: bytes, keep_alive: bool) -> None:
    assert read(data).head.keep_alive is keep_alive


def test_a_request_goes_on_as_http_1_1() -> None:
    """RFC 9110 section 2.5: a proxy sends its own version."""
    assert read(b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n").head.lines[0] == b"GET /x HTTP/1.1"


def test_trailers() -> None:
    """A7: a trailer never frames, routes or re-targets; others travel on."""
    message = read(
        CHUNKED_POST
        + b"3\r\nabc\r\n0\r\nX-Sum: 9\r\nContent-Length: 99\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n"
        b"baggage: sd-routing-key=k\r\ntracestate: sd-routing-key=k\r\nOt-Baggage-Sd-Routing-Key: k\r\n"
        b"pointsman-hop: x\r\nConnection: close\r\nx-last:1\r\n\r\n"
    )
    assert message.body == b"abc"
    assert message.trailers == [b"X-Sum: 9", b"x-last:1"]
    assert not message.head.baggage
    assert not message.head.tracestate


def test_pipelined_requests_are_read_one_at_a_time() -> None:
    reader = new_reader()
    reader.receive(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\n")
    for target in (b"/1", b"/2"):
        head = reader.next_event()
        assert isinstance(head, RequestHead)
        assert (head.target, head.body) == (target, NO_BODY)
        assert reader.next_event() is None
        reader.start_next()
    with pytest.raises(ProtocolError):
        reader.next_event()


def test_names_from_strangers_are_remembered_within_bounds() -> None:
    kinds = request_kinds(errors.BAD_REQUEST)
    reader = RequestReader(kinds, HeadLimits())
    for number in range(5000):
        reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\nX-%d: 1\r\n\r\n" % number)
        assert isinstance(reader.next_event(), RequestHead)
        reader.start_next()
    assert len(kinds) <= 2048


def test_a_stream_that_ends_inside_a_body() -> None:
    for data in (POST + b"Content-Length: 5\r\n\r\nhel", CHUNKED_POST + b"5\r\nhel", CHUNKED_POST + b"5\r\nhello\r\n"):
        reader = new_reader()
        reader.receive(data)
        reader.eof = True
        with pytest.raises(ProtocolError):
            for _ in range(9):
                reader.next_event()
