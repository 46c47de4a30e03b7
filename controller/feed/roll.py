"""The proxies that are attached, kept over our restarts: one that has not come back yet routes by the table that it
had, and must be missed until then.

Kept a moment later, aside: nobody waits for it, and a thousand proxies that come at once are one write. Who is killed
within that moment misses one that had just come for the first time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.background import aside
from controller.journal import Journal
from proxy.routing.names import Workload

_AGAIN_S: Final = 5.0
_ROUTER: Final = "router"  # in the place of a workload

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A proxy, as it was when it attached last."""

    id: str
    boot: str
    workload: Workload | None  # None: a router
    release: str


class Roll:
    """`enrol` who comes, `strike` who has left; `run` keeps that."""

    def __init__(self, journal: Journal) -> None:
        """`journal`: one of its own."""
        self._journal: Final = journal
        self._records: Final[dict[str, object]] = dict(journal.entries())
        self._news: Final[dict[str, object | None]] = {}
        self._has_news: Final = asyncio.Event()

    def enrolled(self) -> Iterator[Enrolled]:
        for name, record in self._records.items():
            workload, _, id_ = name.partition(" ")
            match record:
                case {"boot": str(boot), "release": str(release)}:
                    try:
                        of = Workload.parse(workload) if workload != _ROUTER else None
                        yield Enrolled(id_, boot, of, release)
                    except ValueError:
                        _log.warning("the record of a proxy is not used: %a", name)

    def enrol(self, proxy: Enrolled) -> None:
        self._put(_name(proxy.workload, proxy.id), {"boot": proxy.boot, "release": proxy.release})

    def strike(self, workload: Workload | None, id_: str) -> None:
        self._put(_name(workload, id_), None)

    def _put(self, name: str, record: object | None) -> None:
        if self._records.get(name) == record:
            return
        if record is None:
            del self._records[name]
        else:
            self._records[name] = record
        self._news[name] = record
        self._has_news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            news = dict(self._news)
            self._news.clear()
            try:
                await aside(self._journal.write, news)
            except OSError as error:
                _log.error("which proxies are attached can't be kept, trying again: %s", error.strerror)
                for name, record in news.items():
                    self._news.setdefault(name, record)
                self._has_news.set()
                await asyncio.sleep(_AGAIN_S)


def _name(workload: Workload | None, id_: str) -> str:
    return f"{workload or _ROUTER} {id_}"
