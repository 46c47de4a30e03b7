"""Files that are read again when they change: tokens, certificates.

A change is taken once the files have stood still from one look to the next, so that half of one is not read. Mounted
secrets are swapped by a symlink, which `os.stat` follows. What is broken is refused, said once, and the old content
stays; it is tried again when the files change again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

INTERVAL_S: Final = 1.0

_log = logging.getLogger(__name__)
_Stamps = tuple[tuple[int, int, int, int] | None, ...]


class ReloadError(Exception):
    """The files can't be used; the text says why, without their content."""


class Reloading:
    """`load` reads the files and takes what they hold, or raises ReloadError."""

    def __init__(self, what: str, paths: Sequence[str], load: Callable[[], None]) -> None:
        """Raises: ReloadError."""
        self._what: Final = what
        self._paths: Final = paths
        self._load: Final = load
        self._seen = self._taken = self._stamps()
        self.fault: str | None = None
        try:
            load()
        except ReloadError as error:
            raise ReloadError(f"{what}: {error}") from None

    async def run(self) -> None:
        """Looks again and again, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.look()

    def look(self) -> None:
        stamps = self._stamps()
        if stamps == self._taken:
            return
        if stamps != self._seen:
            self._seen = stamps
            return
        self._taken = stamps
        try:
            self._load()
        except ReloadError as error:
            self.fault = f"{self._what}: {error}"
            _log.error("%s; the old content stays in force", self.fault)
        else:
            self.fault = None
            _log.info("%s: read again", self._what)

    def _stamps(self) -> _Stamps:
        return tuple(map(_stamp, self._paths))


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
