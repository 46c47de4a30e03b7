"""One upstream HTTP/2 connection: requests out, responses in, and what becomes of the requests when it ends."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.codec.events import End, RequestHead
from tests.support.exchange import Script, request_head
from tests.support.h2script import (
    H2UpstreamScript,
    connect_head,
    data,
    goaway,
    headers,
    http2_head,
    ping,
    response,
    rst,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("loop")

DONE = ["down.head 200", "down.body", "down.end"]
CONNECTS = settings((8, 1))
ALIVE = "PING '\\x00\\x00alive\\x00'"
GET = "HEADERS 1 end :method=GET :scheme=http :authority=location :path=/"


def answered(script: Script) -> tuple[int, str]:
    """The status and the reason that the downstream got."""
    head = script.down.head
    return head.status if head is not None else 0, script.exchange.reason.name


# --- requests out --------------------------------------------------------------------------------------------------


def test_requests_share_the_connection() -> None:
    up = H2UpstreamScript()
    up.request(http2_head(("x-a", "1")))
    up.request(request_head("X-B: 2", "Connection: close"))
    assert up.peer.take() == [f"{GET} x-a=1", GET.replace("1", "3") + " x-b=2"]


def test_a_request_with_a_body_and_trailers() -> None:
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    assert up.peer.take() == [GET.replace(" end", "").replace("GET", "POST")]
    script.request_body(b"ab")
    assert up.peer.take() == ["DATA 1 'ab'"]
    script.request_body(b"cd")
    script.request_end(End([b"X-Sum: 1"]))
    assert up.peer.take() == ["DATA 1 'cd'", "HEADERS 1 end x-sum=1"]


def test_a_body_that_ends_without_more() -> None:
    up = H2UpstreamScript()
    script = up.request(request_head("Content-Length: 2", method="PUT"))
    script.request_body(b"ab")
    script.request_end()
    assert up.peer.take()[1:] == ["DATA 1 end 'ab'"]


def test_a_full_stream_pauses_its_downstream() -> None:
    up = H2UpstreamScript(hello=settings((4, 3)))
    script = up.request(http2_head(method="POST", end=False))
    assert script.request_body(b"abcd") == ["down.pause"]
    assert script.does(lambda: up.send(window(1, 1))) == ["down.resume"]


def test_the_caller_gives_up() -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.peer.take()
    script.does(script.exchange.downstream_failed)
    assert up.peer.take() == ["RST 1 CANCEL"]
    assert up.send(response(1), data(1, b"late", end=True)) == []
    up.assert_nothing_is_left()


def test_a_peer_that_does_not_read_gets_no_more_requests() -> None:
    up = H2UpstreamScript()
    up.transport.fill()
    for _ in range(8):
        assert up.upstream.has_room
        up.request(http2_head(("x", "y" * 8192)))
    assert not up.upstream.has_room
    up.transport.read_all()
    assert up.upstream.has_room


def test_an_upgrade_with_a_body_is_a_request() -> None:
    """A tunnel has none: it would be the first of its bytes."""
    up = H2UpstreamScript(hello=CONNECTS)
    script = up.request(request_head("Connection: Upgrade", "Upgrade: x", "Content-Length: 2", method="POST"))
    script.request_body(b"ab")
    script.request_end()
    assert up.peer.take() == [GET.replace(" end", "").replace("GET", "POST") + " content-length=2", "DATA 1 end 'ab'"]
    up.send(response(1, end=True))
    assert answered(script) == (200, "no_key")


def test_a_tunnel_has_no_length() -> None:
    up = H2UpstreamScript(hello=CONNECTS)
    up.request(request_head("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"))
    up.request(connect_head("websocket", ("content-length", "5")))
    assert ["content-length" in line for line in up.peer.take()] == [False, False]


def test_who_cancels_much_ends_nobody_elses_request() -> None:
    """Servers end connections with many resets; before that others get a new one."""
    up = H2UpstreamScript()
    neighbour = up.request()
    for _ in range(300):
        assert up.upstream.has_room
        up.request().exchange.downstream_failed()
    assert not up.upstream.has_room
    assert up.peer.take()[-1] == "GOAWAY 0 NO_ERROR"
    up.send(response(1, end=True))
    assert answered(neighbour) == (200, "no_key")
    assert up.transport.ending == "close"


@pytest.mark.parametrize(("size", "status"), [(9, 200), (10, 431)])
def test_a_head_over_the_peers_limit_is_not_sent(size: int, status: int) -> None:
    """Netty, and so grpc-java, ends the connection for one, which others share."""
    pairs = [(":method", "GET"), (":scheme", "http"), (":authority", "location"), (":path", "/")]
    limit = sum(len(name) + len(value) + 32 for name, value in pairs) + 1 + 9 + 32
    up = H2UpstreamScript(hello=settings((6, limit)))
    neighbour = up.request()
    script = up.request(http2_head(("x", "y" * size)))
    if size < 10:
        up.send(response(3, end=True))
    assert answered(script)[0] == status
    up.send(response(1, end=True))
    assert answered(neighbour) == (200, "no_key")


def test_a_window_that_stays_shut_holds_up_no_new_requests() -> None:
    """Many servers give the connection's window back only when a handler reads: one that does not stops all bodies."""
    up = H2UpstreamScript(hello=settings((4, 100_000)))
    script = up.request(http2_head(method="POST", end=False))
    script.request_body(b"x" * 65536)
    assert up.upstream.has_room, "it may open in no time"
    up.wait(1)
    assert not up.upstream.has_room
    up.send(window(0, 10))
    assert up.upstream.has_room


# --- responses in --------------------------------------------------------------------------------------------------

RESPONSES = [
    ([response(1), data(1, b"ok"), data(1, end=True)], ["down.head 200", "down.flush", "down.body", "down.end"]),
    ([response(1, end=True)], ["down.head 200", "down.end"]),
    ([response(1), headers(1, ("x", "y"), end=True)], ["down.head 200", "down.flush", "down.end"]),
    ([response(1, status=103), response(1, status=100), response(1, end=True)],
     ["down.interim 103", "down.interim 100", "down.head 200", "down.end"]),
    ([response(1, ("content-length", "2"), status=404), data(1, b"ok", end=True)],
     ["down.head 404", "down.flush", "down.body", "down.end"]),
    ([response(1, ("content-length", "0")), data(1, end=True)], ["down.head 200", "down.flush", "down.end"]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "calls"), RESPONSES)
def test_responses(sent: list[bytes], calls: list[str]) -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.peer.take()
    assert script.does(lambda: up.send(*sent)) == calls
    assert script.exchange.is_over
    assert up.upstream.is_proven
    assert up.peer.take() == []
    up.assert_nothing_is_left()


@pytest.mark.parametrize(("sent", "calls"), RESPONSES)
def test_responses_byte_by_byte(sent: list[bytes], calls: list[str]) -> None:
    up = H2UpstreamScript()
    script = up.request()
    whole = b"".join(sent)
    got = script.does(lambda: up.transport.receive(*(bytes([byte]) for byte in whole)))
    assert got == calls
    whole_at_once = H2UpstreamScript()
    script = whole_at_once.request()
    assert script.does(lambda: whole_at_once.transport.receive(whole)) == [one for one in calls if one != "down.flush"]


def test_responses_in_any_order() -> None:
    up = H2UpstreamScript()
    first, second = up.request(), up.request()
    up.send(response(3), response(1), data(1, b"1"), data(3, b"3", end=True))
    assert (first.down.body, first.down.is_over) == (b"1", False)
    assert (second.down.body, second.down.is_over) == (b"3", True)
    up.send(data(1, b"", end=True))
    assert first.down.is_over


def test_a_response_before_the_requests_end() -> None:
    """The rest is not wanted: the stream is left, the connection stays."""
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    up.send(response(1, status=413), data(1, b"no"))
    assert up.send(data(1, b"", end=True)) == ["RST 1 CANCEL"]
    assert script.down.is_last
    script.request_body(b"more")
    assert up.peer.take() == []
    up.assert_nothing_is_left()


def test_head_requests_have_no_body() -> None:
    up = H2UpstreamScript()
    script = up.request(http2_head(method="HEAD"))
    up.send(response(1, ("content-length", "9"), end=True))
    script.assert_finished(errors.NO_KEY, 200)


HEAD = [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)]
ENDS = [
    (data(1, end=True), []),
    (headers(1, ("x-sum", "1"), end=True), []),
    (rst(1, 2), []),
    (data(1, b"x", end=True), ["RST 1 PROTOCOL_ERROR"]),
]


@pytest.mark.parametrize(("sent", "told"), ENDS)
@pytest.mark.parametrize(("method", "status"), HEAD)
def test_what_has_no_body_is_over_with_its_head(method: bytes, status: int, sent: bytes, told: list[str]) -> None:
    """An HTTP/1.1 caller has its answer then, and goes on; whatever the stream's end is, it must not lose that."""
    up = H2UpstreamScript()
    script = up.request(request_head(method=method.decode()))
    up.peer.take()
    sent_head = response(1, ("content-length", "1"), status=status)
    assert script.does(lambda: up.send(sent_head)) == [f"down.head {status}", "down.end"]
    script.assert_finished(errors.NO_KEY, status)
    said: list[str] = []
    assert script.does(lambda: said.extend(up.send(sent))) == []
    assert said == told
    up.assert_nothing_is_left()


def test_what_has_no_body_and_no_end() -> None:
    up = H2UpstreamScript()
    script = up.request(request_head(method="HEAD"))
    up.peer.take()
    up.send(response(1))
    script.assert_finished(errors.NO_KEY, 200)
    up.wait(21)
    assert up.peer.take() == ["RST 1 CANCEL"]
    up.assert_nothing_is_left()


MALFORMED = [
    ("no status", headers(1, ("x", "y"))),
    ("101", response(1, status=101)),
    ("an interim end", response(1, status=100, end=True)),
    ("capitals", headers(1, (":status", "200"), ("X", "y"))),
    ("a field of a connection", response(1, ("connection", "close"))),
    ("data before a head", data(1, b"x")),
    ("an end before a head", data(1, end=True)),
    ("more than its length", response(1, ("content-length", "1")) + data(1, b"xy")),
    ("less than its length", response(1, ("content-length", "2")) + data(1, b"x", end=True)),
    ("less, with trailers", response(1, ("content-length", "2")) + headers(1, ("x", "y"), end=True)),
    ("a second head", response(1) + response(1)),
    ("malformed trailers", response(1) + headers(1, (":x", "y"), end=True)),
]


@pytest.mark.parametrize(("name", "sent"), MALFORMED)
def test_what_is_no_response(name: str, sent: bytes) -> None:
    """It ends its stream; others go on."""
    up = H2UpstreamScript()
    script = up.request(http2_head(method="HEAD" if "HEAD" in name else "GET"))
    other = up.request()
    up.peer.take()
    assert up.send(sent) == ["RST 1 PROTOCOL_ERROR"]
    if script.down.head is not None and script.down.head.is_http2:
        assert script.down.is_aborted
    else:
        assert answered(script) == (502, "upstream_invalid")
    assert up.transport.ending == "open"
    up.send(response(3, end=True))
    other.assert_finished(errors.NO_KEY, 200)
    up.assert_nothing_is_left()


def test_a_head_over_the_limit() -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.peer.take()
    assert up.send(response(1, *[("x", "y")] * 120)) == ["RST 1 CANCEL"]
    assert answered(script) == (502, "upstream_head_too_large")


# --- resets and ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "passed"), [(8, 8), (2, 2), (0, 2), (7, 7)])
def test_a_reset_behind_the_head(code: int, passed: int) -> None:
    """NO_ERROR would say that the response is whole."""
    up = H2UpstreamScript()
    script = up.request()
    up.send(response(1), rst(1, code))
    assert (script.down.is_aborted, script.down.abort_code) == (True, passed)
    up.assert_nothing_is_left()


def test_a_reset_before_the_head() -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.send(rst(1))
    assert answered(script) == (502, "upstream_closed")
    assert not script.pool.pending, "it may have been executed"


def test_a_refused_stream_goes_elsewhere() -> None:
    """RFC 9113 section 8.7: whatever it was, with all that was sent of it."""
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    script.request_body(b"body")
    script.request_end()
    up.send(rst(1, 7))
    assert script.pool.pending
    script.connected()
    assert (script.up.body, script.up.is_request_complete) == (b"body", True)


def test_a_refusal_is_believed_for_a_while() -> None:
    up = H2UpstreamScript()
    up.request(), up.request(), up.request()
    up.send(rst(5, 7))
    assert not up.upstream.has_room
    up.wait(1)
    assert up.upstream.has_room


def test_goaway() -> None:
    """CHECKLIST 36: streams up to the last one finish, later ones go elsewhere, and then the connection ends."""
    up = H2UpstreamScript()
    first, second, third = up.request(), up.request(), up.request()
    up.send(goaway(3))
    assert not up.upstream.has_room
    assert [bool(script.pool.pending) for script in (first, second, third)] == [False, False, True]
    up.send(response(3, end=True))
    assert up.transport.ending == "open"
    up.send(response(1), data(1, b"ok", end=True))
    assert (first.down.body, up.transport.ending) == (b"ok", "close")
    up.assert_nothing_is_left()


def test_goaway_to_an_idle_connection() -> None:
    up = H2UpstreamScript()
    up.send(goaway(0))
    assert (up.upstream.has_room, up.transport.ending) == (False, "close")


@pytest.mark.parametrize("proven", [False, True])
def test_a_connection_that_is_lost(proven: bool) -> None:
    """A request that a pooled connection may never have read is sent again, if that is safe."""
    up = H2UpstreamScript()
    if proven:
        up.request()
        up.send(response(1, end=True))
    get, post, begun = up.request(), up.request(http2_head(method="POST")), up.request()
    up.send(response(7 if proven else 5))
    up.transport.lose()
    assert bool(get.pool.pending) is proven
    assert answered(post) == (502, "upstream_closed")
    assert begun.down.is_aborted
    assert up.pool.own_ends == {}
    up.assert_nothing_is_left()


def test_an_interim_head_shows_that_the_request_has_arrived() -> None:
    up = H2UpstreamScript()
    up.request()
    up.send(response(1, end=True))
    script = up.request()
    up.send(response(3, status=103))
    up.transport.lose()
    assert answered(script) == (502, "upstream_closed"), "a retry would be the second"


def test_what_a_lost_stream_could_not_take() -> None:
    """Its downstream may go on, to whoever comes next."""
    up = H2UpstreamScript(hello=settings((4, 3)))
    script = up.request(http2_head(method="POST", end=False))
    assert script.request_body(b"abcd") == ["down.pause"]
    assert script.does(lambda: up.send(rst(1, 7))) == ["down.resume", "down.pause", "connect base:1"]
    script.connected()
    assert (script.up.body, script.down.pauses) == (b"abcd", 0)


def test_an_end_of_the_upstreams_side() -> None:
    up = H2UpstreamScript()
    up.transport.receive_eof()
    assert (up.upstream.has_room, up.transport.ending) == (False, "close")


def test_a_fault_of_the_connection() -> None:
    up = H2UpstreamScript()
    first, second = up.request(), up.request()
    up.peer.take()
    up.send(response(1))
    assert up.send(data(0, b"x")) == ["GOAWAY 0 PROTOCOL_ERROR"]
    assert first.down.is_aborted
    assert answered(second) == (502, "upstream_invalid")
    assert (up.transport.ending, up.upstream.has_room, up.address.is_failing) == ("close", False, True)


# --- tunnels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (connect_head(), "HEADERS 1 :method=CONNECT :scheme=http :authority=location :path=/ :protocol=websocket"),
        (
            request_head("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x"),
            "HEADERS 1 :method=CONNECT :protocol=websocket :scheme=http :authority=location :path=/",
        ),
    ],
)
def test_a_tunnel(head: RequestHead, told: str) -> None:
    up = H2UpstreamScript(hello=CONNECTS)
    script = up.request(head)
    assert up.peer.take() == [told]
    assert script.does(lambda: up.send(response(1))) == ["down.head 101", "down.flush"]
    script.request_body(b"ping")
    assert up.send(data(1, b"pong")) == ["DATA 1 'ping'"]
    assert script.down.body == b"pong"
    script.request_end()
    assert up.peer.take() == ["DATA 1 end ''"]
    assert script.does(lambda: up.send(data(1, b"rest", end=True))) == ["down.body", "down.end"]
    assert script.exchange.is_over
    up.assert_nothing_is_left()


def test_a_tunnel_whose_upstream_ends_first() -> None:
    up = H2UpstreamScript(hello=CONNECTS)
    script = up.request(connect_head())
    up.send(response(1), data(1, b"bye", end=True))
    assert not script.exchange.is_over
    script.request_body(b"x")
    script.request_end()
    assert up.peer.take()[-1] == "DATA 1 end 'x'"
    assert script.exchange.is_over
    up.assert_nothing_is_left()


def test_an_upstream_without_extended_connect() -> None:
    up = H2UpstreamScript()
    script = up.request(connect_head())
    assert up.peer.take() == []
    assert answered(script) == (502, "upgrade_refused")
    up.request()
    assert up.peer.take() == [GET.replace("1", "3")]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (connect_head(), (502, "upgrade_refused")),
        (request_head("Upgrade: websocket", "Connection: Upgrade"), (200, "no_key")),
    ],
)
def test_an_agreement_that_ends_at_once(head: RequestHead, expected: tuple[int, str]) -> None:
    """Is no tunnel."""
    up = H2UpstreamScript(hello=CONNECTS)
    script = up.request(head)
    up.send(response(1, end=True))
    assert answered(script) == expected
    up.assert_nothing_is_left()


def test_a_refusal_of_a_tunnel() -> None:
    up = H2UpstreamScript(hello=CONNECTS)
    script = up.request(connect_head())
    up.send(response(1, status=403), data(1, b"no"))
    assert up.send(data(1, end=True)) == ["RST 1 CANCEL"]
    assert answered(script) == (403, "no_key")


# --- time ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_ends() -> None:
    up = H2UpstreamScript()
    up.wait(40)
    assert up.transport.ending == "open"
    up.wait(1)
    assert (up.peer.take(), up.transport.ending) == (["GOAWAY 0 NO_ERROR"], "close")


def test_a_response_that_does_not_come() -> None:
    up = H2UpstreamScript()
    script, call = up.request(), up.request(http2_head(("content-type", "application/grpc"), method="POST"))
    upload = up.request(http2_head(method="POST", end=False))
    up.peer.take()
    up.wait(20)
    assert not script.exchange.is_over
    up.wait(1)
    assert up.peer.take() == ["RST 1 CANCEL"]
    assert answered(script) == (504, "upstream_timeout")
    assert not call.exchange.is_over
    assert not upload.exchange.is_over
    assert up.transport.ending == "open"


def test_a_silent_upstream_is_asked_whether_it_is_there() -> None:
    """Not before five minutes: gRPC servers end connections that ask more often."""
    up = H2UpstreamScript()
    up.request(http2_head(("content-type", "application/grpc"), method="POST"))
    up.peer.take()
    up.wait(330)
    assert up.peer.take() == []
    up.wait(1)
    assert up.peer.take() == [ALIVE]
    up.send(ping(b"\0\0alive\0", ack=True))
    up.wait(331)
    assert up.peer.take() == [ALIVE]
    up.wait(20)
    assert up.transport.ending == "open"
    up.wait(1)
    assert up.transport.ending == "abort"


def test_new_requests_do_not_make_a_silent_upstream_look_alive() -> None:
    """A host that is gone answers nothing; what we send there is no sign of life."""
    up = H2UpstreamScript()
    for _ in range(34):
        up.request()
        up.wait(10)
    assert ALIVE in up.peer.take()
    up.request()
    up.wait(21)
    assert up.transport.ending == "abort"


# --- the pool's wishes ---------------------------------------------------------------------------------------------


def test_close_waits_for_its_streams() -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.peer.take()
    up.upstream.close()
    assert (up.peer.take(), up.transport.ending) == (["GOAWAY 0 NO_ERROR"], "open")
    assert not up.upstream.has_room
    up.send(response(1, end=True))
    assert (script.exchange.is_over, up.transport.ending) == (True, "close")


@pytest.mark.parametrize(("announced", "taken"), [(0, 0), (1, 1), (3, 3), (5000, 1000)])
def test_no_more_streams_than_announced(announced: int, taken: int) -> None:
    up = H2UpstreamScript(hello=settings((3, announced)))
    count = 0
    while up.upstream.has_room:
        up.request()
        count += 1
    assert count == taken
    up.send(settings((3, announced + 1)))
    assert up.upstream.has_room is (taken < 1000)


def test_nothing_is_sent_before_the_peer_has_said_how_many() -> None:
    up = H2UpstreamScript(hello=b"")
    assert not up.upstream.has_room
    assert not up.upstream.ready.done()
    up.send(settings())
    assert up.upstream.has_room
    assert up.upstream.ready.done()
