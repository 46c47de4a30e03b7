"""Follows the files of a folder that others change: each is read again once it stands still in a state that is new.

`FolderWatch` hints at what may have changed. A file counts as whole when its state (device, inode, size, times) was the
same for as long as the hint says; each change in between begins that time anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Final

from controller.folderwatch import FolderWatch
from controller.objectfile import ObjectFile, Stamp
from proxy.inotify import WRITER_SETTLE_S

_ENDINGS: Final = (".yaml", ".yml", ".json")

_log = logging.getLogger(__name__)


class Following:
    """`files` says in which state each file was read last; `read(name)` reads one, False if it did not stand still."""

    def __init__(
        self,
        folder: str,
        files: Mapping[str, ObjectFile],
        read: Callable[[str], Awaitable[bool]],
        *,
        use_inotify: bool = True,
    ) -> None:
        self._folder: Final = folder
        self._files: Final = files
        self._read: Final = read
        self._watch: Final = FolderWatch(folder, self._on_hint, use_inotify=use_inotify)
        self._due: Final[dict[str, tuple[Stamp | None, float]]] = {}  # files that must stand still, and until when
        self._wake: Final = asyncio.Event()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._is_sweeping = False

    def start(self) -> None:
        self._watch.start()
        self._spawn(self._follow())

    async def close(self) -> None:
        self._watch.close()
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=f"following {self._folder}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)

    def _on_hint(self, name: str | None, settle_s: float) -> None:
        if name is None:
            if not self._is_sweeping:
                self._is_sweeping = True
                self._spawn(self._sweep(settle_s))
        elif _is_ours(name):
            self._look_at(name, stamp_of(os.path.join(self._folder, name)), settle_s)

    async def _sweep(self, settle_s: float) -> None:
        try:
            stamps = await asyncio.to_thread(_stamps, self._folder)
        finally:
            self._is_sweeping = False
        for name in stamps.keys() | self._files.keys():
            if stamps.get(name) != self._taken(name) or name in self._due:
                # Others may have written and read since: the state of this moment counts.
                self._look_at(name, stamp_of(os.path.join(self._folder, name)), settle_s)

    def _look_at(self, name: str, stamp: Stamp | None, settle_s: float) -> None:
        """The file has this state; it counts as whole once it has stood still for `settle_s`."""
        if stamp == self._taken(name):
            self._due.pop(name, None)
            return
        due_s = asyncio.get_running_loop().time() + settle_s
        pending = self._due.get(name)
        if pending is not None and pending[0] == stamp:  # seen before; a hint never makes it wait longer
            due_s = min(due_s, pending[1])
        self._due[name] = (stamp, due_s)
        self._wake.set()

    def _taken(self, name: str) -> Stamp | None:
        file = self._files.get(name)
        return file.stamp if file is not None else None

    async def _follow(self) -> None:
        """Reads each file that has stood still for long enough."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min((due_s for _, due_s in self._due.values()), default=None)):
                    await self._wake.wait()
            now_s = loop.time()
            for name in sorted(name for name, (_, due_s) in self._due.items() if due_s <= now_s):
                stamp, _ = self._due.pop(name, (None, 0.0))
                path = os.path.join(self._folder, name)
                if stamp_of(path) != stamp or not await self._read_safely(name):
                    # Whoever wrote meanwhile will close it, which hints sooner.
                    self._look_at(name, stamp_of(path), WRITER_SETTLE_S)

    async def _read_safely(self, name: str) -> bool:
        """A defect that one file brings to light must not end the following of all others."""
        try:
            return await self._read(name)
        except Exception:  # noqa: BLE001 - logged whole, and the loop goes on
            _log.exception("reading %s failed", os.path.join(self._folder, name))
            return True


def file_names(folder: str) -> list[str]:
    """The files of a folder that hold objects. Raises: OSError."""
    return sorted(filter(_is_ours, os.listdir(folder)))


def _is_ours(name: str) -> bool:
    return name.endswith(_ENDINGS) and not name.startswith(".")


def stamp_of(path: str) -> Stamp | None:
    """What tells a file's states apart; None if there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamps(folder: str) -> dict[str, Stamp | None]:
    try:
        return {name: stamp_of(os.path.join(folder, name)) for name in file_names(folder)}
    except OSError:
        return {}
