"""What a codec hands on: a head, pieces of the body (plain `bytes`), the end.

Every HTTP version speaks these events, so one exchange serves all. A head whose message has no body says so itself
(`body == NO_BODY`); no further event follows it.

A head keeps its field lines as they came, in order, with duplicates, in the form of its version: HTTP/1.1's `lines` are
the start line and "Name: value" (RFC 9112 section 5), in their case; HTTP/2's `fields` are what a header block holds
(RFC 9113 section 8.2), pseudo-headers first. Hop-by-hop fields and those that `Connection` names are already out;
`Transfer-Encoding: chunked` stays in its place, because the next connection frames the body the same way. So passing a
head on to the same version is joining what it holds. `codec.translate` makes the other form where the versions differ,
and `codec.edits` what little is changed.
"""

from __future__ import annotations

from typing import Final

from proxy.codec.fields import FieldLine

# How a message's body is framed, where it is not a number of bytes.
NO_BODY: Final = 0
CHUNKED: Final = -1  # HTTP/2: no content-length
UNTIL_CLOSE: Final = -2
UNTIL_END: Final = -3  # HTTP/2 alone: a content-length of 0, while the end is still to come


class Prepared:
    """A field that is added to many heads, in both forms."""

    __slots__ = ("field", "line")

    def __init__(self, line: bytes, field: FieldLine) -> None:
        self.line = line
        self.field = field


class RequestHead:
    """A request up to its body.

    `body`: `NO_BODY`, `CHUNKED`, `UNTIL_END` or the length in bytes. `host` is the value of the one Host field or
    `:authority` (empty if an HTTP/1.0 request has none). `baggage`, `tracestate`, `hops` hold the values of all such
    lines, in order; `key_fields` pairs of lowercase name and value of the configured plain headers. `upgrade` are the
    protocols that the connection may turn to (lowercase, without HTTP's own), mostly none; in HTTP/2 the one that an
    extended CONNECT names (RFC 8441), whose `method` is CONNECT. `takes_trailers`: `TE: trailers`.
    """

    __slots__ = (
        "baggage",
        "body",
        "fields",
        "hops",
        "host",
        "http10",
        "is_grpc",
        "is_http2",
        "keep_alive",
        "key_fields",
        "lines",
        "method",
        "takes_trailers",
        "target",
        "tracestate",
        "upgrade",
        "websocket_key",
    )

    def __init__(
        self, method: bytes, target: bytes, lines: list[bytes], http10: bool, fields: list[FieldLine] | None = None
    ) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.fields: list[FieldLine] = fields if fields is not None else _NO_FIELDS
        self.is_http2 = fields is not None
        self.is_grpc = False
        self.http10 = http10
        self.keep_alive = not http10
        self.takes_trailers = False
        self.body = NO_BODY
        self.host = b""
        self.websocket_key = b""  # of an extended CONNECT that goes on as an upgrade: the key that was made for it
        self.baggage: list[bytes] | tuple[()] = ()
        self.tracestate: list[bytes] | tuple[()] = ()
        self.hops: list[bytes] | tuple[()] = ()
        self.key_fields: list[tuple[bytes, bytes]] | tuple[()] = ()
        self.upgrade: list[bytes] | tuple[()] = ()

    def append(self, prepared: Prepared) -> None:
        if self.is_http2:
            self.fields.append(prepared.field)
        else:
            self.lines.append(prepared.line)

    def take_out(self, prepared: Prepared) -> None:
        """What `append` added."""
        if self.is_http2:
            self.fields = [field for field in self.fields if field is not prepared.field]
        else:
            self.lines = [line for line in self.lines if line is not prepared.line]


class ResponseHead:
    """A response up to its body.

    `body`: `NO_BODY` (also for HEAD, 204, 304), `CHUNKED`, `UNTIL_CLOSE`, `UNTIL_END` or the length in bytes. With
    status 101 no HTTP follows: `UNTIL_CLOSE` then means the bytes of a tunnel. (HTTP/2 says 200 to a CONNECT; here it
    is 101 all the same.) `grpc_status`: of a trailers-only answer, else -1.
    """

    __slots__ = ("body", "fields", "grpc_status", "is_http2", "keep_alive", "lines", "status")

    def __init__(
        self, status: int, lines: list[bytes], body: int, keep_alive: bool, fields: list[FieldLine] | None = None
    ) -> None:
        self.status = status
        self.lines = lines
        self.fields: list[FieldLine] = fields if fields is not None else _NO_FIELDS
        self.is_http2 = fields is not None
        self.body = body
        self.keep_alive = keep_alive
        self.grpc_status = -1

    def append(self, prepared: Prepared) -> None:
        if self.is_http2:
            self.fields.append(prepared.field)
        else:
            self.lines.append(prepared.line)


class End:
    """The body is complete. Trailers are field lines in HTTP/1.1's form, or in HTTP/2's (`fields`), as in heads.

    `grpc_status`: -1 if there is none.
    """

    __slots__ = ("fields", "grpc_status", "trailers")

    def __init__(self, trailers: list[bytes] | None = None, fields: list[FieldLine] | None = None) -> None:
        self.trailers: list[bytes] = trailers if trailers is not None else _NO_LINES
        self.fields: list[FieldLine] = fields if fields is not None else _NO_FIELDS
        self.grpc_status = -1


# Shared, never changed.
_NO_LINES: Final[list[bytes]] = []
_NO_FIELDS: Final[list[FieldLine]] = []
END: Final = End()

Event = RequestHead | ResponseHead | bytes | End

# Pieces of a body up to here are put together where they wait.
_SMALL_PIECE: Final = 1024


def add_piece(pieces: list[bytes], data: bytes) -> None:
    """For pieces that wait: small ones become one, since a window of two bytes each takes thirty times its memory."""
    if pieces and len(pieces[-1]) + len(data) <= _SMALL_PIECE:
        pieces[-1] += data
    else:
        pieces.append(data)
