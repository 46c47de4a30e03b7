"""What is noticed of changing files, by inotify(7) and by looking now and then. Used by the controller, too.

The standard library has no inotify, hence ctypes: 0.4 MB and 5 ms, once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final

CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
OVERFLOW: Final = 0x4000  # events were lost
_ONLYDIR: Final = 0x01000000
_MASK: Final = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | _ONLYDIR
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_READ_BYTES: Final = 65536

# How long a file must stand still, by what was noticed, before it counts as whole.
RENAME_SETTLE_S: Final = 0.0  # whoever renames has finished writing
CLOSE_SETTLE_S: Final = 0.02  # a writer has finished; but some open a file again for every piece
WRITER_SETTLE_S: Final = 1.0  # somebody may be in the middle of writing
POLL_SETTLE_S: Final = 0.25  # the same, where no event will say that the writer has finished

_log = logging.getLogger(__name__)


class Inotify:
    """Wait on `fd`, then `read`."""

    def __init__(self) -> None:
        """Raises: OSError, AttributeError (a C library without inotify): look at the files instead."""
        import ctypes

        self._libc: Final = ctypes.CDLL(None, use_errno=True)
        self.fd: Final[int] = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self._watches: list[int] = []

    def watch(self, folders: Iterable[str]) -> None:
        """Watch these folders instead of those before. One that does not exist is left out."""
        before = self._watches
        watches = [self._libc.inotify_add_watch(self.fd, os.fsencode(folder), _MASK) for folder in folders]
        self._watches = [watch for watch in watches if watch >= 0]
        for watch in set(before).difference(self._watches):
            self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> Iterator[tuple[int, bytes]]:
        """The events that wait: each one's mask, and the name in one of the folders that it is about."""
        while True:
            try:
                events = os.read(self.fd, _READ_BYTES)
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


class Watch:
    """Looks at events as they come, and at everything every `sweep_s`; without inotify, every `poll_s`.

    Nothing is missed from the moment it is made; it acts from `start` to `close`. Derived ones say of what,
    and what then.
    """

    def __init__(self, path: str, *, sweep_s: float, poll_s: float, use_inotify: bool) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: Inotify | None = None
        if use_inotify:
            try:
                self._inotify = Inotify()
            except (OSError, AttributeError) as error:
                _log.warning("no inotify (%s): looking at %s every %d ms", error, path, poll_s * 1000)
        self._every_s: Final = poll_s if self._inotify is None else sweep_s
        self._sweep_settle_s: Final = POLL_SETTLE_S if self._inotify is None else WRITER_SETTLE_S

    def start(self) -> None:
        if self._inotify is not None:
            self._loop.add_reader(self._inotify.fd, self._on_events)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _set_timer(self) -> None:
        self._timer = self._loop.call_later(self._every_s, self._sweep)

    def _on_events(self) -> None:
        """There is something to read."""
        raise NotImplementedError

    def _sweep(self) -> None:
        """It is time to look at everything; sets the timer again."""
        raise NotImplementedError
