"""Which keys live and whose they are, which went within the hour, and the same of their routes.

A table alone cannot say it: a key that was deleted must be refused for an hour (SPEC 4), only its own namespace may
have it again within that hour (CHECKLIST M7), and both must hold although the controller was restarted, or was down
when the object went. So it also holds what lives: what lived at the last compilation and has no object now, went.

One small record per key: its document is about 150 bytes. A compilation says which records changed; whoever keeps them
gives all of them to the next compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from controller.errors import ObjectError
from controller.grammar import NAME_RULE, is_name
from controller.reader import MISSING, Reader, named
from controller.times import TIMESTAMP_RULE, parse_timestamp, timestamp
from proxy.routing.names import Workload

GONE: Final = timedelta(hours=1)

_RECORD: Final = named("namespace", "goneUntil routes")


@dataclass(frozen=True, slots=True)
class KeyMemory:
    """What is known of one key. Treat `routes` as read-only."""

    namespace: str  # whose the key is
    gone_until: datetime | None = None  # None: it lives
    routes: Mapping[Workload, datetime | None] = field(default_factory=dict)  # None: has a route, else gone until then

    @property
    def next_expiry(self) -> datetime | None:
        """When something of it is to be forgotten."""
        times = [until for until in (self.gone_until, *self.routes.values()) if until is not None]
        return min(times, default=None)

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {"namespace": self.namespace}
        if self.gone_until is not None:
            document["goneUntil"] = timestamp(self.gone_until)
        if self.routes:
            document["routes"] = {
                str(workload): timestamp(until) if until is not None else None
                for workload, until in self.routes.items()
            }
        return document


def live(known: KeyMemory | None, namespace: str, workloads: frozenset[Workload], now: datetime) -> KeyMemory:
    """What to remember of a key that lives, with routes for these workloads."""
    routes: dict[Workload, datetime | None] = dict.fromkeys(workloads)
    for workload, until in known.routes.items() if known is not None else ():
        if workload not in routes:
            kept = _until(until, now)
            if kept > now:
                routes[workload] = kept
    return KeyMemory(namespace, None, routes)


def gone(known: KeyMemory, now: datetime) -> KeyMemory | None:
    """What to remember of a key that nobody claims; None: its hour is over."""
    until = _until(known.gone_until, now)
    if until <= now:
        return None
    routes = {workload: _until(route_until, now) for workload, route_until in known.routes.items()}
    return KeyMemory(known.namespace, until, {workload: kept for workload, kept in routes.items() if kept > now})


def _until(until: datetime | None, now: datetime) -> datetime:
    """An hour from now at most: a clock that was ahead for a while must not reserve a key for years."""
    return now + GONE if until is None else min(until, now + GONE)


def read_memory(document: object) -> KeyMemory:
    """The inverse of `KeyMemory.document`.

    Raises: ObjectError with every fault.
    """
    reader = Reader()
    found = reader.fields(document, "", _RECORD)
    record = None
    if found is not None:
        namespace = reader.text(found.get("namespace", MISSING), "namespace", is_name, NAME_RULE)
        gone_until = reader.time(found.get("goneUntil", None), "goneUntil")
        routes: dict[Workload, datetime | None] = {}
        listed = found.get("routes", {})
        if not isinstance(listed, dict):
            reader.wrong("routes", "must be an object", listed)
            listed = {}
        for name, until in listed.items():
            try:
                workload = Workload.parse(name if isinstance(name, str) else "")
            except ValueError as error:
                reader.fault("routes", str(error))
                continue
            time = parse_timestamp(until) if isinstance(until, str) else None
            if until is not None and time is None:
                reader.wrong(f"routes.{workload}", f"must be null or {TIMESTAMP_RULE}", until)
            routes[workload] = time
        if namespace is not None:
            record = KeyMemory(namespace, gone_until, routes)
    if record is None or reader.faults:
        raise ObjectError(reader.faults)
    return record
