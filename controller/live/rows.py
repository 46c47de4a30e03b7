"""What rows say: objects with what became of them, who answered, proxies, and how far each has got. Pure.

Nothing is judged here: how many proxies route by an object, and whether that is all, is a matter of three rows (the
object's `position`, the proxies, the table's `behind`), so a reader puts it together, and a proxy that comes, goes or
answers changes its own row and not those of a thousand objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from controller.changes import Changes
from controller.feed.hub import Lost
from controller.feed.subscription import Subscription
from controller.feed.traffic import TrafficBook
from controller.live.board import Audience, Scopes, is_for
from controller.objects import Object, Ref, Status
from controller.times import timestamp
from proxy.routing.names import Workload

Document = dict[str, object]

Refusals = tuple[tuple[str, tuple[str, ...]], ...]  # of one object's routes: a proxy, and why


def object_id(ref: Ref) -> str:
    return str(ref)


def traffic_id(ref: Ref) -> str:
    return f"traffic {ref}"


def proxy_id(workload: Workload | None, id_: str) -> str:
    return f"proxy {workload or ''} {id_}"


def object_row(
    object_: Object,
    status: Status,
    changes: Changes | None,
    *,
    position: int,
    refusals: Refusals,
    owner_label: str,
) -> Document:
    """`position`: of the table that had it first as it is now."""
    metadata = object_.metadata
    row: Document = {
        "row": "object",
        "kind": object_.ref.kind,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "labels": dict(metadata.labels),
        "owner": metadata.labels.get(owner_label),
        "key": status.routing_key,
        "asked": object_.spec.routing_key,
        "made": _time(metadata.creation_timestamp),
        "updated": _time(status.updated_at),
        "expires": _time(status.expires_at),
        "deleting": _time(metadata.deletion_timestamp),
        "position": position,
        "conditions": [
            [each.type, each.status, each.reason, each.message, timestamp(each.last_transition_time)]
            for each in status.conditions
        ],
        "workloads": _workloads(changes) if changes is not None else [],
        "endpoints": [each.document() for each in status.endpoints],
        "members": list(status.sandboxes),
        "refusals": [{"proxy": proxy, "faults": faults} for proxy, faults in refusals],
    }
    return {name: value for name, value in row.items() if value not in (None, [], {})}


def _workloads(changes: Changes) -> list[Document]:
    """With a group's sandbox, and where each port leads; nowhere: 503."""
    return [
        {
            "workload": str(workload),
            "sandbox": sandbox,
            "ports": [[mapping.port, [str(each) for each in mapping.destinations]] for mapping in mappings],
        }
        for workload, sandbox, mappings in changes.routes
    ]


def traffic_row(
    key: str, workloads: Iterable[Workload], traffic: TrafficBook, since_s: float, made: datetime | None
) -> Document | None:
    """Who answered with the key, by workload, as `traffic` counts it; None: nobody did."""
    made_s = made.timestamp() if made is not None else None
    counts: Document = {}
    for workload in workloads:
        found = traffic.answered(key, workload, since_s, made_s)
        if found.from_sandbox or found.from_baseline:
            counts[str(workload)] = [found.from_sandbox, found.from_baseline]
    return {"row": "traffic", "counts": counts} if counts else None


def proxy_row(each: Subscription | Lost, *, is_rival: bool) -> Document:
    """What it has is in the table's row."""
    row: Document = {
        "row": "proxy",
        "proxy": each.id,
        "workload": str(each.workload) if each.workload is not None else None,
        "release": each.release,
    }
    if isinstance(each, Subscription):
        return row | {"connected": True, "since": timestamp(each.since), "faults": each.faults, "rival": is_rival}
    return row | {"connected": False, "since": timestamp(each.at), "position": each.position}


@dataclass(frozen=True, slots=True)
class Lag:
    """A proxy that has not got the table that there is. `since`: when the first one came that it lacks."""

    id: str
    scopes: Scopes
    known: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Table:
    """`attached`: proxies, all of them. `routed`: the workloads that routers are proxies of."""

    position: int
    version: str
    attached: int
    routed: tuple[Workload, ...]
    behind: tuple[Lag, ...]
    fault: str | None

    def row(self, audience: Audience) -> Mapping[str, object]:
        """How many are behind everybody is told; which, those who may see them."""
        histogram: dict[int, int] = {}
        for lag in self.behind:
            histogram[lag.known] = histogram.get(lag.known, 0) + 1
        return {
            "row": "table",
            "position": self.position,
            "version": self.version,
            "attached": self.attached,
            "lacking": sorted(histogram.items()),
            "routed": [str(each) for each in self.routed if audience is None or each.namespace in audience],
            "behind": {lag.id: [lag.known, _time(lag.since)] for lag in self.behind if is_for(lag.scopes, audience)},
            "fault": self.fault,
        }


def _time(time: datetime | None) -> str | None:
    return timestamp(time) if time is not None else None
