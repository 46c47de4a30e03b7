"""How long those who connect may take before they have said anything.

aiohttp waits for ever for the first head of a connection; whoever opens thousands and says nothing would take all open
files from the proxies. Later heads are covered by the keep-alive limit, bodies by `bodies`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

FIRST_HEAD_S: Final = 10.0  # many retransmissions of a packet
KEEP_ALIVE_S: Final = 75.0  # longer than clients keep theirs
BODY_S: Final = 30.0


class Connection(Protocol):
    """aiohttp's RequestHandler."""

    def force_close(self) -> None: ...


class Patience:
    """`heard` of each request's connection; `look` at all, twice within the time."""

    def __init__(self) -> None:
        self._heard: set[object] = set()
        self._silent: dict[Connection, float] = {}  # since when

    def heard(self, connection: object) -> None:
        self._heard.add(connection)

    def look(self, connections: Iterable[Connection], now_s: float) -> int:
        """Cuts those that have been silent for too long; how many."""
        present = list(connections)
        self._heard.intersection_update(present)
        self._silent = {each: self._silent.get(each, now_s) for each in present if each not in self._heard}
        late = [each for each, since_s in self._silent.items() if now_s - since_s >= FIRST_HEAD_S]
        for each in late:
            each.force_close()
        return len(late)

    async def run(self, connections: Callable[[], Iterable[Connection]]) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FIRST_HEAD_S / 4)
            self.look(connections(), loop.time())
