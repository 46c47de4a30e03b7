from collections.abc import Iterator
from typing import Any

import pytest
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, TrailersReceived

from benchmarks.grpc.origin import MESSAGE, Answering, Blocks
from tests.unit.benchmarks.grpc.link import Link

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/c"), (":authority", "a"), ("te", "trailers")]


def _link(table_bytes: int | None = None) -> Link:
    link = Link(Answering(Blocks(b"sandbox")), client_side=True, table_bytes=table_bytes)
    link.carry()
    return link


def _call(link: Link, stream: int, *, end: bool = True) -> None:
    link.h2.send_headers(stream, HEADERS)
    link.h2.send_data(stream, MESSAGE, end_stream=end)


def _answers(events: list[Event]) -> dict[int, list[Any]]:
    """By stream: fields of the head, the message, fields of the trailers, the end."""
    found: dict[int, list[Any]] = {}
    for event in events:
        if isinstance(event, ResponseReceived | TrailersReceived):
            found.setdefault(event.stream_id, []).append(dict(event.headers))
        elif isinstance(event, DataReceived):
            found.setdefault(event.stream_id, []).append(event.data)
        elif isinstance(event, StreamEnded):
            found.setdefault(event.stream_id, []).append("end")
    return found


HEAD = {
    ":status": "200",
    "content-type": "application/grpc",
    "grpc-accept-encoding": "identity, deflate, gzip",
    "x-origin": "sandbox",
}
TRAILERS = {"grpc-status": "0", "grpc-message": ""}


@pytest.mark.parametrize("table_bytes", [None, 0, 4095, 65536])
def test_every_call_is_answered_whatever_table_the_peer_allows(table_bytes: int | None) -> None:
    link = _link(table_bytes)
    served = Answering.served
    for stream in (1, 3, 5):
        _call(link, stream)
    events = link.carry()
    _call(link, 7)
    answers = _answers(events + link.carry())
    assert answers == {stream: [HEAD, MESSAGE, TRAILERS, "end"] for stream in (1, 3, 5, 7)}
    assert Answering.served == served + 4


@pytest.mark.parametrize("table_bytes", [None, 0])
def test_a_stream_stays_open_until_the_other_side_ends_it(table_bytes: int | None) -> None:
    link = _link(table_bytes)
    served = Answering.served
    for stream in (1, 3):
        _call(link, stream, end=False)
    assert _answers(link.carry()) == {1: [HEAD, MESSAGE], 3: [HEAD, MESSAGE]}
    assert Answering.served == served
    link.h2.send_data(1, MESSAGE)
    link.h2.end_stream(3)
    _call(link, 5)
    assert _answers(link.carry()) == {1: [MESSAGE], 3: [TRAILERS, "end"], 5: [HEAD, MESSAGE, TRAILERS, "end"]}
    link.h2.end_stream(1)
    assert _answers(link.carry()) == {1: [TRAILERS, "end"]}


def test_a_stream_that_was_reset_is_forgotten() -> None:
    link = _link()
    _call(link, 1, end=False)
    link.carry()
    link.h2.reset_stream(1)
    link.carry()
    assert not link.ours.streams  # type: ignore[attr-defined]


def test_answers_wait_for_the_peers_window() -> None:
    """65,535 bytes at first, as h2 does not enlarge it: 1,771 messages."""
    link = _link()
    fit = 65_535 // len(MESSAGE)
    done: dict[int, list[Any]] = {}
    for stream in _streams(fit + 20):
        _call(link, stream)
        for number, parts in _answers(link.carry()).items():
            done.setdefault(number, []).extend(parts)
    assert len(done) == fit
    link.h2.increment_flow_control_window(10_000)
    assert len(_answers(link.carry())) == 20


def test_a_request_cut_anywhere_is_the_same() -> None:
    link = _link()
    _call(link, 1)
    for byte in link.h2.data_to_send():
        link.ours.data_received(bytes([byte]))
    assert _answers(link.carry()) == {1: [HEAD, MESSAGE, TRAILERS, "end"]}


def _streams(count: int) -> Iterator[int]:
    return iter(range(1, 2 * count, 2))
