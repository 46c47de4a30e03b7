"""inotify(7), as little of it as is needed: which names in some folders have changed. Used by the controller, too.

The standard library has none, hence ctypes: 0.4 MB and 5 ms, once.
"""

from __future__ import annotations

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
