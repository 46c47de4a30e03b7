"""What a rule of the mesh cannot do: each line of manifests/istio/LIMITS.md, on a real Envoy and by our own decision.

A limit that is no longer true fails here, and so does one that the page does not name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.keyheaders import Headers
from tests.support.meshrules import BASELINE, KEYS, ROUTER, UTF8, Case, Ours, fan_in, rules, run_rules

PAGE = Path(__file__).parents[2] / "manifests" / "istio" / "LIMITS.md"
KEY, OTHER = KEYS[0].encode(), KEYS[1].encode()
GONE = b"k3v0z8m1c2d4e"


def tagged(value: bytes = KEY, *more: bytes) -> bytes:
    return b",".join([b"sd-routing-key=" + value, *more])


@dataclass(frozen=True)
class Limit:
    """Where the proxy sends a request, or the status it refuses it with; and where the mesh sends it."""

    proxy: str
    mesh: str
    baggage: tuple[bytes, ...] = ()
    tracestate: tuple[bytes, ...] = ()
    hops: tuple[bytes, ...] = ()
    plain: bytes = b""  # of the header x-key
    features: Mapping[str, bool] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        more = ((b"x-key", self.plain),) if self.plain else ()
        return Case(Headers(self.baggage, self.tracestate), self.hops, more)


STRICT = {
    "gone key": Limit("424", BASELINE, (tagged(GONE),)),
    "strict request with an unknown key": Limit("424", BASELINE, (tagged(b"unknown", b"sd-strict=1"),)),
    "strict request without a key": Limit("424", BASELINE, (b"sd-strict=1",)),
    "strict request with two keys": Limit("424", "fork-0", (tagged(OTHER, tagged(), b"sd-strict=1"),)),
    "percent-encoded key": Limit("fork-0", BASELINE, (tagged(b"%71" + KEY[1:]),)),
    "percent-encoded blanks round the key": Limit("fork-0", BASELINE, (tagged(b"%20" + KEY),)),
    "broken member of a key's name": Limit("fork-0", BASELINE, (tagged() + b',sd-routing-key="x"',)),
    "key in a plain header": Limit("fork-0", BASELINE, plain=KEY),
    "value over 8192 bytes": Limit(BASELINE, "fork-0", (tagged(KEY + b"%3B" + b"x" * 8192),)),
    "loop": Limit("508", "fork-0", (tagged(),), hops=(b"hotrod/Deployment/location",)),
    "lines that contradict each other": Limit("fork-1", "fork-0", (tagged(), tagged(OTHER))),
    "value that is no UTF-8": Limit("fork-0", BASELINE, (b"a=\x80," + tagged(),), features=UTF8),
}
FAN_IN = {
    "forged mark": Limit("fork-0", BASELINE, (tagged(),), hops=(b"hotrod/Deployment/location;baseline",)),
    "lines of which one is no UTF-8": Limit("fork-0", BASELINE, (b"a=\x80," + tagged(), b"b=1"), features=UTF8),
}


def proxys(limit: Limit) -> str:
    decision = Ours(gone=(GONE,), header="x-key").decision(limit.case)
    return (
        str(decision.status)
        if decision.status
        else decision.destinations[0].host
        if decision.destinations
        else BASELINE
    )


@pytest.mark.parametrize("name", STRICT)
def test_strict_rules(name: str, tmp_path: Path) -> None:
    limit = STRICT[name]
    with run_rules(tmp_path, rules(KEYS, "strict"), limit.features) as mesh:
        assert (proxys(limit), mesh.decisions([limit.case])) == (limit.proxy, [limit.mesh])
    assert limit.proxy != limit.mesh


@pytest.mark.parametrize("name", FAN_IN)
def test_fan_in(name: str, tmp_path: Path) -> None:
    limit = FAN_IN[name]
    with run_rules(tmp_path, fan_in(), limit.features) as mesh:
        assert (proxys(limit), mesh.decisions([limit.case])) == (limit.proxy, [limit.mesh])
    assert limit.mesh != ROUTER


def test_fan_in_has_none_of_the_limits_of_strict_rules(tmp_path: Path) -> None:
    """But the plain header, which a rule could name; a router decides, and so refuses what it must."""
    by_router = {name: limit for name, limit in STRICT.items() if name not in ("key in a plain header", "loop")}
    for features in ({}, UTF8):
        (tmp_path / str(len(features))).mkdir()
        with run_rules(tmp_path / str(len(features)), fan_in(), features) as mesh:
            assert set(mesh.decisions([limit.case for limit in by_router.values()])) == {ROUTER}


def test_the_page_names_them_all() -> None:
    sections = PAGE.read_text().split("\n## ")
    for title, limits in (("Strict rules", STRICT), ("Fan-in", FAN_IN)):
        (section,) = (section for section in sections if section.startswith(title))
        assert re.findall(r"^\| \*\*(.+?)\*\* \|", section, re.MULTILINE) == list(limits)
