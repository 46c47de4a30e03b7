"""What is printed where. With `--output json`, stdout gets one JSON document and nothing else. What people read while
they wait, and whatever goes wrong, is on stderr.

Names and messages come from others, so control characters are not printed as they are.
"""

from __future__ import annotations

import json
import re
from typing import Final, TextIO

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """The text without what a terminal would obey."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


class Console:
    """`is_json`: stdout is for a program."""

    def __init__(self, stdout: TextIO, stderr: TextIO, *, is_json: bool) -> None:
        self.is_json: Final = is_json
        self._stdout: Final = stdout
        self._stderr: Final = stderr
        self._is_terminal: Final = stderr.isatty()
        self._progress = ""
        self._printed = False

    def result(self, text: str) -> None:
        """A result for people, of one or several lines."""
        if not self.is_json:
            self._end_progress()
            self._stdout.write(f"{shown(text)}\n")
            self._stdout.flush()

    def document(self, document: object) -> None:
        """The result for programs; only the first counts, so that there is one."""
        if self.is_json and not self._printed:
            self._printed = True
            self._stdout.write(json.dumps(document, indent=2) + "\n")
            self._stdout.flush()

    def say(self, text: str) -> None:
        """Something for people that is no result."""
        self._end_progress()
        self._stderr.write(f"{shown(text)}\n")
        self._stderr.flush()

    def progress(self, text: str, elapsed_s: float) -> None:
        """How far it is: one line that changes on a terminal, else a line for each news."""
        text = shown(text).replace("\n", " ")
        if self._is_terminal:
            self._stderr.write(f"\r\x1b[K{text} ({elapsed_s:.0f} s)")
            self._stderr.flush()
        elif text != self._progress:
            self._stderr.write(f"{text}\n")
            self._stderr.flush()
        self._progress = text

    def _end_progress(self) -> None:
        if self._progress and self._is_terminal:
            self._stderr.write("\r\x1b[K")
            self._stderr.flush()
        self._progress = ""
