"""The rules of a connection: which frame ends what, and with which code. Windows of streams are `test_stream`'s."""

from __future__ import annotations

import pytest

from proxy.codec.events import RequestHead
from proxy.codec.h1.reader import HeadLimits
from tests.support.h2script import (
    ACK,
    CONNECTION_WINDOW,
    CONTINUATION,
    DATA,
    END,
    END_HEADERS,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    H2DownstreamScript,
    H2UpstreamScript,
    block,
    data,
    frame,
    goaway,
    headers,
    http2_head,
    ping,
    request,
    request_pairs,
    response,
    rst,
    settings,
    window,
)
from tests.support.net import DownstreamScript

pytestmark = pytest.mark.usefixtures("loop")

GET = block(*request_pairs())
HELLO = PREFACE + settings()
OPEN = request(1, end=False, method="POST")
TABLE_EMPTY = b"\x20"


# --- the start -----------------------------------------------------------------------------------------------------


def test_both_sides_say_their_settings_first() -> None:
    down = H2DownstreamScript(hello=PREFACE)
    assert down.greeting == ["SETTINGS 1=0 3=100 4=65536 6=61440 8=1", "WINDOW 0 +983041"]
    up = H2UpstreamScript(hello=b"")
    assert up.greeting == ["SETTINGS 1=0 2=0 4=65536 6=61440", "WINDOW 0 +983041"]
    assert up.send(settings()) == ["SETTINGS ack"]


@pytest.mark.parametrize("step", [1, 2, 17, 18, 19, 23, 24, 25, 32, 33, 34])
def test_the_start_in_pieces(step: int) -> None:
    whole = HELLO + request(1)
    down = DownstreamScript()
    down.receive(*(whole[index : index + step] for index in range(0, len(whole), step)))
    assert down.targets == ["/"]


@pytest.mark.parametrize("place", [18, 20, 23])
def test_a_preface_that_is_none(place: int) -> None:
    spoiled = PREFACE[:place] + b"x" + PREFACE[place + 1 :]
    down = H2DownstreamScript(hello=spoiled)
    assert down.greeting[2:] == ["GOAWAY 0 PROTOCOL_ERROR"]
    assert down.transport.ending == "eof"


@pytest.mark.parametrize("first", [ping(), request(1), settings()[:4] + b"\x01" + settings()[5:], window(0, 1)])
def test_the_first_frame_must_be_settings(first: bytes) -> None:
    assert H2DownstreamScript(hello=PREFACE + first).greeting[2:] == ["GOAWAY 0 PROTOCOL_ERROR"]
    up = H2UpstreamScript(hello=b"")
    assert up.send(first) == ["GOAWAY 0 PROTOCOL_ERROR"]


# --- what ends the connection --------------------------------------------------------------------------------------

FAULTS = [
    # behind a stream 1 whose request is still under way
    ("a frame over the size", frame(DATA, 0, 1, b"x" * 16385), "FRAME_SIZE_ERROR"),
    ("an unknown frame over the size", frame(99, 0, 0, b"x" * 16385), "FRAME_SIZE_ERROR"),
    ("DATA on stream 0", data(0, b"x"), "PROTOCOL_ERROR"),
    ("DATA on an idle stream", data(3, b"x"), "PROTOCOL_ERROR"),
    ("DATA on a stream of ours", data(2, b"x"), "PROTOCOL_ERROR"),
    ("DATA padded to nothing", frame(DATA, PADDED, 1), "FRAME_SIZE_ERROR"),
    ("DATA with too much padding", frame(DATA, PADDED, 1, b"\x03xx"), "PROTOCOL_ERROR"),
    ("HEADERS on stream 0", headers(0, *request_pairs()), "PROTOCOL_ERROR"),
    ("HEADERS on an even stream", request(2), "PROTOCOL_ERROR"),
    ("HEADERS padded to nothing", frame(HEADERS, PADDED | END_HEADERS, 3), "FRAME_SIZE_ERROR"),
    ("HEADERS with too much padding", frame(HEADERS, PADDED | END_HEADERS, 3, b"\x05" + GET[:4]), "PROTOCOL_ERROR"),
    ("HEADERS without room for a priority", frame(HEADERS, HAS_PRIORITY | END_HEADERS, 3, b"1234"), "FRAME_SIZE_ERROR"),
    ("HEADERS that can't be read", frame(HEADERS, END_HEADERS, 3, b"\xff\xff"), "COMPRESSION_ERROR"),
    ("a block interrupted by PING", frame(HEADERS, 0, 3, GET) + ping(), "PROTOCOL_ERROR"),
    ("a block interrupted by DATA", frame(HEADERS, 0, 3, GET) + data(1, b"x"), "PROTOCOL_ERROR"),
    ("a block interrupted by the unknown", frame(HEADERS, 0, 3, GET) + frame(99), "PROTOCOL_ERROR"),
    ("a block interrupted by HEADERS", frame(HEADERS, 0, 3, GET) + request(5), "PROTOCOL_ERROR"),
    ("a block that goes on elsewhere", frame(HEADERS, 0, 3, GET) + frame(CONTINUATION, 4, 5), "PROTOCOL_ERROR"),
    ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, GET), "PROTOCOL_ERROR"),
    ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"12345"), "PROTOCOL_ERROR"),
    ("PRIORITY of 4 bytes where no stream is", frame(PRIORITY, 0, 7, b"1234"), "FRAME_SIZE_ERROR"),
    ("RST_STREAM on stream 0", rst(0), "PROTOCOL_ERROR"),
    ("RST_STREAM on an idle stream", rst(3), "PROTOCOL_ERROR"),
    ("RST_STREAM of 3 bytes", frame(RST, 0, 1, b"abc"), "FRAME_SIZE_ERROR"),
    ("SETTINGS on a stream", frame(SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"12345"), "FRAME_SIZE_ERROR"),
    ("an acknowledgement that says something", frame(SETTINGS, ACK, 0, b"123456"), "FRAME_SIZE_ERROR"),
    ("ENABLE_PUSH of 2", settings((2, 2)), "PROTOCOL_ERROR"),
    ("an initial window of 2^31", settings((4, 2**31)), "FLOW_CONTROL_ERROR"),
    ("a frame size of 16383", settings((5, 16383)), "PROTOCOL_ERROR"),
    ("a frame size of 2^24", settings((5, 2**24)), "PROTOCOL_ERROR"),
    ("ENABLE_CONNECT_PROTOCOL of 2", settings((8, 2)), "PROTOCOL_ERROR"),
    ("ENABLE_CONNECT_PROTOCOL taken back", settings((8, 1)) + settings((8, 0)), "PROTOCOL_ERROR"),
    ("a push", frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + GET), "PROTOCOL_ERROR"),
    ("PING on a stream", frame(PING, 0, 1, b"12345678"), "PROTOCOL_ERROR"),
    ("PING of 7 bytes", frame(PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR"),
    ("GOAWAY on a stream", frame(7, 0, 1, b"12345678"), "PROTOCOL_ERROR"),
    ("GOAWAY of 7 bytes", frame(7, 0, 0, b"1234567"), "FRAME_SIZE_ERROR"),
    ("WINDOW_UPDATE of 3 bytes", frame(WINDOW, 0, 0, b"abc"), "FRAME_SIZE_ERROR"),
    ("WINDOW_UPDATE of 0", window(0, 0), "PROTOCOL_ERROR"),
    ("WINDOW_UPDATE on an idle stream", window(3, 1), "PROTOCOL_ERROR"),
    ("a connection's window over 2^31-1", window(0, 2**31 - 65535), "FLOW_CONTROL_ERROR"),
    ("a stream's window over 2^31-1", window(1, 2) + settings((4, 2**31 - 2)), "FLOW_CONTROL_ERROR"),
]


@pytest.mark.parametrize(("sent", "code"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_fault_of_the_connection(sent: bytes, code: str) -> None:
    down = H2DownstreamScript()
    down.send(OPEN)
    down.transport.receive(sent)
    told = [line for line in down.peer.take() if line != "SETTINGS ack"]
    assert told == [f"GOAWAY 1 {code}"]
    assert down.transport.ending == "eof"
    assert down.up.is_cancelled
    down.transport.receive(request(7), ping())  # nothing is read any more
    assert down.peer.take() == []
    assert len(down.used) == 1
    down.assert_nothing_is_left()


def test_a_stream_id_must_grow() -> None:
    """Those that were passed over are closed, and so are those that were used; only the code tells which."""
    down = H2DownstreamScript()
    down.send(request(5), request(9))
    for upstream in list(down.used):
        upstream.answer()
    assert down.send(request(5))[-1] == "GOAWAY 9 STREAM_CLOSED"
    down = H2DownstreamScript()
    down.send(request(5), request(9))
    assert down.send(request(7))[-1] == "GOAWAY 9 PROTOCOL_ERROR"
    down = H2DownstreamScript()
    down.send(request(5))
    assert down.send(request(3))[-1] == "GOAWAY 5 PROTOCOL_ERROR"


def test_the_last_hundred_gaps_are_known() -> None:
    """An older one is taken for used: another code, no other end."""
    for stream, code in ((3, "STREAM_CLOSED"), (7, "PROTOCOL_ERROR")):
        down = H2DownstreamScript()
        for number in range(1, 1 + 4 * 102, 4):
            down.send(request(number), rst(number))
        assert down.send(request(stream))[-1].endswith(code)


def test_frames_for_a_stream_that_was_passed_over() -> None:
    down = H2DownstreamScript()
    down.send(request(5))
    assert down.send(window(3, 1), rst(3)) == []
    assert down.send(data(3, b"x")) == ["RST 3 STREAM_CLOSED"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(1), "STREAM_CLOSED"),  # it was used, and is over
        (response(2), "PROTOCOL_ERROR"),
        (response(3), "PROTOCOL_ERROR"),
        (data(3, b"x"), "PROTOCOL_ERROR"),
        (settings((2, 1)), "PROTOCOL_ERROR"),  # only clients may allow pushes
    ],
)
def test_faults_of_a_server(sent: bytes, code: str) -> None:
    up = H2UpstreamScript()
    script = up.request()
    up.send(response(1, end=True))
    script.assert_finished(script.exchange.reason, 200)
    assert up.send(sent) == [f"GOAWAY 0 {code}"]
    assert up.transport.ending == "close"


# --- what ends a stream, and only that -----------------------------------------------------------------------------


def sized(length: int) -> bytes:
    return request(1, ("content-length", str(length)), end=False)


STREAM_FAULTS = [
    ("DATA behind the end", request(1) + data(1, b"x"), "RST 1 STREAM_CLOSED"),
    ("HEADERS behind the end", request(1) + headers(1, ("x", "y"), end=True), "RST 1 STREAM_CLOSED"),
    ("trailers without an end", OPEN + headers(1, ("x", "y")), "RST 1 PROTOCOL_ERROR"),
    ("malformed trailers", OPEN + headers(1, (":path", "/"), end=True), "RST 1 PROTOCOL_ERROR"),
    ("trailers with capitals", OPEN + headers(1, ("X", "y"), end=True), "RST 1 PROTOCOL_ERROR"),
    ("more than the content-length", sized(1) + data(1, b"xy"), "RST 1 PROTOCOL_ERROR"),
    ("less than it", sized(2) + data(1, b"x", end=True), "RST 1 PROTOCOL_ERROR"),
    ("less than it, with trailers", sized(2) + headers(1, end=True), "RST 1 PROTOCOL_ERROR"),
    ("a content-length of 0, and content", sized(0) + data(1, b"x"), "RST 1 PROTOCOL_ERROR"),
    ("a malformed head", headers(1, ("x", "y"), end=True), "RST 1 PROTOCOL_ERROR"),
    ("a head with capitals", request(1, ("X", "y")), "RST 1 PROTOCOL_ERROR"),
    ("WINDOW_UPDATE of 0", OPEN + window(1, 0), "RST 1 PROTOCOL_ERROR"),
    ("a window over 2^31-1", OPEN + window(1, 2**31 - 65535), "RST 1 FLOW_CONTROL_ERROR"),
    ("PRIORITY of 4 bytes", OPEN + frame(PRIORITY, 0, 1, b"1234"), "RST 1 FRAME_SIZE_ERROR"),
    ("more than the stream's window", OPEN + data(1, b"x" * 16384) * 4 + data(1, b"x"), "RST 1 FLOW_CONTROL_ERROR"),
]


@pytest.mark.parametrize(("sent", "told"), [fault[1:] for fault in STREAM_FAULTS], ids=[f[0] for f in STREAM_FAULTS])
def test_a_fault_of_a_stream(sent: bytes, told: str) -> None:
    down = H2DownstreamScript()
    down.pool.is_connecting = "window" in told.lower() or "FLOW" in told  # so that nobody takes the body
    assert down.send(sent) == [told]
    down.pool.is_connecting = False
    assert down.send(request(3, path="/next")) == []
    assert down.targets[-1] == "/next", "the others go on"
    assert all(not upstream.has_request for upstream in down.used[:-1])
    down.up.answer()
    down.assert_nothing_is_left()


def test_what_is_still_under_way_to_a_stream_that_was_reset() -> None:
    down = H2DownstreamScript()
    assert down.send(OPEN, window(1, 0)) == ["RST 1 PROTOCOL_ERROR"]
    late = data(1, b"x" * 100) + headers(1, ("x", "y"), end=True) + window(1, 5) + rst(1)
    assert down.send(late) == []
    assert down.send(ping()) == ["PING ack '12345678'"]


def test_so_many_resets_are_remembered() -> None:
    """An older stream's late DATA is answered, as for any closed one; not with an error for the connection."""
    down = H2DownstreamScript()
    for number in range(1, 4003, 2):  # 2001 of them
        down.transport.receive(headers(number, ("x", "y"), end=True))
    assert set(down.peer.take()) == {f"RST {number} PROTOCOL_ERROR" for number in range(1, 4003, 2)}
    assert down.send(data(3, b"x")) == []
    assert down.send(data(1, b"x")) == ["RST 1 STREAM_CLOSED"]


# --- what is answered, or passed over ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (ping(), ["PING ack '12345678'"]),
        (ping(ack=True), []),
        (settings((4, 5), (0x99, 7)), ["SETTINGS ack"]),
        (frame(SETTINGS, ACK), []),
        (frame(PRIORITY, 0, 7, b"12345"), []),
        (frame(99, 0xFF, 8, b"what"), []),
        (window(0, 2**31 - 1 - 65535), []),
        (frame(DATA, 0, 1), []),
        (frame(DATA, PADDED, 1, b"\x03\0\0\0"), []),
    ],
)
def test_other_frames(sent: bytes, told: list[str]) -> None:
    down = H2DownstreamScript()
    down.send(OPEN)
    assert down.send(sent) == told
    assert not down.up.body
    assert down.transport.ending == "open"


def test_padding_and_priority_are_taken_off() -> None:
    down = H2DownstreamScript()
    start = frame(HEADERS, PADDED | HAS_PRIORITY | END_HEADERS, 1, b"\x02" + b"\x80\0\0\1\x10" + GET + b"\0\0")
    down.send(start, frame(DATA, PADDED | END, 1, b"\x03body\0\0\0"))
    assert (down.targets, down.up.body) == (["/"], b"body")
    assert down.up.is_request_complete


def test_the_reserved_bit_is_ignored() -> None:
    down = H2DownstreamScript()
    sent = bytearray(request(1))
    sent[5] |= 0x80
    down.transport.receive(bytes(sent))
    assert down.targets == ["/"]


# --- header blocks in several frames -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_a_block_in_pieces(size: int) -> None:
    parts = [GET[index : index + size] for index in range(0, len(GET), size)]
    sent = frame(HEADERS, END, 1, parts[0])
    sent += b"".join(frame(CONTINUATION, 0, 1, part) for part in parts[1:]) + frame(CONTINUATION, END_HEADERS, 1)
    down = H2DownstreamScript()
    told = down.send(sent)
    if len(parts) > 64:
        assert told == ["GOAWAY 0 ENHANCE_YOUR_CALM"]
    else:
        assert (told, down.targets, down.up.is_request_complete) == ([], ["/"], True)


def test_the_end_of_the_stream_stands_in_the_first_frame() -> None:
    down = H2DownstreamScript()
    down.send(frame(HEADERS, 0, 1, GET) + frame(CONTINUATION, END_HEADERS | END, 1))
    assert not down.up.is_request_complete


def test_a_block_over_the_limit_is_answered() -> None:
    down = H2DownstreamScript(limits=HeadLimits(max_bytes=1000))
    big = block(*request_pairs(("x", "y" * 1000)))
    assert down.send(frame(HEADERS, END, 1, big[:500]) + frame(CONTINUATION, END_HEADERS, 1, big[500:]))[0].startswith(
        "HEADERS 1 :status=431"
    )
    assert down.send(request(3)) == []


def test_an_absurd_block_ends_the_connection() -> None:
    down = H2DownstreamScript(limits=HeadLimits(max_bytes=1000))
    big = block(*request_pairs(("x", "y" * 5000)))
    assert down.send(frame(HEADERS, END, 1, big[:500]) + frame(CONTINUATION, END_HEADERS, 1, big[500:])) == [
        "GOAWAY 0 ENHANCE_YOUR_CALM"
    ]


@pytest.mark.parametrize("total", [16384 - 1, 16384, 16384 + 1, 40000])
def test_long_heads_go_out_in_pieces(total: int) -> None:
    up = H2UpstreamScript()
    up.request(_long_head(total - len(TABLE_EMPTY + block(*request_pairs(("x", "y" * 10000)))) + 10000))
    (told,) = up.peer.take()
    assert told.startswith("HEADERS 1 end :method=GET")
    sizes = [len(one.payload) for one in up.peer.frames if one.kind in (HEADERS, CONTINUATION)]
    assert sum(sizes) - total in (0, 1)  # a longer value's length takes another octet
    assert all(size == 16384 for size in sizes[:-1])
    assert [one.flags for one in up.peer.frames if one.kind == HEADERS] == [END | END_HEADERS * (len(sizes) == 1)]
    assert [one.flags for one in up.peer.frames if one.kind == CONTINUATION] == [0] * (len(sizes) - 2) + (
        [END_HEADERS] if len(sizes) > 1 else []
    )


def _long_head(length: int) -> RequestHead:
    return http2_head(("x", "y" * length))


def test_larger_frames_where_the_peer_takes_them() -> None:
    up = H2UpstreamScript(hello=settings((5, 20000)))
    up.request(_long_head(18000))
    up.peer.take()
    assert [one.kind for one in up.peer.frames if len(one.payload) > 16384] == [HEADERS]


def test_nothing_is_indexed_in_what_we_send() -> None:
    """The first block says so, since the peer's table may be larger; every one is read by an empty one."""
    up = H2UpstreamScript()
    for _ in range(3):
        up.request()
    up.peer.take()
    blocks = [one.payload for one in up.peer.frames if one.kind == HEADERS]
    assert [payload[:1] == TABLE_EMPTY for payload in blocks] == [True, False, False]


def test_an_acknowledgement_empties_the_peers_table() -> None:
    """RFC 9113 section 4.3.1: behind it, the next block must say that the table is empty."""
    down = H2DownstreamScript()
    down.send(frame(SETTINGS, ACK))
    assert down.send(request(1)) == ["GOAWAY 0 COMPRESSION_ERROR"]
    down = H2DownstreamScript()
    down.send(frame(SETTINGS, ACK))
    down.send(frame(HEADERS, END | END_HEADERS, 1, TABLE_EMPTY + GET))
    assert down.targets == ["/"]


# --- the connection's window ---------------------------------------------------------------------------------------


def test_the_connections_window_is_given_by_the_half() -> None:
    """Whatever becomes of the data: here its streams are closed."""
    down = H2DownstreamScript()
    down.send(OPEN, window(1, 0))
    piece = data(1, b"x" * 16384)
    for _ in range(CONNECTION_WINDOW // 2 // 16384 - 1):
        assert down.send(piece) == []
    assert down.send(piece) == [f"WINDOW 0 +{CONNECTION_WINDOW // 2}"]


def test_padding_counts() -> None:
    down = H2DownstreamScript()
    down.send(OPEN, window(1, 0))
    padded = frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255)
    told = [line for _ in range(CONNECTION_WINDOW // 2 // 256) for line in down.send(padded)]
    assert told == [f"WINDOW 0 +{CONNECTION_WINDOW // 2}"]


def test_goaway_of_a_client() -> None:
    """What it asked for is still answered; then the connection ends."""
    down = H2DownstreamScript()
    down.send(request(1), goaway(0))
    assert down.transport.ending == "open"
    down.up.answer()
    assert down.peer.take() == ["HEADERS 1 :status=200 content-length=2", "DATA 1 end 'ok'"]
    assert down.transport.ending == "close"
