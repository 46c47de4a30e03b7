"""Who calls whom, and which sandboxes fork whom: data only, the one place that the rest reads it from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

NAMESPACE: Final = "hotrod-istio"
BASELINE: Final = "baseline"  # the version that everyone gets; other versions are named as their sandbox


class Framework(Enum):
    FASTAPI = "FastAPI"
    FLASK = "Flask"
    GRPC = "gRPC"


@dataclass(frozen=True, slots=True)
class Service:
    """A baseline workload. `port` is the workload's port, as in a table's mappings; the demo listens elsewhere."""

    name: str
    port: int
    framework: Framework
    instrumented: tuple[str, ...]  # the libraries that it receives and calls by, as OpenTelemetry names them
    calls: tuple[str, ...] = ()

    @property
    def workload(self) -> str:
        return f"{NAMESPACE}/Deployment/{self.name}"

    @property
    def protocol(self) -> str:
        return "gRPC" if self.framework is Framework.GRPC else "HTTP/1.1"

    def url(self, address: str) -> str:
        """What a caller is told, if this service, or its sidecar, is at this address."""
        return f"dns:///{address}" if self.framework is Framework.GRPC else f"http://{address}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A fork of one service. Its change to the service is a variable here, where it would be an image in a cluster."""

    name: str
    fork_of: str
    routing_key: str
    change: tuple[str, str]


SERVICES: Final = {
    service.name: service
    for service in (
        Service("frontend", 8080, Framework.FASTAPI, ("fastapi", "httpx"), calls=("driver", "pricing")),
        Service("driver", 8082, Framework.FLASK, ("flask", "grpc_client"), calls=("location",)),
        Service("location", 8081, Framework.GRPC, ("grpc_server", "requests"), calls=("route",)),
        Service("route", 8083, Framework.FLASK, ("flask",)),
        Service("pricing", 8084, Framework.FLASK, ("flask",)),
    )
}
ENTRY: Final = "frontend"

FIRST: Final = Sandbox("local-location", "location", "qwblp48fpmb30", ("ENTRANCE", "north"))
SECOND: Final = Sandbox("pr-124", "location", "n4x7t2dk09vqe", ("ENTRANCE", "south"))
BEHIND: Final = Sandbox("pr-125", "route", "b8c3wq6ym1hfz", ("MINUTES", "3"))  # a key must pass location to get there
SANDBOXES: Final = {sandbox.name: sandbox for sandbox in (FIRST, SECOND, BEHIND)}
PENDING: Final = Sandbox("pr-126", "location", "5tj0vr9xkse2a", ("ENTRANCE", "west"))  # in the table, never started

UNKNOWN_KEY: Final = "zzzz000000zzz"  # no sandbox has or had it


def chain(name: str = ENTRY, depth: int = 0) -> Iterator[tuple[int, str]]:
    """Each hop of a request, in order, with its depth."""
    yield depth, name
    for called in SERVICES[name].calls:
        yield from chain(called, depth + 1)
