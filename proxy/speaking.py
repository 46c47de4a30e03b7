"""What the proxy says to its operator: lines on stderr, none of which can make a request wait or fill a disk.

- A line that stderr does not take at once (a pipe that nobody reads) is left out; how many were is said later.
- The same line comes once a minute, and of one kind (the same text but for what it is about) at most `MANY`; what was
  left out is said with the next one.
- No input forges a line: control characters of a message are escaped.
"""

from __future__ import annotations

import logging
import os
import select
import time
from typing import Final

PERIOD_S: Final = 60.0
MANY: Final = 20
_KEPT_AT_MOST: Final = 1000  # lines remembered; texts may come from outside
_PREFIX: Final = "pointsman proxy: "
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


def speak(who: str = "", fd: int = 2) -> None:
    """From now on what is logged goes there. `who` says it, where there are several."""
    logging.basicConfig(handlers=[Operator(fd, who)], level=logging.INFO)


class Throttle:
    """Which lines are said. Times are in seconds, on any clock."""

    def __init__(self) -> None:
        self._began_s = -PERIOD_S
        self._lines: dict[str, int] = {}  # said in this period, and how often they were left out since
        self._kinds: dict[str, int] = {}

    def left_out(self, kind: str, line: str, now_s: float) -> int | None:
        """None: not now. Else it is said, and so many were left out in the last period."""
        before = 0
        if now_s - self._began_s >= PERIOD_S:
            before = sum(self._lines.values())
            self._began_s = now_s
            self._lines.clear()
            self._kinds.clear()
        if line in self._lines:
            self._lines[line] += 1
            return None
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        if self._kinds[kind] > MANY or len(self._lines) >= _KEPT_AT_MOST:
            self._lines[""] = self._lines.get("", 0) + 1
            return None
        self._lines[line] = 0
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
        left_out = self._throttle.left_out(f"{record.name} {record.msg}", message, time.monotonic())
        if left_out is None:
            return
        if left_out:
            message += f" ({left_out} lines like those of the last minute were left out)"
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
