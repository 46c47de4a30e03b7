"""Steady load: clients that keep asking, each one for one thing, and a record of every answer.

A request whose head was sent and that got no whole answer is an answer too, with the error in place of a response, so
that nothing that is lost goes unseen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.support.client import Client, Response
from tests.support.waiting import until


@dataclass(frozen=True)
class Answer:
    """What one request led to. `response` is None if there was no whole one; `error` then says why."""

    name: str
    began_s: float
    ended_s: float
    response: Response | None
    error: str = ""


class Load:
    """Asks until `stop`: one client for each name, with that request, the next as soon as it has the answer."""

    def __init__(self, port: int, requests: Mapping[str, bytes], *, reconnect_every: int = 20) -> None:
        self._port = port
        self._reconnect_every = reconnect_every
        self._has_stopped = threading.Event()
        self._answers: dict[str, list[Answer]] = {name: [] for name in requests}
        self._clients = [threading.Thread(target=self._ask, args=entry, daemon=True) for entry in requests.items()]
        for client in self._clients:
            client.start()

    def answers(self, name: str | None = None) -> list[Answer]:
        """All so far, in order for each name."""
        names = self._answers if name is None else [name]
        return [answer for name in names for answer in self._answers[name].copy()]

    def more(self, count: int = 20) -> None:
        """Returns when every client has that many more answers, or has lost a request."""
        before = {name: len(answers) for name, answers in self._answers.items()}
        until(
            lambda: (
                all(len(self._answers[name]) >= before[name] + count for name in before)
                or any(answer.response is None for answer in self.answers())
            ),
            f"{count} more answers for each client",
            within_s=20,
        )

    def stop(self) -> None:
        self._has_stopped.set()
        for client in self._clients:
            client.join(15)
            assert not client.is_alive(), "a client still waits for its answer"

    def _ask(self, name: str, request: bytes) -> None:
        """A connection serves several requests, the last one says so; none is left to be closed by the other side."""
        answers = self._answers[name]
        while not self._has_stopped.is_set():
            client = Client(self._port)
            with contextlib.closing(client):
                for _ in range(self._reconnect_every):
                    answers.append(_answer(client, name, request))
                    if self._has_stopped.is_set() or answers[-1].response is None:
                        break


def _answer(client: Client, name: str, request: bytes) -> Answer:
    began_s = time.monotonic()
    try:
        response = client.ask(request)
    except OSError as error:
        return Answer(name, began_s, time.monotonic(), None, repr(error))
    ended_s = time.monotonic()
    if not response.is_complete:
        return Answer(name, began_s, ended_s, None, f"a part of {response}")
    return Answer(name, began_s, ended_s, response)


@contextlib.contextmanager
def loaded(port: int, requests: Mapping[str, bytes]) -> Iterator[Load]:
    """Load within the block, steady from its first line to its last."""
    load = Load(port, requests)
    try:
        load.more()
        yield load
        load.more()
    finally:
        load.stop()
