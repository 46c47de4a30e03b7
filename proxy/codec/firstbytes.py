"""What a client speaks, by the first bytes that it sends: HTTP, TLS, or something else that is none of ours.

Asked of connections that were captured (`net.captured`), which may be anything. Two errors are possible, and they weigh
differently: HTTP that is taken for something else would pass to the baseline with its routing key unread, a false
green; something else that is taken for HTTP breaks. So HTTP is whatever can be nothing else in practice:

- a method of RFC 9110 (or PATCH), a space and a `/`: at once, since nobody else begins so;
- any other request line as far as `HTTP/1.`: methods are anybody's choice (`PROPFIND`), and so many protocols of lines
  begin with a word and a space (memcached, SIP, RTSP, IRC, SSH's banner);
- the first line of HTTP/2's preface (RFC 9113 section 3.4).

What comes behind that is the HTTP reader's to refuse. TLS is a record of the type handshake, version 3.x (RFC 8446
section 5.1). All else is no HTTP from the first byte on that its grammar does not allow, and most binary protocols are
so at their first or second one.

A verdict never changes when more bytes come, so it does not depend on how they were cut into pieces.
"""

from __future__ import annotations

import re
from typing import Final

# Verdicts.
UNDECIDED: Final = 0
HTTP: Final = 1
TLS: Final = 2
OTHER: Final = 3

_METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE")
_PREFACE_LINE: Final = b"PRI * HTTP/2.0\r\n"

# request-line, as `h1.request` reads it; empty lines before it are ignored (RFC 9112 section 2.2). The longest method
# that is registered has 17 characters.
_START: Final = rb"(?:\r\n)*"
_METHOD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}"
_TARGET: Final = rb"[\x21\x22\x24-\x7e]+"
_HTTP1: Final = re.compile(
    _START + rb"(?:(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE) /|" + _METHOD + b" " + _TARGET + rb" HTTP/1\.)"
)
_BEGUN: Final = re.compile(
    _START + rb"(?:\r|" + _METHOD + b"(?: (?:" + _TARGET + b"(?: (?:H(?:T(?:T(?:P(?:/1?)?)?)?)?)?)?)?)?)?"
)
# A request line that is longer and has nothing wrong so far is HTTP: more need not be kept.
MAX_UNDECIDED: Final = 8192


def first_bytes(data: bytes) -> int:
    """The verdict on what has come so far, at least one byte. Cost: under 1 us, save for long lines."""
    first = data[0]
    if first == 0x16:
        if len(data) < 3:
            return UNDECIDED if b"\x16\x03".startswith(data) else OTHER
        return TLS if data[1] == 3 and data[2] <= 4 else OTHER
    if _HTTP1.match(data) is not None or data.startswith(_PREFACE_LINE):
        return HTTP
    if _BEGUN.fullmatch(data) is not None or _PREFACE_LINE.startswith(data):
        return UNDECIDED if len(data) <= MAX_UNDECIDED else HTTP
    return OTHER


def is_http_begun(data: bytes) -> bool:
    """Whether undecided bytes that are followed by a pause are most likely the beginning of a request.

    Methods that everybody uses are; any other word may as well be a whole message (ZooKeeper's `ruok`).
    """
    data = data.lstrip(b"\r\n")
    if not data:
        return False
    method, space, _ = data.partition(b" ")
    if space:
        return method in _METHODS or _PREFACE_LINE.startswith(data)
    return _PREFACE_LINE.startswith(method) or any(known.startswith(method) for known in _METHODS)
