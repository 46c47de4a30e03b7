"""How far a table has got: what receipts say (`pointsman sandbox apply --wait`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.routing.names import Workload


@dataclass(frozen=True, slots=True)
class Missing:
    """A proxy that does not route by it. `state`: pending, disconnected, refused."""

    id: str
    state: str
    detail: str

    def document(self) -> dict[str, object]:
        return {"id": self.id, "state": self.state, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class OfWorkload:
    """A workload that the key has a route for."""

    workload: Workload
    proxies: int
    acknowledged: int
    has_destination: bool
    missing: tuple[Missing, ...]

    def document(self) -> dict[str, object]:
        return {
            "baseline": self.workload.document(),
            "proxies": self.proxies,
            "acknowledged": self.acknowledged,
            "hasDestination": self.has_destination,
            "missing": [each.document() for each in self.missing],
        }

    def faults(self) -> Iterator[str]:
        if not self.proxies and not self.missing:
            yield f"no proxy of {self.workload} is attached"
        for each in self.missing:
            yield f"{self.workload}: {each.id} is {each.state}: {each.detail}"
        if not self.has_destination:
            yield f"{self.workload}: the route has no destination"


@dataclass(frozen=True, slots=True)
class Progress:
    """`others`: attached proxies of other workloads that do not know the key yet."""

    attached: int
    knowing: int
    workloads: tuple[OfWorkload, ...]
    others: tuple[Missing, ...]

    @property
    def is_complete(self) -> bool:
        return not any(self.faults())

    def faults(self) -> Iterator[str]:
        for workload in self.workloads:
            yield from workload.faults()
        for each in self.others:
            yield f"{each.id} is {each.state}: {each.detail}"
