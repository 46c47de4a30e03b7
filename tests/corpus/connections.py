"""What goes over one HTTP/1.1 connection: several messages, or one that waits for the other side. Numbers are
CHECKLIST's; RFC 9112 and 9110 by section.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.corpus.http1 import CHUNKED as CHUNKED
from tests.corpus.http1 import HELLO, HOST, POST, REQUESTS, SMUGGLED


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Requests in one go, as they stand on the wire. `targets`: of those to answer, in order; `!` is a fault."""

    data: bytes
    targets: list[bytes]
    proves: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request whose body waits for a word of the other side."""

    head: bytes
    body: bytes
    proves: str


def _get(target: bytes, *lines: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _put(target: bytes, body: bytes) -> bytes:
    return b"PUT " + target + b" HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body


_LAST = _get(b"/last", b"Connection: close")

PIPELINES = {
    name: Pipeline(data, targets, proves)
    for name, (data, targets, proves) in {
        "three": (
            _get(b"/1") + _get(b"/2") + _LAST,
            [b"/1", b"/2", b"/last"],
            "A16: answered in the order in which they came (9112 9.3.2).",
        ),
        "many": (
            b"".join(_get(b"/%d" % number) for number in range(50)) + _LAST,
            [b"/%d" % number for number in range(50)] + [b"/last"],
            "A16: however many wait.",
        ),
        "bodies between": (
            _put(b"/1", b"hello")
            + b"PUT /2 HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + HELLO
            + _LAST,
            [b"/1", b"/2", b"/last"],
            "A16: each body ends where it says, the next request begins there.",
        ),
        "empty lines between": (
            _get(b"/1") + b"\r\n" + _get(b"/2") + b"\r\n\r\n" + _LAST,
            [b"/1", b"/2", b"/last"],
            "A16: old clients send a CRLF too many behind a body (9112 2.2).",
        ),
        "an invalid second": (
            _get(b"/1") + REQUESTS["a blank before the colon"].data + SMUGGLED,
            [b"/1", b"!"],
            "A16: it does not lose the first response, and what follows it is no request.",
        ),
        "an invalid third behind a body": (
            _get(b"/1") + _put(b"/2", SMUGGLED) + REQUESTS["CL.TE with a request"].data + SMUGGLED,
            [b"/1", b"/2", b"!"],
            "A16: a body is no request, nor is what stands behind a fault.",
        ),
        "garbage": (_get(b"/1") + b"\x00\x01" + SMUGGLED, [b"/1", b"!"], "A16: bytes that are no HTTP are a fault."),
        "behind close": (
            _LAST + SMUGGLED,
            [b"/last"],
            "A16: behind a request that says close there is none (9112 9.6).",
        ),
        "behind HTTP/1.0": (
            b"GET /1 HTTP/1.0\r\n" + HOST + b"\r\n" + SMUGGLED,
            [b"/1"],
            "A16: nor behind one of HTTP/1.0 that does not ask to keep the connection (9112 9.3).",
        ),
    }.items()
}

WAITING = {
    name: Waiting(head, body, proves)
    for name, (head, body, proves) in {
        "with a length": (
            POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            b"hello",
            "A17: the body comes when 100 has come (9110 10.1.1).",
        ),
        "chunked": (
            POST + b"expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
            HELLO,
            "A17: names and this value know no case.",
        ),
    }.items()
}
