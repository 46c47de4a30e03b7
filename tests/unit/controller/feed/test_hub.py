"""Who is there, who is lost, what each has; with a real journal."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.compile import Compilation
from controller.feed.hub import HelloRefused, Hub, Name
from controller.feed.progress import Progress
from controller.feed.subscription import Subscription
from controller.journal import Journal
from controller.keystate import KeyState
from proxy.feed.messages import MAX_POSITION, Ack, Count, Hello, Nack, RefusedRoute, Traffic
from proxy.routing.names import Workload
from tests.support.objects import NOON, workload

HERE, THERE = workload("here"), workload("there")


class World:
    """A hub, its clock, and what is said to whom."""

    def __init__(self, folder: Path) -> None:
        self.now: datetime = NOON
        self.path = folder / "feed"
        self.tables = 0
        self.open()

    def open(self) -> None:
        self.journal = Journal(str(self.path))
        self.hub = Hub(self.journal, lambda: self.now)
        self.wakes: list[Subscription | None] = []

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def table(self, *keys: str) -> None:
        self.tables += 1
        states = tuple(KeyState(key, is_live=True) for key in keys)
        self.hub.apply(Compilation(f"v{self.tables}", states, {}, {}, ()))

    def dial(self, id_: str = "p", where: Workload = HERE, boot: str = "boot", **has: object) -> Subscription:
        return self.hub.attach(Hello(id_, boot, str(where), **has), lambda: self.wakes.append(None))  # type: ignore[arg-type]

    def due(self, one: Subscription) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.hub.due(one)]

    def acknowledge(self, *several: Subscription) -> None:
        """Each takes what is due."""
        for one in several:
            message = self.due(one)[-1]
            self.hub.take(one, Ack(str(message["nonce"]), int(str(message["position"])), str(message["version"])))

    def progress(self, key: str = "k", *, has_destination: bool = True, position: int | None = None) -> Progress:
        return self.hub.progress(key, {HERE: has_destination}, self.hub.position if position is None else position)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.journal.close()


# --- positions -------------------------------------------------------------------------------------------------------


def test_nothing_is_said_before_the_store_is_read(world: World) -> None:
    one = world.dial()
    assert world.due(one) == []
    assert not world.hub.is_filled
    world.table()
    assert [message["type"] for message in world.due(one)] == ["snapshot"]
    assert world.wakes


def test_positions_go_on_after_a_restart_and_the_salt_stays(world: World) -> None:
    for _ in range(5):
        world.table("k")
    first = world.dial()
    [*_, message] = world.due(first)
    before = world.hub.position
    world.restart()
    assert world.hub.position >= before
    world.tables -= 1
    world.table("k")
    assert world.hub.position > before
    document = message["document"]
    assert isinstance(document, dict)
    salt = document["keyDigest"]["salt"]
    again = world.dial(position=before, version="v5", salt=salt)
    assert [message["type"] for message in world.due(again)] == ["current"]


def test_positions_are_kept_a_block_at_a_time(world: World) -> None:
    world.table()
    size = world.path.stat().st_size
    for _ in range(500):
        world.table()
    assert world.path.stat().st_size == size
    for _ in range(600):
        world.table()
    assert world.path.stat().st_size > size
    before = world.hub.position
    world.restart()
    assert world.hub.position > before


def test_a_full_disk_is_tried_again_at_the_next_table(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Mapping[str, object]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "write", full)
        world.table()
        world.table()
        assert world.hub.position == 2  # what is told does not wait for this
    assert "can't be kept: No space left on device" in caplog.text
    world.table()
    world.restart()
    assert world.hub.position > 3


def test_the_first_table_goes_above_what_proxies_know(world: World) -> None:
    one, two = world.dial("one", position=500, version="v", salt="00"), world.dial("two", position=400)
    assert world.due(one) == []
    world.table()
    assert world.hub.position == 501
    assert {message["position"] for each in (one, two) for message in world.due(each)} == {501}


def test_a_proxy_that_knows_more_moves_everybody(world: World) -> None:
    world.table()
    one = world.dial("one")
    world.acknowledge(one)
    world.wakes.clear()
    two = world.dial("two", position=500, version="v", salt="00")
    assert world.wakes  # `one` must hear of it
    assert world.hub.position == 501
    assert [message["type"] for message in world.due(one)] == ["current"]
    assert [message["type"] for message in world.due(two)] == ["snapshot"]
    world.dial("three", position=501)
    assert world.hub.position == 501
    before = world.hub.position
    world.restart()
    assert world.hub.position >= before


@pytest.mark.parametrize("is_filled", [True, False])
def test_a_made_up_position(world: World, is_filled: bool) -> None:
    if is_filled:
        world.table()
    with pytest.raises(HelloRefused, match="was never given out"):
        world.dial(position=MAX_POSITION)
    assert world.hub.position < 10
    highest = MAX_POSITION - (1 << 32)
    world.dial("liar", position=highest)
    if not is_filled:
        world.table()
    assert world.hub.position == highest + 1
    world.dial("honest", position=world.hub.position)  # it was given out


# --- who is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (Hello("p", "b", str(HERE), schemas=()), "not none"),
        (Hello("p", "b", str(HERE), schemas=("pointsman.dev/v2\n\x1b",)), r"not 'pointsman.dev/v2\n\x1b'"),
        (Hello("p", "b", "nonsense"), "workload: "),
    ],
)
def test_hellos_that_are_refused(world: World, hello: Hello, why: str) -> None:
    with pytest.raises(HelloRefused) as refused:
        world.hub.attach(hello, lambda: None)
    assert why in str(refused.value)
    assert str(refused.value).isprintable()
    assert not world.hub.attached()


def test_two_by_one_id(world: World) -> None:
    world.table()
    woken: list[str] = []
    first = world.hub.attach(Hello("p", "b", str(HERE)), lambda: woken.append("first"))
    second = world.hub.attach(Hello("p", "b", str(HERE)), lambda: woken.append("second"))
    assert woken == ["first"]  # so that whoever serves it sees that it is over
    assert (world.hub.is_attached(first), world.hub.is_attached(second)) == (False, True)
    assert world.due(first) == []
    assert list(world.hub.attached()) == [second]
    world.hub.detach(first, is_clean=False)  # later
    assert list(world.hub.attached()) == [second]
    assert not world.hub.lost()
    assert world.hub.traffic.answered("k", HERE, 0).gaps == ()
    third = world.hub.attach(Hello("p", "another", str(HERE)), lambda: None)
    [gap] = world.hub.traffic.answered("k", HERE, 0).gaps
    assert (gap.proxy, gap.reason) == ("p", "another connection took its place")
    world.hub.detach(third, is_clean=True)


def test_two_processes_by_one_id_are_never_both_there(world: World) -> None:
    """Whichever has the place, the other one routes by what it had: no receipt is complete."""
    world.table("k")
    for boot, other in (("b1", "none"), ("b2", "b1"), ("b1", "b2")):
        one = world.dial("p", boot=boot)
        world.acknowledge(one)
        faults = list(world.progress().faults())
        assert len(faults) == (other != "none"), faults
        assert all("another process with the same id" in fault for fault in faults)
    world.now += timedelta(seconds=61)  # the other one is dead, after all
    assert world.progress().is_complete


def test_one_of_another_workload_does_not_take_its_place(world: World) -> None:
    world.table()
    first, second = world.dial("p", HERE), world.dial("p", THERE)
    assert list(world.hub.attached()) == [first, second]
    world.hub.detach(first, is_clean=False)
    world.dial("p", THERE)
    assert [each.workload for each in world.hub.lost()] == [HERE]
    assert world.hub.traffic.answered("k", HERE, 0).gaps


def test_lost_and_found(world: World) -> None:
    world.table()
    one = world.dial()
    world.acknowledge(one)
    world.hub.detach(one, is_clean=False)
    [lost] = world.hub.lost()
    assert (lost.id, lost.boot, lost.position, lost.version, lost.at) == ("p", "boot", 1, "v1", NOON)
    assert world.hub.traffic.answered("k", HERE, 0).gaps
    world.dial()
    assert not world.hub.lost()
    assert not world.hub.traffic.answered("k", HERE, 0).gaps


def test_the_same_process_may_be_away_for_long(world: World) -> None:
    one = world.dial()
    world.hub.detach(one, is_clean=False)
    world.now += timedelta(minutes=11)
    assert not world.hub.lost()  # nobody waits for it any more
    assert world.hub.traffic.answered("k", HERE, NOON.timestamp()).gaps
    world.dial()
    assert not world.hub.traffic.answered("k", HERE, 0).gaps


def test_goodbye(world: World) -> None:
    one = world.dial()
    world.hub.detach(one, is_clean=True)
    assert not world.hub.attached()
    assert not world.hub.lost()
    assert not world.hub.traffic.answered("k", HERE, 0).gaps
    assert world.due(one) == []


# --- counts ----------------------------------------------------------------------------------------------------------


def test_counts_are_acknowledged_by_the_last_number(world: World) -> None:
    one = world.dial()
    for seq in (1, 2):
        world.hub.take_traffic(one, Traffic(seq, (Count("k", 1, 0),)))
    assert world.due(one) == [{"type": "counted", "seq": 2}]
    assert world.due(one) == []
    assert world.hub.traffic.answered("k", HERE, 0).from_sandbox == 2


def test_flush(world: World) -> None:
    one, two, other = world.dial("one"), world.dial("two"), world.dial("other", THERE)
    leaving = world.dial("leaving")

    async def test() -> set[Name]:
        flushing = asyncio.ensure_future(world.hub.flush([HERE], 0.1))  # noqa: TID251 - awaited here
        await asyncio.sleep(0)
        assert world.due(other) == []
        [report] = world.due(one)
        assert report["type"] == "report"
        world.hub.take_traffic(one, Traffic(1, (), reply=str(report["reply"])))
        world.hub.detach(leaving, is_clean=False)  # what it counted is a gap now
        assert not flushing.done()
        silent = await flushing
        world.hub.take_traffic(two, Traffic(1, (), reply=str(report["reply"])))  # too late
        return silent

    assert asyncio.run(test()) == {(HERE, "two")}
    assert not world.hub._reports
    assert [message["type"] for message in world.due(two)] == ["counted"]  # it is not asked any more


def test_flush_returns_when_all_have_answered_and_when_there_is_nobody(world: World) -> None:
    async def test() -> None:
        assert await world.hub.flush([HERE], 60) == set()
        one = world.dial()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            flushes = [tasks.create_task(world.hub.flush([HERE], 60)) for _ in range(2)]
            await asyncio.sleep(0)
            for number, report in enumerate(world.due(one), 1):
                world.hub.take_traffic(one, Traffic(number, (), reply=str(report["reply"])))
        assert [flush.result() for flush in flushes] == [set(), set()]

    asyncio.run(test())


def test_a_flush_asks_who_comes_back_meanwhile(world: World) -> None:
    """Its gap ends as it comes, and what it counted until then is not here yet."""
    one, away = world.dial("one"), world.dial("away")
    world.hub.detach(away, is_clean=False)

    async def test() -> set[Name]:
        flushing = asyncio.ensure_future(world.hub.flush([HERE], 60))  # noqa: TID251 - awaited here
        await asyncio.sleep(0)
        [report] = world.due(one)
        back = world.dial("away")
        world.hub.take_traffic(one, Traffic(1, (), reply=str(report["reply"])))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not flushing.done()
        [report] = world.due(back)
        world.hub.take_traffic(back, Traffic(1, (), reply=str(report["reply"])))
        return await flushing

    assert asyncio.run(asyncio.wait_for(test(), 10)) == set()


def test_a_flush_that_nobody_waits_for_leaves_nothing(world: World) -> None:
    one = world.dial()

    async def test() -> None:
        flushing = asyncio.ensure_future(world.hub.flush([HERE], 60))  # noqa: TID251 - awaited here
        await asyncio.sleep(0)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing

    asyncio.run(test())
    assert not world.hub._reports
    assert world.due(one) == []


# --- how far it has got ----------------------------------------------------------------------------------------------


def test_progress_and_its_faults_by_name(world: World) -> None:
    world.table("k")
    assert list(world.progress().faults()) == [f"no proxy of {HERE} is attached"]
    one, two, other = world.dial("one"), world.dial("two"), world.dial("other", THERE)
    found = world.progress()
    assert not found.is_complete
    assert list(found.faults()) == [
        f"{HERE}: one is pending: it has not answered yet, and has table none",
        f"{HERE}: two is pending: it has not answered yet, and has table none",
        "other is pending: it has not answered yet, and has table none",
    ]
    world.acknowledge(one, two)
    assert (world.progress().attached, world.progress().knowing) == (3, 2)
    assert not world.hub.have(1)
    world.acknowledge(other)
    found = world.progress()
    assert found.is_complete
    assert found.knowing == 3
    assert [(each.proxies, each.acknowledged) for each in found.workloads] == [(2, 2)]
    assert world.hub.have(1)
    assert list(world.progress(has_destination=False).faults()) == [f"{HERE}: the route has no destination"]
    assert not world.progress(position=2).is_complete


def test_progress_with_refusals(world: World) -> None:
    world.table("k")
    one, two = world.dial("one"), world.dial("two")
    world.due(one)
    world.hub.take(one, Nack("all-1", ("too\nlarge",), is_whole=True))
    world.due(two)
    world.hub.take(two, Nack("all-1", ("port",), is_whole=False, routes=(RefusedRoute("k", ("port", "host")),)))
    assert list(world.progress().faults()) == [
        f"{HERE}: one is refused: too\ufffdlarge",
        f"{HERE}: two is refused: port; host",
    ]
    [found] = world.progress().workloads
    assert (found.proxies, found.acknowledged) == (2, 0)
    assert [each["state"] for each in found.document()["missing"]] == ["refused", "refused"]  # type: ignore[attr-defined]
    assert [each.acknowledged for each in world.progress("another key").workloads] == [1]
    assert world.hub.have(1)  # nothing more will come of waiting
    assert world.hub.refusals == 2


def test_progress_with_the_lost(world: World) -> None:
    world.table("k")
    one, two = world.dial("one"), world.dial("two")
    world.acknowledge(one, two)
    world.hub.detach(two, is_clean=False)
    world.table("l")
    world.acknowledge(one)
    assert list(world.progress().faults()) == [f"{HERE}: two is disconnected: its connection broke at 12:00:00 UTC"]
    world.now += timedelta(minutes=11)
    assert world.progress().is_complete


def test_whoever_waits_hears_of_everything(world: World) -> None:
    async def test() -> None:
        async def woken_by(act: object) -> None:
            waiting = asyncio.ensure_future(world.hub.until_changed())  # noqa: TID251 - awaited here
            await asyncio.sleep(0)
            assert not waiting.done()
            act()  # type: ignore[operator]
            async with asyncio.timeout(5):
                await waiting

        await woken_by(lambda: world.table("k"))
        await woken_by(lambda: world.dial("one"))
        [one] = world.hub.attached()
        await woken_by(lambda: world.acknowledge(one))
        await woken_by(lambda: world.hub.take(one, Nack("x", (), is_whole=True)))
        await woken_by(lambda: world.dial("two", position=99))
        await woken_by(lambda: world.hub.detach(one, is_clean=True))

    asyncio.run(test())


def test_a_damaged_salt_is_made_anew(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "feed"))
    journal.write({"salt": "no hex", "position": "7"})
    hub = Hub(journal, lambda: NOON)
    assert hub.position == 0
    hub.apply(Compilation("v", (KeyState("k", is_live=True),), {}, {}, ()))
    one = hub.attach(Hello("p", "b", str(HERE)), lambda: None)
    assert len(list(hub.due(one))) == 1
    journal.close()
