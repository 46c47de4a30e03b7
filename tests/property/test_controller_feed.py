"""Any history of tables and of connections ends with proxies that decide as the whole table does, and never says of a
proxy that it has a table that it has not. Both sides are the real ones, and all they say goes through its wire form."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.allow import AllowList
from controller.compile import Compilation, Compiler, Settings
from controller.feed.hub import Hub
from controller.feed.subscription import Subscription
from controller.journal import Journal
from controller.memory import KeyMemory
from controller.objects import Object, PreviewEndpoint, Ref
from controller.routers import ForRouters
from proxy.feed.messages import Ack, Change, Current, Hello, Nack, Resync, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.wire import encode, read_from_controller, read_from_proxy
from proxy.routertables import RouterTables
from proxy.routing.decision import Decider, Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Preview, Service
from proxy.tables import Holder, TableHolder
from tests.support.objects import NOON, local, sandbox, workload

SETTINGS = Settings(AllowList(["127.0.0.0/8"]), "p.example")
KEYS = ("k", "l", "m", "n", "last", "never-heard-of")
READINGS = {
    (key, strict): KeyReader(KeySettings()).read((f"sd-routing-key={key}{strict}".encode(),), (), ())
    for key in KEYS
    for strict in ("", ",sd-strict=1")
}
PORTS = (8081, 1)
T = TypeVar("T")
# Workload and id: the same id in two of them. Routers have no workload.
PEERS = (("a", "1"), ("a", "2"), ("b", "1"), (None, "1"), (None, "2"))
SERVICES = [Service((name,), 8081, workload(name), Endpoint(name, port)) for name in "abc" for port in (80, 81)]
HOSTS = [f"{name}{port}".encode() for name in "abcd" for port in ("", ":81")]
PREVIEW_HOSTS = [f"{name}--{key}.p.example".encode() for name in ("web", "api") for key in "kln"]
PREVIEWS = [Preview("p.example", name, Endpoint(name, port)) for name in ("web", "api") for port in (80, 81)]


# --- one proxy -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Peer:
    """The proxy's side, with what is on the way in both directions."""

    workload: Workload | None
    id: str
    clock: Callable[[], float]
    boot: int = 0
    subscription: Subscription | None = None
    inbox: deque[str] = field(default_factory=deque)
    outbox: deque[str] = field(default_factory=deque)
    spoilt: str = ""  # how the next message arrives
    open_nonces: list[str] = field(default_factory=list)  # of messages that were not answered

    def __post_init__(self) -> None:
        self.tables: Holder
        if self.workload is not None:
            self.tables = TableHolder(self.workload, "controller", self.clock)
            self.receiver = Receiver(self.tables, PORTS)
        else:
            self.tables = RouterTables(Policy(), "controller", self.clock)
            self.receiver = Receiver(self.tables, ())

    def hello(self) -> Hello:
        """As `proxy.feed.source` says it."""
        receiver = self.receiver
        return Hello(
            self.id,
            f"boot-{self.boot}",
            str(self.workload) if self.workload is not None else None,
            PORTS if self.workload is not None else (),
            position=receiver.position,
            version=receiver.version if receiver.is_whole else None,
            salt=receiver.salt if receiver.is_whole else None,
        )

    def read(self) -> None:
        """Takes one message."""
        text = self.spoil(self.inbox.popleft())
        message = read_from_controller(text)
        assert isinstance(message, Snapshot | Change | Current)
        before = self.receiver.position
        answer = self.receiver.take(message)
        if before is not None:
            assert self.receiver.position is not None
            assert self.receiver.position >= before
        if isinstance(answer, Ack | Nack):
            assert answer.nonce == message.nonce
        if answer is not None:
            self.outbox.append(encode(answer))

    def spoil(self, text: str) -> str:
        if not self.spoilt:
            return text
        message = json.loads(text)
        lists = message.get("document", message)
        if self.spoilt == "whole" and message["type"] != "current":
            lists["liveKeys"] = ["-"]
        elif self.spoilt == "route" and lists.get("routes"):
            lists["routes"][0]["mappings"] = [{"port": 70_000, "destinations": []}]
        elif self.spoilt == "other" and message["type"] == "change":
            message["from"] += 1
        elif self.spoilt == "other" and message["type"] == "current":
            message["version"] = "other"
        else:
            return text  # it waits for one that it fits on
        self.spoilt = ""
        return json.dumps(message)

    def decisions(self, tables: Holder) -> dict[tuple[object, ...], str]:
        """What requests get; of a router at each of its hosts."""
        found: dict[tuple[object, ...], str] = {}
        if isinstance(tables, TableHolder):
            decider = Decider(tables.workload, Policy())
            for (key, strict), reading in READINGS.items():
                for port in PORTS:
                    decision = decider.decide(reading, tables.view, port)
                    found[key, tables.workload, strict, port] = f"{decision} {decision.mapping}"
            return found
        assert isinstance(tables, RouterTables)
        for host in HOSTS:
            place = tables.places.find(host)
            if place is None:
                found[None, None, host] = str(tables.places.why_none())
                continue
            where = workload(host[:1].decode())
            for (key, strict), reading in READINGS.items():
                decision = place.decider.decide(reading, place.view, place.number)
                found[key, where, host, strict] = f"{decision} {decision.mapping} {place.baseline}"
        for host in PREVIEW_HOSTS:
            found[host[5:6].decode(), None, host] = self.preview(tables, host)
        return found

    def preview(self, tables: RouterTables, host: bytes) -> str:
        previews = tables.places.previews
        preview = previews.hosts.find(host) if previews is not None else None
        if previews is None or preview is None or preview.upstream is None:
            return "none"
        place = previews.find(preview.upstream)
        where = (place.decider.workload, place.baseline) if place is not None else None
        return f"{preview.upstream} {where} {previews.why_dead(preview.key)}"

    def has(self, compilation: Compilation, *, but: set[tuple[str, Workload | None]] = frozenset()) -> None:  # type: ignore[assignment]
        """Fails if it has anything else than its part of the table; `but`: key and workload of what it refused."""
        current = self.receiver.slice
        assert current is not None
        mine = [route for route in compilation.table.routes if self.workload is None or route.baseline == self.workload]
        for routes, others in ((current.routes, mine), (mine, current.routes)):
            assert {route for route in routes if (route.routing_key, route.baseline) not in but} <= set(others)
        if self.workload is None:
            assert current.services == compilation.for_routers.services
            assert set(current.previews.values()) == set(compilation.table.previews)
            assert len(current.previews) == len(compilation.table.previews)
            upstreams = {each.upstream for each in (*compilation.table.services, *compilation.table.previews)}
            assert isinstance(self.tables, RouterTables)
            assert self.tables.upstreams == upstreams
        assert current.endpoints == {
            endpoint for route in current.routes for each in route.mappings for endpoint in each.destinations
        }
        whole: Holder
        whole = TableHolder(self.workload, "w") if self.workload is not None else RouterTables(Policy(), "w")
        whole.swap(compilation.table)
        expected, got = self.decisions(whole), self.decisions(self.tables)
        assert expected.keys() == got.keys()
        for way, decision in got.items():
            # What it remembers itself only ever says "gone" for a little longer.
            remembered = "gone_key" in decision or "gone_route" in decision
            assert way[:2] in but or decision == expected[way] or remembered, (way, decision, expected[way])


# --- all of it -------------------------------------------------------------------------------------------------------


class World:
    """A controller that may be replaced, its objects, and its proxies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now: datetime = NOON
        self.objects: dict[Ref, Object] = {}
        self.memory: dict[str, KeyMemory] = {}
        self.compilation: Compilation | None = None
        self.journals = self.settled = 0
        self.for_routers = ForRouters()
        self.checked: dict[Peer, int | None] = {}  # the position that they had when they were found right
        self.peers = [
            Peer(workload(name) if name is not None else None, id_, lambda: self.now.timestamp(), boot=number)
            for number, (name, id_) in enumerate(PEERS)
        ]
        self.open()

    def open(self) -> None:
        self.journal = Journal(str(self.folder / f"feed-{self.journals}"))
        self.hub = Hub(self.journal, lambda: self.now)
        self.compiler = Compiler(SETTINGS, self.memory)
        self.compiler.set_for_routers(self.for_routers)
        for object_ in self.objects.values():
            self.compiler.put(object_)
        self.compilation = None

    def restart(self, *, keeps_journal: bool) -> None:
        for peer in self.peers:
            self.cut(peer)
        before = self.hub.position if self.hub.is_filled else 0
        self.journal.close()
        self.journals += not keeps_journal
        self.open()
        if keeps_journal:
            assert self.hub.position >= before

    def compile(self) -> None:
        is_first = self.compilation is None
        found = self.compiler.compile(self.now)
        changed = {**self.memory, **found.memory}
        self.memory = {key: record for key, record in changed.items() if record is not None}
        self.compilation = found
        self.checked.clear()
        if is_first or found.is_news:
            before = self.hub.position if self.hub.is_filled else 0
            self.hub.apply(found)
            assert self.hub.position > before
        for peer in self.peers:
            self.send(peer)

    def put(self, object_: Object) -> None:
        self.objects[object_.ref] = object_
        self.compiler.put(object_)

    def set_hosts(self, services: tuple[Service, ...], previews: tuple[Preview, ...]) -> None:
        self.for_routers = ForRouters(services, previews)
        self.compiler.set_for_routers(self.for_routers)

    def delete(self, ref: Ref) -> None:
        self.objects.pop(ref, None)
        self.compiler.delete(ref)

    # --- connections ---

    def dial(self, peer: Peer) -> None:
        """Also while the connection before is still there, as far as the hub knows."""
        before = peer.subscription
        woken: list[bool] = []
        hello = read_from_proxy(encode(peer.hello()))
        assert isinstance(hello, Hello)
        peer.subscription = self.hub.attach(hello, lambda: woken.append(True))
        if before is not None:
            assert not self.hub.is_attached(before)
            self.hub.detach(before, is_clean=False)  # it ends, later
        peer.inbox.clear()
        peer.outbox.clear()
        peer.open_nonces.clear()
        peer.receiver.restart()
        for each in self.peers:
            self.send(each)  # a position that was not known moves everybody's

    def cut(self, peer: Peer) -> None:
        if peer.subscription is not None:
            self.hub.detach(peer.subscription, is_clean=False)
        peer.subscription = None
        peer.inbox.clear()
        peer.outbox.clear()

    def send(self, peer: Peer) -> None:
        if peer.subscription is None:
            return
        texts = list(self.hub.due(peer.subscription))
        if texts:
            messages = [json.loads(text) for text in texts]
            assert not peer.open_nonces, "something else is under way"
            assert len({message["nonce"] for message in messages}) == 1
            assert [message.get("isLast", True) for message in messages] == [False] * (len(texts) - 1) + [True]
            assert self.hub.is_filled
            peer.open_nonces = [messages[0]["nonce"]]
        peer.inbox.extend(texts)

    def hear(self, peer: Peer) -> None:
        """Takes one answer."""
        answer = read_from_proxy(peer.outbox.popleft())
        assert peer.subscription is not None
        if isinstance(answer, Resync):
            peer.subscription.resync()
            peer.open_nonces.clear()
        else:
            assert isinstance(answer, Ack | Nack)
            if peer.open_nonces == [answer.nonce]:
                peer.open_nonces.clear()
            self.hub.take(peer.subscription, answer)
        self.send(peer)

    # --- what must hold ---

    def check(self) -> None:
        """Of whom the hub says that it has the present table has it."""
        for peer in self.peers:
            said = peer.subscription
            if said is None or self.compilation is None or not said.knows(self.hub.position):
                continue
            if self.checked.get(peer) != peer.receiver.position:
                peer.has(self.compilation, but=set(said.refused_routes))
                self.checked[peer] = peer.receiver.position

    def settle(self) -> None:
        """Everything arrives, and nobody refuses anything any more."""
        for peer in self.peers:
            peer.spoilt = ""
            if peer.subscription is None:
                self.dial(peer)
        self.settled += 1  # so that there is something new, without which nobody is asked again
        ports = {"target_port": 9000 + self.settled}
        self.put(sandbox("last", local("a", **ports), local("b", **ports), namespace="hotrod"))
        self.compile()
        while any(peer.inbox or peer.outbox for peer in self.peers):
            for peer in self.peers:
                while peer.inbox:
                    peer.read()
                while peer.outbox:
                    self.hear(peer)
        assert self.compilation is not None
        progress = self.hub.progress("last", {workload("a"): True, workload("b"): True}, self.hub.position)
        assert list(progress.faults()) == []
        assert progress.knowing == len(self.peers)
        for peer in self.peers:
            assert peer.receiver.position == self.hub.position
            peer.has(self.compilation)
            assert peer.subscription is not None
            assert (peer.subscription.version, peer.subscription.faults) == (self.hub.version, ())


# --- histories -------------------------------------------------------------------------------------------------------

# Each so often. Most of it is tables that change while connections come and go.
_WHAT = (
    ["change"] * 8
    + ["hosts", "time", "time"]
    + ["both"] * 4
    + ["all", "read", "hear"]
    + ["dial"] * 3
    + ["cut", "spoil", "restart"]
)
_EVENTS = st.tuples(st.sampled_from(_WHAT), st.integers(0, 9999))


class Choices:
    """What an event's number says. Drawing each of these would take ten times as long as all the rest."""

    def __init__(self, number: int) -> None:
        self.number = number

    def one_of(self, *values: T) -> T:
        self.number, index = divmod(self.number, len(values))
        return values[index]


def happens(world: World, what: str, choices: Choices) -> None:
    if what == "change":
        name = choices.one_of("s", "t", "u")
        if choices.one_of("put", "put", "delete") == "put":
            key, port = choices.one_of("k", "l", "m", "n"), choices.one_of(9081, 9082)
            changes = choices.one_of(("a",), ("b",), ("a", "b"), ("c",))
            endpoints = choices.one_of((), (PreviewEndpoint("web", "a"),), (PreviewEndpoint("api", f"f:{port}"),))
            forked = (local(each, target_port=port) for each in changes)
            world.put(sandbox(name, *forked, key=key, endpoints=endpoints))
        else:
            world.delete(Ref("Sandbox", "hotrod", name))
        if choices.one_of(True, True, False):
            world.compile()
    elif what == "hosts":
        chosen = [each for each in SERVICES if choices.one_of(True, False)]
        world.set_hosts(tuple(chosen), tuple(each for each in PREVIEWS[::2] if choices.one_of(True, False)))
        world.compile()
    elif what == "time":
        world.now += timedelta(minutes=choices.one_of(1, 30, 61))
        for each in world.peers:
            each.tables.expire()
        world.compile()
    elif what == "restart":
        world.restart(keeps_journal=choices.one_of(True, False))
    else:
        connection_happens(world, what, choices.one_of(*world.peers), choices)


def connection_happens(world: World, what: str, peer: Peer, choices: Choices) -> None:
    if what == "dial":
        world.dial(peer)
    elif what == "cut":
        world.cut(peer)
    elif what == "spoil":
        peer.spoilt = choices.one_of("whole", "route", "other")
    else:
        for each in world.peers if what == "all" else [peer]:
            while each.inbox and what != "hear":
                each.read()
            while each.outbox and what != "read":
                world.hear(each)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.lists(_EVENTS, min_size=20, max_size=80))
def test_whatever_happens_proxies_end_with_the_present_table(events: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            world.settle()
            for what, number in events:
                happens(world, what, Choices(number))
                world.check()
            world.settle()
        finally:
            world.journal.close()
