"""What is sent, and who must take it: exactly one, and it must be the right one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import nats
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.js.client import JetStreamContext

from demo.queue.messages import DONE, ORDERS, STREAM, Done

DONE_STREAM: Final = "DONE"
_DONE_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Expected:
    """`consumer` and `how` of the one that must take an order."""

    what: str
    baggage: str | None
    consumer: str
    how: str = "processed"


def before(key: str, sandbox: str) -> tuple[Expected, ...]:
    """While the sandbox is there."""
    return (
        Expected("no key", None, "baseline"),
        Expected("the sandbox's key", f"user=ann,sd-routing-key={key}", sandbox),
        Expected("the sandbox's key, strict", f"sd-routing-key={key},sd-strict=1", sandbox),
        Expected("a key that no sandbox has", "sd-routing-key=nobody", "baseline"),
        Expected("the same, strict", "sd-routing-key=nobody,sd-strict=1", "baseline", "aside"),
        Expected("no key, and a broken one", "sd-routing-key=%zz", "baseline"),
    )


def after(key: str) -> tuple[Expected, ...]:
    """After it was deleted."""
    return (
        Expected("no key", None, "baseline"),
        Expected("the deleted sandbox's key", f"sd-routing-key={key}", "baseline", "aside"),
    )


@dataclass(slots=True)
class Producer:
    """Sends orders, and hears what became of them."""

    stream: JetStreamContext
    done: dict[str, list[Done]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def take(self, message: Msg) -> None:
        done = Done.decode(message.data)
        self.done.setdefault(done.order, []).append(done)
        self.news.set()

    async def send(self, steps: Sequence[Expected], copies: int, consumers: Sequence[str]) -> list[list[str]]:
        """Sends each so many times, all at once, and waits until every consumer has dealt with all of them; the orders'
        names for each step."""
        names: list[list[str]] = []
        for step in steps:
            headers = {"baggage": step.baggage} if step.baggage is not None else None
            names.append([])
            for _ in range(copies):
                self.sent += 1
                name = f"order-{self.sent}"
                names[-1].append(name)
                await self.stream.publish(ORDERS, name.encode(), headers=headers)
        async with asyncio.timeout(_DONE_TIMEOUT_S):
            for consumer in consumers:
                while not await self._has_dealt(consumer):
                    await asyncio.sleep(_POLL_S)
            told = (await self.stream.stream_info(DONE_STREAM)).state.messages
            while sum(map(len, self.done.values())) < told:
                self.news.clear()
                await self.news.wait()
        return names

    async def _has_dealt(self, consumer: str) -> bool:
        """Whether it has taken or left every message."""
        info = await self.stream.consumer_info(STREAM, consumer)
        return (info.num_pending, info.num_ack_pending) == (0, 0)


@asynccontextmanager
async def producing(broker: str) -> AsyncIterator[Producer]:
    connection = await nats.connect(broker)
    try:
        stream = connection.jetstream()
        await stream.add_stream(StreamConfig(name=STREAM, subjects=[ORDERS]))
        await stream.add_stream(StreamConfig(name=DONE_STREAM, subjects=[DONE]))
        producer = Producer(stream)
        await stream.subscribe(DONE, cb=producer.take)
        yield producer
    finally:
        await connection.drain()


def faults(step: Expected, names: Sequence[str], done: dict[str, list[Done]]) -> list[str]:
    """What is wrong with who took these orders."""
    found = []
    for name in names:
        takers = [(entry.consumer, entry.how) for entry in done.get(name, [])]
        if takers != [(step.consumer, step.how)]:
            found.append(f"{name} ({step.what}): {takers or 'nobody'}, not {step.consumer}, {step.how}")
    return found
