"""What the mesh can't do as a sandbox asks: for the condition `MeshRouted` of its object, and for people.

A finding belongs to a routing key, whose sandbox or group it is about, or to none, where it is about a host for every
key (fan-in). Whatever keeps a sandbox's route from standing is found; what was only assumed is a note, a line of text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.conditions import Finding, listed

CONDITION: Final = "MeshRouted"


@dataclass(frozen=True, slots=True)
class MeshFinding:
    """`place`: what in the mesh it is about, as `VirtualService hotrod/location`. `is_routed`: requests go where they
    should all the same."""

    routing_key: str | None
    sandbox: str | None
    reason: str
    place: str
    message: str
    is_routed: bool = False

    @property
    def is_for_all(self) -> bool:
        return self.routing_key is None

    def __str__(self) -> str:
        whose = f"sandbox {self.sandbox} (key {self.routing_key}): " if self.routing_key is not None else ""
        return f"{whose}{self.reason}: {self.place}: {self.message}"

    def document(self) -> dict[str, object]:
        return {
            "type": CONDITION,
            "routingKey": self.routing_key,
            "sandbox": self.sandbox,
            "reason": self.reason,
            "place": self.place,
            "message": self.message,
            "isRouted": self.is_routed,
        }


def conditions(findings: Iterable[MeshFinding], keys: Iterable[str]) -> Mapping[str, Finding]:
    """By key, the condition of the object that has it. What is found for all keys is in each."""
    all_findings = sorted(set(findings), key=order)
    of_all = [finding for finding in all_findings if finding.is_for_all]
    by_key: dict[str, list[MeshFinding]] = {}
    for finding in all_findings:
        if finding.routing_key is not None:
            by_key.setdefault(finding.routing_key, []).append(finding)
    return {key: _condition([*by_key.get(key, ()), *of_all]) for key in keys}


def _condition(findings: list[MeshFinding]) -> Finding:
    faults = [finding for finding in findings if not finding.is_routed]
    told = faults or findings
    if not told:
        return Finding(CONDITION, True, "Routed")
    text = listed(f"{finding.place}: {finding.message}" for finding in told)
    return Finding(CONDITION, not faults, told[0].reason, text)


def order(finding: MeshFinding) -> tuple[str, ...]:
    return finding.routing_key or "", finding.reason, finding.place, finding.message
