"""The rules, and what they must not lead to: loops, and places that nobody outside may reach."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import PORTS, RunSidecar, origin_at
from tests.support.client import ask, get
from tests.support.netns import (
    CAPTURE,
    LISTEN,
    NEIGHBOUR,
    NEIGHBOUR6,
    POD,
    POD6,
    Namespace,
    Pod,
    as_user,
    connect,
    run,
)
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, Proxy, route, table
from tests.support.waiting import until

PORT = PORTS[0]
TAGGED = f"baggage: sd-routing-key={KEY}"
APPLICATION_UID = 1000


@pytest.fixture
def origin(pod: Pod) -> Iterator[Origin]:
    origin = origin_at(pod, "::", PORT)
    with running(origin):
        yield origin


def refused(pod: Pod, proxy: Proxy, reason: str) -> float:
    with pod.inside():
        return proxy.metric(f'pointsman_refused_requests_total{{reason="{reason}"}}') + proxy.metric(
            f'pointsman_requests_total{{reason="{reason}",route="none",sandbox="",status="4xx"}}'
        )


# --- what is not captured ---


@pytest.mark.parametrize("called", [POD, POD6])
def test_straight_to_the_listener(pod: Pod, sidecar: Proxy, origin: Origin, called: str) -> None:
    """Nobody knows what it is for: from outside, from within, on loopback too."""
    for namespace, host in ((pod.neighbour, called), (pod, called), (pod, "127.0.0.1"), (pod, "::1")):
        with namespace.inside():
            answer = ask(LISTEN, get("/"), host=host)
        assert (answer.status, answer.decision) == (421, "none; reason=not_captured")
        assert 'details="not_captured"' in answer.value("proxy-status")
    assert refused(pod, sidecar, "not_captured") == 4
    assert not origin.requests


def test_led_there_by_another_port_of_ours(pod: Pod, sidecar: Proxy) -> None:
    """A rule that captures the listener's own port, or that of the admin pages."""
    pod.run("iptables", "-t", "nat", "-I", "POINTSMAN_IN", "-p", "tcp", "-j", "REDIRECT", "--to-ports", str(LISTEN))
    with pod.neighbour.inside():
        assert ask(LISTEN, get("/"), host=POD).decision == "none; reason=not_captured"
        assert ask(sidecar.admin, get("/"), host=POD).status == 503  # it listens on loopback only
    with pod.inside(), as_user(APPLICATION_UID):  # which leads it to the listener's address on loopback
        assert ask(LISTEN, get("/"), host=POD).decision == "none; reason=not_captured"


# --- own connections ---


def test_own_connections_are_not_captured_again(pod: Pod, sidecar: Proxy, origin: Origin) -> None:
    """To the application at the pod's own address, though calls of others to it are."""
    with pod.neighbour.inside():
        assert [ask(PORT, get("/"), host=called).origin for called in (POD, POD6)] == ["baseline"] * 2
    with pod.inside():
        assert sidecar.metric("pointsman_downstream_connections_opened_total") == 2
    assert origin.callers == ["::ffff:127.0.0.6", POD6]


@pytest.mark.parametrize("called", [POD, POD6])
def test_a_service_that_calls_itself(pod: Pod, run_sidecar: RunSidecar, origin: Origin, called: str) -> None:
    """By its own address it is routed like other callers; on loopback it is left alone."""
    with pod.inside():
        sandbox = Origin("sandbox")
    document = table(route(KEY, [sandbox.port]))
    with running(sandbox), run_sidecar(document=document), pod.inside(), as_user(APPLICATION_UID):
        assert ask(PORT, get("/", TAGGED), host=called).origin == "sandbox"
        for loopback in ("127.0.0.1", "::1"):
            assert ask(PORT, get("/", TAGGED), host=loopback).origin == "baseline"
    assert origin.connections == 2


@pytest.mark.parametrize("called", [POD, POD6])
@pytest.mark.parametrize(("source", "workers"), [("127.0.0.6", 1), (None, 1), (None, 2)])
def test_wrong_rules_make_no_loop(
    pod: Pod, run_sidecar: RunSidecar, called: str, source: str | None, workers: int
) -> None:
    """They capture the proxy's own connections: it recognises them, in HTTP and in anything else, of any worker."""
    pod.capture("apply", "--ports", str(PORT), "--uid", str(APPLICATION_UID))
    with run_sidecar("--workers", str(workers), source=source) as proxy, pod.neighbour.inside():
        answer = ask(PORT, get("/"), host=called)
        assert (answer.status, "loop" in answer.value("proxy-status")) == (508, True)
        with connect(called, PORT) as client, pytest.raises(ConnectionResetError):
            client.sendall(b"\x00")
            client.recv(1)
        with connect(called, PORT) as client, pytest.raises(ConnectionResetError):
            client.recv(1)  # silent, so it is the proxy that would speak to itself
        with pod.inside():
            until(lambda: proxy.metric("pointsman_downstream_connections_opened_total") == 6)


# --- places that nobody outside may reach ---


def test_loopback_is_not_reached_from_outside(pod: Pod, sidecar: Proxy) -> None:
    """A neighbour on the same link sends packets for 127.0.0.1: the kernel would drop them, were they not led to the
    proxy first. The rules leave them alone; and where others' rules do not, the proxy refuses."""
    secret = origin_at(pod, "127.0.0.1", PORT, "secret")
    neighbour = pod.neighbour
    neighbour.run("ip", "addr", "flush", "dev", "lo")
    neighbour.run("ip", "route", "add", "127.0.0.1/32", "via", POD, "dev", "eth1", "src", NEIGHBOUR)
    neighbour.run("ip", "route", "flush", "cache")
    neighbour.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    with running(secret):
        with neighbour.inside(), pytest.raises(OSError):
            connect("127.0.0.1", PORT, timeout_s=1)
        pod.run("iptables", "-t", "nat", "-D", "POINTSMAN_IN", "-d", "127.0.0.0/8", "-j", "RETURN")
        with neighbour.inside():
            answer = ask(PORT, get("/"), host="127.0.0.1")
        assert (answer.status, answer.decision) == (421, "none; reason=not_local")
        assert refused(pod, sidecar, "not_local") == 1
    assert secret.connections == 0


def test_another_machine_is_not_reached(pod: Pod, sidecar: Proxy) -> None:
    """The pod forwards, and its rules capture what it forwards: that is none of ours."""
    far = Namespace("far")
    try:
        pod.run("ip", "link", "add", "eth2", "type", "veth", "peer", "name", "eth0", "netns", far.name)
        for namespace, link, address, way in ((pod, "eth2", "10.78.0.1", ""), (far, "eth0", "10.78.0.2", "10.78.0.1")):
            namespace.run("ip", "addr", "add", f"{address}/24", "dev", link)
            namespace.run("ip", "link", "set", link, "up")
            if way:
                namespace.run("ip", "route", "add", "default", "via", way)
        pod.neighbour.run("ip", "route", "add", "10.78.0.0/24", "via", POD)
        pod.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        with far.inside():
            elsewhere = Origin("elsewhere", address=("10.78.0.2", PORT))
        with running(elsewhere):
            with pod.neighbour.inside():
                assert ask(PORT, get("/"), host="10.78.0.2").origin == "elsewhere"  # not captured
            pod.run("iptables", "-t", "nat", "-D", "POINTSMAN_IN", "1")
            with pod.neighbour.inside():
                answer = ask(PORT, get("/"), host="10.78.0.2")
            assert (answer.status, answer.decision) == (421, "none; reason=not_local")
        assert elsewhere.connections == 1
    finally:
        far.close()


# --- the rules ---


def rules(pod: Pod) -> list[list[str]]:
    return [
        [line for line in pod.run(f"{tool}-save", "-t", "nat").splitlines() if line.startswith("-A")]
        for tool in ("iptables", "ip6tables")
    ]


def test_applied_again_and_taken_out(pod: Pod, sidecar: Proxy, origin: Origin) -> None:
    arguments = ("--ports", ",".join(map(str, PORTS)))
    first = rules(pod)
    pod.capture("apply", *arguments)
    assert rules(pod) == first
    assert pod.capture("check", *arguments) == "iptables: in place\nip6tables: in place\n"
    other = ("--ports", "8081:8083,99", "--uid", "5")
    assert check(pod, *other) == 1
    pod.capture("apply", *other)
    assert check(pod, *other) == 0
    assert len(rules(pod)[0]) == len(first[0]) - 1, "nothing of before is left"
    pod.run("iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7", "-j", "ACCEPT")
    for _ in range(2):
        pod.capture("remove")
        assert rules(pod) == [["-A PREROUTING -p tcp -m tcp --dport 7 -j ACCEPT"], []]
    assert check(pod, *arguments) == 1
    with pod.neighbour.inside():
        assert ask(PORT, get("/"), host=POD).decision == ""  # the application itself
    assert origin.callers == [f"::ffff:{NEIGHBOUR}"]


def check(pod: Pod, *arguments: str) -> int:
    return subprocess.run([*pod.prefix, str(CAPTURE), "check", *arguments], capture_output=True, check=False).returncode


def test_a_rule_that_is_missing_is_found(pod: Pod) -> None:
    arguments = ("--ports", ",".join(map(str, PORTS)))
    for tool in ("iptables", "ip6tables"):
        for deleted in (["POINTSMAN_IN", "2"], ["PREROUTING", "1"], ["OUTPUT", "1"]):
            pod.capture("apply", *arguments)
            assert check(pod, *arguments) == 0
            pod.run(tool, "-t", "nat", "-D", *deleted)
            assert check(pod, *arguments) == 1


def test_what_is_excluded(pod: Pod, sidecar: Proxy, origin: Origin) -> None:
    with pod.neighbour.inside():
        for arguments, captured in (
            (["--exclude-sources", f"{NEIGHBOUR},{NEIGHBOUR6}"], False),
            (["--exclude-sources", "10.78.0.0/16,fd78::/64"], True),
            (["--exclude-ports", f"80,{PORT - 1}:{PORT}"], False),
            (["--exclude-ports", f"{PORT + 1}"], True),
        ):
            for ports in (["--ports", str(PORT)], ["--ports", "all"]):
                pod.capture("apply", *ports, *arguments)
                answers = [ask(PORT, get("/"), host=called).decision for called in (POD, POD6)]
                assert answers == ["baseline; reason=no_key" if captured else ""] * 2
        pod.capture("apply", "--ports", "all", "--ipv6", "off")
    with pod.inside():
        ssh = socket.create_server((POD, 22))
    with ssh, pod.neighbour.inside(), connect(POD, 22) as client:
        accepted, caller = ssh.accept()
        accepted.close()
        assert caller == client.getsockname()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["apply"],
        ["apply", "--ports", ""],
        ["apply", "--ports", "0"],
        ["apply", "--ports", "80:70"],
        ["apply", "--ports", "http"],
        ["apply", "--ports", "80 -j ACCEPT"],
        ["apply", "--ports", "65536"],
        ["apply", "--ports", "80", "--to", "x"],
        ["apply", "--ports", "80", "--uid", "root"],
        ["apply", "--ports", "80", "--ipv6", "no"],
        ["apply", "--ports", "80", "--exclude-sources", "here"],
        ["apply", "--port", "80"],
        ["apply", "--ports"],
        ["append", "--ports", "80"],
    ],
)
def test_what_makes_no_sense_changes_nothing(pod: Pod, arguments: list[str]) -> None:
    before = rules(pod)
    done = subprocess.run(
        [*pod.prefix, str(CAPTURE), *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("capture.sh: ")
    assert rules(pod) == before


# --- the proxy dies ---


def test_killed_and_started_again(pod: Pod, run_sidecar: RunSidecar, origin: Origin) -> None:
    """Without it nothing answers: the application is never reached around it, unrouted. The next one goes on."""
    with run_sidecar() as proxy, pod.neighbour.inside():
        assert ask(PORT, get("/"), host=POD).origin == "baseline"
        proxy.process.send_signal(signal.SIGKILL)
        proxy.process.wait(10)
        with pytest.raises(ConnectionRefusedError):
            connect(POD, PORT)
        proxy.process.returncode = 0  # as it was to be
    with run_sidecar(), pod.neighbour.inside():
        assert ask(PORT, get("/"), host=POD).origin == "baseline"
        assert ask(PORT, get("/"), host=POD6).origin == "baseline"


def test_no_ip6tables(pod: Pod, tmp_path: Path) -> None:
    """Where others can come by IPv6 it fails, rather than let them go around the proxy; unless that is asked for."""
    pod.capture("remove")
    broken = tmp_path / "ip6tables"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    command = [*pod.prefix, "env", f"PATH={tmp_path}:{os.environ['PATH']}", str(CAPTURE), "apply", "--ports", str(PORT)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (failed.returncode, "--ipv6 off" in failed.stderr) == (1, True)
    run(*command, "--ipv6", "off")
    pod.run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
    run(*command)  # nobody can
