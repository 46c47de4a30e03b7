"""A router with one service decides as that workload's sidecar, whatever the request says; only the hops differ."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.places import PlaceIndex, RouterPlaces, router_place
from proxy.routing.authority import named, split_authority
from proxy.routing.decision import Policy
from proxy.routing.names import Endpoint
from proxy.routing.table import GoneRoute, Mapping, Route, RoutingTable, Service
from tests.support.exchange import BASELINE, PORT, SANDBOX, WORKLOAD, Script, request_head

ME = str(WORKLOAD)
QUICK = settings(deadline=None, max_examples=400, derandomize=True)
KEYS = ("key", "notready", "otherport", "alive", "taken", "gone", "nobody", "%zz", "k;p=1", "")
TABLE = RoutingTable(
    "1",
    [
        Route("key", "pr-1", WORKLOAD, (Mapping(PORT, None, "preserve", (SANDBOX,)),)),
        Route("notready", "pr-2", WORKLOAD, (Mapping(PORT, None, "destination", ()),)),
        Route("otherport", "pr-3", WORKLOAD, (Mapping(9, None, "preserve", (SANDBOX,)),)),
    ],
    live_keys=[b"alive", b"taken"],
    gone_keys=[b"gone"],
    gone_routes=[GoneRoute("taken", WORKLOAD)],
)
NAMES = ("sd-routing-key", "sd-sandbox", "sd-strict", "x")
MEMBER = st.one_of(
    st.builds("{}={}".format, st.sampled_from(NAMES), st.sampled_from(KEYS)),
    st.sampled_from(["sd-strict=1", "a", " sd-routing-key = key ", "sd-routing-key=key;x", '"']),
)
LINE = st.builds(
    "{}: {}".format, st.sampled_from(["baggage", "Tracestate", "BAGGAGE"]), st.lists(MEMBER, max_size=3).map(",".join)
)
# What a sidecar and a router read alike.
HOP = st.sampled_from([ME, "a/b/c", "a/b/c;baseline", f"a/b/c, {ME}", f"{ME}x"])
HOPS = st.lists(st.builds("pointsman-hop: {}".format, HOP), max_size=1)
POLICY = st.builds(Policy, unknown_key_rejects=st.booleans(), gone_key_rejects=st.booleans())
HOSTS = ("location", "LOCATION", "location.", "location:8081", "Location.:1")


def heads_sent(script: Script) -> list[bytes]:
    return [line for line in script.up.lines if not line.startswith(b"pointsman-hop: ")]


@QUICK
@given(st.lists(LINE, max_size=4), HOPS, POLICY, st.booleans(), st.booleans(), st.sampled_from(HOSTS))
def test_as_a_sidecar(
    lines: list[str], hops: list[str], policy: Policy, falls_back: bool, is_down: bool, host: str
) -> None:
    index, router = PlaceIndex(), RouterPlaces()
    service = Service(("location",), PORT, WORKLOAD, BASELINE)
    index.add(service, router_place(service, policy, TABLE.view(WORKLOAD)))
    router.put(index)
    scripts = [Script(TABLE, policy=policy, failure_to_baseline=falls_back) for _ in range(2)]
    scripts[1].port = replace(scripts[1].port, places=router)
    for script in scripts:
        script.start(request_head(*lines, *hops, host=host))
        if script.pool.pending and is_down:
            script.connect_failed()
        if script.pool.pending:
            script.connected()
            script.response_head(body=0)
    sidecar, routed = scripts
    assert routed.calls == sidecar.calls
    assert routed.finishes == sidecar.finishes
    assert routed.down.head is not None
    assert routed.down.decision == sidecar.down.decision
    assert routed.down.head.lines == (sidecar.down.head.lines if sidecar.down.head is not None else None)
    if not sidecar.used:
        return
    assert heads_sent(routed) == heads_sent(sidecar)
    mark = [f"pointsman-hop: {ME}".encode()] if sidecar.exchange.decision.mapping else []
    own = mark or [f"pointsman-hop: {ME};baseline".encode()]
    came = [hop.encode() for hop in hops]
    assert [line for line in sidecar.up.lines if line.startswith(b"pointsman-hop")] == came + mark
    assert [line for line in routed.up.lines if line.startswith(b"pointsman-hop")] == came + own


@QUICK
@given(st.binary(max_size=30) | st.from_regex(rb"\A\[?[a-zA-Z0-9.:-]{0,20}\]?:?[0-9]{0,6}\Z"))
def test_every_authority_has_one_spelling_or_none(authority: bytes) -> None:
    parts = split_authority(authority)
    if parts is not None:
        name, port = parts
        assert name
        assert port is None or 0 < port < 65536
        if not name.endswith(b"."):  # of "a.." one dot is left, which is no host
            assert split_authority(named(name, port)) == parts


@QUICK
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "A.", "c"]), st.integers(79, 82)), min_size=1, max_size=8))
def test_the_index_is_the_specification(entries: list[tuple[str, int]]) -> None:
    """SPEC 4: several entries for one host: the authority's port (none: 80) picks by `upstream.port`; one: any."""
    index, router = PlaceIndex(), RouterPlaces()
    plain: dict[tuple[bytes, int], int] = {}
    for number, (host, port) in enumerate(entries, 1):
        service = Service((host,), number, WORKLOAD, Endpoint("up", port))
        index.add(service, router_place(service, Policy(), None))
        plain.setdefault((host.lower().rstrip(".").encode(), port), number)
    router.put(index)
    for host in (b"a", b"b", b"c"):
        of_host = {port: number for (name, port), number in plain.items() if name == host}
        for port in (None, 79, 80, 81, 82, 83):
            for spelled in (named(host, port), named(host.upper() + b".", port)):
                expected = of_host.get(80 if port is None else port)
                if len(of_host) == 1:
                    (expected,) = of_host.values()
                place = router.find(spelled)
                assert (None if place is None else place.number) == expected
