"""A proxy with a controller: what it routes by before, while and after there is one. CHECKLIST G48, G50, G51."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest

from proxy.feed.messages import MAX_MESSAGE_BYTES
from proxy.routing.digest import key_digest
from tests.support.client import Response, ask, get
from tests.support.feed import Controller, Peer, baseline_of, controlling
from tests.support.origin import Origin
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until

FLAGS = ("--decision-header", "--destination-allow", "127.0.0.0/8")


def tagged(proxy: Proxy, key: str = KEY) -> Response:
    return ask(proxy.port, get("/", f"baggage: sd-routing-key={key}"))


@pytest.fixture
def controller() -> Iterator[Controller]:
    with controlling() as controller:
        yield controller


@pytest.fixture
def proxy(tmp_path: Path, baseline: Origin, controller: Controller) -> Iterator[Proxy]:
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=FLAGS) as proxy:
        yield proxy


# --- before the first table ---


def test_before_the_first_table_only_untagged_requests_pass(
    proxy: Proxy, controller: Controller, sandbox: Origin
) -> None:
    peer, hello = controller.peer()
    assert hello["position"] is hello["version"] is None
    assert hello["proxy"]["workload"] == "hotrod/Deployment/location"
    assert hello["proxy"]["ports"] == [8081]
    assert ask(proxy.port, get()).decision == "baseline; reason=no_key"
    assert (tagged(proxy).status, tagged(proxy).decision) == (503, "none; reason=not_synced")
    assert proxy.page("/readyz") == (503, b"not ready: no table of the controller yet\n")
    assert proxy.state()["version"] is None
    assert peer.snapshot(1)["type"] == "ack"  # empty, which is not the same as not synced
    assert tagged(proxy).decision == "baseline; reason=unknown_key"
    assert proxy.page("/readyz")[0] == 200
    assert peer.snapshot(2, route(KEY, [sandbox.port]))["type"] == "ack"
    assert tagged(proxy).decision == "sandbox=local-location; reason=route"


def test_it_stays_small(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    """SPEC 7: an idle sidecar takes 40 MB at most, its connection to a controller included."""
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    assert tagged(proxy).status == 200
    assert proxy.rss_bytes() <= 40_000_000


def test_readiness_does_not_wait_for_ever(tmp_path: Path, baseline: Origin) -> None:
    flags = (*FLAGS, "--sync-timeout", "0.3")
    with run_proxy(tmp_path, baseline.port, controller="http://127.0.0.1:9", flags=flags) as proxy:
        assert proxy.page("/readyz")[0] == 503
        until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
        assert tagged(proxy).status == 503
        assert ask(proxy.port, get()).status == 200
        assert proxy.state()["stale"] is True
        assert proxy.metric("pointsman_feed_connected") == 0
        until(lambda: proxy.metric("pointsman_feed_failures_total") > 1, "another attempt")


# --- tables ---


def test_a_slice_by_digests_and_its_changes(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    peer, _ = controller.peer()

    def digests(*keys: str) -> list[str]:
        return [key_digest(key.encode(), b"\x01\x02").decode() for key in keys]

    peer.snapshot(
        1, route(KEY, [sandbox.port]), keyDigest={"salt": "0102"}, liveKeys=digests("other"), goneKeys=digests("old")
    )
    assert tagged(proxy, "other").decision == "baseline; reason=not_forked"
    assert tagged(proxy, "old").status == 424
    explained = json.loads(proxy.page("/explain", "POST", b"GET / HTTP/1.1\nbaggage: sd-routing-key=old\n\n")[1])
    assert explained["known"].startswith("gone key (by the table) (known by its digest")
    answer = peer.change(
        2, 1, routes=[route("new", [sandbox.port])], removedRoutes=[KEY], notLiveKeys=digests("other"), salt="0102"
    )
    assert answer == {"type": "ack", "nonce": "c2", "position": 2, "version": "v2"}
    assert tagged(proxy, "new").decision == "sandbox=local-location; reason=route"
    assert tagged(proxy).status == tagged(proxy, "other").status == 424
    assert [each["routingKey"] for each in proxy.state()["routes"]] == ["new"]  # type: ignore[attr-defined]


def test_a_bad_route_alone_and_a_bad_document(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    bad = {**route(KEY), "mappings": [{"port": 70000, "destinations": []}]}
    nack = peer.change(2, 1, routes=[bad, route("good", [sandbox.port]), {**bad, "routingKey": "new"}])
    assert (nack["type"], nack["isWhole"]) == ("nack", False)
    assert [each["routingKey"] for each in nack["routes"]] == [KEY, "new"]
    assert tagged(proxy).decision == tagged(proxy, "good").decision == "sandbox=local-location; reason=route"
    assert (tagged(proxy, "new").status, tagged(proxy, "new").decision) == (
        503,
        "sandbox=unreadable; reason=no_destination",
    )
    nack = peer.snapshot(3, liveKeys=["-"])
    assert (nack["type"], nack["isWhole"]) == ("nack", True)
    assert "liveKeys[0]" in nack["faults"][0]
    assert tagged(proxy, "good").decision == "sandbox=local-location; reason=route"
    state = proxy.state()
    assert (state["version"], state["stale"]) == ("v2", True)
    assert "liveKeys[0]" in str(state["last_error"])
    assert proxy.page("/readyz")[0] == 200
    assert peer.snapshot(4)["type"] == "ack"


def test_who_lacks_a_route_never_says_that_it_has_the_table(
    proxy: Proxy, controller: Controller, sandbox: Origin
) -> None:
    """Else the controller would answer that it is current, hear yes, and call the refused route live."""
    peer, _ = controller.peer()
    salt = {"keyDigest": {"salt": "01"}}
    bad = {**route(KEY), "mappings": [{"port": 70000, "destinations": []}]}
    assert peer.snapshot(2, bad, **salt)["isWhole"] is False
    peer.cut()
    peer, hello = controller.peer()
    assert (hello["position"], hello["version"], hello["salt"]) == (2, None, None)
    assert peer.snapshot(2, route(KEY, [sandbox.port]), nonce="again", **salt)["type"] == "ack"
    peer.cut()
    peer, hello = controller.peer()
    assert (hello["position"], hello["version"], hello["salt"]) == (2, "v2", "01")


def test_a_destination_on_loopback_is_refused_unless_allowed(
    tmp_path: Path, baseline: Origin, sandbox: Origin, controller: Controller
) -> None:
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=("--decision-header",)) as proxy:
        peer, _ = controller.peer()
        peer.snapshot(1, route(KEY, [sandbox.port]))
        assert tagged(proxy).status == 503
        assert "reason=destination_refused" in tagged(proxy).decision
        assert ask(proxy.port, get()).status == 200  # the baseline is the operator's own word


# --- a controller that is not there, or lies ---


def test_routing_goes_on_without_a_controller_and_resumes(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    with controlling() as first:
        port = first.port
        with run_proxy(tmp_path, baseline.port, controller=first.url, flags=FLAGS) as proxy:
            peer, hello = first.peer()
            peer.snapshot(5, route(KEY, [sandbox.port]))
            boot = hello["proxy"]["boot"]
            first.stop()
            until(lambda: proxy.state()["stale"], "staleness")
            assert "no connection to the controller" in str(proxy.state()["last_error"])
            assert proxy.metric("pointsman_table_stale") == 1
            assert tagged(proxy).decision == "sandbox=local-location; reason=route"
            assert proxy.page("/readyz")[0] == 200
            with controlling(port) as second:
                peer, hello = second.peer()
                assert (hello["position"], hello["version"], hello["proxy"]["boot"]) == (5, "v5", boot)
                assert proxy.state()["stale"] is True  # nothing was heard yet
                peer.say(type="current", nonce="n", position=6, version="v5")
                assert peer.answer("n") == {"type": "ack", "nonce": "n", "position": 6, "version": "v5"}
                assert proxy.state()["stale"] is False
                assert peer.change(7, 6, removedRoutes=[KEY])["type"] == "ack"
                assert tagged(proxy).status == 424
                nack = peer.snapshot(6, route(KEY, [sandbox.port]))  # older than what is in force
                assert (nack["type"], nack["isWhole"]) == ("nack", True)
                assert tagged(proxy).status == 424
                assert peer.change(9, 8)["type"] == "resync"


def lies(peer: Peer) -> list[object]:
    """What a controller may say that makes no sense; a proxy leaves, or refuses it by its nonce."""
    snapshot = {"type": "snapshot", "nonce": "lie", "position": 9, "version": "v9"}
    return [
        "garbage",
        b"\xff\xfe",
        "[" * 100_000,
        json.dumps({**snapshot, "document": "x" * MAX_MESSAGE_BYTES}),
        json.dumps({**snapshot, "document": 7}),
        json.dumps({**snapshot, "document": table(route("a"), version="v9") | {"routes": "none"}}),
        json.dumps({**snapshot, "document": table(version="v9"), "part": 3}),
        json.dumps({"type": "change", "nonce": "lie", "position": 9, "from": 1, "version": "v9", "routes": [[]]}),
        json.dumps({"type": "refused", "reason": "no\x1b[31m"}),
        json.dumps({"type": "refused", "reason": "not today"}),
    ]


@pytest.mark.parametrize("which", range(len(lies(None))))  # type: ignore[arg-type]
def test_lies_change_nothing(proxy: Proxy, controller: Controller, sandbox: Origin, which: int) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    lie = lies(peer)[which]
    assert isinstance(lie, str | bytes)
    with contextlib.suppress(OSError):
        peer.connection.send(lie)
    until(lambda: proxy.state()["stale"], "the lie to be noticed")
    assert tagged(proxy).decision == "sandbox=local-location; reason=route"
    assert ask(proxy.port, get()).status == 200
    if peer.is_gone(within_s=0.5):
        peer, hello = controller.peer()
        assert hello["position"] == 1
    else:
        assert [said for said in peer.seen if said["type"] == "nack" and said["nonce"] == "lie"]
    assert peer.snapshot(10, route("k2", [sandbox.port]))["type"] == "ack"
    assert tagged(proxy, "k2").decision == "sandbox=local-location; reason=route"
    assert proxy.state()["stale"] is False


def test_a_connection_cut_in_the_middle_of_a_snapshot(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    part = {"type": "snapshot", "nonce": "n", "position": 2, "version": "v2", "document": table(version="v2")}
    peer.say(**part, part=0, isLast=False)
    peer.cut()
    peer, hello = controller.peer()
    assert hello["position"] == 1
    assert tagged(proxy).decision == "sandbox=local-location; reason=route"
    peer.say(**part, part=1, isLast=True)  # of the connection before
    assert peer.answer("n")["isWhole"] is True
    assert tagged(proxy).decision == "sandbox=local-location; reason=route"


def test_one_who_accepts_and_says_nothing(tmp_path: Path, baseline: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with run_proxy(tmp_path, baseline.port, controller=url, flags=("--sync-timeout", "0")) as proxy:
            assert ask(proxy.port, get()).status == 200
            until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
            assert proxy.stop() == 0


def test_a_stranger_to_the_protocol(tmp_path: Path, baseline: Origin) -> None:
    url = f"http://127.0.0.1:{baseline.port}"  # answers with HTTP 200
    with run_proxy(tmp_path, baseline.port, controller=url, flags=("--sync-timeout", "0")) as proxy:
        until(lambda: proxy.metric("pointsman_feed_failures_total") > 1, "attempts")
        assert ask(proxy.port, get()).status == 200


# --- who we are, and who they are ---


def test_the_token_is_read_at_each_dial_and_shown_nowhere(
    tmp_path: Path, baseline: Origin, controller: Controller
) -> None:
    file = tmp_path / "token"
    file.write_text("secret-one\n")
    with run_proxy(
        tmp_path,
        baseline.port,
        controller=controller.url,
        flags=("--token-file", str(file)),
        environ={"POD_NAME": "p-1"},
    ) as proxy:
        peer, hello = controller.peer()
        assert hello["proxy"]["id"] == "p-1"
        assert controller.requests[-1].headers["Authorization"] == "Bearer secret-one"
        peer.snapshot(1)
        file.write_text("secret-two")
        peer.cut()
        controller.peer()
        assert controller.requests[-1].headers["Authorization"] == "Bearer secret-two"
        shown = b"".join(proxy.page(path)[1] for path in ("/table", "/metrics"))
        assert b"secret" not in shown + "".join(proxy.lines).encode()
        file.write_text("two\nlines")
        peer, _ = Peer(controller._all[-1].connection), None
        controller._all[-1].cut()
        until(lambda: "holds no token" in str(proxy.state()["last_error"]), "the fault")
        assert "two" not in str(proxy.state()["last_error"])


def test_no_redirect_takes_the_token_elsewhere(tmp_path: Path, baseline: Origin, controller: Controller) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    with controlling() as elsewhere:
        controller.refuse_with = (302, {"Location": elsewhere.url.replace("http", "ws")})
        flags = ("--token-file", str(file))
        with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags) as proxy:
            until(lambda: len(controller.requests) > 2, "attempts")
            assert "HTTP 302" in str(proxy.state()["last_error"])
        assert elsewhere.requests == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=controller"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    return cert, key


def test_tls(tmp_path: Path, baseline: Origin, certificate: tuple[Path, Path]) -> None:
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    ca = tmp_path / "ca.pem"
    with controlling(tls=tls) as controller:
        url = controller.url.replace("http", "https")
        with run_proxy(tmp_path, baseline.port, controller=url, flags=("--controller-ca", str(ca))) as proxy:
            until(lambda: "can't be used" in str(proxy.state()["last_error"]), "the fault")
            ca.write_bytes(certificate[0].read_bytes())
            peer, _ = controller.peer()
            assert peer.snapshot(1)["type"] == "ack"
            assert tagged(proxy).status == 200
        with run_proxy(tmp_path, baseline.port, controller=url, flags=()) as proxy:  # by the system's authorities
            until(lambda: "certificate verify failed" in str(proxy.state()["last_error"]), "the fault")
            assert tagged(proxy).status == 503


# --- traffic ---


def counts(message: dict[str, object]) -> dict[str, tuple[int, int]]:
    entries = message["counts"]
    assert isinstance(entries, list)
    return {key: (from_sandbox, from_baseline) for key, from_sandbox, from_baseline in entries}


def test_traffic_per_key(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]), route("dead", []), liveKeys=["elsewhere"], goneKeys=["gone"])
    for key in (KEY, KEY, "elsewhere", "unlearned", "gone", "dead", "%zz"):
        tagged(proxy, key)
    ask(proxy.port, get())
    first = peer.next("traffic")
    assert counts(first) == {KEY: (2, 0), "elsewhere": (0, 1), "unlearned": (0, 1)}
    assert (first["seq"], first["lost"], first["reply"]) == (1, False, None)
    tagged(proxy)
    peer.say(type="report", reply="r1")  # asked: at once, though the first is not counted yet
    second = peer.next("traffic")
    assert (second["seq"], second["reply"], counts(second)) == (2, "r1", {KEY: (1, 0)})
    peer.cut()
    tagged(proxy)
    peer, _ = controller.peer()
    again = [peer.next("traffic"), peer.next("traffic")]
    assert again == [first, second]
    peer.say(type="counted", seq=1)
    peer.say(type="counted", seq=2)
    third = peer.next("traffic")
    assert (third["seq"], counts(third)) == (3, {KEY: (1, 0)})
    peer.say(type="counted", seq=3)
    peer.say(type="report", reply="r2")
    fourth = peer.next("traffic")
    assert (fourth["seq"], fourth["reply"], fourth["counts"]) == (4, "r2", [])


def test_a_sandbox_that_fails_over_to_the_baseline_is_counted_there(
    tmp_path: Path, baseline: Origin, controller: Controller
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    flags = (*FLAGS, "--on-sandbox-failure", "baseline")
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags) as proxy:
        peer, _ = controller.peer()
        peer.snapshot(1, route(KEY, [dead]))
        assert tagged(proxy).decision == "baseline; reason=sandbox_unreachable"
        assert counts(peer.next("traffic")) == {KEY: (0, 1)}


def test_leaving(proxy: Proxy, controller: Controller, sandbox: Origin) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    tagged(proxy)
    exits: list[int] = []
    stopping = threading.Thread(target=lambda: exits.append(proxy.stop()))
    stopping.start()
    message = peer.next("traffic")
    assert counts(message) == {KEY: (1, 0)}
    peer.say(type="counted", seq=message["seq"])
    peer.next("goodbye")
    assert peer.is_gone()
    stopping.join(10)
    assert exits == [0]


def test_leaving_does_not_wait_long_for_one_who_does_not_count(
    proxy: Proxy, controller: Controller, sandbox: Origin
) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, route(KEY, [sandbox.port]))
    tagged(proxy)
    began_s = time.monotonic()
    assert proxy.stop() == 0
    assert time.monotonic() - began_s < 5
    assert peer.next("traffic")
    assert peer.is_gone()
    assert not [said for said in peer.seen if said["type"] == "goodbye"]


def test_workloads_of_gone_routes(proxy: Proxy, controller: Controller) -> None:
    peer, _ = controller.peer()
    peer.snapshot(1, liveKeys=["k"], goneRoutes=[{"routingKey": "k", "baseline": baseline_of()}])
    assert tagged(proxy, "k").decision == "baseline; reason=gone_route"
    peer.change(2, 1, notGoneRoutes=["k"])
    assert tagged(proxy, "k").decision == "baseline; reason=not_forked"
