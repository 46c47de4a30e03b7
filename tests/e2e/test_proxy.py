"""The main job through a real process: requests go where SPEC 4 says, as they came, and say why."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import ask, connected, get
from tests.support.origin import Origin, RawOrigin, Received, running, says
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, table

TAGGED = f"baggage: sd-routing-key={KEY}"


@pytest.fixture
def proxy(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    document = table(
        route(KEY, [sandbox.port]),
        route("notready1", []),
        route("otherport", [sandbox.port], port=9),
        route("elsewhere", [sandbox.port], workload="hotrod/Deployment/driver"),
        liveKeys=["livekey"],
        goneKeys=["gonekey"],
        goneRoutes=[
            {"routingKey": "livekey", "baseline": {"kind": "Deployment", "namespace": "hotrod", "name": "location"}}
        ],
    )
    with run_proxy(tmp_path, baseline.port, document=document, flags=("--decision-header",)) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("lines", "status", "origin", "decision"),
    [
        ([], 200, "baseline", "baseline; reason=no_key"),
        ([TAGGED], 200, "sandbox", "sandbox=local-location; reason=route"),
        (["tracestate: v=1,sd-routing-key=" + KEY], 200, "sandbox", "sandbox=local-location; reason=route"),
        (["baggage: a=b", "baggage: sd-sandbox=" + KEY], 200, "sandbox", "sandbox=local-location; reason=route"),
        (["baggage: sd-routing-key=%zz"], 200, "baseline", "baseline; reason=invalid_key"),
        (["baggage: sd-routing-key=nobody"], 200, "baseline", "baseline; reason=unknown_key"),
        (["baggage: sd-routing-key=elsewhere"], 200, "baseline", "baseline; reason=not_forked"),
        (["baggage: sd-routing-key=livekey"], 200, "baseline", "baseline; reason=gone_route"),
        (["baggage: sd-routing-key=livekey,sd-strict=1"], 424, "", "none; reason=gone_route"),
        (["baggage: sd-routing-key=gonekey"], 424, "", "none; reason=gone_key"),
        (["baggage: sd-routing-key=notready1"], 503, "", "sandbox=local-location; reason=no_destination"),
        (["baggage: sd-routing-key=otherport"], 503, "", "sandbox=local-location; reason=port_not_mapped"),
        (["baggage: sd-strict=1"], 424, "", "none; reason=no_key"),
        (["baggage: sd-routing-key=nobody,sd-strict=1"], 424, "", "none; reason=unknown_key"),
        (
            [f"baggage: sd-routing-key=x,sd-routing-key={KEY}"],
            200,
            "sandbox",
            "sandbox=local-location; reason=route; note=ambiguous_key",
        ),
        ([f"baggage: sd-routing-key=x,sd-routing-key={KEY},sd-strict=1"], 424, "", "none; reason=ambiguous_key"),
        ([f"pointsman-hop: {WORKLOAD}"], 508, "", "none; reason=loop"),
        ([f"pointsman-hop: {WORKLOAD};baseline"], 200, "baseline", "baseline; reason=no_key"),
        (["x-sd-routing-key: " + KEY], 200, "baseline", "baseline; reason=no_key"),
        ([f"baggage: x-sd-routing-key={KEY}"], 200, "baseline", "baseline; reason=no_key"),
        ([f"baggage: sd-routing-key={KEY}-x"], 200, "baseline", "baseline; reason=unknown_key"),
        ([f"baggage: other=1;sd-routing-key={KEY}"], 200, "baseline", "baseline; reason=no_key"),
    ],
)
def test_decisions(proxy: Proxy, lines: list[str], status: int, origin: str, decision: str) -> None:
    """SPEC 4, row by row; every answer of our own says so."""
    response = ask(proxy.port, get("/", *lines))
    assert (response.status, response.origin, response.decision) == (status, origin, decision)
    reason = decision.partition("reason=")[2].partition(";")[0]
    if status == 200:
        assert not response.value("proxy-status")
    else:
        assert response.value("proxy-status").startswith("pointsman; error=")
        assert f'details="{reason}' in response.value("proxy-status")


def test_requests_arrive_as_they_came(proxy: Proxy, baseline: Origin, sandbox: Origin) -> None:
    lines = ["X-b: 1", "x-A:  2", "X-b: 3", "Cookie: a=b; c", "TraceParent: 00-x-y-01"]
    for origin, routing in ((baseline, "BAGGAGE:  user=1 "), (sandbox, TAGGED)):
        ask(proxy.port, get("/p%20a?q=%zz&x", *lines, routing, host="Location.Hotrod:8081"))
        received = origin.requests[-1]
        assert received.target == b"/p%20a?q=%zz&x"
        assert received.values(b"host") == [b"Location.Hotrod:8081"]
        names = [name for name, _ in received.fields]
        assert names[:6] == [b"Host", b"X-b", b"x-A", b"X-b", b"Cookie", b"TraceParent"]
        hops = [] if origin is baseline else [WORKLOAD.encode()]
        assert received.values(b"pointsman-hop") == hops
        assert not received.values(b"via")
        assert not received.values(b"x-forwarded-for")


def test_several_lines_are_joined(proxy: Proxy, baseline: Origin) -> None:
    ask(proxy.port, get("/", "baggage: a=1, ,b=2", "X: y", "Baggage: c=3;p", "tracestate: v=1", "tracestate: ,w=2"))
    received = baseline.requests[-1]
    assert received.values(b"baggage") == [b"a=1,b=2,c=3;p"]
    assert received.values(b"tracestate") == [b"v=1,w=2"]
    assert [name for name, _ in received.fields] == [b"Host", b"baggage", b"X", b"tracestate"]


def test_long_lines_stay_as_they_are(proxy: Proxy, baseline: Origin) -> None:
    """CHECKLIST 43: 8192 bytes pass; beyond, nothing is joined and the route is the same."""
    long = "k=" + "v" * 6000
    ask(proxy.port, get("/", f"baggage: {long}", f"baggage: {long}"))
    assert baseline.requests[-1].values(b"baggage") == [long.encode()] * 2
    assert proxy.metric("pointsman_lines_not_joined_total") == 1
    response = ask(proxy.port, get("/", f"baggage: {long}", f"baggage: {long},sd-routing-key={KEY}"))
    assert response.origin == "sandbox"


@pytest.mark.parametrize("routing", ["X: y", TAGGED])
def test_bodies(proxy: Proxy, baseline: Origin, sandbox: Origin, routing: str) -> None:
    origin = sandbox if routing == TAGGED else baseline
    with connected(proxy.port) as client:
        client.send(get("/", routing, "Content-Length: 5", method="POST"), b"he", b"llo")
        assert client.read().status == 200
        assert origin.requests[-1].body == b"hello"
        client.send(get("/", routing, "Transfer-Encoding: chunked", method="PUT"), b"3;x=y\r\nabc\r\n", b"0\r\n")
        client.send(b"X-Sum: 7\r\nbaggage: sd-routing-key=evil\r\n\r\n")
        assert client.read().status == 200
        received = origin.requests[-1]
        assert (received.body, received.trailers) == (b"abc", [(b"X-Sum", b"7")])
        assert received.values(b"transfer-encoding") == [b"chunked"]


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_large_bodies_both_ways(tmp_path: Path, size: int) -> None:
    def echo(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, [], received.body

    origin = Origin("baseline", echo)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        for _ in range(2):
            sending = threading.Thread(
                target=client.send, args=(get("/", f"Content-Length: {size}", method="POST"), body), daemon=True
            )
            sending.start()
            assert client.read().body == body
            sending.join(10)


def test_responses_pass_as_they_are(tmp_path: Path) -> None:
    head = (
        b"HTTP/1.1 207 Odd Reason\r\nSERVER: x\r\nset-cookie: a\r\nSet-Cookie: b\r\nX:\t1\r\nContent-Length: 2\r\n\r\n"
    )
    origin = RawOrigin(says(head + b"ok", then="wait"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        client.send(get())
        data = b""
        while len(data) < len(head) + 2:
            data += client.socket.recv(4096)
        assert data == head + b"ok"


def test_the_decision_header_replaces_an_upstreams_own(tmp_path: Path) -> None:
    origin = Origin("baseline", lambda _: (200, [("Pointsman-Decision", "sandbox=x; reason=route")], b""))
    with running(origin):
        with run_proxy(tmp_path, origin.port, flags=("--decision-header",)) as proxy:
            assert ask(proxy.port, get()).decision == "baseline; reason=no_key"
        with run_proxy(tmp_path, origin.port) as proxy:
            assert ask(proxy.port, get()).decision == "sandbox=x; reason=route"


def test_each_request_is_decided_alone(proxy: Proxy) -> None:
    """One connection, pipelined: what it carried before does not matter."""
    with connected(proxy.port) as client:
        client.send(
            get("/1") + get("/2", TAGGED) + get("/3") + get("/4", "baggage: sd-routing-key=gonekey") + get("/5", TAGGED)
        )
        responses = [client.read() for _ in range(5)]
    assert [response.origin for response in responses] == ["baseline", "sandbox", "baseline", "", "sandbox"]


def test_upstream_connections_are_reused(proxy: Proxy, baseline: Origin) -> None:
    for _ in range(20):
        assert ask(proxy.port, get()).status == 200
    assert baseline.connections == 1


def test_policies(tmp_path: Path, baseline: Origin) -> None:
    flags = ("--unknown-key", "reject", "--gone-key", "baseline", "--decision-header", "--key-name", "my-key")
    flags += ("--key-header", "X-Route")
    with run_proxy(tmp_path, baseline.port, document=table(goneKeys=["gone"]), flags=flags) as proxy:
        assert ask(proxy.port, get("/", "baggage: my-key=nobody")).status == 424
        assert ask(proxy.port, get("/", "x-route: nobody")).status == 424
        assert ask(proxy.port, get("/", "baggage: sd-routing-key=nobody")).decision == "baseline; reason=no_key"
        assert ask(proxy.port, get("/", "baggage: my-key=gone")).decision == "baseline; reason=gone_key"
        assert ask(proxy.port, get("/", "baggage: my-key=gone,sd-strict=1")).status == 424


def test_a_dead_sandbox_is_never_the_baseline(proxy: Proxy, sandbox: Origin, baseline: Origin) -> None:
    sandbox.close()
    response = ask(proxy.port, get("/", TAGGED))
    assert (response.status, response.decision) == (503, "sandbox=local-location; reason=sandbox_unreachable")
    details = f'details="sandbox_unreachable: local-location, 127.0.0.1:{sandbox.port}"'
    assert response.value("proxy-status") == f"pointsman; error=connection_refused; {details}"
    assert not baseline.requests


def test_on_sandbox_failure_baseline(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    sandbox.close()
    document = table(route(KEY, [sandbox.port]), route("notready1", []))
    flags = ("--on-sandbox-failure", "baseline", "--decision-header")
    with run_proxy(tmp_path, baseline.port, document=document, flags=flags) as proxy:
        response = ask(proxy.port, get("/", TAGGED, "Content-Length: 2", method="POST"), b"hi")
        assert (response.origin, response.decision) == ("baseline", "baseline; reason=sandbox_unreachable")
        assert baseline.requests[-1].body == b"hi"
        assert not baseline.requests[-1].values(b"pointsman-hop")
        response = ask(proxy.port, get("/", "baggage: sd-routing-key=notready1"))
        assert (response.origin, response.decision) == ("baseline", "baseline; reason=no_destination")
        for key, status in ((KEY, 503), ("notready1", 503)):
            assert ask(proxy.port, get("/", f"baggage: sd-routing-key={key},sd-strict=1")).status == status


def test_all_destinations_are_tried(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    dead = Origin("dead")
    dead.close()
    with run_proxy(tmp_path, baseline.port, document=table(route(KEY, [dead.port, sandbox.port]))) as proxy:
        assert [ask(proxy.port, get("/", TAGGED)).origin for _ in range(4)] == ["sandbox"] * 4


def test_authority_destination(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    document = table(route(KEY, [sandbox.port], authority="destination"))
    with run_proxy(tmp_path, baseline.port, document=document) as proxy:
        ask(proxy.port, get("/", TAGGED, host="location"))
        assert sandbox.requests[-1].values(b"host") == [f"127.0.0.1:{sandbox.port}".encode()]


def test_several_ports(tmp_path: Path, sandbox: Origin) -> None:
    first, second = Origin("first"), Origin("second")
    mappings = [
        {"port": 8081, "destinations": [{"host": "127.0.0.1", "port": sandbox.port}]},
        {"port": 8082, "destinations": []},
    ]
    document = table({**route(KEY), "mappings": mappings})
    with (
        running(first, second),
        run_proxy(tmp_path, first.port, second.port, document=document, workload_ports=(8081, 8082)) as proxy,
    ):
        assert [ask(port, get()).origin for port in proxy.ports] == ["first", "second"]
        assert [ask(port, get("/", TAGGED)).status for port in proxy.ports] == [200, 503]


def test_http_1_0(proxy: Proxy) -> None:
    with connected(proxy.port) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = client.read()
        assert (response.status, response.value("connection")) == (200, "keep-alive")
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Connection: close" in client.read_to_end()


def test_head_and_no_content(tmp_path: Path) -> None:
    origin = Origin("baseline", lambda received: (204 if received.target == b"/204" else 200, [], b"hello"))
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        assert client.ask(get(method="HEAD"), method="HEAD").value("content-length") == "5"
        assert client.ask(get("/204")).status == 204
        assert client.ask(get()).body == b"hello"


def test_our_own_answers(proxy: Proxy) -> None:
    """To HEAD without a body; before the request's body was read, it is the connection's last."""
    gone = "baggage: sd-routing-key=gonekey"
    with connected(proxy.port) as client:
        client.send(get("/", gone, method="HEAD"))
        assert client.read("HEAD").status == 424
        client.send(get("/", gone, "Content-Length: 3", method="POST"))
        response = client.read()
        assert (response.status, response.value("connection")) == (424, "close")
        client.send(b"abc" + get())
        assert client.read_to_end() == b""


def test_max_connections(tmp_path: Path, baseline: Origin) -> None:
    with run_proxy(tmp_path, baseline.port, flags=("--max-connections", "2")) as proxy:
        with connected(proxy.port) as first, connected(proxy.port) as second, connected(proxy.port) as third:
            assert first.ask(get()).status == 200
            assert second.ask(get()).status == 200
            response = third.read()
            assert response.status == 503
            assert "connection_limit_reached" in response.value("proxy-status")
        time.sleep(0.1)
        assert ask(proxy.port, get()).status == 200


def test_half_closed_requests_are_answered(proxy: Proxy) -> None:
    with connected(proxy.port) as client:
        client.send(get())
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read().status == 200
        assert client.read_to_end() == b""


# --- admin ---


def test_admin_pages(proxy: Proxy) -> None:
    assert proxy.page("/livez") == (200, b"ok\n")
    assert proxy.page("/readyz") == (200, b"ok\n")
    assert proxy.page("/nowhere")[0] == 404
    assert proxy.page("/drain")[0] == 405
    state = proxy.state()
    assert (state["version"], state["stale"], state["source"]) == ("1", False, str(proxy.table_path))
    routes = state["routes"]
    assert isinstance(routes, list)
    assert [entry["routingKey"] for entry in routes] == [KEY, "notready1", "otherport", "elsewhere"]


def test_metrics(proxy: Proxy, sandbox: Origin) -> None:
    for lines in ([], [TAGGED], [TAGGED], ["baggage: sd-routing-key=gonekey"]):
        ask(proxy.port, get("/", *lines))
    ask(proxy.port, b"GET / HTTP/9.9\r\n\r\n")
    sandbox.close()
    ask(proxy.port, get("/", TAGGED))
    name = "pointsman_requests_total"
    assert proxy.metric(f'{name}{{reason="no_key",route="baseline",sandbox="",status="2xx"}}') == 1
    assert proxy.metric(f'{name}{{reason="route",route="sandbox",sandbox="local-location",status="2xx"}}') == 2
    assert proxy.metric(f'{name}{{reason="gone_key",route="none",sandbox="",status="4xx"}}') == 1
    dead = f'{name}{{reason="sandbox_unreachable",route="sandbox",sandbox="local-location",status="5xx"}}'
    assert proxy.metric(dead) == 1
    assert proxy.metric('pointsman_refused_requests_total{reason="version_not_supported"}') == 1
    assert proxy.metric('pointsman_request_duration_seconds_count{route="sandbox"}') == 3
    assert proxy.metric('pointsman_table_info{version="1"}') == 1
    proxy.set_table(table(version="2"))
    assert proxy.metric(dead) == 0, "series of vanished sandboxes go away"
    assert proxy.metric(f'{name}{{reason="no_key",route="baseline",sandbox="",status="2xx"}}') == 1


def test_explain(proxy: Proxy) -> None:
    status, body = proxy.page("/explain", "POST", get("/", TAGGED))
    assert status == 200
    explanation = json.loads(body)
    assert explanation["decision"] == "sandbox=local-location; reason=route"
    status, body = proxy.page("/explain?format=text", "POST", b"baggage: sd-routing-key=gonekey\n")
    assert (status, b"gone_key" in body) == (200, True)
    assert proxy.page("/explain?port=1", "POST", get())[0] == 400
    assert proxy.page("/explain", "POST", b"no colon here\nnor here\n")[0] == 400


def test_a_web_page_cannot_use_the_admin_port(proxy: Proxy) -> None:
    """From a browser on the same machine: by CSRF, or by a name that resolves to loopback."""
    for lines in (["Origin: http://evil.example"], ["Sec-Fetch-Site: cross-site"]):
        assert (
            ask(proxy.admin, get("/drain", *lines, "Content-Length: 0", method="POST", host="127.0.0.1")).status == 403
        )
    assert ask(proxy.admin, get("/table", host="evil.example")).status == 403
    assert ask(proxy.admin, get("/livez", host="localhost:1")).status == 200


# --- life ---


def test_drain_page(proxy: Proxy) -> None:
    assert proxy.page("/drain", "POST")[0] == 202
    assert proxy.process.wait(5) == 0


def test_sigterm_finishes_what_runs(tmp_path: Path) -> None:
    def slow(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
        time.sleep(0.7)
        return 200, [], b"done"

    origin = Origin("baseline", slow)
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as busy:
        with connected(proxy.port) as idle:
            busy.send(get())
            time.sleep(0.3)
            proxy.process.terminate()
            response = busy.read()
            assert (response.status, response.body, response.value("connection")) == (200, b"done", "close")
            assert idle.read_to_end() == b""
        assert proxy.process.wait(5) == 0


def test_sigterm_when_idle_is_at_once(proxy: Proxy) -> None:
    started = time.monotonic()
    assert proxy.stop() == 0
    assert time.monotonic() - started < 1.0


def test_a_drain_loses_no_request(proxy: Proxy) -> None:
    """Clients that keep sending on their connections are answered until they are told to go."""
    lost: list[str] = []

    def keep_asking() -> None:
        with connected(proxy.port) as client:
            while True:
                try:
                    response = client.ask(get())
                except OSError as error:
                    lost.append(repr(error))
                    return
                if response.value("connection") == "close":
                    return
                time.sleep(0.005)

    clients = [threading.Thread(target=keep_asking) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    assert proxy.stop() == 0
    for client in clients:
        client.join(5)
    assert lost == []


def test_drain_timeout(tmp_path: Path) -> None:
    origin = RawOrigin(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", then="wait"))
    with (
        running(origin),
        run_proxy(tmp_path, origin.port, flags=("--drain-timeout", "0.5")) as proxy,
        connected(proxy.port) as client,
    ):
        client.send(get())
        time.sleep(0.2)
        proxy.process.terminate()
        assert not client.read().is_complete
        assert proxy.process.wait(5) == 0


def test_its_own_connection_is_recognised(tmp_path: Path, baseline: Origin) -> None:
    """SPEC 4: a proxy led back to itself answers 508 instead of spinning; a direct way is refused before."""
    with run_proxy(tmp_path, baseline.port) as proxy:
        proxy.set_table(table(route(KEY, [proxy.port]), version="2"))
        response = ask(proxy.port, get("/", TAGGED))
        assert response.status == 503
        assert "destination_refused" in response.value("proxy-status")
