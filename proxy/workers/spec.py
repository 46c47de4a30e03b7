"""What a worker is told at its start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spec:
    """`worker` counts from 1, `of` is how many there are. `control`, `board`, `listening` are descriptors; `pages`
    are where the supervisor's pages are, `name` what the whole is called at a controller."""

    worker: int
    of: int
    control: int
    board: int
    listening: list[list[int]]
    pages: list[tuple[str, int]]
    name: str

    @classmethod
    def read(cls, text: str) -> Spec:
        fields: dict[str, Any] = json.loads(text)  # Any: what `written` wrote
        fields["pages"] = [(host, port) for host, port in fields["pages"]]
        return cls(**fields)

    def written(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})
