"""Which workloads an object changes and where their requests go, and what is wrong with that: of the object alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.allow import AllowList
from controller.objects import Local, Ref, RouteGroup, Sandbox
from proxy.routing.names import Workload
from proxy.routing.table import Mapping as PortMapping

Change = tuple[Workload, str, tuple[PortMapping, ...]]  # a route without its key: workload, sandbox, mappings


@dataclass(frozen=True, slots=True)
class Changes:
    """`routes`, by workload; `faults` by the type of the condition that tells them; a group's `members`."""

    routes: tuple[Change, ...]
    faults: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...] = ()

    def nowhere(self) -> list[Workload]:
        """The workloads whose requests get 503 on one of their ports, or on all."""
        return [
            workload
            for workload, _, mappings in self.routes
            if not mappings or not all(mapping.destinations for mapping in mappings)
        ]


NO_FAULTS: Final[Mapping[str, tuple[str, ...]]] = {}


def changes_of_sandbox(
    sandbox: Sandbox, allow: AllowList, workloads: Mapping[Workload, frozenset[int]] | None
) -> Changes:
    """What a sandbox changes. Forks are not made here: their routes have the workload's ports, as far as they are
    known, and no destination."""
    name = sandbox.metadata.name
    refused: list[str] = []
    unknown: list[str] = []
    routes: list[Change] = []
    for index, fork in enumerate(sandbox.spec.forks):
        ports = workloads.get(fork.fork_of) if workloads is not None else frozenset()
        if ports is None:
            unknown.append(f"spec.forks[{index}].forkOf: there is no {fork.fork_of}")
        mappings = tuple(PortMapping(port, None, "preserve", ()) for port in sorted(ports or ()))
        routes.append((fork.fork_of, name, mappings))
    for index, local in enumerate(sandbox.spec.local):
        path = f"spec.local[{index}]"
        routes.append((local.from_, name, _local_mappings(local, path, allow, refused)))
        if workloads is not None:
            unknown.extend(_unknown(local, path, workloads))
    routes.sort(key=lambda change: change[0])
    if not refused and not unknown:
        return Changes(tuple(routes), NO_FAULTS)
    return Changes(tuple(routes), {"TargetsAllowed": tuple(refused), "WorkloadsKnown": tuple(unknown)})


def _local_mappings(local: Local, path: str, allow: AllowList, refused: list[str]) -> tuple[PortMapping, ...]:
    mappings = []
    for index, mapping in enumerate(local.mappings):
        refusal = allow.refusal(mapping.to_local.host)
        if refusal is not None:
            refused.append(f"{path}.mappings[{index}].toLocal: {mapping.to_local} {refusal}")
        destinations = (mapping.to_local,) if refusal is None else ()
        mappings.append(PortMapping(mapping.port, mapping.app_protocol, "preserve", destinations))
    if len(mappings) > 1:
        mappings.sort(key=lambda mapping: mapping.port)
    return tuple(mappings)


def _unknown(local: Local, path: str, workloads: Mapping[Workload, frozenset[int]]) -> Iterable[str]:
    ports = workloads.get(local.from_)
    if ports is None:
        yield f"{path}.from: there is no {local.from_}"
        return
    for index, mapping in enumerate(local.mappings):
        if mapping.port not in ports:
            yield f"{path}.mappings[{index}].port: {local.from_} has no port {mapping.port}"


def changes_of_group(group: RouteGroup, members: Sequence[tuple[Ref, Changes]]) -> Changes:
    """What a group changes: the changes of its members, by sandbox's name. A workload that two of them change has no
    destination, on any port that one of them maps, and the group's own name: no sandbox is to blame."""
    by_workload: dict[Workload, list[tuple[Ref, Change]]] = {}
    for ref, changes in members:
        for change in changes.routes:
            by_workload.setdefault(change[0], []).append((ref, change))
    routes: list[Change] = []
    conflicts: list[str] = []
    for workload in sorted(by_workload):
        found = by_workload[workload]
        if len(found) == 1:
            routes.append(found[0][1])
            continue
        ports = sorted({mapping.port for _, change in found for mapping in change[2]})
        routes.append((workload, group.metadata.name, tuple(PortMapping(port, None, "preserve", ()) for port in ports)))
        names = ", ".join(f"{ref.namespace}/{ref.name}" for ref, _ in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        conflicts.append(f"{workload} is changed by {names}{more}")
    faults = {"Unambiguous": tuple(conflicts)} if conflicts else NO_FAULTS
    return Changes(tuple(routes), faults, tuple(f"{ref.namespace}/{ref.name}" for ref, _ in members))
