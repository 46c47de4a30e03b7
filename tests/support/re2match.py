"""HeaderMatches against headers, in this process, with the engine that Envoy uses (google-re2).

Rules of a release of Envoy (`Engine`; sources: `controller.istio.matches`): lines joined by "," or each alone, values
read as UTF-8 or byte by byte. Always: the whole value must match, an absent header never matches `headers`, and counts
as empty for `withoutHeaders`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest

from controller.istio.matches import HeaderMatch
from tests.support.keyheaders import Headers

re2 = pytest.importorskip("re2", reason="no google-re2")


class Engine(NamedTuple):
    joined: bool
    latin1: bool


OLD = Engine(joined=True, latin1=False)  # before 1.39.0
MIDDLE = Engine(joined=False, latin1=False)  # 1.39.0
NEW = Engine(joined=False, latin1=True)  # since the fixes of CVE-2026-73552
PINNED = Engine(joined=True, latin1=True)  # with match_headers_individually off


@cache
def compiled(regex: str, latin1: bool = False) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1 if latin1 else re2.Options.Encoding.UTF8
    return re2.compile(regex.encode("ascii"), options)


def matches(
    alternatives: Iterable[HeaderMatch], headers: Headers, hops: tuple[bytes, ...] = (), engine: Engine = NEW
) -> int:
    """How many alternatives match."""
    fields = {"baggage": headers.baggage, "tracestate": headers.tracestate, "pointsman-hop": hops}
    values = {name: (b",".join(lines),) if engine.joined else lines for name, lines in fields.items() if lines}

    def is_one(name: str, condition: Mapping[str, str], absent: tuple[bytes, ...]) -> bool:
        expression = compiled(condition["regex"], engine.latin1)
        return any(expression.fullmatch(value) is not None for value in values.get(name, absent))

    return sum(
        all(is_one(name, condition, ()) for name, condition in match.headers.items())
        and not any(is_one(name, condition, (b"",)) for name, condition in match.without_headers.items())
        for match in alternatives
    )
