"""HTTP that is captured: served and routed as what comes straight to a sidecar."""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect as websocket_to
from websockets.sync.server import ServerConnection, serve

from tests.netns.conftest import RunSidecar, origin_at
from tests.support.client import ask, connected, get
from tests.support.controller import run_controller, sandbox
from tests.support.grpc_service import GrpcServer, path, serving
from tests.support.http2 import PREFACE, SIZE_0, answer, head, headers
from tests.support.http2_peer import Peer
from tests.support.netns import POD, POD6, Pod, connect
from tests.support.origin import Origin, Server, running
from tests.support.proxy import KEY, Proxy, route, table
from tests.support.waiting import until

TAGGED = f"baggage: sd-routing-key={KEY}"


@pytest.mark.parametrize("called", [POD, POD6])
def test_several_ports_by_one_listener(pod: Pod, run_sidecar: RunSidecar, called: str) -> None:
    """Each port's requests go to the application of that port, or where the table maps that port."""
    first, second = origin_at(pod, called, 8081, "first"), origin_at(pod, called, 8082, "second")
    third = origin_at(pod, called, 8083, "third")
    with pod.inside():
        sandboxes = Origin("sandbox of first"), Origin("sandbox of second")
    document = table(route(KEY, [sandboxes[0].port], port=8081))
    mappings = document["routes"][0]["mappings"]  # type: ignore[index]
    mappings.append({"port": 8082, "destinations": [{"host": "127.0.0.1", "port": sandboxes[1].port}]})
    with running(first, second, third, *sandboxes), run_sidecar(document=document), pod.neighbour.inside():
        answers = [
            (answer.origin or answer.status, answer.decision)
            for port in (8081, 8082, 8083)
            for answer in (ask(port, get("/"), host=called), ask(port, get("/", TAGGED), host=called))
        ]
    assert answers == [
        ("first", "baseline; reason=no_key"),
        ("sandbox of first", "sandbox=local-location; reason=route"),
        ("second", "baseline; reason=no_key"),
        ("sandbox of second", "sandbox=local-location; reason=route"),
        ("third", "baseline; reason=no_key"),
        (503, "sandbox=local-location; reason=port_not_mapped"),
    ]


@pytest.mark.parametrize(
    ("listens", "called", "caller"),
    [
        (POD, POD, "127.0.0.6"),
        ("0.0.0.0", POD, "127.0.0.6"),
        ("::", POD, "::ffff:127.0.0.6"),
        (POD6, POD6, POD6),
        ("::", POD6, POD6),
    ],
)
def test_where_the_application_listens(pod: Pod, sidecar: Proxy, listens: str, called: str, caller: str) -> None:
    """It sees its own address as the caller where --upstream-source is of the other family; never loopback's."""
    origin = origin_at(pod, listens, 8081)
    with running(origin), pod.neighbour.inside(), connected(8081, called) as client:
        for _ in range(2):
            assert client.ask(get("/a", "X-A: 1", host="location:80")).origin == "baseline"
    assert origin.callers == [caller]
    received = origin.requests[0]
    assert (received.target, received.fields) == (b"/a", [(b"Host", b"location:80"), (b"X-A", b"1")])


def test_what_listens_on_loopback_stays_closed(pod: Pod, sidecar: Proxy) -> None:
    """As it is without the proxy."""
    origin = origin_at(pod, "127.0.0.1", 8081)
    with running(origin), pod.neighbour.inside():
        answer = ask(8081, get("/"), host=POD)
    assert (answer.status, answer.value("proxy-status").split("details=")[1][:21]) == (503, '"baseline_unreachable')
    assert origin.connections == 0


def test_a_named_baseline_opens_its_port(pod: Pod, run_sidecar: RunSidecar) -> None:
    """Where the operator says so, for that port alone, by whatever family it is called."""
    open_, closed = origin_at(pod, "127.0.0.1", 9000, "open"), origin_at(pod, "127.0.0.1", 8082, "closed")
    with (
        running(open_, closed),
        run_sidecar("--baseline", "127.0.0.1:9000", "--workload-port", "8081") as proxy,
        pod.neighbour.inside(),
    ):
        assert [ask(8081, get("/"), host=called).origin for called in (POD, POD6)] == ["open", "open"]
        assert ask(8082, get("/"), host=POD).status == 503
        with pod.inside():
            explained = json.loads(proxy.page("/explain", "POST", b"Host: a\r\n\r\n")[1])
        assert explained["port"] == 8081


def test_http2(pod: Pod, run_sidecar: RunSidecar) -> None:
    """Each stream by itself, at one port; the preface comes in any pieces, with pauses."""
    baseline = origin_at(pod, POD, 8081)
    with pod.inside():
        sandbox = Origin("sandbox")
    document = table(route(KEY, [sandbox.port], appProtocol="http"))
    flags = ("--baseline-protocol", "http")
    with running(baseline, sandbox), run_sidecar(*flags, document=document) as proxy, pod.neighbour.inside():
        raw = connect(POD, 8081)
        raw.sendall(PREFACE[:9])
        with pod.inside():
            until(lambda: proxy.metric("pointsman_downstream_connections") == 1)
        peer = Peer(raw, preface=PREFACE[9:])
        peer.send(headers(1, head(), end=True), headers(3, head("/", ("baggage", f"sd-routing-key={KEY}")), end=True))
        assert [peer.over(number).origin for number in (1, 3)] == ["baseline", "sandbox"]
        peer.socket.close()


GRPC_CLIENT = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)]) as channel:
    for metadata in ((), (("baggage", sys.argv[3]),)):
        call = channel.unary_unary(sys.argv[2])
        answer, call = call.with_call(b"hey", metadata=metadata, timeout=20)
        print(answer.decode(), dict(call.initial_metadata())["x-origin"])
"""


def test_grpc(pod: Pod, run_sidecar: RunSidecar) -> None:
    with pod.inside():
        baseline, sandbox = GrpcServer(host=POD, port=8081), GrpcServer("sandbox")
    with serving(baseline, sandbox), run_sidecar(document=table(route(KEY, [sandbox.port]))):
        arguments = (f"{POD}:8081", path("Echo"), f"sd-routing-key={KEY}")
        said = pod.neighbour.run(sys.executable, "-c", GRPC_CLIENT, *arguments)
    assert said.splitlines() == ["hey baseline", "hey sandbox"]


def test_websocket(pod: Pod, run_sidecar: RunSidecar) -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"{name}: {message!s}")

    name = "baseline"
    with pod.inside():
        listening = socket.create_server((POD, 8081))
    server = serve(echo, sock=listening)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with run_sidecar(), pod.neighbour.inside(), websocket_to("ws://location/", sock=connect(POD, 8081)) as opened:
            opened.send("hello")
            assert opened.recv(10) == "baseline: hello"
    finally:
        server.shutdown()
        thread.join(10)


def test_large_bodies(pod: Pod, sidecar: Proxy) -> None:
    """20 MB there and back."""
    body = random.Random(1).randbytes(20_000_000)
    with pod.inside():
        origin = Origin(respond=lambda received: (200, [], received.body), address=(POD, 8081))
    with running(origin), pod.neighbour.inside(), connected(8081, POD) as client:
        sender = threading.Thread(
            target=client.send, args=(get("/", f"Content-Length: {len(body)}", method="POST"), body)
        )
        sender.start()
        assert client.read("POST").body == body
        sender.join()


def test_with_a_controller(pod: Pod, run_sidecar: RunSidecar, tmp_path: Path) -> None:
    """Ports need not be named: each is looked up when somebody calls it. What is answered is counted by key."""
    baseline, other = origin_at(pod, POD, 8081), origin_at(pod, POD, 8082)
    with pod.inside():
        fork = Origin("fork")
    part = {
        "from": {"kind": "Deployment", "namespace": "hotrod", "name": "location"},
        "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{fork.port}"}],
    }
    flags = ("--destination-allow", "127.0.0.0/8")
    with (
        running(baseline, other, fork),
        pod.inside(),
        run_controller(tmp_path / "objects") as controller,
        run_sidecar(*flags, controller=controller.url),
    ):
        assert controller.put(sandbox("one", key=KEY, local=[part])).status == 201

        def routed() -> str:
            with pod.neighbour.inside():
                return ask(8081, get("/", TAGGED), host=POD).origin

        until(lambda: routed() == "fork")
        with pod.neighbour.inside():
            assert ask(8082, get("/", TAGGED), host=POD).decision == "sandbox=one; reason=port_not_mapped"
            assert ask(8082, get("/"), host=POD).origin == "baseline"


def test_the_application_is_no_destination(pod: Pod, run_sidecar: RunSidecar) -> None:
    """What bounds the table's destinations does not bound it; and another table leaves its idle connections alone."""
    origin = origin_at(pod, POD, 8081)
    with (
        running(origin),
        run_sidecar("--destination-allow", "192.0.2.0/24") as proxy,
        pod.neighbour.inside(),
        connected(8081, POD) as client,
    ):
        assert client.ask(get("/")).origin == "baseline"
        with pod.inside():
            proxy.set_table(table(version="2"))
        assert client.ask(get("/")).origin == "baseline"
    assert origin.connections == 1


# --- detection ---


def test_a_request_waits_for_nothing(pod: Pod, run_sidecar: RunSidecar) -> None:
    """However long callers may take."""
    origin = origin_at(pod, POD, 8081)
    with running(origin), run_sidecar(detect_timeout="30") as proxy, pod.neighbour.inside():
        began_s = time.monotonic()
        for _ in range(5):
            assert ask(8081, get("/"), host=POD).origin == "baseline"
        assert time.monotonic() - began_s < 10
        with pod.inside():
            assert proxy.metric("pointsman_late_http_connections_total") == 0


def test_a_request_in_pieces_with_pauses(pod: Pod, run_sidecar: RunSidecar) -> None:
    """Each pause is longer than silence is waited for: it is a request all the same, and goes to the sandbox."""
    baseline = origin_at(pod, POD, 8081)
    with pod.inside():
        sandbox = Origin("sandbox")
    document = table(route(KEY, [sandbox.port]))
    with running(baseline, sandbox), run_sidecar(document=document, detect_timeout="0.02"), pod.neighbour.inside():
        request = get("/", TAGGED)
        for cuts in ((1,), (2,), (4,), (2, 4, 30)):
            with connected(8081, POD) as client:
                start = 0
                for cut in cuts:
                    client.send(request[start:cut])
                    time.sleep(0.06)  # the pause is what is tested
                    start = cut
                assert client.ask(request[start:]).origin == "sandbox"
    assert not baseline.requests


def test_a_late_request_is_still_routed(pod: Pod, run_sidecar: RunSidecar) -> None:
    """The application was connected to meanwhile, since it might have spoken first."""
    baseline = origin_at(pod, POD, 8081)
    with pod.inside():
        sandbox = Origin("sandbox")
    document = table(route(KEY, [sandbox.port]))
    with running(baseline, sandbox), run_sidecar(document=document) as proxy, pod.neighbour.inside():
        with connected(8081, POD) as client:
            until(lambda: baseline.connections == 1)
            assert client.ask(get("/", TAGGED)).origin == "sandbox"
            assert client.ask(get("/")).origin == "baseline"
        with pod.inside():
            assert proxy.metric("pointsman_late_http_connections_total") == 1
            assert proxy.metric("pointsman_passed_connections") == 0
            until(lambda: proxy.metric("pointsman_upstream_connections") == 2)  # idle ones: the silent one has gone


def test_http2_that_speaks_first_is_no_other_protocol(pod: Pod, run_sidecar: RunSidecar) -> None:
    """Servers of gRPC announce themselves as soon as they are connected to."""
    requests: list[str] = []

    def answering(connection: socket.socket) -> None:
        peer = Peer(connection)
        begin = b""
        while len(begin) < len(PREFACE):
            piece = connection.recv(len(PREFACE) - len(begin))
            if not piece:
                return
            begin += piece
        while peer.read(3600) is not None:
            for stream in peer.streams.values():
                if stream.is_complete:
                    requests.append(stream.value(":path"))
                    peer.send(headers(stream.number, SIZE_0 + answer(200), end=True))
                    return

    with pod.inside():
        baseline = Server(answering, (POD, 8081))
    with running(baseline), run_sidecar() as proxy, pod.neighbour.inside():
        raw = connect(POD, 8081)
        until(lambda: baseline.connections == 1)
        with pod.inside():
            until(lambda: proxy.metric("pointsman_late_http_connections_total") == 1)
        peer = Peer(raw, preface=PREFACE)
        peer.send(headers(1, head("/late"), end=True))
        assert peer.over(1).status == 200
        raw.close()
    assert requests == ["/late"]


def test_several_workers(pod: Pod, run_sidecar: RunSidecar) -> None:
    """Each asks the kernel for itself."""
    origin = origin_at(pod, "::", 8081)
    with running(origin), run_sidecar("--workers", "2") as proxy, pod.neighbour.inside():
        with connected(8081, POD) as first, connected(8081, POD6) as second, connected(8081, POD) as third:
            assert [client.ask(get("/")).origin for client in (first, second, third)] == ["baseline"] * 3
        with connect(POD, 8081) as raw:
            raw.sendall(b"\x00\x01")
            assert raw.recv(1) == b""  # h11 did not like it
        with pod.inside():
            sample = 'pointsman_passed_connections_opened_total{port="8081",protocol="other"}'
            until(lambda: proxy.metric(sample) == 1)
