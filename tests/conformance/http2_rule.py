"""A rule of HTTP/2 as a value, and where the tests are that prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.conformance.http2_row import ANSWERED, CONNECTION, EITHER, IGNORED, STREAM
from tests.support.http2 import Code

KEPT: Final = "kept"  # a rule for what we send or do

BEGIN: Final = "tests/conformance/test_http2_connection.py::"
FLOW: Final = "tests/conformance/test_http2_flow.py::"
HPACK: Final = "tests/conformance/test_http2_hpack.py::"
EXCHANGE: Final = "tests/conformance/test_http2_exchange.py::"
GOAWAY: Final = "tests/conformance/test_http2_goaway.py::"
RESPONSES: Final = "tests/conformance/test_http2_responses.py::"
VERSIONS: Final = "tests/conformance/test_http2_versions.py::"
TUNNELS: Final = "tests/conformance/test_http2_websocket.py::"
FLOODS: Final = "tests/conformance/test_http2_floods.py::"
SPLITS: Final = "tests/conformance/test_http2_splits.py::"


@dataclass(frozen=True, slots=True)
class Rule:
    section: str
    must: str
    level: str
    code: int | None
    rows: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


def connection(section: str, must: str, code: Code, *rows: str) -> Rule:
    return Rule(section, must, CONNECTION, code, rows)


def stream(section: str, must: str, code: Code, *rows: str) -> Rule:
    return Rule(section, must, STREAM, code, rows)


def either(section: str, must: str, code: Code, *rows: str) -> Rule:
    return Rule(section, must, EITHER, code, rows)


def ignored(section: str, must: str, *rows: str) -> Rule:
    return Rule(section, must, IGNORED, Code.NO_ERROR, rows)


def served(section: str, must: str, *rows: str, status: int = 200) -> Rule:
    return Rule(section, must, ANSWERED, status, rows)


def kept(section: str, must: str, *tests: str) -> Rule:
    return Rule(section, must, KEPT, None, (), tests)


PROTOCOL: Final = Code.PROTOCOL_ERROR
SIZE: Final = Code.FRAME_SIZE_ERROR
WINDOW: Final = Code.FLOW_CONTROL_ERROR
CLOSED: Final = Code.STREAM_CLOSED
COMPRESSION: Final = Code.COMPRESSION_ERROR
