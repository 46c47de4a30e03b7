"""gRPC passes as it is: every kind of call, with metadata, statuses, deadlines and cancellation, between real peers."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator

import grpc
import pytest

from tests.support.grpc_service import Answer, GrpcServer, Metadata, ask, connected, pairs, path, serving, start
from tests.support.grpc_ways import WAYS, way
from tests.support.waiting import until

MIB = 1 << 20
OK = grpc.StatusCode.OK


class Gate:
    """Lets a method of the server go on."""

    def __init__(self) -> None:
        self.may_go = threading.Event()

    def stepwise(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The second message is made when the client says so outside of the call."""
        yield b"first"
        assert self.may_go.wait(10)
        yield b"second"


def reflect(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """The client's own metadata, at the start and at the end."""
    own = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    context.send_initial_metadata(own)
    context.set_trailing_metadata(own)
    yield from requests


def fail(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """As the metadata say, after as many messages as the client sends before it ends."""
    asked = dict(context.invocation_metadata())
    yield from requests
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x05\x12\x00\xff"), ("x-why", "because")))
    code = next(code for code in grpc.StatusCode if code.value[0] == int(asked["x-code"]))
    context.abort(code, asked["x-text-bin"].decode())


def first_word(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Ends after one message, whatever the client still has to say."""
    yield next(requests)


def last_word(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Speaks when the client has ended its side."""
    for _ in requests:
        pass
    yield b"one"
    yield b"two"


class Meeting:
    """A method that nobody leaves before all are there."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def meet(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in requests:
            self._barrier.wait(20)
            yield message


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def server(gate: Gate) -> Iterator[GrpcServer]:
    methods = {"Stepwise": gate.stepwise, "Reflect": reflect, "Fail": fail, "FirstWord": first_word}
    methods |= {"LastWord": last_word, "Meet": Meeting(200).meet}
    server = GrpcServer(methods=methods, threads=256)
    with serving(server):
        yield server


@pytest.fixture(scope="module", params=WAYS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: GrpcServer) -> Iterator[int]:
    with way(request.param, tmp_path_factory.mktemp("way"), server.port) as found:
        yield found.port


@pytest.fixture
def channel(port: int) -> Iterator[grpc.Channel]:
    with connected(port) as channel:
        yield channel


# --- messages ---


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 20 * MIB])
def test_a_message_of_any_size_both_ways(channel: grpc.Channel, size: int) -> None:
    message = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    for _ in range(2):
        answer = ask(channel, message)
        assert (answer.code, answer.origin) == (OK, "baseline")
        assert answer.message == message


def test_server_streaming(channel: grpc.Channel) -> None:
    messages = list(channel.unary_stream(path("Count"))(b"1000,100", timeout=20))
    assert messages == [b"%d" % index + bytes(100) for index in range(1000)]


def test_a_message_arrives_before_the_next_is_made(channel: grpc.Channel, gate: Gate) -> None:
    gate.may_go.clear()
    call = channel.unary_stream(path("Stepwise"))(b"", timeout=20)
    assert next(call) == b"first"
    gate.may_go.set()
    assert list(call) == [b"second"]


def test_client_streaming(channel: grpc.Channel) -> None:
    pieces = [b"%d," % index for index in range(1000)]
    joined = channel.stream_unary(path("Join"))(iter(pieces), timeout=20)
    assert joined == b"".join(pieces)
    assert channel.stream_unary(path("Join"))(iter(()), timeout=20) == b""


def test_a_dialog_message_by_message(channel: grpc.Channel) -> None:
    """Each is back before the next is sent, so nothing on the way may wait for more."""
    said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    call = channel.stream_stream(path("Echo"))(iter(said.get, None), timeout=20)
    for index in range(50):
        said.put(message := b"%d" % index * (1 + index * 100))
        assert next(call) == message
    said.put(None)
    assert list(call) == []
    assert call.code() is OK


def test_either_side_may_end_first(channel: grpc.Channel) -> None:
    call = channel.stream_stream(path("LastWord"))(iter([b"a", b"b"]), timeout=20)
    assert list(call) == [b"one", b"two"]
    endless = itertools.repeat(b"more" * 100)
    call = channel.stream_stream(path("FirstWord"))(endless, timeout=20)
    assert list(call) == [b"more" * 100]
    assert call.code() is OK


# --- metadata and statuses ---

ODD: Metadata = (
    ("x-twice", "b"),
    ("x-bin", bytes(range(256))),
    ("x-twice", "a"),
    ("x-text", 'a, b;c="d" ~!#$%&\'()*+-./:<=>?@[]^_`{|}'),
    ("x-empty", ""),
    ("x-empty-bin", b""),
    ("x-bin", b"again"),
    ("x-long", "v" * 6000),
    ("x-twice", "b"),
)


def test_metadata_both_ways(channel: grpc.Channel, server: GrpcServer) -> None:
    """Duplicates, the order within a name, bytes: in requests, before the response and behind it."""
    answer = ask(channel, b"hi", (*ODD, ("baggage", "user=1"), ("grpc-x", "kept")), method="Reflect")
    assert (answer.code, answer.message) == (OK, b"hi")
    received = server.calls[-1]
    for name in {name for name, _ in ODD}:
        expected = [value for key, value in ODD if key == name]
        assert received.values(name) == expected
        assert [value for key, value in answer.initial if key == name] == expected
        assert [value for key, value in answer.trailing if key == name] == expected
    assert received.values("baggage") == ["user=1"]


FAILURES = [code for code in grpc.StatusCode if code is not OK]


@pytest.mark.parametrize("text", ["", "no", "Größe: 100 %\r\n日本 \x7f"], ids=["no text", "plain", "not ASCII"])
def test_statuses(channel: grpc.Channel, text: str) -> None:
    """In a response without a message, which has trailers only."""
    for code in FAILURES:
        asked = (("x-code", str(code.value[0])), ("x-text-bin", text.encode()))
        call = channel.stream_unary(path("Fail")).future(iter(()), metadata=asked, timeout=20)
        assert isinstance(call.exception(), grpc.RpcError)
        assert (call.code(), call.details()) == (code, text)
        trailing = pairs(call.trailing_metadata())
        assert ("grpc-status-details-bin", b"\x08\x05\x12\x00\xff") in trailing
        assert ("x-why", "because") in trailing


def test_a_status_behind_messages(channel: grpc.Channel) -> None:
    asked = (("x-code", "10"), ("x-text-bin", b"changed"))
    call = channel.stream_stream(path("Fail"))(iter([b"1", b"2", b"3"]), metadata=asked, timeout=20)
    assert [next(call) for _ in range(3)] == [b"1", b"2", b"3"]
    with pytest.raises(grpc.RpcError):
        next(call)
    assert (call.code(), call.details()) == (grpc.StatusCode.ABORTED, "changed")


def test_unimplemented(channel: grpc.Channel) -> None:
    answer = ask(channel, b"hi", method="Nothing")
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED


# --- deadlines and cancellation ---


def test_the_deadline_is_known_to_the_server(channel: grpc.Channel, server: GrpcServer) -> None:
    for timeout_s in (30, 3600):
        assert ask(channel, b"", timeout_s=timeout_s).code is OK
        remaining_s = server.calls[-1].time_remaining_s
        assert remaining_s is not None
        assert timeout_s * 0.8 < remaining_s < timeout_s * 1.05
    assert ask(channel, b"", timeout_s=None).code is OK
    assert server.calls[-1].time_remaining_s is None, "a limit that nobody set"


def test_a_deadline_that_passes(channel: grpc.Channel, server: GrpcServer) -> None:
    before = len(server.calls)
    answer = ask(channel, b"", method="Wait", timeout_s=0.4)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: len(server.calls) > before, "the call")
    assert server.calls[-1].has_ended.wait(1)
    assert not server.calls[-1].is_whole


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_cancellation_reaches_the_server(channel: grpc.Channel, server: GrpcServer, kind: str) -> None:
    before = len(server.calls)
    if kind == "unary":
        call = start(channel, b"", method="Wait")
    else:
        call = channel.stream_stream(path("Wait"))(iter(()), timeout=20)
        assert next(call) == b"waiting"
    until(lambda: len(server.calls) > before, "the call")
    received = server.calls[-1]
    assert not received.has_ended.is_set()
    call.cancel()
    assert received.has_ended.wait(1)
    assert not received.is_whole
    assert call.code() is grpc.StatusCode.CANCELLED
    assert ask(channel, b"hi").code is OK


# --- many at once ---


def test_200_calls_at_once_on_one_channel(channel: grpc.Channel) -> None:
    """The server answers none of them before all are there."""
    calls = [start(channel, b"%d" % index, method="Meet") for index in range(200)]
    assert [call.result() for call in calls] == [b"%d" % index for index in range(200)]


def test_several_channels(port: int) -> None:
    answers: list[Answer] = []

    def run(number: int) -> None:
        with connected(port) as channel:
            calls = [start(channel, b"%d/%d" % (number, index)) for index in range(50)]
            answers.extend(ask(channel, b"%d" % number) for _ in range(5))
            assert [call.result() for call in calls] == [b"%d/%d" % (number, index) for index in range(50)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.code for answer in answers] == [OK] * 40
    assert sorted(answer.message or b"" for answer in answers) == sorted([b"%d" % number for number in range(8)] * 5)


def test_an_unread_stream_does_not_stall_its_neighbours(channel: grpc.Channel, server: GrpcServer) -> None:
    """100 MiB that nobody reads: the server is stopped, calls on the same connection are answered."""
    before = len(server.calls)
    unread = [channel.unary_stream(path("Count"))(b"100,%d" % MIB, timeout=60) for _ in range(3)]
    for call in unread:
        assert next(call)[:1] == b"0"
    streams = server.calls[before:]
    for _ in range(20):
        assert ask(channel, bytes(100_000)).code is OK
    assert not any(stream.is_whole for stream in streams)
    assert sum(len(message) for message in unread[0]) == 99 * MIB + 9 + 2 * 90
    for call in unread[1:]:
        call.cancel()
    for stream in streams[1:]:
        assert stream.has_ended.wait(1)
