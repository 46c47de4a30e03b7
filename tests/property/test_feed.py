"""Any history of tables, told by a feed, decides and remembers as the same history told by files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.feed.messages import Ack, Change, Nack, Resync, Snapshot
from proxy.feed.receiver import Receiver
from proxy.feed.wire import WireError, encode, read_from_controller, read_from_proxy
from proxy.routing.decision import Decider, Policy
from proxy.routing.digest import key_digest
from proxy.routing.gone import GONE_S
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload
from proxy.routing.table import GoneRoute, RoutingTable
from proxy.routing.wire import read_document
from proxy.tables import TableHolder
from tests.support.feed import baseline_of
from tests.support.proxy import WORKLOAD, route, table

ME = Workload.parse(WORKLOAD)
DECIDER = Decider(ME, Policy())
READINGS = {
    (key, strict): KeyReader(KeySettings()).read((f"sd-routing-key={key}{strict}".encode(),), (), ())
    for key in "abcdef"
    for strict in ("", ",sd-strict=1")
}

_keys = st.sets(st.sampled_from("abcde"))


@st.composite
def states(draw: st.DrawFn) -> dict[str, object]:
    """A table: what our routes lead to by key, which other keys live, which are gone, which routes are."""
    routes = draw(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 2)))
    return {
        "routes": routes,
        "live": draw(_keys) | routes.keys(),
        "gone": draw(_keys),
        "gone_routes": draw(_keys),
        "waits_s": draw(st.sampled_from([0.0, 10.0, GONE_S / 2, GONE_S + 1])),
    }


histories = st.lists(st.tuples(states(), st.booleans()), min_size=1, max_size=6)  # and whether it comes as a snapshot


def names(keys: set[str], salt: bytes | None) -> list[str]:
    return [key if salt is None else key_digest(key.encode(), salt).decode() for key in sorted(keys)]


def of_file(state: Mapping[str, object], version: str) -> RoutingTable:
    document = table(
        *(route(key, [port]) for key, port in state["routes"].items()),  # type: ignore[attr-defined]
        version=version,
        liveKeys=sorted(state["live"]),  # type: ignore[call-overload]
        goneKeys=sorted(state["gone"]),  # type: ignore[call-overload]
    )
    found = read_document(document)
    gone_routes = [GoneRoute(key, ME) for key in sorted(state["gone_routes"])]  # type: ignore[call-overload]
    return RoutingTable(version, found.routes, found.live_keys, found.gone_keys, gone_routes)


def snapshot(state: Mapping[str, object], position: int, salt: bytes | None) -> list[Snapshot]:
    """In two parts."""
    digests = {} if salt is None else {"keyDigest": {"salt": salt.hex()}}
    routes = [route(key, [port]) for key, port in state["routes"].items()]  # type: ignore[attr-defined]
    gone_routes = [{"routingKey": key, "baseline": baseline_of()} for key in sorted(state["gone_routes"])]  # type: ignore[call-overload]
    keys = {"liveKeys": names(state["live"], salt), "goneKeys": names(state["gone"], salt)}  # type: ignore[arg-type]
    documents = [table(*routes, **digests), table(goneRoutes=gone_routes, **keys, **digests)]
    return [
        Snapshot(f"n{position}", position, f"v{position}", document, index, index == 1)
        for index, document in enumerate(documents)
    ]


def change(old: dict[str, object], new: dict[str, object], position: int, salt: bytes | None) -> Change:
    def added(what: str) -> set[str]:
        return set(new[what]) - set(old[what])  # type: ignore[call-overload, no-any-return]

    def lost(what: str) -> set[str]:
        return set(old[what]) - set(new[what])  # type: ignore[call-overload, no-any-return]

    before, after = old["routes"], new["routes"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    return Change(
        f"n{position}",
        position,
        position - 1,
        f"v{position}",
        [route(key, [port]) for key, port in after.items() if before.get(key) != port],
        sorted(lost("routes")),
        names(added("live"), salt),
        names(lost("live"), salt),
        names(added("gone"), salt),
        names(lost("gone"), salt),
        [{"routingKey": key, "baseline": baseline_of()} for key in sorted(added("gone_routes"))],
        sorted(lost("gone_routes")),
    )


def decisions(holder: TableHolder) -> dict[tuple[str, str], tuple[str, str, object]]:
    found = {}
    for asked, reading in READINGS.items():
        decision = DECIDER.decide(reading, holder.view, 8081)
        found[asked] = (decision.reason.name, decision.kind, decision.destinations)
    return found


@given(histories, st.sampled_from([None, b"\x01", b"salt"]))
@settings(deadline=None)
def test_a_feed_tells_what_a_file_tells(history: list[tuple[dict[str, object], bool]], salt: bytes | None) -> None:
    now_s = 0.0
    by_file, by_feed = (TableHolder(ME, "", clock=lambda: now_s) for _ in range(2))
    receiver = Receiver(by_feed, (8081,))
    last: dict[str, object] | None = None
    for position, (state, comes_whole) in enumerate(history):
        by_file.swap(of_file(state, f"v{position}"))
        messages: list[Snapshot] | list[Change]
        if last is None or comes_whole:
            messages = snapshot(state, position, salt)
        else:
            messages = [change(last, state, position, salt)]
        for message in messages:
            read = read_from_controller(encode(message))
            assert isinstance(read, Snapshot | Change)
            answer = receiver.take(read)
        assert isinstance(answer, Ack)
        last = state
        assert decisions(by_feed) == decisions(by_file)
        assert by_feed.endpoints() == by_file.endpoints()
        assert by_feed.sandboxes() == by_file.sandboxes()
        wait_s = state["waits_s"]
        assert isinstance(wait_s, float)
        now_s += wait_s
        by_file.expire()
        by_feed.expire()
        assert decisions(by_feed) == decisions(by_file)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = """nonce position version from part isLast document routes removedRoutes liveKeys notLiveKeys goneKeys
goneRoutes salt proxy schemas seq counts lost reply reason faults isWhole"""
_TYPES = "snapshot change current report counted refused hello ack nack traffic x"
_fields = st.sampled_from(_FIELDS.split())
_messages = st.fixed_dictionaries(
    {
        "type": st.sampled_from(_TYPES.split()),
        "nonce": st.just("n"),
        "position": st.integers(0, 9),
        "version": st.just("v"),
        "from": st.just(0),
        "document": st.dictionaries(_fields, _json, max_size=3).map(lambda more: table() | more),
    }
)


@given(_messages, st.dictionaries(_fields, _json, max_size=4))
@settings(deadline=None)
def test_whatever_is_said_is_taken_or_refused(message: dict[str, object], more: dict[str, object]) -> None:
    text = json.dumps(message | more)
    for read in (read_from_controller, read_from_proxy):
        try:
            found = read(text)  # type: ignore[operator]
        except WireError:
            continue
        if found is not None:
            assert read(encode(found)) == found  # type: ignore[operator]
        if isinstance(found, Snapshot | Change):
            holder = TableHolder(ME, "")
            receiver = Receiver(holder, (8081,))
            receiver.take(Snapshot("s", 0, "v0", table(route("a", [1]))))
            answer = receiver.take(found)
            assert answer is None or isinstance(answer, Ack | Nack | Resync)
            if not isinstance(answer, Ack | Nack) or (isinstance(answer, Nack) and answer.is_whole):
                assert DECIDER.decide(READINGS["a", ""], holder.view, 8081).reason.name == "route"
                assert receiver.position == 0
            asyncio.run(receiver.tidy())
