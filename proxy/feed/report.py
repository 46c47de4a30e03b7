"""Counts per routing key -> traffic messages, each kept until the controller says that it arrived. Pure.

A message keeps its number and content for ever, so that after a break the controller can tell what it has already.
While one is on the way, counts gather in the counter, which is bounded; so what is kept is bounded too.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from proxy.feed.messages import MAX_COUNTS, Count, Traffic
from proxy.telemetry.traffic import KeyTraffic, RouterTraffic

_MAX_KEPT: Final = 100


class Reporter:
    """Makes the messages of one process."""

    def __init__(self, traffic: KeyTraffic | RouterTraffic) -> None:
        self._traffic: Final = traffic
        self._kept: Final[deque[Traffic]] = deque()
        self._seq = 0

    @property
    def is_all_counted(self) -> bool:
        return not self._kept

    def due(self) -> list[Traffic]:
        """What is to be sent now: nothing where the messages before have not arrived yet."""
        if self._kept or self._traffic.is_empty:
            return []
        return self._messages(None)

    def asked(self, reply: str) -> list[Traffic]:
        """What answers a report, the last of it with the reply; nothing for one who asks and asks and never counts."""
        return self._messages(reply) if len(self._kept) < _MAX_KEPT else []

    def last(self) -> list[Traffic]:
        """What is left to be said before a goodbye."""
        return [] if self._traffic.is_empty else self._messages(None)

    def again(self) -> list[Traffic]:
        """What may not have arrived over the connection that broke."""
        return list(self._kept)

    def counted(self, seq: int) -> None:
        """Everything up to this number has arrived."""
        while self._kept and self._kept[0].seq <= seq:
            self._kept.popleft()

    def _messages(self, reply: str | None) -> list[Traffic]:
        taken, is_lossy = self._traffic.take_all()
        entries = iter(
            [
                Count(key.decode("ascii"), both[0], both[1], str(workload) if workload is not None else None)
                for workload, counts in taken
                for key, both in counts.items()
            ]
        )
        messages: list[Traffic] = []
        while True:
            part = tuple(islice(entries, MAX_COUNTS))
            if messages and not part:
                break
            self._seq += 1
            messages.append(Traffic(self._seq, part, lost=is_lossy and not messages))
        if reply is not None:
            last = messages[-1]
            messages[-1] = Traffic(last.seq, last.counts, last.lost, reply)
        self._kept.extend(messages)
        return messages
