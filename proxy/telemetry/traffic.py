"""How many requests with each routing key got their response head from the sandbox, and how many from the baseline.

This is the guard against a false green: a key that this proxy has not learned yet, or that its workload is not forked
for, goes to the baseline, and the controller must hear of it. Only requests with a key are counted.

Keys come from anyone, so what has no route is bounded: beyond `MAX_KEYS` such keys counts are lost, and that is said.
Keys with routes are bounded by the table. A router counts for each workload, and one bound is for all of them.
"""

from __future__ import annotations

from typing import Final

from proxy.routing.names import Workload

MAX_KEYS: Final = 10_000
MAX_ROUTER_KEYS: Final = 50_000  # in all

Counts = dict[bytes, list[int]]  # by key: from the sandbox, from the baseline


class Room:
    """For how many more keys without a route there is room, in all counters that share it."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class KeyTraffic:
    """Counts since they were taken last."""

    __slots__ = ("_counts", "_room", "_strangers", "is_lossy", "lost_total")

    def __init__(self, room: Room | None = None) -> None:
        self._counts: Counts = {}
        self._room: Final = room if room is not None else Room(MAX_KEYS)
        self._strangers = 0  # keys that came in by a request for the baseline
        self.is_lossy = False  # since they were taken last
        self.lost_total = 0

    def from_sandbox(self, key: bytes) -> None:
        counts = self._counts.get(key)
        if counts is None:
            self._counts[key] = [1, 0]
        else:
            counts[0] += 1

    def from_baseline(self, key: bytes) -> None:
        counts = self._counts.get(key)
        if counts is not None:
            counts[1] += 1
        elif self._room.left > 0:
            self._room.left -= 1
            self._strangers += 1
            self._counts[key] = [0, 1]
        else:
            self.is_lossy = True
            self.lost_total += 1

    @property
    def is_empty(self) -> bool:
        return not self._counts and not self.is_lossy

    def take(self) -> tuple[Counts, bool]:
        """What was counted, by key, and whether some of it was lost; counting starts anew."""
        counts, is_lossy = self._counts, self.is_lossy
        self._room.left += self._strangers
        self._counts, self._strangers, self.is_lossy = {}, 0, False
        return counts, is_lossy

    def take_all(self) -> tuple[list[tuple[Workload | None, Counts]], bool]:
        """The same as a router's."""
        counts, is_lossy = self.take()
        return [(None, counts)], is_lossy


class RouterTraffic:
    """The counters of a router's workloads."""

    __slots__ = ("_of", "_room")

    def __init__(self) -> None:
        self._of: Final[dict[Workload, KeyTraffic]] = {}
        self._room: Final = Room(MAX_ROUTER_KEYS)

    def of(self, workload: Workload) -> KeyTraffic:
        traffic = self._of.get(workload)
        if traffic is None:
            traffic = self._of[workload] = KeyTraffic(self._room)
        return traffic

    @property
    def is_empty(self) -> bool:
        return all(traffic.is_empty for traffic in self._of.values())

    @property
    def lost_total(self) -> int:
        return sum(traffic.lost_total for traffic in self._of.values())

    def take_all(self) -> tuple[list[tuple[Workload | None, Counts]], bool]:
        """What was counted, by workload and key, and whether some of it was lost; counting starts anew."""
        found: list[tuple[Workload | None, Counts]] = []
        is_any_lossy = False
        for workload, traffic in self._of.items():
            counts, is_lossy = traffic.take()
            is_any_lossy = is_any_lossy or is_lossy
            if counts:
                found.append((workload, counts))
        return found, is_any_lossy
