"""A right answer counts for its origin; everything else is seen."""

from collections.abc import Callable

import pytest
from h2.events import DataReceived, RequestReceived
from h2.settings import SettingCodes
from hpack import Encoder

from benchmarks.grpc import frames
from benchmarks.grpc.calls import STYLES, Style, values
from benchmarks.grpc.client import REQUEST, Connection, Reader, Tally
from benchmarks.grpc.origin import MESSAGE
from tests.unit.benchmarks.grpc.link import Link

HEAD = [(":status", "200"), ("content-type", "application/grpc"), ("x-origin", "sandbox")]
TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]


class _Client:
    def __init__(self, style: Style = "core", table_bytes: int | None = None) -> None:
        self.tally, self.ended = Tally(), 0
        self.connection = Connection(self.tally, self._end, style, values(style, ["k" * 13], 1))
        self.link = Link(self.connection, client_side=False, table_bytes=table_bytes)
        self.link.carry()

    def _end(self, connection: Connection, number: int) -> None:
        self.ended += 1

    def call(self, count: int = 1, *, is_last: bool = True) -> None:
        for _ in range(count):
            self.connection.call(0, is_last=is_last)
        self.connection.flush()
        self.seen = self.link.carry()

    def answer(self, stream: int = 1, message: bytes = MESSAGE) -> None:
        self.link.h2.send_headers(stream, HEAD)
        self.link.h2.send_data(stream, message)
        self.link.h2.send_headers(stream, TRAILERS, end_stream=True)
        self.link.carry()


@pytest.mark.parametrize("table_bytes", [None, 0])
@pytest.mark.parametrize("style", STYLES)
def test_h2_accepts_what_we_send(style: Style, table_bytes: int | None) -> None:
    client = _Client(style, table_bytes)
    client.call(3)
    requests = [dict(event.headers) for event in client.seen if isinstance(event, RequestReceived)]
    assert len(requests) == 3
    assert len({fields["traceparent"] for fields in requests}) == 3
    assert all(f"sd-routing-key={'k' * 13}," in fields["baggage"] for fields in requests)
    messages = [event for event in client.seen if isinstance(event, DataReceived)]
    assert [(event.stream_id, event.data, event.stream_ended is not None) for event in messages] == [
        (stream, REQUEST, True) for stream in (1, 3, 5)
    ]


def test_right_answers_count_for_the_origin_that_they_name() -> None:
    client = _Client()
    client.call(2)
    client.answer(3)
    client.answer(1)
    assert (client.tally.origins, client.ended) == ({"sandbox": 2}, 2)
    assert not client.tally.refused
    assert not client.tally.failed
    assert not client.connection.flying


def _no_origin(client: _Client) -> None:
    client.link.h2.send_headers(1, HEAD[:2])
    client.link.h2.send_data(1, MESSAGE)
    client.link.h2.send_headers(1, TRAILERS, end_stream=True)


def _error_with_the_rest(client: _Client) -> None:
    client.link.h2.send_headers(1, [(":status", "503"), *HEAD[1:]])
    client.link.h2.send_data(1, MESSAGE)
    client.link.h2.send_headers(1, TRAILERS, end_stream=True)


def _no_message(client: _Client) -> None:
    client.link.h2.send_headers(1, HEAD)
    client.link.h2.send_headers(1, TRAILERS, end_stream=True)


def _two_messages(client: _Client) -> None:
    client.link.h2.send_headers(1, HEAD)
    client.link.h2.send_data(1, MESSAGE * 2)
    client.link.h2.send_headers(1, TRAILERS, end_stream=True)


def _trailers_only(client: _Client) -> None:
    fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14")]
    client.link.h2.send_headers(1, fields, end_stream=True)


def _not_found(client: _Client) -> None:
    client.link.h2.send_headers(1, [(":status", "404")], end_stream=True)


def _bad_status(client: _Client) -> None:
    client.link.h2.send_headers(1, HEAD)
    client.link.h2.send_data(1, MESSAGE)
    client.link.h2.send_headers(1, [("grpc-status", "2")], end_stream=True)


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (_no_origin, "status 200, grpc-status 0"),
        (_error_with_the_rest, "status 200, grpc-status 0"),
        (_no_message, "status 200, grpc-status 0"),
        (_two_messages, "status 200, grpc-status 0"),
        (_trailers_only, "status 200, grpc-status 14"),
        (_not_found, "status 404, grpc-status -"),
        (_bad_status, "status 200, grpc-status 2"),
    ],
)
def test_any_other_answer_is_refused(answer: Callable[[_Client], None], counted: str) -> None:
    client = _Client()
    client.call()
    answer(client)
    client.link.carry()
    assert client.tally.refused == {counted: 1}
    assert (client.tally.origins, client.ended) == ({}, 1)


def test_a_reset_and_what_comes_after_goaway_fail() -> None:
    client = _Client()
    client.call(3)
    client.link.h2.reset_stream(1, 7)
    client.link.carry()
    client.connection.data_received(frames.frame(frames.GOAWAY, 0, 0, bytes([0, 0, 0, 3, 0, 0, 0, 0])))
    client.answer(3)
    assert client.tally.failed == {"RST_STREAM 7": 1, "after GOAWAY": 1}
    assert client.tally.origins == {"sandbox": 1}
    assert (client.ended, client.connection.leaving) == (3, True)


def test_calls_fail_with_their_connection() -> None:
    client = _Client()
    client.call(2)
    client.connection.connection_lost(None)
    assert client.tally.failed == {"connection lost: None": 2}
    assert client.ended == 2


def test_a_response_without_trailers_ends_the_connection() -> None:
    client = _Client()
    client.call()
    client.link.h2.send_headers(1, HEAD)
    client.link.h2.send_data(1, MESSAGE, end_stream=True)
    client.link.carry()
    assert client.link.line.aborted
    client.connection.connection_lost(None)
    assert client.tally.failed == {"a response ended without trailers": 1}


def test_a_message_in_pieces_is_whole() -> None:
    client = _Client()
    client.call()
    client.link.h2.send_headers(1, HEAD)
    for start in range(0, len(MESSAGE), 10):
        client.link.h2.send_data(1, MESSAGE[start : start + 10])
    client.link.h2.send_data(1, b"")
    client.link.h2.send_headers(1, TRAILERS, end_stream=True)
    client.link.carry()
    assert client.tally.origins == {"sandbox": 1}


def test_calls_wait_for_the_peers_window() -> None:
    client = _Client()
    for number in range(65_535 // len(REQUEST)):
        client.call()
        client.answer(1 + 2 * number)
    client.call(20)
    assert not client.seen
    client.link.h2.increment_flow_control_window(10_000)
    assert sum(isinstance(event, RequestReceived) for event in client.link.carry()) == 20


def test_streams_end_when_we_say_so() -> None:
    client = _Client()
    client.call(2, is_last=False)
    for stream in (1, 3):
        client.link.h2.send_headers(stream, HEAD)
        client.link.h2.send_data(stream, MESSAGE)
    client.link.carry()
    assert (client.connection.answered_streams, client.ended) == (2, 0)
    client.connection.end(3)
    client.connection.flush()
    client.link.carry()
    client.link.h2.send_headers(3, TRAILERS, end_stream=True)
    client.link.carry()
    assert (client.connection.answered_streams, client.tally.origins) == (1, {"sandbox": 1})


def test_credit_goes_back_before_the_window_is_used_up() -> None:
    client = _Client()
    client.call()
    client.link.h2.send_headers(1, HEAD)
    piece = b"x" * 65_536
    for _ in range(17):  # a quarter of the window, and one more
        client.link.h2.send_data(1, piece)
        client.link.carry()
    assert client.link.h2.outbound_flow_control_window == frames.WINDOW_BYTES


def test_the_peers_limit_of_streams_is_known() -> None:
    client = _Client()
    client.link.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 7})
    client.link.carry()
    assert client.connection.most_streams == 7


class TestReader:
    def test_a_block_means_the_same_until_the_table_changes(self) -> None:
        """The second block is the same bytes as the first, after something was added: another field."""
        reader = Reader()
        encoder = Encoder()
        reader.read(encoder.encode([(b"x-origin", b"sandbox")]))
        newest = b"\xbe"
        assert reader.read(newest).origin == reader.read(newest).origin == "sandbox"
        reader.read(encoder.encode([(b"x-origin", b"baseline")]))
        assert reader.read(newest).origin == "baseline"

    def test_what_hpack_cannot_read_is_a_violation(self) -> None:
        with pytest.raises(frames.Violation, match="header block"):
            Reader().read(b"\xff\xff\xff\xff\xff\xff\xff")
