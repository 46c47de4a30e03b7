"""All proxies: who is there, who is lost, what each has, and how far a key has got.

A proxy that goes without a goodbye is lost: it may still serve, by what it had last, or be dead. It stays in the books
by its id until it is back, or was away for long.

Positions never go back, also over restarts (SPEC 5): they are reserved on the disk a block at a time. Should a proxy
know a higher one all the same (the disk was lost), they go on above it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from controller.compile import Compilation
from controller.feed.book import Book
from controller.feed.progress import Missing, OfWorkload, Progress
from controller.feed.subscription import Subscription
from controller.feed.traffic import Gap, TrafficBook
from controller.journal import Journal
from proxy.feed.messages import MAX_POSITION, SCHEMA, Ack, Counted, Hello, Nack, Report, Traffic
from proxy.feed.wire import encode
from proxy.routing.names import Workload

_BLOCK: Final = 1000
_HIGHEST: Final = MAX_POSITION - (1 << 32)  # nobody gets there by counting; who says so made it up
_LOST_S: Final = 600.0
_MAX_LOST: Final = 10_000

_log = logging.getLogger(__name__)


class HelloRefused(Exception):
    """The proxy gets nothing; the text is for it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A proxy that went without a goodbye."""

    id: str
    boot: str
    workload: Workload
    release: str
    position: int | None
    version: str | None
    at: datetime


class Hub:
    """`apply` each compilation, `attach` each proxy; then ask."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        """`journal`: one of its own."""
        self._journal: Final = journal
        self._clock: Final = clock
        kept = dict(journal.entries())
        salt, reserved = kept.get("salt"), kept.get("position")
        self._reserved = reserved if isinstance(reserved, int) else 0
        if not isinstance(salt, str):
            salt = secrets.token_hex(16)
            journal.write({"salt": salt})
        self._book: Final = Book(salt, self._reserved)
        self._is_filled = False
        self._attached: Final[dict[str, Subscription]] = {}
        self._wakes: Final[dict[str, Callable[[], None]]] = {}
        self._outboxes: Final[dict[str, list[str]]] = {}
        self._lost: Final[dict[str, Lost]] = {}
        self._traffic: Final = TrafficBook(self._now_s)
        self._reports: Final[dict[str, set[str]]] = {}  # by their token: the proxies that have not answered
        self._beat = asyncio.Event()
        self.refusals = 0
        self.acknowledgements = 0

    @property
    def _now_s(self) -> float:
        return self._clock().timestamp()

    @property
    def is_filled(self) -> bool:
        """Whether there is a table to tell."""
        return self._is_filled

    @property
    def position(self) -> int:
        return self._book.position

    @property
    def version(self) -> str:
        return self._book.version

    @property
    def traffic(self) -> TrafficBook:
        return self._traffic

    # --- the table ---------------------------------------------------------------------------------------------------

    def apply(self, compilation: Compilation) -> None:
        """The next table. The first one is whole."""
        self._book.apply(self._next_position(), compilation.version, compilation.keys)
        self._is_filled = True
        self._tell()

    def _next_position(self, above: int = 0) -> int:
        position = max(self._book.position, above) + 1
        if position > self._reserved:
            self._reserved = position + _BLOCK
            try:
                self._journal.write({"position": self._reserved})
            except OSError as error:
                # Proxies know their positions: after a restart the first one to come brings it.
                _log.error("the feed's position can't be kept: %s", error.strerror)
        return position

    def _tell(self) -> None:
        for wake in self._wakes.values():
            wake()
        self._news()

    def _news(self) -> None:
        self._beat.set()
        self._beat = asyncio.Event()

    async def until_changed(self) -> None:
        """Returns when a proxy comes, goes or answers, or when there is another table."""
        await self._beat.wait()

    # --- proxies -----------------------------------------------------------------------------------------------------

    def attach(self, hello: Hello, wake: Callable[[], None]) -> Subscription:
        """`wake` is called whenever there may be something to send (`due`), and when another one took its place.

        Raises: HelloRefused.
        """
        if SCHEMA not in hello.schemas:
            raise HelloRefused(
                f"schemas: this controller speaks {SCHEMA} only, not {', '.join(hello.schemas) or 'none'}"
            )
        try:
            workload = Workload.parse(hello.workload)
        except ValueError as error:
            raise HelloRefused(f"workload: {error}") from None
        if hello.position is not None and hello.position > _HIGHEST:
            raise HelloRefused(f"position: {hello.position} was never given out")
        if hello.position is not None and hello.position > self._book.position and self._is_filled:
            self._book.apply(self._next_position(hello.position), self._book.version, ())
            self._tell()
        before = self._attached.get(hello.id)
        if before is not None:
            self._leave(before, "another connection took its place")
        self._come_back(hello, workload)
        subscription = Subscription(hello, workload, self._book, self._clock())
        self._attached[hello.id] = subscription
        self._wakes[hello.id] = wake
        self._outboxes[hello.id] = []
        self._news()
        return subscription

    def _come_back(self, hello: Hello, workload: Workload) -> None:
        lost = self._lost.pop(hello.id, None)
        if lost is not None:
            self._traffic.found(lost.workload, lost.id, self._now_s, is_same=lost.boot == hello.boot)

    def is_attached(self, subscription: Subscription) -> bool:
        return self._attached.get(subscription.id) is subscription

    def detach(self, subscription: Subscription, *, is_clean: bool) -> None:
        """The connection ended; `is_clean`: after a goodbye."""
        if not self.is_attached(subscription):
            return
        if is_clean:
            self._remove(subscription)
        else:
            self._leave(subscription, "its connection broke")
        self._news()

    def _leave(self, subscription: Subscription, reason: str) -> None:
        self._remove(subscription)
        while len(self._lost) >= _MAX_LOST:
            del self._lost[next(iter(self._lost))]
        self._lost[subscription.id] = Lost(
            subscription.id,
            subscription.boot,
            subscription.workload,
            subscription.release,
            subscription.position,
            subscription.version,
            self._clock(),
        )
        self._traffic.lose(subscription.workload, Gap(subscription.id, reason, self._now_s, None))

    def _remove(self, subscription: Subscription) -> None:
        del self._attached[subscription.id]
        del self._wakes[subscription.id]
        del self._outboxes[subscription.id]
        for token in list(self._reports):
            self._answered(token, subscription.id)

    def attached(self) -> Collection[Subscription]:
        return self._attached.values()

    def lost(self) -> Collection[Lost]:
        """Those that may still be there."""
        now = self._clock()
        for lost in list(self._lost.values()):
            if (now - lost.at).total_seconds() > _LOST_S:
                del self._lost[lost.id]
        return self._lost.values()

    # --- one proxy ---------------------------------------------------------------------------------------------------

    def due(self, subscription: Subscription) -> list[str]:
        """Texts to send to it now, in order."""
        outbox = self._outboxes.get(subscription.id)
        if outbox is None or not self.is_attached(subscription):
            return []
        texts, outbox[:] = list(outbox), []
        return texts + subscription.due(self._book) if self._is_filled else texts

    def take(self, subscription: Subscription, message: Ack | Nack) -> None:
        """Its answer."""
        if isinstance(message, Ack):
            self.acknowledgements += subscription.acknowledge(message)
        elif subscription.refuse(message):
            self.refusals += 1
            _log.warning("%s refused table %s: %s", subscription.id, self.version, "; ".join(subscription.faults)[:500])
        self._news()

    def take_traffic(self, subscription: Subscription, message: Traffic) -> None:
        self._traffic.take(subscription.id, subscription.boot, subscription.workload, message, self._now_s)
        if (outbox := self._outboxes.get(subscription.id)) is not None and self.is_attached(subscription):
            outbox.append(encode(Counted(message.seq)))
        if message.reply is not None:
            self._answered(message.reply, subscription.id)
            self._news()

    # --- counts ------------------------------------------------------------------------------------------------------

    async def flush(self, workloads: Collection[Workload], timeout_s: float) -> set[str]:
        """Has the proxies of these workloads report what they counted; the ids of those that did not in time."""
        token = secrets.token_hex(8)
        text = encode(Report(token))
        asked = {each.id for each in self._attached.values() if each.workload in workloads}
        self._reports[token] = set(asked)
        for proxy in asked:
            self._outboxes[proxy].append(text)
            self._wakes[proxy]()
        try:
            async with asyncio.timeout(timeout_s):
                while self._reports.get(token):
                    await self.until_changed()
        except TimeoutError:
            pass
        return self._reports.pop(token, set())

    def _answered(self, token: str, proxy: str) -> None:
        waiting = self._reports.get(token)
        if waiting is not None:
            waiting.discard(proxy)

    # --- how far it has got ------------------------------------------------------------------------------------------

    def progress(self, key: str, workloads: Mapping[Workload, bool], position: int) -> Progress:
        """Of the table of this position. `workloads`: where the key has routes, and whether they lead anywhere."""
        knowing = sum(each.knows(position) for each in self._attached.values())
        return Progress(
            attached=len(self._attached),
            knowing=knowing,
            workloads=tuple(
                self._of_workload(key, workload, has_destination, position)
                for workload, has_destination in sorted(workloads.items())
            ),
            others=tuple(
                _missing(each, key, position)
                for each in self._attached.values()
                if each.workload not in workloads and not each.knows(position)
            ),
        )

    def _of_workload(self, key: str, workload: Workload, has_destination: bool, position: int) -> OfWorkload:
        here = [each for each in self._attached.values() if each.workload == workload]
        has = [each for each in here if each.knows(position) and key not in each.refused_routes]
        missing = [_missing(each, key, position) for each in here if each not in has]
        missing += [
            Missing(each.id, "disconnected", f"its connection broke at {each.at:%H:%M:%S} UTC")
            for each in self.lost()
            if each.workload == workload
        ]
        return OfWorkload(workload, len(here), len(has), has_destination, tuple(missing))

    def have(self, position: int) -> bool:
        """Whether every proxy that is there has the table of this position or a later one, or refused it."""
        return all(each.knows(position) or each.has_refused(position) for each in self._attached.values())


def _missing(each: Subscription, key: str, position: int) -> Missing:
    if key in each.refused_routes:
        return Missing(each.id, "refused", "; ".join(each.refused_routes[key]))
    if each.has_refused(position):
        return Missing(each.id, "refused", "; ".join(each.faults))
    return Missing(each.id, "pending", f"it has not answered yet, and has table {each.version or 'none'}")
