"""Which port a captured connection is for, and which connections are for none."""

from __future__ import annotations

import logging

import pytest

from proxy.net.arrivals import Arrival
from proxy.routing.names import Endpoint
from tests.support.captured import APPLICATION, CALLER, LISTENER, CapturedScript
from tests.support.loop import FakeLoop
from tests.support.transport import FakeTransport

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OUTSIDE = ("10.0.0.9", 40000)
ETH0 = ("10.0.0.5", 16006)


@pytest.fixture
def script(loop: FakeLoop) -> CapturedScript:
    return CapturedScript()


def decision(transport: FakeTransport) -> str:
    """How a request on this connection is refused; empty: it is not."""
    transport.receive(REQUEST)
    data = transport.take().decode()
    assert not data or data.startswith("HTTP/1.1 421 ")
    return data.partition("pointsman-decision: none; reason=")[2].partition("\r\n")[0]


@pytest.mark.parametrize(
    ("original", "own", "why"),
    [
        (None, LISTENER, "not_captured"),  # nothing is tracked here
        (LISTENER, LISTENER, "not_captured"),
        (("::1", 16006), ("::1", 16006, 0, 0), "not_captured"),
        (("127.0.0.1", 16006), ("127.0.0.2", 16006), "not_captured"),  # our listener, by another address of it
        (("192.0.2.99", 8081), LISTENER, "not_local"),  # TEST-NET: not this machine's
        (("2001:db8::99", 8081), ("::1", 16006, 0, 0), "not_local"),
        (("127.0.0.1", 8081), ETH0, "not_local"),  # loopback, and it came from outside
        (("127.9.9.9", 8081), ETH0, "not_local"),
        (("::1", 8081), ("fd77::2", 16006, 0, 0), "not_local"),
        (("::ffff:127.0.0.1", 8081), ("fd77::2", 16006, 0, 0), "not_local"),
        (("0.0.0.0", 8081), LISTENER, "not_local"),
        (("fe80::1", 8081), ("::1", 16006, 0, 0), "not_local"),
        (("169.254.169.254", 80), LISTENER, "not_local"),
        (("127.0.0.1", 8081), LISTENER, ""),
        (("::1", 8081), ("::1", 16006, 0, 0), ""),
    ],
)
def test_what_is_refused(
    script: CapturedScript, original: tuple[str, int] | None, own: tuple[str, int], why: str
) -> None:
    assert decision(script.accept(original, OUTSIDE, own)) == why


def test_where_it_was_led_is_asked_each_time(script: CapturedScript) -> None:
    """What one from loopback may is not what one from outside may, afterwards."""
    assert decision(script.accept(APPLICATION, CALLER, LISTENER)) == ""
    assert decision(script.accept(APPLICATION, OUTSIDE, ETH0)) == "not_local"
    assert decision(script.accept(APPLICATION, CALLER, LISTENER)) == ""


def test_one_port_for_all_of_its_connections(script: CapturedScript) -> None:
    arrivals = [script.arrivals.of(script.accept((APPLICATION[0], port))) for port in (8081, 8081, 8082)]
    assert arrivals[0] is arrivals[1]
    assert [arrival.number for arrival in arrivals] == [8081, 8081, 8082]
    assert arrivals[2].application == Endpoint("127.0.0.1", 8082)


def test_many_ports_do_not_fill_the_memory(script: CapturedScript) -> None:
    """Whoever calls one after another: what nobody uses any more is forgotten, what is used stays what it is."""
    kept = script.accept(("127.0.0.1", 9))
    arrival = script.arrivals.of(kept)
    for port in range(1000, 3000):
        script.accept(("127.0.0.1", port)).lose()
    known: dict[object, Arrival] = script.arrivals._known
    assert len(known) <= 257
    assert len(script.mode.baselines) == len(known)
    assert script.arrivals.of(kept) is arrival
    assert Endpoint("127.0.0.1", 9) in script.mode.baselines
    assert script.forgotten >= 7


@pytest.mark.usefixtures("loop")
def test_many_ports_that_are_in_use() -> None:
    """They are not looked through for each new one."""
    script = CapturedScript(max_connections=2000)
    for port in range(1000, 2000):
        script.accept(("127.0.0.1", port))
    assert len(script.mode.baselines) == 1000
    assert script.forgotten <= 3


@pytest.mark.usefixtures("loop")
def test_named_baselines_are_never_forgotten() -> None:
    script = CapturedScript((9, Endpoint("localhost", 9)))
    for port in range(1000, 3000):
        script.accept(("127.0.0.1", port)).lose()
    assert Endpoint("localhost", 9) in script.mode.baselines


def test_a_line_in_a_while_for_each_port(script: CapturedScript, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for now_s, port in ((0, 1), (1, 1), (2, 2), (599, 1), (601, 1), (602, 2), (603, 2)):
            script.pool.now_s = now_s
            script.arrivals.say_encrypted(port)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "port 1",
        "port 2",
        "port 1",
        "port 2",
    ]
