"""All proxies: who is there, who is lost, what each has, and how far a key has got.

A proxy that goes without a goodbye is lost: it may still serve, by what it had last, or be dead. It stays in the books
by its id until it is back, or was away for long. Ids are told apart by workload: a proxy proves its workload at most.
A router has none: it is a proxy of every workload that its services list (`ForRouters`), and of no other.
Those that were attached to the controller before us are lost, too, until they are back (`roll`).

Positions never go back, also over restarts (SPEC 5): they are reserved on the disk a block at a time. Should a proxy
know a higher one all the same (the disk was lost), they go on above it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final

from controller.compile import Compilation
from controller.feed.book import Book
from controller.feed.delays import Delays
from controller.feed.progress import Missing, OfWorkload, Progress
from controller.feed.roll import Enrolled, Roll
from controller.feed.subscription import Subscription
from controller.feed.traffic import TrafficBook
from controller.journal import Journal
from proxy.feed.messages import MAX_POSITION, SCHEMA, Ack, Counted, Hello, Nack, Report, Traffic
from proxy.feed.wire import encode
from proxy.routing.digest import is_salt
from proxy.routing.faults import excerpt
from proxy.routing.names import Workload

_BLOCK: Final = 1000
_HIGHEST: Final = MAX_POSITION - (1 << 32)  # nobody gets there by counting; who says so made it up
_LOST_S: Final = 600.0
_MAX_LOST: Final = 10_000
_RIVAL_S: Final = 60.0  # by then a process that lives has dialled again
_MAX_RIVALS: Final = 1000

_log = logging.getLogger(__name__)

Name = tuple[Workload | None, str]  # of a proxy: its workload (None: it is a router) and its id


class HelloRefused(Exception):
    """The proxy gets nothing; the text is for it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A proxy that went without a goodbye."""

    id: str
    boot: str
    workload: Workload | None  # None: a router
    release: str
    position: int | None
    version: str | None
    at: datetime


class Hub:
    """`apply` each compilation, `attach` each proxy; then ask."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime], roll: Roll | None = None) -> None:
        """`journal`: one of its own. `roll`: None, and who was attached is forgotten at each start."""
        self._journal: Final = journal
        self._clock: Final = clock
        kept = dict(journal.entries())
        salt, reserved = kept.get("salt"), kept.get("position")
        self._reserved = reserved if type(reserved) is int and 0 <= reserved < MAX_POSITION else 0
        if not isinstance(salt, str) or not is_salt(salt):
            salt = secrets.token_hex(16)
            journal.write({"salt": salt})
        self._book: Final = Book(salt, self._reserved)
        self._is_filled = False
        self._attached: Final[dict[Name, Subscription]] = {}
        self._lost: Final[dict[Name, Lost]] = {}
        # Other processes that said to be one that is attached, by their boot: two that were given one id, which push
        # each other out for ever.
        self._rivals: Final[dict[tuple[Workload | None, str, str], datetime]] = {}
        self._traffic: Final = TrafficBook(self._now_s)
        self._reports: Final[dict[str, set[Name]]] = {}  # by their token: the proxies that have not answered
        self._beat = asyncio.Event()
        self.on_news: Final[list[Callable[[], None]]] = []  # whenever `until_changed` returns
        self.on_traffic: Final[list[Callable[[Traffic], None]]] = []  # each report, once it is counted
        self.refusals = 0
        self.acknowledgements = 0
        self.delays: Final = Delays()
        self._roll: Final = roll
        for each in list(roll.enrolled()) if roll is not None else ():
            self._lose(each, None, None, "it has not come back since the controller restarted")

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
        for_routers = compilation.for_routers
        self._book.apply(self._next_position(), compilation.version, compilation.keys, for_routers)
        self.delays.told(self._book.position, self._now_s)
        self._traffic.routed(for_routers.workloads)
        self._is_filled = True
        self._tell()

    def _next_position(self, above: int = 0) -> int:
        position = max(self._book.position, above) + 1
        if position > self._reserved:
            try:
                self._journal.write({"position": position + _BLOCK})
                self._reserved = position + _BLOCK
            except OSError as error:
                # The next one tries again. Should we be gone before: proxies know their positions and hand them over.
                _log.error("the feed's position can't be kept: %s", error.strerror)
        return position

    def _tell(self) -> None:
        for each in self._attached.values():
            each.wake()
        self._news()

    def _news(self) -> None:
        self._beat.set()
        self._beat = asyncio.Event()
        for tell in self.on_news:
            tell()

    def hear(self, _: object) -> None:
        """For the engine's `on_settled`: those who wait look again."""
        self._news()

    async def until_changed(self) -> None:
        """Returns when a proxy comes, goes or answers, when there is another table, or objects have changed."""
        await self._beat.wait()

    # --- proxies -----------------------------------------------------------------------------------------------------

    def attach(self, hello: Hello, wake: Callable[[], None]) -> Subscription:
        """`wake` is called whenever there may be something to send (`due`), and when another one took its place.

        Raises: HelloRefused.
        """
        if SCHEMA not in hello.schemas:
            spoken = excerpt(", ".join(hello.schemas), 200) if hello.schemas else "none"
            raise HelloRefused(f"schemas: this controller speaks {SCHEMA} only, not {spoken}")
        workload = workload_of(hello)
        if hello.position is not None and hello.position > self._book.position:
            self._go_above(hello.position)
        name = workload, hello.id
        if (before := self._attached.get(name)) is not None:
            self._leave(before, "another connection took its place")
            if before.boot != hello.boot and len(self._rivals) < _MAX_RIVALS:
                self._rivals[workload, before.id, before.boot] = self._clock()
            before.wake()
        self._lost.pop(name, None)
        self._rivals.pop((workload, hello.id, hello.boot), None)
        self._traffic.found(workload, hello.id, hello.boot, self._now_s)
        self._attached[name] = subscription = Subscription(hello, workload, self._book, self._clock(), wake)
        if self._roll is not None:
            self._roll.enrol(_enrolled(subscription))
        self._news()
        return subscription

    def _go_above(self, position: int) -> None:
        """A proxy knows a position that we do not: the disk was lost.

        Raises: HelloRefused.
        """
        if position > _HIGHEST:
            raise HelloRefused(f"position: {position} was never given out")
        if self._is_filled:
            self._book.apply(self._next_position(position), self._book.version, ())
            self._tell()
        else:
            self._book.position = position  # the first table goes above it

    def is_attached(self, subscription: Subscription) -> bool:
        return self._attached.get(name_of(subscription)) is subscription

    def detach(self, subscription: Subscription, *, is_clean: bool) -> None:
        """The connection ended; `is_clean`: after a goodbye."""
        if not self.is_attached(subscription):
            return
        if is_clean:
            self._remove(subscription)
            self._strike(name_of(subscription))
        else:
            self._leave(subscription, "its connection broke")
        self._news()

    def _leave(self, subscription: Subscription, reason: str) -> None:
        self._remove(subscription)
        self._lose(_enrolled(subscription), subscription.position, subscription.version, reason)

    def _lose(self, proxy: Enrolled, position: int | None, version: str | None, reason: str) -> None:
        self.lost()  # those that were away for long go
        while len(self._lost) >= _MAX_LOST:
            self._forget(next(iter(self._lost)))
        self._lost[proxy.workload, proxy.id] = Lost(
            proxy.id, proxy.boot, proxy.workload, proxy.release, position, version, self._clock()
        )
        self._traffic.lose(proxy.workload, proxy.id, proxy.boot, reason, self._now_s)

    def _forget(self, name: Name) -> None:
        del self._lost[name]
        self._strike(name)

    def _strike(self, name: Name) -> None:
        if self._roll is not None:
            self._roll.strike(*name)

    def _remove(self, subscription: Subscription) -> None:
        name = name_of(subscription)
        del self._attached[name]
        for token in self._reports:
            self._answered(token, name)

    def attached(self) -> Collection[Subscription]:
        return self._attached.values()

    @property
    def routed(self) -> Collection[Workload]:
        """The workloads that routers are proxies of."""
        return self._book.for_routers.workloads

    def is_of(self, proxy: Subscription | Lost, workload: Workload) -> bool:
        """Whether it is a proxy of this workload."""
        return self._is_of(proxy.workload, workload)

    def _is_of(self, own: Workload | None, workload: Workload) -> bool:
        return own == workload if own is not None else workload in self._book.for_routers.workloads

    def lost(self) -> Collection[Lost]:
        """Those that may still be there."""
        now = self._clock()
        for name, lost in list(self._lost.items()):
            if (now - lost.at).total_seconds() <= _LOST_S:
                break  # the others were lost later
            self._forget(name)
        return self._lost.values()

    # --- one proxy ---------------------------------------------------------------------------------------------------

    def due(self, subscription: Subscription) -> Iterable[str]:
        """Texts to send to it now, in order."""
        if not self.is_attached(subscription):
            return []
        texts = list(subscription.outbox.values())
        subscription.outbox.clear()
        return chain(texts, subscription.due(self._book)) if self._is_filled else texts

    def take(self, subscription: Subscription, message: Ack | Nack) -> None:
        """Its answer."""
        if isinstance(message, Ack):
            before = subscription.position
            if subscription.acknowledge(message):
                self.acknowledgements += 1
                self.delays.answered(before, subscription.position, subscription.since.timestamp(), self._now_s)
        elif subscription.refuse(message):
            self.refusals += 1
            _log.warning("%s refused table %s: %s", subscription.id, self.version, "; ".join(subscription.faults)[:500])
        self._news()

    def take_traffic(self, subscription: Subscription, message: Traffic) -> None:
        """What it counted. It sends that again until it hears that it arrived."""
        self._traffic.take(subscription.id, subscription.boot, subscription.workload, message, self._now_s)
        for tell in self.on_traffic:
            tell(message)
        if not self.is_attached(subscription):
            return
        subscription.outbox["counted"] = encode(Counted(message.seq))
        if message.reply is not None:
            self._answered(message.reply, name_of(subscription))
            self._news()

    # --- counts ------------------------------------------------------------------------------------------------------

    async def flush(self, workloads: Collection[Workload], timeout_s: float) -> set[Name]:
        """Has the proxies of these workloads report what they counted; those that did not in time."""
        token = secrets.token_hex(8)
        text = encode(Report(token))
        self._reports[token] = set()
        asked: set[Subscription] = set()
        try:
            async with asyncio.timeout(timeout_s):
                # Who comes meanwhile may bring what it counted while it was away.
                while self._ask(token, text, workloads, asked) or self._reports[token]:
                    await self.until_changed()
        except TimeoutError:
            pass
        finally:
            silent = self._reports.pop(token)
            for name in silent:
                self._attached[name].outbox.pop(token, None)  # one that does not read is not asked twice
        return silent

    def _ask(self, token: str, text: str, workloads: Collection[Workload], asked: set[Subscription]) -> bool:
        """Whether there is somebody who was not asked before."""
        count = len(asked)
        for name, subscription in self._attached.items():
            if subscription not in asked and any(self._is_of(name[0], workload) for workload in workloads):
                asked.add(subscription)
                self._reports[token].add(name)
                subscription.outbox[token] = text
                subscription.wake()
        return len(asked) > count

    def _answered(self, token: str, name: Name) -> None:
        waiting = self._reports.get(token)
        if waiting is not None:
            waiting.discard(name)

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
                _missing(each, position)
                for each in self._attached.values()
                if not each.knows(position) and not any(self.is_of(each, workload) for workload in workloads)
            ),
        )

    def _of_workload(self, key: str, workload: Workload, has_destination: bool, position: int) -> OfWorkload:
        here = [each for each in self._attached.values() if self.is_of(each, workload)]
        lacking = [each for each in here if not each.knows(position) or each.refusal(key, workload) is not None]
        missing = [_missing(each, position, each.refusal(key, workload)) for each in lacking]
        missing += [
            Missing(each.id, "disconnected", f"its connection broke at {each.at:%H:%M:%S} UTC")
            for each in self.lost()
            if self.is_of(each, workload)
        ]
        missing += [
            Missing(id_, "disconnected", "another process with the same id took its place: give each one its own")
            for of, id_ in self.rivals()
            if self._is_of(of, workload)
        ]
        return OfWorkload(workload, len(here), len(here) - len(lacking), has_destination, tuple(missing))

    def rivals(self) -> list[Name]:
        """The names that several processes go by."""
        now = self._clock()
        for rival, at in list(self._rivals.items()):
            if not 0 <= (now - at).total_seconds() <= _RIVAL_S:
                del self._rivals[rival]
        return [(workload, id_) for workload, id_, _ in self._rivals]

    def have(self, position: int) -> bool:
        """Whether every proxy that is there has the table of this position or a later one, or refused it."""
        return all(each.knows(position) or each.has_refused(position) for each in self._attached.values())


def workload_of(hello: Hello) -> Workload | None:
    """What it says to be a proxy of; None: it is a router.

    Raises: HelloRefused.
    """
    try:
        return Workload.parse(hello.workload) if hello.workload is not None else None
    except ValueError as error:
        raise HelloRefused(f"workload: {error}") from None


def name_of(subscription: Subscription) -> Name:
    return subscription.workload, subscription.id


def _enrolled(subscription: Subscription) -> Enrolled:
    return Enrolled(subscription.id, subscription.boot, subscription.workload, subscription.release)


def _missing(each: Subscription, position: int, refusal: tuple[str, ...] | None = None) -> Missing:
    """`refusal`: of the very route."""
    if refusal is not None:
        return Missing(each.id, "refused", "; ".join(refusal))
    if each.has_refused(position):
        return Missing(each.id, "refused", "; ".join(each.faults))
    return Missing(each.id, "pending", f"it has not answered yet, and has table {each.version or 'none'}")
