"""How many files may be open, and how they are shared out, so that running out of them is answered and not suffered.

Of the limit a part is kept free of downstream connections (`Descriptors.reserve`): for connections to upstreams, which
are made only when requests need them, and for refusing more downstream connections politely.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.telemetry.metrics import Metrics

_RESERVE_AT_MOST: Final = 1024
# Held back for each listener of our own pages: so many connections to them at once are possible whatever else is open.
PAGE_SPARES: Final = 8
# The watch of the table file, a process that reads it, the pages' files.
_OTHERS: Final = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """`limit`: of this process. `used`: for what is not a connection of the data path."""

    limit: int
    used: int

    @property
    def reserve(self) -> int:
        """A quarter of the limit, but no more than so many requests can wait for an upstream at once."""
        return min(self.limit // 4, _RESERVE_AT_MOST)

    @property
    def connections(self) -> int:
        """So many downstream connections fit."""
        return max(self.limit - self.used - self.reserve, 1)


class Spares:
    """Descriptors held back, so that a connection that must be possible is."""

    __slots__ = ("_count", "_held")

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[int] = []
        self.hold()

    def give(self) -> bool:
        """Frees one; whether there was one."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def hold(self) -> bool:
        """Opens again what was given, where that is possible; whether all are held."""
        try:
            while len(self._held) < self._count:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def hold_soon(self) -> None:
        """For whoever is about to close one."""
        if len(self._held) < self._count:
            asyncio.get_running_loop().call_soon(self.hold)


class Room:
    """For one more downstream connection. What it asks costs a few additions."""

    __slots__ = ("_descriptors", "_limit", "_metrics", "_spares", "max_connections")

    def __init__(
        self, descriptors: Descriptors, max_connections: int, spares: Sequence[Spares], metrics: Metrics
    ) -> None:
        self.max_connections = min(max_connections, descriptors.connections)
        self._descriptors = descriptors
        # Some more than the limit are taken in, to be told so; behind them others wait.
        self._limit = self.max_connections + max(descriptors.reserve // 4, 1)
        self._spares = spares
        self._metrics = metrics

    @property
    def is_left(self) -> bool:
        return all(each.hold() for each in self._spares) and self._metrics.downstream_connections < self._limit

    @property
    def is_tight(self) -> bool:
        """Whether it might end soon: if each connection had one upstream, or those at hand were joined by as many."""
        downstream, upstream = self._metrics.downstream_connections, self._metrics.upstream_connections
        soon = downstream + max(downstream, upstream)
        return downstream >= self.max_connections or soon >= self._descriptors.limit - self._descriptors.used

    def delayed(self) -> None:
        """A connection waits to be accepted."""
        self._metrics.accepts_delayed += 1
        _log.warning("connections wait to be accepted: over --max-connections, or out of files (ulimit -Hn)")


def descriptors(pages: int) -> Descriptors:
    """Of this process, once it listens; `pages` of the listeners are for pages. The soft limit becomes what the system
    grants (`ulimit -Hn`)."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        limit = hard
    except (OSError, ValueError):
        pass  # "unlimited" may be more than the kernel can do
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 30
    return Descriptors(limit, len(os.listdir("/proc/self/fd")) + pages * PAGE_SPARES + _OTHERS)
