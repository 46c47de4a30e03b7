"""What is wrong with a document: the one exception of this package, and how values are quoted in it.

A file's content may be secret or hostile, so a fault quotes only as much as is needed to find it, in ASCII and with
control characters escaped: faults go to terminals and logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 10


class TableError(Exception):
    """A document or its text is refused.

    `faults` has all that is wrong; the exception's text the first ten of it, in one line.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults: Final = list(faults)
        shown = "; ".join(self.faults[:_SHOWN])
        more = len(self.faults) - _SHOWN
        super().__init__(f"{shown}; and {more} more" if more > 0 else shown)


def excerpt(value: object, limit: int = 60) -> str:
    """The value for an error text: ASCII only, control characters escaped, at most about `limit` characters.

    A file's content may be secret or hostile, so a fault quotes only as much as is needed to find it.
    """
    if isinstance(value, str):
        value = value[: limit + 1]  # before escaping: the value may be megabytes
    elif isinstance(value, dict | list | tuple | set):
        return "a list" if isinstance(value, list | tuple | set) else "an object"
    elif value is None:
        return "null"
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # converting it costs quadratic time, or is refused
    text = ascii(value)
    return text if len(text) <= limit else text[:limit] + "..."
