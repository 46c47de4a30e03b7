"""The demo's services in a mesh: an Envoy as the sidecar of every caller, a router, an Envoy as the router's sidecar.

    caller -> Envoy (callers' rules) -> router -> Envoy (the router's rules) -> the service's own proxy, or a fork
                                    \\-> the service's own proxy, or a fork

The rules are what `controller.istio` writes for the table's routes, translated as istiod does. Nothing captures traffic
here, so what a mesh does by iptables is done by names: HTTP clients take their Envoy for a proxy (`http_proxy`), gRPC's
and the router's names are resolved to it by a DNS server of the test. Every Service has port 80.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.istio.mesh import Mesh
from controller.istio.names import service_host
from controller.istio.render import Options, render
from controller.istio.virtualservices import read_virtual_service
from demo import instrumented
from demo.client import Response as Ridden
from demo.client import get
from demo.ports import held_ports
from demo.processes import Processes, clean_environ
from demo.stack import Instance
from demo.topology import BASELINE, BEHIND, ENTRY, FIRST, NAMESPACE, SERVICES, Framework, Sandbox
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping as PortMapping
from proxy.routing.table import Route, Service
from tests.support import dns, istiod
from tests.support.client import Client, Response
from tests.support.client import get as request
from tests.support.istiod.actions import cluster
from tests.support.proxy import Proxy, run_proxy, run_router, table

ROUTER = service_host("pointsman-router", "pointsman")
SANDBOXES = (FIRST, BEHIND)
_START_S = 60.0


def host(name: str) -> str:
    return service_host(name, NAMESPACE)


def workload(name: str) -> Workload:
    return Workload(NAMESPACE, "Deployment", name)


ENTRIES = tuple(
    Service((name, host(name)), service.port, workload(name), Endpoint(host(name), 80))
    for name, service in SERVICES.items()
)
ROUTES = tuple(
    Route(
        sandbox.routing_key,
        sandbox.name,
        workload(sandbox.fork_of),
        (PortMapping(SERVICES[sandbox.fork_of].port, None, "destination", (Endpoint(host(sandbox.name), 80),)),),
    )
    for sandbox in SANDBOXES
)


def rendered(owners: Sequence[Mapping[str, Any]], options: Options) -> list[dict[str, Any]]:
    """The mesh's VirtualServices: the owners', as they are with ours in them, and ours."""
    found = render(Mesh(tuple(map(read_virtual_service, owners)), ENTRIES), ROUTES, options)
    assert found.findings == ()
    by_name = {(one["metadata"]["namespace"], one["metadata"]["name"]): dict(one) for one in owners}
    for change in found.changes:
        assert change.after is not None
        by_name[change.namespace, change.name] = dict(change.after)
    return list(by_name.values())


@dataclass
class Chain:
    """Everything running."""

    entry: str  # the callers' Envoy
    router: Proxy
    sidecars: Mapping[str, Proxy]
    instances: Sequence[Instance]
    tables: Mapping[str, Any]
    mode: str
    processes: Processes = field(repr=False)

    def ride(self, **headers: str) -> Ridden:
        return get(self.entry, "/ride", {"Host": host(ENTRY), **headers})

    def ask(self, name: str, method: str, target: str, headers: Mapping[str, str]) -> Response:
        """One request to a service by its name."""
        lines = [f"{field}: {value}" for field, value in headers.items()]
        with contextlib.closing(Client(int(self.entry.rpartition(":")[2]))) as client:
            return client.ask(request(target, *lines, method=method, host=host(name)))


def decided(proxy: Proxy, reason: str = "") -> int:
    """How many requests it has decided, for this reason or any."""
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in proxy.page("/metrics")[1].decode().splitlines()
        if line.startswith("pointsman_requests_total{") and f'reason="{reason}' in line
    )


def router_table(port: int, authority: str) -> dict[str, Any]:
    """The router's table: as the mesh's, but that its sidecar is found at a port of its own."""
    routes = []
    for route in ROUTES:
        (mapping,) = route.mappings
        document = {"port": mapping.port, "authority": authority}
        document["destinations"] = [{"host": one.host, "port": port} for one in mapping.destinations]
        routes.append({**route.document(), "mappings": [document]})
    services = [{**entry.document(), "upstream": {"host": entry.upstream.host, "port": port}} for entry in ENTRIES]
    return table(*routes, services=services, version=authority)


@contextlib.contextmanager
def run_chain(folder: Path, options: Options, owners: Sequence[Mapping[str, Any]]) -> Iterator[Chain]:
    """With the rules of these options. The router's table says `authority: destination`; `Chain.tables` has the other.
    Skips where there is no Envoy."""
    virtual_services = rendered(owners, options)
    names = [*SERVICES, *(sandbox.name for sandbox in SANDBOXES)]
    with contextlib.ExitStack() as stack:
        ports = dict(zip([*names, "router"], stack.enter_context(held_ports(len(names) + 1)), strict=True))
        sidecars = {
            name: stack.enter_context(_sidecar(_made(folder / f"{name}-proxy"), name, ports)) for name in SERVICES
        }
        services = [istiod.Service(host(name)) for name in names] + [istiod.Service(ROUTER)]
        outbound, routers = stack.enter_context(
            istiod.run_mesh(
                _made(folder / "envoy"),
                [
                    istiod.route_configuration(virtual_services, services, 80, istiod.Caller(namespace))
                    for namespace in (NAMESPACE, "pointsman")
                ],
                _backends({name: sidecars[name].port if name in sidecars else ports[name] for name in ports}),
            )
        )
        zone = stack.enter_context(dns.serve())
        zone.names = {host(name): ["127.0.0.1"] for name in names}
        flags = (
            *("--listen", f"127.0.0.1:{ports['router']}", "--dns-server", f"127.0.0.1:{zone.port}"),
            *("--destination-allow", "127.0.0.1/32", "--decision-header"),
        )
        tables = {authority: router_table(routers, authority) for authority in ("destination", "preserve")}
        router = stack.enter_context(run_router(_made(folder / "router"), tables["destination"], flags=flags))
        processes = Processes(_made(folder / "logs"))
        stack.callback(processes.stop)
        instances = _start(processes, ports, outbound, zone.port)
        for instance in instances:
            processes.wait_for(f"{instance.version} {instance.service} to answer", instance.is_up, _START_S)
        yield Chain(f"127.0.0.1:{outbound}", router, sidecars, instances, tables, options.mode, processes)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _sidecar(folder: Path, name: str, ports: Mapping[str, int]) -> contextlib.AbstractContextManager[Proxy]:
    """The service's own proxy, by the same routes."""
    routes = []
    for route, sandbox in zip(ROUTES, SANDBOXES, strict=True):
        (mapping,) = route.mappings
        destination = {"host": "127.0.0.1", "port": ports[sandbox.name]}
        routes.append({**route.document(), "mappings": [{"port": mapping.port, "destinations": [destination]}]})
    return run_proxy(
        folder,
        ports[name],
        document=table(*routes),
        workload=SERVICES[name].workload,
        workload_ports=(SERVICES[name].port,),
        flags=("--decision-header",),
    )


def _backends(ports: Mapping[str, int]) -> dict[str, istiod.Backend]:
    """What is called by gRPC speaks HTTP/2; the router speaks what its callers speak, as a port without a protocol."""
    forked = {sandbox.name: sandbox.fork_of for sandbox in SANDBOXES}
    backends = {}
    for name, port in ports.items():
        if name == "router":
            backends[cluster({"host": ROUTER}, 80)] = istiod.Backend(port, protocol="as it came")
        else:
            is_grpc = SERVICES[forked.get(name, name)].framework is Framework.GRPC
            protocol = "http2" if is_grpc else "http"
            backends[cluster({"host": host(name)}, 80)] = istiod.Backend(port, protocol=protocol)
    return backends


def _start(processes: Processes, ports: Mapping[str, int], outbound: int, dns_port: int) -> list[Instance]:
    """The services and the forks, which call each other by name, through their Envoy."""
    instances = []
    versions: list[tuple[str, str, Sandbox | None]] = [(name, BASELINE, None) for name in SERVICES]
    versions += [(sandbox.fork_of, sandbox.name, sandbox) for sandbox in SANDBOXES]
    for name, version, sandbox in versions:
        service, port = SERVICES[name], ports[version if sandbox else name]
        urls = {}
        for called in service.calls:
            is_grpc = SERVICES[called].framework is Framework.GRPC
            through = f"dns://127.0.0.1:{dns_port}/{host(called)}:{outbound}" if is_grpc else f"http://{host(called)}"
            urls[f"{called.upper()}_URL"] = through
        environ = {
            **clean_environ(),
            **instrumented.environ(service),
            **urls,
            **dict([sandbox.change] if sandbox else []),
            "SERVICE": name,
            "VERSION": version,
            "PORT": str(port),
            "http_proxy": f"http://127.0.0.1:{outbound}",
            "no_grpc_proxy": "cluster.local",
            "GRPC_DNS_RESOLVER": "ares",
        }
        pid = processes.start(version if sandbox else name, instrumented.command(service, port), environ)
        instances.append(Instance(name, version, port, pid))
    return instances


def missing() -> str | None:
    """Why the chain can't run here."""
    from demo.__main__ import missing_packages

    packages = " ".join(missing_packages())
    if packages:
        return f"demo/requirements.txt is not installed: {packages}"
    return None if sys.platform == "linux" else "ports are held on Linux only"
