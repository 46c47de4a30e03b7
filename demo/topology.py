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


@dataclass(frozen=True, slots=True)
class Service:
    """A baseline workload. `port` is the workload's port, as in a table's mappings; the demo listens elsewhere."""

    name: str
    port: int
    framework: Framework
    calls: tuple[str, ...] = ()

    @property
    def workload(self) -> str:
        return f"{NAMESPACE}/Deployment/{self.name}"


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
        Service("frontend", 8080, Framework.FASTAPI, calls=("driver", "pricing")),
        Service("driver", 8082, Framework.FLASK, calls=("location",)),
        Service("location", 8081, Framework.FASTAPI, calls=("route",)),
        Service("route", 8083, Framework.FLASK),
        Service("pricing", 8084, Framework.FLASK),
    )
}
ENTRY: Final = "frontend"

FIRST: Final = Sandbox("local-location", "location", "qwblp48fpmb30", ("ENTRANCE", "north"))
SECOND: Final = Sandbox("pr-124", "location", "n4x7t2dk09vqe", ("ENTRANCE", "south"))
SANDBOXES: Final = {sandbox.name: sandbox for sandbox in (FIRST, SECOND)}

UNKNOWN_KEY: Final = "zzzz000000zzz"  # no sandbox has or had it


def chain(name: str = ENTRY, depth: int = 0) -> Iterator[tuple[int, str]]:
    """Each hop of a request, in order, with its depth."""
    yield depth, name
    for called in SERVICES[name].calls:
        yield from chain(called, depth + 1)
