"""The requests of every load: small GETs as services send them to each other, no two alike.

A template is a request head with slots in braces. It is rendered here for our own generator and in wrk.lua for wrk, so
that both send the same. Each request carries its own traceparent, request id and baggage value: a proxy that remembers
whole values of these fields gains nothing (a real caller's differ as well).

Slots:  {id}   8 hex digits, unique within a run      {n}    the same number in decimal
        {hex}  8 hex digits, random                   {key}  a routing key, drawn evenly
"""

import random
import re
from collections.abc import Sequence

_GET = (
    "GET /api/v1/locations?customer={n} HTTP/1.1\r\n"
    "Host: location.hotrod.svc.cluster.local:8081\r\n"
    "User-Agent: python-httpx/0.28.1\r\n"
    "Accept: application/json\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "X-Request-Id: {hex}-1c5e-4a02-9b7d-0f3a{id}\r\n"
    "traceparent: 00-{hex}{hex}{hex}{id}-{hex}{id}-01\r\n"
)
_UNTAGGED = _GET + "baggage: user-id={n},region=eu-west-1\r\n"
_TAGGED = _GET + "baggage: user-id={n},sd-routing-key={key},region=eu-west-1\r\n"
_END = "\r\n"

# Used in turn. Most requests have no tracestate; one in four comes from a caller whose tracing vendor adds one.
UNTAGGED = (_UNTAGGED + _END,) * 3 + (_UNTAGGED + "tracestate: congo={hex}{id}\r\n" + _END,)
TAGGED = (_TAGGED + _END,) * 3 + (_TAGGED + "tracestate: sd-routing-key={key},congo={hex}{id}\r\n" + _END,)

_SLOT = re.compile(r"\{(id|n|hex|key)\}")
_RANDOM_WORDS = 4096


def templates_text(templates: Sequence[str]) -> str:
    """All templates in one text; the empty line that ends each head is what separates them."""
    return "".join(templates)


def parse_templates(text: str) -> list[str]:
    return [head + "\r\n\r\n" for head in text.split("\r\n\r\n")[:-1]]


def sandbox_keys(count: int) -> list[str]:
    """`count` distinct routing keys in the form of generated ones, the same in every run."""
    draw = random.Random(count)
    keys: dict[str, None] = {}
    while len(keys) < count:
        keys["".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=13))] = None
    return list(keys)


class Heads:
    """An endless supply of request heads. A key that a template uses twice is the same key both times."""

    def __init__(self, templates: Sequence[str], keys: Sequence[str], seed: int) -> None:
        self._draw = random.Random(seed)
        self._number = self._draw.getrandbits(31)
        self._words = [b"%08x" % self._draw.getrandbits(32) for _ in range(_RANDOM_WORDS)]
        self._keys = [key.encode() for key in keys] or [b"-"]
        self._forms = [(_SLOT.sub("%s", text).encode(), _SLOT.findall(text)) for text in templates]

    def next(self) -> bytes:
        """The next head. About 4 us."""
        self._number += 1
        form, slots = self._forms[self._number % len(self._forms)]
        number, uniform = self._number, self._draw.random
        key = self._keys[int(uniform() * len(self._keys))]
        values: list[bytes] = []
        for slot in slots:
            if slot == "hex":
                values.append(self._words[int(uniform() * _RANDOM_WORDS)])
            elif slot == "id":
                values.append(b"%08x" % (number & 0xFFFFFFFF))
            elif slot == "n":
                values.append(b"%d" % number)
            else:
                values.append(key)
        return form % tuple(values)
