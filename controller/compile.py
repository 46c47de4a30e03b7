"""Objects to a routing table, the status of each object, and what to remember: pure and order-independent.

    compiler = Compiler(settings, memory)      memory: what the compilations before said, if any
    compiler.put(object); compiler.delete(ref) as often as there is news
    compilation = compiler.compile(now)        the table, and all that changed since the last compilation

However the objects came in, and in one compilation or many, what comes out is a function of the objects, the memory
and the time. `compile_objects` is the same in one call.

Rules:

- A key belongs to one object. Among those that claim it the oldest wins (creation, then namespace, name, kind). But
  while a key lives, and for an hour after, only objects of its namespace may have it (CHECKLIST M7): so nobody takes a
  live key by making an object, however old it says it is, nor a key whose test may still run.
- A sandbox has a route for each workload that it changes from the moment it exists until it is deleted, ready or not.
  What has no destination (a fork that is not made, a target that is not allowed) answers 503, never the baseline.
- A route group has the routes of the sandboxes that it matches, under its own key. A workload that two of them change
  has no destination there. Whether those sandboxes have their own keys makes no difference.
- An object with a deletion timestamp is gone for the table.
- Whatever is wrong with an object is said in its status and touches no other object.

What depends on one key is kept as a `KeyState`; a change makes those anew that it touches, and the version is a sum of
their digests, so equal content has an equal version. Cost: about 60 us per sandbox that changes, and 1 us per route of
the whole table to put it together, unless nobody asks for it (`Compilation.table`).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Final

from controller import memory as memories
from controller.allow import AllowList
from controller.changes import Changes, changes_of_group, changes_of_sandbox
from controller.collector import collector_paused
from controller.keystate import KeyState, combined_version
from controller.match import SandboxIndex, is_member, looks_in
from controller.memory import KeyMemory
from controller.objects import Object, Ref, RouteGroup, Sandbox, Status
from controller.routers import NOTHING as FOR_ROUTERS_NOTHING
from controller.routers import ForRouters
from controller.status import Claim, status_of
from proxy.routing.names import Workload
from proxy.routing.table import GoneRoute, Preview, Route, RoutingTable

Workloads = Mapping[Workload, frozenset[int]]  # the workloads that exist, with their ports


@dataclass(frozen=True, slots=True)
class Settings:
    """`preview_domain`: where the preview gateway answers, if there is one. `for_routers`: at first."""

    allow: AllowList = field(default_factory=AllowList)
    preview_domain: str | None = None
    for_routers: ForRouters = FOR_ROUTERS_NOTHING


@dataclass(frozen=True, eq=False)
class Compilation:
    """What `compile` gives: the version, and what changed since the compilation before (at first: everything).

    `keys`: the new state of each key that is not as it was, also of those that are forgotten.
    `statuses`: of each object whose status is not as it was given or computed before.
    `memory`: the records that changed; None: forget it.
    `for_routers`: what routers get beside keys; `is_for_routers_new`: it is not as it was.
    `touched`: objects whose status or changes may be others than before.
    """

    version: str
    keys: tuple[KeyState, ...]
    statuses: Mapping[Ref, Status]
    memory: Mapping[str, KeyMemory | None]
    _states: tuple[KeyState, ...]
    for_routers: ForRouters = FOR_ROUTERS_NOTHING
    is_for_routers_new: bool = False
    touched: frozenset[Ref] = frozenset()

    @cached_property
    def table(self) -> RoutingTable:
        """The whole table, in an order of its own: equal content, equal document. Made when first asked for."""
        states = self._states
        return RoutingTable(
            self.version,
            list(chain.from_iterable(state.routes for state in states)),
            [state.key.encode() for state in states if state.is_live and not state.routes],
            [state.key.encode() for state in states if state.is_gone],
            chain.from_iterable(state.gone_routes for state in states),
            self.for_routers.services,
            chain(self.for_routers.previews, chain.from_iterable(state.previews for state in states)),
        )

    @property
    def is_news(self) -> bool:
        """Whether the table is not as it was."""
        return bool(self.keys) or self.is_for_routers_new


class Compiler:
    """Keeps what was compiled, so that a change costs what it touches."""

    def __init__(self, settings: Settings | None = None, memory: Mapping[str, KeyMemory] | None = None) -> None:
        self._settings: Final = settings or Settings()
        self._workloads: Workloads | None = None
        self._for_routers = self._settings.for_routers
        self._is_for_routers_new = False
        self._objects: Final[dict[Ref, Object]] = {}
        self._changes: Final[dict[Ref, Changes]] = {}
        self._statuses: Final[dict[Ref, Status]] = {}
        self._claimants: Final[dict[str, set[Ref]]] = {}
        self._index: Final = SandboxIndex()
        self._groups_in: Final[dict[str, set[Ref]]] = {}  # namespace -> the groups that look there
        self._members: Final[dict[Ref, set[Ref]]] = {}  # group -> its sandboxes
        self._groups_of: Final[dict[Ref, set[Ref]]] = {}  # sandbox -> groups
        self._memory: Final[dict[str, KeyMemory]] = dict(memory or {})
        self._expiries: Final[list[tuple[datetime, str]]] = []
        self._states: Final[dict[str, KeyState]] = {}
        self._order: Final[list[str]] = []
        self._sum = 0
        # What the next compilation makes anew.
        self._dirty_keys: set[str] = set(self._memory)
        self._dirty_groups: set[Ref] = set()
        self._dirty_statuses: set[Ref] = set()

    # --- news ------------------------------------------------------------------------------------------------------

    def put(self, object_: Object) -> None:
        """An object is new or changed. One that differs in its status alone is no news."""
        ref = object_.ref
        before = self._objects.get(ref)
        self._objects[ref] = object_
        if before is None:
            self._statuses[ref] = object_.status
        elif before.metadata == object_.metadata and before.spec == object_.spec:
            return
        self._claim(before, object_)
        if isinstance(object_, Sandbox):
            assert before is None or isinstance(before, Sandbox)
            self._sandbox_changed(ref, before, object_)
        else:
            assert before is None or isinstance(before, RouteGroup)
            self._group_changed(ref, before, object_)
        self._dirty_statuses.add(ref)

    def delete(self, ref: Ref) -> None:
        """An object is gone. One that nobody knows is no news."""
        before = self._objects.pop(ref, None)
        if before is None:
            return
        self._claim(before, None)
        if isinstance(before, Sandbox):
            self._sandbox_changed(ref, before, None)
        else:
            self._group_changed(ref, before, None)
        self._changes.pop(ref, None)
        self._statuses.pop(ref, None)
        self._dirty_statuses.discard(ref)

    def set_workloads(self, workloads: Workloads | None) -> None:
        """Which workloads exist, with their ports; None: nobody knows, and nothing is checked."""
        before, self._workloads = self._workloads, workloads
        if before is workloads:
            return
        for ref, object_ in self._objects.items():
            if isinstance(object_, Sandbox) and (
                before is None
                or workloads is None
                or any(before.get(workload) != workloads.get(workload) for workload in _workloads_of(object_))
            ):
                self._sandbox_changed(ref, object_, object_)
                self._dirty_statuses.add(ref)
                self._touch(object_)

    def set_for_routers(self, for_routers: ForRouters) -> None:
        self._is_for_routers_new |= for_routers != self._for_routers
        self._for_routers = for_routers

    def _claim(self, before: Object | None, after: Object | None) -> None:
        for object_ in (before, after):
            if object_ is None or object_.spec.routing_key is None:
                continue
            key = object_.spec.routing_key
            claimants = self._claimants.setdefault(key, set())
            if object_ is after and object_.metadata.deletion_timestamp is None:
                claimants.add(object_.ref)
            else:
                claimants.discard(object_.ref)
            if not claimants:
                del self._claimants[key]
            self._dirty_keys.add(key)

    def _touch(self, object_: Object) -> None:
        if object_.spec.routing_key is not None:
            self._dirty_keys.add(object_.spec.routing_key)

    def _sandbox_changed(self, ref: Ref, before: Sandbox | None, after: Sandbox | None) -> None:
        if before is not None and before.metadata.deletion_timestamp is not None:
            before = None  # it was in no group
        if after is not None:
            self._changes[ref] = changes_of_sandbox(after, self._settings.allow, self._workloads)
            if after.metadata.deletion_timestamp is not None:
                after = None
        groups = self._groups_of.get(ref, set())
        self._dirty_groups |= groups
        if (
            before is not None
            and after is not None
            and before.metadata.labels == after.metadata.labels
            and before.spec.grants == after.spec.grants
        ):
            return
        if before is not None:
            self._index.remove(before)
        for group_ref in groups:
            self._members[group_ref].discard(ref)
        self._groups_of.pop(ref, None)
        if after is None:
            return
        self._index.add(after)
        for group_ref in self._groups_in.get(after.metadata.namespace, ()):
            group = self._objects[group_ref]
            assert isinstance(group, RouteGroup)
            if is_member(group, after):
                self._join(group_ref, ref)
                self._dirty_groups.add(group_ref)

    def _group_changed(self, ref: Ref, before: RouteGroup | None, after: RouteGroup | None) -> None:
        for sandbox_ref in self._members.pop(ref, ()):
            self._groups_of[sandbox_ref].discard(ref)
        for namespace in _namespaces(before):
            self._groups_in[namespace].discard(ref)
        if after is None:
            self._dirty_groups.discard(ref)
            return
        self._members[ref] = set()
        for namespace in _namespaces(after):
            self._groups_in.setdefault(namespace, set()).add(ref)
            for sandbox_ref in self._index.matching(after.spec.match, namespace):
                sandbox = self._objects[sandbox_ref]
                assert isinstance(sandbox, Sandbox)
                if looks_in(after, sandbox):
                    self._join(ref, sandbox_ref)
        self._dirty_groups.add(ref)

    def _join(self, group: Ref, sandbox: Ref) -> None:
        self._members[group].add(sandbox)
        self._groups_of.setdefault(sandbox, set()).add(group)

    # --- compilation -------------------------------------------------------------------------------------------------

    @property
    def next_expiry(self) -> datetime | None:
        """When the next compilation is due although there is no news: something is forgotten then."""
        return self._expiries[0][0] if self._expiries else None

    @property
    def has_news(self) -> bool:
        return bool(self._dirty_keys or self._dirty_groups or self._dirty_statuses or self._is_for_routers_new)

    @property
    def objects(self) -> Mapping[Ref, Object]:
        return self._objects

    def status(self, ref: Ref) -> Status | None:
        """What the last compilation said of an object, whether its store has that already or not."""
        return self._statuses.get(ref)

    def changes(self, ref: Ref) -> Changes | None:
        """The workloads that an object changes."""
        return self._changes.get(ref)

    def namespace_of(self, key: str) -> str | None:
        """Whose a live or gone key is."""
        known = self._memory.get(key)
        return known.namespace if known is not None else None

    def memory(self) -> dict[str, KeyMemory]:
        """All that was remembered by the last compilation."""
        return dict(self._memory)

    def compile(self, now: datetime) -> Compilation:
        """The table as the objects ask for it at this time."""
        while self._expiries and self._expiries[0][0] <= now:
            self._dirty_keys.add(heapq.heappop(self._expiries)[1])
        for group_ref in self._dirty_groups:
            group = self._objects[group_ref]
            assert isinstance(group, RouteGroup)
            members = [(member, self._changes[member]) for member in sorted(self._members[group_ref])]
            self._changes[group_ref] = changes_of_group(group, members)
            self._dirty_statuses.add(group_ref)
            self._touch(group)
        changed: list[KeyState] = []
        remembered: dict[str, KeyMemory | None] = {}
        for key in sorted(self._dirty_keys):
            self._compile_key(key, now, changed, remembered)
        statuses: dict[Ref, Status] = {}
        for ref in self._dirty_statuses:
            status = self._status(ref, now)
            if status != self._statuses[ref]:
                statuses[ref] = self._statuses[ref] = status
        touched = frozenset(self._dirty_statuses)
        self._dirty_keys, self._dirty_groups, self._dirty_statuses = set(), set(), set()
        is_for_routers_new, self._is_for_routers_new = self._is_for_routers_new, False
        return Compilation(
            combined_version(self._sum, self._for_routers.text),
            tuple(changed),
            statuses,
            remembered,
            tuple([self._states[key] for key in self._order]),
            self._for_routers,
            is_for_routers_new,
            touched,
        )

    def _compile_key(
        self, key: str, now: datetime, changed: list[KeyState], remembered: dict[str, KeyMemory | None]
    ) -> None:
        """Decides who has the key, and makes its state and its record anew."""
        known = self._memory.get(key)
        if known is not None and known.gone_until is not None:
            known = memories.gone(known, now)  # None: its hour is over
        owner = self._owner(key, known)
        if owner is not None:
            changes = self._changes[owner.ref]
            workloads = frozenset(workload for workload, _, _ in changes.routes)
            record: KeyMemory | None = memories.live(known, owner.metadata.namespace, workloads, now)
            state = self._live_state(key, owner, changes, record)
        else:
            record = memories.gone(known, now) if known is not None else None
            state = KeyState(key, is_gone=record is not None)
        if record != self._memory.get(key):
            remembered[key] = record
        if record is not None:
            self._memory[key] = record
            if (expiry := record.next_expiry) is not None:
                heapq.heappush(self._expiries, (expiry, key))
        else:
            self._memory.pop(key, None)
        self._set_state(key, state, changed)
        self._dirty_statuses |= self._claimants.get(key, set())

    def _owner(self, key: str, known: KeyMemory | None) -> Object | None:
        claimants = [self._objects[ref] for ref in self._claimants.get(key, ())]
        if known is not None:
            claimants = [object_ for object_ in claimants if object_.metadata.namespace == known.namespace]
        return min(claimants, key=_age, default=None)

    def _live_state(self, key: str, owner: Object, changes: Changes, record: KeyMemory | None) -> KeyState:
        assert record is not None
        domain = self._settings.preview_domain
        return KeyState(
            key,
            is_live=True,
            routes=tuple(Route(key, name, workload, mappings) for workload, name, mappings in changes.routes),
            gone_routes=tuple(
                GoneRoute(key, workload)
                for workload in sorted(workload for workload, until in record.routes.items() if until is not None)
            ),
            previews=tuple(
                Preview(domain, endpoint.name, endpoint.upstream, key)
                for endpoint in sorted(owner.spec.endpoints, key=lambda endpoint: endpoint.name)
            )
            if domain is not None
            else (),
        )

    def _set_state(self, key: str, state: KeyState, changed: list[KeyState]) -> None:
        before = self._states.get(key)
        if state == before or (before is None and not state.is_known):
            return
        changed.append(state)
        if before is not None:
            self._sum -= before.digest
        if state.is_known:
            self._sum += state.digest
            self._states[key] = state
            if before is None:
                insort(self._order, key)
        else:
            del self._states[key]
            del self._order[bisect_left(self._order, key)]

    def _status(self, ref: Ref, now: datetime) -> Status:
        object_ = self._objects[ref]
        key = object_.spec.routing_key
        claim = Claim(None, None, None)
        if key is not None:
            known = self._memory.get(key)
            owner = self._owner(key, known)
            claim = Claim(key, owner, known)
        return status_of(
            object_,
            self._changes[ref],
            claim,
            self._statuses[ref],
            now,
            workloads_known=self._workloads is not None,
            preview_domain=self._settings.preview_domain,
        )


def compile_objects(
    objects: Iterable[Object],
    memory: Mapping[str, KeyMemory] | None,
    now: datetime,
    settings: Settings | None = None,
    workloads: Workloads | None = None,
) -> Compilation:
    """Everything in one go."""
    compiler = Compiler(settings, memory)
    compiler.set_workloads(workloads)
    with collector_paused():
        for object_ in objects:
            compiler.put(object_)
        return compiler.compile(now)


def _age(object_: Object) -> tuple[float, str, str, str]:
    kind, namespace, name = object_.ref
    created = object_.metadata.creation_timestamp
    return (created.timestamp() if created is not None else float("inf")), namespace, name, kind


def _namespaces(group: RouteGroup | None) -> frozenset[str]:
    return frozenset((group.metadata.namespace, *group.spec.namespaces)) if group is not None else frozenset()


def _workloads_of(sandbox: Sandbox) -> tuple[Workload, ...]:
    return (*(fork.fork_of for fork in sandbox.spec.forks), *(local.from_ for local in sandbox.spec.local))
