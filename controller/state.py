"""The state folder: what must outlive us, in one place that one controller has at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from controller.atomic import remove_leftovers
from controller.errors import Unwritable
from controller.journal import Journal


class StateError(Exception):
    """The folder can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class State:
    """Journals of their own, since each has one writer. The store has its own, `objects`, beside them."""

    folder: str
    keys: Journal  # the engine's: live and gone keys
    feed: Journal  # the hub's: position and salt
    proxies: Journal  # those that are attached


@contextmanager
def open_state(folder: str) -> Iterator[State]:
    """Raises: StateError."""
    with ExitStack() as stack:
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            keys = stack.enter_context(closing(Journal(os.path.join(folder, "keys"))))
            remove_leftovers(folder)  # only now that nobody else has it
            feed = stack.enter_context(closing(Journal(os.path.join(folder, "feed"))))
            proxies = stack.enter_context(closing(Journal(os.path.join(folder, "proxies"))))
        except Unwritable:
            raise StateError(f"{folder}: another controller uses it") from None
        except OSError as error:
            raise StateError(f"{folder}: can't be written: {error.strerror} (name another folder)") from None
        yield State(folder, keys, feed, proxies)
