"""The demo's services in a mesh, by rendered rules: fan-in with a router, and a rule for each sandbox.

Who answered is told by the services themselves (process, version), never by a proxy. See `tests.support.meshchain` for
the way of a request; behind the router stands an Envoy again, which routes by Host (CHECKLIST M2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controller.istio.render import Options
from demo.client import Response
from demo.topology import BASELINE, BEHIND, FIRST, NAMESPACE, SERVICES, UNKNOWN_KEY, Sandbox
from proxy.routing.names import Endpoint
from tests.support.meshchain import ROUTER, Chain, decided, missing, run_chain

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

OWNER: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "location", "namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {
        "hosts": ["location"],
        "http": [
            {"name": "nobody", "match": [{"method": {"exact": "PUT"}}], "directResponse": {"status": 405}},
            {
                "name": "calls",
                "match": [{"uri": {"prefix": "/hotrod.Location/"}}],
                "timeout": "9s",
                "route": [{"destination": {"host": "location"}}],
            },
        ],
    },
}
MODES = {
    "router": Options(mode="router", router=Endpoint(ROUTER, 80), own="patch"),
    "rules": Options(mode="rules", own="patch"),
}
TAGGED = {sandbox.name: {"baggage": f"sd-routing-key={sandbox.routing_key}"} for sandbox in (FIRST, BEHIND)}


@pytest.fixture(scope="module", params=MODES)
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with run_chain(tmp_path_factory.mktemp(request.param), MODES[request.param], [OWNER]) as found:
        yield found


def answered(chain: Chain, response: Response) -> dict[str, str]:
    """Service -> the version that answered, by processes that are what they say."""
    assert response.status == 200, response.body
    known = {(one.service, one.version, one.pid) for one in chain.instances}
    found: dict[str, str] = {}

    def walk(said: dict[str, Any]) -> None:
        assert (said["service"], said["version"], said["pid"]) in known
        assert said["service"] not in found
        found[said["service"]] = said["version"]
        for call in said["calls"]:
            walk(call)

    walk(json.loads(response.body))
    return found


def with_fork(sandbox: Sandbox | None) -> dict[str, str]:
    found = dict.fromkeys(SERVICES, BASELINE)
    return {**found, sandbox.fork_of: sandbox.name} if sandbox else found


def test_an_untagged_request_meets_no_router(chain: Chain) -> None:
    before = decided(chain.router)
    assert answered(chain, chain.ride()) == with_fork(None)
    assert decided(chain.router) == before


@pytest.mark.parametrize("sandbox", [FIRST, BEHIND], ids=lambda sandbox: sandbox.name)
@pytest.mark.parametrize("header", ["baggage", "tracestate"])
def test_a_tagged_request_meets_its_fork_and_baselines(chain: Chain, sandbox: Sandbox, header: str) -> None:
    """BEHIND's fork is called by the baseline of a service in between, by gRPC. A router decides once for each service:
    the mark keeps what it sends on from coming back."""
    before, by_route = decided(chain.router), decided(chain.router, "route")
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} if header == "tracestate" else {}
    response = chain.ride(**{header: f"sd-routing-key={sandbox.routing_key}"}, **trace)
    assert answered(chain, response) == with_fork(sandbox)
    passed = len(SERVICES) if chain.mode == "router" else 0
    assert (decided(chain.router) - before, decided(chain.router, "route") - by_route) == (passed, bool(passed))


def test_an_unknown_key_is_the_baselines(chain: Chain) -> None:
    assert answered(chain, chain.ride(baggage=f"sd-routing-key={UNKNOWN_KEY}")) == with_fork(None)


def test_a_strict_request_is_refused_where_nothing_can_be_promised(chain: Chain) -> None:
    """By the router, or by the service's own proxy."""
    for member in ("sd-strict=1", f"sd-strict=1,sd-routing-key={UNKNOWN_KEY}"):
        assert chain.ride(baggage=member).status == 424


def test_the_owners_other_routes_are_the_owners(chain: Chain) -> None:
    for fields in ({}, TAGGED[FIRST.name]):
        assert chain.ask("location", "PUT", "/hotrod.Location/Pickup", fields).status == 405


@pytest.mark.parametrize("chain", ["router"], indirect=True)
def test_a_fork_needs_its_own_name_behind_a_router(chain: Chain) -> None:
    """CHECKLIST M2: with the Host of the baseline, the router's own sidecar takes the request to the baseline, whose
    proxy knows by the mark that a sandbox was meant, and refuses it. So routes there say `authority: destination`."""
    chain.router.set_table(chain.tables["preserve"])
    try:
        refused = chain.ride(**TAGGED[FIRST.name])
        assert refused.status == 502
        assert "loop" in refused.body
        assert decided(chain.sidecars["location"], "loop") == 1
    finally:
        chain.router.set_table(chain.tables["destination"])
    assert answered(chain, chain.ride(**TAGGED[FIRST.name])) == with_fork(FIRST)
