"""The feed's messages, both ways, each with its wire form (`fields`); reading them is `wire`'s part. Pure.

    proxy -> controller: Hello  Ack  Nack  Resync  Traffic  Goodbye
    controller -> proxy: Snapshot (in parts)  Change (in parts where it is large)  Current  Report  Counted  Refused

- The proxy opens with `Hello`. The controller answers with `Current` (what you have is what there is), a `Change` from
  the position that the proxy handed over, a `Snapshot`, or, as long as it has not read its own store, nothing.
- `Snapshot`, `Change` and `Current` carry a nonce, and get one `Ack` or one `Nack` with it, after the last part. A
  `Nack` that is not `is_whole` took the table but for the routes that it names; no `Ack` follows it, and it stands
  until those routes are sent again. Parts count from 0 and come in order, with the same nonce, position and version.
- A `Change` fits on the table at `from_position` only; a proxy that has another one answers `Resync`.
- `salt` says by what the keys that are digests were digested (`proxy.routing.digest`). With another salt than it has a
  proxy can't take a change: the controller compares the one in `Hello`, the proxy those in `Change` and `Current`.
- A router has no workload: it gets the whole table, with keys as they are (no salt), and what routers alone need,
  services and previews. Where a sidecar's lists hold keys of its workload, a router's hold `{routingKey, baseline}`.
- Everything is bounded: messages in bytes, lists in entries, texts in characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SUBPROTOCOL: Final = "pointsman.feed.v1"
PATH: Final = "/feed/v1"
SCHEMA: Final = "pointsman.dev/v1alpha1"

# What one message may hold, so that reading it stalls a proxy's loop for a few milliseconds only. A sender splits where
# any of the first four is reached; more than `MAX_MESSAGE_BYTES` is not read (one large route may come on top).
PART_ROUTES: Final = 500
PART_KEYS: Final = 20_000
PART_HOSTS: Final = 500  # services and previews
PART_BYTES: Final = 1 << 20
MAX_MESSAGE_BYTES: Final = 2 << 20
# The whole of a slice, far above the 100,000 routes and keys that are meant to work.
MAX_ROUTES: Final = 250_000
MAX_KEYS: Final = 1_000_000
MAX_SERVICES: Final = 20_000
MAX_PREVIEWS: Final = 250_000
MAX_COUNTS: Final = 2_000  # keys in one traffic message
MAX_FAULTS: Final = 100
MAX_FAULT: Final = 500  # characters
_ROUTE_FAULTS: Final = 5
MAX_POSITION: Final = (1 << 53) - 1

# Both sides ping so often, and call the other one dead if no pong comes within the timeout: 30 s in all.
HEARTBEAT_S: Final = 10.0
HEARTBEAT_TIMEOUT_S: Final = 20.0

SIDECAR: Final = "sidecar"
ROUTER: Final = "router"

Fields = dict[str, object]


# --- proxy -> controller -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Who is there, and what it has: nothing (`position` None), or a table, maybe from its state file.

    A position without a version: a table that lacks routes which were refused. It must get all again, since whoever
    hears that it has this version takes the table for whole.
    """

    id: str  # stable for as long as the process lives, and better for as long as the pod does
    boot: str  # random, new in each process
    workload: str | None  # namespace/kind/name; None: a router, of whatever its services name
    ports: tuple[int, ...] = ()
    release: str = ""
    position: int | None = None
    version: str | None = None
    salt: str | None = None  # of the table that it has
    schemas: tuple[str, ...] = (SCHEMA,)

    def fields(self) -> Fields:
        proxy: Fields = {"id": self.id, "boot": self.boot}
        proxy |= {"mode": ROUTER} if self.workload is None else {"workload": self.workload}
        proxy |= {"ports": self.ports, "release": self.release or None}
        fields: Fields = {"type": "hello", "schemas": self.schemas, "proxy": proxy}
        return fields | {"position": self.position, "version": self.version, "salt": self.salt}


@dataclass(frozen=True, slots=True)
class Ack:
    """The table of this position is in force."""

    nonce: str
    position: int
    version: str

    def fields(self) -> Fields:
        return {"type": "ack", "nonce": self.nonce, "position": self.position, "version": self.version}


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """A route that can't be read. It keeps its last good form, else it has no destinations (SPEC 5)."""

    routing_key: str
    faults: tuple[str, ...]
    workload: str | None = None  # of a router's

    def document(self) -> Fields:
        fields: Fields = {"routingKey": self.routing_key, "faults": _cut(self.faults[:_ROUTE_FAULTS])}
        return fields if self.workload is None else fields | {"workload": self.workload}


@dataclass(frozen=True, slots=True)
class Nack:
    """`is_whole`: refused, the old table stays. Else: in force, but for these routes."""

    nonce: str
    faults: tuple[str, ...]
    is_whole: bool
    routes: tuple[RefusedRoute, ...] = ()

    def fields(self) -> Fields:
        routes = [route.document() for route in self.routes[:MAX_FAULTS]]
        fields: Fields = {"type": "nack", "nonce": self.nonce, "faults": _cut(self.faults)}
        return fields | {"isWhole": self.is_whole, "routes": routes}


@dataclass(frozen=True, slots=True)
class Resync:
    """The change does not fit on what I have: send a snapshot."""

    def fields(self) -> Fields:
        return {"type": "resync"}


@dataclass(frozen=True, slots=True)
class Count:
    """Requests with this key that got their response head from the sandbox, and from the baseline."""

    key: str
    from_sandbox: int
    from_baseline: int
    workload: str | None = None  # of a router's

    def document(self) -> tuple[object, ...]:
        both = self.key, self.from_sandbox, self.from_baseline
        return both if self.workload is None else (*both, self.workload)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted since the message before, by `seq`; the same message again after a break, until `Counted`.

    `seq` counts from 1 in each process (`Hello.boot`). `lost`: there were more keys than fit, so requests went
    uncounted. `reply`: the token of the report that asked for it.
    """

    seq: int
    counts: tuple[Count, ...]
    lost: bool = False
    reply: str | None = None

    def fields(self) -> Fields:
        counts = [each.document() for each in self.counts]
        fields: Fields = {"type": "traffic", "seq": self.seq, "counts": counts}
        return fields | {"lost": self.lost, "reply": self.reply}


@dataclass(frozen=True, slots=True)
class Goodbye:
    """I leave as I should; all that I counted was sent."""

    def fields(self) -> Fields:
        return {"type": "goodbye"}


# --- controller -> proxy -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One part of the whole slice. `document`: a RoutingTable document with this part's content. For routers its live
    keys are all that live, those of its routes too."""

    nonce: str
    position: int
    version: str
    document: Mapping[str, object]
    part: int = 0
    is_last: bool = True

    def fields(self) -> Fields:
        fields: Fields = {"type": "snapshot", "nonce": self.nonce, "position": self.position, "version": self.version}
        return fields | {"part": self.part, "isLast": self.is_last, "document": self.document}


CHANGE_LISTS: Final = {
    "routes": "routes",
    "removed_routes": "removedRoutes",
    "live_keys": "liveKeys",
    "not_live_keys": "notLiveKeys",
    "gone_keys": "goneKeys",
    "not_gone_keys": "notGoneKeys",
    "gone_routes": "goneRoutes",
    "not_gone_routes": "notGoneRoutes",
    "previews": "previews",
    "removed_previews": "removedPreviews",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One part of what changed since `from_position`.

    Live and gone keys are named as in the snapshot: with a salt all of them by digest; those of routes and gone routes
    stand for themselves, and a key with a route is live by it. What is removed goes first, what is added wins. Each
    list holds a key, or a workload's key, once, over all parts.

    `services`, where they changed, are all of them, over all parts; None in all parts: they are as they were. What is
    said of previews is new and changed ones, and those that are not any more, by what their hosts are made of
    (`removedPreviews`: {domain, endpoint, routingKey}).
    """

    nonce: str
    position: int
    from_position: int
    version: str
    routes: Sequence[object] = ()  # documents of new and changed ones
    removed_routes: Sequence[object] = ()  # keys, or documents
    live_keys: Sequence[str] = ()
    not_live_keys: Sequence[str] = ()
    gone_keys: Sequence[str] = ()
    not_gone_keys: Sequence[str] = ()
    gone_routes: Sequence[object] = ()  # documents
    not_gone_routes: Sequence[object] = ()  # keys, or documents
    previews: Sequence[object] = ()  # documents
    removed_previews: Sequence[object] = ()  # documents
    services: Sequence[object] | None = None  # documents
    salt: str | None = None
    part: int = 0
    is_last: bool = True

    def fields(self) -> Fields:
        fields: Fields = {"type": "change", "nonce": self.nonce, "position": self.position}
        fields |= {"from": self.from_position, "version": self.version, "salt": self.salt}
        fields |= {"part": self.part, "isLast": self.is_last}
        if self.services is not None:
            fields["services"] = list(self.services)
        return fields | {name: list(entries) for name, entries in self._lists() if entries}

    def _lists(self) -> Iterable[tuple[str, Sequence[object]]]:
        for attribute, name in CHANGE_LISTS.items():
            entries: Sequence[object] = getattr(self, attribute)
            yield name, entries


@dataclass(frozen=True, slots=True)
class Current:
    """What you have is what there is; your position is this one now."""

    nonce: str
    position: int
    version: str
    salt: str | None = None

    def fields(self) -> Fields:
        fields: Fields = {"type": "current", "nonce": self.nonce, "position": self.position}
        return fields | {"version": self.version, "salt": self.salt}


@dataclass(frozen=True, slots=True)
class Report:
    """Send what you have counted, now, and say `reply`."""

    reply: str

    def fields(self) -> Fields:
        return {"type": "report", "reply": self.reply}


@dataclass(frozen=True, slots=True)
class Counted:
    """Traffic up to `seq` has arrived."""

    seq: int

    def fields(self) -> Fields:
        return {"type": "counted", "seq": self.seq}


@dataclass(frozen=True, slots=True)
class Refused:
    """You get nothing from me; the connection is closed."""

    reason: str

    def fields(self) -> Fields:
        return {"type": "refused", "reason": self.reason[:MAX_FAULT]}


FromProxy = Hello | Ack | Nack | Resync | Traffic | Goodbye
FromController = Snapshot | Change | Current | Report | Counted | Refused


def _cut(faults: Sequence[str]) -> list[str]:
    return [fault[:MAX_FAULT] for fault in faults[:MAX_FAULTS]]
