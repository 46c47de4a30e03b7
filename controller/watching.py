"""Readers of a store's events: each gets everything at first, then the latest state of whatever changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from controller.objects import Object, Ref
from controller.store import Changed, Deleted, Event, Snapshot


class Watchers:
    """`changed` tells all of them; `objects` is where they look."""

    def __init__(self, objects: Mapping[Ref, Object]) -> None:
        self._objects: Final = objects
        self._watchers: Final[set[_Watcher]] = set()

    def changed(self, refs: Iterable[Ref]) -> None:
        for watcher in self._watchers:
            watcher.changed(refs)

    async def watch(self) -> AsyncIterator[Event]:
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            yield Snapshot(tuple(self._objects[ref] for ref in sorted(self._objects)))
            while True:
                ref = await watcher.next()
                object_ = self._objects.get(ref)
                yield Changed(object_) if object_ is not None else Deleted(ref)
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    """The objects whose latest state this reader has not taken yet, in the order of their first change."""

    def __init__(self) -> None:
        self._pending: Final[dict[Ref, None]] = {}
        self._has_news: Final = asyncio.Event()

    def changed(self, refs: Iterable[Ref]) -> None:
        self._pending.update(dict.fromkeys(refs))
        if self._pending:
            self._has_news.set()

    async def next(self) -> Ref:
        while not self._pending:
            self._has_news.clear()
            await self._has_news.wait()
        ref = next(iter(self._pending))
        del self._pending[ref]
        return ref
