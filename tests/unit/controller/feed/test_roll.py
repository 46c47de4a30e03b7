"""Who was attached, over restarts."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from pathlib import Path

from controller.feed.hub import Hub
from controller.feed.roll import Roll
from controller.journal import Journal
from proxy.feed.messages import Hello
from tests.support.objects import NOON

LOCATION = "hotrod/Deployment/location"


def hello(id_: str) -> Hello:
    return Hello(id_, "boot-1", LOCATION, (8081,), "0.1.0", None, None)


def lost(folder: Path) -> list[tuple[str, str]]:
    """Whom a controller misses that starts now."""
    with closing(Journal(str(folder / "proxies"))) as proxies, closing(Journal(str(folder / "feed"))) as feed:
        return sorted((each.id, str(each.workload)) for each in Hub(feed, lambda: NOON, Roll(proxies)).lost())


def test_who_was_attached_is_missed_but_for_those_that_said_goodbye(tmp_path: Path) -> None:
    async def test() -> None:
        with closing(Journal(str(tmp_path / "proxies"))) as proxies, closing(Journal(str(tmp_path / "feed"))) as feed:
            roll = Roll(proxies)
            hub = Hub(feed, lambda: NOON, roll)
            keeping = asyncio.get_running_loop().create_task(roll.run())
            attached = {id_: hub.attach(hello(id_), lambda: None) for id_ in ("stays", "breaks", "leaves")}
            await asyncio.sleep(0)
            hub.detach(attached["breaks"], is_clean=False)
            hub.detach(attached["leaves"], is_clean=True)
            while sorted(name.split()[1] for name, _ in proxies.entries()) != ["breaks", "stays"]:
                await asyncio.sleep(0.001)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    asyncio.run(asyncio.wait_for(test(), 10))
    assert lost(tmp_path) == [("breaks", LOCATION), ("stays", LOCATION)]


def test_records_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    with closing(Journal(str(tmp_path / "proxies"))) as journal:
        good = {"boot": "b", "release": "r"}
        journal.write({f"{LOCATION} a": good, "nowhere b": good, f"{LOCATION} c": {"boot": 1}, f"{LOCATION} d": []})
    assert lost(tmp_path) == [("a", LOCATION)]
