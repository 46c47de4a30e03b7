"""A real Envoy with the one rule of fan-in: with a router behind it, each request goes where a sidecar would send it.

Not on a defined domain only: whatever the headers hold, the mesh keeps for itself only what a sidecar sends to the
baseline for want of a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from controller.istio.matches import NAMES
from tests.support.keyheaders import Maker
from tests.support.meshrules import BASELINE, JOINED, KEYS, ROUTER, UTF8, Case, Mesh, Ours, fan_in, run_rules

SIZE = 15_000
HOPS = [
    (b"hotrod/Deployment/location;baseline",),
    (b"hotrod/Deployment/location",),
    (b"a/b/c, hotrod/Deployment/location ;baseline", b"x/y/z"),
    (b"hotrod/Deployment/driver;baseline",),
    (b"hotrod/Deployment/location-2,hotrod/Deployment/loc",),
    (b"\x80,hotrod/Deployment/location",),
]


@pytest.fixture(scope="module", params=[{}, JOINED | UTF8], ids=["today", "older"])
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with run_rules(tmp_path_factory.mktemp("fan-in"), fan_in(), request.param) as found:
        yield found


def test_generated_headers(mesh: Mesh) -> None:
    sidecar, make = Ours(), Maker(Random(22), NAMES, KEYS)
    cases = [Case(make.wild()) for _ in range(SIZE)]
    detours = 0
    for case, place in zip(cases, mesh.decisions(cases), strict=True):
        decision = sidecar.decision(case)
        if place == ROUTER:  # which decides as a sidecar does, from the same table
            detours += decision.reason.name == "no_key"
        else:
            assert (place, decision.kind, decision.reason.name) == (BASELINE, "baseline", "no_key"), case
    assert detours < SIZE // 10


def test_the_mark_ends_it(mesh: Mesh) -> None:
    """What a router has decided for this workload is not brought back to it. (Where RE2 reads UTF-8, a mark
    within other bytes does come back: the router refuses it as a loop.)"""
    router, make = Ours(router=True), Maker(Random(23), NAMES, KEYS)
    cases = [Case(make.defined(), hops) for hops in HOPS for _ in range(500)]
    for case, place in zip(cases, mesh.decisions(cases), strict=True):
        decision = router.decision(case)
        if decision.reason.name == "loop":
            assert place == BASELINE or case.hops == HOPS[-1], case
        elif decision.reason.name not in ("no_key", "loop"):
            assert place == ROUTER, case
