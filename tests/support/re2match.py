"""HeaderMatches against headers, in this process, with the engine that Envoy uses (google-re2).

Envoy's rules: several lines are joined by ",", the whole value must match, an absent header never matches `headers` and
counts as empty for `withoutHeaders` (istiod since 1.22, `controller.istio.matches.MINIMUM_ISTIO`). RE2 reads UTF-8
unless told otherwise, and Envoy does not tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pytest

from controller.istio.matches import HeaderMatch
from tests.support.keyheaders import Headers

re2 = pytest.importorskip("re2", reason="no google-re2")


@cache
def compiled(regex: str) -> Any:
    return re2.compile(regex.encode("ascii"))


def matches(alternatives: Iterable[HeaderMatch], headers: Headers, hops: tuple[bytes, ...] = ()) -> int:
    """How many alternatives match."""
    return sum(_matches(alternative, headers, hops) for alternative in alternatives)


def _matches(match: HeaderMatch, headers: Headers, hops: tuple[bytes, ...]) -> bool:
    values = {name: b",".join(lines) for name, lines in (*headers._asdict().items(), ("pointsman-hop", hops)) if lines}
    return all(
        name in values and _is(condition, values[name]) for name, condition in match.headers.items()
    ) and not any(_is(condition, values.get(name, b"")) for name, condition in match.without_headers.items())


def _is(condition: Mapping[str, str], value: bytes) -> bool:
    return compiled(condition["regex"]).fullmatch(value) is not None
