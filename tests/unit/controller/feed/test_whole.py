"""What routers are told: everything, in parts that are made as they are sent, once for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from controller.feed import whole as whole_module
from controller.feed.book import Book
from controller.keystate import KeyState
from controller.routers import ForRouters
from proxy.feed.messages import MAX_MESSAGE_BYTES, PART_BYTES, PART_HOSTS, PART_ROUTES, Change, Current, Snapshot
from proxy.feed.wire import read_from_controller
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Preview, Route, RoutingTable, Service
from proxy.routing.wire import read_document
from tests.support.objects import workload

HERE, THERE = workload("here"), workload("there")


def route(key: str, where: Workload, port: int = 1, mappings: int = 1) -> Route:
    found = tuple(Mapping(8000 + number, None, "preserve", (Endpoint("h", port),)) for number in range(mappings))
    return Route(key, "s", where, found)


def live(key: str, *workloads: Workload, port: int = 1, mappings: int = 1, **rest: Any) -> KeyState:
    return KeyState(key, True, routes=tuple(route(key, each, port, mappings) for each in workloads), **rest)


def preview(key: str | None = None, endpoint: str = "web", port: int = 1) -> Preview:
    return Preview("p.example", endpoint, Endpoint("frontend", port), key)


def service(name: str) -> Service:
    return Service((name, f"{name}.hotrod"), 8081, workload(name), Endpoint(f"{name}.hotrod", 80))


def book(*states: KeyState, for_routers: ForRouters | None = None) -> Book:
    found = Book("00ff")
    found.apply(1, "v1", states, for_routers)
    return found


def read(texts: Iterable[str] | None) -> list[Any]:
    assert texts is not None
    messages = []
    for text in texts:
        assert len(text) < MAX_MESSAGE_BYTES
        messages.append(read_from_controller(text))
    assert [message.part for message in messages] == list(range(len(messages)))
    assert [message.is_last for message in messages] == [False] * (len(messages) - 1) + [True]
    return messages


def table(messages: list[Snapshot]) -> RoutingTable:
    """The parts put together, which is a document that a file could hold."""
    document: dict[str, Any] = {}
    for message in messages:
        for name, value in message.document.items():
            document[name] = document.get(name, []) + value if isinstance(value, list) else value
    return read_document(document)


def changed(found: Book, since: int = 1, version: str = "v1") -> Change:
    [change] = read(found.change(None, since, version))
    return change


def test_a_router_gets_everything_as_it_is() -> None:
    for_routers = ForRouters((service("here"),), (preview(),))
    gone = GoneRoute("b", HERE)
    found = book(
        live("a", HERE, THERE, previews=(preview("a"),)),
        live("b", gone_routes=(gone,)),
        KeyState("c", is_gone=True),
        for_routers=for_routers,
    )
    [message] = read(found.snapshot(None))
    assert (message.nonce, message.position, message.version) == ("all-1", 1, "v1")
    assert "keyDigest" not in message.document
    whole = table([message])
    assert set(whole.routes) == {route("a", HERE), route("a", THERE)}
    assert (set(whole.live_keys), whole.gone_keys, whole.gone_routes) == ({b"a", b"b"}, (b"c",), (gone,))
    assert (whole.services, set(whole.previews)) == (for_routers.services, {preview(), preview("a")})


def test_an_empty_table_is_one_part() -> None:
    [message] = read(book().snapshot(None))
    assert message.document["routes"] == []


def test_parts_are_small() -> None:
    states = [live(f"k{number}", HERE, THERE) for number in range(PART_ROUTES)]
    services = tuple(service(f"w{number}") for number in range(PART_HOSTS + 1))
    found = book(*states, for_routers=ForRouters(services))
    messages = read(found.snapshot(None))
    assert len(messages) == 4
    assert max(len(message.document["routes"]) for message in messages) <= PART_ROUTES
    whole = table(messages)
    assert (len(whole.routes), len(whole.live_keys), whole.services) == (2 * PART_ROUTES, PART_ROUTES, services)
    large = [live(f"k{number}", HERE, mappings=100) for number in range(450)]
    found.apply(2, "v2", large)
    texts = list(found.snapshot(None))
    assert sum(map(len, texts)) > 2 * PART_BYTES
    assert max(map(len, texts)) < PART_BYTES + 10_000
    assert len(table(read(texts)).routes) == 2 * (PART_ROUTES - 450) + 450
    changes = list(found.change(None, 1, "v1") or ())
    assert max(map(len, changes)) < PART_BYTES + 10_000
    assert sum(len(change.routes) for change in read(changes)) == 450
    assert sum(len(change.removed_routes) for change in read(changes)) == 450


def test_a_change_says_what_changed_and_no_more() -> None:
    found = book(live("a", HERE), live("b", HERE, THERE), live("d", THERE), KeyState("e", is_gone=True))
    found.apply(2, "v2", [live("a", HERE, port=2), live("b", THERE), KeyState("d", is_gone=True), live("e", HERE)])
    change = changed(found)
    assert (change.nonce, change.from_position, change.position, change.version) == ("1-2", 1, 2, "v2")
    assert change.salt is None
    assert change.routes == [route("a", HERE, 2).document(), route("e", HERE).document()]
    assert change.removed_routes == (
        {"routingKey": "b", "baseline": HERE.document()},
        {"routingKey": "d", "baseline": THERE.document()},
    )
    assert (change.live_keys, change.not_live_keys) == (("e",), ("d",))
    assert (change.gone_keys, change.not_gone_keys) == (("d",), ("e",))
    assert (change.services, change.previews, change.removed_previews) == (None, [], [])


def test_gone_routes() -> None:
    taken = GoneRoute("a", HERE)
    found = book(live("a", HERE))
    found.apply(2, "v2", [live("a", gone_routes=(taken,))])
    assert changed(found).gone_routes == [taken.document()]
    found.apply(3, "v3", [live("a")])
    assert changed(found, 2, "v2").not_gone_routes == (taken.document(),)


def test_services_are_told_whole_and_previews_one_by_one() -> None:
    one, two = service("one"), service("two")
    found = book(live("a", previews=(preview("a"), preview("a", "api"))), for_routers=ForRouters((one,), (preview(),)))
    found.apply(2, "v2", [], ForRouters((one, two), (preview(port=2),)))
    change = changed(found)
    assert change.services == [one.document(), two.document()]
    assert (change.previews, change.removed_previews) == ([preview(port=2).document()], [])
    found.apply(3, "v3", [live("a", previews=(preview("a", port=3),))])
    change = changed(found, 2, "v2")
    assert change.services is None
    assert change.previews == [preview("a", port=3).document()]
    assert change.removed_previews == [{"domain": "p.example", "endpoint": "api", "routingKey": "a"}]
    found.apply(4, "v4", [], ForRouters())
    change = changed(found, 3, "v3")
    assert change.services == []
    assert change.removed_previews == [{"domain": "p.example", "endpoint": "web"}]
    assert changed(found, 1, "v1").services == []
    found.apply(5, "v1", [live("a", previews=(preview("a"), preview("a", "api")))], ForRouters((one,), (preview(),)))
    assert changed(found, 1, "v1") == Change("1-5", 5, 1, "v1", [], previews=[], gone_routes=[], removed_previews=[])


def test_what_only_routers_need_changes_nothing_for_sidecars() -> None:
    found = book(live("a", HERE), for_routers=ForRouters((service("here"),)))
    found.apply(2, "v2", [live("a", HERE, previews=(preview("a"),))], ForRouters())
    [change] = read(found.change(HERE, 1, "v1"))
    assert change == Change("1-2", 2, 1, "v2", [], gone_routes=[], previews=[], removed_previews=[], salt="00ff")


def test_only_routers_call_forks_by_their_own_hosts() -> None:
    found = book(live("a", HERE), for_routers=ForRouters(calls_by_destination=True))
    found.apply(2, "v2", [live("b", HERE)])
    for where, authority in ((HERE, "preserve"), (None, "destination")):
        routes = [route for message in read(found.snapshot(where)) for route in message.document["routes"]]
        routes += [route for message in read(found.change(where, 1, "v1")) for route in message.routes]
        assert len(routes) == 3
        assert {route["mappings"][0].get("authority", "preserve") for route in routes} == {authority}


def test_messages_are_made_once_for_all_and_as_they_are_sent() -> None:
    found = book(*(live(f"k{number}", HERE) for number in range(3 * PART_ROUTES)))
    made: list[int] = []
    encode, whole_module.encode_value = whole_module.encode_value, lambda value: made.append(1) or encode(value)
    try:
        first = iter(found.snapshot(None))
        next(first)
        assert len(made) <= 2 * PART_ROUTES  # whether one is the last shows by the next
        second = list(found.snapshot(None))
        assert len(made) == 3 * PART_ROUTES
        found.apply(2, "v2", [live(f"k{number}", THERE) for number in range(3 * PART_ROUTES)])
        rest = list(first)
    finally:
        whole_module.encode_value = encode
    assert [one is other for one, other in zip(rest, second[1:], strict=True)] == [True] * 3
    assert {route.baseline for route in table(read(second)).routes} == {HERE}


def test_a_snapshot_that_is_on_its_way_stays_what_it_was() -> None:
    found = book(*(live(f"k{number}", HERE) for number in range(2 * PART_ROUTES)))
    sending = iter(found.snapshot(None))
    texts = [next(sending)]
    found.apply(2, "v2", [live("k1", HERE, port=2), live(f"k{2 * PART_ROUTES - 1}", HERE, port=2)])
    texts += sending
    messages = read(texts)
    assert {(message.nonce, message.version) for message in messages} == {("all-1", "v1")}
    ports = {route.mappings[0].destinations[0].port for route in table(messages).routes}
    assert ports == {1}


def test_more_than_a_router_takes_at_once_is_a_snapshot() -> None:
    found = book()
    found.apply(2, "v2", [live(f"k{number}", HERE) for number in range(9_000)])
    assert found.change(None, 1, "v1") is None  # with their routes
    assert found.change(THERE, 1, "v1") is not None


def test_current_has_no_salt() -> None:
    [text] = book().current(None)
    assert read_from_controller(text) == Current("1-1", 1, "v1")
    assert "salt" not in json.loads(text) or json.loads(text)["salt"] is None
