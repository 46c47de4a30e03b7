"""A router through a real process: many workloads, chosen by Host, and what SPEC 4 says of each."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import websocket
from tests.support.client import ask, connected, get
from tests.support.load import loaded
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, run_router, service, table
from tests.support.waiting import until
from tests.support.websocket import EchoOrigin

TAGGED = f"baggage: sd-routing-key={KEY}"
DRIVER = "hotrod/Deployment/driver"


@pytest.fixture
def router(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    document = table(
        route(KEY, [sandbox.port]),
        route("notready1", []),
        route("otherport", [sandbox.port], port=9),
        services=[
            service("location", "location.hotrod", "location.hotrod.svc.cluster.local", upstream=baseline.port),
            service("driver", upstream=baseline.port, workload=DRIVER, port=8082),
        ],
        goneKeys=["gonekey"],
    )
    with run_router(tmp_path, document, flags=("--decision-header",)) as router:
        yield router


@pytest.mark.parametrize(
    ("host", "lines", "status", "origin", "decision"),
    [
        ("location", [], 200, "baseline", "baseline; reason=no_key"),
        ("location", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("location.hotrod.svc.cluster.local", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("LOCATION.Hotrod.:8081", [TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        ("driver", [TAGGED], 200, "baseline", "baseline; reason=not_forked"),
        ("location", ["baggage: sd-routing-key=gonekey"], 424, "", "none; reason=gone_key"),
        ("location", ["baggage: sd-routing-key=notready1"], 503, "", "sandbox=local-location; reason=no_destination"),
        ("location", ["baggage: sd-routing-key=otherport"], 503, "", "sandbox=local-location; reason=port_not_mapped"),
        ("location", ["baggage: sd-strict=1"], 424, "", "none; reason=no_key"),
        ("elsewhere", [], 421, "", "none; reason=unknown_host"),
        ("elsewhere", [TAGGED], 421, "", "none; reason=unknown_host"),
        ("location", [f"pointsman-hop: {WORKLOAD}"], 508, "", "none; reason=loop"),
        ("location", [f"pointsman-hop: {WORKLOAD};baseline"], 508, "", "none; reason=loop"),
        ("driver", [f"pointsman-hop: {WORKLOAD}, a/b/c;baseline"], 200, "baseline", "baseline; reason=no_key"),
    ],
)
def test_decisions(router: Proxy, host: str, lines: list[str], status: int, origin: str, decision: str) -> None:
    response = ask(router.port, get("/", *lines, host=host))
    assert (response.status, response.origin, response.decision) == (status, origin, decision)


def test_hops(router: Proxy, baseline: Origin, sandbox: Origin) -> None:
    """SPEC 4: what a router sends to the baseline is marked, so that no mesh rule sends it back."""
    ask(router.port, get("/", "pointsman-hop: a/b/c", host="driver"))
    assert baseline.requests[-1].values(b"pointsman-hop") == [b"a/b/c", f"{DRIVER};baseline".encode()]
    ask(router.port, get("/", TAGGED, host="location"))
    assert sandbox.requests[-1].values(b"pointsman-hop") == [WORKLOAD.encode()]


def test_requests_arrive_as_they_came(router: Proxy, baseline: Origin) -> None:
    ask(router.port, get("/p%20a?q=%zz", "X-b: 1", "x-A:  2", "X-b: 3", host="Location.hotrod.:8081"))
    received = baseline.requests[-1]
    assert received.target == b"/p%20a?q=%zz"
    assert received.values(b"host") == [b"Location.hotrod.:8081"]
    assert [name for name, _ in received.fields] == [b"Host", b"X-b", b"x-A", b"X-b", b"pointsman-hop"]


def test_connections_are_no_workloads(router: Proxy, baseline: Origin, sandbox: Origin) -> None:
    """Each request is decided alone, by its own host; one that goes nowhere ends nothing."""
    with connected(router.port) as client:
        for host, line, status, origin in [
            ("location", TAGGED, 200, "sandbox"),
            ("driver", TAGGED, 200, "baseline"),
            ("elsewhere", TAGGED, 421, ""),
            ("location", "X: y", 200, "baseline"),
            ("location", TAGGED, 200, "sandbox"),
        ]:
            response = client.ask(get("/", line, host=host))
            assert (response.status, response.origin) == (status, origin)


def test_absolute_form(router: Proxy, sandbox: Origin) -> None:
    response = ask(router.port, get("http://Location:8081/a", TAGGED, host="location:8081"))
    assert response.origin == "sandbox"
    assert ask(router.port, get("http://driver/", TAGGED, host="location")).status == 400
    assert ask(router.port, get("http://elsewhere/", TAGGED, host="elsewhere")).status == 421


def test_http10(router: Proxy, baseline: Origin) -> None:
    assert ask(router.port, b"GET / HTTP/1.0\r\n\r\n").status == 421
    assert ask(router.port, b"GET / HTTP/1.0\r\nHost: location\r\n\r\n").origin == "baseline"


def test_our_own_answers_say_so(router: Proxy) -> None:
    response = ask(router.port, get("/", host="elsewhere"))
    assert response.value("proxy-status") == 'pointsman; error=destination_not_found; details="unknown_host"'
    assert response.body == b"pointsman: unknown_host: no service of the router's table has this host\n"


def test_admin_pages(router: Proxy) -> None:
    ask(router.port, get("/", TAGGED, host="location"))
    ask(router.port, get("/", host="elsewhere"))
    assert router.metric('pointsman_requests_total{reason="unknown_host",route="none",sandbox="",status="4xx"}') == 1
    sample = 'pointsman_requests_total{reason="route",route="sandbox",sandbox="local-location",status="2xx"}'
    assert router.metric(sample) == 1
    services = router.state()["services"]
    assert isinstance(services, list)
    assert [each["hosts"][0] for each in services] == ["location", "driver"]
    _, page = router.page("/explain", "POST", f"Host: driver:80\r\n{TAGGED}\r\n".encode())
    found = json.loads(page)
    assert (found["workload"], found["port"], found["reason"]) == (DRIVER, 8082, "not_forked")
    _, page = router.page("/explain", "POST", b"Host: elsewhere\r\n")
    assert json.loads(page)["status"] == 421
    assert [line for line in router.lines if "for the services of the table" in line]


def test_several_entries_for_one_host(tmp_path: Path, sandbox: Origin) -> None:
    """SPEC 4: the authority's port picks by the upstream's."""
    plain, metrics = Origin("plain"), Origin("metrics")
    with running(plain, metrics):
        document = table(
            route(KEY, [sandbox.port], port=9090),
            services=[
                service("location", upstream=plain.port, port=8081),
                service("location", upstream=metrics.port, port=9090),
            ],
        )
        with run_router(tmp_path, document, flags=("--decision-header",)) as router:
            for port, origin in ((plain.port, "plain"), (metrics.port, "metrics")):
                assert ask(router.port, get("/", host=f"location:{port}")).origin == origin
            tagged = ask(router.port, get("/", TAGGED, host=f"location:{plain.port}"))
            assert (tagged.status, tagged.decision) == (503, "sandbox=local-location; reason=port_not_mapped")
            assert ask(router.port, get("/", TAGGED, host=f"location:{metrics.port}")).origin == "sandbox"
            for host in ("location", "location:80", "location:8081"):
                assert ask(router.port, get("/", TAGGED, host=host)).status == 421


def test_on_sandbox_failure_baseline_swaps_the_mark(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    sandbox.close()
    document = table(
        route(KEY, [sandbox.port]), route("notready1", []), services=[service("location", upstream=baseline.port)]
    )
    with run_router(tmp_path, document, flags=("--decision-header", "--on-sandbox-failure", "baseline")) as router:
        for key, reason in ((KEY, "sandbox_unreachable"), ("notready1", "no_destination")):
            response = ask(router.port, get("/", f"baggage: sd-routing-key={key}"))
            assert (response.origin, response.decision) == ("baseline", f"baseline; reason={reason}")
            assert baseline.requests[-1].values(b"pointsman-hop") == [f"{WORKLOAD};baseline".encode()]
            strict = ask(router.port, get("/", f"baggage: sd-routing-key={key},sd-strict=1"))
            assert (strict.status, strict.decision) == (503, f"sandbox=local-location; reason={reason}")


def test_authority_of_the_destination(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """CHECKLIST M2: a mesh behind the router goes by Host."""
    document = table(
        route(KEY, [sandbox.port], authority="destination"), services=[service("location", upstream=baseline.port)]
    )
    with run_router(tmp_path, document) as router:
        ask(router.port, get("/", TAGGED))
        assert sandbox.requests[-1].values(b"host") == [f"127.0.0.1:{sandbox.port}".encode()]
        ask(router.port, get("/"))
        assert baseline.requests[-1].values(b"host") == [b"location"]


def test_keys_and_routes_that_leave(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """Remembered for each workload by itself, keys for all."""
    services = [service("location", upstream=baseline.port), service("driver", upstream=baseline.port, workload=DRIVER)]
    before = table(
        route(KEY, [sandbox.port]),
        route(KEY, [sandbox.port], workload=DRIVER),
        route("leaves", [sandbox.port]),
        services=services,
    )
    after = table(route(KEY, [sandbox.port], workload=DRIVER), services=services, version="2")
    with run_router(tmp_path, before, flags=("--decision-header",)) as router:
        router.set_table(after)

        def decision(host: str, key: str, *, strict: bool = False) -> str:
            line = f"baggage: sd-routing-key={key}" + ",sd-strict=1" * strict
            return ask(router.port, get("/", line, host=host)).decision

        assert decision("location", KEY) == "baseline; reason=gone_route"
        assert decision("location", KEY, strict=True) == "none; reason=gone_route"
        assert decision("driver", KEY, strict=True) == "sandbox=local-location; reason=route"
        assert decision("location", "leaves") == decision("driver", "leaves") == "none; reason=gone_key"


# --- loops: routers and sidecars in a row --------------------------------------------------------------------------


def test_replicas_know_each_others_marks(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """A request that one replica sent to the baseline, and that a rule of the mesh leads to another, is a loop; so is
    one that comes from the workload's sandbox. Other workloads' marks are none of its business."""
    behind = tmp_path / "behind"
    behind.mkdir()
    services = [service("driver", upstream=baseline.port, workload=DRIVER), service("location", upstream=baseline.port)]
    with run_router(behind, table(services=services)) as second:
        document = table(
            route(KEY, [second.port]),
            services=[
                service("location", upstream=second.port),
                service("driver", upstream=second.port, workload="hotrod/Deployment/other"),
            ],
        )
        with run_router(tmp_path, document) as first:
            for line in ("X: y", TAGGED):
                response = ask(first.port, get("/", line, host="location"))
                assert (response.status, response.value("proxy-status").count('details="loop"')) == (508, 1)
            assert not baseline.requests
            assert ask(first.port, get("/", host="driver")).origin == "baseline"
            marks = [b"hotrod/Deployment/other;baseline", f"{DRIVER};baseline".encode()]
            assert baseline.requests[-1].values(b"pointsman-hop") == marks


def test_a_sidecar_behind_a_router(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """Marked for the baseline, a request passes the workload's own sidecar; of a sandbox's route it does not."""
    behind = tmp_path / "behind"
    behind.mkdir()
    with run_proxy(behind, baseline.port) as sidecar:
        document = table(
            route(KEY, [sandbox.port]),
            route("loops", [sidecar.port]),
            services=[service("location", upstream=sidecar.port)],
        )
        with run_router(tmp_path, document) as router:
            assert ask(router.port, get("/")).origin == "baseline"
            assert ask(router.port, get("/", TAGGED)).origin == "sandbox"
            assert ask(router.port, get("/", "baggage: sd-routing-key=loops")).status == 508


def test_an_upstream_that_is_the_router_itself(tmp_path: Path) -> None:
    port = _free_port()
    document = table(services=[service("location", upstream=port)])
    with run_router(tmp_path, document, flags=("--listen", f"127.0.0.1:{port}")) as router:
        response = ask(router.port, get("/"))
        assert (response.status, "destination_refused" in response.value("proxy-status")) == (503, True)


def test_destination_allow_bounds_upstreams_too(tmp_path: Path, baseline: Origin) -> None:
    document = table(services=[service("location", upstream=baseline.port)])
    with run_router(tmp_path, document, flags=("--destination-allow", "10.0.0.0/8")) as router:
        response = ask(router.port, get("/"))
        assert (response.status, "destination_refused" in response.value("proxy-status")) == (503, True)
    assert not baseline.requests


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)
        return port


# --- who may call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("believed", "xfcc", "host", "status"),
    [
        ("127.0.0.0/8", "By=a;URI=spiffe://cluster.local/ns/hotrod/sa/web", "location", 200),
        ("127.0.0.0/8", "By=a;URI=spiffe://cluster.local/ns/other/sa/web", "location", 403),
        ("127.0.0.0/8", "URI=spiffe://cluster.local/ns/hotrod/sa/web,URI=spiffe://x/y", "location", 403),
        ("127.0.0.0/8", "", "location", 403),
        ("10.0.0.0/8", "By=a;URI=spiffe://cluster.local/ns/hotrod/sa/web", "location", 403),
        ("127.0.0.0/8", "", "driver", 200),
    ],
)
def test_callers(tmp_path: Path, baseline: Origin, believed: str, xfcc: str, host: str, status: int) -> None:
    """CHECKLIST M4: what is called sees the router's identity, so the router asks for the caller's."""
    callers = ["cluster.local/ns/hotrod/sa/web", "*/ops"]
    document = table(
        services=[
            service("location", upstream=baseline.port, callers=callers),
            service("driver", upstream=baseline.port, workload=DRIVER),
        ]
    )
    with run_router(tmp_path, document, flags=("--identity-from", believed, "--decision-header")) as router:
        lines = [f"X-Forwarded-Client-Cert: {xfcc}"] if xfcc else []
        for _ in range(2):
            response = ask(router.port, get("/", *lines, host=host))
            assert response.status == status
        if status == 403:
            assert response.decision == "none; reason=caller_not_allowed"
            assert 'error=http_request_denied; details="caller_not_allowed"' in response.value("proxy-status")
            assert not baseline.requests
        else:
            assert baseline.requests[-1].values(b"x-forwarded-client-cert") == [line[25:].encode() for line in lines]


# --- tables that change, tunnels, drain ----------------------------------------------------------------------------


def test_many_changes_under_load(tmp_path: Path) -> None:
    """No request is lost, each is answered by one table: hosts come, change their upstream, and their routes move."""
    names = ("base1", "base2", "box1", "box2")
    origins = {name: Origin(name) for name in names}
    with running(*origins.values()):

        def document(number: int) -> dict[str, object]:
            which = number % 2 + 1
            base, box = origins[f"base{which}"].port, origins[f"box{which}"].port
            return table(
                route(KEY, [box], sandbox=f"box{which}"),
                services=[
                    service("location", upstream=base),
                    service("driver", upstream=origins["base1"].port, workload=DRIVER),
                    *([service("sometimes", upstream=base)] * (which - 1)),
                ],
                version=str(number),
            )

        requests = {
            "location": get("/"),
            "location tagged": get("/", TAGGED),
            "driver": get("/", TAGGED, host="driver"),
            "sometimes": get("/", host="sometimes"),
        }
        allowed = {
            "location": {(200, "base1"), (200, "base2")},
            "location tagged": {(200, "box1"), (200, "box2")},
            "driver": {(200, "base1")},
            "sometimes": {(421, ""), (200, "base2")},
        }
        with run_router(tmp_path, document(0)) as router:
            with loaded(router.port, requests) as load:
                for number in range(1, 21):
                    router.set_table(document(number))
            answers = load.answers()
        assert [answer for answer in answers if answer.response is None] == []
        for answer in answers:
            assert answer.response is not None
            assert (answer.response.status, answer.response.origin) in allowed[answer.name]
        seen = {(answer.name, answer.response.origin) for answer in answers if answer.response is not None}
        assert {origin for name, origin in seen if name == "location"} == {"base1", "base2"}


def test_idle_connections_to_what_left_close(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    first = table(route(KEY, [sandbox.port]), services=[service("location", upstream=baseline.port)])
    with run_router(tmp_path, first) as router:
        for line in ("X: y", TAGGED):
            ask(router.port, get("/", line))
        assert router.metric("pointsman_upstream_connections") == 2
        router.set_table(table(services=[service("location", upstream=sandbox.port)], version="2"))
        until(lambda: router.metric("pointsman_upstream_connections") == 1)
        ask(router.port, get("/"))
        assert (sandbox.connections, router.metric("pointsman_upstream_connections")) == (1, 1)


def test_tunnels(tmp_path: Path) -> None:
    """WebSocket: routed like any request; a tunnel ends when its host, or its route, leads elsewhere."""
    base, other, box = EchoOrigin("baseline"), EchoOrigin("other"), EchoOrigin("sandbox")
    with running(base, other, box):
        services = [service("location", upstream=base.port)]
        first = table(route(KEY, [box.port], authority="destination"), services=services)
        with run_router(tmp_path, first, flags=("--drain-timeout", "0.5")) as router:
            plain = websocket.connect(router.port)
            tagged = websocket.connect(router.port, ("baggage", f"sd-routing-key={KEY}"))
            with plain.socket, tagged.socket:
                assert plain.response.headers["x-origin"] == "baseline"
                assert base.requests[0].headers["pointsman-hop"] == f"{WORKLOAD};baseline"
                assert tagged.response.headers["x-origin"] == "sandbox"
                assert box.requests[0].headers["pointsman-hop"] == WORKLOAD
                until(lambda: router.metric("pointsman_tunnels") == 2)
                # the baseline moves, the sandbox stays
                moved = [service("location", upstream=other.port)]
                router.set_table(table(route(KEY, [box.port], authority="destination"), services=moved, version="2"))
                until(lambda: router.metric("pointsman_tunnels") == 1)
                tagged.send(websocket.Frame(websocket.Opcode.TEXT, b"still here"))
                assert tagged.hear(1) == [("TEXT", True, b"still here")]
                router.set_table(table(route(KEY, [box.port]), version="3"))  # nobody's host any more
                until(lambda: router.metric("pointsman_tunnels") == 0)
            with pytest.raises(ConnectionError, match="421"):
                websocket.connect(router.port)


def test_drain(tmp_path: Path, baseline: Origin) -> None:
    with run_router(tmp_path, table(services=[service("location", upstream=baseline.port)])) as router:
        assert ask(router.port, get("/")).status == 200
        assert router.page("/readyz")[0] == 200
        assert router.stop(signal.SIGTERM) == 0


def test_a_table_without_services(tmp_path: Path) -> None:
    with run_router(tmp_path, table()) as router:
        assert ask(router.port, get("/")).status == 421
        router.table_path.write_text("{")
        until(lambda: router.state()["stale"])
        assert ask(router.port, get("/")).status == 421
