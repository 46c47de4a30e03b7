"""What an upstream of HTTP/2 must not say, on a stream and on its connection. Rows by the section of RFC 9113.

The request stands on the stream that the proxy chose, so a row is made for its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.http2 import (
    END_HEADERS,
    PADDED,
    Code,
    Kind,
    Setting,
    answer,
    block,
    continuation,
    data,
    frame,
    headers,
    indexed,
    literal,
    push_promise,
    settings,
    window_update,
)

Bytes = str | bytes
PROTOCOL: Final = Code.PROTOCOL_ERROR


@dataclass(frozen=True, slots=True)
class Bad:
    """`code`: what the upstream is told, on the stream or by GOAWAY. `has_head`: a good head comes first."""

    name: str
    said: Callable[[int], bytes]
    code: Code = PROTOCOL
    has_head: bool = False


def _bad_head(name: str, *fields: tuple[Bytes, Bytes], end: bool = False) -> Bad:
    return Bad(name, lambda number: headers(number, block(*fields), end=end))


def _bad_field(name: str, *more: tuple[Bytes, Bytes]) -> Bad:
    return _bad_head(name, (":status", "200"), *more)


def _bad_status(name: str, status: str) -> Bad:
    return _bad_head(name, (":status", status))


# Each ends its stream only.
MALFORMED: Final[tuple[Bad, ...]] = (
    _bad_field("8.2.1: an uppercase name", ("X-Name", "1")),
    _bad_field("8.2.1: a blank in a name", ("x a", "1")),
    _bad_field("8.2.1: a line in a name", ("x-a: 1\r\nx-b", "1")),
    _bad_field("8.2.1: a line in a value", ("x-a", "1\r\nx-b: 2")),
    _bad_field("8.2.1: a NUL in a value", ("x-a", "1\0")),
    _bad_field("8.2.1: a blank before a value", ("x-a", " 1")),
    _bad_field("8.2.2: connection", ("connection", "close")),
    _bad_field("8.2.2: transfer-encoding", ("transfer-encoding", "chunked")),
    _bad_field("8.2.2: keep-alive", ("keep-alive", "timeout=5")),
    _bad_field("8.2.2: upgrade", ("upgrade", "websocket")),
    _bad_head("8.3: a pseudo-field behind a field", ("x-a", "1"), (":status", "200")),
    _bad_head("8.3: an unknown pseudo-field", (":status", "200"), (":foo", "1")),
    _bad_head("8.3: a pseudo-field of requests", (":status", "200"), (":path", "/")),
    _bad_head("8.3.2: no :status", ("x-a", "1")),
    _bad_head("8.3.2: nothing at all"),
    _bad_head("8.3.2: :status twice", (":status", "200"), (":status", "200")),
    *(_bad_status(f"8.3.2: a status of {each!r}", each) for each in ("", "20", "2000", "abc", "099", "+20", "2 0")),
    _bad_status("8.6: a status of 101", "101"),
    _bad_head("8.1: an interim head that ends the stream", (":status", "103"), end=True),
    _bad_field("8.1.1: a length that is no number", ("content-length", "5,5")),
    _bad_field("8.1.1: two lengths", ("content-length", "5"), ("content-length", "6")),
    _bad_head("8.1.1: a length and no body", (":status", "200"), ("content-length", "5"), end=True),
    Bad("8.1: DATA before a head", lambda number: data(number, b"x")),
    Bad("8.1: DATA behind an interim head", lambda number: headers(number, answer(103)) + data(number, b"x")),
)

# A good head is on its way: the client's stream is reset, and what it has is never complete.
BROKEN: Final[tuple[Bad, ...]] = (
    Bad(
        "8.1.1: a body shorter than its length",
        lambda number: headers(number, answer(200, ("content-length", "5"))) + data(number, b"1234", end=True),
        has_head=True,
    ),
    Bad(
        "8.1.1: a body longer than its length",
        lambda number: headers(number, answer(200, ("content-length", "5"))) + data(number, b"123456", end=True),
        has_head=True,
    ),
    Bad(
        "8.1.1: trailers before the length is reached",
        lambda number: (
            headers(number, answer(200, ("content-length", "5")))
            + data(number, b"1234")
            + headers(number, block(("x-a", "1")), end=True)
        ),
        has_head=True,
    ),
    Bad(
        "8.1: trailers without END_STREAM",
        lambda number: headers(number, answer()) + data(number, b"x") + headers(number, block(("x-a", "1"))),
        has_head=True,
    ),
    Bad(
        "8.1: a second head",
        lambda number: headers(number, answer()) + data(number, b"x") + headers(number, answer(), end=True),
        has_head=True,
    ),
    Bad(
        "8.2.1: an uppercase name in trailers",
        lambda number: headers(number, answer()) + headers(number, block(("X-A", "1")), end=True),
        has_head=True,
    ),
    Bad(
        "8.1: a body where there is none",
        lambda number: headers(number, answer(204)) + data(number, b"x", end=True),
        has_head=True,
    ),
)

# Each ends the upstream connection, and says why.
CONNECTION: Final[tuple[Bad, ...]] = (
    Bad("6.1: DATA on stream 0", lambda _: data(0, b"x")),
    Bad(
        "6.1: padding longer than DATA",
        lambda number: headers(number, answer()) + frame(Kind.DATA, b"\xffx", flags=PADDED, stream=number),
    ),
    Bad("5.1: DATA on an idle stream", lambda number: data(number + 4, b"x")),
    Bad("5.1: HEADERS on an idle stream", lambda number: headers(number + 4, answer(), end=True)),
    Bad("5.1.1: a stream that a server opens", lambda _: headers(2, answer(), end=True)),
    Bad("5.1: WINDOW_UPDATE on an idle stream", lambda number: window_update(number + 4, 1)),
    Bad("6.2: HEADERS on stream 0", lambda _: headers(0, answer())),
    Bad("6.5.2: ENABLE_PUSH of a server", lambda _: settings({Setting.ENABLE_PUSH: 1})),
    Bad(
        "6.5.2: INITIAL_WINDOW_SIZE of 2^31",
        lambda _: settings({Setting.INITIAL_WINDOW_SIZE: 2**31}),
        Code.FLOW_CONTROL_ERROR,
    ),
    Bad("6.5.2: MAX_FRAME_SIZE of 1", lambda _: settings({Setting.MAX_FRAME_SIZE: 1})),
    Bad("6.5: SETTINGS of 5 bytes", lambda _: frame(Kind.SETTINGS, bytes(5)), Code.FRAME_SIZE_ERROR),
    Bad("RFC 8441 3: ENABLE_CONNECT_PROTOCOL of 2", lambda _: settings({Setting.ENABLE_CONNECT_PROTOCOL: 2})),
    Bad("6.6: PUSH_PROMISE", lambda number: push_promise(number, 2, block((":method", "GET")))),
    Bad("6.7: PING of 7 bytes", lambda _: frame(Kind.PING, bytes(7)), Code.FRAME_SIZE_ERROR),
    Bad("6.9: an increment of 0", lambda _: window_update(0, 0)),
    Bad("6.9.1: the window above 2^31-1", lambda _: window_update(0, 2**31 - 1) * 2, Code.FLOW_CONTROL_ERROR),
    Bad("6.10: CONTINUATION without HEADERS", lambda number: continuation(number, b"")),
    Bad("4.3: a block that is interrupted", lambda number: headers(number, answer(), whole=False) + settings()),
    Bad("4.2: a frame longer than allowed", lambda _: frame(Kind.UNKNOWN, bytes(16385)), Code.FRAME_SIZE_ERROR),
    Bad("RFC 7541 6.1: index 0", lambda number: headers(number, indexed(0)), Code.COMPRESSION_ERROR),
    Bad("RFC 7541 5.2: a string too long", lambda number: headers(number, b"\x00\x05x"), Code.COMPRESSION_ERROR),
    Bad(
        "RFC 7541 4.3: a table size above ours",
        lambda number: headers(number, b"\x3f\xe1\x7f" + answer()),
        Code.COMPRESSION_ERROR,
    ),
)

# Odd, and served: status, body.
ODD: Final[dict[str, tuple[Callable[[int], bytes], int, bytes]]] = {
    "indexing": (
        lambda n: headers(n, indexed(8) + literal(b"x-a", b"1", first=0x40)) + data(n, b"x", end=True),
        200,
        b"x",
    ),
    "padding everywhere": (
        lambda n: headers(n, answer(), pad=99, priority=(0, 5)) + data(n, b"x", pad=7) + data(n, pad=0, end=True),
        200,
        b"x",
    ),
    "a head in pieces": (
        lambda n: headers(n, answer()[:3], whole=False) + continuation(n, answer()[3:]) + data(n, b"x", end=True),
        200,
        b"x",
    ),
    "unknown frames and flags": (
        lambda n: (
            frame(Kind.UNKNOWN, b"x", stream=n)
            + frame(Kind.HEADERS, answer(), flags=END_HEADERS | 0xC2, stream=n)
            + frame(Kind.UNKNOWN, b"x", flags=0xFF)
            + data(n, b"x", end=True)
        ),
        200,
        b"x",
    ),
    "a status of its own": (lambda n: headers(n, answer(599), end=True), 599, b""),
    "a length of 0": (lambda n: headers(n, answer(200, ("content-length", "0"))) + data(n, end=True), 200, b""),
    "an empty body": (lambda n: headers(n, answer()) + data(n) + data(n, end=True), 200, b""),
    "trailers alone": (lambda n: headers(n, answer()) + headers(n, block(("x-a", "1")), end=True), 200, b""),
}
