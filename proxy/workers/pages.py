"""The supervisor's admin pages: those of one process (`proxy.admin`), put together from all workers'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.adminpages import DRAINING, field, path_and_query, readiness, refusal
from proxy.admintokens import AdminTokens
from proxy.codec.events import RequestHead
from proxy.net.http_server import Answer, AnswerBroken
from proxy.telemetry.exposition import encoded
from proxy.workers.process import Worker, WorkerGone
from proxy.workers.sums import Family, Sums

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

_ASK_S: Final = 1.0  # who does not answer for so long is left out, or is known by what it said last


class SupervisorPages:
    """Answers admin requests. `workers`: those of this moment, in order."""

    def __init__(
        self,
        workers: Callable[[], Sequence[Worker]],
        sums: Sums,
        own_families: Callable[[], list[Family]],
        why_not_ready: Callable[[], str | None],
        start_drain: Callable[[], None],
        admin_tokens: AdminTokens | None = None,
    ) -> None:
        self._workers: Final = workers
        self._sums: Final = sums
        self._own_families: Final = own_families
        self._why_not_ready: Final = why_not_ready
        self._start_drain: Final = start_drain
        self._admin_tokens: Final = admin_tokens
        self._registry: CollectorRegistry | None = None
        self._shown: Sequence[Family] = ()
        self.is_scraped = False

    def answer(self, head: RequestHead, body: bytes) -> Answer | Awaitable[Answer]:
        """What a request on the admin address gets."""
        return refusal(head, self._admin_tokens) or self.page(head, body)

    def page(self, head: RequestHead, body: bytes) -> Answer | Awaitable[Answer]:
        """The page of a request that may have it."""
        path, query = path_and_query(head)
        match path:
            case "/livez":
                return Answer(200, b"ok\n")
            case "/readyz":
                return readiness(self._why_not_ready())
            case "/metrics":
                return self._metrics(field(head, b"accept").decode("latin-1"))
            case "/table":
                return self._table(wants_pieces=head.method != b"HEAD")
            case "/explain":
                return self._asked("/explain", query, body, {})
            case "/probe":
                return self._probe(body)
            case "/drain":
                self._start_drain()
                return DRAINING
            case _:
                raise AssertionError(path)  # `adminpages` knows a page that is not here

    # --- of all ---

    async def refresh(self) -> None:
        """Hears what each worker has counted."""
        await asyncio.gather(*(self._refresh(worker) for worker in self._workers()))

    async def _refresh(self, worker: Worker) -> None:
        with suppress(WorkerGone):  # then it counts with what it said last
            worker.families = await worker.ask(_ASK_S, "metrics")

    async def _metrics(self, accept: str) -> Answer:
        from prometheus_client import CollectorRegistry

        self.is_scraped = True
        await self.refresh()
        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
        living = [worker.families for worker in self._workers()]
        self._shown = [*self._sums.total(living), *self._own_families()]
        text, media_type = encoded(self._registry, accept)
        self._shown = ()
        return Answer(200, text, media_type)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        from prometheus_client.core import Exemplar, Metric, Timestamp

        for name, kind, text, samples in self._shown:
            family = Metric(name, text, kind)
            for sample, labels, value, exemplar in samples:
                known = None
                if exemplar is not None:
                    of, at, when = exemplar
                    known = Exemplar(dict(of), at, None if when is None else Timestamp(*_split(when)))
                family.add_sample(sample, dict(labels), value, None, known)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()

    async def _probe(self, body: bytes) -> Answer:
        """A request came to one of them, and nobody knows to which."""
        requests: list[object] = []
        refused = Answer(503, b"no worker answers\n")
        has_answer = False
        for worker in self._workers():
            with suppress(WorkerGone):
                _, (status, media_type, text) = await worker.ask_for_page(_ASK_S, "/probe", "", body, "{}")
                if status == 200:
                    has_answer = True
                    requests += json.loads(text)["requests"]
                else:
                    refused = Answer(status, text, media_type)
        if not has_answer:
            return refused
        return Answer(200, json.dumps({"requests": requests}).encode() + b"\n", "application/json")

    # --- of one ---

    async def _table(self, *, wants_pieces: bool) -> Answer:
        states = await asyncio.gather(*(self._state(worker) for worker in self._workers()))
        return await self._asked("/table", "", b"", {"workers": states}, wants_pieces=wants_pieces)

    async def _state(self, worker: Worker) -> dict[str, object]:
        state: dict[str, object] = {"worker": worker.number, "process": worker.process}
        try:
            said = json.loads(await worker.ask(_ASK_S, "state"))
        except WorkerGone as error:
            return {**state, "error": str(error)}
        return {**state, **{name: said[name] for name in ("version", "age_s", "stale", "last_error")}}

    async def _asked(
        self, path: str, query: str, body: bytes, beside: dict[str, object], *, wants_pieces: bool = True
    ) -> Answer:
        """By the first worker that answers."""
        for worker in self._workers():
            try:
                number, reply = await worker.ask_for_page(_ASK_S, path, query, body, json.dumps(beside))
            except WorkerGone:
                continue
            status, media_type, text = reply
            if text is not None:
                return Answer(status, text, media_type)
            if not wants_pieces:
                worker.enough(number)
            return Answer(status, media_type=media_type, pieces=_pieces(worker, number))
        return Answer(503, b"no worker answers\n")


async def _pieces(worker: Worker, page: int) -> AsyncIterator[bytes]:
    """The next is asked for when the one before was taken, so that what nobody reads waits in nobody's memory."""
    try:
        while True:
            try:
                piece = await worker.ask(_PIECE_S, "piece", page)
            except WorkerGone as error:
                raise AnswerBroken(str(error)) from None
            if piece is None:
                return
            yield piece
    finally:
        worker.enough(page)


_PIECE_S: Final = 10.0


def _split(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * 1e9)
