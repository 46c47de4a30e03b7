"""Response heads and bodies: each case whole, byte by byte, with bytes behind it. CHECKLIST B's lines by number."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_CLOSE, End, ResponseHead
from proxy.codec.fields import response_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.response import ResponseReader
from proxy.errors import ProtocolError


@dataclass
class Message:
    heads: list[ResponseHead] = field(default_factory=list)
    body: bytes = b""
    trailers: list[bytes] = field(default_factory=list)
    behind: bytes = b""
    is_done: bool = False

    @property
    def final(self) -> ResponseHead:
        return self.heads[-1]


def read(data: bytes, method: bytes = b"GET", step: int | None = None, *, eof: bool = False) -> Message:
    reader = ResponseReader(response_kinds(errors.UPSTREAM_INVALID, replace_decision=True), HeadLimits())
    reader.expect(method)
    message = Message()
    step = step or len(data)
    pieces = [data[index : index + step] for index in range(0, len(data), step)]
    while pieces and not reader.is_done:
        reader.receive(pieces.pop(0))
        if eof and not pieces:
            reader.eof = True
        while not reader.is_done and (event := reader.next_event()) is not None:
            if isinstance(event, ResponseHead):
                message.heads.append(event)
            elif isinstance(event, bytes):
                message.body += event
            else:
                assert isinstance(event, End)
                message.trailers = event.trailers
    message.is_done = reader.is_done
    message.behind = reader.take_rest() + b"".join(pieces)
    return message


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"
TE = b"Transfer-Encoding: chunked\r\n"

GOOD = {
    "a length": (OK + LENGTH + b"\r\nhello", b"GET", 5, b"hello"),
    "chunks": (OK + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n", b"GET", CHUNKED, b"hello"),
    "HEAD with a length": (OK + LENGTH + b"\r\n", b"HEAD", NO_BODY, b""),
    "HEAD, chunked": (OK + TE + b"\r\n", b"HEAD", NO_BODY, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\n" + LENGTH + b"\r\n", b"GET", NO_BODY, b""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", NO_BODY, b""),
    "B23 204 with a length": (b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n", b"GET", NO_BODY, b""),
    "no reason phrase": (b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\nhello", b"GET", 5, b"hello"),
    "no blank behind the code": (b"HTTP/1.1 200\r\n" + LENGTH + b"\r\nhello", b"GET", 5, b"hello"),
    "an unusual code": (b"HTTP/1.1 599 Odd \xe9\r\n" + LENGTH + b"\r\nhello", b"GET", 5, b"hello"),
    "length 0": (OK + b"Content-Length: 0\r\n\r\n", b"GET", 0, b""),
}


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("behind", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("name", GOOD)
def test_good(name: str, behind: bytes, step: int | None) -> None:
    """B22: what stands behind a response is left where it is."""
    data, method, body, content = GOOD[name]
    message = read(data + behind, method, step)
    assert (message.final.body, message.body, message.behind) == (body, content, behind)
    assert message.is_done


@pytest.mark.parametrize("step", [None, 1])
def test_until_close(step: int | None) -> None:
    """B24."""
    message = read(OK + b"\r\nhello", b"GET", step, eof=True)
    assert (message.final.body, message.body, message.is_done) == (UNTIL_CLOSE, b"hello", True)
    assert not message.final.keep_alive
    assert not read(OK + b"\r\nhello").is_done


@pytest.mark.parametrize("step", [None, 1])
def test_interim_heads_come_before_the_final_one(step: int | None) -> None:
    """B24: 103, then 200."""
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + LENGTH + b"\r\nhello"
    message = read(data, b"GET", step)
    assert [head.status for head in message.heads] == [100, 103, 200]
    assert message.heads[1].lines == [b"HTTP/1.1 103 Early Hints", b"Link: </a>"]
    assert message.body == b"hello"


BAD = {
    "B20 garbage": b"hello world, this is no status line\r\n\r\n",
    "B20 garbage that does not end": b"\x00\x01\x02",
    "B20 no code": b"HTTP/1.1 OK\r\n\r\n",
    "B20 HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "B20 an empty line first": b"\r\n" + OK + b"\r\n",
    "B20 lower case": b"http/1.1 200 OK\r\n\r\n",
    "B20 a code of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "B20 a code of 099": b"HTTP/1.1 099 OK\r\n\r\n",
    "B23 both lengths": OK + LENGTH + TE + b"\r\n0\r\n\r\n",
    "B23 two lengths": OK + LENGTH + b"Content-Length: 6\r\n\r\nhello",
    "B23 twice the same length": OK + LENGTH + LENGTH + b"\r\nhello",
    "B23 a length that is a list": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "B23 NUL in a field": OK + b"X: a\x00b\r\n" + LENGTH + b"\r\nhello",
    "B23 bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "B23 a head of 200 KB": OK + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "101 fields": OK + b"X: a\r\n" * 101 + b"\r\n",
    "obs-fold": OK + b"X: a\r\n b\r\n" + LENGTH + b"\r\nhello",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": OK + TE + TE + b"\r\n0\r\n\r\n",
    "a blank before a colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "no colon": OK + b"X\r\n" + LENGTH + b"\r\nhello",
    "no colon, a known name": OK + b"Content-Length\r\n\r\nhello",
    "a bad chunk": OK + TE + b"\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a chunk that spills": OK + TE + b"\r\n5\r\nhello!\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("name", BAD)
def test_bad(name: str, step: int | None) -> None:
    if step and len(BAD[name]) > 20_000:
        step = 509
    with pytest.raises(ProtocolError) as caught:
        read(BAD[name], step=step)
    assert caught.value.reason.status == 502


@pytest.mark.parametrize(
    "data", [OK + LENGTH + b"\r\nhel", OK + TE + b"\r\n5\r\nhel", OK + TE + b"\r\n5\r\nhello\r\n", OK + TE + b"\r\n"]
)
def test_cut_bodies(data: bytes) -> None:
    """B21: a response that breaks off is never complete."""
    with pytest.raises(ProtocolError):
        read(data, eof=True)


@pytest.mark.parametrize(
    ("start", "fields", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", b"", True),
        (b"HTTP/1.1 200 OK", b"Connection: close\r\n", False),
        (b"HTTP/1.1 200 OK", b"Connection: Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK", b"", False),
        (b"HTTP/1.0 200 OK", b"Connection: keep-alive\r\n", True),
    ],
)
def test_keep_alive(start: bytes, fields: bytes, keep_alive: bool) -> None:
    head = read(start + b"\r\n" + fields + LENGTH + b"\r\nhello").final
    assert head.keep_alive is keep_alive
    assert head.lines == [b"HTTP/1.1 200 OK", b"Content-Length: 5"]


def test_fields_travel_as_they_came() -> None:
    kept = [b"SERVER: x", b"set-cookie: a=1", b"Set-Cookie: b=2", b"X-Odd:\t y ", b"Content-Length: 5"]
    gone = [b"Connection: x-gone", b"X-Gone: 1", b"Keep-Alive: timeout=5", b"Pointsman-Decision: baseline"]
    assert read(OK + b"\r\n".join(kept + gone) + b"\r\n\r\nhello").final.lines[1:] == kept


def test_204_is_passed_on_without_framing() -> None:
    """RFC 9110 section 8.6: a reader that believed either field would wait for a body."""
    for framing in (LENGTH, TE):
        assert read(b"HTTP/1.1 204 No Content\r\n" + framing + b"X: 1\r\n\r\n").final.lines[1:] == [b"X: 1"]
