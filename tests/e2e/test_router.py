"""A router through a real process: many workloads, chosen by Host, and what SPEC 4 says of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import ask, get
from tests.support.origin import Origin
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_router, service, table

TAGGED = f"baggage: sd-routing-key={KEY}"
DRIVER = "hotrod/Deployment/driver"


@pytest.fixture
def router(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    document = table(
        route(KEY, [sandbox.port]),
        route("notready1", []),
        route("otherport", [sandbox.port], port=9),
        services=[
            service("location", "location.hotrod", "location.hotrod.svc.cluster.local", upstream=baseline.port),
            service("driver", upstream=baseline.port, workload=DRIVER, port=8082),
        ],
        goneKeys=["gonekey"],
    )
    with run_router(tmp_path, document, flags=("--decision-header",)) as router:
        yield router


@pytest.mark.parametrize(
    ("host", "lines", "status", "origin", "decision"),
    [
        ("location", [], 200, "baseline", "baseline; reason=no_key"),
        ("location", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("location.hotrod.svc.cluster.local", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("LOCATION.Hotrod.:8081", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("driver", [TAGGED], 200, "baseline", "baseline; reason=not_forked"),
        ("location", ["baggage: sd-routing-key=gonekey"], 424, "", "none; reason=gone_key"),
        ("location", ["baggage: sd-routing-key=notready1"], 503, "", "sandbox=local-location; reason=no_destination"),
        ("location", ["baggage: sd-routing-key=otherport"], 503, "", "sandbox=local-location; reason=port_not_mapped"),
        ("location", ["baggage: sd-strict=1"], 424, "", "none; reason=no_key"),
        ("elsewhere", [], 421, "", "none; reason=unknown_host"),
        ("elsewhere", [TAGGED], 421, "", "none; reason=unknown_host"),
        ("location", [f"pointsman-hop: {WORKLOAD}"], 508, "", "none; reason=loop"),
        ("location", [f"pointsman-hop: {WORKLOAD};baseline"], 508, "", "none; reason=loop"),
        ("driver", [f"pointsman-hop: {WORKLOAD}, a/b/c;baseline"], 200, "baseline", "baseline; reason=no_key"),
    ],
)
def test_decisions(router: Proxy, host: str, lines: list[str], status: int, origin: str, decision: str) -> None:
    response = ask(router.port, get("/", *lines, host=host))
    assert (response.status, response.origin, response.decision) == (status, origin, decision)


def test_hops(router: Proxy, baseline: Origin, sandbox: Origin) -> None:
    """SPEC 4: what a router sends to the baseline is marked, so that no mesh rule sends it back."""
    ask(router.port, get("/", "pointsman-hop: a/b/c", host="driver"))
    assert baseline.requests[-1].values(b"pointsman-hop") == [b"a/b/c", f"{DRIVER};baseline".encode()]
    ask(router.port, get("/", TAGGED, host="location"))
    assert sandbox.requests[-1].values(b"pointsman-hop") == [WORKLOAD.encode()]
