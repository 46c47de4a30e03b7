"""What can go wrong, all under one base.

ControllerError
    ObjectError     a document is refused; `faults` has everything that is wrong, each named by its path
    StoreError      a store could not do what was asked
        NotFound    there is no such object
        Conflict    the object is not in the state that the writer expected
            Exists      there must be no such object, and there is
            Deleting    the object is being deleted, and only that
        OverQuota   there may be no more objects of this kind
        Unwritable  the store can't be written, or can't be written safely now
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 10


class ControllerError(Exception):
    """The base of all."""


class ObjectError(ControllerError):
    """A document is refused. The exception's text is the first ten faults, in one line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults: Final = list(faults)
        shown = "; ".join(self.faults[:_SHOWN])
        more = len(self.faults) - _SHOWN
        super().__init__(f"{shown}; and {more} more" if more > 0 else shown)


class StoreError(ControllerError):
    """A store could not do what was asked."""


class NotFound(StoreError):
    """There is no such object."""


class Conflict(StoreError):
    """The object is not in the state that the writer expected."""


class Exists(Conflict):
    """There must be no such object, and there is."""


class Deleting(Conflict):
    """The object is being deleted: it takes no changes any more."""


class OverQuota(StoreError):
    """A limit is reached; the text names it."""


class Unwritable(StoreError):
    """The store can't be written, or can't be written safely now."""
