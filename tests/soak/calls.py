"""Requests over HTTP/2, gRPC calls among them, and the whole answers that they must get.

`/call/<id>/<count>/<size>/<pause in ms>` answers with so many gRPC messages, and with status 0 behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.soak.asking import Asked, Asking, body_of, events_of

GRPC = "application/grpc"
_ENDLESS = 10**6


def framed(message: bytes) -> bytes:
    """A gRPC message as it is sent."""
    return b"\0" + len(message).to_bytes(4) + message


def messages_of(ident: str, number: int, size: int) -> Iterator[bytes]:
    return (framed(body_of(f"{ident}/{index}", size)) for index in range(number))


def start_of_body(verb: str, ident: str, *rest: str) -> bytes:
    """How an answer's body begins, and then more than it has: what is sent of it is never all."""
    if verb == "call":
        return b"".join(messages_of(ident, min(int(rest[0]), 50), int(rest[1]))) + bytes(600)
    return b"".join(events_of(ident, 40)) if verb == "events" else body_of(ident, 1000)


def fields_of(head: bytes) -> list[tuple[str, str]]:
    """An HTTP/1.1 head in HTTP/2's form."""
    start, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = start.split(" ")
    fields = [(":method", method), (":scheme", "http"), (":authority", "location"), (":path", target)]
    for line in lines:
        name, _, value = line.partition(": ")
        if name.lower() not in ("host", "transfer-encoding"):
            fields.append((name.lower(), value))
    return fields


class Calls:
    """Makes them of what `asking` makes."""

    def __init__(self, asking: Asking, rng: Random) -> None:
        self.asking = asking
        self._rng = rng

    def any(self) -> Asked:
        """Of all kinds, in the mix of a busy connection."""
        chance = self._rng.random()
        return self.echo() if chance < 0.5 else self.unary() if chance < 0.92 else self.streaming()

    def echo(self) -> Asked:
        asked = self.asking.echo()
        asked.kind = f"h2 {asked.method}"
        return self._over_http2(asked)

    def unary(self) -> Asked:
        size = self._rng.choice([0, 20, 1000, 1000, 40_000, 300_000] if self._rng.random() < 0.2 else [20, 1000])
        pause_ms = self._rng.randint(50, 600) if self._rng.random() < 0.02 else 0
        return self._call("gRPC unary", 1, size, pause_ms)

    def streaming(self) -> Asked:
        return self._call("gRPC streaming", self._rng.randint(0, 40), self._rng.choice([20, 2000]), 60)

    def endless(self) -> Asked:
        """A stream that only ends if somebody ends it."""
        return self._call("gRPC cancelled", _ENDLESS, 100, 60)

    def _call(self, kind: str, number: int, size: int, pause_ms: int) -> Asked:
        ident = self.asking.ident()
        wish, lines, baggage = self.asking.lines()
        head = self.asking.head("POST", f"/call/{ident}/{number}/{size}/{pause_ms}", lines)
        upload = framed(body_of(f"up-{ident}", self._rng.choice([0, 20, 500, 5000, 70_000])))
        body = b"" if number == _ENDLESS else b"".join(messages_of(ident, number, size))
        asked = self._over_http2(Asked(ident, kind, "POST", wish, head, [upload], upload, body, baggage))
        asked.fields += [("content-type", GRPC), ("te", "trailers")]
        asked.is_grpc = True
        return asked

    def _over_http2(self, asked: Asked) -> Asked:
        asked.version = "2"
        asked.fields = fields_of(asked.head)
        cut = self._rng.randint(0, len(asked.upload))
        asked.pieces = [part for part in (asked.upload[:cut], asked.upload[cut:]) if part]
        return asked
