"""Where requests are sent: names and their addresses, several destinations, what is never connected to."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import dns
from tests.support.client import Client, ask, connected, get
from tests.support.origin import Origin, Received, running
from tests.support.proxy import KEY, Proxy, run_proxy, table
from tests.support.waiting import until

TAGGED = get("/", f"baggage: sd-routing-key={KEY}")


def to(*destinations: tuple[str, int], version: str = "1") -> dict[str, object]:
    """A table whose one sandbox is there."""
    hosts = [{"host": host, "port": port} for host, port in destinations]
    baseline = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
    mappings = [{"port": 8081, "destinations": hosts}]
    return table({"routingKey": KEY, "sandbox": "pr-1", "baseline": baseline, "mappings": mappings}, version=version)


class Addressed(Origin):
    """An origin on a loopback address of its own."""

    def __init__(self, host: str, port: int = 0) -> None:
        super().__init__(host, address=(host, port))


@pytest.fixture
def several() -> Iterator[list[Addressed]]:
    """Origins on one port of three addresses."""
    first = Addressed("127.0.1.1")
    with ExitStack() as stack:
        stack.enter_context(running(first))
        others = [Addressed(f"127.0.1.{number}", first.port) for number in (2, 3)]
        stack.enter_context(running(*others))
        yield [first, *others]


def asking(zone: dns.Zone) -> tuple[str, ...]:
    return "--dns-server", f"127.0.0.1:{zone.port}", "--decision-header"


def origins(proxy: Proxy, count: int) -> Counter[str]:
    """Who answers so many requests, each on a connection of its own, with another one under way."""
    return Counter(ask(proxy.port, TAGGED).origin for _ in range(count))


def test_all_addresses_of_a_name_are_used(tmp_path: Path, several: list[Addressed]) -> None:
    with dns.serve(box_test=[origin.name for origin in several]) as zone:
        document = to(("box.test", several[0].port))
        with run_proxy(tmp_path, several[0].port, document=document, flags=asking(zone)) as proxy:
            with ExitStack() as stack:
                # Several at once, so that idle connections do not serve all of them.
                clients = [stack.enter_context(connected(proxy.port)) for _ in range(24)]
                for client in clients:
                    client.send(TAGGED)
                answered = Counter(client.read().origin for client in clients)
            assert set(answered) == {origin.name for origin in several}


def test_a_name_is_looked_up_again_when_its_time_is_over(tmp_path: Path, several: list[Addressed]) -> None:
    first, second, _ = several
    with dns.serve(box_test=[first.name]) as zone:
        document = to(("box.test", first.port))
        with run_proxy(tmp_path, first.port, document=document, flags=asking(zone)) as proxy:
            assert ask(proxy.port, TAGGED).origin == first.name
            zone.names["box.test"] = [second.name]
            until(lambda: ask(proxy.port, TAGGED).origin == second.name, within_s=8)
            assert origins(proxy, 10) == {second.name: 10}


def test_an_address_that_does_not_answer(tmp_path: Path, several: list[Addressed]) -> None:
    """The others serve, and it is used again when it is back."""
    dead = several[0]
    with dns.serve(box_test=[origin.name for origin in several]) as zone:
        document = to(("box.test", dead.port))
        with run_proxy(tmp_path, dead.port, document=document, flags=asking(zone)) as proxy:
            dead.close()
            for _ in range(60):
                with connected(proxy.port) as client:
                    assert client.ask(TAGGED).status == 200
            with running(Addressed(dead.name, dead.port)) as _:
                seen: Counter[str] = Counter()

                def is_back() -> bool:
                    with ExitStack() as stack:
                        clients = [stack.enter_context(connected(proxy.port)) for _ in range(12)]
                        for client in clients:
                            client.send(TAGGED)
                        seen.update(client.read().origin for client in clients)
                    return seen[dead.name] > 3

                until(is_back, within_s=20)


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    """503 that names sandbox and endpoint, never the baseline; and the rest goes on."""
    baseline = Origin()
    with running(baseline), dns.serve() as zone:
        document = to(("box.test", 80))
        with run_proxy(tmp_path, baseline.port, document=document, flags=asking(zone)) as proxy:
            for _ in range(3):
                response = ask(proxy.port, TAGGED)
                assert response.status == 503
                assert response.value("proxy-status").endswith('details="sandbox_unreachable: pr-1, box.test:80"')
            assert ask(proxy.port, get()).origin == "baseline"
            assert baseline.requests[0].target == b"/"


def test_a_dns_server_that_is_down_changes_nothing(tmp_path: Path, several: list[Addressed]) -> None:
    first, *_ = several
    with dns.serve(box_test=[first.name]) as zone:
        document = to(("box.test", first.port))
        with run_proxy(tmp_path, first.port, document=document, flags=asking(zone)) as proxy:
            assert ask(proxy.port, TAGGED).status == 200
            zone.is_broken = True
            asked = len(zone.asked)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert ask(proxy.port, TAGGED).origin == first.name
            assert len(zone.asked) > asked
            zone.is_silent = True
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert ask(proxy.port, TAGGED).origin == first.name


def test_a_look_up_holds_nobody_else_up(tmp_path: Path) -> None:
    baseline = Origin()
    with running(baseline), dns.serve() as zone:
        zone.is_silent = True
        flags = (*asking(zone), "--connect-timeout", "3")
        with run_proxy(tmp_path, baseline.port, document=to(("box.test", 80)), flags=flags) as proxy:
            waiting = Client(proxy.port)
            waiting.send(TAGGED)
            for _ in range(20):
                assert ask(proxy.port, get()).status == 200
            waiting.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.socket.recv(1)
            waiting.socket.settimeout(10)
            assert waiting.read().status == 503
            waiting.close()


# --- where a destination may not be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "flags", "status"),
    [
        (["127.0.1.1"], (), 200),
        (["127.0.1.1"], ("--destination-allow", "127.0.1.0/24"), 200),
        (["127.0.1.1"], ("--destination-allow", "10.0.0.0/8", "--destination-allow", "fd00::/8"), 503),
        (["169.254.169.254", "127.0.1.1"], (), 200),
        (["169.254.169.254"], ("--destination-allow", "0.0.0.0/0"), 503),
        (["100.100.100.200"], (), 503),
    ],
)
def test_destinations_are_checked_after_the_look_up(
    tmp_path: Path, several: list[Addressed], addresses: list[str], flags: tuple[str, ...], status: int
) -> None:
    baseline = Origin()
    with running(baseline), dns.serve(box_test=addresses) as zone:
        document = to(("box.test", several[0].port))
        with run_proxy(tmp_path, baseline.port, document=document, flags=(*asking(zone), *flags)) as proxy:
            for _ in range(4):
                response = ask(proxy.port, TAGGED)
                assert response.status == status
                if status == 503:
                    assert 'details="destination_refused: pr-1, box.test:' in response.value("proxy-status")
            assert ask(proxy.port, get()).status == 200, "the baseline is the operator's own choice"


# --- how the baseline is reached -----------------------------------------------------------------------------------


class Noting(Origin):
    """Notes from where connections come."""

    def __init__(self) -> None:
        self.peers: list[str] = []
        super().__init__()

    def _converse(self, connection: socket.socket) -> None:
        self.peers.append(connection.getpeername()[0])
        super()._converse(connection)


def test_upstream_source(tmp_path: Path) -> None:
    """For the baseline alone: an application that trusts 127.0.0.1 does not trust the world through us."""
    baseline, sandbox = Noting(), Noting()
    with running(baseline, sandbox):
        document = to(("127.0.0.1", sandbox.port))
        flags = ("--upstream-source", "127.0.0.6")
        with run_proxy(tmp_path, baseline.port, document=document, flags=flags) as proxy:
            assert ask(proxy.port, get()).status == 200
            assert ask(proxy.port, TAGGED).status == 200
    assert (baseline.peers, sandbox.peers) == (["127.0.0.6"], ["127.0.0.1"])


def forwarded(received: Received) -> list[tuple[str, str]]:
    return [
        (name.decode(), value.decode()) for name, value in received.fields if name.lower().startswith(b"x-forwarded-")
    ]


def test_forwarded(tmp_path: Path) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port, flags=("--forwarded", "append")) as proxy:
        ask(proxy.port, get())
        ask(proxy.port, get("/", "x-forwarded-for: 10.0.0.1", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Proto: https"))
    assert [forwarded(received) for received in origin.requests] == [
        [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http")],
        [("x-forwarded-for", "10.0.0.1, 10.0.0.2, 127.0.0.1"), ("X-Forwarded-Proto", "https")],
    ]


def test_nothing_is_forwarded_unless_asked(tmp_path: Path) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        ask(proxy.port, get("/", "x-forwarded-for: 10.0.0.1"))
    assert forwarded(origin.requests[0]) == [("x-forwarded-for", "10.0.0.1")]
