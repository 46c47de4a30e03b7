"""What a client speaks, by its first bytes: a table, run whole and byte by byte."""

from __future__ import annotations

import pytest

from proxy.codec.firstbytes import HTTP, MAX_UNDECIDED, OTHER, TLS, UNDECIDED, first_bytes, is_http_begun

HTTP_BYTES = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\n",  # HTTP/0.9, which the reader refuses
    b"DELETE /a?b HTTP/1.0\r\n\r\n",
    b"\r\n\r\nPOST /x HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://a/ HTTP/1.1\r\n",
    b"CONNECT a:443 HTTP/1.1\r\n",
    b"PROPFIND /dav HTTP/1.1\r\n",
    b"M-SEARCH * HTTP/1.1\r\n",
    b"get / HTTP/1.1\r\n",
    b"purge /x HTTP/1.1\n",  # refused by the reader for its line end
    b"BASELINE-CONTROL /x HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04",
]
TLS_BYTES = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x03\x00\x05\x01", b"\x16\x03\x00\x00\x05\x01"]
OTHER_BYTES = [
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # PostgreSQL asks for TLS
    b"\x00\x00\x00\x2b\x00\x12\x00\x04",  # Kafka
    b"\x3b\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\xd4\x07",  # MongoDB: its length is a token's character
    b"*1\r\n$4\r\nPING\r\n",  # Redis; `*` is a token's character
    b"PING\r\n",
    b"get foo\r\n",  # memcached
    b"set foo 0 0 3\r\nbar\r\n",
    b"get /foo bar\r\n",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"SSH-2.0-x\r\n",
    b"EHLO relay.example\r\n",
    b"NICK ann\r\nUSER ann 0 * :Ann\r\n",
    b"AMQP\x00\x00\x09\x01",
    b"\x10\x0c\x00\x04MQTT",
    b"<?xml version='1.0'?>",
    b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
    b"OPTIONS sip:a@b SIP/2.0\r\n",
    b"CONNECT\naccept-version:1.2\n\n\x00",  # STOMP
    b"0032git-upload-pack /p.git\x00host=a\x00",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n",  # PROXY protocol 2
    b"FOO / HTTP/2.0\r\n",
    b"PRI * HTTP/2.1\r\n",
    b"PRI / HTTP/2.0\r\n",
    b"FOO  / HTTP/1.1\r\n",
    b"FOO /#a HTTP/1.1\r\n",
    b" GET / HTTP/1.1\r\n",
    b"\nGET / HTTP/1.1\r\n",
    b"\r\rGET / HTTP/1.1\r\n",
    b"\x16\x02\x01",
    b"\x16\x03\x05",
    b"\x16GET",
    b"\x15\x03\x01",  # an alert
    b"x" * 33,
    b"\xff",
]
ROWS = [(data, want) for rows, want in ((HTTP_BYTES, HTTP), (TLS_BYTES, TLS), (OTHER_BYTES, OTHER)) for data in rows]


@pytest.mark.parametrize(("data", "want"), ROWS)
def test_verdict(data: bytes, want: int) -> None:
    """Whole, with more behind it, and whatever comes first: a verdict is not taken back."""
    assert first_bytes(data) == want
    assert first_bytes(data + b"\xff\x00GET / HTTP/1.1\r\n") == want
    verdicts = [first_bytes(data[:end]) for end in range(1, len(data) + 1)]
    decided = verdicts.index(want)
    assert verdicts == [UNDECIDED] * decided + [want] * (len(data) - decided)


@pytest.mark.parametrize(
    ("data", "decides_at"),
    [
        (b"GET / HTTP/1.1", 5),
        (b"OPTIONS * HTTP/1.1", 17),
        (b"PRI * HTTP/2.0\r\n\r\n", 16),
        (b"\x16\x03\x01\x00", 3),
        (b"\x00\x00", 1),
        (b"*1\r\n", 3),
        (b"SSH-2.0-x\r\n", 10),
    ],
)
def test_as_soon_as_it_is_certain(data: bytes, decides_at: int) -> None:
    assert first_bytes(data[: decides_at - 1]) == UNDECIDED if decides_at > 1 else True
    assert first_bytes(data[:decides_at]) != UNDECIDED


def test_a_long_request_line_is_http() -> None:
    line = b"PROPFIND /" + b"x" * MAX_UNDECIDED
    assert first_bytes(line[:MAX_UNDECIDED]) == UNDECIDED
    assert first_bytes(line[: MAX_UNDECIDED + 1]) == HTTP


@pytest.mark.parametrize(
    "data", [b"G", b"GE", b"GET", b"GET ", b"\r\nPOS", b"P", b"PRI", b"PRI * H", b"OPTIONS *", b"CONNECT a"]
)
def test_a_pause_within_http(data: bytes) -> None:
    assert first_bytes(data) == UNDECIDED
    assert is_http_begun(data)


@pytest.mark.parametrize(
    "data", [b"ruok", b"get foo", b"\r\n", b"\r", b"PROPFIND /x", b"GETX", b"PRI x", b"X", b"\x16", b"\x16\x03"]
)
def test_a_pause_within_something_else(data: bytes) -> None:
    assert first_bytes(data) == UNDECIDED
    assert not is_http_begun(data)
