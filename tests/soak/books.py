"""What arrived at the places. Whether a request was executed is decided when its head has arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Record:
    """What arrived under one id, last and in all."""

    place: str
    opened_s: float  # when its connection carried its first request
    baggage: str = ""
    version: str = ""
    upload: str = ""
    heads: int = 0
    whole: int = 0


@dataclass
class Books:
    records: dict[str, Record] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # how often, unread (HTTP/2)

    def arrived(self, ident: str, place: str, opened_s: float, baggage: str, version: str) -> Record:
        """A head."""
        record = self.records.setdefault(ident, Record(place, opened_s))
        record.place, record.opened_s, record.baggage, record.version = place, opened_s, baggage, version
        record.heads += 1
        return record
