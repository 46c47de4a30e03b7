"""Routers among the proxies: each is one of every workload that its services list, and of no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.compile import Compilation
from controller.feed.hub import Hub, Name
from controller.feed.progress import Progress
from controller.feed.roll import Roll
from controller.feed.subscription import Subscription
from controller.journal import Journal
from controller.keystate import KeyState
from controller.routers import ForRouters
from proxy.feed.messages import Ack, Count, Hello, Nack, RefusedRoute, Traffic
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Service
from tests.support.objects import NOON, workload

HERE, THERE, UNLISTED = workload("here"), workload("there"), workload("unlisted")


def listing(*workloads: Workload) -> ForRouters:
    return ForRouters(tuple(Service((each.name,), 8081, each, Endpoint(each.name, 80)) for each in workloads))


class World:
    def __init__(self, folder: Path) -> None:
        self.now: datetime = NOON
        self.journal = Journal(str(folder / "feed"))
        self.hub = Hub(self.journal, lambda: self.now)
        self.table("k")

    def table(self, key: str, for_routers: ForRouters | None = None) -> None:
        for_routers = for_routers or listing(HERE, THERE)
        version = f"v{self.hub.position + 1}"
        self.hub.apply(Compilation(version, (KeyState(key, True),), {}, {}, (), for_routers))

    def dial(self, id_: str = "r", where: Workload | None = None, boot: str = "boot") -> Subscription:
        return self.hub.attach(Hello(id_, boot, str(where) if where else None), lambda: None)

    def due(self, one: Subscription) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.hub.due(one)]

    def acknowledge(self, *several: Subscription) -> None:
        for one in several:
            message = self.due(one)[-1]
            self.hub.take(one, Ack(str(message["nonce"]), int(str(message["position"])), str(message["version"])))

    def progress(self, *workloads: Workload) -> Progress:
        return self.hub.progress("k", dict.fromkeys(workloads or (HERE,), True), self.hub.position)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.journal.close()


def test_a_workload_that_only_routers_reach_can_be_live(world: World) -> None:
    assert not world.progress().is_complete
    router = world.dial()
    assert list(world.progress().faults()) == [f"{HERE}: r is pending: it has not answered yet, and has table none"]
    world.acknowledge(router)
    assert world.progress(HERE, THERE).is_complete
    assert [(each.proxies, each.acknowledged) for each in world.progress(HERE, THERE).workloads] == [(1, 1)] * 2
    assert list(world.progress(UNLISTED).faults()) == [f"no proxy of {UNLISTED} is attached"]


def test_routers_and_sidecars_are_counted_together(world: World) -> None:
    several = [world.dial("r1"), world.dial("r2"), world.dial("s", HERE)]
    assert [each.proxies for each in world.progress(HERE, THERE, UNLISTED).workloads] == [3, 2, 0]
    world.acknowledge(*several[1:])
    assert [each.acknowledged for each in world.progress(HERE, THERE).workloads] == [2, 1]
    assert len(world.progress().others) == 0
    assert [each.id for each in world.progress(UNLISTED).others] == ["r1"]  # it must know the key all the same


def test_services_say_of_what_routers_are_proxies(world: World) -> None:
    router = world.dial()
    world.acknowledge(router)
    world.table("k", listing(UNLISTED))
    world.acknowledge(router)
    assert world.progress(UNLISTED).is_complete
    assert list(world.progress(HERE).faults()) == [f"no proxy of {HERE} is attached"]


def test_a_route_that_a_router_refused_is_missing_where_it_leads(world: World) -> None:
    router = world.dial()
    [message] = world.due(router)
    refused = RefusedRoute("k", ("port",), str(HERE))
    world.hub.take(router, Nack(str(message["nonce"]), ("port",), False, (refused,)))
    assert list(world.progress(HERE).faults()) == [f"{HERE}: r is refused: port"]
    assert world.progress(THERE).is_complete
    assert router.refusal("other", HERE) is None
    world.table("l")
    [message] = world.due(router)
    assert message["type"] == "snapshot"  # so that the answer says all that is refused
    world.hub.take(router, Nack(str(message["nonce"]), ("port",), False, (RefusedRoute("k", ("port",), "?"),)))
    for where in (HERE, THERE):  # nobody knows where
        assert list(world.progress(where).faults()) == [f"{where}: r is refused: port"]


def test_a_router_that_is_lost_is_missed_at_every_workload_that_it_served(world: World) -> None:
    world.acknowledge(router := world.dial(), sidecar := world.dial("r", HERE))
    world.hub.detach(router, is_clean=False)
    assert world.hub.is_attached(sidecar)  # one id, but one is a router
    [lost] = world.hub.lost()
    assert (lost.id, lost.workload) == ("r", None)
    for where in (HERE, THERE):
        assert f"{where}: r is disconnected: its connection broke at 12:00:00 UTC" in list(
            world.progress(where).faults()
        )
        [gap] = world.hub.traffic.answered("k", where, 0).gaps
        assert (gap.proxy, gap.ended_s) == ("r", None)
    assert not world.hub.traffic.answered("k", UNLISTED, 0).gaps
    world.dial()
    assert not world.hub.traffic.answered("k", HERE, 0).gaps
    assert not world.hub.lost()


def test_two_routers_by_one_id_are_never_both_there(world: World) -> None:
    for boot in ("b1", "b2"):
        world.acknowledge(world.dial(boot=boot))
    assert [each.partition(": ")[2][:27] for each in world.progress().faults()] == ["r is disconnected: another "]
    world.now += timedelta(seconds=61)
    assert world.progress().is_complete


def test_what_routers_count_joins_what_sidecars_count(world: World) -> None:
    router, sidecar = world.dial(), world.dial("s", HERE)
    counts = (Count("k", 2, 1, str(HERE)), Count("k", 0, 5, str(THERE)), Count("k", 7, 7), Count("k", 7, 7, "?"))
    world.hub.take_traffic(router, Traffic(1, counts))
    world.hub.take_traffic(router, Traffic(1, counts))
    world.hub.take_traffic(sidecar, Traffic(1, (Count("k", 1, 0), Count("k", 1, 0, str(THERE)))))
    assert world.due(router)[0] == {"type": "counted", "seq": 1}
    here, there = (world.hub.traffic.answered("k", where, 0) for where in (HERE, THERE))
    # The router's; and the sidecar's, which speaks of its own workload only, whatever it says.
    assert (here.from_sandbox, here.from_baseline) == (2, 1)
    assert (there.from_sandbox, there.from_baseline) == (0, 5)


def test_a_router_that_met_too_many_keys_leaves_a_gap_where_it_serves(world: World) -> None:
    world.hub.take_traffic(world.dial(), Traffic(1, (), lost=True))
    for where, count in ((HERE, 1), (THERE, 1), (UNLISTED, 0)):
        assert len(world.hub.traffic.answered("k", where, 0).gaps) == count
    world.table("k", listing(UNLISTED))
    for where in (HERE, THERE, UNLISTED):  # it may have been there, before
        assert len(world.hub.traffic.answered("k", where, 0).gaps) == 1


def test_a_flush_asks_routers_of_the_workloads_that_they_serve(world: World) -> None:
    router, sidecar = world.dial(), world.dial("r", UNLISTED)
    world.acknowledge(router, sidecar)

    async def flushed(*workloads: Workload) -> tuple[set[str], set[Name]]:
        flushing = asyncio.ensure_future(world.hub.flush(workloads, 0.1))  # noqa: TID251 - awaited here
        await asyncio.sleep(0)
        asked = {str(each.workload) for each in (router, sidecar) if world.due(each)}
        return asked, await flushing

    async def test() -> None:
        assert await flushed(THERE) == ({"None"}, {(None, "r")})
        assert await flushed(UNLISTED) == ({str(UNLISTED)}, {(UNLISTED, "r")})
        assert await flushed(workload("another")) == (set(), set())

    asyncio.run(test())


def test_routers_that_were_attached_are_missed_after_a_restart(tmp_path: Path) -> None:
    async def attached() -> None:
        with closing(Journal(str(tmp_path / "proxies"))) as proxies, closing(Journal(str(tmp_path / "feed"))) as feed:
            roll = Roll(proxies)
            hub = Hub(feed, lambda: NOON, roll)
            keeping = asyncio.get_running_loop().create_task(roll.run())
            gone = hub.attach(Hello("gone", "b", None), lambda: None)
            hub.attach(Hello("stays", "b", None), lambda: None)
            while len(list(proxies.entries())) < 2:
                await asyncio.sleep(0.001)
            hub.detach(gone, is_clean=True)
            while len(list(proxies.entries())) > 1:
                await asyncio.sleep(0.001)
            keeping.cancel()

    asyncio.run(asyncio.wait_for(attached(), 10))
    with closing(Journal(str(tmp_path / "proxies"))) as proxies, closing(Journal(str(tmp_path / "feed"))) as feed:
        hub = Hub(feed, lambda: NOON, Roll(proxies))
        assert [(each.id, each.workload) for each in hub.lost()] == [("stays", None)]
        hub.apply(Compilation("v", (KeyState("k", True),), {}, {}, (), listing(HERE)))
        assert len(hub.traffic.answered("k", HERE, 0).gaps) == 1
