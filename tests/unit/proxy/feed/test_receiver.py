"""Messages in, table in force and answers out: what is taken, what is refused and how, and what is remembered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.feed import coming as coming_module
from proxy.feed import receiver as receiver_module
from proxy.feed.messages import Ack, Change, Current, Nack, Resync, Snapshot
from proxy.feed.receiver import Receiver
from proxy.routing.decision import Decider, Policy
from proxy.routing.digest import key_digest
from proxy.routing.gone import GONE_S
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload
from proxy.tables import TableHolder
from tests.support.proxy import WORKLOAD, route, table

ME = Workload.parse(WORKLOAD)
SALT = "00ff"
READER = KeyReader(KeySettings())
DECIDER = Decider(ME, Policy())


def digest(key: str, salt: str = SALT) -> str:
    return key_digest(key.encode(), bytes.fromhex(salt)).decode()


class Script:
    """A receiver, and what requests would get."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.tables = TableHolder(ME, "controller", clock=lambda: self.now_s)
        self.put: list[bool] = []
        self.swaps = 0
        self.tables.on_swap(self._swapped)
        self.receiver = Receiver(self.tables, (8081, 8082), self.put.append, self._pause)

    def _swapped(self) -> None:
        self.swaps += 1

    async def _pause(self) -> None:
        await asyncio.sleep(0)

    def take(self, message: Snapshot | Change | Current) -> object:
        async def run() -> object:
            answer = self.receiver.take(message)
            await self.receiver.tidy()
            return answer

        return asyncio.run(run())

    def snapshot(self, position: int, *routes: dict[str, object], version: str = "", **rest: object) -> object:
        version = version or f"v{position}"
        document = table(*routes, version=version, **rest)
        return self.take(Snapshot(f"s{position}", position, version, document))

    def change(self, position: int, since: int, **what: Any) -> object:
        return self.take(Change(f"c{position}", position, since, f"v{position}", **what))

    def reason(self, key: str, port: int = 8081) -> str:
        reading = READER.read((f"sd-routing-key={key}".encode(),), (), ())
        return DECIDER.decide(reading, self.tables.view, port).reason.name

    def reasons(self, *keys: str) -> list[str]:
        return [self.reason(key) for key in keys]


@pytest.fixture
def script() -> Script:
    return Script()


def test_nothing_is_not_an_empty_table(script: Script) -> None:
    assert script.reason("a") == "not_synced"
    assert script.snapshot(0) == Ack("s0", 0, "v0")
    assert script.reason("a") == "unknown_key"


def test_a_snapshot_in_parts_takes_effect_at_once_after_the_last(script: Script) -> None:
    parts = [
        table(route("a", [1]), route("b", [1]), version="v1"),
        table(route("c", [1]), version="v1"),
        table(version="v1", liveKeys=["live"], goneKeys=["gone"]),
        table(version="v1", goneRoutes=[{"routingKey": "live", "baseline": route()["baseline"]}]),
    ]
    for index, part in enumerate(parts):
        assert script.reasons("a", "c", "live", "gone") == ["not_synced"] * 4
        answer = script.take(Snapshot("n", 1, "v1", part, index, index == 3))
        assert answer == (Ack("n", 1, "v1") if index == 3 else None)
    assert script.reasons("a", "b", "c", "live", "gone", "x") == ["route"] * 3 + [
        "gone_route",
        "gone_key",
        "unknown_key",
    ]
    assert script.swaps == 1
    assert script.put == [True]


def test_digests(script: Script) -> None:
    digests = {"keyDigest": {"salt": SALT}, "liveKeys": [digest("live"), digest("a")], "goneKeys": [digest("gone")]}
    assert isinstance(script.snapshot(1, route("a", [1]), **digests), Ack)
    assert script.reasons("a", "live", "gone", "x") == ["route", "not_forked", "gone_key", "unknown_key"]
    assert script.receiver.salt == SALT
    answer = script.change(
        2, 1, live_keys=[digest("new")], not_live_keys=[digest("live")], gone_keys=[digest("late")], salt=SALT
    )
    assert answer == Ack("c2", 2, "v2")
    assert script.reasons("new", "live", "late") == ["not_forked", "gone_key", "gone_key"]


def test_a_change_that_changes_everything(script: Script) -> None:
    script.snapshot(1, route("a", [1]), route("b", [1]), route("c", [1]), liveKeys=["x", "y"], goneKeys=["z"])
    known = script.tables.view
    assert known is not None
    a, b = known.routes[b"a"], known.routes[b"b"]
    answer = script.change(
        2,
        1,
        routes=[route("b", [2]), route("d", [1])],
        removed_routes=["c"],
        live_keys=["w", "c"],
        not_live_keys=["x"],
        gone_keys=["v"],
        not_gone_keys=["z"],
        gone_routes=[{"routingKey": "w", "baseline": route()["baseline"]}],
    )
    assert answer == Ack("c2", 2, "v2")
    view = script.tables.view
    assert view is not None
    assert view.version == "v2"
    assert view.routes[b"a"] is a  # with its counters
    assert view.routes[b"b"] is not b
    assert script.reasons("a", "b", "c", "d") == ["route", "route", "gone_route", "route"]
    assert script.reasons("w", "x", "v", "z", "y") == [
        "gone_route",
        "gone_key",
        "gone_key",
        "unknown_key",
        "not_forked",
    ]
    assert {endpoint.port for endpoint in script.tables.endpoints()} == {1, 2}
    script.change(3, 2, not_gone_routes=["w"], removed_routes=["b"])
    assert script.reason("w") == "not_forked"
    assert {endpoint.port for endpoint in script.tables.endpoints()} == {1}


def test_unchanged_routes_keep_their_objects_across_snapshots(script: Script) -> None:
    script.snapshot(1, route("a", [1]), route("b", [1]))
    assert script.tables.view is not None
    before = dict(script.tables.view.routes)
    script.snapshot(2, route("a", [1]), route("b", [2]))
    assert script.tables.view.routes[b"a"] is before[b"a"]
    assert script.tables.view.routes[b"b"] is not before[b"b"]


def test_a_change_of_others_keys_tells_nobody_and_an_empty_one_is_acked(script: Script) -> None:
    script.snapshot(1, route("a", [1]))
    assert script.change(2, 1, live_keys=["x"]) == Ack("c2", 2, "v2")
    assert script.change(3, 2) == Ack("c3", 3, "v3")
    assert script.swaps == 1
    assert script.put == [True, True, False]
    assert script.tables.view is not None
    assert script.tables.view.version == script.tables.state()["version"] == "v3"


# --- positions ---


def test_lower_positions_are_refused_and_equal_ones_taken(script: Script) -> None:
    script.snapshot(5, route("a", [1]))
    answer = script.snapshot(4)
    assert isinstance(answer, Nack)
    assert answer.is_whole
    assert answer.faults == ("position 4 is older than 5, which is in force",)
    assert script.reason("a") == "route"
    assert script.tables.is_stale
    assert isinstance(script.change(4, 5), Nack)
    assert isinstance(script.take(Current("n", 4, "v5")), Nack)
    assert isinstance(script.snapshot(5, route("b", [1])), Ack)
    assert script.reason("b") == "route"
    assert not script.tables.is_stale


def test_current_moves_the_position(script: Script) -> None:
    assert script.take(Current("n", 1, "v")) == Resync()  # of what?
    script.receiver.restart()
    script.snapshot(1, version="v")
    script.tables.unheard("cut")
    assert script.take(Current("n", 7, "v")) == Ack("n", 7, "v")
    assert script.receiver.position == 7
    assert not script.tables.is_stale
    assert script.take(Current("n", 8, "other")) == Resync()


def test_a_change_that_does_not_fit_asks_once_for_a_snapshot(script: Script) -> None:
    assert script.change(2, 1) == Resync()
    script.receiver.restart()
    script.snapshot(3, route("a", [1]))
    assert script.change(5, 4, removed_routes=["a"]) == Resync()
    assert script.tables.is_stale
    assert script.change(6, 5, removed_routes=["a"]) is None
    assert script.reason("a") == "route"
    script.now_s += 11
    assert script.change(7, 6) == Resync()  # it was not heard
    assert isinstance(script.snapshot(7), Ack)
    assert not script.tables.is_stale
    assert isinstance(script.change(8, 7), Ack)
    assert script.change(10, 9) == Resync()  # another time


def test_another_salt_asks_for_a_snapshot(script: Script) -> None:
    script.snapshot(1, version="v", keyDigest={"salt": SALT})
    assert script.take(Current("n", 2, "v", "aa")) == Resync()
    script.receiver.restart()
    assert script.change(2, 1, salt="aa") == Resync()


def test_another_salt_in_a_later_part_is_refused(script: Script) -> None:
    script.take(Snapshot("n", 1, "v1", table(keyDigest={"salt": SALT}), 0, False))
    answer = script.take(Snapshot("n", 1, "v1", table(keyDigest={"salt": "aa"}), 1, True))
    assert isinstance(answer, Nack)
    assert answer.is_whole


@pytest.mark.parametrize("part", [1, 2])
def test_parts_that_do_not_continue(script: Script, part: int) -> None:
    script.take(Snapshot("n", 1, "v1", table(version="v1"), 0, False))
    answer = script.take(Snapshot("n" if part == 2 else "other", 1, "v1", table(), part, True))
    assert isinstance(answer, Nack)
    assert answer.is_whole
    assert script.reason("a") == "not_synced"


def test_a_change_in_parts_takes_effect_after_the_last(script: Script) -> None:
    script.snapshot(1, route("a", [1]))
    assert script.change(2, 1, removed_routes=["a"], part=0, is_last=False) is None
    assert script.reason("a") == "route"
    assert script.receiver.is_in_parts
    assert isinstance(script.change(2, 1, routes=[route("b", [1])], part=1), Ack)
    assert script.reasons("a", "b") == ["gone_key", "route"]
    assert not script.receiver.is_in_parts


def test_a_change_that_is_too_large_asks_for_a_snapshot(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "_MAX_UPDATE", 2)
    script.snapshot(1, route("a", [1]))
    assert script.change(2, 1, removed_routes=["a"], live_keys=["b", "c"]) == Resync()
    assert script.reason("a") == "route"


# --- what can't be read ---

BAD: dict[str, object] = {**route("bad"), "sandbox": 7}


def test_a_bad_route_keeps_its_last_good_form(script: Script) -> None:
    script.snapshot(1, route("bad", [1]), route("good", [1]))
    for answer in (script.snapshot(2, BAD, route("good", [2])), script.change(3, 2, routes=[BAD])):
        assert isinstance(answer, Nack)
        assert not answer.is_whole
        assert [refused.routing_key for refused in answer.routes] == ["bad"]
        assert "sandbox: must be a string" in answer.faults[0]
        assert script.reasons("bad", "good") == ["route", "route"]
        assert script.tables.is_stale
    assert script.receiver.position == 3
    assert isinstance(script.change(4, 3), Ack)
    assert script.tables.last_faults  # it is still bad
    assert isinstance(script.change(5, 4, routes=[route("bad", [1])]), Ack)
    assert not script.tables.is_stale


def test_a_bad_route_without_one_has_no_destination(script: Script) -> None:
    script.snapshot(1, BAD, route("good", [1]))
    assert [script.reason("bad", port) for port in (8081, 8082)] == ["no_destination"] * 2
    assert script.reason("good") == "route"
    script.change(2, 1, removed_routes=["bad"])
    assert not script.tables.is_stale
    script.change(3, 2, routes=[BAD])
    assert script.reason("bad") == "no_destination"


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ({"liveKeys": ["a", ""]}, "liveKeys[1]: must be 1-63"),
        ({"goneKeys": "a"}, "goneKeys: must be a list"),
        ({"keyDigest": {"salt": SALT}, "liveKeys": ["a"]}, "liveKeys[0]: must be a digest"),
        ({"keyDigest": {}}, "keyDigest.salt: missing"),
        ({"goneRoutes": [{"routingKey": "a"}]}, "goneRoutes[0].baseline: missing"),
        ({"goneRoutes": {}}, "goneRoutes: must be a list"),
        ({"routes": {}}, "routes: must be a list"),
        ({"routes": [7]}, "routes[0]: must have a routingKey and a baseline"),
        ({"routes": [{**route("a"), "routingKey": "-"}]}, "routes[0].routingKey: must be 1-63"),
        ({"routes": [{**route("a"), "baseline": {}}]}, "routes[0].baseline.kind: missing"),
        ({"routes": [route("a", workload="other/Deployment/one")]}, "routes[0].baseline: must be hotrod/"),
        (
            {"routes": [{**BAD, "baseline": {"kind": "K", "namespace": "n", "name": "m"}}]},
            "routes[0].baseline: must be",
        ),
        ({"routes": [route("a"), route("a")]}, "routes[1]: 'a' has a route already"),
        ({"apiVersion": "pointsman.dev/v2"}, "apiVersion: must be pointsman.dev/v1alpha1"),
        ({"kind": "Song"}, "kind: must be RoutingTable"),
    ],
)
def test_what_is_refused_whole(script: Script, rest: dict[str, Any], fault: str) -> None:
    script.snapshot(1, route("old", [1]))
    answer = script.take(Snapshot("n", 2, "v2", table(version="v2") | rest, 0, False))
    assert isinstance(answer, Nack)
    assert answer.is_whole
    assert answer.faults[0].startswith(fault)
    assert script.take(Snapshot("n", 2, "v2", table(version="v2"), 1, True)) is None  # the rest of it is passed over
    assert script.receiver.position == 1
    assert script.reason("old") == "route"
    assert script.tables.state()["stale"]
    assert isinstance(script.snapshot(2), Ack)


@pytest.mark.parametrize(
    "what", [{"live_keys": ["-"]}, {"removed_routes": ["-"]}, {"routes": [7]}, {"gone_routes": [7]}]
)
def test_a_change_refused_whole_changes_nothing(script: Script, what: dict[str, Any]) -> None:
    script.snapshot(1, route("old", [1]))
    answer = script.change(2, 1, **({"removed_routes": ["old"]} | what))
    assert isinstance(answer, Nack)
    assert answer.is_whole
    assert script.reason("old") == "route"
    assert script.change(3, 2) == Resync()


def test_too_much_is_refused_whole(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming_module, "MAX_ROUTES", 2)
    monkeypatch.setattr(coming_module, "MAX_KEYS", 3)
    assert isinstance(script.snapshot(1, *(route(key) for key in "abc")), Nack)
    assert isinstance(script.snapshot(2, liveKeys=list("abcd")), Nack)
    assert isinstance(script.snapshot(3, route("a"), route("b"), liveKeys=list("abc")), Ack)
    assert isinstance(script.change(4, 3, routes=[route("c")]), Nack)
    assert isinstance(script.change(5, 3, gone_keys=list("abcd")), Nack)
    assert isinstance(script.change(6, 3, routes=[route("c")], removed_routes=["a"]), Ack)


def test_fields_of_a_newer_schema_are_passed_over(script: Script) -> None:
    newer = {**route("a", [1], mood="good"), "weight": 3}
    assert isinstance(script.snapshot(1, newer, weather=["fine"]), Ack)
    assert script.reason("a") == "route"


# --- what left is remembered ---


@pytest.mark.parametrize("by", ["snapshot", "change"])
def test_what_left_is_gone_for_an_hour(script: Script, by: str) -> None:
    digests = {"keyDigest": {"salt": SALT}}
    script.snapshot(1, route("mine", [1]), liveKeys=[digest("their"), digest("mine")], **digests)
    if by == "snapshot":
        script.snapshot(2, **digests)
    else:
        script.change(2, 1, removed_routes=["mine"], not_live_keys=[digest("their"), digest("mine")])
    assert script.reasons("mine", "their") == ["gone_key", "gone_key"]
    script.now_s += GONE_S - 1
    script.tables.expire()
    assert script.reasons("mine", "their") == ["gone_key", "gone_key"]
    script.now_s += 2
    script.tables.expire()
    assert script.reasons("mine", "their") == ["unknown_key", "unknown_key"]


@pytest.mark.parametrize("by", ["snapshot", "change"])
def test_a_route_that_left_while_its_key_lives(script: Script, by: str) -> None:
    script.snapshot(1, route("mine", [1]), liveKeys=["mine"])
    if by == "snapshot":
        script.snapshot(2, liveKeys=["mine"])
    else:
        script.change(2, 1, removed_routes=["mine"])
    assert script.reason("mine") == "gone_route"
    assert script.tables.memory.routes[ME].keys() == {b"mine"}
    if by == "snapshot":
        script.snapshot(3, route("mine", [1]))
    else:
        script.change(3, 2, routes=[route("mine", [1])])
    assert script.reason("mine") == "route"
    assert script.tables.memory.routes[ME] == {}


@pytest.mark.parametrize("by", ["snapshot", "change"])
def test_what_comes_back_is_forgotten(script: Script, by: str) -> None:
    script.snapshot(1, liveKeys=["a"])
    script.change(2, 1, not_live_keys=["a"])
    assert script.reason("a") == "gone_key"
    if by == "snapshot":
        script.snapshot(3, liveKeys=["a"])
    else:
        script.change(3, 2, live_keys=["a"])
    assert script.reason("a") == "not_forked"
    assert not script.tables.memory.keys


def test_another_salt_forgets_others_keys_and_keeps_our_own(script: Script) -> None:
    script.snapshot(1, route("mine", [1]), liveKeys=[digest("their"), digest("left")], keyDigest={"salt": SALT})
    script.change(2, 1, not_live_keys=[digest("left")])
    assert script.reason("left") == "gone_key"
    script.snapshot(3, keyDigest={"salt": "aa"})
    assert script.reasons("left", "their", "mine") == ["unknown_key", "unknown_key", "gone_key"]
    assert script.tables.memory.keys.keys() == {digest("mine", "aa").encode()}


def test_a_large_table_is_freed_bit_by_bit(script: Script) -> None:
    script.snapshot(1, *(route(f"k{index}", [1]) for index in range(1200)))
    assert isinstance(script.snapshot(2), Ack)
    assert script.receiver._dying == []
    assert script.tables.endpoints() == set()
    assert script.tables.sandboxes() == set()


def test_who_lacks_a_route_is_not_current(script: Script) -> None:
    bad = {**route("a"), "mappings": [{"port": 0, "destinations": []}]}
    nack = script.receiver.take(Snapshot("n", 1, "v1", table(bad, version="v1")))
    assert isinstance(nack, Nack)
    assert not nack.is_whole
    assert script.receiver.take(Current("m", 2, "v1")) == Resync()
