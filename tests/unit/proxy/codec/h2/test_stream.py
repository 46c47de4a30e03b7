"""Windows both ways: what may be sent, what waits until it may, and what is taken (RFC 9113 section 5.2, 6.9).

The peer of `tests.support.h2script` fails whatever goes over a window, in each of these tests.
"""

from __future__ import annotations

import pytest

from proxy.codec.events import CHUNKED
from tests.support.h2script import (
    CONNECTION_WINDOW,
    PADDED,
    STREAM_WINDOW,
    H2DownstreamScript,
    H2UpstreamScript,
    data,
    frame,
    headers,
    http2_head,
    http2_response,
    ping,
    request,
    response,
    rst,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("loop")

WINDOW = 65535


def answering(*hello: tuple[int, int], streams: int = 1) -> H2DownstreamScript:
    """Requests whose answers have begun."""
    down = H2DownstreamScript()
    down.send(settings(*hello))
    for number in range(streams):
        down.send(request(1 + 2 * number))
    for upstream in down.used:
        upstream.head(CHUNKED)
    down.peer.take()
    return down


def sent(told: list[str]) -> int:
    """How many bytes of bodies."""
    parts = [line.split(" ")[-1] for line in told if line.startswith("DATA")]
    return sum(int(part) if part.isdigit() else len(part) - 2 for part in parts)


# --- sending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"ok", ["DATA 1 end 'ok'"]),
        (b"", ["DATA 1 end ''"]),
        (b"x" * 16384, ["DATA 1 end 16384"]),
        (b"x" * 16385, ["DATA 1 16384", "DATA 1 end 'x'"]),
        (b"x" * WINDOW, ["DATA 1 16384"] * 3 + ["DATA 1 end 16383"]),
    ],
)
def test_what_fits_goes_out_at_once(body: bytes, told: list[str]) -> None:
    """The end stands on the last frame."""
    down = answering()
    if body:
        down.up.exchange.response_body(body)
    down.up.end()
    assert down.peer.take() == told
    assert "up(base:1).pause" not in down.calls
    down.assert_nothing_is_left()


def test_the_end_alone_where_the_last_frame_has_gone() -> None:
    down = answering()
    down.up.exchange.response_body(b"ok")
    assert down.peer.take() == ["DATA 1 'ok'"]
    down.up.end()
    assert down.peer.take() == ["DATA 1 end ''"]


def test_the_end_stands_on_its_own_streams_frame() -> None:
    down = answering(streams=2)
    first, second = down.used
    first.exchange.response_body(b"1")
    second.exchange.response_body(b"3")
    first.end()
    second.end()
    assert down.peer.take() == ["DATA 1 end '1'", "DATA 3 end '3'"]


def test_the_end_on_a_head_of_several_frames() -> None:
    down = H2DownstreamScript()
    down.send(request(1, method="HEAD"))
    down.up.exchange.response_head(http2_response(("x", "y" * 20000)))
    down.up.end()
    (told,) = down.peer.take()
    assert told.startswith("HEADERS 1 end :status=200 x=yyy")


def test_trailers_end_a_stream() -> None:
    down = answering()
    down.up.exchange.response_body(b"ok")
    down.up.end(b"X-Sum: 1", b"x-b:2 ")
    assert down.peer.take() == ["DATA 1 'ok'", "HEADERS 1 end x-sum=1 x-b=2"]


def test_what_does_not_fit_waits() -> None:
    down = answering()
    down.up.exchange.response_body(b"x" * (WINDOW + 10))
    assert sent(down.peer.take()) == WINDOW
    assert down.up.pauses == 1
    down.up.exchange.response_body(b"y")  # what the upstream had sent before
    assert down.up.pauses == 1, "asked once"
    assert down.send(window(1, 5)) == [], "the connection's window is full too"
    assert down.send(window(0, 3)) == ["DATA 1 'xxx'"]
    assert down.send(window(0, 100)) == ["DATA 1 'xx'"]
    assert down.up.pauses == 1
    assert down.send(window(1, 100)) == ["DATA 1 'xxxxx'", "DATA 1 'y'"]
    assert down.up.pauses == 0
    down.up.end()
    assert down.peer.take() == ["DATA 1 end ''"]


def test_the_end_waits_behind_what_waits() -> None:
    down = answering()
    down.up.exchange.response_body(b"x" * (WINDOW + 10))
    down.up.end(b"x-sum: 1")
    assert sent(down.peer.take()) == WINDOW
    assert down.send(window(0, 100)) == []
    assert down.send(window(1, 9)) == ["DATA 1 'xxxxxxxxx'"]
    assert down.h2.streams
    assert down.send(window(1, 9)) == ["DATA 1 'x'", "HEADERS 1 end x-sum=1"]
    down.assert_nothing_is_left()


def test_a_queue_of_many_pieces_in_order() -> None:
    down = answering((4, 0))
    pieces = [bytes([97 + number]) * number for number in range(1, 20)]
    for piece in pieces:
        down.up.exchange.response_body(piece)
    down.up.end()
    assert down.peer.take() == []
    for _ in range(sum(map(len, pieces))):
        assert sent(down.send(window(1, 1))) == 1
    assert down.peer.bodies[1] == b"".join(pieces)
    assert down.peer.frames[-1].flags == 1, "the end stands on the last byte"
    down.assert_nothing_is_left()


def test_a_smaller_window_may_be_negative() -> None:
    """Section 6.9.2."""
    down = answering()
    down.up.exchange.response_body(b"x" * 1000)
    down.peer.take()
    down.send(settings((4, 100)))
    assert down.peer.stream_window(1) == -900
    down.up.exchange.response_body(b"y")
    assert down.peer.take() == []
    assert down.send(window(1, 900)) == [], "it is 0 now"
    assert down.send(settings((4, 101))) == ["DATA 1 'y'", "SETTINGS ack"]
    assert down.send(window(1, 10)) == []
    down.up.exchange.response_body(b"z" * 11)
    assert sent(down.peer.take()) == 10


def test_a_larger_window_sets_free() -> None:
    down = answering((4, 10), streams=2)
    for upstream in down.used:
        upstream.exchange.response_body(b"x" * 15)
    assert sent(down.peer.take()) == 20
    assert down.send(settings((4, 12))) == ["DATA 1 'xx'", "DATA 3 'xx'", "SETTINGS ack"]
    assert down.send(settings((4, 11))) == ["SETTINGS ack"]
    assert down.send(settings((4, 20))) == ["DATA 1 'xxx'", "DATA 3 'xxx'", "SETTINGS ack"]
    assert [upstream.pauses for upstream in down.used] == [0, 0]


def test_new_streams_begin_with_the_window_of_now() -> None:
    down = answering((4, 7))
    down.send(settings((4, 3)))
    down.send(request(3))
    down.up.head(CHUNKED)
    down.up.exchange.response_body(b"x" * 5)
    assert down.peer.take()[-1] == "DATA 3 'xxx'"


def test_streams_take_turns() -> None:
    """When the connection's window opens each gets a frame, not the first one everything."""
    down = answering((4, 1 << 20), streams=3)
    down.used[0].exchange.response_body(b"x" * WINDOW)
    for upstream in down.used:
        upstream.exchange.response_body(b"y" * 40000)
    down.peer.take()
    assert down.send(window(0, 16384 * 4)) == ["DATA 1 16384", "DATA 3 16384", "DATA 5 16384", "DATA 1 16384"]
    down.send(window(0, 1 << 20))
    assert [len(down.peer.bodies[number]) for number in (1, 3, 5)] == [WINDOW + 40000, 40000, 40000]


def test_a_full_stream_stops_no_other() -> None:
    down = answering((4, 100), streams=2)
    first, second = down.used
    first.exchange.response_body(b"x" * 200)
    second.exchange.response_body(b"y" * 50)
    second.end()
    assert down.peer.take() == ["DATA 1 100", "DATA 3 end 50"]
    assert (first.pauses, second.pauses) == (1, 0)


def test_a_full_transport_stops_all() -> None:
    down = answering(streams=2)
    down.transport.fill()
    for upstream in down.used:
        upstream.exchange.response_body(b"x" * 10)
    assert down.peer.take() == []
    assert [upstream.pauses for upstream in down.used] == [1, 1]
    down.send(window(0, 5), window(1, 5))
    down.transport.read_all()
    assert sorted(down.peer.take()) == ["DATA 1 'xxxxxxxxxx'", "DATA 3 'xxxxxxxxxx'"]
    assert [upstream.pauses for upstream in down.used] == [0, 0]


def test_what_waits_is_dropped_with_its_stream() -> None:
    down = answering((4, 10))
    down.up.exchange.response_body(b"x" * 20)
    down.peer.take()
    assert down.send(rst(1)) == []
    assert down.up.is_cancelled
    assert down.send(window(0, 100), ping()) == ["PING ack '12345678'"]
    down.assert_nothing_is_left()


def test_frames_grow_where_the_peer_takes_larger_ones() -> None:
    down = answering((5, 30000))
    down.up.exchange.response_body(b"x" * 40000)
    assert [line for line in down.peer.take() if line.startswith("DATA")] == ["DATA 1 30000", "DATA 1 10000"]


# --- receiving -----------------------------------------------------------------------------------------------------


def uploading(size: int = 1 << 30) -> H2DownstreamScript:
    down = H2DownstreamScript()
    down.send(request(1, ("content-length", str(size)), method="POST", end=False))
    return down


def test_new_window_by_the_half_and_more_for_who_keeps_up() -> None:
    down = uploading()
    assert down.send(data(1, b"x" * 16384)) == []
    assert down.send(data(1, b"x" * 16383)) == []
    assert down.send(data(1, b"x")) == [f"WINDOW 1 +{STREAM_WINDOW // 2 + STREAM_WINDOW}"]
    assert down.send(*[data(1, b"x" * 16384)] * 3) == []
    assert down.send(data(1, b"x" * 16384)) == [f"WINDOW 1 +{STREAM_WINDOW + 2 * STREAM_WINDOW}"]


def test_the_window_grows_to_a_bound() -> None:
    down = uploading()
    for _ in range(1000):
        down.send(data(1, b"x" * 16384))
    given = STREAM_WINDOW + down.peer.given[1]
    ahead = given - 1000 * 16384
    assert CONNECTION_WINDOW // 2 < ahead <= CONNECTION_WINDOW
    assert len(down.up.body) == 1000 * 16384


def test_all_windows_together_grow_to_a_bound_and_shrink_with_their_streams() -> None:
    down = H2DownstreamScript()
    for number in range(1, 40, 2):
        down.send(request(number, method="POST", end=False))
        for _ in range(100):
            down.send(data(number, b"x" * 16384))
    ahead = sum(STREAM_WINDOW + down.peer.given[number] - 100 * 16384 for number in range(1, 40, 2))
    assert ahead <= 20 * STREAM_WINDOW + 4194304
    assert down.h2.spare_window < STREAM_WINDOW
    for number in range(1, 40, 2):
        down.send(data(number, end=True))
    for upstream in list(down.used):
        upstream.answer()
    down.assert_nothing_is_left()


def test_padding_is_given_back() -> None:
    down = uploading()
    for _ in range(STREAM_WINDOW // 2 // 256 - 1):
        assert down.send(frame(0, PADDED, 1, b"\xff" + b"\0" * 255)) == []
    assert down.send(frame(0, PADDED, 1, b"\xff" + b"\0" * 255)) == [f"WINDOW 1 +{STREAM_WINDOW // 2 + STREAM_WINDOW}"]
    assert down.up.body == b""


def test_what_nobody_takes_waits_and_gets_no_new_window() -> None:
    down = uploading()
    down.up.exchange.upstream_is_full()
    assert down.send(*[data(1, b"x" * 16384)] * 4) == []
    assert down.up.body == b""
    down.up.exchange.upstream_is_free()
    assert len(down.up.body) == STREAM_WINDOW
    assert down.peer.take() == [f"WINDOW 1 +{2 * STREAM_WINDOW}"]


def test_who_has_just_had_enough_gets_no_new_window() -> None:
    """Half of the window was taken, and the last of it filled the reader."""
    down = uploading()
    assert down.send(data(1, b"x" * 16384), data(1, b"x" * 16383)) == []
    down.up.on_body = down.up.exchange.upstream_is_full
    assert down.send(data(1, b"x")) == []
    down.up.exchange.upstream_is_free()
    assert down.peer.take() == [f"WINDOW 1 +{STREAM_WINDOW // 2 + STREAM_WINDOW}"]


def test_two_may_hold_a_stream() -> None:
    down = uploading()
    exchange = down.up.exchange
    exchange.upstream_is_full()
    exchange.upstream_is_full()
    down.send(data(1, b"x"))
    exchange.upstream_is_free()
    assert down.up.body == b""
    exchange.upstream_is_free()
    exchange.upstream_is_free()  # once too often does not count
    assert down.up.body == b"x"
    exchange.upstream_is_full()
    down.send(data(1, b"y"))
    assert down.up.body == b"x"


def test_the_end_waits_too() -> None:
    down = uploading(2)
    down.up.exchange.upstream_is_full()
    down.send(data(1, b"x"), data(1, b"y", end=True))
    assert not down.up.is_request_complete
    down.up.exchange.upstream_is_free()
    assert (down.up.body, down.up.is_request_complete) == (b"xy", True)


def test_small_pieces_that_wait_are_put_together() -> None:
    """Each would take as much memory as fifty bytes by itself, and there may be thirty thousand in a window."""
    pieces: list[int] = []
    down = uploading()
    down.up.exchange.upstream_is_full()
    down.send(*[data(1, b"xy")] * 2000)
    down.up.on_body = lambda: pieces.append(len(down.up.body))
    down.up.exchange.upstream_is_free()
    assert (len(down.up.body), len(pieces)) == (4000, 4)


def test_small_pieces_that_cannot_be_sent_are_put_together() -> None:
    down = answering((4, 0))
    for _ in range(2000):
        down.up.exchange.response_body(b"xy")
    assert [line for line in down.send(window(1, 4000)) if "DATA" in line] == ["DATA 1 1024"] * 3 + ["DATA 1 928"]


def test_small_pieces_that_may_be_sent_again_are_put_together() -> None:
    up = H2UpstreamScript()
    script = up.request(http2_head(method="POST", end=False))
    for _ in range(2000):
        script.request_body(b"xy")
    assert len(script.exchange._replay) == 4


def test_trailers_wait_too() -> None:
    down = H2DownstreamScript()
    down.send(request(1, method="POST", end=False))
    down.up.exchange.upstream_is_full()
    down.send(data(1, b"x"), headers(1, ("x-sum", "1"), end=True))
    assert not down.up.is_request_complete
    down.up.exchange.upstream_is_free()
    assert (down.up.body, down.up.trailers) == (b"x", [b"x-sum: 1"])


def test_an_upstream_that_fills_while_it_takes_what_waits() -> None:
    """Real connections both: the pieces that are left wait on, in order."""
    up = H2UpstreamScript(hello=settings((4, 10)))
    script = up.request(http2_head(method="POST", end=False))
    script.down.on_resume = lambda: None
    up.peer.take()
    script.request_body(b"abcdef")
    assert script.request_body(b"ghijkl") == ["down.pause"]
    assert up.peer.take() == ["DATA 1 'abcdef'", "DATA 1 'ghij'"]
    script.request_end()
    assert up.send(window(1, 1)) == ["DATA 1 'k'"]
    assert up.send(window(1, 1)) == ["DATA 1 end 'l'"]


def test_a_stream_that_is_over_gets_no_window() -> None:
    down = uploading(STREAM_WINDOW // 2)
    for _ in range(2):
        told = down.send(data(1, b"x" * 16384))
    assert told == [f"WINDOW 1 +{STREAM_WINDOW // 2 + STREAM_WINDOW}"]
    down = uploading(STREAM_WINDOW // 2)
    assert down.send(data(1, b"x" * 16384), data(1, b"x" * 16384, end=True)) == []


def test_one_slow_reader_stalls_no_other() -> None:
    """What waits on its stream does not narrow the connection's window."""
    up = H2UpstreamScript()
    slow, quick = up.request(), up.request()
    up.send(response(1), response(3))
    slow.exchange.downstream_is_full()
    up.send(*[data(1, b"x" * 16384)] * 4)
    for _ in range(200):
        up.send(data(3, b"y" * 16384))
    assert len(quick.down.body) == 200 * 16384
    assert slow.down.body == b""
    assert up.peer.given[0] > CONNECTION_WINDOW
