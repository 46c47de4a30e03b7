"""What is on the queue.

The headers are those that OpenTelemetry's instrumentation of message clients writes: a message has the `baggage` of the
request that caused it, and whatever a consumer sends on has the message's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

STREAM: Final = "ORDERS"
ORDERS: Final = "orders"
DONE: Final = "done"  # what became of each order


@dataclass(frozen=True, slots=True)
class Done:
    """What a consumer did with an order. `how`: processed or aside."""

    order: str
    consumer: str
    how: str
    reason: str

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Done:
        return cls(**json.loads(raw))


def passed_on(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers that a consumer copies to what it sends on."""
    names = ("baggage", "traceparent", "tracestate")
    return {name: value for name, value in (headers or {}).items() if name.lower() in names}
