"""A dictionary that outlives us: a file to which each change is appended as one line, and that is made anew at times.

A line is the CRC-32 of the rest in hexadecimal, a space, and JSON: `[name, value]`, or `[name]` for one that is gone.
Whatever a crash leaves, each line is either whole or no line: what fails its check is passed over and counted
(`damaged`). A write returns once it is on the disk.

Only one process has a journal open: a second one is refused (`Unwritable`), since both would lose the other's changes.
"""

from __future__ import annotations

import fcntl
import json
import os
from binascii import crc32
from collections.abc import Iterator, Mapping
from typing import Final

from controller.atomic import write_file
from controller.errors import Unwritable

_SLACK_LINES: Final = 1000  # lines that are out of date: more than these and as many as entries, and it is made anew


class Journal:
    """The entries of the file; `write` changes some of them. Values are what JSON holds."""

    def __init__(self, path: str) -> None:
        """Raises: OSError if the file can't be read and written; Unwritable if another process has it open."""
        self._path: Final = path
        self._lines: Final[dict[str, bytes]] = {}  # the latest line of each entry
        self._count = 0
        self._descriptor = -1
        self._is_torn = False  # the file may end in the middle of a line
        self.damaged = 0
        self._lock: Final = open(f"{path}.lock", "ab", opener=_private)  # noqa: SIM115 - open as long as we are
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Unwritable(f"{path}: another process uses it") from None
        try:
            self._read()
            self._make_anew()
        except OSError:
            self._lock.close()
            raise

    def entries(self) -> Iterator[tuple[str, object]]:
        """All entries, each read anew from its line."""
        for line in self._lines.values():
            name, value = json.loads(line[9:])
            yield name, value

    def write(self, changes: Mapping[str, object | None]) -> None:
        """Keeps the changes; None: the entry is gone. It blocks until they are on the disk.

        Raises: OSError; then they may or may not be there after a restart, each for itself.
        """
        written = []
        for name, value in changes.items():
            line = _line([name] if value is None else [name, value])
            if value is not None:
                self._lines[name] = line
            elif self._lines.pop(name, None) is None:
                continue
            written.append(line)
        self._count += len(written)
        if self._is_torn or self._count > 2 * len(self._lines) + _SLACK_LINES:
            self._make_anew()
        elif written:
            self._is_torn = True  # until it is known to be whole
            _write_all(self._descriptor, b"".join(written))
            os.fsync(self._descriptor)
            self._is_torn = False

    def close(self) -> None:
        os.close(self._descriptor)
        self._lock.close()

    def _read(self) -> None:
        try:
            with open(self._path, "rb") as file:
                for line in file:
                    self._take(line)
        except FileNotFoundError:
            pass

    def _take(self, line: bytes) -> None:
        try:
            if int(line[:8], 16) != crc32(line[9:]) or not line.endswith(b"\n"):
                raise ValueError
            name, *value = json.loads(line[9:])
        except ValueError:
            self.damaged += 1
            return
        if value:
            self._lines[name] = line
        else:
            self._lines.pop(name, None)

    def _make_anew(self) -> None:
        write_file(self._path, b"".join(self._lines.values()))
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._count = len(self._lines)
        self._is_torn = False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(value: list[object]) -> bytes:
    content = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return b"%08x %s" % (crc32(content), content)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
