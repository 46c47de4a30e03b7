"""What the controller says of an object: its conditions, one table of types and reasons.

| type | of | False because |
|---|---|---|
| Accepted | both | `KeyClaimed`: another object has the key; `KeyReserved`: another namespace had it within the hour; |
|          |      | `NoKey`: none is assigned yet; `Deleting` |
| TargetsAllowed | sandboxes with `local` | `TargetNotAllowed` |
| WorkloadsKnown | sandboxes, where workloads are known | `UnknownWorkload`, `UnknownPort` |
| ForksReady | sandboxes with `forks` | `NeedsCluster` |
| Matched | route groups | `NoSandbox` |
| Unambiguous | route groups | `WorkloadTwice` |
| MeshRouted | both, where Istio's manifests are written | `DelegateMissing`: the owner has not included ours yet; |
|   |   | `DelegateTooLate`, `DelegateShared`: it stands, or is named, wrongly; `OptedOut`; `NameTaken`; |
|   |   | `MatchConflict`: an owner's route matches on our headers itself; `MatchTooLong`; `NotHttp`: tcp, tls; |
|   |   | `NotInMesh`: a destination is no host of the mesh; `PortUnknown`: no Service says which; `NotReached`; |
|   |   | `ObjectTooLarge`; `AmbientMode`. True with `FanIn`: an object was too large, and the router decides |
| Ready | both | `NotAccepted`; `NoDestination`: a route leads nowhere; `NoRoute`: a group without any |

`Ready` says that the table is as the object asks, not that proxies have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from controller.objects import Condition, Status

_MAX_MESSAGE: Final = 1024


class Finding(NamedTuple):
    """A condition without its history."""

    type: str
    is_true: bool
    reason: str
    message: str = ""


def findings_to_conditions(
    findings: Iterable[Finding], before: Status, generation: int | None, now: datetime
) -> tuple[Condition, ...]:
    """The conditions in Kubernetes' shape: the time of the last transition stays while the status does."""
    conditions = []
    for finding in findings:
        status = "True" if finding.is_true else "False"
        last = before.condition(finding.type)
        since = last.last_transition_time if last is not None and last.status == status else now.replace(microsecond=0)
        message = finding.message
        if len(message) > _MAX_MESSAGE:
            message = message[: _MAX_MESSAGE - 3] + "..."
        conditions.append(Condition(finding.type, status, finding.reason, message, since, generation))
    return tuple(conditions)


def listed(texts: Iterable[str]) -> str:
    """Several messages as one: the first ten, and how many more."""
    all_texts = list(texts)
    more = len(all_texts) - 10
    return "; ".join(all_texts[:10]) + (f"; and {more} more" if more > 0 else "")
