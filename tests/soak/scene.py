"""A proxy, places, tables, clients: all of it together, for so many seconds."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.soak import HANG_S
from tests.soak.asking import Asking
from tests.soak.bad import BadClient
from tests.soak.books import Books
from tests.soak.calls import Calls
from tests.soak.dialogs import Dialogs
from tests.soak.evolution import CALM, SWINGS, Evolution
from tests.soak.h2_bad import MAX_STREAMS, H2BadClient
from tests.soak.h2_steady import Multiplexed
from tests.soak.history import History
from tests.soak.judge import Judge
from tests.soak.model import BASELINE
from tests.soak.places import ILLNESSES, Place
from tests.soak.steady import Client
from tests.soak.swaps import Swaps, page
from tests.soak.vitals import Vitals
from tests.support.proxy import Proxy, run_proxy

_SANDBOXES = ("anna", "bert", "cleo", "dora", "emil", "faun")
_RESTLESS = ("cleo", BASELINE)
_TRAP = "trap"
_FEW_STREAMS = {"dora": 3, "emil": 10}  # that a place takes at once on an HTTP/2 connection
_FLAGS = (
    *("--decision-header", "--drain-timeout", "5", "--head-timeout", "2"),
    *("--max-streams", str(MAX_STREAMS)),
)
# Kind, how many, and their mean pause between two requests. About 500 requests a second in all.
_STEADY = (("keep-alive", 16, 0.06), ("pipelining", 4, 0.08), ("events", 4, 0.3))
_MULTIPLEXED = 6
_MULTIPLEXED_PAUSE_S = 0.2
_DIALOGS = 8
_LONG_DIALOGS = 2
_BAD = 4
_H2_BAD = 3


@dataclass
class Result:
    judge: Judge
    swaps: Swaps
    vitals: Vitals | None = None
    exit_code: int | None = None
    seconds: float = 0.0


def soak(seconds: float, seed: int) -> Result:
    """Raises nothing of what it finds; that is in the judge's violations."""
    import uvloop

    return uvloop.run(_soak(seconds, seed))


async def _soak(seconds: float, seed: int) -> Result:
    rng = Random(seed)
    history, books = History(), Books()
    places = await _open_places(books, history, rng)
    judge = Judge(history, books, places)
    addresses = {place.name: place.address for place in places}
    evolution = Evolution(Random(rng.random()), addresses, _SANDBOXES, _TRAP)
    try:
        with tempfile.TemporaryDirectory(prefix="pointsman-soak-") as folder:
            path = Path(folder, "table.json")
            swaps = Swaps(path, evolution, history, judge, (*_SANDBOXES, *SWINGS, CALM), Random(rng.random()))
            result = Result(judge, swaps)
            swaps.first()
            lines: list[str] = []
            try:
                with run_proxy(Path(folder), places[0].endpoint, flags=_FLAGS) as proxy:
                    swaps.admin, lines = proxy.admin, proxy.lines
                    await _live(result, proxy, places, evolution, seconds, rng)
                    await _stop(result, proxy, evolution)
            except AssertionError as error:  # what `run_proxy` has to say
                judge.violation(f"{error}"[:200], _faults_of(lines))
    finally:
        for place in places:
            place.close()
    if any(record.place == _TRAP for record in books.records.values()):
        judge.violation("an invalid table, or a route of another workload, was followed")
    judge.close_books()
    return result


def _faults_of(lines: list[str]) -> list[str]:
    """The first fault that the proxy reported."""
    first = next((index for index, line in enumerate(lines) if "Traceback" in line or "Error" in line), len(lines))
    return lines[max(0, first - 1) : first + 20]


async def _open_places(books: Books, history: History, rng: Random) -> list[Place]:
    """All, the baseline first.

    On an address of their own, with ports that no client's end gets: so a dead place's port stays free for it.
    """
    host = f"127.{os.getpid() % 250 + 1}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    port = 20_000
    places: list[Place] = []
    for name in (BASELINE, *_SANDBOXES, *SWINGS, CALM, _TRAP):
        while True:
            port += 1
            place = Place(name, host, port, books, history, Random(rng.random()))
            place.is_restless = name in _RESTLESS
            place.streams = _FEW_STREAMS.get(name, place.streams)
            try:
                await place.open()
            except OSError:
                continue
            break
        places.append(place)
    return places


async def _live(
    result: Result, proxy: Proxy, places: list[Place], evolution: Evolution, seconds: float, rng: Random
) -> None:
    judge, swaps = result.judge, result.swaps
    result.vitals = vitals = Vitals(proxy, judge)
    began_s = time.monotonic()
    stop_load, stop = asyncio.Event(), asyncio.Event()

    async def noticed() -> None:
        for _ in range(2):
            await page(proxy.admin, "/livez")

    def asking(name: str) -> Asking:
        return Asking(Random(rng.random()), evolution.keys, name)

    def calls(name: str) -> Calls:
        return Calls(asking(name), Random(rng.random()))

    async with asyncio.TaskGroup() as group:
        group.create_task(vitals.run(stop))
        group.create_task(swaps.run(stop))
        for place in places:
            if place.name not in (CALM, _TRAP):
                group.create_task(_haunt(place, noticed, stop, Random(rng.random())))
        async with asyncio.TaskGroup() as load:
            for kind, clients, pause_s in _STEADY:
                for number in range(clients):
                    client = Client(kind, proxy.port, judge, asking(f"{kind}{number}"), Random(rng.random()))
                    load.create_task(client.run(stop_load, pause_s))
            for number in range(_LONG_DIALOGS):
                args = proxy.port, judge, asking(f"long{number}"), Random(rng.random()), lambda: evolution.calm_key
                load.create_task(Dialogs(*args).run(stop_load, 1.0))
            for number in range(_DIALOGS):
                dialogs = Dialogs(proxy.port, judge, asking(f"dialog{number}"), Random(rng.random()))
                load.create_task(dialogs.run(stop_load, 0.3))
            for number in range(_BAD):
                bad = BadClient(proxy.port, judge, asking(f"bad{number}"), Random(rng.random()))
                load.create_task(bad.run(stop_load, 0.15))
            for number in range(_MULTIPLEXED):
                many = Multiplexed(proxy.port, judge, calls(f"many{number}"), Random(rng.random()))
                load.create_task(many.run(stop_load, _MULTIPLEXED_PAUSE_S))
            for number in range(_H2_BAD):
                h2_bad = H2BadClient(proxy.port, judge, calls(f"h2bad{number}"), Random(rng.random()))
                load.create_task(h2_bad.run(stop_load, 0.2))
            while time.monotonic() < began_s + seconds and not judge.is_full and proxy.process.poll() is None:
                await asyncio.sleep(0.1)
            stop_load.set()
        stop.set()
    result.seconds = time.monotonic() - began_s
    vitals.check_memory()
    await vitals.check_files()


async def _haunt(place: Place, noticed: Callable[[], Awaitable[None]], stop: asyncio.Event, rng: Random) -> None:
    """Health and illness of one place. The baseline is ill less often: half of all requests need it."""
    healthy_s = (5.0, 10.0) if place.name == BASELINE else (1.0, 5.0)
    while not stop.is_set():
        end_s = time.monotonic() + rng.uniform(*healthy_s)
        while time.monotonic() < end_s:
            if stop.is_set():
                return
            await asyncio.sleep(0.05)
        await place.suffer(rng.choice(ILLNESSES), rng.uniform(0.1, 1.0), noticed)


async def _stop(result: Result, proxy: Proxy, evolution: Evolution) -> None:
    """SIGTERM while requests are under way: they end well, and the process exits with 0."""
    if proxy.process.poll() is not None:
        result.exit_code = proxy.process.returncode
        result.judge.violation(f"the proxy is gone, with exit code {result.exit_code}", proxy.lines[-20:])
        return
    judge = result.judge
    asking = Asking(Random(0), evolution.keys, "last")

    async def last(number: int) -> None:
        client = Client("events", proxy.port, judge, asking, Random(number))
        await client.run_once()

    async def last_streams(number: int) -> None:
        many = Multiplexed(proxy.port, judge, Calls(asking, Random(number)), Random(number))
        await many.run_once()

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(last(number))
        for number in range(4):
            group.create_task(last_streams(number))
        await asyncio.sleep(0.3)
        proxy.process.terminate()
    end_s = time.monotonic() + HANG_S
    while proxy.process.poll() is None and time.monotonic() < end_s:
        await asyncio.sleep(0.05)
    result.exit_code = proxy.process.poll()
    if result.exit_code != 0:
        judge.violation(f"exit code {result.exit_code} after SIGTERM", proxy.lines[-20:])
