"""Notices which files of a folder may have changed: by inotify, and by looking at all of them now and then.

`on_hint(name, settle_s)` says that the file of that name may have changed, and for how long it must stand still before
it counts as whole: not at all after a rename, briefly after a close, longer where a writer may be at work. Without a
name: anything may have.

A look at 10,000 files takes 30 ms, so it is done in a thread and seldom; it catches what makes no events (a network
file system, a writer that never closes, a folder that was swapped). Where inotify is not to be had, it does all of the
work, four times a second. The proxy's watch (`proxy.filewatch`) is for one file, wherever its symlinks lead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from proxy import inotify
from proxy.inotify import CLOSE_SETTLE_S, RENAME_SETTLE_S, WRITER_SETTLE_S

SWEEP_S: Final = 5.0
POLL_S: Final = 0.25

GONE_SETTLE_S: Final = 0.2  # editors move a file away before they write it anew


class FolderWatch(inotify.Watch):
    """Hints from `start` to `close`; nothing is missed from the moment it is made."""

    def __init__(self, folder: str, on_hint: Callable[[str | None, float], None], *, use_inotify: bool = True) -> None:
        super().__init__(folder, sweep_s=SWEEP_S, poll_s=POLL_S, use_inotify=use_inotify)
        self._folder: Final = folder
        self._on_hint: Final = on_hint
        self._watch_folder()

    def start(self) -> None:
        super().start()
        self._set_timer()

    def _watch_folder(self) -> None:
        if self._inotify is not None:
            self._inotify.watch([self._folder])

    def _sweep(self) -> None:
        self._set_timer()
        self._watch_folder()  # another folder may stand there now
        self._on_hint(None, self._sweep_settle_s)

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
