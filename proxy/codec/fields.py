"""Field names, and the few that mean something to a proxy.

A head costs one dictionary access per field: `FieldKinds` maps a name, as it was spelled, to its kind. Names that mean
nothing to us are `ORDINARY`, which is 0, so that the loop over a head tests a plain truth value. A spelling that was
not met before is checked against the token grammar once and remembered; how many are remembered is bounded, since
names come from strangers.

Most lines of most heads were in the head before (User-Agent, Accept, Server). `FieldKinds.lines` maps whole lines, met
and found good, to their kind, which saves taking them apart. Only lines whose name tends to repeat its value get in.
`FieldKinds.representations` is the same for HTTP/2: what stands in a field block, to the line that it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from proxy.errors import ProtocolError, Reason

# RFC 9110 section 5.6.2: token = 1*tchar
TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

ORDINARY: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
# Removed without being looked at: `Keep-Alive`, `Proxy-Connection` (RFC 9110 section 7.6.1) and `HTTP2-Settings`
# (RFC 9113 section 3.1: upgrading to h2c is never offered on, because all later streams would share one decision).
HOP_BY_HOP: Final = 5
UPGRADE: Final = 6
TE: Final = 7
BAGGAGE: Final = 8
TRACESTATE: Final = 9
HOP_MARK: Final = 10
KEY: Final = 11
DECISION: Final = 12
# Ordinary, and the same line is likely to come again.
REPEATING: Final = 13
# In HTTP/2 alone. Its pseudo-header fields (RFC 9113 section 8.3), and what gRPC wants to be looked at.
PSEUDO_METHOD: Final = 14
PSEUDO_SCHEME: Final = 15
PSEUDO_AUTHORITY: Final = 16
PSEUDO_PATH: Final = 17
PSEUDO_PROTOCOL: Final = 18
PSEUDO_STATUS: Final = 19
CONTENT_TYPE: Final = 20
GRPC_STATUS: Final = 21
COOKIE: Final = 22

_FRAMING: Final = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"http2-settings": HOP_BY_HOP,
    b"upgrade": UPGRADE,
    b"te": TE,
}
_REQUEST: Final = {
    **_FRAMING,
    b"baggage": BAGGAGE,
    b"tracestate": TRACESTATE,
    b"pointsman-hop": HOP_MARK,
}
_RESPONSE: Final = {name: kind for name, kind in _FRAMING.items() if kind is not HOST}

_HTTP2: Final = {
    b"content-type": CONTENT_TYPE,
    b"grpc-status": GRPC_STATUS,
    b"grpc-encoding": REPEATING,
    b"grpc-accept-encoding": REPEATING,
}
_HTTP2_REQUEST: Final = {
    **_REQUEST,
    **_HTTP2,
    b":method": PSEUDO_METHOD,
    b":scheme": PSEUDO_SCHEME,
    b":authority": PSEUDO_AUTHORITY,
    b":path": PSEUDO_PATH,
    b":protocol": PSEUDO_PROTOCOL,
    b"cookie": COOKIE,
}
_HTTP2_RESPONSE: Final = {**_RESPONSE, **_HTTP2, b":status": PSEUDO_STATUS}

# RFC 9110 section 6.5.1: a trailer must not change framing, routing or the target; such fields are dropped.
_NEVER_TRAILERS: Final = frozenset({*_REQUEST, b"trailer", b"content-encoding", b"content-type", b"content-range"})

_REPEATING: Final = (
    b"accept accept-encoding accept-language accept-ranges access-control-allow-origin alt-svc cache-control"
    b" content-encoding content-security-policy content-type date dnt origin pragma referer sec-ch-ua sec-fetch-dest"
    b" sec-fetch-mode sec-fetch-site server strict-transport-security user-agent vary x-content-type-options"
    b" x-frame-options x-powered-by"
).split()

_REMEMBERED_AT_MOST: Final = 2048
_LINES_AT_MOST: Final = 1024
LINE_BYTES_AT_MOST: Final = 256

# Kinds whose lines `remember_representation` takes, as bits.
_REMEMBERED: Final = sum(
    1 << kind for kind in (HOST, CONTENT_LENGTH, TE, *range(REPEATING, GRPC_STATUS + 1))
)  # not COOKIE: one per user

MAX_LENGTH: Final = 2**63 - 1  # of a body, in bytes
_MAX_DIGITS: Final = 19


def content_length(text: bytes) -> int:
    """The length that a Content-Length says: digits only; `int` alone takes `+5` and `1_0`.

    Spec: RFC 9110 section 8.6. Raises: ValueError.
    """
    if not text.isdigit() or len(text) > _MAX_DIGITS:  # of bytes, isdigit knows ASCII alone
        raise ValueError(f"a Content-Length that is no number: {text[:40]!r}")
    length = int(text)
    if length > MAX_LENGTH:
        raise ValueError("a Content-Length over 2^63-1")
    return length


class FieldLine:
    """One field of HTTP/2. Shared between heads, so never changed."""

    __slots__ = ("kind", "name", "raw", "value")

    def __init__(self, raw: bytes, name: bytes, value: bytes, kind: int) -> None:
        self.raw = raw  # its representation; refers to no dynamic table, so it may be sent on any connection
        self.name = name
        self.value = value
        self.kind = kind


class FieldKinds(dict[bytes, int]):
    """Kind by name as spelled; one access, no allocation for names met before.

    `lowercase`: names are as HTTP/2 spells them (RFC 9113 section 8.2.1), any other is refused.
    """

    __slots__ = ("_kinds", "_lowercase", "_reason", "lines", "representations")

    def __init__(self, kinds: dict[bytes, int], reason: Reason, *, lowercase: bool = False) -> None:
        kinds = {**dict.fromkeys(_REPEATING, REPEATING), **kinds}
        super().__init__(kinds)
        self._kinds = kinds
        self._reason = reason
        self._lowercase = lowercase
        self.lines: dict[bytes, int] = {}
        self.representations: dict[bytes, FieldLine] = {}
        if not lowercase:
            for name, kind in kinds.items():
                self[b"-".join(part.capitalize() for part in name.split(b"-"))] = kind

    def __missing__(self, name: bytes) -> int:
        if not TOKEN.fullmatch(name):
            raise ProtocolError(self._reason, f"a field name that is no token: {name[:40]!r}")
        if self._lowercase and name != name.lower():
            raise ProtocolError(self._reason, f"a field name with capitals: {name[:40]!r}")
        kind = self._kinds.get(name.lower(), ORDINARY)
        if len(self) < _REMEMBERED_AT_MOST:
            self[name] = kind
        return kind

    def remember(self, line: bytes, kind: int) -> None:
        """This line is good and of this kind. Its head must have been free of control characters."""
        if len(line) <= LINE_BYTES_AT_MOST:
            if len(self.lines) >= _LINES_AT_MOST:
                self.lines.clear()
            self.lines[line] = kind

    def remember_representation(self, line: FieldLine, kind: int) -> None:
        """This line is good and its name of this kind; kept if such lines tend to come again."""
        if _REMEMBERED >> kind & 1 and len(line.raw) <= LINE_BYTES_AT_MOST:
            if len(self.representations) >= _LINES_AT_MOST:
                self.representations.clear()
            self.representations[line.raw] = line


def request_kinds(reason: Reason, key_headers: Iterable[bytes] = ()) -> FieldKinds:
    """The kinds of a request's fields; `key_headers` are lowercase names of plain headers that may hold the key."""
    return FieldKinds({**_REQUEST, **dict.fromkeys(key_headers, KEY)}, reason)


def response_kinds(reason: Reason, *, replace_decision: bool = False) -> FieldKinds:
    """The kinds of a response's fields; `replace_decision`: an upstream's own `pointsman-decision` is taken out."""
    kinds = {**_RESPONSE, b"pointsman-decision": DECISION} if replace_decision else dict(_RESPONSE)
    return FieldKinds(kinds, reason)


def http2_request_kinds(reason: Reason, key_headers: Iterable[bytes] = ()) -> FieldKinds:
    """`request_kinds` for HTTP/2."""
    return FieldKinds({**_HTTP2_REQUEST, **dict.fromkeys(key_headers, KEY)}, reason, lowercase=True)


def http2_response_kinds(reason: Reason, *, replace_decision: bool = False) -> FieldKinds:
    """`response_kinds` for HTTP/2."""
    kinds = {**_HTTP2_RESPONSE, b"pointsman-decision": DECISION} if replace_decision else dict(_HTTP2_RESPONSE)
    return FieldKinds(kinds, reason, lowercase=True)


def is_dropped_trailer(name: bytes, kinds: FieldKinds) -> bool:
    """Whether a trailer of this (checked) name is dropped: framing, routing, host, and the configured key headers."""
    return kinds[name] not in (ORDINARY, REPEATING, GRPC_STATUS, COOKIE) or name.lower() in _NEVER_TRAILERS
