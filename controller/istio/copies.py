"""What is added to an owner's list of routes, before it is decided in which object it stands (`ownership`).

Each copy belongs to a token, the condition that it is under: a routing key, or with fan-in a workload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controller.istio.matches import HeaderMatch
from controller.istio.virtualservices import Route
from proxy.routing.names import Workload


class Scope(NamedTuple):
    """Whose list of routes: the object's namespace and what findings call it, the hosts that its routes are for, and
    whether sidecars have it, or gateways alone."""

    namespace: str
    place: str
    hosts: tuple[str, ...]
    is_for_mesh: bool


class Copy(NamedTuple):
    """`workloads`: those that it leads to in place of."""

    token: str
    route: Route
    workloads: tuple[Workload, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """`before[i]`: what stands directly before the owner's route i. `top`: what stands before all of them.

    `torn[i]`: tokens whose condition some match block of the owner's route i can't have: what it takes is lost for
    them.
    """

    before: Sequence[Sequence[Copy]]
    torn: Sequence[frozenset[str]]
    conditions: Mapping[str, Sequence[HeaderMatch]]
    top: Sequence[Route] = ()

    @property
    def is_empty(self) -> bool:
        return not any(self.before)

    def tokens(self) -> list[str]:
        """Those that have a copy, in their order."""
        return list(dict.fromkeys(copy.token for copies in self.before for copy in copies))
