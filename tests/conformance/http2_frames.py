"""Frames that break RFC 9113, and odd ones that do not. Each row's name begins with the section that rules it.

Stream 1 is complete, stream 3 a request under way (`http2_row.check`); rows begin at stream 5.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.http2_row import Row, answered, connection, either, ignored, stream
from tests.support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PRIORITY,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    frame,
    get,
    goaway,
    head,
    headers,
    ping,
    post,
    priority,
    push_promise,
    reset,
    settings,
    window_update,
)
from tests.support.http2_peer import Peer

PROTOCOL: Final = Code.PROTOCOL_ERROR
SIZE: Final = Code.FRAME_SIZE_ERROR
FLOW: Final = Code.FLOW_CONTROL_ERROR
CLOSED: Final = Code.STREAM_CLOSED

OPEN = post(5)
HALF = get(5, "/held")  # half-closed (remote): it is never answered
HEAD = head("/")
BEGUN = headers(5, HEAD[:20], end=True, whole=False)  # half a block
REST = continuation(5, HEAD[20:])
UNKNOWN_FLAGS = 0xD2  # neither ACK and END_STREAM, END_HEADERS, PADDED nor PRIORITY


def _too_long(peer: Peer) -> bytes:
    return bytes(peer.settings.get(Setting.MAX_FRAME_SIZE, MAX_FRAME) + 1)


FRAMES: Final[tuple[Row, ...]] = (
    # --- 4.1: the frame format ---
    ignored("4.1: an unknown type on the connection", frame(Kind.UNKNOWN, bytes(20), flags=0xFF)),
    ignored("4.1: an unknown type on an open stream", frame(Kind.UNKNOWN, bytes(20), flags=0xFF, stream=3)),
    ignored("4.1: an unknown type on an idle stream", frame(Kind.UNKNOWN, bytes(20), flags=0xFF, stream=5)),
    ignored("4.1: an unknown type on a closed stream", frame(Kind.UNKNOWN, bytes(20), flags=0xFF, stream=1)),
    answered(
        "4.1: unknown flags on HEADERS",
        200,
        frame(Kind.HEADERS, HEAD, flags=UNKNOWN_FLAGS | END_HEADERS | END_STREAM, stream=5),
    ),
    answered(
        "4.1: unknown flags on DATA", 200, OPEN, frame(Kind.DATA, b"x", flags=UNKNOWN_FLAGS | END_STREAM, stream=5)
    ),
    ignored("4.1: unknown flags on SETTINGS", frame(Kind.SETTINGS, flags=UNKNOWN_FLAGS)),
    ignored("4.1: unknown flags on PING", frame(Kind.PING, bytes(8), flags=UNKNOWN_FLAGS | PADDED)),
    ignored(
        "4.1: unknown flags on RST_STREAM",
        OPEN,
        frame(Kind.RST_STREAM, bytes([0, 0, 0, 8]), flags=0xFF, stream=5),
    ),
    ignored("4.1: unknown flags on WINDOW_UPDATE", frame(Kind.WINDOW_UPDATE, bytes([0, 0, 0, 1]), flags=0xFF)),
    answered("4.1: the reserved bit of a stream's number", 200, get(5 | 1 << 31)),
    ignored("4.1: the reserved bit of a WINDOW_UPDATE", frame(Kind.WINDOW_UPDATE, bytes([128, 0, 0, 1]))),
    # --- 4.2: frame size ---
    either("4.2: DATA longer than allowed", SIZE, lambda peer: OPEN + data(5, _too_long(peer))),
    Row("4.2: HEADERS longer than allowed", "connection", SIZE, lambda peer: headers(5, HEAD + _too_long(peer))),
    Row("4.2: CONTINUATION longer than allowed", "connection", SIZE, lambda p: BEGUN + continuation(5, _too_long(p))),
    Row(
        "4.2: SETTINGS longer than allowed", "connection", SIZE, lambda p: settings([(0xEEEE, 0)] * (len(_too_long(p))))
    ),
    either("4.2: an unknown type longer than allowed", SIZE, lambda peer: frame(Kind.UNKNOWN, _too_long(peer))),
    answered("4.2: DATA as long as allowed", 200, OPEN, data(5, bytes(MAX_FRAME), end=True)),
    # --- 4.3: header blocks ---
    answered(
        "4.3: a block in many fragments",
        200,
        BEGUN,
        *(continuation(5, HEAD[i : i + 1], whole=False) for i in range(20, 24)),
        continuation(5, HEAD[24:]),
    ),
    answered("4.3: an empty last fragment", 200, headers(5, HEAD, end=True, whole=False), continuation(5)),
    answered("4.3: an empty first fragment", 200, headers(5, b"", end=True, whole=False), continuation(5, HEAD)),
    connection("4.3: DATA inside a block", PROTOCOL, BEGUN, data(3, b"x"), REST),
    connection("4.3: DATA of the same stream inside a block", PROTOCOL, BEGUN, data(5, b"x"), REST),
    connection("4.3: HEADERS of another stream inside a block", PROTOCOL, BEGUN, get(7), REST),
    connection("4.3: HEADERS of the same stream inside a block", PROTOCOL, BEGUN, headers(5, HEAD[20:], end=True)),
    connection("4.3: PRIORITY inside a block", PROTOCOL, BEGUN, priority(5), REST),
    connection("4.3: RST_STREAM inside a block", PROTOCOL, BEGUN, reset(5), REST),
    connection("4.3: SETTINGS inside a block", PROTOCOL, BEGUN, settings(), REST),
    connection("4.3: PING inside a block", PROTOCOL, BEGUN, ping(), REST),
    connection("4.3: GOAWAY inside a block", PROTOCOL, BEGUN, goaway(), REST),
    connection("4.3: WINDOW_UPDATE inside a block", PROTOCOL, BEGUN, window_update(0, 1), REST),
    connection("4.3: an unknown type inside a block", PROTOCOL, BEGUN, frame(Kind.UNKNOWN, stream=5), REST),
    # --- 5.1: states ---
    connection("5.1: DATA on an idle stream", PROTOCOL, data(5, b"x")),
    connection("5.1: RST_STREAM on an idle stream", PROTOCOL, reset(5)),
    connection("5.1: WINDOW_UPDATE on an idle stream", PROTOCOL, window_update(5, 1)),
    connection("5.1: CONTINUATION on an idle stream", PROTOCOL, continuation(5, HEAD)),
    connection("5.1: DATA on an idle stream of ours", PROTOCOL, data(2, b"x")),
    connection("5.1: RST_STREAM on an idle stream of ours", PROTOCOL, reset(2)),
    connection("5.1: WINDOW_UPDATE on an idle stream of ours", PROTOCOL, window_update(2, 1)),
    ignored("5.1: PRIORITY on an idle stream", priority(5), priority(2)),
    stream("5.1: DATA on a half-closed stream", CLOSED, HALF, data(5, b"x")),
    stream("5.1: HEADERS on a half-closed stream", CLOSED, HALF, headers(5, b"", end=True)),
    answered(
        "5.1: WINDOW_UPDATE on a half-closed stream",
        200,
        settings({Setting.INITIAL_WINDOW_SIZE: 1}),
        get(5),
        window_update(5, 1000),
        settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW - 2000}),
    ),
    stream("5.1: DATA on a closed stream", CLOSED, data(1, b"x"), of=1),
    connection("5.1: HEADERS on a closed stream", CLOSED, get(1)),
    ignored("5.1: WINDOW_UPDATE on a closed stream", window_update(1, 1)),
    ignored("5.1: RST_STREAM on a closed stream", reset(1)),
    ignored("5.1: PRIORITY on a half-closed stream", get(7, "/held"), priority(7)),
    ignored("5.1: PRIORITY on a closed stream", priority(1)),
    stream("5.1: DATA on a stream that its sender has reset", CLOSED, OPEN, reset(5), data(5, b"x")),
    either("5.1: HEADERS on a stream that its sender has reset", CLOSED, lambda _: OPEN + reset(5) + get(5)),
    ignored("5.1: RST_STREAM twice", OPEN, reset(5), reset(5)),
    # --- 5.1.1: numbers ---
    connection("5.1.1: an even number", PROTOCOL, get(6)),
    connection("5.1.1: a lower number than before", PROTOCOL, get(7, "/held"), get(5)),
    stream("5.1.1: DATA on a number that was left out", CLOSED, get(7, "/held"), data(5, b"x")),
    answered("5.1.1: numbers may be left out", 200, get(901), of=901),
    answered("5.1.1: the last number but one", 200, get(2**31 - 3), of=2**31 - 3),
    # --- 6.1: DATA ---
    connection("6.1: DATA on stream 0", PROTOCOL, data(0, b"x")),
    connection("6.1: padding as long as DATA", PROTOCOL, OPEN, frame(Kind.DATA, b"\x04abc", flags=PADDED, stream=5)),
    connection("6.1: padding longer than DATA", PROTOCOL, OPEN, frame(Kind.DATA, b"\xffabc", flags=PADDED, stream=5)),
    either("6.1: padded DATA without a length", SIZE, lambda _: OPEN + frame(Kind.DATA, flags=PADDED, stream=5)),
    answered("6.1: nothing but padding", 200, OPEN, data(5, b"", pad=255), data(5, b"", pad=0, end=True)),
    # --- 6.2: HEADERS ---
    connection("6.2: HEADERS on stream 0", PROTOCOL, get(0)),
    connection(
        "6.2: padding longer than HEADERS", PROTOCOL, frame(Kind.HEADERS, b"\xff" + HEAD, flags=PADDED | 5, stream=5)
    ),
    connection("6.2: padded HEADERS without a length", SIZE, frame(Kind.HEADERS, flags=PADDED | 5, stream=5)),
    connection("6.2: a priority of 4 bytes", SIZE, frame(Kind.HEADERS, bytes(4), flags=PRIORITY | 5, stream=5)),
    connection(
        "6.2: padding that reaches into the priority",
        PROTOCOL,
        frame(Kind.HEADERS, b"\x04" + bytes(8), flags=PADDED | PRIORITY | 5, stream=5),
    ),
    answered("6.2: padding and priority", 200, headers(5, HEAD, end=True, pad=9, priority=(3, 200))),
    # --- 6.3: PRIORITY ---
    connection("6.3: PRIORITY on stream 0", PROTOCOL, priority(0)),
    stream("6.3: PRIORITY of 4 bytes", SIZE, OPEN, frame(Kind.PRIORITY, bytes(4), stream=5)),
    stream("6.3: PRIORITY of 6 bytes", SIZE, OPEN, frame(Kind.PRIORITY, bytes(6), stream=5)),
    ignored("6.3: PRIORITY says nothing", priority(3, 1, 255), priority(3, 1 << 31, 0)),
    # --- 6.4: RST_STREAM ---
    connection("6.4: RST_STREAM on stream 0", PROTOCOL, reset(0)),
    connection("6.4: RST_STREAM of 3 bytes", SIZE, OPEN, frame(Kind.RST_STREAM, bytes(3), stream=5)),
    connection("6.4: RST_STREAM of 5 bytes", SIZE, OPEN, frame(Kind.RST_STREAM, bytes(5), stream=5)),
    # --- 6.5: SETTINGS ---
    connection("6.5: SETTINGS on a stream", PROTOCOL, frame(Kind.SETTINGS, stream=3)),
    connection("6.5: an acknowledgement that says more", SIZE, frame(Kind.SETTINGS, bytes(6), flags=ACK)),
    connection("6.5: SETTINGS of 5 bytes", SIZE, frame(Kind.SETTINGS, bytes(5))),
    connection("6.5: SETTINGS of 7 bytes", SIZE, frame(Kind.SETTINGS, bytes(7))),
    connection("6.5.2: ENABLE_PUSH of 2", PROTOCOL, settings({Setting.ENABLE_PUSH: 2})),
    connection("6.5.2: INITIAL_WINDOW_SIZE of 2^31", FLOW, settings({Setting.INITIAL_WINDOW_SIZE: 2**31})),
    connection("6.5.2: MAX_FRAME_SIZE of 16383", PROTOCOL, settings({Setting.MAX_FRAME_SIZE: 16383})),
    connection("6.5.2: MAX_FRAME_SIZE of 2^24", PROTOCOL, settings({Setting.MAX_FRAME_SIZE: 2**24})),
    connection(
        "6.5.2: a bad value behind a good one",
        FLOW,
        settings([(Setting.INITIAL_WINDOW_SIZE, 10), (Setting.INITIAL_WINDOW_SIZE, 2**31)]),
    ),
    ignored("6.5.2: an unknown setting", settings({0xEEEE: 2**32 - 1, 0: 5})),
    ignored(
        "6.5.2: the largest values", settings({1: 2**32 - 1, 2: 1, 3: 0, 4: MAX_WINDOW, 5: 2**24 - 1, 6: 2**32 - 1})
    ),
    # --- 6.6: PUSH_PROMISE ---
    connection("6.6: PUSH_PROMISE of a client", PROTOCOL, OPEN, push_promise(5, 2, HEAD)),
    # --- 6.7: PING ---
    connection("6.7: PING on a stream", PROTOCOL, frame(Kind.PING, bytes(8), stream=3)),
    connection("6.7: PING of 7 bytes", SIZE, frame(Kind.PING, bytes(7))),
    connection("6.7: PING of 9 bytes", SIZE, frame(Kind.PING, bytes(9))),
    # --- 6.8: GOAWAY ---
    connection("6.8: GOAWAY on a stream", PROTOCOL, frame(Kind.GOAWAY, bytes(8), stream=3)),
    connection("6.8: GOAWAY of 7 bytes", SIZE, frame(Kind.GOAWAY, bytes(7))),
    # --- 6.9: WINDOW_UPDATE ---
    connection("6.9: WINDOW_UPDATE of 3 bytes", SIZE, frame(Kind.WINDOW_UPDATE, bytes(3))),
    connection("6.9: WINDOW_UPDATE of 5 bytes", SIZE, frame(Kind.WINDOW_UPDATE, bytes(5))),
    connection("6.9: WINDOW_UPDATE of 5 bytes on a stream", SIZE, frame(Kind.WINDOW_UPDATE, bytes(5), stream=3)),
    stream("6.9: an increment of 0", PROTOCOL, OPEN, window_update(5, 0)),
    connection("6.9: an increment of 0 for the connection", PROTOCOL, window_update(0, 0)),
    stream("6.9: an increment of 0 with the reserved bit", PROTOCOL, OPEN, window_update(5, 1 << 31)),
    stream("6.9.1: a stream's window above 2^31-1", FLOW, OPEN, window_update(5, 1)),
    connection("6.9.1: the connection's window above 2^31-1", FLOW, window_update(0, MAX_WINDOW)),
    connection(
        "6.9.2: settings that lift a stream's window above 2^31-1",
        FLOW,
        settings({Setting.INITIAL_WINDOW_SIZE: 1000}),
        OPEN,
        window_update(5, MAX_WINDOW - 1000),
        settings({Setting.INITIAL_WINDOW_SIZE: 1001}),
    ),
    # --- 6.10: CONTINUATION ---
    connection("6.10: CONTINUATION on stream 0", PROTOCOL, BEGUN, continuation(0, HEAD[20:])),
    connection("6.10: CONTINUATION of another stream", PROTOCOL, BEGUN, continuation(3, HEAD[20:])),
    connection("6.10: CONTINUATION behind a whole block", PROTOCOL, OPEN, continuation(5)),
    connection("6.10: CONTINUATION behind DATA", PROTOCOL, OPEN, data(5, b"x"), continuation(5)),
    # --- 7: error codes ---
    ignored("7: an unknown error code", OPEN, reset(5, 0xEEEEEEEE)),
)
