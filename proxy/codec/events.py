"""What a codec hands on: a head, pieces of the body (plain `bytes`), the end.

Every HTTP version speaks these events, so one exchange serves all. A head whose message has no body says so itself
(`body == NO_BODY`); no further event follows it.

`lines` are a head's start line and field lines ("Name: value", RFC 9112 section 5) as they came, in order, in their
case, with duplicates. Hop-by-hop fields and those that `Connection` names are already out; `Transfer-Encoding: chunked`
stays in its place, because the next connection frames the body the same way. Passing a head on is joining its lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# How a message's body is framed, where it is not a number of bytes.
NO_BODY: Final = 0
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


class RequestHead:
    """A request up to its body.

    `body`: `NO_BODY`, `CHUNKED` or the length in bytes. `host` is the value of the one Host field (empty if an HTTP/1.0
    request has none). `baggage`, `tracestate`, `hops` hold the values of all such lines, in order; `key_fields` pairs
    of lowercase name and value of the configured plain headers. `upgrade` are the protocols that the connection may
    turn to (lowercase, without HTTP's own), mostly none.
    """

    __slots__ = (
        "baggage",
        "body",
        "hops",
        "host",
        "http10",
        "keep_alive",
        "key_fields",
        "lines",
        "method",
        "target",
        "tracestate",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, lines: list[bytes], http10: bool) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.http10 = http10
        self.keep_alive = not http10
        self.body = NO_BODY
        self.host = b""
        self.baggage: list[bytes] | tuple[()] = ()
        self.tracestate: list[bytes] | tuple[()] = ()
        self.hops: list[bytes] | tuple[()] = ()
        self.key_fields: list[tuple[bytes, bytes]] | tuple[()] = ()
        self.upgrade: list[bytes] | tuple[()] = ()


class ResponseHead:
    """A response up to its body.

    `body`: `NO_BODY` (also for HEAD, 204, 304), `CHUNKED`, `UNTIL_CLOSE` or the length in bytes. With status 101 no
    HTTP follows: `UNTIL_CLOSE` then means the bytes of a tunnel.
    """

    __slots__ = ("body", "keep_alive", "lines", "status")

    def __init__(self, status: int, lines: list[bytes], body: int, keep_alive: bool) -> None:
        self.status = status
        self.lines = lines
        self.body = body
        self.keep_alive = keep_alive


@dataclass(frozen=True, slots=True)
class End:
    """The body is complete; `trailers` are field lines."""

    trailers: list[bytes] = field(default_factory=list)


END: Final = End()

Event = RequestHead | ResponseHead | bytes | End
