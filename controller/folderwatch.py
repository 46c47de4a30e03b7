"""Notices which files of a folder may have changed: by inotify, and by looking at all of them now and then.

`on_hint(name, settle_s)` says that the file of that name may have changed, and for how long it must stand still before
it counts as whole: not at all after a rename, briefly after a close, longer where a writer may be at work. Without a
name: anything may have.

A look at 10,000 files takes 30 ms, so it is done in a thread and seldom; it catches what makes no events (a network
file system, a writer that never closes, a folder that was swapped). Where inotify is not to be had, it does all of the
work, four times a second. The proxy has a watch of its own, `proxy.filewatch`, for one file wherever its symlinks
lead; neither imports the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Callable, Iterator
from typing import Final

SWEEP_S: Final = 5.0
POLL_S: Final = 0.25

RENAME_SETTLE_S: Final = 0.0  # whoever renames has finished writing
CLOSE_SETTLE_S: Final = 0.02  # a writer has finished; but some open a file again for every piece
GONE_SETTLE_S: Final = 0.2  # editors move a file away before they write it anew
WRITER_SETTLE_S: Final = 1.0  # somebody may be in the middle of writing
POLL_SETTLE_S: Final = 0.25  # the same, where no event will say that the writer has finished

_log = logging.getLogger(__name__)

# inotify(7)
_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_FROM: Final = 0x40
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_IN_ONLYDIR: Final = 0x01000000
_MASK: Final = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_ONLYDIR
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class FolderWatch:
    """Hints from `start` to `close`; nothing is missed from the moment it is made."""

    def __init__(self, folder: str, on_hint: Callable[[str | None, float], None], *, use_inotify: bool = True) -> None:
        self._folder: Final = folder
        self._on_hint: Final = on_hint
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: _Inotify | None = None
        if use_inotify:
            try:
                self._inotify = _Inotify(folder)
            except (OSError, AttributeError) as error:  # AttributeError: a C library without inotify
                _log.warning("no inotify (%s): looking at %s every %d ms", error, folder, POLL_S * 1000)

    def start(self) -> None:
        if self._inotify is not None:
            self._loop.add_reader(self._inotify.fd, self._on_events)
        self._set_timer()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _set_timer(self) -> None:
        self._timer = self._loop.call_later(POLL_S if self._inotify is None else SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._set_timer()
        if self._inotify is not None:
            self._inotify.watch(self._folder)  # another folder may stand there now
        self._on_hint(None, POLL_SETTLE_S if self._inotify is None else WRITER_SETTLE_S)

    def _on_events(self) -> None:
        assert self._inotify is not None
        for mask, raw_name in self._inotify.read():
            name = os.fsdecode(raw_name)
            if mask & _IN_Q_OVERFLOW:
                self._on_hint(None, WRITER_SETTLE_S)  # events were lost
            elif name.startswith(".."):
                self._on_hint(None, RENAME_SETTLE_S)  # the kubelet swaps `..data`, to which all files lead
            elif mask & _IN_CREATE and not os.path.islink(os.path.join(self._folder, name)):
                pass  # its writer has only begun, and will close it
            elif mask & (_IN_DELETE | _IN_MOVED_FROM):
                self._on_hint(name, GONE_SETTLE_S)
            else:
                self._on_hint(name, CLOSE_SETTLE_S if mask & _IN_CLOSE_WRITE else RENAME_SETTLE_S)


class _Inotify:
    """inotify(7), as little of it as is needed here. The standard library has none, hence ctypes."""

    def __init__(self, folder: str) -> None:
        import ctypes

        self._libc: Final = ctypes.CDLL(None, use_errno=True)
        self.fd: Final[int] = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self.watch(folder)

    def watch(self, folder: str) -> None:
        """Watches it, if it exists; a folder that is watched already stays so."""
        self._libc.inotify_add_watch(self.fd, os.fsencode(folder), _MASK)

    def read(self) -> Iterator[tuple[int, bytes]]:
        """The events that wait: each one's mask, and the name in the folder that it is about."""
        while True:
            try:
                events = os.read(self.fd, 65536)
            except BlockingIOError:
                return
            place = 0
            while place < len(events):
                _, mask, _, length = _EVENT.unpack_from(events, place)
                place += _EVENT.size
                yield mask, events[place : place + length].rstrip(b"\0")
                place += length

    def close(self) -> None:
        os.close(self.fd)
