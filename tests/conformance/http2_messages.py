"""Requests that are malformed by RFC 9113 section 8, ones that are odd and served, and ones that are answered by us."""

from __future__ import annotations

from typing import Final

from tests.conformance.http2_row import Row, answered, stream
from tests.support.http2 import Code, block, data, get, head, headers, in_frames, post

PROTOCOL: Final = Code.PROTOCOL_ERROR

Field = tuple[str | bytes, str | bytes]

METHOD: Final[Field] = (":method", "GET")
SCHEME: Final[Field] = (":scheme", "http")
AUTHORITY: Final[Field] = (":authority", "location")
PATH: Final[Field] = (":path", "/")


def bad(name: str, *fields: Field) -> Row:
    """Exactly these fields, and no body."""
    return stream(name, PROTOCOL, headers(5, block(*fields), end=True))


def bad_field(name: str, *more: Field) -> Row:
    """A good request, and these."""
    return bad(name, METHOD, SCHEME, AUTHORITY, PATH, *more)


def bad_path(name: str, path: str | bytes, method: str = "GET") -> Row:
    return bad(name, (":method", method), SCHEME, AUTHORITY, (":path", path))


def bad_authority(name: str, authority: str | bytes) -> Row:
    return bad(name, METHOD, SCHEME, (":authority", authority), PATH)


def odd(name: str, *more: Field) -> Row:
    return answered(name, 200, headers(5, block(METHOD, SCHEME, AUTHORITY, PATH, *more), end=True))


# Nothing of these goes upstream.
MALFORMED: Final[tuple[Row, ...]] = (
    # --- 8.2.1: names and values ---
    bad_field("8.2.1: an uppercase name", ("X-Name", "1")),
    bad_field("8.2.1: one uppercase letter", ("x-namE", "1")),
    bad_field("8.2.1: an empty name", ("", "1")),
    *(
        bad_field(f"8.2.1: {what} in a name", (b"x-a" + byte + b"b", "1"))
        for what, byte in {
            "a blank": b" ",
            "a NUL": b"\0",
            "a CR": b"\r",
            "a LF": b"\n",
            "a line": b": 1\r\nx-b",
            "a colon": b":",
            "a tab": b"\t",
            "a DEL": b"\x7f",
            "an 8-bit byte": b"\x80",
            "a slash": b"/",
            "a quote": b'"',
        }.items()
    ),
    bad_field("8.2.1: a NUL in a value", ("x-a", "b\0c")),
    bad_field("8.2.1: a CR in a value", ("x-a", "b\rc")),
    bad_field("8.2.1: a LF in a value", ("x-a", "b\nc")),
    bad_field("8.2.1: a line in a value", ("x-a", "b\r\nx-b: c")),
    bad_field("8.2.1: a request in a value", ("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
    bad_field("8.2.1: a blank before a value", ("x-a", " b")),
    bad_field("8.2.1: a tab before a value", ("x-a", "\tb")),
    bad_field("8.2.1: a blank behind a value", ("x-a", "b ")),
    bad_field("8.2.1: a tab behind a value", ("x-a", "b\t")),
    # --- 8.2.2: fields of one connection ---
    bad_field("8.2.2: connection", ("connection", "close")),
    bad_field("8.2.2: connection that names a field", ("connection", "x-a"), ("x-a", "1")),
    bad_field("8.2.2: proxy-connection", ("proxy-connection", "keep-alive")),
    bad_field("8.2.2: keep-alive", ("keep-alive", "timeout=5")),
    bad_field("8.2.2: transfer-encoding", ("transfer-encoding", "chunked")),
    bad_field("8.2.2: transfer-encoding identity", ("transfer-encoding", "identity")),
    bad_field("8.2.2: upgrade", ("upgrade", "websocket")),
    bad_field("8.2.2: te other than trailers", ("te", "gzip")),
    bad_field("8.2.2: te with more than trailers", ("te", "trailers, deflate")),
    # --- 8.3: pseudo-fields ---
    bad("8.3: a pseudo-field behind a field", METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH),
    bad("8.3: an unknown pseudo-field", METHOD, SCHEME, AUTHORITY, PATH, (":foo", "1")),
    bad("8.3: nothing but a colon", METHOD, SCHEME, AUTHORITY, PATH, (":", "1")),
    bad("8.3: a pseudo-field of responses", METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")),
    bad("8.3: an uppercase pseudo-field", METHOD, SCHEME, AUTHORITY, (":PATH", "/")),
    bad("8.3: :method twice", METHOD, METHOD, SCHEME, AUTHORITY, PATH),
    bad("8.3: :scheme twice", METHOD, SCHEME, SCHEME, AUTHORITY, PATH),
    bad("8.3: :authority twice", METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH),
    bad("8.3: :path twice", METHOD, SCHEME, AUTHORITY, PATH, (":path", "/smuggled")),
    bad("8.3.1: no :method", SCHEME, AUTHORITY, PATH),
    bad("8.3.1: no :scheme", METHOD, AUTHORITY, PATH),
    bad("8.3.1: no :path", METHOD, SCHEME, AUTHORITY),
    bad("8.3.1: nothing at all"),
    bad("8.3.1: neither :authority nor host", METHOD, SCHEME, PATH),
    bad("8.3.1: an empty :method", (":method", ""), SCHEME, AUTHORITY, PATH),
    bad("8.3.1: a blank in :method", (":method", "GET /"), SCHEME, AUTHORITY, PATH),
    bad("8.3.1: a request in :method", (":method", "GET /smuggled HTTP/1.1\r\nx: "), SCHEME, AUTHORITY, PATH),
    bad("8.3.1: an empty :scheme", METHOD, (":scheme", ""), AUTHORITY, PATH),
    bad("8.3.1: a :scheme that is none", METHOD, (":scheme", "ht tp"), AUTHORITY, PATH),
    bad_path("8.3.1: an empty :path", ""),
    bad_path("8.3.1: a blank in :path", "/a b"),
    bad_path("8.3.1: a version in :path", "/ HTTP/1.1"),
    bad_path("8.3.1: a request in :path", "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"),
    bad_path("8.3.1: a NUL in :path", "/a\0"),
    bad_path("8.3.1: a tab in :path", "/a\tb"),
    bad_path("8.3.1: a LF in :path", "/a\nb"),
    bad_path("8.3.1: :path without its slash", "a"),
    bad_path("8.3.1: a :path that is a URL", "http://location/"),
    bad_path("8.3.1: an asterisk without OPTIONS", "*"),
    bad_path("8.3.1: OPTIONS with no path", "", "OPTIONS"),
    bad_authority("8.3.1: user information in :authority", "user@location"),
    bad_authority("8.3.1: a password in :authority", "user:secret@location"),
    bad_authority("8.3.1: a path in :authority", "location/a"),
    bad_authority("8.3.1: a blank in :authority", "loca tion"),
    bad_authority("8.3.1: a line in :authority", "location\r\nx-a: 1"),
    bad_authority("8.3.1: an empty :authority", ""),
    bad_field("8.3.1: a host other than :authority", ("host", "other")),
    bad_field("8.3.1: host twice", ("host", "location"), ("host", "location")),
    bad("8.3.1: two hosts and no :authority", METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")),
    bad("8.3.1: a host with user information", METHOD, SCHEME, PATH, ("host", "user@location")),
    # --- 8.1.1: lengths that are wrong from the beginning ---
    bad_field("8.1.1: a length and no body", ("content-length", "5")),
    *(
        bad_field(f"8.1.1: a length of {length!r}", ("content-length", length))
        for length in ("+0", "-0", "0x0", "0_0", "", "0, 0", "0 0", "9" * 30)
    ),
    bad_field("8.1.1: two lengths", ("content-length", "0"), ("content-length", "1")),
    bad_field("8.1.1: the same length twice", ("content-length", "0"), ("content-length", "0")),
    # --- 8.5 and RFC 8441: CONNECT ---
    bad("8.5: CONNECT without :authority", (":method", "CONNECT")),
    bad_field("RFC 8441 4: :protocol without CONNECT", (":protocol", "websocket")),
    bad(
        "RFC 8441 4: :protocol without :path",
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        SCHEME,
        AUTHORITY,
    ),
    bad("RFC 8441 4: :protocol without :scheme", (":method", "CONNECT"), (":protocol", "websocket"), AUTHORITY, PATH),
    bad(
        "RFC 8441 4: :protocol twice",
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":protocol", "websocket"),
        SCHEME,
        AUTHORITY,
        PATH,
    ),
)

# Their head is good and goes upstream: there the stream is reset, and no origin takes it for whole.
LATE: Final[tuple[Row, ...]] = (
    stream("8.1: trailers without END_STREAM", PROTOCOL, post(5), data(5, b"x"), headers(5, block(("x-a", "1")))),
    stream("8.1: a second head", PROTOCOL, post(5), data(5, b"x"), headers(5, head("/smuggled"))),
    stream("8.1: pseudo-fields in trailers", PROTOCOL, post(5), headers(5, block(PATH), end=True)),
    stream("8.1: a whole head as trailers", PROTOCOL, post(5), headers(5, head("/smuggled"), end=True)),
    stream("8.2.1: an uppercase name in trailers", PROTOCOL, post(5), headers(5, block(("X-A", "1")), end=True)),
    stream("8.2.1: a line in trailers", PROTOCOL, post(5), headers(5, block(("x-a", "1\r\nx-b: 2")), end=True)),
    stream(
        "8.2.2: transfer-encoding in trailers",
        PROTOCOL,
        post(5),
        headers(5, block(("transfer-encoding", "chunked")), end=True),
    ),
    stream("8.2.2: connection in trailers", PROTOCOL, post(5), headers(5, block(("connection", "close")), end=True)),
    stream(
        "8.1.1: a body shorter than its length",
        PROTOCOL,
        post(5, "/", ("content-length", "5")),
        data(5, b"1234", end=True),
    ),
    stream(
        "8.1.1: a body longer than its length",
        PROTOCOL,
        post(5, "/", ("content-length", "5")),
        data(5, b"123456", end=True),
    ),
    stream(
        "8.1.1: a body that outgrows its length without an end",
        PROTOCOL,
        post(5, "/", ("content-length", "5")),
        data(5, b"12345"),
        data(5, b"6"),
    ),
    stream(
        "8.1.1: trailers before the length is reached",
        PROTOCOL,
        post(5, "/", ("content-length", "5")),
        data(5, b"1234"),
        headers(5, block(("x-a", "1")), end=True),
    ),
    stream(
        "8.1.1: a request behind a body",
        PROTOCOL,
        post(5, "/", ("content-length", "1")),
        data(5, b"x" + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", end=True),
    ),
)

# Odd, well-formed, and forwarded.
SERVED: Final[tuple[Row, ...]] = (
    odd("8.2.1: an empty value", ("x-a", "")),
    odd("8.2.1: an 8-bit value", ("x-a", b"\x80\xff\x85\xa0")),
    odd("8.2.1: every character of a token", ("!#$%&'*+-.^_`|~09az", "1")),
    odd("8.2.2: te: trailers", ("te", "trailers")),
    odd("8.3.1: a host like :authority", ("host", "location")),
    odd("8.3.1: a length of 0", ("content-length", "0")),
    answered(
        "8.3: pseudo-fields in another order",
        200,
        headers(5, block(PATH, AUTHORITY, SCHEME, METHOD), end=True),
    ),
    answered(
        "8.3.1: host and no :authority", 200, headers(5, block(METHOD, SCHEME, PATH, ("host", "location")), end=True)
    ),
    answered("8.3.1: an asterisk with OPTIONS", 200, get(5, "*", method="OPTIONS")),
    answered(
        "8.3.1: a scheme of https", 200, headers(5, block(METHOD, (":scheme", "https"), AUTHORITY, PATH), end=True)
    ),
    answered("8.1: a body that ends in an empty frame", 200, post(5), data(5, b"x"), data(5, end=True)),
    answered("8.1: trailers", 200, post(5), data(5, b"x"), headers(5, block(("x-a", "1")), end=True)),
    answered("8.1: trailers without a field", 200, post(5), data(5, b"x"), headers(5, b"", end=True)),
    answered("8.1: trailers and no body", 200, post(5), headers(5, block(("x-a", "1")), end=True)),
    answered(
        "8.1.1: a length that is right", 200, post(5, "/", ("content-length", "3")), data(5, b"abc", end=True, pad=9)
    ),
)

# Well-formed, and not for us: our own answers.
ANSWERED: Final[tuple[Row, ...]] = (
    answered("8.5: CONNECT", 405, headers(5, block((":method", "CONNECT"), (":authority", "location:80")), end=True)),
    answered(
        "8.5: CONNECT with bytes for a tunnel",
        405,
        headers(5, block((":method", "CONNECT"), (":authority", "a:80"))),
        data(5, b"GET /smuggled HTTP/1.1\r\n\r\n"),
    ),
    answered("10.5.1: 200 fields", 431, get(5, "/", *((f"x-{number}", "1") for number in range(200)))),
    answered("10.5.1: a value of 100 KB", 431, in_frames(5, head("/", ("x-a", "a" * 100_000)), end=True)),
    answered(
        "10.5.1: 100 KB of values", 431, in_frames(5, head("/", *((f"x-{n}", "a" * 2000) for n in range(50))), end=True)
    ),
)
