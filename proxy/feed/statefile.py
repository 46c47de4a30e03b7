"""The last good slice on disk, so that a proxy that starts while the controller is gone routes by it, and says so.

    pointsman-state/1 <blake2b of all that follows>
    {"workload": "ns/Kind/name", "position": 7, "version": "v7", "keyDigest": {"salt": ".."}, "refusedRoutes": []}
    {"routes": [..]}          parts of a RoutingTable document, one a line, each as small as the feed's
    {"liveKeys": [..]}

- A router's has `"workload": "router"`, and in `refusedRoutes` objects with workload and key.
- Written whole: to another name, to the disk, then renamed. Whoever is killed meanwhile leaves the file of before.
- Read whole or not at all: a file that is damaged, cut off, of another format or of another workload is refused, and
  the proxy starts as one that was never synced.
- Routes that were refused stay so (`refusedRoutes`, their keys): after a restart, too, this is not the whole table.
- Mode 0600: it holds the keys of this workload's sandboxes, or of all.
- Requests come first. Text is made a few routes at a time, the disk is waited for in a thread, and writing takes a
  twentieth of the time at most; where only the position moved it waits for half a minute.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from proxy.feed.messages import ROUTER, SCHEMA, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.slice import Name, Slice
from proxy.routing.faults import excerpt
from proxy.routing.names import Workload
from proxy.routing.table import KIND, GoneRoute, Preview, Route, Service

_FORMAT: Final = b"pointsman-state/1"
_MAX_BYTES: Final = 1 << 29
_PIECE_ROUTES: Final = 100  # or services, or previews: 1 ms of work
_PIECE_KEYS: Final = 5_000
_PAUSE_S: Final = 0.002
_MIN_INTERVAL_S: Final = 1.0
_POSITION_INTERVAL_S: Final = 30.0
_SHARE: Final = 20  # of the time
_AFTER_FAILURE_S: Final = 10.0
_REFUSED_BEFORE: Final = "it was refused before the restart"

_log = logging.getLogger(__name__)


class StateError(Exception):
    """The file can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A slice of one moment, which the next change does not touch."""

    header: dict[str, object]
    routes: Sequence[Route]
    keys: dict[str, list[bytes]]
    gone_routes: list[Name]
    hosts: dict[str, list[Service] | list[Preview]]


class StateFile:
    """One workload's file in a folder, or a router's. Failures to write are counted and said, and tried again."""

    def __init__(self, folder: str, workload: Workload | None, worker: int | None = None) -> None:
        """`worker`: of several, which have a file each."""
        self._of: Final = str(workload or ROUTER)
        self._stem: Final = f"slice-{blake2b(self._of.encode(), digest_size=8).hexdigest()}"
        self.path: Final = os.path.join(folder, f"{self._stem}{f'.{worker}' if worker else ''}.state")
        self.failures_total = 0
        self.refused_routes: dict[Name, tuple[str, ...]] = {}  # by what `load` read
        self._folder: Final = folder
        self._workload: Final = workload
        self._receiver: Receiver | None = None
        self._changed: Final = asyncio.Event()
        self._is_due = False  # more than the position changed
        self._writing: Final = asyncio.Lock()
        self._said = ""

    # --- read ---

    def load(self) -> list[Snapshot]:
        """What the file holds, as the parts of a snapshot; none if there is no file. Who has none of its own reads the
        newest that another worker wrote, or the only one there was.

        Raises: StateError.
        """
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(self.path if os.path.exists(self.path) else self._newest(), "rb") as file:
                if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                    raise StateError(f"is larger than {_MAX_BYTES} bytes")
                raw = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"can't be read: {error.strerror}") from None
        return self._parts(raw)

    def _newest(self) -> str:
        names = [name for name in os.listdir(self._folder) if re.fullmatch(rf"{self._stem}(\.[0-9]+)?\.state", name)]
        paths = [os.path.join(self._folder, name) for name in names]
        return max(paths, key=lambda path: os.stat(path).st_mtime_ns, default=self.path)

    def refused(self, why: str) -> None:
        """Note that the file could not be used."""
        self.failures_total += 1
        _log.error("state file %s refused, starting without a table (the next one replaces it): %s", self.path, why)

    def _parts(self, raw: bytes) -> list[Snapshot]:
        seal, _, content = raw.partition(b"\n")
        kind, _, digest = seal.partition(b" ")
        if kind != _FORMAT:
            raise StateError(f"must begin with {_FORMAT.decode()}, begins with {excerpt(raw[:30].decode('latin-1'))}")
        if _digest([content]) != digest:
            raise StateError("is damaged: its checksum does not fit")
        try:
            header, *parts = map(json.loads, content.splitlines())
            if header["workload"] != self._of:
                raise StateError(f"is of {excerpt(header['workload'])}, not of {self._of}")
            common = {"apiVersion": SCHEMA, "kind": KIND, "version": header["version"]}
            if header["keyDigest"] is not None:
                common["keyDigest"] = header["keyDigest"]
            position = header["position"]
            if type(position) is not int:
                raise TypeError("position")
            names = map(self._name_of, header["refusedRoutes"])
            self.refused_routes = dict.fromkeys(names, (_REFUSED_BEFORE,))
            parts = parts or [{}]
            return [
                Snapshot("state", position, common["version"], common | part, index, index == len(parts) - 1)
                for index, part in enumerate(parts)
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StateError(f"is not what this version writes: {excerpt(str(error))}") from None

    def _name_of(self, refused: Any) -> Name:
        """Raises: ValueError, TypeError, KeyError, AttributeError."""
        if self._workload is not None:
            return self._workload, refused.encode("ascii")
        return Workload.parse(refused["workload"]), refused["routingKey"].encode("ascii")

    def _refused(self, name: Name) -> object:
        workload, key = name
        text = key.decode("ascii")
        return text if self._workload is not None else {"workload": str(workload), "routingKey": text}

    # --- written ---

    def note(self, has_changed: bool) -> None:
        """Another table is in force."""
        self._is_due |= has_changed
        self._changed.set()

    async def run(self, receiver: Receiver) -> None:
        """Write for as long as the proxy runs."""
        self._receiver = receiver
        while True:
            await self._changed.wait()
            if not self._is_due:
                await self._until_due(_POSITION_INTERVAL_S)
            began_s = time.monotonic()
            is_written = await self.write()
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(_MIN_INTERVAL_S, _SHARE * took_s) if is_written else _AFTER_FAILURE_S)

    async def _until_due(self, limit_s: float) -> None:
        end_s = time.monotonic() + limit_s
        while not self._is_due and time.monotonic() < end_s:
            self._changed.clear()
            try:
                async with asyncio.timeout(end_s - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def write(self) -> bool:
        """Write what is in force, unless the file has it; whether the file has it now."""
        async with self._writing:
            receiver = self._receiver
            if receiver is None or receiver.slice is None or not (self._changed.is_set() or self._is_due):
                return True
            self._changed.clear()
            self._is_due = False
            copy = self._copy(receiver.slice, receiver.position)
            pieces = []
            for piece in _lines(copy):
                pieces.append(piece)
                await asyncio.sleep(_PAUSE_S)
            try:
                await asyncio.to_thread(_write, self.path, pieces)
            except OSError as error:
                self.note(has_changed=True)
                self._failed(error.strerror or str(error))
                return False
            self._said = ""
            return True

    def _failed(self, why: str) -> None:
        self.failures_total += 1
        if why != self._said:
            self._said = why
            _log.error(
                "state file %s can't be written, so a restart while the controller is away would have no table: %s",
                self.path,
                why,
            )

    def _copy(self, current: Slice, position: int | None) -> _Copy:
        return _Copy(
            {
                "workload": self._of,
                "position": position,
                "version": current.version,
                "keyDigest": None if current.salt is None else {"salt": current.salt.hex()},
                "refusedRoutes": [self._refused(name) for name in current.refused],
            },
            current.routes,
            {"liveKeys": list(current.live), "goneKeys": list(current.gone)},
            [(workload, key) for workload in current.workloads for key in current.of(workload).gone_routes],
            {"services": list(current.services), "previews": list(current.previews.values())},
        )


def _lines(copy: _Copy) -> Iterator[bytes]:
    """The file's lines after the first, each a short piece of work."""
    yield _line(copy.header)
    routes = iter(copy.routes)
    while part := list(islice(routes, _PIECE_ROUTES)):
        yield _line({"routes": [route.document() for route in part]})
    for name, keys in copy.keys.items():
        yield from _key_lines(name, keys)
    gone = iter(copy.gone_routes)
    while names := list(islice(gone, _PIECE_ROUTES)):
        yield _line({"goneRoutes": [GoneRoute(key.decode("ascii"), workload).document() for workload, key in names]})
    for field, hosts in copy.hosts.items():
        for start in range(0, len(hosts), _PIECE_ROUTES):
            yield _line({field: [each.document() for each in hosts[start : start + _PIECE_ROUTES]]})


def _key_lines(name: str, keys: list[bytes]) -> Iterator[bytes]:
    for start in range(0, len(keys), _PIECE_KEYS):
        yield _line({name: [key.decode("ascii") for key in keys[start : start + _PIECE_KEYS]]})


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _digest(pieces: Sequence[bytes]) -> bytes:
    digest = blake2b(digest_size=32)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest().encode("ascii")


def _write(path: str, pieces: Sequence[bytes]) -> None:
    """Raises: OSError; then the file at `path` is as it was."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # one that was left behind may have another
        file.write(b"%s %s\n" % (_FORMAT, _digest(pieces)))
        file.writelines(pieces)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
