"""One proxy: what it has, what is under way to it, what it refused. Pure.

At most one answer is awaited at a time: what changes meanwhile is one change more, from what the proxy has then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Final

from controller.feed.book import Book
from proxy.feed.messages import Ack, Hello, Nack, RefusedRoute
from proxy.routing.names import Workload


class Subscription:
    """Made from the proxy's first words. `workload`: None, it is a router.

    `due` says what to send it now; ask again after each news and answer.
    """

    __slots__ = (
        "_answered",
        "_awaited",
        "_needs_all",
        "boot",
        "faults",
        "id",
        "outbox",
        "ports",
        "position",
        "refused_routes",
        "release",
        "since",
        "version",
        "wake",
        "workload",
    )

    def __init__(
        self,
        hello: Hello,
        workload: Workload | None,
        book: Book,
        now: datetime,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called when there may be something to send."""
        self.id: Final = hello.id
        self.boot: Final = hello.boot
        self.workload: Final = workload
        self.ports: Final = hello.ports
        self.release: Final = hello.release
        self.since: Final = now
        self.wake: Final = wake
        # What is to be said beside tables, by what it is about: a newer word takes the place of an older one.
        self.outbox: Final[dict[str, str]] = {}
        self.position: int | None = None  # of the table that it has in force, as far as we know
        self.version: str | None = None
        self.faults: tuple[str, ...] = ()  # of what it refused last
        # By key and workload: it has the table without these.
        self.refused_routes: dict[tuple[str, Workload | None], tuple[str, ...]] = {}
        self._awaited: tuple[str, int] | None = None  # nonce and position
        self._answered = -1  # the book's position when it answered last
        self._needs_all = True
        if hello.position is not None and hello.salt == book.salt_for(workload):
            self.position, self.version = hello.position, hello.version
            self._needs_all = False

    def due(self, book: Book) -> Iterable[str]:
        """Texts to send now, in order; none while an answer is missing, or if there is nothing new. A router's are made
        one by one."""
        if self._awaited is not None or self._answered == book.position:
            return []
        if not self._needs_all and self.position is not None:
            if self.version == book.version:
                self._awaited = (book.nonce(book.position), book.position)
                return book.current(self.workload)
            texts = book.change(self.workload, self.position, self.version)
            if texts is not None:
                self._awaited = (book.nonce(self.position), book.position)
                return texts
        self._awaited = (book.nonce(None), book.position)
        return book.snapshot(self.workload)

    def acknowledge(self, ack: Ack) -> bool:
        """Whether that was awaited."""
        if self._awaited is None or ack.nonce != self._awaited[0]:
            return False
        self._take_answer(ack.version)
        self._needs_all = False
        self.faults, self.refused_routes = (), {}
        return True

    def refuse(self, nack: Nack) -> bool:
        """Whether that was awaited. What was refused is not sent again before something changes, and then all is, so
        that the answer says all that is refused."""
        if self._awaited is None or nack.nonce != self._awaited[0]:
            return False
        if nack.is_whole:
            self._answered = self._awaited[1]
            self._awaited = None
        else:
            self._take_answer(None)
            self.refused_routes = {}
        self._needs_all = True
        self.faults = _shown(nack.faults) or ("refused, without a reason",)
        # What it refused of the table that it keeps, if this one was refused whole, stays refused.
        self.refused_routes |= {
            (route.routing_key, self._workload_of(route)): _shown(route.faults) for route in nack.routes
        }
        return True

    def _workload_of(self, route: RefusedRoute) -> Workload | None:
        if self.workload is None and route.workload is not None:
            with suppress(ValueError):
                return Workload.parse(route.workload)
        return self.workload

    def refusal(self, key: str, workload: Workload) -> tuple[str, ...] | None:
        """Why it has no route for this key there; None: it has, as far as we know. A router that does not say where it
        refused one has it nowhere."""
        faults = self.refused_routes.get((key, workload))
        return faults if faults is not None or self.workload is not None else self.refused_routes.get((key, None))

    def _take_answer(self, version: str | None) -> None:
        assert self._awaited is not None
        self.position = self._answered = self._awaited[1]
        self.version = version
        self._awaited = None

    def resync(self) -> None:
        """What was sent does not fit on what it has."""
        self.position = self.version = None
        self._awaited = None
        self._answered = -1
        self._needs_all = True

    @property
    def known(self) -> int:
        """The position of the latest table that is in force there, but for `refused_routes`; -1: of none."""
        return min(self._answered, self.position) if self.position is not None else -1

    def knows(self, position: int) -> bool:
        """Whether the table of this position, or a later one, is in force there, but for `refused_routes`."""
        return self._answered >= position and self.position is not None and self.position >= position

    def has_refused(self, position: int) -> bool:
        """Whether it said no to a table of this position or a later one."""
        return self._answered >= position and not self.knows(position)


def _shown(faults: Iterable[str]) -> tuple[str, ...]:
    """As they can go to logs and terminals, whatever a proxy says."""
    return tuple(
        "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text) for text in faults
    )
