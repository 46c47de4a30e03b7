"""What the proxy says to its operator: lines on stderr, none of which can make a request wait or fill a disk.

- A line that stderr does not take at once (a pipe that nobody reads) is left out; how many were is said later.
- The same line comes once a minute, unless the same part of the program has said something of another kind since (it
  was well, and fails again), and of one kind (the same text but for what it is about) at most `MANY`. What was left out
  is said with the next one.
- No input forges a line: control characters of a message are escaped.
"""

from __future__ import annotations

import logging
import os
import select
import time
from typing import Final

PERIOD_S: Final = 60.0
MANY: Final = 100
_PREFIX: Final = "pointsman proxy: "
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


def speak(who: str = "", fd: int = 2) -> None:
    """From now on what is logged goes there. `who` says it, where there are several."""
    logging.basicConfig(handlers=[Operator(fd, who)], level=logging.INFO)


class Throttle:
    """Which lines are said. Times are in seconds, on any clock."""

    def __init__(self) -> None:
        self._began_s = -PERIOD_S
        self._left_out = 0
        self._kinds: dict[str, int] = {}  # how many of each were said in this period
        self._last_kind: dict[str, str] = {}  # by part of the program
        self._lines: dict[str, set[str]] = {}  # by part of the program: those of that kind

    def left_out(self, part: str, kind: str, line: str, now_s: float) -> int | None:
        """None: not now. Else it is said, and so many were left out before."""
        if now_s - self._began_s >= PERIOD_S:
            self._began_s = now_s
            self._kinds.clear()
            self._lines.clear()
        if self._last_kind.get(part) != kind:
            self._last_kind[part] = kind
            self._lines[part] = set()
        lines = self._lines.setdefault(part, set())
        self._kinds[kind] = self._kinds.get(kind, 0) + (line not in lines)
        if line in lines or self._kinds[kind] > MANY:
            self._left_out += 1
            return None
        lines.add(line)
        before, self._left_out = self._left_out, 0
        return before


class Operator(logging.Handler):
    """Never waits for whoever reads."""

    def __init__(self, fd: int, who: str = "") -> None:
        super().__init__()
        self._fd: Final = fd
        self._who: Final = who
        self._throttle: Final = Throttle()
        self._poll: Final = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._unread = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage().translate(_CONTROLS)
            trace = self._trace(record)
        except Exception:  # noqa: BLE001
            # A line that can't be made must not fail what it tells of.
            self.handleError(record)
            return
        left_out = self._throttle.left_out(record.name, str(record.msg), message, time.monotonic())
        if left_out is None:
            return
        if left_out:
            message += f" ({left_out} lines were left out that said the same or much the same)"
        if self._unread:
            message += f" ({self._unread} lines were lost: nobody read them)"
        if self._write(f"{_PREFIX}{self._who}{message}\n{trace}"):
            self._unread = 0
        else:
            self._unread += 1

    def _trace(self, record: logging.LogRecord) -> str:
        if not record.exc_info:
            return ""
        return logging.Formatter().formatException(record.exc_info) + "\n"

    def _write(self, text: str) -> bool:
        """Whether it was taken, at least in part: a pipe with room takes PIPE_BUF bytes at once."""
        data = text.encode("utf-8", "backslashreplace")
        for at in range(0, len(data), select.PIPE_BUF):
            if not any(events & select.POLLOUT for _, events in self._poll.poll(0)):
                return at > 0
            try:
                os.write(self._fd, data[at : at + select.PIPE_BUF])
            except OSError:
                return at > 0
        return True
