"""One captured connection, step by step: what it speaks, and how it passes."""

from __future__ import annotations

import socket
from itertools import permutations

import pytest

from proxy.net.captured import Captured
from proxy.net.downstream import H1Downstream
from proxy.routing.names import Endpoint
from tests.support.captured import APPLICATION, CALLER, DETECT_S, CapturedScript
from tests.support.http2 import PREFACE, settings
from tests.support.loop import FakeLoop
from tests.support.transport import FakeTransport

REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01"


@pytest.fixture
def script(loop: FakeLoop) -> CapturedScript:
    return CapturedScript()


def is_http(transport: FakeTransport) -> bool:
    return isinstance(transport.get_protocol(), H1Downstream)


def was_reset(transport: FakeTransport) -> bool:
    """Not just ended: by a reset."""
    return transport.ending == "abort" and any(option[1] == socket.SO_LINGER for option in transport.socket.options)


def passed(script: CapturedScript) -> dict[tuple[str, str], int]:
    return script.metrics.passed_total


def opened(script: CapturedScript, loop: FakeLoop, first: bytes = b"\x00") -> tuple[FakeTransport, FakeTransport]:
    """One that passes: the client's side and the application's."""
    down = script.accept()
    down.receive(first)
    loop.settle()
    up = loop.transports[-1]
    assert up.take() == first
    return down, up


# --- HTTP ---


@pytest.mark.parametrize("pieces", [[REQUEST], [bytes([byte]) for byte in REQUEST], [REQUEST[:2], REQUEST[2:]]])
def test_http_is_served(script: CapturedScript, loop: FakeLoop, pieces: list[bytes]) -> None:
    """Without waiting, and without a connection to the application before it is needed."""
    down = script.accept()
    down.receive(*pieces)
    assert is_http(down)
    assert (loop.timers, loop.attempts, script.metrics.late_http_connections) == (0, [], 0)
    loop.settle()
    assert loop.attempts == [APPLICATION]
    assert loop.transports[0].take() == REQUEST
    down.lose()
    loop.transports[0].lose()
    assert script.is_quiet


def test_http2_in_any_pieces(script: CapturedScript, loop: FakeLoop) -> None:
    for cut in range(1, len(PREFACE)):
        down = script.accept()
        down.receive(PREFACE[:cut], PREFACE[cut:] + settings({}))
        loop.settle()
        assert down.take()[3:4] == b"\x04", "settings of our own"
        down.lose()
    assert script.is_quiet


@pytest.mark.parametrize("begun", [b"G", b"GE", b"\r\nPOST", b"PRI * H"])
def test_a_pause_within_a_request(script: CapturedScript, loop: FakeLoop, begun: bytes) -> None:
    down = script.accept()
    down.receive(begun)
    loop.advance(DETECT_S)
    assert is_http(down)
    assert loop.attempts == []


def test_the_pause_is_counted_from_the_first_byte(script: CapturedScript, loop: FakeLoop) -> None:
    """A word that may become a request has all of the time."""
    down = script.accept()
    loop.advance(DETECT_S * 0.9)
    down.receive(b"PROPF")
    loop.advance(DETECT_S * 0.9)
    assert passed(script) == {}
    down.receive(b"IND /a HTTP/1.1\r\n")
    assert is_http(down)


def test_the_end_of_a_request_that_is_not_whole(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    down.receive(b"GET")
    down.receive_eof()
    assert is_http(down)
    assert down.ending in ("eof", "close")
    assert loop.attempts == []


def test_too_many(loop: FakeLoop) -> None:
    """Said as ever."""
    script = CapturedScript(max_connections=1)
    first, second = script.accept(), script.accept()
    assert second.take().startswith(b"HTTP/1.1 503 ")
    first.receive(REQUEST)
    assert is_http(first)
    first.lose()
    second.lose()
    assert script.is_quiet


# --- who is silent ---


def test_silence_leads_to_the_application(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    loop.advance(DETECT_S * 0.9)
    assert loop.attempts == []
    loop.advance(DETECT_S * 0.1)
    assert loop.attempts == [APPLICATION]
    loop.transports[0].receive(b"220 hello\r\n")
    assert down.take() == b"220 hello\r\n"
    down.receive(REQUEST)
    assert loop.transports[0].take() == REQUEST, "nothing is looked at any more"
    assert passed(script) == {("8081", "server_first"): 1}


def test_a_late_request_is_routed(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    loop.advance(DETECT_S)
    down.receive(REQUEST[:1], REQUEST[1:])
    assert is_http(down)
    assert loop.transports[0].ending == "close"
    assert loop.transports[0].take() == b""
    assert (script.metrics.late_http_connections, passed(script), loop.timers) == (1, {}, 0)


def test_a_request_while_the_application_is_connected_to(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    loop.on_attempt = lambda: down.receive(REQUEST)
    loop.advance(DETECT_S)
    assert is_http(down)
    assert loop.transports[0].ending == "close"


def test_an_application_that_speaks_http2_first(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    loop.advance(DETECT_S)
    loop.transports[0].receive(settings({3: 100}))
    assert is_http(down)
    assert (down.take(), loop.transports[0].ending) == (b"", "close")
    down.receive(PREFACE + settings({}))
    assert down.take()[3:4] == b"\x04"


@pytest.mark.parametrize("begun", [b"GE", b"ruok"])
def test_both_speak(script: CapturedScript, loop: FakeLoop, begun: bytes) -> None:
    """The application has spoken, so it is none of ours, whatever the client began."""
    down = script.accept()
    loop.advance(DETECT_S)
    down.receive(begun)
    loop.transports[0].receive(b"hello")
    assert (down.take(), loop.transports[0].take()) == (b"hello", begun)


def test_a_late_word(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    loop.advance(DETECT_S)
    down.receive(b"ruok")
    assert loop.transports[0].take() == b""
    loop.advance(DETECT_S)
    assert loop.transports[0].take() == b"ruok"
    assert passed(script) == {("8081", "other"): 1}


# --- passing ---


@pytest.mark.parametrize(("data", "how"), [(HELLO, "tls"), (b"\x00\x01", "other"), (b"PING\r\n", "other")])
def test_what_is_no_http_passes_at_once(script: CapturedScript, loop: FakeLoop, data: bytes, how: str) -> None:
    down = script.accept()
    down.receive(data)
    assert not down.is_reading(), "nothing more until the application is there"
    loop.settle()
    assert loop.transports[0].take() == data
    assert down.is_reading()
    assert (passed(script), loop.timers) == ({("8081", how): 1}, 0)


def test_the_named_baseline(loop: FakeLoop) -> None:
    script = CapturedScript((8081, Endpoint("192.0.2.7", 9000)))
    opened(script, loop)
    assert loop.attempts == [("192.0.2.7", 9000)]


def test_a_pause_behind_a_word(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    down.receive(b"ru", b"ok")
    loop.advance(DETECT_S)
    assert loop.transports[0].take() == b"ruok"


@pytest.mark.parametrize("order", list(permutations(["down ends", "up ends", "down says", "up says"])))
def test_ends_in_any_order(script: CapturedScript, loop: FakeLoop, order: tuple[str, ...]) -> None:
    """Each side's by itself; what comes before an end arrives, and both are closed, not cut, when both have ended."""
    down, up = opened(script, loop)
    sides = {"down": (down, up), "up": (up, down)}
    over: set[str] = set()
    for who, what in (step.split() for step in order):
        here, there = sides[who]
        if who in over:
            continue  # it has nothing to say any more
        if what == "says":
            here.receive(b"x")
            assert there.take() == b"x"
        else:
            over.add(who)
            here.receive_eof()
            assert there.ending == ("close" if len(over) == 2 else "eof")
    assert (down.ending, up.ending) == ("close", "close")
    down.lose()
    up.lose()
    assert script.is_quiet


def test_an_end_at_once(script: CapturedScript, loop: FakeLoop) -> None:
    """It may still listen."""
    down = script.accept()
    down.receive_eof()
    loop.settle()
    up = loop.transports[0]
    assert (down.ending, up.ending) == ("open", "eof")
    assert not down.is_reading(), "what has ended is not read again"
    up.receive(b"Wed Nov 25")
    assert down.take() == b"Wed Nov 25"
    up.receive_eof()
    assert (down.ending, up.ending) == ("close", "close")
    assert passed(script) == {("8081", "silent"): 1}


@pytest.mark.parametrize("who", ["down", "up"])
def test_a_reset_is_a_reset(script: CapturedScript, loop: FakeLoop, who: str) -> None:
    down, up = opened(script, loop)
    here, there = (down, up) if who == "down" else (up, down)
    here.lose(ConnectionResetError())
    assert was_reset(there)
    there.lose()
    assert script.is_quiet


def test_a_reset_before_anybody_spoke(script: CapturedScript, loop: FakeLoop) -> None:
    first, second = script.accept(), script.accept()
    first.lose(ConnectionResetError())
    loop.advance(DETECT_S)
    assert loop.attempts == [APPLICATION], "the first one has gone"
    second.lose(ConnectionResetError())
    assert was_reset(loop.transports[0])
    loop.transports[0].lose()
    assert script.is_quiet


def test_an_application_that_ends_without_a_word(script: CapturedScript, loop: FakeLoop) -> None:
    closed, cut = script.accept(), script.accept()
    loop.advance(DETECT_S)
    loop.transports[0].receive_eof()
    assert (closed.ending, passed(script)) == ("eof", {("8081", "silent"): 1})
    loop.transports[1].lose(ConnectionResetError())
    assert was_reset(cut)


@pytest.mark.parametrize("says", [b"\x00", b""])
@pytest.mark.parametrize(
    ("failure", "reason"), [(ConnectionRefusedError(), "baseline_unreachable"), (None, "baseline_unreachable")]
)
def test_no_application(
    script: CapturedScript, loop: FakeLoop, says: bytes, failure: Exception | None, reason: str
) -> None:
    """Refused, or never answered."""
    loop.peers[APPLICATION[0]] = failure
    down = script.accept()
    if says:
        down.receive(says)
    loop.advance(DETECT_S)
    if failure is None:
        assert down.ending == "open"
        loop.advance(5)
    assert was_reset(down)
    assert script.metrics.upstream_failures == {("baseline", "", reason): 1}
    down.lose()
    assert script.is_quiet


def test_a_client_that_goes_while_the_application_is_connected_to(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    down.receive(b"\x00")
    loop.on_attempt = lambda: down.lose(ConnectionResetError())
    loop.settle()
    assert loop.transports[0].ending == "close"
    loop.transports[0].lose()
    assert script.is_quiet
    assert script.metrics.upstream_failures == {}


def test_who_does_not_read_stops_the_other(script: CapturedScript, loop: FakeLoop) -> None:
    down, up = opened(script, loop)
    for here, there in ((down, up), (up, down)):
        there.fill()
        assert (here.is_reading(), there.is_reading()) == (False, True)
        there.read_all()
        assert here.is_reading()


def test_what_has_ended_is_not_read_again(script: CapturedScript, loop: FakeLoop) -> None:
    """libuv would tell of the end a second time."""
    for who in (0, 1):
        sides = opened(script, loop)
        here, there = sides[who], sides[1 - who]
        there.fill()
        here.receive_eof()
        there.read_all()
        assert not here.is_reading()


def test_it_is_asked_whether_it_is_still_there(script: CapturedScript, loop: FakeLoop) -> None:
    for transport in opened(script, loop):
        assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in transport.socket.options


def test_time_ends_nothing_that_passes(script: CapturedScript, loop: FakeLoop) -> None:
    down, up = opened(script, loop)
    script.connections.now_s += 1e6
    protocol = down.get_protocol()
    assert isinstance(protocol, Captured)
    protocol.check_time(script.connections.now_s)
    script.pool.check_time(script.connections.now_s)
    assert (down.ending, up.ending) == ("open", "open")


# --- loops ---


@pytest.mark.parametrize("says", [b"\x00", b""])
def test_an_own_connection(script: CapturedScript, loop: FakeLoop, says: bytes) -> None:
    """Led back here: it must not lead to another one."""
    script.pool.own_ends[CALLER] = [APPLICATION]
    down = script.accept()
    if says:
        down.receive(says)
    loop.advance(DETECT_S)
    assert was_reset(down)
    assert loop.attempts == []
    assert {reason.name: count for reason, count in script.metrics.refused.items()} == {"loop": 1}


# --- the end ---


def test_a_drain(script: CapturedScript, loop: FakeLoop) -> None:
    passing, up = opened(script, loop)
    waiting, silent = script.accept(), script.accept()
    begun = script.accept()
    begun.receive(b"GE")
    for transport in (waiting, silent, begun):
        protocol = transport.get_protocol()
        assert isinstance(protocol, Captured)
        protocol.drain(script.connections.now_s)
        assert transport.ending == "open", "it may have something under way"
    silent_protocol = silent.get_protocol()
    waiting.get_protocol().drain(script.connections.now_s + 1)
    begun.get_protocol().drain(script.connections.now_s + 1)
    loop.advance(DETECT_S)
    silent_protocol.drain(script.connections.now_s + 1)
    passing.get_protocol().drain(script.connections.now_s + 1)
    endings = [transport.ending for transport in (passing, waiting, silent)]
    assert endings == ["open", "close", "close"]
    assert is_http(begun)
    assert [transport.ending for transport in loop.transports] == ["open", "close"]
    passing.get_protocol().cut()
    assert was_reset(passing)
    assert was_reset(up)


def test_nothing_is_left_of_those_who_said_nothing(script: CapturedScript, loop: FakeLoop) -> None:
    down = script.accept()
    down.lose()
    assert (loop.timers, script.is_quiet) == (0, True)
