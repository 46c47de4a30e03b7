"""What the Istio renderer costs: `python -m benchmarks.rendering [sandboxes] [VirtualServices]`.

Each sandbox changes one workload. Owners have three routes each, by path, with a rewrite and a timeout. Times are CPU
of this process, medians of five.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any

from controller.istio.mesh import Mesh
from controller.istio.names import service_host
from controller.istio.render import Options, Rendered, removed, render
from controller.istio.virtualservices import read_virtual_service
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, Service

ROUTER = Endpoint("router.pointsman.svc.cluster.local", 80)
NAMESPACE = "shop"


def owner(number: int, *, is_delegating: bool) -> dict[str, Any]:
    host = f"service-{number}"
    routes: list[dict[str, Any]] = [
        {
            "match": [{"uri": {"prefix": "/v2"}}, {"headers": {"x-version": {"exact": "2"}}}],
            "rewrite": {"uri": "/"},
            "timeout": "3s",
            "route": [{"destination": {"host": host, "port": {"number": 80}}}],
        },
        {"match": [{"uri": {"prefix": "/docs"}}], "redirect": {"uri": "/"}},
        {"route": [{"destination": {"host": host}}], "retries": {"attempts": 3}},
    ]
    if is_delegating:
        routes.insert(0, {"name": "sandboxes", "delegate": {"name": f"pointsman-{host}"}})
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": host, "namespace": NAMESPACE, "creationTimestamp": "2026-11-25T10:00:00Z"},
        "spec": {"hosts": [host], "http": routes},
    }


def workload(number: int) -> Workload:
    return Workload(NAMESPACE, "Deployment", f"service-{number}")


def mesh(count: int, *, is_delegating: bool) -> Mesh:
    entries = []
    for number in range(count):
        host = service_host(f"service-{number}", NAMESPACE)
        entries.append(Service((f"service-{number}", host), 8080, workload(number), Endpoint(host, 80)))
    owners = [read_virtual_service(owner(number, is_delegating=is_delegating)) for number in range(count)]
    return Mesh(tuple(owners), tuple(entries))


def sandboxes(count: int, services: int) -> list[Route]:
    return [
        Route(
            f"key{number:05}",
            f"pr-{number}",
            workload(number % services),
            (Mapping(8080, None, "preserve", (Endpoint(f"pr-{number}.{NAMESPACE}.svc.cluster.local", 8080),)),),
        )
        for number in range(count)
    ]


def measure(name: str, run: Callable[[], Rendered]) -> Rendered:
    times = []
    for _ in range(5):
        start = process_time()
        rendered = run()
        times.append(process_time() - start)
    sizes = [len(json.dumps(each, separators=(",", ":"))) for each in rendered.objects]
    largest = f", the largest {max(sizes) / 1024:.1f} KiB" if sizes else ""
    routes = sum(len(json.loads(json.dumps(each))["spec"]["http"]) for each in rendered.objects)
    print(f"{name}: {median(times):.3f} s ({len(rendered.objects)} objects, {routes} routes{largest})")
    return rendered


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    services = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    keyed = sandboxes(count, services)
    print(f"{count} sandboxes over {services} VirtualServices of 3 routes, 2 of them to a forked workload")
    for own in ("delegate", "patch"):
        around = mesh(services, is_delegating=own == "delegate")
        for form in ("strict", "signadot"):
            options = Options(own=own, form=form)
            rendered = measure(f"rules, {form}, {own}", partial(render, around, keyed, options))
            assert not rendered.findings
        options = Options("router", ROUTER, own)
        measure(f"router, {own}", partial(render, around, keyed, options))
    patched = mesh(services, is_delegating=False)
    after = [change.after for change in render(patched, keyed, Options(own="patch")).changes]
    full = Mesh(tuple(read_virtual_service(dict(each)) for each in after if each is not None), patched.entries)
    measure("everything taken out", partial(removed, full))
    host, options = mesh(1, is_delegating=False), Options(router=ROUTER, own="patch")
    measure("all of one VirtualService, too large for rules", partial(render, host, sandboxes(count, 1), options))


if __name__ == "__main__":
    main()
