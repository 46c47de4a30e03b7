"""Owner's routes that are for some callers, with fan-in, on a real Envoy: what a tagged request meets by way of the
router is what an untagged one meets.

The router's part is done by hand: it sends on what it got, with its mark.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from controller.istio.names import service_host
from controller.istio.render import Options, render
from proxy.routing.names import Endpoint
from tests.support.client import Client, get
from tests.support.istiod import Backend, Caller, Service, naming, route_configuration, run_mesh
from tests.support.istiod.actions import cluster
from tests.support.mesh import DELEGATE, http, mesh, to, virtual_service
from tests.support.wire import WireOrigin

ROUTER = Endpoint(service_host("router", "pointsman"), 80)
SERVICES = [Service(service_host("location", "hotrod")), Service(ROUTER.host)]
TO_ROUTER = cluster({"host": ROUTER.host, "port": {"number": 80}}, 0)
OWNERS = (
    http(to(subset="v2"), match=[{"sourceLabels": {"app": "canary"}, "uri": {"prefix": "/api"}}], name="canary"),
    http(to(subset="v3"), match=[{"sourceNamespace": "hotrod", "headers": {"x-tier": {"exact": "beta"}}}]),
    http(to(subset="v4"), match=[{"authority": {"exact": "location.hotrod"}, "port": 80}]),
    http(to(subset="v1")),
)
REQUESTS = [
    ("/api/x", "location", ()),
    ("/", "location", ("x-tier: beta",)),
    ("/", "location.hotrod", ()),
    ("/", "location", ()),
]


@pytest.mark.parametrize("own", ["patch", "delegate"])
@pytest.mark.parametrize("app", ["canary", "frontend"])
def test_there_and_back(own: str, app: str, tmp_path: Path) -> None:
    owner = virtual_service(*([DELEGATE] if own == "delegate" else []), *OWNERS)
    rendered = render(mesh(owner), [], Options(mode="router", router=ROUTER, own=own))
    assert rendered.findings == ()
    documents: Any = [*rendered.objects, *([owner.document] if own == "delegate" else [])]
    caller = route_configuration(documents, SERVICES, 80, Caller("hotrod", {"app": app}))
    beside = route_configuration(documents, SERVICES, 80, Caller("pointsman", {"app": "router"}))
    with (
        contextlib.closing(WireOrigin()) as origin,
        run_mesh(tmp_path, [caller, naming(caller), naming(beside)], {TO_ROUTER: Backend(origin.port)}) as ports,
    ):
        for target, host, lines in REQUESTS:
            tagged = get(target, *lines, "baggage: sd-routing-key=k", host=host)
            with contextlib.closing(Client(ports[0])) as client:
                assert client.ask(tagged).status == 200
            (got,) = origin.take()
            fields = {name.decode().lower(): value.decode() for name, value in got.fields}
            marked = [f"{name}: {value}" for name, value in fields.items() if name != "host"]
            hop = "pointsman-hop: hotrod/Deployment/location;baseline"
            with contextlib.closing(Client(ports[2])) as client:
                back = client.ask(get(target, *marked, hop, host=fields["host"]))
            with contextlib.closing(Client(ports[1])) as client:
                plain = client.ask(get(target, *lines, host=host))
            assert (back.status, back.body) == (200, plain.body), (target, host, lines)
