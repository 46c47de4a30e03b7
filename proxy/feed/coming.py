"""A snapshot or a change that is being read, part by part: messages -> a slice, or an update of one. Pure.

What can't be read is refused whole (TableError), but for single routes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.feed.messages import MAX_KEYS, MAX_PREVIEWS, MAX_ROUTES, MAX_SERVICES, SCHEMA, Change, Snapshot
from proxy.feed.slice import Name, Slice, Update
from proxy.routing.faults import TableError, excerpt
from proxy.routing.names import Workload
from proxy.routing.previews import PreviewName
from proxy.routing.table import KIND, Preview, Route, Service
from proxy.routing.view import KnownRoute
from proxy.routing.wire import PartReader


class _Coming:
    """What is being read, part by part."""

    def __init__(self, first: Snapshot | Change, workload: Workload | None) -> None:
        self.nonce: Final = first.nonce
        self.position: Final = first.position
        self.version: Final = first.version
        self._workload: Final = workload
        self._reader: Final = PartReader()
        self._next_part = 0

    def continues(self, message: Snapshot | Change) -> bool:
        """Whether it is the next part of the same."""
        expected = (self.nonce, self.position, self.version, self._next_part)
        self._next_part += 1
        return (message.nonce, message.position, message.version, message.part) == expected

    def _routes(self, values: Sequence[object]) -> Iterator[tuple[str, Name, Route | None, tuple[str, ...]]]:
        """Path, workload and key, and the route, or the faults of one that can't be read.

        Raises: TableError for one that is not ours, or of which it can't be told whose it is.
        """
        for index, value in enumerate(values):
            path = f"routes[{index}]"
            route, faults = self._reader.route(value, path)
            key, workload = (route.key, route.baseline) if route is not None else self._reader.whose(value, path)
            if self._workload is not None and workload != self._workload:
                raise TableError([f"{path}.baseline: must be {self._workload}, is {workload}"])
            yield path, (workload, key), route, tuple(faults)

    def _gone_routes(self, values: object, path: str) -> list[Name]:
        found = [self._reader.gone_route(value, f"{path}[{index}]") for index, value in enumerate(_list(values, path))]
        names = [(route.baseline, route.routing_key.encode("ascii")) for route in found]
        return names if self._workload is None else [name for name in names if name[0] == self._workload]

    def _names(self, values: Sequence[object], path: str) -> list[Name]:
        """Of routes that are spoken of by keys alone, but for a router."""
        workload = self._workload
        if workload is None:
            return self._gone_routes(list(values), path)
        return [(workload, key) for key in self._reader.keys(list(values), path, are_digests=False)]

    def _services(self, values: object, path: str) -> list[Service]:
        if self._workload is not None:
            return []
        return [self._reader.service(value, f"{path}[{index}]") for index, value in enumerate(_list(values, path))]

    def _previews(self, values: object, path: str) -> dict[PreviewName, Preview]:
        if self._workload is not None:
            return {}
        found = [self._reader.preview(value, f"{path}[{index}]") for index, value in enumerate(_list(values, path))]
        return {(preview.domain, preview.endpoint, preview.routing_key): preview for preview in found}

    def _end(self, services: Sequence[Service]) -> None:
        """Raises: TableError where parts that are right do not go together."""
        self._reader.unique_services(services)


class ComingSlice(_Coming):
    """A snapshot."""

    def __init__(self, first: Snapshot, workload: Workload | None, ports: Sequence[int], old: Slice | None) -> None:
        super().__init__(first, workload)
        self.slice: Final = Slice(workload, ports, self._reader.salt(dict(first.document)))
        self._old: Final = old
        self._coming_services: Final[list[Service]] = []

    @property
    def refused(self) -> dict[Name, tuple[str, ...]]:
        return self.slice.refused

    def end(self) -> None:
        """Raises: TableError."""
        self._end(self._coming_services)
        self.slice.set_services(self._coming_services)

    def _known_before(self, name: Name) -> KnownRoute | None:
        return None if self._old is None else self._old.known(name)

    def read(self, message: Snapshot) -> None:
        """Raises: TableError."""
        document, into, reader = dict(message.document), self.slice, self._reader
        for name, expected in (("apiVersion", SCHEMA), ("kind", KIND)):
            if document.get(name) != expected:
                raise TableError([f"{name}: must be {expected}, is {excerpt(document.get(name))}"])
        if reader.salt(document) != into.salt:
            raise TableError(["keyDigest: is not that of the first part"])
        are_digests = into.salt is not None
        into.live.update(reader.keys(document.get("liveKeys", []), "liveKeys", are_digests=are_digests))
        into.gone.update(reader.keys(document.get("goneKeys", []), "goneKeys", are_digests=are_digests))
        into.add_gone_routes(self._gone_routes(document.get("goneRoutes", []), "goneRoutes"))
        self._coming_services.extend(self._services(document.get("services", []), "services"))
        into.previews.update(self._previews(document.get("previews", []), "previews"))
        self._read_routes(document.get("routes", []))
        _check_size(into.count, max(len(into.live), len(into.gone)), len(self._coming_services), len(into.previews))

    def _read_routes(self, values: object) -> None:
        for path, name, route, faults in self._routes(_list(values, "routes")):
            if self.slice.known(name) is not None:
                raise TableError([f"{path}: {excerpt(name[1].decode())} has a route already"])
            before = self._known_before(name)
            if route is None:
                self.slice.refuse_route(name, faults, before)
            else:
                self.slice.add_route(name, route, before)


class ComingUpdate(_Coming):
    """A change."""

    def __init__(self, first: Change, workload: Workload | None, old: Slice) -> None:
        super().__init__(first, workload)
        self.update: Final = Update()
        self._old: Final = old

    def end(self) -> None:
        """Raises: TableError."""
        self._end(self.update.services or ())

    def read(self, message: Change) -> None:
        """Raises: TableError."""
        update, reader, are_digests = self.update, self._reader, self._old.salt is not None

        def names(values: Sequence[str], path: str) -> list[bytes]:
            return reader.keys(list(values), path, are_digests=are_digests)

        update.live += names(message.live_keys, "liveKeys")
        update.not_live += names(message.not_live_keys, "notLiveKeys")
        update.gone += names(message.gone_keys, "goneKeys")
        update.not_gone += names(message.not_gone_keys, "notGoneKeys")
        update.removed_routes += self._names(message.removed_routes, "removedRoutes")
        update.gone_routes += self._gone_routes(list(message.gone_routes), "goneRoutes")
        update.not_gone_routes += self._names(message.not_gone_routes, "notGoneRoutes")
        if message.services is not None:
            update.services = (update.services or []) + self._services(message.services, "services")
        update.previews |= self._previews(list(message.previews), "previews")
        if self._workload is None:
            removed = enumerate(message.removed_previews)
            update.removed_previews += [reader.preview_name(value, f"removedPreviews[{at}]") for at, value in removed]
        for _, name, route, faults in self._routes(message.routes):
            if route is not None:
                update.routes[name] = route
            else:
                update.refused[name] = faults
        self._check_size()

    def _check_size(self) -> None:
        update, old = self.update, self._old
        _check_size(
            old.count + len(update.routes) + len(update.refused) - len(update.removed_routes),
            max(
                len(old.live) + len(update.live) - len(update.not_live),
                len(old.gone) + len(update.gone) - len(update.not_gone),
            ),
            len(update.services or ()),
            len(old.previews) + len(update.previews) - len(update.removed_previews),
        )


def _list(values: object, path: str) -> list[object]:
    if type(values) is not list:
        raise TableError([f"{path}: must be a list ([] for none), is {excerpt(values)}"])
    return values


def _check_size(routes: int, keys: int, services: int, previews: int) -> None:
    for what, count, most in (
        ("routes", routes, MAX_ROUTES),
        ("keys", keys, MAX_KEYS),
        ("services", services, MAX_SERVICES),
        ("previews", previews, MAX_PREVIEWS),
    ):
        if count > most:
            raise TableError([f"more than {most} {what}"])
