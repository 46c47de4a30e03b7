"""A router's receiver: everybody's routes, by workload; what is shared, what is made anew, and what is remembered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.explaining import explain_at
from proxy.feed.messages import Ack, Change, Current, Nack, RefusedRoute, Resync, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.slice import UNREADABLE
from proxy.feed.statefile import StateError, StateFile
from proxy.places import Place
from proxy.routertables import RouterTables
from proxy.routing.decision import Policy
from proxy.routing.gone import GONE_S
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload
from tests.support.feed import baseline_of
from tests.support.proxy import route, service, table

A, B, C = "hotrod/Deployment/a", "hotrod/Deployment/b", "hotrod/Deployment/c"
SERVICES = [service("a", upstream=80, workload=A), service("b", upstream=80, workload=B)]
READER = KeyReader(KeySettings())


def name(key: str, workload: str = A) -> dict[str, object]:
    return {"routingKey": key, "baseline": baseline_of(workload)}


def preview(endpoint: str = "web", key: str | None = None, port: int = 80) -> dict[str, object]:
    found = {"domain": "p.example", "endpoint": endpoint, "upstream": {"host": "a", "port": port}}
    return found if key is None else found | {"routingKey": key}


def without_upstream(document: dict[str, object]) -> dict[str, object]:
    return {field: value for field, value in document.items() if field != "upstream"}


class Script:
    """A receiver, and what requests would get."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.tables = RouterTables(Policy(), "controller", clock=lambda: self.now_s)
        self.receiver = Receiver(self.tables, ())

    def take(self, *messages: Snapshot | Change | Current) -> object:
        """The last answer."""
        return [self.receiver.take(message) for message in messages][-1]

    def snapshot(self, position: int, *routes: dict[str, object], **rest: object) -> object:
        document = table(*routes, version=f"v{position}", **{"services": SERVICES, **rest})
        return self.take(Snapshot(f"s{position}", position, f"v{position}", document))

    def change(self, position: int, since: int, **what: Any) -> object:
        return self.take(Change(f"c{position}", position, since, f"v{position}", **what))

    def place(self, host: str) -> Place:
        place = self.tables.places.find(host.encode())
        assert place is not None
        return place

    def reason(self, key: str, host: str = "a", port: int | None = None) -> str:
        place = self.place(host)
        reading = READER.read((f"sd-routing-key={key}".encode(),), (), ())
        return place.decider.decide(reading, place.view, place.number if port is None else port).reason.name

    def reasons(self, key: str) -> tuple[str, str]:
        """At both hosts."""
        return self.reason(key), self.reason(key, "b")


@pytest.fixture
def script() -> Script:
    return Script()


def test_nothing_is_not_an_empty_table(script: Script) -> None:
    assert script.tables.places.why_none().reason.name == "not_synced"
    assert script.snapshot(0, services=[]) == Ack("s0", 0, "v0")
    assert script.tables.places.why_none().reason.name == "unknown_host"


def test_keys_are_live_at_all_workloads(script: Script) -> None:
    gone = [name("gone-route")]
    script.snapshot(1, route("r", [1], workload=A), liveKeys=["live", "gone-route"], goneKeys=["gone"], goneRoutes=gone)
    assert script.reasons("r") == ("route", "not_forked")  # whether it is listed as live or not
    assert script.reasons("live") == ("not_forked", "not_forked")
    assert script.reasons("gone") == ("gone_key", "gone_key")
    assert script.reasons("gone-route") == ("gone_route", "not_forked")
    assert script.reasons("x") == ("unknown_key", "unknown_key")
    script.change(2, 1, routes=[route("s", [1], workload=B)])
    assert script.reasons("s") == ("not_forked", "route")


def test_a_change_gives_another_view_to_those_that_it_touches_alone(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=A))
    a, b = script.place("a"), script.place("b")
    views = a.view, b.view
    assert script.change(2, 1, routes=[route("l", [1], workload=A)], live_keys=["l", "m"]) == Ack("c2", 2, "v2")
    assert script.place("a") is a
    assert b.view is views[1]
    assert script.reasons("l") == ("route", "not_forked")
    assert script.reasons("m") == ("not_forked", "not_forked")


def test_routes_of_workloads_that_no_service_lists_wait_for_one(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=C))
    assert script.tables.places.find(b"c") is None
    assert [route.routing_key for route in script.tables.current.routes] == ["k"]  # type: ignore[union-attr]
    swaps: list[int] = []
    script.tables.on_swap(lambda: swaps.append(1))
    script.change(2, 1, services=[*SERVICES, service("c", upstream=81, workload=C)])
    assert script.reason("k", "c") == "route"
    assert swaps == [1]  # their baselines are in use now
    assert script.change(3, 2, services=[]) == Ack("c3", 3, "v3")
    assert script.tables.places.find(b"a") is None


def test_a_service_that_stays_keeps_what_is_remembered(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=A), route("k", [1], workload=B), liveKeys=["l"])
    script.change(2, 1, removed_routes=[name("k")], not_live_keys=["l"])
    expected = (("gone_route", "route"), ("gone_key", "gone_key"))
    assert (script.reasons("k"), script.reasons("l")) == expected
    script.change(3, 2, services=[*SERVICES, service("c", upstream=81, workload=C)])
    assert (script.reasons("k"), script.reasons("l")) == expected
    assert script.reason("l", "c") == "gone_key"
    script.snapshot(4, route("k", [1], workload=B))
    assert (script.reasons("k"), script.reasons("l")) == expected
    script.now_s += GONE_S + 1
    script.tables.expire()
    assert (script.reasons("k"), script.reasons("l")) == (("not_forked", "route"), ("unknown_key", "unknown_key"))


def test_a_route_that_left_is_remembered_whatever_was_before(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=A), route("k", [1], workload=B), liveKeys=["l"])
    script.change(2, 1, not_live_keys=["l"])
    script.change(3, 2, removed_routes=[name("k")])
    assert (script.reasons("k"), script.reasons("l")) == (("gone_route", "route"), ("gone_key", "gone_key"))


def test_what_left_comes_back(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=A), route("l", [1], workload=A))
    script.change(2, 1, removed_routes=[name("k"), name("l")], not_live_keys=["k"])
    assert (script.reasons("k"), script.reasons("l")) == (("gone_key", "gone_key"), ("gone_route", "not_forked"))
    script.change(3, 2, live_keys=["k"], routes=[route("l", [1], workload=A)])
    assert (script.reasons("k"), script.reasons("l")) == (("gone_route", "not_forked"), ("route", "not_forked"))
    script.change(4, 3, routes=[route("k", [1], workload=A)])
    assert script.reasons("k") == ("route", "not_forked")


def test_gone_routes_come_and_go(script: Script) -> None:
    script.snapshot(1, liveKeys=["k"])
    script.change(2, 1, gone_routes=[name("k"), name("k", B)])
    assert script.reasons("k") == ("gone_route", "gone_route")
    script.change(3, 2, not_gone_routes=[name("k", B)])
    assert script.reasons("k") == ("gone_route", "not_forked")


def test_a_route_that_cannot_be_read_is_refused_where_it_is(script: Script) -> None:
    bad = {**route("k", [1], workload=A), "mappings": [{"port": 0, "destinations": []}]}
    answer = script.snapshot(1, bad, route("k", [1], workload=B))
    assert isinstance(answer, Nack)
    assert not answer.is_whole
    assert answer.routes == (RefusedRoute("k", answer.faults, A),)
    assert script.reasons("k") == ("no_destination", "route")
    assert script.reason("k", port=1) == "no_destination"  # on whatever port
    assert UNREADABLE in script.tables.sandboxes()
    answer = script.change(2, 1, routes=[{**bad, "baseline": baseline_of(B)}])
    assert isinstance(answer, Nack)
    assert script.reasons("k") == ("no_destination", "route")  # the last good form
    assert script.change(3, 2, routes=[route("k", [1], workload=A), route("k", [2], workload=B)]) == Ack("c3", 3, "v3")
    assert script.reasons("k") == ("route", "route")
    assert script.receiver.is_whole


@pytest.mark.parametrize(
    "what",
    [
        {"services": [7]},
        {"services": [{**SERVICES[0], "port": 0}]},
        {"services": [SERVICES[0], SERVICES[0]]},
        {"previews": [preview("w--b")]},
        {"routes": [{"routingKey": "k"}]},
        {"removed_routes": ["k"]},
        {"not_gone_routes": [name("-")]},
        {"removed_previews": ["web"]},
        {"live_keys": ["-"]},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused_whole(script: Script, what: dict[str, Any]) -> None:
    script.snapshot(1, route("old", [1], workload=A))
    answer = script.change(2, 1, **({"routes": [route("new", [1], workload=A)]} | what))
    assert isinstance(answer, Nack)
    assert answer.is_whole
    assert script.reasons("old") == ("route", "not_forked")
    assert script.reasons("new") == ("unknown_key", "unknown_key")


def test_services_in_parts_are_one_list(script: Script) -> None:
    def parts(nonce: str, *several: list[dict[str, object]]) -> object:
        return script.take(
            *(
                Snapshot(nonce, 1, "v1", table(version="v1", services=each), number, number == len(several) - 1)
                for number, each in enumerate(several)
            )
        )

    answer = parts("m", SERVICES, [SERVICES[1]])
    assert isinstance(answer, Nack)
    assert answer.faults == ("services[2].hosts[0]: 'b' with upstream port 80 is listed already: services[1].hosts[0]",)
    assert script.tables.places.index is None
    assert parts("n", SERVICES[:1], SERVICES[1:]) == Ack("n", 1, "v1")
    assert script.place("b").baseline[0].host == "127.0.0.1"
    change = [
        Change("c", 2, 1, "v2", services=[each], part=number, is_last=number == 1)
        for number, each in enumerate((SERVICES[1], service("c", upstream=81, workload=C)))
    ]
    assert script.take(*change) == Ack("c", 2, "v2")
    assert script.tables.places.find(b"a") is None
    assert script.place("c")


def test_previews(script: Script) -> None:
    def now() -> list[dict[str, object]]:
        assert script.receiver.slice is not None
        return sorted((each.document() for each in script.receiver.slice.previews.values()), key=str)

    script.snapshot(1, previews=[preview(), preview("api", "k")])
    assert now() == [preview("api", "k"), preview()]
    script.change(2, 1, previews=[preview("api", "l"), preview(port=81)], removed_previews=[{**preview("api", "k")}])
    assert now() == [preview("api", "l"), preview(port=81)]
    script.change(3, 2, removed_previews=[without_upstream(preview())])
    assert now() == [preview("api", "l")]
    script.snapshot(4)
    assert now() == []


def test_where_previews_lead_when_they_change(script: Script) -> None:
    def leads(host: str) -> tuple[str, int] | str:
        """To which upstream; or why not."""
        previews = script.tables.places.previews
        found = previews.hosts.find(host.encode()) if previews is not None else None
        if previews is None or found is None or found.upstream is None:
            return "unknown"
        dead = previews.why_dead(found.key)
        place = previews.find(found.upstream)
        assert place is not None
        return place.baseline[0] if dead is None else dead.reason.name

    script.snapshot(1, liveKeys=["k", "l"])
    assert leads("web--k.p.example") == "unknown"
    script.change(2, 1, previews=[preview(), preview("api", "k", 81), preview("other", port=81)])
    assert leads("web--k.p.example") == ("127.0.0.1", 80)  # the place of a service
    assert script.tables.places.previews is not None
    assert leads("web--x.p.example") == "unknown_key"
    assert leads("api--l.p.example") == "unknown"
    at_81 = {**preview("api", "k", 81), "upstream": {"host": "elsewhere", "port": 81}}
    script.change(3, 2, previews=[at_81])
    assert leads("api--k.p.example") == ("elsewhere", 81)
    assert ("elsewhere", 81) in script.tables.upstreams
    script.change(4, 3, not_live_keys=["k"])
    assert (leads("api--k.p.example"), leads("web--k.p.example")) == ("gone_key", "gone_key")
    script.change(5, 4, live_keys=["k"], removed_previews=[without_upstream(preview())])
    assert (leads("api--k.p.example"), leads("web--k.p.example")) == (("elsewhere", 81), "unknown")
    script.change(6, 5, services=[service("elsewhere", upstream=81, workload=A)])
    assert leads("api--k.p.example") == ("127.0.0.1", 81)  # a service's now
    removed = [without_upstream(preview("api", "k")), without_upstream(preview("other"))]
    script.change(7, 6, removed_previews=[*removed, without_upstream(preview("never-there"))])
    assert script.tables.places.previews is None
    assert script.tables.upstreams == {("127.0.0.1", 81)}
    script.change(8, 7, previews=[preview()])
    assert script.tables.upstreams == {("127.0.0.1", 81), ("a", 80)}
    assert leads("web--l.p.example") == ("a", 80)


def test_explanations_name_the_table_in_force(script: Script) -> None:
    script.snapshot(1, route("k", [1], workload=A))
    script.change(2, 1, routes=[route("l", [1], workload=B)])
    fields = [(b"host", b"a"), (b"baggage", b"sd-routing-key=k")]
    found = explain_at(script.place("a"), fields, READER, b"a", script.tables.places.previews, "v2")
    assert (found.table_version, found.sandbox) == ("v2", "local-location")
    assert any(step.startswith("table 'v2'") for step in found.steps)


def test_a_salt_is_not_ours(script: Script) -> None:
    script.snapshot(1)
    assert script.change(2, 1, salt="00ff") == Resync()
    assert script.receiver.salt is None


# --- its state file ---


def kept(folder: Path, script: Script) -> StateFile:
    state = StateFile(str(folder), None)
    state._receiver = script.receiver
    state.note(True)
    assert asyncio.run(state.write())
    return StateFile(str(folder), None)


def test_a_state_file_brings_back_everything(tmp_path: Path) -> None:
    before, after = Script(), Script()
    services = [service(f"s{number}", upstream=80, workload=f"n/D/{number}") for number in range(150)]
    before.snapshot(
        7,
        *(route(f"k{number}", [1, 2], workload=where) for number in range(150) for where in (A, B)),
        services=SERVICES + services,
        previews=[preview(), preview("api", "k1")],
        liveKeys=["live"],
        goneKeys=["gone"],
        goneRoutes=[name("live"), name("k1", C)],
    )
    assert after.take(*kept(tmp_path, before).load()) == Ack("state", 7, "v7")
    one, two = before.receiver.slice, after.receiver.slice
    assert one is not None
    assert two is not None
    assert (two.routes, two.services, two.previews) == (one.routes, one.services, one.previews)
    assert (two.live, two.gone, two.salt, two.version) == (one.live, one.gone, None, "v7")
    for key in ("k1", "live", "gone"):
        assert after.reasons(key) == before.reasons(key)
    assert after.place("s149")


def test_a_state_file_says_which_routes_were_refused_where(tmp_path: Path) -> None:
    script = Script()
    bad = {**route("k", [1], workload=A), "mappings": [{"port": 0, "destinations": []}]}
    script.snapshot(7, bad, route("k", [1], workload=B))
    state = kept(tmp_path, script)
    state.load()
    assert state.refused_routes.keys() == {(Workload.parse(A), b"k")}


def test_state_files_of_sidecars_are_not_a_routers(tmp_path: Path) -> None:
    script = Script()
    script.snapshot(7)
    state = kept(tmp_path, script)
    sidecar = StateFile(str(tmp_path), Workload.parse(A))
    assert sidecar.path != state.path
    assert sidecar.load() == []
    Path(state.path).rename(sidecar.path)
    with pytest.raises(StateError, match="is of 'router', not of hotrod/Deployment/a"):
        sidecar.load()
