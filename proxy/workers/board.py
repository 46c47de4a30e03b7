"""Memory that the supervisor and its workers share: one file without a name, mapped by each of them.

    for each worker    connections    4 bytes: how many callers it serves
                       present        4 bytes: 1 while it takes part in accepting (the supervisor's to say)
    for each worker    counts         for each local port, a byte: how many of its own connections begin there
                       ends           for each local port, `_ENDS` times 8 bytes: a digest of each one's two ends

Each number has one writer and is written whole, so nobody waits for anybody. Whoever reads sees a number of this moment
or of the one before; that makes a turn unfair, or lets one round of a loop pass. Pages that are never touched take no
memory: a worker with 100 connections to upstreams has touched some 500 KB at most.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from ipaddress import ip_address
from typing import Final

_PORTS: Final = 65536
# The kernel gives one local port to several connections only if they lead to different places, and rarely.
_ENDS: Final = 4
_ANYWHERE: Final = object()
# Who has more connections than another one steps back; an eighth more, where there are many, is no more.
_TOLERANCE: Final = 8


class Board:
    """The map. The supervisor makes one (`fd` None), workers are given its descriptor."""

    def __init__(self, workers: int, fd: int | None = None) -> None:
        self.fd: Final = os.memfd_create("pointsman-board", 0) if fd is None else fd
        head = 8 * workers
        size = head + workers * _PORTS * (1 + 8 * _ENDS)
        if fd is None:
            os.ftruncate(self.fd, size)
        view = memoryview(mmap.mmap(self.fd, size))
        self.connections: Final = view[: head // 2].cast("I")
        self.present: Final = view[head // 2 : head].cast("I")
        counts = head + workers * _PORTS
        self.counts: Final = [view[head + n * _PORTS : head + (n + 1) * _PORTS] for n in range(workers)]
        region = _PORTS * 8 * _ENDS
        self.ends: Final = [view[counts + n * region : counts + (n + 1) * region].cast("Q") for n in range(workers)]

    def forget(self, worker: int) -> None:
        """Of one that is no more. Workers are counted from 1."""
        self.present[worker - 1] = 0
        self.connections[worker - 1] = 0
        self.counts[worker - 1][:] = bytes(_PORTS)


class Turns:
    """One worker's: whether it, or rather another one, accepts what waits. `own` tells how many callers it serves."""

    __slots__ = ("_board", "_own", "_worker")

    def __init__(self, board: Board, worker: int, own: Callable[[], int]) -> None:
        self._board: Final = board
        self._worker: Final = worker - 1
        self._own: Final = own

    def note(self, starting: int = 0) -> int:
        """Tells the others how many we have; so many. `starting`: those that `own` does not know yet."""
        own = self._board.connections[self._worker] = self._own() + starting
        return own

    def is_ours(self, starting: int) -> bool:
        board, own = self._board, self.note(starting)
        if not own:
            return True
        least = min(
            (
                count
                for number, count in enumerate(board.connections)
                if board.present[number] and number != self._worker
            ),
            default=own,
        )
        return own <= least + least // _TOLERANCE


class Siblings:
    """One worker's own connections to upstreams, for the others to see; and theirs."""

    __slots__ = ("_board", "_others", "_worker")

    def __init__(self, board: Board, worker: int) -> None:
        self._board: Final = board
        self._worker: Final = worker - 1
        self._others: Final = [number for number in range(len(board.counts)) if number != self._worker]

    def opened(self, local: object, remote: object) -> None:
        """A connection of ours: both of its addresses."""
        if not isinstance(local, tuple) or not isinstance(remote, tuple):
            return
        counts, port = self._board.counts[self._worker], local[1]
        count = counts[port]
        # More than fit are rare beyond measure, and what leads back through them is noticed one round later.
        if count < _ENDS:
            self._board.ends[self._worker][port * _ENDS + count] = _digest(local, _seen_as(remote))
            counts[port] = count + 1

    def lost(self, local: object, remote: object) -> None:
        if not isinstance(local, tuple) or not isinstance(remote, tuple):
            return
        counts, ends, port = self._board.counts[self._worker], self._board.ends[self._worker], local[1]
        first, count = port * _ENDS, counts[port]
        digest = _digest(local, _seen_as(remote))
        for place in range(first, first + count):
            if ends[place] == digest:
                ends[place] = ends[first + count - 1]
                counts[port] = count - 1
                return

    def leads_here(self, peer: object, here: Iterable[object]) -> bool:
        """Whether one that came from `peer` to one of `here` is another worker's. As with our own: on loopback the
        addresses tell, elsewhere they may have been changed on the way."""
        if not isinstance(peer, tuple):
            return False
        port = peer[1]
        counted = [(number, self._board.counts[number][port]) for number in self._others]
        if not any(count for _, count in counted):
            return False
        wanted = {_digest(peer, place) for place in (*here, _ANYWHERE) if place is not None}
        return any(
            self._board.ends[number][port * _ENDS + index] in wanted
            for number, count in counted
            for index in range(min(count, _ENDS))
        )


def _seen_as(remote: tuple[str, int]) -> object:
    return remote if ip_address(remote[0].partition("%")[0]).is_loopback else _ANYWHERE


def _digest(local: tuple[str, int], remote: object) -> int:
    far = remote[:2] if isinstance(remote, tuple) else None
    return int.from_bytes(blake2b(repr((local[:2], far)).encode(), digest_size=8).digest(), "little")
