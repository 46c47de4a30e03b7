"""Rows with revisions. `since(revision)` is what a reader lacks that has seen that one. Pure.

Rows stand in the order of their last change, so what changed lately is found without looking at the rest. A row is
encoded when it changes, once for everybody; one that is not the same for all is encoded once for each audience.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_REMOVALS: Final = 10_000  # that are remembered; who has seen none of them starts anew

# Who may see a row: those for one of these namespaces; None: everybody.
Scopes = frozenset[str] | None
# What a reader may see: these namespaces; None: all.
Audience = frozenset[str] | None


def encode(document: Mapping[str, object]) -> bytes:
    """One line."""
    return json.dumps(document, separators=(",", ":")).encode()


def is_for(scopes: Scopes, audience: Audience) -> bool:
    return scopes is None or audience is None or not scopes.isdisjoint(audience)


@dataclass(frozen=True, slots=True)
class Delta:
    """`rows`: encoded. `is_all`: what the reader has beside them is no more."""

    revision: int
    rows: list[bytes]
    gone: list[str]
    is_all: bool

    @property
    def is_empty(self) -> bool:
        return not self.is_all and not self.rows and not self.gone


@dataclass(frozen=True, slots=True)
class _Row:
    revision: int
    scopes: Scopes
    content: object  # what it was made of: an equal one changes nothing
    bodies: Callable[[Audience], bytes]


class Board:
    """Who has everything up to a revision, and gets what is since, has everything."""

    def __init__(self) -> None:
        self.revision = 0
        self._rows: Final[dict[str, _Row]] = {}  # those that changed last stand last
        self._removals: Final[deque[tuple[int, str, Scopes]]] = deque()
        self._forgotten = 0  # the last removal that is not remembered any more
        self._deltas: Final[dict[tuple[int, Audience], Delta]] = {}  # up to the present revision

    def __len__(self) -> int:
        return len(self._rows)

    def ids(self) -> list[str]:
        return list(self._rows)

    def put(self, id_: str, document: Mapping[str, object], scopes: Scopes) -> None:
        body = encode({"id": id_, **document})
        self._put(id_, body, scopes, lambda _: body)

    def put_for_each(
        self, id_: str, content: object, document: Callable[[Audience], Mapping[str, object]], scopes: Scopes = None
    ) -> None:
        """A row that says something else to each audience; `content` is all that it depends on."""
        bodies: dict[Audience, bytes] = {}

        def body(audience: Audience) -> bytes:
            if audience not in bodies:
                bodies[audience] = encode({"id": id_, **document(audience)})
            return bodies[audience]

        self._put(id_, content, scopes, body)

    def _put(self, id_: str, content: object, scopes: Scopes, bodies: Callable[[Audience], bytes]) -> None:
        before = self._rows.get(id_)
        if before is not None and before.scopes == scopes and before.content == content:
            return
        self._rows.pop(id_, None)
        self._step()
        if before is not None and before.scopes != scopes:
            self._note_removal(id_, before.scopes)  # for those who may not see it any more
        self._rows[id_] = _Row(self.revision, scopes, content, bodies)

    def drop(self, id_: str) -> None:
        row = self._rows.pop(id_, None)
        if row is not None:
            self._step()
            self._note_removal(id_, row.scopes)

    def _step(self) -> None:
        self.revision += 1
        self._deltas.clear()

    def _note_removal(self, id_: str, scopes: Scopes) -> None:
        self._removals.append((self.revision, id_, scopes))
        if len(self._removals) > _REMOVALS:
            self._forgotten = self._removals.popleft()[0]

    def since(self, revision: int | None, audience: Audience) -> Delta:
        """What a reader lacks that has seen this revision, or nothing (None). Cost: what changed since, once for all
        who ask the same."""
        if revision is None or not self._forgotten <= revision <= self.revision:
            revision = -1
        delta = self._deltas.get((revision, audience))
        if delta is None:
            delta = self._deltas[revision, audience] = self._since(revision, audience)
        return delta

    def _since(self, revision: int, audience: Audience) -> Delta:
        rows: list[bytes] = []
        present: set[str] = set()
        for id_, row in reversed(self._rows.items()):
            if row.revision <= revision:
                break
            if is_for(row.scopes, audience):
                rows.append(row.bodies(audience))
                present.add(id_)
        rows.reverse()
        gone: dict[str, None] = {}
        if revision >= 0:
            for at, id_, scopes in reversed(self._removals):
                if at <= revision:
                    break
                if id_ not in present and is_for(scopes, audience):
                    gone[id_] = None
        return Delta(self.revision, rows, list(gone), is_all=revision < 0)
