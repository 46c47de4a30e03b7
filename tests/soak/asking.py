"""One request: its bytes, and the whole answer that it must get from whatever place answers it.

The target tells a place what to do: `/echo/<id>/<size>/<form>/<delay in ms>`, `/events/<id>/<count>`, `/dialog/<id>`.
The body that comes back is made of the id, so nobody else's can pass for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from tests.soak.evolution import GONE_KEYS, SWING_KEY
from tests.soak.model import Wish

IDEMPOTENT = ("GET", "HEAD", "PUT")
INVALID_KEYS = ("%zz", "", "k" * 64, "-dash")


def body_of(ident: str, size: int) -> bytes:
    unit = ident.encode() + b";"
    return (unit * (size // len(unit) + 1))[:size]


def events_of(ident: str, number: int) -> list[bytes]:
    return [b"data: %b %d\n\n" % (ident.encode(), index) for index in range(number)]


def sum_of(body: bytes) -> str:
    return f"{len(body)}:{zlib.crc32(body)}"


@dataclass(slots=True)
class Asked:
    """One request."""

    ident: str
    kind: str  # for the summary
    method: str
    wish: Wish
    head: bytes
    pieces: list[bytes] = field(default_factory=list)  # of the body, framed
    upload: bytes = b""
    body: bytes = b""  # of the answer
    baggage: str = ""
    version: str = "1.1"
    fields: list[tuple[str, str]] = field(default_factory=list)  # in HTTP/2
    is_grpc: bool = False
    start_s: float = 0.0

    @property
    def may_be_sent_twice(self) -> bool:
        """By the proxy, on a connection that closed under it."""
        return self.method in IDEMPOTENT and not self.pieces


class Asking:
    """Makes requests. `keys`: those that tables of now may know."""

    def __init__(self, rng: Random, keys: Sequence[str], name: str) -> None:
        self._rng = rng
        self._keys = keys
        self._name = name
        self._numbers = count(1)

    def ident(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    def wish(self) -> tuple[Wish, str]:
        """A wish, and the value that says it."""
        rng = self._rng
        strict = rng.random() < 0.1
        chance = rng.random()
        if chance < 0.3:
            return Wish(strict=strict), ""
        if chance < 0.33:
            return Wish(is_invalid=True, strict=strict), rng.choice(INVALID_KEYS)
        if chance < 0.45:
            key = SWING_KEY
        elif chance < 0.5:
            key = rng.choice(GONE_KEYS)
        elif chance < 0.53:
            key = f"unknown-{rng.randrange(10**9)}"
        else:
            key = rng.choice(self._keys)
        return Wish(key, strict=strict), key

    def lines(self, key: str = "") -> tuple[Wish, list[str], str]:
        """A wish (for `key`, if there is one), the header lines that carry it, and the whole of their baggage."""
        wish, value = (Wish(key), key) if key else self.wish()
        rng = self._rng
        members = [f"user={rng.randrange(10**6)}"]
        if wish.key is not None or wish.is_invalid:
            members.append(f"{rng.choice(['sd-routing-key', 'sd-sandbox'])}={value}")
        if wish.strict:
            members.append("sd-strict=1")
        rng.shuffle(members)
        if "%" not in value and rng.random() < 0.2:
            return wish, [f"tracestate: {','.join(members)}"], ""
        if rng.random() < 0.2:
            return wish, [f"baggage: {member}" for member in members], ",".join(members)
        return wish, [f"baggage: {','.join(members)}"], ",".join(members)

    def echo(self) -> Asked:
        rng = self._rng
        ident = self.ident()
        wish, lines, baggage = self.lines()
        method = rng.choices(["GET", "HEAD", "POST", "PUT"], [55, 5, 30, 10])[0]
        size = rng.choice([0, 20, 200, 200, 2000, 2000, 40_000, 300_000] if rng.random() < 0.2 else [100, 1000])
        form = rng.choice(["length", "length", "chunked", "close"])
        delay_ms = rng.randint(50, 600) if rng.random() < 0.02 else 0
        target = f"/echo/{ident}/{size}/{form}/{delay_ms}"
        upload = b""
        pieces: list[bytes] = []
        kind = method
        if method in ("POST", "PUT"):
            upload = body_of(f"up-{ident}", rng.choice([0, 1, 500, 5000, 70_000]))
            cut = rng.randint(0, len(upload))
            parts = [part for part in (upload[:cut], upload[cut:]) if part]
            if rng.random() < 0.5:
                lines.append("Transfer-Encoding: chunked")
                pieces = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
                pieces.append(b"0\r\n\r\n")
                kind += " chunked"
            else:
                lines.append(f"Content-Length: {len(upload)}")
                pieces = parts
                kind += " framed"
        body = b"" if method == "HEAD" else body_of(ident, size)
        head = self.head(method, target, lines)
        return Asked(ident, kind, method, wish, head, pieces, upload, body, baggage)

    def events(self) -> Asked:
        ident = self.ident()
        wish, lines, baggage = self.lines()
        number = self._rng.randint(5, 40)
        head = self.head("GET", f"/events/{ident}/{number}", lines)
        return Asked(ident, "events", "GET", wish, head, body=b"".join(events_of(ident, number)), baggage=baggage)

    def head(self, method: str, target: str, lines: list[str]) -> bytes:
        return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: location", *lines, "", ""]).encode()
