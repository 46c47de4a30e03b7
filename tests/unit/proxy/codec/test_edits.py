"""The few changes to a request's head, in both forms."""

from __future__ import annotations

import pytest

from proxy.codec.edits import append_forwarded, edit_fields, prepared, set_host, set_one_line, values_of
from proxy.codec.events import RequestHead, ResponseHead
from tests.support.exchange import request_head, response_head
from tests.support.h2script import block, http2_head, http2_response, request_pairs
from tests.support.hpack import decoder, pairs

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"location"), (b":path", b"/")]


def reread(head: RequestHead) -> list[tuple[bytes, bytes]]:
    """What the fields' representations say: these, and not names and values, go out."""
    again = pairs(decoder().read(b"".join(field.raw for field in head.fields)))
    assert again == pairs(head.fields)
    return again


def test_a_prepared_field_has_both_forms() -> None:
    added = prepared(b"X-Hop", b"a/b")
    one, two = request_head(), http2_head()
    one.append(added)
    two.append(added)
    assert one.lines[-1] == b"X-Hop: a/b"
    assert reread(two)[-1] == (b"x-hop", b"a/b")
    one.take_out(added)
    two.take_out(added)
    assert one.lines == [b"GET / HTTP/1.1", b"Host: location"]
    assert reread(two) == GET


def test_only_what_was_added_is_taken_out() -> None:
    added = prepared(b"x-hop", b"a/b")
    head = http2_head(("x-hop", "a/b"))
    head.append(added)
    head.take_out(added)
    assert reread(head) == [*GET, (b"x-hop", b"a/b")]


@pytest.mark.parametrize("head", [response_head(), http2_response()])
def test_a_response_gets_fields_too(head: ResponseHead) -> None:
    head.append(prepared(b"x", b"y"))
    assert b"x: y" in head.lines or (head.fields[-1].name, head.fields[-1].value) == (b"x", b"y")


def test_several_lines_become_one_at_the_first_ones_place() -> None:
    one = request_head("X: 1", "Baggage: a", "Y: 2", "baggage: b")
    set_one_line(one, b"baggage", b"a,b")
    assert one.lines[2:] == [b"X: 1", b"Baggage: a,b", b"Y: 2"]
    two = http2_head(("x", "1"), ("baggage", "a"), ("y", "2"), ("baggage", "b"))
    set_one_line(two, b"baggage", b"a,b")
    assert reread(two)[4:] == [(b"x", b"1"), (b"baggage", b"a,b"), (b"y", b"2")]


def test_what_others_share_is_not_changed() -> None:
    """Lines that repeat are the same objects in every head."""
    of = decoder()
    data = block(*request_pairs(("baggage", "a"), ("baggage", "b")))
    first, second = of.read(data), of.read(data)
    head = RequestHead(b"GET", b"/", [], False, first)
    set_one_line(head, b"baggage", b"a,b")
    set_host(head, b"other")
    assert pairs(second) == [*GET, (b"baggage", b"a"), (b"baggage", b"b")]


def test_host() -> None:
    one = request_head("X: y")
    set_host(one, b"box:1")
    assert (one.lines, one.host) == ([b"GET / HTTP/1.1", b"Host: box:1", b"X: y"], b"box:1")
    two = http2_head(("x", "y"), ("host", "location"))
    set_host(two, b"box:1")
    assert sorted(reread(two)[:4]) == sorted([GET[0], GET[1], (b":authority", b"box:1"), GET[3]])
    assert (reread(two)[4:], two.host) == ([(b"x", b"y")], b"box:1")


def test_a_host_where_there_was_none() -> None:
    head = request_head("X: y", version="1.0", host="")
    set_host(head, b"box:1")
    assert head.lines == [b"GET / HTTP/1.1", b"Host: box:1", b"X: y"]


FORWARDED = [
    ([], ["1.2.3.4"], ["http"]),
    ([("X-Forwarded-For", "5.6.7.8")], ["5.6.7.8, 1.2.3.4"], ["http"]),
    ([("X-Forwarded-For", "a"), ("X-Forwarded-For", "b, c")], ["a, b, c, 1.2.3.4"], ["http"]),
    ([("X-Forwarded-Proto", "https")], ["1.2.3.4"], ["https"]),
    ([("X-Forwarded-For", "")], ["1.2.3.4"], ["http"]),
]


@pytest.mark.parametrize(("fields", "callers", "protos"), FORWARDED)
def test_forwarded(fields: list[tuple[str, str]], callers: list[str], protos: list[str]) -> None:
    one = request_head(*(f"{name}: {value}" for name, value in fields))
    two = http2_head(*((name.lower(), value) for name, value in fields))
    for head in (one, two):
        append_forwarded(head, b"1.2.3.4")
    said = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in one.lines[2:])]
    for named in (said, reread(two)):
        assert [value.decode() for name, value in named if name == b"x-forwarded-for"] == callers
        assert [value.decode() for name, value in named if name == b"x-forwarded-proto"] == protos


@pytest.mark.parametrize(
    ("method", "target", "becomes"),
    [
        ("GET", "http://location/a?b", "/a?b"),
        ("GET", "http://location?b", "/?b"),
        ("GET", "HTTP://location", "/"),
        ("OPTIONS", "http://location", "*"),
        ("OPTIONS", "*", "*"),
        ("GET", "/http://other/", "/http://other/"),
    ],
)
def test_another_host_leaves_none_in_the_target(method: str, target: str, becomes: str) -> None:
    """Absolute-form names the authority too, and a server must heed it before Host (RFC 9112 section 3.2.2)."""
    head = request_head(method=method)
    head.target, head.lines[0] = target.encode(), f"{method} {target} HTTP/1.1".encode()
    set_host(head, b"box:1")
    assert (head.target, head.lines[0]) == (becomes.encode(), f"{method} {becomes} HTTP/1.1".encode())


def test_fields_are_read_and_edited_alike_in_both_forms() -> None:
    def edit(name: bytes, value: bytes) -> bytes | None:
        return {b"a": None, b"b": value + b"!"}.get(name, value)

    fields = (("a", "1"), ("b", "2"), ("c", "3"), ("b", "4"))
    one, two = request_head(*[f"{name.upper()}:  {value} " for name, value in fields]), http2_head(*fields)
    assert values_of(one, b"b") == values_of(two, b"b") == [b"2", b"4"]
    edit_fields(one, edit)
    edit_fields(two, edit)
    assert one.lines[2:] == [b"B: 2!", b"C:  3 ", b"B: 4!"]
    assert reread(two)[4:] == [(b"b", b"2!"), (b"c", b"3"), (b"b", b"4!")]
