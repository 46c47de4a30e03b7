"""The routing table from a file: loaded at start, then watched.

- A change is taken once the file stands still: `filewatch` says how long, briefly after a rename or a close, longer if
  somebody may still be writing. A file that is written in place would otherwise be read half, and half of a YAML list
  is a valid, shorter one: routes would be lost without a fault.
- It is read only in the state that was seen standing still (device, inode, size, times), before and after reading.
- What cannot be read or is invalid is refused and reported; the old table stays. A file that is gone is reported once.
- Large files are read aside (`tableload`), small ones here. A change that comes while a file is read
  ends that reading and begins another, but not twice in a row: a file that changes often must be read whole some time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from proxy.background import spawn
from proxy.collector import collector_paused
from proxy.filewatch import FileWatch
from proxy.inotify import WRITER_SETTLE_S
from proxy.routing.faults import TableError
from proxy.routing.table import RoutingTable
from proxy.tableload import SMALL_ROUTES, FileChanged, Stamp, read_table, stamp_of

_LOAD_ATTEMPTS: Final = 50
_LOAD_PAUSE_S: Final = 0.02
_LOGGED_FAULTS: Final = 20
_NEVER: Final[Stamp] = (0, 0, 0, 0, 0)  # no file has this state

_log = logging.getLogger(__name__)


class Tables(Protocol):
    """Where tables go: `tables.TableHolder`."""

    def swap(self, table: RoutingTable) -> None: ...
    async def swap_gently(self, table: RoutingTable) -> None: ...
    def refuse(self, faults: Sequence[str]) -> None: ...


class TableFile:
    """One table file and the holder that it feeds: `load` once, then `watch` for as long as the proxy runs."""

    def __init__(self, path: str, tables: Tables) -> None:
        self._path: Final = path
        self._tables: Final = tables
        self._watch: FileWatch | None = None
        self._taken: Stamp | None = _NEVER  # the state that was read or found missing last
        self._seen: Stamp | None = _NEVER  # the state that must stand still until `_due_s`
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_next_whole = False  # while reading: `_seen` has stood still and is to be read next
        self._has_superseded = False

    async def load(self) -> None:
        """Put the file's table in force; nothing is served yet, so nothing is spared.

        Raises: TableError, also if there is no file.
        """
        self._watch = FileWatch(self._path, self._on_hint)
        try:
            await self._load()
        except BaseException:
            self._watch.close()
            raise

    async def watch(self) -> None:
        """Put every valid table since `load` in force, until cancelled."""
        assert self._watch is not None
        self._watch.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._watch.close()
            if self._timer is not None:
                self._timer.cancel()
            if self._reading is not None:
                self._reading.remove_done_callback(self._read_ended)
                self._reading.cancel()

    async def _load(self) -> None:
        for _ in range(_LOAD_ATTEMPTS):
            try:
                stamp = stamp_of(self._path)
                table = await read_table(self._path, stamp, gently=False)
            except FileChanged:
                await asyncio.sleep(_LOAD_PAUSE_S)
                continue
            except OSError as error:
                raise TableError([_unreadable(error)]) from None
            self._taken = stamp
            if len(table.routes) > SMALL_ROUTES:
                with collector_paused():
                    self._tables.swap(table)
            else:
                self._tables.swap(table)
            return
        raise TableError(["does not stand still long enough to be read"])

    def _on_hint(self, settle_s: float) -> None:
        """The file may have changed; its state counts as whole once it has stood still for `settle_s`."""
        state = _state_of(self._path)
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if state == self._seen:  # seen before; a hint never makes it wait longer
                settle_s = min(settle_s, self._due_s - loop.time())
        elif self._is_next_whole and state == self._seen:
            return
        self._is_next_whole = False
        if state != self._taken:
            self._seen = state
            self._due_s = loop.time() + settle_s
            self._timer = loop.call_at(self._due_s, self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        if _state_of(self._path) != self._seen:
            self._on_hint(WRITER_SETTLE_S)  # whoever wrote meanwhile will close it, which hints sooner
        elif self._reading is None:
            self._take()
        else:
            self._is_next_whole = True
            if not self._has_superseded:
                self._has_superseded = True
                self._reading.cancel()

    def _take(self) -> None:
        self._taken = self._seen
        self._is_next_whole = False
        self._reading = spawn(self._read(self._seen), f"reading {self._path}")
        self._reading.add_done_callback(self._read_ended)

    async def _read(self, state: Stamp | None) -> None:
        try:
            if state is None:
                self._refuse(["the file is gone"])
                return
            table = await read_table(self._path, state, gently=True)
            if len(table.routes) > SMALL_ROUTES:
                await self._tables.swap_gently(table)
            else:
                self._tables.swap(table)
            _log.info("table version %s in force, %d routes", table.version, len(table.routes))
        except TableError as error:
            self._refuse(error.faults)
        except OSError as error:
            self._refuse([_unreadable(error)])
        except FileChanged:
            self._taken = _NEVER

    def _read_ended(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            self._has_superseded = False
        if self._is_next_whole and _state_of(self._path) == self._seen:
            self._take()
        else:
            self._on_hint(WRITER_SETTLE_S)

    def _refuse(self, faults: Sequence[str]) -> None:
        self._tables.refuse(faults)
        for fault in faults[:_LOGGED_FAULTS]:
            _log.warning("table %s refused, the old one stays: %s", self._path, fault)
        if len(faults) > _LOGGED_FAULTS:
            _log.warning("table %s: %d more faults", self._path, len(faults) - _LOGGED_FAULTS)


def _state_of(path: str) -> Stamp | None:
    """The file's state; None if there is no file."""
    try:
        return stamp_of(path)
    except OSError:
        return None


def _unreadable(error: OSError) -> str:
    return f"can't be read: {error.strerror or error}"
