"""What all bad clients do: one bad thing after another, none of which may make them wait or keep them out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from tests.soak.judge import Judge


async def misbehave(
    ways: Sequence[Callable[[], Awaitable[None]]],
    stop: asyncio.Event,
    pause_s: float,
    judge: Judge,
    rng: Random,
    kind: str = "",
) -> None:
    """Until `stop`, any of the ways, each as often as it is listed."""
    while not stop.is_set():
        way = rng.choice(ways)
        judge.asked[f"bad: {kind}{way.__name__.strip('_').replace('_', ' ')}"] += 1
        try:
            await way()
        except TimeoutError:
            judge.violation(f"a bad client hangs: {way.__name__}")
        except OSError as error:
            judge.violation(f"the proxy does not accept: {error!r}")
        await asyncio.sleep(rng.uniform(0, 2 * pause_s))
