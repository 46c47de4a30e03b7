"""Where the access log goes: a thread that writes lines to a file or to stdout, so that no disk and no reader makes a
request wait.

- **Whole lines.** A pipe gets a few lines at a time, of at most PIPE_BUF bytes in all: that it takes whole or not at
  all (POSIX, write()). From a regular file the part of a line that found no room (a full disk, a quota) is taken back,
  so the file ends with a whole line; other workers that append to it are kept out meanwhile (flock).
- **Nothing waits for it.** Lines are gathered for `GATHER_S` and written at once. What can't be written is tried again
  after `AGAIN_S`; what comes meanwhile waits in `Lines`, and is dropped and counted when that is full. Both are said.
- **Rotation.** Before each write the path is looked at: if another file is there, or none, it is opened anew; at
  SIGHUP at once. So rename-and-create needs no signal, and copy-and-truncate works because lines are appended.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import stat
import threading
import time
from typing import Final

from proxy.telemetry.lines import Lines
from proxy.telemetry.metrics import Metrics

GATHER_S: Final = 0.1
AGAIN_S: Final = 1.0
_SAY_AGAIN_S: Final = 60.0
_MODE: Final = 0o640  # lines name callers, paths and keys

_log = logging.getLogger(__name__)


class LogFile:
    """`path` None: stdout. Raises: OSError where the file can't be opened."""

    def __init__(self, path: str | None, metrics: Metrics) -> None:
        self.path: Final = path
        self._name: Final = "stdout" if path is None else path
        self._metrics: Final = metrics
        self._fd = 1 if path is None else _opened(path)
        self._woken = threading.Event()
        self._ends = threading.Event()
        self._data = b""  # taken, and from `_at` on still to be written
        self._at = 0
        self._fault = ""  # why the last write failed
        self._full_said_s = self._well_said_s = -_SAY_AGAIN_S
        self._dropped_said = 0
        self.lines: Final = Lines(metrics, self._woken.set, self._say_full)
        self._thread: Final = threading.Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    # --- the side of whoever logs ---

    def reopen(self) -> None:
        """Whoever rotates the file says that it was moved: it is looked at now, not before the next line."""
        self._woken.set()

    def close(self, limit_s: float) -> None:
        """Writes what waits, for at most so long. Nothing is put any more."""
        self._ends.set()
        self._woken.set()
        self._thread.join(limit_s)
        if self._thread.is_alive() or self._is_pending or not self.lines.is_empty:
            _log.error("access log: the last lines could not be written to %s within %g s", self._name, limit_s)

    def _say_full(self) -> None:
        """Lines are dropped from now on."""
        now_s = time.monotonic()
        if now_s - self._full_said_s >= _SAY_AGAIN_S:
            self._full_said_s = now_s
            _log.error(
                "access log: lines are dropped, requests go on: %s. Make room or a faster reader, or log less"
                " (--access-log-sample); pointsman_access_log_lines_dropped_total counts them",
                f"{self._name}: {self._fault}" if self._fault else f"{self._name} takes them too slowly",
            )

    # --- the thread ---

    def _run(self) -> None:
        while True:
            self._woken.wait(AGAIN_S if self._is_pending else None)
            self._woken.clear()
            self._ends.wait(GATHER_S)
            if self.path is not None:
                self._follow(self.path)
            is_written = self._write_all()
            if self._ends.is_set() and (self.lines.is_empty or not is_written):
                return
            self.lines.sleeps = True
            if not self.lines.is_empty:  # it was put before anybody could see that we sleep
                self._woken.set()

    @property
    def _is_pending(self) -> bool:
        return self._at < len(self._data)

    def _write_all(self) -> bool:
        """Whether all that waited is written."""
        try:
            while self._is_pending or not self.lines.is_empty:
                if not self._is_pending:
                    self._data, self._at = "".join(self.lines.take()).encode("ascii"), 0
                self._write()
        except OSError as error:
            self._say_fault(error)
            return False
        self._data, self._at = b"", 0
        self._say_well()
        return True

    def _write(self) -> None:
        """All that is pending. Raises: OSError; some of it may be written then."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            while self._is_pending:
                self._write_to(self._last_line_end(self._at + select.PIPE_BUF))
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            while self._is_pending:
                self._write_to(len(self._data))
        except OSError:
            self._take_back()
            raise
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _last_line_end(self, limit: int) -> int:
        """Behind the last line that ends before `limit`."""
        return self._data.rfind(b"\n", self._at, limit) + 1 or limit

    def _write_to(self, end: int) -> None:
        """Some of what is pending, up to `end`. Raises: OSError."""
        try:
            done = os.write(self._fd, memoryview(self._data)[self._at : end])
        except BlockingIOError:  # somebody who shares our stdout made it so
            select.select((), (self._fd,), (), AGAIN_S)
            return
        self._at += done
        self.lines.written(done)

    def _take_back(self) -> None:
        """Part of a line, from the file's end, if that still is its end; else the rest of it follows one day."""
        part = self._at - self._data.rfind(b"\n", 0, self._at) - 1
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        if part and end == os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, end - part)
            os.lseek(self._fd, end - part, os.SEEK_SET)  # of a stdout that does not append
            self._at -= part
            self.lines.written(-part)

    def _follow(self, path: str) -> None:
        """Opens the file anew where another one, or none, is in its place."""
        try:
            if os.path.samestat(os.stat(path), os.fstat(self._fd)):
                return
        except OSError:
            pass  # moved away
        try:
            fd = _opened(path)
        except OSError as error:
            self._say_fault(error)
            return
        os.close(self._fd)
        self._fd = fd

    # --- what is said ---

    def _say_fault(self, error: OSError) -> None:
        fault = error.strerror or str(error)
        if fault != self._fault:
            self._fault = fault
            _log.error("access log: %s can't be written, trying again each second: %s", self._name, fault)

    def _say_well(self) -> None:
        """Once it goes on, and how much is missing."""
        dropped, now_s = self._metrics.log_lines_dropped, time.monotonic()
        is_new = dropped > self._dropped_said and now_s - self._well_said_s >= _SAY_AGAIN_S
        if self._fault or is_new:
            _log.warning("access log: %s takes lines again; %d were dropped", self._name, dropped - self._dropped_said)
            self._fault, self._dropped_said, self._well_said_s = "", dropped, now_s


def _opened(path: str) -> int:
    """Raises: OSError."""
    # Without a reader a named pipe would be waited for: it is refused instead.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    os.set_blocking(fd, True)
    return fd
