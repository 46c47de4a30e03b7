"""A line of CHECKLIST as a value, and where the tests are that prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FRAMING: Final = "tests/conformance/test_framing.py::"
EXPECT: Final = "tests/conformance/test_expect.py::"
RESPONSES: Final = "tests/conformance/test_responses.py::"
ROUTING: Final = "tests/conformance/test_routing_input.py::"
ENDPOINTS: Final = "tests/conformance/test_endpoints.py::"
FAULTS: Final = "tests/e2e/test_faults.py::"
PROXY: Final = "tests/e2e/test_proxy.py::"
TABLE: Final = "tests/e2e/test_table.py::"
WEBSOCKET: Final = "tests/e2e/test_websocket.py::"
ENVOY: Final = "tests/differential/test_envoy.py::"
STREAMING: Final = "tests/e2e/test_streaming.py::"
STALLED: Final = "tests/e2e/test_stalled.py::"
LIMITS: Final = "tests/unit/proxy/net/test_downstream_limits.py::"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `tests` are "path::name"; a name that ends in `*` stands for all that begin so."""

    number: int
    case: str
    ours: str
    others: str
    tests: tuple[str, ...]
