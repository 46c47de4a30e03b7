"""Properties of HTTP/2 connections: however frames are cut, the same calls and the same output; heads that go on are
read alike by us and by the h2 package, and keep their meaning on the way to HTTP/1.1 and back."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.events import CHUNKED, NO_BODY, RequestHead, ResponseHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.h1.writer import head_bytes
from proxy.codec.h2.heads import RequestHeads, response_head
from proxy.codec.translate import request_fields, request_lines, response_fields
from tests.support.h2frames import CUTS, PREFACES, REQUEST_STREAMS, RESPONSE_STREAMS, answered, served
from tests.support.h2script import PREFACE, H2UpstreamScript
from tests.support.h2script import settings as settings_frame
from tests.support.hpack import decoder, pairs, response_decoder
from tests.support.loop import running_loop
from tests.support.net import DownstreamScript

QUICK = settings(deadline=None, max_examples=300, derandomize=True)
THOROUGH = settings(QUICK, max_examples=600)
KINDS = request_kinds(errors.BAD_REQUEST)

# --- any frames, in any pieces -------------------------------------------------------------------------------------


@THOROUGH
@given(PREFACES, REQUEST_STREAMS, CUTS)
def test_any_frames_from_a_client(preface: bytes, stream: bytes, cuts: list[int]) -> None:
    whole = served(preface + stream, [])
    assert served(preface + stream, cuts) == whole
    assert len(whole[1]) <= 1000 + 500 * (len(stream) // 9 + 1) + 71000 * len(whole[0])


@QUICK
@given(REQUEST_STREAMS)
def test_any_frames_byte_by_byte(stream: bytes) -> None:
    stream = PREFACE + stream[:300]
    assert served(stream, list(range(len(stream)))) == served(stream, [])


@THOROUGH
@given(RESPONSE_STREAMS, CUTS)
def test_any_frames_from_a_server(stream: bytes, cuts: list[int]) -> None:
    whole = answered(stream, [])
    assert answered(stream, cuts) == whole
    assert len(whole[1]) <= 1000 + 500 * (len(stream) // 9 + 1) + 71000


# --- heads -----------------------------------------------------------------------------------------------------------

TCHARS = "!#$%&'*+-.^_`|~09azAZ"
TOKENS = st.text(TCHARS, min_size=1, max_size=8).map(str.encode)
VALUES = st.text('aZ9,;=":\\/% \t\xe9\x80\xff', max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
NAMES = TOKENS.map(lambda name: b"x" + name) | st.sampled_from([b"Accept", b"DNT", b"User-Agent", b"baggage", b"Date"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
UNROUTED = FIELDS.map(lambda fields: [pair for pair in fields if pair[0] != b"baggage"])  # its lines are joined
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"get", b"X-Y"]) | TOKENS.filter(
    lambda token: token != b"CONNECT"
)
PATHS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20).map(
    lambda text: b"/" + text.encode()
)
HOSTS = st.sampled_from([b"a", b"a.b:80", b"[::1]:8080", b"A-b_c", b"1.2.3.4"])
BODIES = st.sampled_from([NO_BODY, CHUNKED, 0, 7, 2**40])
TARGET_FORMS = st.sampled_from([b"", b"", b"http://", b"HTTPS://"])


def http1_request(method: bytes, target: bytes, host: bytes, fields: list[tuple[bytes, bytes]], body: int) -> bytes:
    framing = {NO_BODY: [], CHUNKED: [(b"Transfer-Encoding", b"chunked")]}.get(
        body, [(b"Content-Length", b"%d" % body)]
    )
    lines = [b"%b: %b" % pair for pair in [(b"Host", host), *framing, *fields]]
    return head_bytes([b"%b %b HTTP/1.1" % (method, target), *lines])


def read_http1(data: bytes) -> RequestHead:
    reader = RequestReader(KINDS, HeadLimits())
    reader.receive(data)
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


@THOROUGH
@given(METHODS, PATHS, HOSTS, FIELDS, BODIES, TARGET_FORMS, st.booleans())
def test_a_request_to_http2_and_back(
    method: bytes, path: bytes, host: bytes, fields: list[tuple[bytes, bytes]], body: int, form: bytes, te: bool
) -> None:
    """It says the same, in each form; what we made is read by our own reader as what came."""
    target = form + host + path if form else path
    one = read_http1(http1_request(method, target, host, [*fields, *[(b"TE", b"trailers")] * te], body))
    block = b"".join(field.raw for field in request_fields(one))
    two = RequestHeads().read(decoder().read(block), is_end=one.body == NO_BODY)
    assert (two.method, two.target, two.host, two.body) == (method, path, host, one.body)
    assert two.takes_trailers is one.takes_trailers is te
    assert (list(two.baggage), list(two.hops)) == (list(one.baggage), list(one.hops))
    plain = [pair for pair in pairs(two.fields) if pair[0][:1] != b":" and pair[0] not in (b"te", b"content-length")]
    assert plain == [(name.lower(), value) for name, value in fields]

    three = read_http1(head_bytes(request_lines(two)))
    assert (three.method, three.target, three.host) == (method, path, host)
    assert three.body == one.body
    named = [line.partition(b": ")[::2] for line in three.lines[1:]]
    framing = (b"host", b"content-length", b"transfer-encoding")
    assert [pair for pair in named if pair[0].lower() not in framing] == plain
    assert three.keep_alive

    again = RequestHeads().read(decoder().read(b"".join(f.raw for f in request_fields(three))), is_end=three.body == 0)
    assert (again.method, again.target, again.host, again.body) == (two.method, two.target, two.host, two.body)


def h2_server(sent: bytes) -> list[h2.events.Event]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    return connection.receive_data(sent)


@QUICK
@given(st.lists(st.tuples(METHODS, PATHS, HOSTS, UNROUTED, BODIES, st.booleans()), min_size=1, max_size=3))
def test_the_h2_package_takes_every_request_that_we_send(
    requests: list[tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]], int, bool]],
) -> None:
    with running_loop() as loop:
        up = _upstream_unread()
        expected = []
        for method, path, host, fields, body, te in requests:
            head = read_http1(http1_request(method, path, host, [*fields, *[(b"TE", b"trailers")] * te], body))
            plain = [(name.lower(), value) for name, value in fields]
            expected.append((method, path, host, plain))
            up.request(head)
        loop.settle()
        events = h2_server(up.transport.take())
    got = []
    for event in events:
        if isinstance(event, h2.events.RequestReceived):
            assert event.headers is not None
            fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            named = dict(fields)
            plain = [pair for pair in fields if pair[0][:1] != b":" and pair[0] not in (b"te", b"content-length")]
            got.append((named[b":method"], named[b":path"], named[b":authority"], plain))
    assert got == expected


def _upstream_unread() -> H2UpstreamScript:
    """Whose first words are still there."""
    up = H2UpstreamScript(hello=b"", reads=False)
    up.transport.receive(settings_frame())
    return up


@QUICK
@given(st.integers(200, 599), FIELDS, BODIES, st.booleans())
def test_the_h2_package_takes_every_response_that_we_send(
    status: int, fields: list[tuple[bytes, bytes]], body: int, is_head: bool
) -> None:
    if status in (204, 304):
        body = NO_BODY
    framing = {NO_BODY: [], CHUNKED: [b"Transfer-Encoding: chunked"]}.get(body, [b"Content-Length: %d" % body])
    lines = [b"HTTP/1.1 %d x" % status, *framing, *(b"%b: %b" % pair for pair in fields)]
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    client.send_headers(
        1,
        [(":method", "HEAD" if is_head else "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        end_stream=True,
    )
    with running_loop() as loop:
        down = DownstreamScript()
        down.receive(client.data_to_send())
        body = NO_BODY if is_head else body
        down.up.exchange.response_head(ResponseHead(status, lines, body, True))
        if body == CHUNKED:
            down.up.exchange.response_body(b"ok")
        if body in (NO_BODY, CHUNKED):
            down.up.end(*([b"X-Sum: 1"] if body == CHUNKED else []))
        loop.settle()
        events = client.receive_data(down.transport.take())
    (got,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
    assert got.headers is not None
    plain = [(bytes(name), bytes(value)) for name, value in got.headers]
    assert plain[0] == (b":status", b"%d" % status)
    assert [pair for pair in plain[1:] if pair[0] != b"content-length"] == [(n.lower(), value) for n, value in fields]
    assert any(isinstance(event, h2.events.StreamEnded) for event in events) == (body in (NO_BODY, CHUNKED))
    read = response_decoder().read(
        b"".join(field.raw for field in response_fields(ResponseHead(status, lines, 0, True)))
    )
    assert response_head(read, is_head_request=True, is_end=True).status == status


@QUICK
@given(st.lists(st.tuples(NAMES.map(bytes.lower), VALUES), max_size=20), st.integers(1, 3))
def test_indexed_heads_of_the_h2_package_go_on_as_they_are(fields: list[tuple[bytes, bytes]], times: int) -> None:
    """It indexes and uses Huffman code; its second head refers to the first one."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    start = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    with running_loop():
        down = DownstreamScript()
        for number in range(times):
            client.send_headers(1 + 2 * number, [*start, *fields], end_stream=True)
            down.receive(client.data_to_send())
        for upstream in down.used:
            assert [pair for pair in upstream.fields if pair[0] != b"baggage"] == [
                *start, *(pair for pair in fields if pair[0] != b"baggage")
            ]  # fmt: skip
        assert len(down.used) == times
