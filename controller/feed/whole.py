"""The whole table and its changes as messages for routers, which are the same for all of them. Pure.

A router gets what sidecars get of all workloads, with keys as they are, and what only routers need (`ForRouters`). All
of it may be megabytes, so messages are made one by one, as they are sent, from states that nobody changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from controller.keystate import KeyState
from controller.routers import ForRouters
from proxy.feed.messages import PART_BYTES, PART_HOSTS, PART_KEYS, PART_ROUTES
from proxy.feed.wire import encode_value
from proxy.routing.table import Preview

# A list's name on the wire, and an entry's text; None: a list with nothing in it is said, too.
Entry = tuple[str, str | None]
Body = dict[str, str]  # lists' texts by their names

_MOST: Final = {
    "routes": PART_ROUTES,
    "goneRoutes": PART_ROUTES,
    "removedRoutes": PART_ROUTES,
    "notGoneRoutes": PART_ROUTES,
    "services": PART_HOSTS,
    "previews": PART_HOSTS,
    "removedPreviews": PART_HOSTS,
}


class Texts:
    """Messages that are made when they are first asked for, and kept for whoever asks next."""

    __slots__ = ("_made", "_source")

    def __init__(self, source: Iterator[str]) -> None:
        self._source: Final = source
        self._made: Final[list[str]] = []

    def __iter__(self) -> Iterator[str]:
        number = 0
        while number < len(self._made) or self._makes_one():
            yield self._made[number]
            number += 1

    def _makes_one(self) -> bool:
        text = next(self._source, None)
        if text is not None:
            self._made.append(text)
        return text is not None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key, before and after."""

    old: KeyState
    new: KeyState


def messages(entries: Iterable[Entry], message: Callable[[int, Body, bool], str]) -> Iterator[str]:
    """The messages that hold these entries in order: one at least. `message`: part, its lists, whether it is the last
    -> its text."""
    bodies = _bodies(entries)
    body, number = next(bodies, {}), 0
    for following in bodies:
        yield message(number, body, False)
        body, number = following, number + 1
    yield message(number, body, True)


def _bodies(entries: Iterable[Entry]) -> Iterator[Body]:
    """So many entries at a time that a message of them is read in a few milliseconds."""
    lists: dict[str, list[str]] = {}
    load, size = 0.0, 0
    for name, text in entries:
        length = len(text) if text is not None else 0
        if lists and (load >= 1 or size + length > PART_BYTES):
            yield _body(lists)
            lists, load, size = {}, 0.0, 0
        texts = lists.setdefault(name, [])
        if text is not None:
            texts.append(text)
        load += 1 / _MOST.get(name, PART_KEYS)
        size += length + 1
    if lists:
        yield _body(lists)


def _body(lists: dict[str, list[str]]) -> Body:
    return {name: f"[{','.join(texts)}]" for name, texts in lists.items()}


# --- all -------------------------------------------------------------------------------------------------------------


def all_entries(states: Sequence[KeyState], for_routers: ForRouters) -> Iterator[Entry]:
    """What a snapshot holds."""
    yield from _services(for_routers)
    for preview in for_routers.previews:
        yield "previews", encode_value(preview.document())
    for state in states:
        if state.is_live:
            yield "liveKeys", f'"{state.key}"'
        if state.is_gone:
            yield "goneKeys", f'"{state.key}"'
        for route in state.routes:
            yield "routes", encode_value(for_routers.route(route).document())
        for gone in state.gone_routes:
            yield "goneRoutes", encode_value(gone.document())
        for preview in state.previews:
            yield "previews", encode_value(preview.document())


def _services(for_routers: ForRouters) -> Iterator[Entry]:
    for service in for_routers.services:
        yield "services", encode_value(service.document())


# --- what has changed ------------------------------------------------------------------------------------------------


def size_of_change(changes: Iterable[KeyChange], before: ForRouters, after: ForRouters) -> int:
    """How many entries it has, at most."""
    count = sum(
        2 + sum(len(each.routes) + len(each.gone_routes) + len(each.previews) for each in (change.old, change.new))
        for change in changes
    )
    if before != after:
        count += len(after.services) + len(before.previews) + len(after.previews)
    return count


def changed_entries(changes: Sequence[KeyChange], before: ForRouters, after: ForRouters) -> Iterator[Entry]:
    """What a change holds."""
    if before.services != after.services:
        yield "services", None
        yield from _services(after)
    yield from _changed_previews(before.previews, after.previews)
    for change in changes:
        old, new = change.old, change.new
        key = f'"{new.key}"'
        if new.is_live != old.is_live:
            yield "liveKeys" if new.is_live else "notLiveKeys", key
        if new.is_gone != old.is_gone:
            yield "goneKeys" if new.is_gone else "notGoneKeys", key
        yield from _changed_routes(old, new, after)
        yield from _changed_previews(old.previews, new.previews)


def _changed_routes(old: KeyState, new: KeyState, for_routers: ForRouters) -> Iterator[Entry]:
    old_routes = {route.baseline: route for route in old.routes}
    for route in new.routes:
        if old_routes.pop(route.baseline, None) != route:
            yield "routes", encode_value(for_routers.route(route).document())
    for workload in old_routes:
        yield "removedRoutes", encode_value({"routingKey": new.key, "baseline": workload.document()})
    for gone in new.gone_routes:
        if gone not in old.gone_routes:
            yield "goneRoutes", encode_value(gone.document())
    for gone in old.gone_routes:
        if gone not in new.gone_routes:
            yield "notGoneRoutes", encode_value(gone.document())


def _changed_previews(old: Sequence[Preview], new: Sequence[Preview]) -> Iterator[Entry]:
    before = {_host(preview): preview for preview in old}
    for preview in new:
        if before.pop(_host(preview), None) != preview:
            yield "previews", encode_value(preview.document())
    for preview in before.values():
        document = preview.document()
        del document["upstream"]
        yield "removedPreviews", encode_value(document)


def _host(preview: Preview) -> tuple[str, str, str | None]:
    return preview.domain, preview.endpoint, preview.routing_key
