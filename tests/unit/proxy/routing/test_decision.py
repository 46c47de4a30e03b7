from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from proxy import errors
from proxy.errors import Reason
from proxy.routing.decision import Decider, Decision, Policy
from proxy.routing.gone import GoneMemory
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Route, RoutingTable
from proxy.routing.view import WorkloadView

ME = Workload("hotrod", "Deployment", "location")
OTHER = Workload("hotrod", "Deployment", "driver")
READER = KeyReader(KeySettings())
FORK = (Endpoint("fork", 9000),)
TABLE = RoutingTable(
    "1",
    routes=(
        Route("routed", "pr-1", ME, (Mapping(80, None, "preserve", FORK), Mapping(81, None, "preserve", ()))),
        Route("unready", "pr-2", ME, (Mapping(80, None, "preserve", ()),)),
        Route("portless", "pr-3", ME, ()),
        Route("elsewhere", "pr-4", OTHER, (Mapping(80, None, "preserve", FORK),)),
        Route("back", "pr-5", ME, (Mapping(80, None, "preserve", FORK),)),
    ),
    live_keys=(b"live", b"taken", b"relived"),
    gone_keys=(b"gone", b"relived"),
    gone_routes=(GoneRoute("taken", ME), GoneRoute("live", OTHER), GoneRoute("gone", ME), GoneRoute("back", ME)),
)
MEMORY = GoneMemory({b"left": 9e9, b"live": 9e9, b"routed": 9e9}, {ME: {b"elsewhere": 9e9, b"unready": 9e9}})
VIEW = TABLE.view(ME, MEMORY)
DEFAULT = Policy()
LENIENT = Policy(gone_key_rejects=False)
REJECTING = Policy(unknown_key_rejects=True)

SANDBOX, BASELINE, NONE = "sandbox", "baseline", "none"
Outcome = tuple[Reason, str, str | None, int]
HOP = b"hotrod/Deployment/location"


def key(name: str) -> bytes:
    return b"sd-routing-key=" + name.encode()


def outcome(decision: Decision) -> Outcome:
    return decision.reason, decision.kind, decision.sandbox, decision.status


class Row(NamedTuple):
    """One row of SPEC 4's table: a request, its outcome, and its outcome if it is strict."""

    name: str
    baggage: bytes
    expected: Outcome
    if_strict: Outcome
    hops: list[bytes]
    synced: bool
    port: int
    policy: Policy


def row(
    name: str,
    baggage: bytes,
    expected: Outcome,
    if_strict: Outcome | None = None,  # None: the same
    hops: Sequence[bytes] = (),
    synced: bool = True,
    port: int = 80,
    policy: Policy = DEFAULT,
) -> Row:
    return Row(name, baggage, expected, if_strict or expected, list(hops), synced, port, policy)


def baseline(reason: Reason) -> Outcome:
    return reason, BASELINE, None, 0


def refused(reason: Reason, status: int = 424) -> Outcome:
    return reason, NONE, None, status


def routed(sandbox: str) -> Outcome:
    return errors.ROUTE, SANDBOX, sandbox, 0


def dead(reason: Reason, sandbox: str) -> Outcome:
    return reason, SANDBOX, sandbox, 503


LOOP = refused(errors.LOOP, 508)
NOT_SYNCED = refused(errors.NOT_SYNCED, 503)
NO_KEY = baseline(errors.NO_KEY), refused(errors.NO_KEY)
INVALID_KEY = baseline(errors.INVALID_KEY), refused(errors.INVALID_KEY)
GONE_ROUTE = baseline(errors.GONE_ROUTE), refused(errors.GONE_ROUTE)
UNKNOWN_KEY = baseline(errors.UNKNOWN_KEY), refused(errors.UNKNOWN_KEY)
GONE_KEY = refused(errors.GONE_KEY)

ROWS = [
    row("loop", key("routed"), LOOP, hops=[HOP]),
    row("loop before no key", b"", LOOP, hops=[HOP]),
    row("loop before not synced", key("routed"), LOOP, hops=[HOP], synced=False),
    row("loop among others", b"", LOOP, hops=[b"a/b/c;baseline, x/y/z", b" " + HOP + b"\t"]),
    row("no key", b"", *NO_KEY),
    row("no key, not synced", b"", *NO_KEY, synced=False),
    row("invalid key", key("%zz"), *INVALID_KEY),
    row("invalid key, not synced", key(""), *INVALID_KEY, synced=False),
    row("not synced", key("routed"), NOT_SYNCED, synced=False),
    row("not synced, whatever the policy", key("x"), NOT_SYNCED, synced=False, policy=REJECTING),
    row("route", key("routed"), routed("pr-1")),
    row("route that was gone", key("back"), routed("pr-5")),
    row("no destination", key("unready"), dead(errors.NO_DESTINATION, "pr-2")),
    row("no destination, second port", key("routed"), dead(errors.NO_DESTINATION, "pr-1"), port=81),
    row("port not mapped", key("routed"), dead(errors.PORT_NOT_MAPPED, "pr-1"), port=82),
    row("no port mapped", key("portless"), dead(errors.NO_DESTINATION, "pr-3")),
    row("gone route", key("taken"), *GONE_ROUTE),
    row("gone route, remembered", key("elsewhere"), *GONE_ROUTE),
    row("not forked", key("live"), baseline(errors.NOT_FORKED)),
    row("live and gone: live", key("relived"), baseline(errors.NOT_FORKED)),
    row("gone key", key("gone"), GONE_KEY),
    row("gone key, remembered", key("left"), GONE_KEY),
    row("gone key, opted out", key("gone"), baseline(errors.GONE_KEY), GONE_KEY, policy=LENIENT),
    row("unknown key", key("x"), *UNKNOWN_KEY),
    row("unknown key, rejected", key("x"), refused(errors.UNKNOWN_KEY), policy=REJECTING),
    row("sent here by a router", key("routed"), routed("pr-1"), hops=[HOP + b";baseline"]),
    row("others' hops", key("routed"), routed("pr-1"), hops=[HOP[:-1], HOP + b"x", b"x/" + HOP, b"", b","]),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_spec_4(row: Row) -> None:
    _, baggage, expected, if_strict, hops, synced, port, policy = row
    view = VIEW if synced else None
    decider = Decider(ME, policy)
    decision = decider.decide(READER.read([baggage], []), view, port, hops)
    assert outcome(decision) == expected
    assert decision.note is None
    strict = decider.decide(READER.read([baggage, b"sd-strict=1"], []), view, port, hops)
    assert outcome(strict) == if_strict


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_ambiguous_requests_are_decided_the_same_with_a_note(row: Row) -> None:
    _, baggage, expected, _, hops, synced, port, policy = row
    if not baggage:
        return
    view = VIEW if synced else None
    decider = Decider(ME, policy)
    ambiguous = READER.read([b"sd-routing-key=zzz," + baggage], [])
    assert ambiguous.ambiguous
    decision = decider.decide(ambiguous, view, port, hops)
    assert outcome(decision) == expected
    if decision.reason is not errors.LOOP:
        assert decision.note is errors.AMBIGUOUS_KEY
        strict = decider.decide(READER.read([b"sd-strict=1,sd-routing-key=zzz," + baggage], []), view, port, hops)
        assert outcome(strict) == (errors.AMBIGUOUS_KEY, NONE, None, 424)


def test_a_route_carries_its_mapping() -> None:
    decide = Decider(ME, DEFAULT).decide
    assert decide(READER.read([key("routed")], []), VIEW, 80).mapping == TABLE.routes[0].mappings[0]
    assert decide(READER.read([key("routed")], []), VIEW, 81).mapping == TABLE.routes[0].mappings[1]
    assert decide(READER.read([key("routed")], []), VIEW, 82).mapping is None


@pytest.mark.parametrize("port", [80, 81])
@pytest.mark.parametrize("name", ["routed", "taken", "live", "gone", "left", "x", "%zz"])
def test_decisions_are_shared_for_as_long_as_the_table_lives(name: str, port: int) -> None:
    def decided(view: WorkloadView) -> Decision:
        return Decider(ME, DEFAULT).decide(READER.read([key(name)], []), view, port)

    assert decided(VIEW) is decided(TABLE.view(ME, MEMORY))
    if name != "left":
        assert decided(VIEW) is decided(TABLE.view(ME))


def test_a_router_refuses_what_it_sent_to_the_baseline_itself() -> None:
    router = Decider(ME, DEFAULT, router=True)
    reading = READER.read([], [])
    assert router.decide(reading, VIEW, 80, [HOP + b";baseline"]).reason is errors.LOOP
    assert router.decide(reading, VIEW, 80, [HOP]).reason is errors.LOOP
    assert router.decide(reading, VIEW, 80, [b"a/b/c;baseline"]).reason is errors.NO_KEY
