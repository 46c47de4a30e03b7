"""Which tables and which illnesses of places count for a request, by its start and its end.

A table may be in force from the moment before it was written, and surely is once it was confirmed; from then on none
before it is. A place may fail from the moment before something happened to it until the proxy is known to have noticed
that it is well again. Both err on the lenient side, never on the other: a slow machine makes checks weaker, not wrong.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf

from tests.soak.model import Outcome, Table, Wish

_KEPT_TABLES = 3000


@dataclass(slots=True)
class _Illness:
    kind: str
    began_s: float
    ended_s: float = inf


class History:
    def __init__(self) -> None:
        self.tables: list[Table] = []
        self._illnesses: dict[str, list[_Illness]] = defaultdict(list)
        self._absences: dict[str, list[tuple[float, float]]] = defaultdict(list)  # written, confirmed

    # --- tables ---

    def writing(self, table: Table, now_s: float) -> None:
        table.written_s = now_s
        self.tables.append(table)
        if len(self.tables) > _KEPT_TABLES:
            del self.tables[: _KEPT_TABLES // 3]

    def confirmed(self, table: Table, places: tuple[str, ...], now_s: float) -> None:
        """It is in force. `places`: all that a table may name."""
        table.confirmed_s = now_s
        for place in places:
            if place not in table.places:
                absences = self._absences[place]
                absences.append((table.written_s, now_s))
                del absences[:-200]

    def in_force(self, start_s: float, end_s: float) -> list[Table]:
        """The tables that may have been in force some time between, the newest first."""
        found: list[Table] = []
        for table in reversed(self.tables):
            if table.written_s <= end_s:
                found.append(table)
            if table.confirmed_s is not None and table.confirmed_s < start_s:
                break
        return found

    def outcomes(self, wish: Wish, start_s: float, end_s: float) -> list[Outcome]:
        """What those tables make of it, each outcome once."""
        return list(dict.fromkeys(table.outcome(wish) for table in self.in_force(start_s, end_s)))

    def had_left_since(self, place: str, opened_s: float, start_s: float) -> bool:
        """Whether the place was out of the table after a connection to it was opened and before a request began.

        Such a connection must not carry that request: what listens there now may be another.
        """
        for written_s, confirmed_s in reversed(self._absences[place]):
            if confirmed_s < start_s:
                return opened_s < written_s
        return False

    # --- illnesses ---

    def fell_ill(self, place: str, kind: str, now_s: float) -> None:
        illnesses = self._illnesses[place]
        illnesses.append(_Illness(kind, now_s))
        del illnesses[:-100]

    def is_well(self, place: str, now_s: float) -> None:
        self._illnesses[place][-1].ended_s = now_s

    def was_ill(self, place: str, start_s: float, end_s: float) -> bool:
        return any(
            illness.began_s <= end_s and illness.ended_s >= start_s for illness in reversed(self._illnesses[place])
        )

    # --- for people ---

    def told(self, key: str | None, outcomes: list[Outcome], start_s: float, end_s: float) -> list[str]:
        lines = [table.told(key) for table in self.in_force(start_s - 0.3, end_s + 0.3)]
        for place in sorted({place for outcome in outcomes for place in outcome.places}):
            lines += [
                f"{place}: {illness.kind} from {illness.began_s:.4f} to {illness.ended_s:.4f}"
                for illness in self._illnesses[place]
                if illness.began_s <= end_s + 1 and illness.ended_s >= start_s - 1
            ]
        return lines
