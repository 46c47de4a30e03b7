"""location's gRPC method, as its server and its caller agree on it: where generated code would stand.

The messages are JSON instead of protobuf, so nothing has to be compiled: what a message is made of is the same to
gRPC, to its instrumentation and to the sidecar, which see bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

SERVICE: Final = "hotrod.Location"
METHOD: Final = "Pickup"
PATH: Final = f"/{SERVICE}/{METHOD}"


def to_bytes(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode()


def from_bytes(message: bytes) -> dict[str, object]:
    value: dict[str, object] = json.loads(message)
    return value
