"""Rendering: what owners wrote stays, ours comes and goes without a trace, and no route is left without its copy."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.istio.mesh import Mesh
from controller.istio.names import is_our_route
from controller.istio.render import Options, Rendered, removed, render
from controller.istio.virtualservices import VirtualService, read_virtual_service
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint
from proxy.routing.table import Mapping, Route
from tests.support.mesh import document, entry, workload
from tests.support.vsmodel import Request, route_of

QUICK = settings(max_examples=150, deadline=None)

ROUTER = Endpoint("router.pointsman.svc.cluster.local", 80)
SERVICES = ("location", "driver", "customer")
HOSTS = st.sampled_from([*SERVICES, "location.hotrod.svc.cluster.local", "outside.example"])
STRINGS = st.sampled_from([{"prefix": "/a"}, {"exact": "/b"}, {"regex": "/c.*"}])

BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "uri": STRINGS,
        "method": st.sampled_from([{"exact": "GET"}]),
        "headers": st.dictionaries(st.sampled_from(["x", "baggage", "tracestate"]), STRINGS, max_size=2),
        "withoutHeaders": st.dictionaries(st.sampled_from(["y", "baggage"]), STRINGS, max_size=1),
        "port": st.sampled_from([80, 90]),
        "name": st.just("block"),
    },
)
DESTINATIONS = st.fixed_dictionaries(
    {
        "destination": st.fixed_dictionaries(
            {"host": HOSTS},
            optional={"port": st.sampled_from([{"number": 80}, {"number": 90}]), "subset": st.just("v1")},
        )
    },
    optional={"weight": st.sampled_from([0, 10, 90]), "headers": st.just({"request": {"set": {"a": "b"}}})},
)
EXTRAS = {
    "timeout": st.just("1s"),
    "retries": st.just({"attempts": 3}),
    "rewrite": st.sampled_from([{"uri": "/"}, {"authority": "other"}]),
    "mirror": st.just({"host": "driver"}),
    "fault": st.just({"abort": {"httpStatus": 500}}),
    "headers": st.just({"response": {"remove": ["z"]}}),
    "name": st.sampled_from(["one", "two"]),
    "match": st.lists(BLOCKS, max_size=3),
}
ROUTES = st.one_of(
    st.fixed_dictionaries({"route": st.lists(DESTINATIONS, min_size=1, max_size=3)}, optional=EXTRAS),
    st.fixed_dictionaries({"route": st.lists(DESTINATIONS, min_size=1, max_size=1)}, optional=EXTRAS),
    st.fixed_dictionaries({"redirect": st.just({"uri": "/"})}, optional={"match": EXTRAS["match"]}),
    st.sampled_from([{"delegate": {"name": name}} for name in ("pointsman-a", "pointsman-b", "inner", "gone")]),
)


@st.composite
def virtual_services(draw: st.DrawFn) -> tuple[VirtualService, ...]:
    found = []
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)):
        hosts = draw(st.lists(HOSTS, min_size=1, max_size=2, unique=True))
        gateways = draw(st.sampled_from([[], ["mesh"], ["ingress"], ["mesh", "ingress"]]))
        routes = draw(st.lists(ROUTES, min_size=1, max_size=4))
        spec = {"gateways": gateways} if gateways else {}
        found.append(read_virtual_service(document(*routes, name=name, hosts=hosts, **spec)))
    inner = draw(st.lists(ROUTES, min_size=1, max_size=2))
    if draw(st.booleans()):
        found.append(read_virtual_service(document(*inner, name="inner", hosts=None)))
    return tuple(found)


@st.composite
def keyed(draw: st.DrawFn) -> list[Route]:
    found = []
    for key in draw(st.lists(st.sampled_from(["k1", "k2", "k3"]), unique=True, max_size=3)):
        for name in draw(st.lists(st.sampled_from(SERVICES), unique=True, max_size=2)):
            hosts = draw(
                st.lists(st.sampled_from(["f.hotrod.svc", "g.hotrod.svc", "10.0.0.1"]), unique=True, max_size=2)
            )
            ports = draw(st.lists(st.sampled_from([8081, 8090]), unique=True, max_size=2))
            ends = tuple(Endpoint(host, 1) for host in hosts)
            mappings = tuple(Mapping(port, None, "preserve", ends) for port in ports)
            found.append(Route(key, f"sandbox-{key}", workload(name), mappings))
    return found


ENTRIES = (
    entry(),
    entry(service_port=90, port=8090),
    entry("driver"),
    entry("customer", behind="driver"),
)
MESHES = st.builds(lambda owners, known: Mesh(owners, ENTRIES if known else ()), virtual_services(), st.booleans())
OPTIONS = st.sampled_from(
    [
        Options(mode, ROUTER, own, form)
        for mode, form in (("rules", "strict"), ("rules", "signadot"), ("router", "strict"))
        for own in ("delegate", "patch")
    ]
)


def applied(mesh: Mesh, rendered: Rendered) -> Mesh:
    """The mesh once the changes are made."""
    found = {(each.namespace, each.name): each.document for each in mesh.virtual_services}
    for change in rendered.changes:
        if change.after is None:
            del found[change.namespace, change.name]
        else:
            found[change.namespace, change.name] = change.after
    documents: list[Any] = json.loads(json.dumps(list(found.values())))
    return Mesh(tuple(map(read_virtual_service, documents)), mesh.entries)


def documents(mesh: Mesh) -> dict[tuple[str, str], object]:
    return {(each.namespace, each.name): each.document for each in mesh.virtual_services}


@QUICK
@given(MESHES, keyed(), OPTIONS)
def test_what_was_rendered_can_be_taken_out(mesh: Mesh, routes: list[Route], options: Options) -> None:
    before = json.dumps(sorted(documents(mesh).items()))
    after = applied(mesh, render(mesh, routes, options))
    assert json.dumps(sorted(documents(mesh).items())) == before  # nothing was changed in place
    assert documents(applied(after, removed(after))) == documents(mesh)


@QUICK
@given(MESHES, keyed(), keyed(), OPTIONS, OPTIONS)
def test_what_is_rendered_does_not_depend_on_what_was(
    mesh: Mesh, first: list[Route], second: list[Route], options: Options, others: Options
) -> None:
    once = applied(mesh, render(mesh, second, options))
    assert render(once, second, options).changes == ()
    between = applied(mesh, render(mesh, first, others))
    assert documents(applied(between, render(between, second, options))) == documents(once)


@QUICK
@given(st.data(), MESHES, keyed(), OPTIONS)
def test_any_order_is_any_other(data: st.DataObject, mesh: Mesh, routes: list[Route], options: Options) -> None:
    other = Mesh(
        tuple(data.draw(st.permutations(mesh.virtual_services))), tuple(data.draw(st.permutations(mesh.entries)))
    )
    first = render(mesh, routes, options)
    second = render(other, data.draw(st.permutations(routes)), options)
    assert first.objects == second.objects
    assert first.findings == second.findings


@QUICK
@given(MESHES, keyed(), OPTIONS)
def test_owners_routes_stay_in_their_order(mesh: Mesh, routes: list[Route], options: Options) -> None:
    after = applied(mesh, render(mesh, routes, options))
    for owner in mesh.virtual_services:
        (found,) = [
            each for each in after.virtual_services if (each.namespace, each.name) == (owner.namespace, owner.name)
        ]
        assert json.dumps(found.routes) == json.dumps(owner.routes)
        spec: Any = {**found.document["spec"], "http": list(found.routes)}  # type: ignore[dict-item]
        assert spec == owner.document["spec"]


@QUICK
@given(MESHES, keyed())
def test_each_route_to_a_forked_workload_has_its_copies_before_it(mesh: Mesh, routes: list[Route]) -> None:
    """Against the rule written down plainly, where destinations are known and blocks don't match on our headers."""
    rendered = render(mesh, routes, Options(own="patch"))
    refused = {finding.place for finding in rendered.findings if finding.reason == "MatchConflict"}
    refused |= {note.partition(": ")[0] for note in rendered.notes if "is older" in note}
    if not mesh.entries:
        return
    behind = {"location": ["location"], "driver": ["driver"], "customer": ["driver"]}
    after = {(each.namespace, each.name): each for each in applied(mesh, rendered).virtual_services}
    for owner in mesh.virtual_services:
        if owner.place in refused:
            continue
        document: Any = after[owner.namespace, owner.name].document
        pending: set[str] = set()
        for found in document["spec"]["http"]:
            if is_our_route(found):
                assert found["match"]
                assert "mirror" not in found
                assert "fault" not in found
                pending.add(found["name"])
                continue
            entries = found.get("route", [])
            if len(entries) > 1:
                entries = [each for each in entries if each.get("weight")]
            hosts = {each["destination"]["host"].partition(".")[0] for each in entries if _is_there(each)}
            forked = {
                route.sandbox for route in routes for host in hosts if route.baseline.name in behind.get(host, [])
            }
            assert {name.rpartition("-")[0].removeprefix("pointsman-") for name in pending} == forked
            pending = set()
        assert not pending


def _is_there(destination: dict[str, Any]) -> bool:
    """Whether the Service has the port that the destination says."""
    host = destination["destination"]["host"].partition(".")[0]
    port = destination["destination"].get("port", {"number": 80})["number"]
    return port == 80 or host == "location"


# --- where requests go -----------------------------------------------------------------------------------------------

PLAIN_BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "uri": STRINGS,
        "method": st.just({"exact": "GET"}),
        "headers": st.just({"x": {"exact": "1"}}),
        "withoutHeaders": st.just({"x": {"exact": "1"}}),
        "port": st.sampled_from([80, 90]),
    },
)
MATCH = {"match": st.lists(PLAIN_BLOCKS, max_size=2), "timeout": st.sampled_from(["1s", "2s"])}
PLAIN_ROUTES = st.one_of(
    st.fixed_dictionaries({"route": st.lists(DESTINATIONS, min_size=1, max_size=1)}, optional=MATCH),
    st.fixed_dictionaries({"route": st.lists(DESTINATIONS, min_size=1, max_size=2)}, optional=MATCH),
    st.fixed_dictionaries({"redirect": st.just({"uri": "/"})}, optional={"match": MATCH["match"]}),
)
INNER = {"delegate": {"name": "inner"}}
REQUESTS = st.builds(
    Request,
    st.sampled_from(["/", "/a", "/a/1", "/b", "/c1"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([80, 90]),
    st.fixed_dictionaries(
        {},
        optional={
            "x": st.sampled_from(["1", "2"]),
            "baggage": st.sampled_from(
                ["sd-routing-key=k1", "a=b,sd-routing-key=k2", "sd-sandbox=k3", "sd-routing-key=none", "a=b"]
            ),
            "tracestate": st.sampled_from(["sd-routing-key=k1", "sd-sandbox=k2"]),
        },
    ),
)
READER = KeyReader(KeySettings())
PORTS = {"location": {80: 8081, 90: 8090}, "driver": {80: 8081}, "customer": {80: 8081}}


def key_of(request: Request) -> str | None:
    """As the proxy reads it."""
    lines = ([request.headers[name].encode()] if name in request.headers else [] for name in ("baggage", "tracestate"))
    key = READER.read(*lines).key
    return key.decode() if key is not None else None


def goes_to(route: Any, request: Request, routes: list[Route]) -> tuple[object, ...]:
    """Where the owner's route and the key should lead: a set of hosts or 503, and the owner's timeout."""
    entries = route.get("route", [])
    if len(entries) > 1:
        entries = [each for each in entries if each.get("weight")]
    found: set[object] = set()
    for each in entries:
        name = each["destination"]["host"].partition(".")[0]
        ports = PORTS.get(name, {})
        port = each["destination"].get("port", {}).get("number")
        if port is None:
            port = next(iter(ports)) if len(ports) == 1 else request.port
        workload_name = "driver" if name == "customer" else name
        forked = [r for r in routes if r.baseline.name == workload_name and r.routing_key == key_of(request)]
        if not forked or port not in ports:
            continue
        mapping = next((each for each in forked[0].mappings if each.port == ports[port]), None)
        hosts = {end.host for end in mapping.destinations if not end.host.startswith("10.")} if mapping else set()
        found.update(f"{host}.cluster.local" for host in hosts)
        if not hosts:
            found.add(503)
    if not found:
        return ("as its owner says", route.get("route"), route.get("redirect"), route.get("timeout"))
    return (503,) if 503 in found else (frozenset(found), route.get("timeout"))


def went_to(found: Any) -> tuple[object, ...]:
    if not is_our_route(found) or found["name"].startswith("pointsman-owner-"):
        return ("as its owner says", found.get("route"), found.get("redirect"), found.get("timeout"))
    if "directResponse" in found:
        return (found["directResponse"]["status"],)
    return (frozenset(each["destination"]["host"] for each in found["route"]), found.get("timeout"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(PLAIN_ROUTES | st.just(INNER), min_size=1, max_size=4),
    st.lists(PLAIN_ROUTES, min_size=1, max_size=2),
    keyed(),
    st.sampled_from(["delegate", "patch"]),
    st.lists(REQUESTS, min_size=1, max_size=10),
)
def test_requests_go_where_the_owners_route_and_the_key_lead(
    routes: list[Any], inner: list[Any], table: list[Route], own: str, requests: list[Request]
) -> None:
    """Against a plain reading of both: what the owner's list does with the request, and what the key makes of that."""
    listed = [{"name": "sandboxes", "delegate": {"name": "pointsman-a"}}, *routes] if own == "delegate" else routes
    owners = (document(*listed, name="a"), document(*inner, name="inner", hosts=None))
    mesh = Mesh(tuple(map(read_virtual_service, owners)), ENTRIES)
    rendered = render(mesh, table, Options(own=own))
    after = {each.name: each.document for each in applied(mesh, rendered).virtual_services}
    root: Any = after["a"]
    for request in requests:
        theirs = route_of(routes, {"inner": owners[1]}, request)
        found = route_of(root["spec"]["http"], after, request)
        assert (theirs is None) == (found is None)
        if theirs is not None:
            assert went_to(found) == goes_to(theirs, request, table)


DONE = {
    "timeout": st.just("1s"),
    "rewrite": st.sampled_from([{"uri": "/gone"}, {"authority": "location.hotrod"}]),
    "mirror": st.just({"host": "mirror"}),
    "retries": st.just({"attempts": 3}),
    "match": MATCH["match"],
}
ROUTED = st.fixed_dictionaries({"route": st.lists(DESTINATIONS, min_size=1, max_size=2)}, optional=DONE)


def behind_the_router(route: Any, request: Request) -> str | None:
    """The workload that a router is asked about: of the first destination that it knows."""
    entries = route.get("route", [])
    for each in [each for each in entries if each.get("weight")] if len(entries) > 1 else entries:
        name = each["destination"]["host"].partition(".")[0]
        ports = PORTS.get(name, {})
        port = each["destination"].get("port", {}).get("number") or (request.port if len(ports) > 1 else 80)
        if port in ports:
            return f"hotrod/Deployment/{'driver' if name == 'customer' else name}"
    return None


@settings(max_examples=150, deadline=None)
@given(st.lists(ROUTED, min_size=1, max_size=4), st.sampled_from(["delegate", "patch"]), REQUESTS)
def test_the_router_is_asked_once_and_what_owners_say_is_done_once(
    routes: list[Any], own: str, request: Request
) -> None:
    listed = [{"name": "sandboxes", "delegate": {"name": "pointsman-a"}}, *routes] if own == "delegate" else routes
    mesh = Mesh((read_virtual_service(document(*listed, name="a")),), ENTRIES)
    after = {
        each.name: each.document
        for each in applied(mesh, render(mesh, [], Options("router", ROUTER, own))).virtual_services
    }
    root: Any = after["a"]
    theirs, found = route_of(routes, {}, request), route_of(root["spec"]["http"], after, request)
    assert (theirs is None) == (found is None)
    if theirs is None or found is None:
        return
    workload = behind_the_router(theirs, request)
    kept = ("timeout", "retries")
    if key_of(request) is None and "sd-" not in str(request.headers):
        assert found["route"] == theirs["route"]
        return
    if workload is None:
        assert [found.get(name) for name in ("route", "rewrite", "mirror", *kept)] == [
            theirs.get(name) for name in ("route", "rewrite", "mirror", *kept)
        ]
        return
    assert [each["destination"]["host"] for each in found["route"]] == [ROUTER.host]
    assert "mirror" not in found
    assert found.get("timeout") == theirs.get("timeout")
    assert found["retries"] == theirs.get("retries", {"attempts": 0})
    headers = {**request.headers, "pointsman-hop": f"a/b/c,{workload};baseline"}
    if (mark := found.get("headers", {}).get("request", {}).get("set", {}).get("pointsman-route")) is not None:
        headers["pointsman-route"] = mark
    path = "/gone" if found.get("rewrite", {}).get("uri") else request.path
    back = route_of(root["spec"]["http"], after, Request(path, request.method, request.port, headers, "pointsman"))
    assert back is not None
    assert _plain(back["route"]) == _plain(theirs["route"])
    assert back.get("mirror") == theirs.get("mirror")
    assert not {"timeout", "rewrite"} & set(back)
    if "retries" in theirs:
        assert back["retries"] == {"attempts": 0}


def _plain(entries: list[Any]) -> list[Any]:
    return [{name: value for name, value in each.items() if name != "headers"} for each in entries]


@QUICK
@given(MESHES, st.sampled_from(["delegate", "patch"]), keyed())
def test_with_a_router_sandboxes_change_nothing(mesh: Mesh, own: str, routes: list[Route]) -> None:
    options = Options("router", ROUTER, own)
    assert render(mesh, routes, options).objects == render(mesh, [], options).objects
