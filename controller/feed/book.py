"""The table by keys, its recent changes, and both as messages for the proxies of one workload, or for routers. Pure.

What is told to a proxy (SPEC 5): the routes and gone routes of its workload, and all live and gone keys, by digest. So
a slice reveals no key of others, and the lists of digests are the same for all. What is the same for many is encoded
and kept once: long lists of digests as messages of their own, which everybody gets; what follows them, for the proxies
of one workload, or in a change for all whom it does not concern. So a thousand workloads cost little more than one.
Routers (no workload) get the whole table (`whole`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.feed.whole import Body, KeyChange, Texts, all_entries, changed_entries, messages, size_of_change
from controller.keystate import KeyState
from controller.routers import NOTHING as FOR_ROUTERS_NOTHING
from controller.routers import ForRouters
from proxy.feed.messages import PART_BYTES, PART_KEYS, PART_ROUTES, Change, Current, Snapshot
from proxy.feed.wire import encode, encode_value
from proxy.routing.digest import key_digest
from proxy.routing.names import Workload
from proxy.routing.table import API_VERSION, KIND

# Proxies that were away for no longer than these changes get what changed; a snapshot is cheaper beyond.
_LOG_CHANGES: Final = 1000
_LOG_KEYS: Final = 20_000
_MOST: Final = 20_000  # entries of one change: a proxy takes no more at once (`proxy.feed.receiver`)

_SHORT: Final = 2000  # characters of digests that go into each workload's own message: a change is one then

_NO_KEYS: Final = '"liveKeys":[],"goneKeys":[],"routes":[]'
_NOTHING: Final = KeyState("")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One step: the table after it, and before it: the state of each key that it changed, and what routers get."""

    position: int
    version: str
    before: dict[str, KeyState]
    for_routers_before: ForRouters


@dataclass(slots=True)
class _OfWorkload:
    """What changed for the proxies of one workload alone."""

    routes: list[str] = field(default_factory=list)  # encoded documents
    removed_routes: list[str] = field(default_factory=list)
    gone_routes: list[str] = field(default_factory=list)
    not_gone_routes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(map(len, (self.routes, self.removed_routes, self.gone_routes, self.not_gone_routes)))


_UNCHANGED: Final = _OfWorkload()


class _Delta:
    """What changed between two positions."""

    __slots__ = ("by_workload", "changes", "for_routers", "for_routers_before", "keys", "shared", "texts", "whole")

    def __init__(self, for_routers_before: ForRouters, for_routers: ForRouters) -> None:
        self.changes: list[KeyChange] = []
        self.for_routers_before: Final = for_routers_before
        self.for_routers: Final = for_routers
        self.whole: Texts | None = None  # for routers, once one asked
        self.keys: dict[str, list[str]] = {"liveKeys": [], "notLiveKeys": [], "goneKeys": [], "notGoneKeys": []}
        self.by_workload: dict[Workload, _OfWorkload] = {}
        self.shared: tuple[list[str], list[dict[str, str]]] | None = None  # of all workloads, once somebody asked
        # The messages, once somebody asked; None: of all workloads that it does not concern but for keys.
        self.texts: dict[Workload | None, list[str]] = {}

    def size_for(self, workload: Workload | None) -> int:
        if workload is None:
            return size_of_change(self.changes, self.for_routers_before, self.for_routers)
        return sum(map(len, self.keys.values())) + self.by_workload.get(workload, _UNCHANGED).size


class Book:
    """`apply` what changed; `snapshot`, `change` and `current` are texts to send, in order."""

    def __init__(self, salt: str, position: int = 0) -> None:
        """`salt`: hexadecimal. `position`: no proxy must have a higher one."""
        self.salt: Final = salt
        self.position = position
        self.version = ""
        self._for_routers = FOR_ROUTERS_NOTHING
        self._states: Final[dict[str, KeyState]] = {}
        self._keys_of: Final[dict[Workload, dict[str, None]]] = {}  # with a route or a gone route there
        self._digests: Final[dict[str, str]] = {}
        self._log: Final[deque[_Entry]] = deque()
        self._log_keys = 0
        self._log_begins: tuple[int, str] | None = None  # position and version before its first step
        self._deltas: Final[dict[tuple[int, str | None], _Delta | None]] = {}  # by where they begin; they end here
        self._shared: tuple[list[str], list[str]] | None = None  # of all snapshots
        self._snapshots: Final[dict[Workload, list[str]]] = {}
        self._whole: Texts | None = None  # for routers

    def state(self, key: str) -> KeyState | None:
        return self._states.get(key)

    @property
    def for_routers(self) -> ForRouters:
        return self._for_routers

    def salt_for(self, workload: Workload | None) -> str | None:
        """By what the keys are digested that its proxies get; None: they are not."""
        return self.salt if workload is not None else None

    def apply(
        self, position: int, version: str, states: Iterable[KeyState], for_routers: ForRouters | None = None
    ) -> None:
        """The next step. The position is higher than the one before. `for_routers`: None, and it is as it was."""
        assert position > self.position
        before: dict[str, KeyState] = {}
        for state in states:
            before[state.key] = self._states.get(state.key, _NOTHING)
            self._set(state)
        self._log.append(_Entry(position, version, before, self._for_routers))
        if for_routers is not None:
            self._for_routers = for_routers
        self._log_keys += len(before)
        while len(self._log) > _LOG_CHANGES or (self._log_keys > _LOG_KEYS and self._log):
            first = self._log.popleft()
            self._log_begins = first.position, first.version
            self._log_keys -= len(first.before)
        self.position, self.version = position, version
        self._deltas.clear()
        self._snapshots.clear()
        self._shared = self._whole = None

    def _set(self, state: KeyState) -> None:
        key = state.key
        before = self._states.get(key, _NOTHING)
        for workload in _workloads(before) - _workloads(state):
            keys = self._keys_of[workload]
            keys.pop(key, None)
            if not keys:
                del self._keys_of[workload]
        for workload in _workloads(state):
            self._keys_of.setdefault(workload, {})[key] = None
        if state.is_known:
            self._states[key] = state
        else:
            self._states.pop(key, None)
            self._digests.pop(key, None)

    def _digest(self, key: str) -> str:
        digest = self._digests.get(key)
        if digest is None:
            digest = self._digests[key] = key_digest(key.encode(), bytes.fromhex(self.salt)).decode()
        return digest

    # --- what has not changed ----------------------------------------------------------------------------------------

    def current(self, workload: Workload | None) -> list[str]:
        nonce = self.nonce(self.position)
        return [encode(Current(nonce, self.position, self.version, self.salt_for(workload)))]

    def nonce(self, from_position: int | None) -> str:
        """Names the way to the present position: from one that a proxy has, or None, from nothing."""
        return f"{'all' if from_position is None else from_position}-{self.position}"

    # --- all ---------------------------------------------------------------------------------------------------------

    def snapshot(self, workload: Workload | None) -> Iterable[str]:
        """`workload`: None, for routers."""
        if workload is None:
            if self._whole is None:
                entries = all_entries(tuple(self._states.values()), self._for_routers)
                self._whole = Texts(messages(entries, self._whole_part()))
            return self._whole
        texts = self._snapshots.get(workload)
        if texts is None:
            if self._shared is None:
                self._shared = self._shared_of_snapshot()
            parts, bodies = self._shared
            own = [*bodies, *self._own_bodies(workload)] or [_NO_KEYS]
            last = len(parts) + len(own) - 1
            texts = [*parts, *(self._part(number, body, number == last) for number, body in enumerate(own, len(parts)))]
            self._snapshots[workload] = texts
        return texts

    def _shared_of_snapshot(self) -> tuple[list[str], list[str]]:
        """The lists of digests: as messages for everybody, or, where they are short, as bodies of everybody's own."""
        live = [self._digest(key) for key, state in self._states.items() if state.is_live]
        gone = [self._digest(key) for key, state in self._states.items() if state.is_gone]
        most = PART_KEYS // 2
        bodies = []
        for start in range(0, max(len(live), len(gone)), most):
            lists = encode_value(live[start : start + most]), encode_value(gone[start : start + most])
            bodies.append(f'"liveKeys":{lists[0]},"goneKeys":{lists[1]},"routes":[]')
        if sum(map(len, bodies)) <= _SHORT:
            return [], bodies
        return [self._part(number, body, False) for number, body in enumerate(bodies)], []

    def _own_bodies(self, workload: Workload) -> Iterator[str]:
        routes: list[str] = []
        gone_routes: list[str] = []
        for key in sorted(self._keys_of.get(workload, ())):
            state = self._states[key]
            routes += [encode_value(route.document()) for route in state.routes if route.baseline == workload]
            gone_routes += [encode_value(gone.document()) for gone in state.gone_routes if gone.baseline == workload]
        for part in _parts(routes, PART_ROUTES):
            yield f'"routes":[{",".join(part)}]'
        for part in _parts(gone_routes, PART_ROUTES):
            yield f'"routes":[],"goneRoutes":[{",".join(part)}]'

    def _part(self, number: int, body: str, is_last: bool) -> str:
        message = Snapshot(self.nonce(None), self.position, self.version, {}, number, is_last)
        return _snapshot_text(message, f'"keyDigest":{{"salt":"{self.salt}"}},{body}')

    def _whole_part(self) -> Callable[[int, Body, bool], str]:
        """What makes a router's part of it, also when the table has moved on."""
        nonce, position, version = self.nonce(None), self.position, self.version

        def part(number: int, lists: Body, is_last: bool) -> str:
            body = ",".join(f'"{name}":{text}' for name, text in ({"routes": "[]"} | lists).items())
            return _snapshot_text(Snapshot(nonce, position, version, {}, number, is_last), body)

        return part

    # --- what has changed --------------------------------------------------------------------------------------------

    def change(self, workload: Workload | None, from_position: int, from_version: str | None) -> Iterable[str] | None:
        """`workload`: None, for routers. The answer None: nobody knows any more what changed since then, or it was too
        much to tell.

        The version too must be the one of that position: a controller that lost its state gave the same positions to
        other tables.
        """
        delta = self._delta(from_position, from_version)
        if delta is None or delta.size_for(workload) > _MOST:
            return None
        if workload is None:
            return self._whole_change(delta, from_position)
        own = delta.by_workload.get(workload)
        name = workload if own is not None else None
        texts = delta.texts.get(name)
        if texts is None:
            if delta.shared is None:
                delta.shared = self._shared_of_change(delta, from_position)
            parts, bodies = delta.shared
            bodies = [*bodies, *_own_bodies(own or _UNCHANGED)]
            texts = delta.texts[name] = [*parts, *self._changes(from_position, bodies, first=len(parts))]
        return texts

    def _whole_change(self, delta: _Delta, from_position: int) -> Texts:
        if delta.whole is None:
            nonce, position, version = self.nonce(from_position), self.position, self.version

            def part(number: int, lists: Body, is_last: bool) -> str:
                return encode(Change(nonce, position, from_position, version, part=number, is_last=is_last), lists)

            entries = changed_entries(delta.changes, delta.for_routers_before, delta.for_routers)
            delta.whole = Texts(messages(entries, part))
        return delta.whole

    def _shared_of_change(self, delta: _Delta, from_position: int) -> tuple[list[str], list[dict[str, str]]]:
        """As with snapshots."""
        bodies = [{name: encode_value(part)} for name, keys in delta.keys.items() for part in _parts(keys, PART_KEYS)]
        if sum(map(_size, bodies)) <= _SHORT:
            return [], bodies
        return list(self._changes(from_position, bodies, has_more=True)), []

    def _delta(self, from_position: int, from_version: str | None) -> _Delta | None:
        way = from_position, from_version
        if way not in self._deltas:
            before = self._before(*way)
            self._deltas[way] = self._delta_of(*before) if before is not None else None
        return self._deltas[way]

    def _before(self, from_position: int, from_version: str | None) -> tuple[dict[str, KeyState], ForRouters] | None:
        """The states at that position of all keys that changed since, and what routers got."""
        before: dict[str, KeyState] = {}
        for_routers = self._for_routers
        for entry in reversed(self._log):
            if entry.position == from_position:
                return (before, for_routers) if entry.version == from_version else None
            before.update(entry.before)  # going back in time: the earliest one counts
            for_routers = entry.for_routers_before
        return (before, for_routers) if self._log_begins == (from_position, from_version) else None

    def _delta_of(self, before: dict[str, KeyState], for_routers_before: ForRouters) -> _Delta:
        delta = _Delta(for_routers_before, self._for_routers)
        for key, old in before.items():
            new = self._states.get(key) or KeyState(key)
            delta.changes.append(KeyChange(old, new))
            if new.is_live != old.is_live:
                delta.keys["liveKeys" if new.is_live else "notLiveKeys"].append(self._digest(key))
            if new.is_gone != old.is_gone:
                delta.keys["goneKeys" if new.is_gone else "notGoneKeys"].append(self._digest(key))
            self._add_routes(delta, key, old, new)
            if not new.is_known:
                self._digests.pop(key, None)
        return delta

    def _add_routes(self, delta: _Delta, key: str, old: KeyState, new: KeyState) -> None:
        def of(workload: Workload) -> _OfWorkload:
            return delta.by_workload.setdefault(workload, _OfWorkload())

        old_routes = {route.baseline: route for route in old.routes}
        new_routes = {route.baseline: route for route in new.routes}
        for workload, route in new_routes.items():
            if old_routes.get(workload) != route:
                of(workload).routes.append(encode_value(route.document()))
        for workload in old_routes.keys() - new_routes.keys():
            of(workload).removed_routes.append(key)
        old_gone = {gone.baseline: gone for gone in old.gone_routes}
        new_gone = {gone.baseline: gone for gone in new.gone_routes}
        for workload in new_gone.keys() - old_gone.keys():
            of(workload).gone_routes.append(encode_value(new_gone[workload].document()))
        for workload in old_gone.keys() - new_gone.keys():
            of(workload).not_gone_routes.append(key)

    def _changes(
        self, from_position: int, bodies: list[dict[str, str]], *, first: int = 0, has_more: bool = False
    ) -> Iterator[str]:
        """The messages of these lists, from this part on; one at least. `has_more`: others follow."""
        if len({name for body in bodies for name in body}) == len(bodies) and sum(map(_size, bodies)) < PART_BYTES:
            bodies = [{name: text for body in bodies for name, text in body.items()}]  # the usual case: one message
        nonce = self.nonce(from_position)
        for number, body in enumerate(bodies):
            is_last = not has_more and number == len(bodies) - 1
            part = first + number
            change = Change(
                nonce, self.position, from_position, self.version, salt=self.salt, part=part, is_last=is_last
            )
            yield encode(change, body)


def _snapshot_text(message: Snapshot, body: str) -> str:
    """`body`: the document's fields beside those that every document has."""
    head = f'"apiVersion":"{API_VERSION}","kind":"{KIND}","version":{encode_value(message.version)}'
    return encode(message, {"document": f"{{{head},{body}}}"})


def _workloads(state: KeyState) -> set[Workload]:
    return {route.baseline for route in state.routes} | {gone.baseline for gone in state.gone_routes}


def _own_bodies(own: _OfWorkload) -> Iterator[dict[str, str]]:
    for name, documents in (("routes", own.routes), ("goneRoutes", own.gone_routes)):
        yield from ({name: f"[{','.join(part)}]"} for part in _parts(documents, PART_ROUTES))
    for name, keys in (("removedRoutes", own.removed_routes), ("notGoneRoutes", own.not_gone_routes)):
        yield from ({name: encode_value(part)} for part in _parts(keys, PART_KEYS))


def _parts(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """So many at a time, and no more than fit into a message."""
    start = size = 0
    for number, text in enumerate(texts):
        if number > start and (number - start == most or size + len(text) > PART_BYTES):
            yield texts[start:number]
            start, size = number, 0
        size += len(text) + 3
    if start < len(texts):
        yield texts[start:]


def _size(body: dict[str, str]) -> int:
    return sum(len(text) for text in body.values())
