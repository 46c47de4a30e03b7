"""First bytes: what the HTTP reader would take is never taken for anything else, and no verdict is taken back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.codec.fields import request_kinds
from proxy.codec.firstbytes import HTTP, UNDECIDED, first_bytes, is_http_begun
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.errors import ProtocolError

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PROPFIND", b"M-SEARCH", b"PRI", b"get"]) | (
    st.lists(st.sampled_from(TOKEN), min_size=1, max_size=32).map(bytes)
)
targets = st.sampled_from([b"/", b"*", b"http://a/", b"/x?y=%20"]) | (
    st.lists(st.integers(0x21, 0x7E), min_size=1, max_size=20).map(bytes)
)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.9", b"http/1.1", b"RTSP/1.0", b""])
ends = st.sampled_from([b"\r\n", b"\n", b"\r", b""])
lines = st.tuples(st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\n"]), methods, targets, versions, ends).map(
    lambda parts: parts[0] + b" ".join(parts[1:4]) + parts[4]
)


def is_request(data: bytes) -> bool:
    """Whether our reader takes it, with what else a request needs."""
    reader = RequestReader(request_kinds(errors.BAD_REQUEST), HeadLimits())
    reader.receive(data + b"Host: a\r\n\r\n")
    try:
        return isinstance(reader.next_event(), RequestHead)
    except ProtocolError:
        return False


@given(lines)
@example(b"GET http://a/ HTTP/1.1\r\n")
def test_no_request_is_taken_for_anything_else(line: bytes) -> None:
    if is_request(line):
        assert first_bytes(line) == HTTP


@given(lines | st.binary(min_size=1, max_size=64), st.binary(max_size=32))
def test_a_verdict_stays(data: bytes, more: bytes) -> None:
    verdicts = [first_bytes(data[:end]) for end in range(1, len(data) + 1)]
    verdicts += [first_bytes(data + more[:end]) for end in range(1, len(more) + 1)]
    decided = [verdict for verdict in verdicts if verdict != UNDECIDED]
    assert len(set(decided)) <= 1
    assert verdicts == [UNDECIDED] * (len(verdicts) - len(decided)) + decided


@given(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"]), targets)
def test_common_requests_may_pause_anywhere(method: bytes, target: bytes) -> None:
    """Whatever part of one that is sent with a method that everybody uses has come, the rest is waited for."""
    line = method + b" " + target + b" HTTP/1.1\r\n"
    if is_request(line):
        for end in range(1, len(line)):
            assert first_bytes(line[:end]) == HTTP or is_http_begun(line[:end])
