"""The translation of VirtualServices against what istiod's own tests and documents say, and on a real Envoy.

Each expectation names where istio/istio says so (files under pilot/pkg/, see `tests.support.istiod`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, Response, get
from tests.support.istiod import Backend, Caller, Service, naming, route_configuration, run_mesh, virtual_hosts
from tests.support.istiod.actions import cluster
from tests.support.pipelined import answers
from tests.support.wire import WireOrigin

Document = dict[str, Any]
LOCATION = "location.hotrod.svc.cluster.local"
SERVICES = [Service(LOCATION), Service("driver.hotrod.svc.cluster.local"), Service("other.elsewhere.svc.cluster.local")]
CALLER = Caller("hotrod", {"app": "frontend"})


def to(host: str, **fields: Any) -> Document:
    return {**fields, "route": [{"destination": {"host": host}}]}


def vs(*http: Document, name: str = "location", created: int = 1, namespace: str = "hotrod", **spec: Any) -> Document:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-01T00:00:{created:02}Z"}
    return {"metadata": metadata, "spec": {"hosts": ["location"], "http": list(http), **spec}}


def hosts(*documents: Document, port: int = 80, caller: Caller = CALLER) -> dict[str, list[str]]:
    """Virtual host -> its routes' clusters."""
    return {
        host["name"]: [route.get("route", {}).get("cluster", "-") for route in host["routes"]]
        for host in virtual_hosts(documents, SERVICES, port, caller)
    }


def named(host: str, port: int = 80) -> str:
    return cluster({"host": f"{host}.hotrod.svc.cluster.local", "port": {"number": port}}, 0)


def clusters(*http: Document, port: int = 80, caller: Caller = CALLER) -> list[str]:
    services = [Service(LOCATION, (80, 8080))]
    (host,) = virtual_hosts([vs(*http)], services, port, caller)
    return [route["route"]["cluster"] for route in host["routes"]]


# --- which VirtualService, which names ---


def test_services_without_one_get_a_default_route() -> None:
    """(route.go: buildSidecarVirtualHostForService)"""
    assert hosts()[f"{LOCATION}:80"] == [named("location")]


def test_of_two_for_one_host_the_older_has_it() -> None:
    """(config.go: configCompareByCreationTime; httproute.go: duplicates get no virtual host)"""
    young, old = vs(to("young"), name="a", created=2), vs(to("old"), name="b", created=1)
    assert hosts(young, old)[f"{LOCATION}:80"] == [named("old")]
    young["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"]
    assert hosts(old, young)[f"{LOCATION}:80"] == [named("young")]  # then the name decides


def test_private_ones_come_before_public_ones() -> None:
    """(vs.go: SelectVirtualServices)"""
    old, private = vs(to("old"), created=1), vs(to("private"), name="b", created=2, exportTo=["."])
    assert hosts(old, private)[f"{LOCATION}:80"] == [named("private")]
    assert hosts(old, private, caller=Caller("elsewhere"))[f"{LOCATION}:80"] == [named("old")]


def test_others_see_what_is_exported_to_them() -> None:
    """(vsctl.go: convertExportToSet)"""
    elsewhere = Caller("elsewhere")
    for targets, seen in ((["."], False), (["elsewhere"], True), (["*"], True), (["hotrod"], False)):
        found = hosts(vs(to("mine"), exportTo=targets), caller=elsewhere)[f"{LOCATION}:80"]
        assert found == [named("mine" if seen else "location")]


def test_gateways_without_the_mesh_are_not_for_sidecars() -> None:
    """(push.go: initVirtualServices, index by gateway)"""
    assert hosts(vs(to("mine"), gateways=["ingress"]))[f"{LOCATION}:80"] == [named("location")]
    assert hosts(vs(to("mine"), gateways=["ingress", "mesh"]))[f"{LOCATION}:80"] == [named("mine")]


def test_wildcards_take_what_nobody_names() -> None:
    """(route.go: separateVSHostsAndServices; sidecar.go: computeWildcardHostVirtualServiceIndex)"""
    wide = vs(to("wide"), name="a", hosts=["*.svc.cluster.local"])
    narrow = vs(to("narrow"), name="b", created=2, hosts=["*.hotrod.svc.cluster.local"])
    exact = vs(to("exact"), name="c", created=3)
    assert hosts(wide, narrow, exact) == {
        f"{LOCATION}:80": [named("exact")],
        "driver.hotrod.svc.cluster.local:80": [named("narrow")],
        "other.elsewhere.svc.cluster.local:80": [named("wide")],
    }


def test_a_service_is_called_by_its_short_names() -> None:
    """(httproute.go: generateAltVirtualHostsForKubernetesService)"""
    (mine, *_), (theirs, *_) = (virtual_hosts([], [SERVICES[0]], 80, Caller(one)) for one in ("hotrod", "elsewhere"))
    assert mine["domains"] == [LOCATION, f"{LOCATION}.", "location", "location.hotrod.svc", "location.hotrod"]
    assert theirs["domains"] == [LOCATION, f"{LOCATION}.", "location.hotrod.svc", "location.hotrod"]


def test_hosts_that_are_no_services_stand_on_port_80_only() -> None:
    """(route.go: buildSidecarVirtualHostsForVirtualService, httproute.go: selectVirtualServices)"""
    outside = vs(to("location"), hosts=["api.example.com"])
    assert hosts(outside)["api.example.com:80"] == [named("location")]
    assert hosts(outside, port=8080) == {}


# --- routes ---


def test_every_block_is_a_route_and_what_is_behind_a_catch_all_is_left_out() -> None:
    """(route.go: BuildHTTPRoutesForVirtualService, IsCatchAllRoute)"""
    a, b = {"uri": {"prefix": "/a"}}, {"headers": {"x": {"exact": "1"}}}
    assert clusters(to("one", match=[a, b]), to("two"), to("three")) == [named("one")] * 2 + [named("two")]
    assert clusters(to("one", match=[a, {"uri": {"prefix": "/"}}, b]), to("two")) == [named("one")] * 2


def test_who_calls_where_is_decided_by_istiod() -> None:
    """(route.go: sourceMatchHTTP, TranslateRoute)"""
    mine, others = {"sourceLabels": {"app": "frontend"}}, {"sourceLabels": {"app": "backend"}}
    for block, applies in [
        (mine, True),
        (others, False),
        ({"sourceNamespace": "hotrod"}, True),
        ({"sourceNamespace": "elsewhere"}, False),
        ({"gateways": ["mesh"], **others}, True),  # gateways set labels aside
        ({"gateways": ["ingress"], **mine}, False),
        ({"port": 80}, True),
        ({"port": 8080}, False),
    ]:
        expected = [named("one")] if applies else [named("two")]
        assert clusters(to("one", match=[block]), to("two"))[:1] == expected, block


def test_destinations_name_clusters() -> None:
    """(route.go: GetDestinationCluster)"""
    assert clusters({"route": [{"destination": {"host": "v2", "subset": "s", "port": {"number": 99}}}]}) == [
        "outbound|99|s|v2.hotrod.svc.cluster.local"
    ]
    assert clusters(to("v2.elsewhere.svc.cluster.local"), port=8080) == [
        "outbound|8080||v2.elsewhere.svc.cluster.local"
    ]


# --- delegates ---


def merged(root: Document, *own: Document, **spec: Any) -> list[Document]:
    """The routes that a root's route and a delegate's list come to."""
    delegate = {"metadata": {"name": "d", "namespace": "other"}, "spec": {"http": list(own), **spec}}
    root = {**root, "delegate": {"name": "d", "namespace": "other"}}
    (host,) = virtual_hosts([vs(root, to("rest")), delegate], [SERVICES[0]], 80, CALLER)
    return list(host["routes"])


def test_a_delegates_matches_are_anded_with_the_roots() -> None:
    """(vs.go: mergeHTTPMatchRequests)"""
    routes = merged(
        {"match": [{"uri": {"prefix": "/a"}}], "timeout": "3s", "name": "root"},
        to("x", match=[{"headers": {"y": {"regex": "1"}}, "uri": {"prefix": "/a/b"}}], name="own"),
        to("z"),
    )
    assert [(route["name"], route["match"]["prefix"], route["route"]["timeout"]) for route in routes[:2]] == [
        ("root-own", "/a/b", "3s"),
        ("root", "/a", "3s"),
    ]
    assert [header["name"] for header in routes[0]["match"]["headers"]] == ["y"]
    assert routes[0]["route"]["cluster"] == "outbound|80||x.other.svc.cluster.local"  # short names are the delegate's
    assert routes[2]["route"]["cluster"] == named("rest")


@pytest.mark.parametrize(
    ("root", "own"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}),
        ({"headers": {"x": {"regex": "1"}}}, {"headers": {"x": {"regex": "1"}}}),
        ({"port": 80}, {"port": 81}),
        ({"ignoreUriCase": True}, {}),
    ],
    ids=str,
)
def test_a_route_that_contradicts_its_root_is_left_out(root: Document, own: Document) -> None:
    """(vs.go: hasConflict, stringMatchConflict)"""
    assert [route["route"]["cluster"] for route in merged({"match": [root]}, to("x", match=[own]))] == [named("rest")]


def test_a_delegate_that_is_not_exported_is_not_there() -> None:
    """(vsctl.go: mergeVirtualServices)"""
    own = to("x", match=[{"headers": {"y": {"exact": "1"}}}])
    assert len(merged({}, own)) == 2
    assert len(merged({}, own, exportTo=["."])) == 1


# --- on Envoy ---

MATCHES: list[tuple[Document, bytes, list[tuple[bytes, bytes]], bool]] = [
    ({"uri": {"exact": "/a"}}, b"/a", [], True),
    ({"uri": {"exact": "/a"}}, b"/a/", [], False),
    ({"uri": {"prefix": "/a"}}, b"/ab?c", [], True),
    ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, b"/ab", [], True),
    ({"uri": {"regex": "/[ab]"}}, b"/b", [], True),
    ({"uri": {"regex": "/[ab]"}}, b"/bb", [], False),
    ({"method": {"exact": "GET"}}, b"/", [], True),
    ({"method": {"exact": "PUT"}}, b"/", [], False),
    ({"authority": {"prefix": "loc"}}, b"/", [], True),
    ({"authority": {"exact": "driver"}}, b"/", [], False),
    ({"scheme": {"exact": "http"}}, b"/", [], True),
    ({"queryParams": {"q": {"exact": "1"}}}, b"/?q=1", [], True),
    ({"queryParams": {"q": {"regex": "*"}}}, b"/?p", [], False),
    ({"headers": {"x": {}}}, b"/", [(b"x", b"")], True),
    ({"headers": {"x": {"regex": "*"}}}, b"/", [], False),
    ({"headers": {"x": {"prefix": "1"}}}, b"/", [(b"X", b"12")], True),
    ({"withoutHeaders": {"x": {}}}, b"/", [], True),
    ({"withoutHeaders": {"x": {}}}, b"/", [(b"x", b"1")], False),
    ({"withoutHeaders": {"x": {"exact": "1"}}}, b"/", [], True),
    ({"withoutHeaders": {"x": {"exact": "1"}}}, b"/", [(b"x", b"2")], True),
    ({"withoutHeaders": {"x": {"exact": "1"}}}, b"/", [(b"x", b"1")], False),
    ({"headers": {"x": {"regex": "1.*"}}, "withoutHeaders": {"x": {"exact": "12"}}}, b"/", [(b"x", b"13")], True),
    ({"headers": {"x": {"regex": "1.*"}}, "withoutHeaders": {"x": {"exact": "12"}}}, b"/", [(b"x", b"12")], False),
]


def test_matches_on_envoy(tmp_path: Path) -> None:
    configurations = [
        naming(route_configuration([vs(to("yes", match=[block]), to("no"))], SERVICES, 80, CALLER))
        for block, *_ in MATCHES
    ]
    with run_mesh(tmp_path, configurations) as ports:
        for (block, target, fields, matches), port in zip(MATCHES, ports, strict=True):
            ((status, body),) = answers(port, b"location:80", [fields], target)
            assert (status, body.decode()) == (200, named("yes" if matches else "no")), (block, target, fields)


EVERYTHING: list[Document] = [
    to("location", match=[{"uri": {"prefix": "/old"}}], rewrite={"uri": "/new", "authority": "location.example"}),
    to(
        "location",
        match=[{"uri": {"prefix": "/v1/"}}],
        rewrite={"uriRegexRewrite": {"match": "^/v1/(.*)$", "rewrite": r"/v2/\1"}},
    ),
    {"match": [{"uri": {"prefix": "/gone"}}], "redirect": {"uri": "/here", "authority": "x", "redirectCode": 302}},
    {"match": [{"uri": {"prefix": "/teapot"}}], "directResponse": {"status": 418, "body": {"string": "short"}}},
    to(
        "location",
        match=[{"uri": {"prefix": "/broken"}}],
        fault={"abort": {"httpStatus": 555, "percentage": {"value": 100}}},
    ),
    to(
        "location",
        match=[{"uri": {"prefix": "/headers"}}],
        headers={"request": {"set": {"x-set": "1", "host": "set.example"}, "remove": ["x-away"]}},
        timeout="5s",
        retries={"attempts": 1, "perTryTimeout": "2s", "retryOn": "503,connect-failure", "retryRemoteLocalities": True},
    ),
    {
        "match": [{"uri": {"prefix": "/weights"}}],
        "route": [
            {"destination": {"host": "nowhere"}, "weight": 0},
            {"destination": {"host": "location"}, "weight": 60, "headers": {"request": {"set": {"x-weight": "1"}}}},
            {"destination": {"host": "location"}, "weight": 40, "headers": {"request": {"set": {"x-weight": "1"}}}},
        ],
        "mirror": {"host": "nowhere"},
        "mirrorPercentage": {"value": 0.1},
    },
]


def test_everything_that_a_route_does_on_envoy(tmp_path: Path) -> None:
    configuration = route_configuration([vs(*EVERYTHING)], SERVICES, 80, CALLER)
    with (
        contextlib.closing(WireOrigin()) as origin,
        run_mesh(tmp_path, [configuration], {named("location"): Backend(origin.port)}) as (port,),
    ):

        def ask(target: str, *lines: str, host: str = "location") -> Response:
            with contextlib.closing(Client(port)) as client:
                return client.ask(get(target, *lines, host=host))

        assert [ask(target).status for target in ("/old/x", "/v1/x")] == [200, 200]
        redirected = ask("/gone")
        assert (redirected.status, redirected.value("location")) == (302, "http://x/here")
        assert [ask(target).status for target in ("/teapot", "/broken")] == [418, 555]
        assert [ask("/headers", "x-away: 1").status, ask("/weights").status] == [200, 200]
        assert ask("/unknown", host="nobody").status == 502
        old, regex, headers, weights = origin.take()
    assert (old.target, dict(old.fields)[b"host"]) == (b"/new/x", b"location.example")
    assert regex.target == b"/v2/x"
    fields = dict(headers.fields)
    assert (fields[b"x-set"], fields[b"host"], b"x-away" in fields) == (b"1", b"set.example", False)
    assert dict(weights.fields)[b"x-weight"] == b"1"
