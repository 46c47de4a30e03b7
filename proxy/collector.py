"""Keeps the garbage collector away from large tables.

A full collection looks at every object that is alive; with 100,000 routes in memory it stops all requests for 300 ms,
and building a table sets off several. Tables hold no reference cycles, so there is nothing to find: they are freed by
their counts as soon as nobody uses them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def keep_from_collector() -> None:
    """What is alive is frozen: no later collection looks at it. For tables that come in parts, while requests go on.

    Only young garbage is looked for first, about 1 ms; what else there is of it is frozen too, a few KB.
    """
    gc.collect(1)
    gc.freeze()


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection within; afterwards, what is alive is frozen: no later collection looks at it.

    Cyclic garbage of the moment is frozen too and stays, a few KB each time; so this is for large tables only.
    """
    gc.collect()  # before there is much to look at, so that little garbage is frozen
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
