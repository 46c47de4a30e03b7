"""Notices which files of a folder may have changed: by inotify, and by looking at all of them now and then.

`on_hint(name, settle_s)` says that the file of that name may have changed, and for how long it must stand still before
it counts as whole: not at all after a rename, briefly after a close, longer where a writer may be at work. Without a
name: anything may have.

A look at 10,000 files takes 30 ms, so it is done in a thread and seldom; it catches what makes no events (a network
file system, a writer that never closes, a folder that was swapped). Where inotify is not to be had, it does all of the
work, four times a second. The proxy's watch (`proxy.filewatch`) is for one file, wherever its symlinks lead.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

from proxy import inotify

SWEEP_S: Final = 5.0
POLL_S: Final = 0.25

RENAME_SETTLE_S: Final = 0.0  # whoever renames has finished writing
CLOSE_SETTLE_S: Final = 0.02  # a writer has finished; but some open a file again for every piece
GONE_SETTLE_S: Final = 0.2  # editors move a file away before they write it anew
WRITER_SETTLE_S: Final = 1.0  # somebody may be in the middle of writing
POLL_SETTLE_S: Final = 0.25  # the same, where no event will say that the writer has finished

_log = logging.getLogger(__name__)


class FolderWatch:
    """Hints from `start` to `close`; nothing is missed from the moment it is made."""

    def __init__(self, folder: str, on_hint: Callable[[str | None, float], None], *, use_inotify: bool = True) -> None:
        self._folder: Final = folder
        self._on_hint: Final = on_hint
        self._loop: Final = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: inotify.Inotify | None = None
        if use_inotify:
            try:
                self._inotify = inotify.Inotify()
                self._inotify.watch([folder])
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
            self._inotify.watch([self._folder])  # another folder may stand there now
        self._on_hint(None, POLL_SETTLE_S if self._inotify is None else WRITER_SETTLE_S)

    def _on_events(self) -> None:
        assert self._inotify is not None
        for mask, raw_name in self._inotify.read():
            name = os.fsdecode(raw_name)
            if mask & inotify.OVERFLOW:
                self._on_hint(None, WRITER_SETTLE_S)  # events were lost
            elif name.startswith(".."):
                self._on_hint(None, RENAME_SETTLE_S)  # the kubelet swaps `..data`, to which all files lead
            elif mask & inotify.CREATE and not os.path.islink(os.path.join(self._folder, name)):
                pass  # its writer has only begun, and will close it
            elif mask & (inotify.DELETE | inotify.MOVED_FROM):
                self._on_hint(name, GONE_SETTLE_S)
            else:
                self._on_hint(name, CLOSE_SETTLE_S if mask & inotify.CLOSE_WRITE else RENAME_SETTLE_S)
