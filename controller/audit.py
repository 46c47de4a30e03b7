"""The audit log: one JSON line for each change that somebody asked for, done or refused.

It says who (the token's name), never the token. A log that can't be written is said once and counted; it does not stop
changes, since the same full disk would then keep an operator from making room.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import IO, Final

from controller.objects import Ref
from controller.times import timestamp

_log = logging.getLogger(__name__)


class Audit:
    """Appends to a file, which is opened again when it was rotated; to stderr without one."""

    def __init__(self, path: str | None, clock: Callable[[], datetime]) -> None:
        """Raises: OSError."""
        self._path: Final = path
        self._clock: Final = clock
        self._file: IO[bytes] | None = None
        self.failures = 0
        self.counts: Final[Counter[tuple[str, str]]] = Counter()  # by verb and result
        self._is_failing = False
        if path is not None:
            self._open(path)

    def write(
        self,
        who: str,
        verb: str,
        ref: Ref | None,
        result: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        remote: str | None = None,
    ) -> None:
        """`verb`: create, update, delete, expire, remove. `result`: done, refused, failed."""
        self.counts[verb, result] += 1
        entry: dict[str, object] = {"time": timestamp(self._clock()), "who": who, "verb": verb}
        if ref is not None:
            entry["object"] = dict(ref._asdict())
        entry["result"] = result
        for name, value in (("status", status), ("reason", reason), ("remote", remote)):
            if value is not None:
                entry[name] = value
        line = json.dumps(entry).encode() + b"\n"
        try:
            self._append(line)
            self._is_failing = False
        except OSError as error:
            self.failures += 1
            if not self._is_failing:
                _log.error("the audit log %s can't be written: %s", self._path, error.strerror)
            self._is_failing = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._path is None:
            sys.stderr.write(line.decode())
            sys.stderr.flush()
            return
        if self._file is None or not _is_at(self._file, self._path):
            self._open(self._path)
        assert self._file is not None
        self._file.write(line)

    def _open(self, path: str) -> None:
        self.close()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115 - open as long as we are


def _is_at(file: IO[bytes], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False
