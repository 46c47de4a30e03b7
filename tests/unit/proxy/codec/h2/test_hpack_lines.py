"""What a line is once it was read: its representation, its kind, known the next time; and the table's size."""

from __future__ import annotations

import sys

import pytest

from proxy import errors
from proxy.codec import fields
from proxy.codec.fields import http2_response_kinds, is_dropped_trailer, request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h2 import hpack
from proxy.codec.h2.hpack import CompressionError, Decoder, literal, representation
from proxy.errors import ProtocolError
from tests.support.hpack import EMPTY_TABLE, WIDE, decoder, incremental, kinds, pairs, table

# --- what is kept of a representation ---


@pytest.mark.parametrize(
    "block",
    [
        b"\x82",
        b"\x41\x01a",
        b"\x01\x01a",
        b"\x11\x01a",
        b"\x40\x01x\x01a",
        b"\x00\x01x\x01a",
        b"\x10\x01x\x01a",
        b"\x00\x81\xf3\x81\x1f",
        b"\x0f\x10\x01a",
        b"\x0f\x00\x81\x1f",
        b"\x7a\x01a",
        b"\x00\x01x\x7f\x49" + b"v" * 200,
    ],
)
def test_what_stands_alone_is_kept(block: bytes) -> None:
    (line,) = decoder().read(block)
    assert line.raw == block
    assert pairs(Decoder(kinds(), WIDE).read(EMPTY_TABLE + line.raw)) == [(line.name, line.value)]


def test_what_names_the_table_is_made_anew() -> None:
    one = decoder()
    one.read(incremental(b"x-first", b"one"))
    entry, named, secret, entering = one.read(b"\xbe" + b"\x0f\x2f\x03two" + b"\x1f\x2f\x05three" + b"\x7e\x04four")
    assert entry.raw == incremental(b"x-first", b"one")  # how it came: that stands alone
    assert named.raw == b"\x00\x07x-first\x03two"
    assert secret.raw == b"\x10\x07x-first\x05three"
    assert entering.raw == b"\x00\x07x-first\x04four"
    assert table(one) == [(b"x-first", b"four"), (b"x-first", b"one")]
    assert one.read(b"\xbe")[0].raw == entering.raw


def test_an_integer_of_too_many_octets_is_not_passed_on() -> None:
    """RFC 7541 section 5.1 lets others refuse it."""
    one = decoder()
    assert one.read(b"\x0f\x90\x80\x00\x01a")[0].raw == b"\x0f\x10\x01a"
    assert one.read(b"\x00\x01x\x7f\x80\x00" + b"v" * 127)[0].raw == b"\x00\x01x\x7f\x00" + b"v" * 127
    assert one.read(b"\x0f\x10\x81\x1f")[0].raw == b"\x0f\x10\x81\x1f"  # the next block is not marked by it


def test_size_updates_are_not_kept() -> None:
    assert [line.raw for line in decoder().read(b"\x20\x3f\xe1\x1f\x82")] == [b"\x82"]


# --- kinds, and lines that are known ---


def test_kinds() -> None:
    met = {
        b":method": fields.PSEUDO_METHOD,
        b":scheme": fields.PSEUDO_SCHEME,
        b":authority": fields.PSEUDO_AUTHORITY,
        b":path": fields.PSEUDO_PATH,
        b":protocol": fields.PSEUDO_PROTOCOL,
        b"host": fields.HOST,
        b"baggage": fields.BAGGAGE,
        b"tracestate": fields.TRACESTATE,
        b"x-key": fields.KEY,
        b"te": fields.TE,
        b"connection": fields.CONNECTION,
        b"content-length": fields.CONTENT_LENGTH,
        b"content-type": fields.CONTENT_TYPE,
        b"grpc-status": fields.GRPC_STATUS,
        b"cookie": fields.COOKIE,
        b"user-agent": fields.ORDINARY,  # that it repeats is ours to know
        b"x-other": fields.ORDINARY,
    }
    block = b"".join(literal(name, b"1") for name in met)
    one = decoder()
    for _ in range(2):
        assert {line.name: line.kind for line in one.read(block)} == met


def test_trailers() -> None:
    """gRPC's status is one; framing and routing are dropped as in HTTP/1.1."""
    response = http2_response_kinds(errors.UPSTREAM_INVALID)
    kept = [b"grpc-status", b"grpc-message", b"x-checksum", b"server"]
    assert [
        name for name in [*kept, b"content-length", b"content-type"] if not is_dropped_trailer(name, response)
    ] == kept
    request = [b"cookie", b"x-other", b"baggage", b"x-key", b"host"]
    assert [name for name in request if not is_dropped_trailer(name, kinds())] == [b"cookie", b"x-other"]


def test_http_2_response_decision() -> None:
    assert http2_response_kinds(errors.UPSTREAM_INVALID)[b"pointsman-decision"] == fields.ORDINARY
    known = http2_response_kinds(errors.UPSTREAM_INVALID, replace_decision=True)
    assert known[b"pointsman-decision"] == fields.DECISION


def test_http_1_knows_nothing_of_it() -> None:
    known = request_kinds(errors.BAD_REQUEST)
    assert known[b"content-type"] == fields.REPEATING
    assert known[b"Cookie"] == fields.ORDINARY
    for name in (b":path", b":method"):
        with pytest.raises(ProtocolError):
            known[name]


@pytest.mark.parametrize(
    "name",
    [
        "user-agent",
        ":path",
        ":authority",
        "te",
        "content-type",
        "content-length",
        "grpc-encoding",
        "grpc-accept-encoding",
        "grpc-status",
    ],
)
@pytest.mark.parametrize("first", [0x00, 0x10, 0x40])
def test_repeating_line(name: str, first: int) -> None:
    """Known the second time, on another connection too, but not to the other direction."""
    common = kinds()
    block = bytes([first, len(name)]) + name.encode() + b"\x051.2.3"
    (line,) = Decoder(common, HeadLimits()).read(block)
    one = Decoder(common, HeadLimits())
    (again,) = one.read(block)
    assert again is line
    assert table(one) == ([(line.name, line.value)] if first == 0x40 else [])
    (other,) = Decoder(kinds(), HeadLimits()).read(block)
    assert other is not line


@pytest.mark.parametrize(
    "name", ["traceparent", "baggage", "tracestate", "grpc-timeout", "authorization", "cookie", "x-key", "x-other"]
)
def test_line_of_its_own(name: str) -> None:
    one = decoder()
    block = literal(name.encode(), b"1")
    assert one.read(block)[0] is not one.read(block)[0]


def test_known_lines_are_bounded() -> None:
    common = kinds()
    one = Decoder(common, WIDE)
    for number in range(5000):
        one.read(literal(b":path", b"/%d" % number))
        assert len(common.representations) <= 1024
    known = len(common.representations)
    one.read(literal(b":path", b"/" + b"a" * 300))
    assert one.read(incremental(b":path", b"/") + b"\x7e\xff\x71" + bytes(240))[1].value == b"0" * 384
    assert len(common.representations) == known + 1


def test_names_in_huffman_code_are_bounded_and_right() -> None:
    one = decoder()
    for number in range(2000):
        digits = b"%04d" % number
        # A digit has five or six bits; four of them with an x (7 bits) before are padded to whole octets by ones.
        codes = {**{d: f"{d:05b}" for d in range(3)}, **{d: f"{0x16 + d:06b}" for d in range(3, 10)}}
        bits = "1111001" + "".join(codes[d - 48] for d in digits)
        bits += "1" * (-len(bits) % 8)
        coded = int(bits, 2).to_bytes(len(bits) // 8, "big")
        for _ in range(2):
            assert len(hpack._coded_names) <= 512
            assert one.read(b"\x00" + bytes([0x80 + len(coded)]) + coded + b"\x00")[0].name == b"x" + digits


# --- the table's size ---


def test_limit_acknowledged() -> None:
    """RFC 9113 section 4.3.1: the block behind it starts with an update, and nothing enters the table any more."""
    one = decoder()
    one.read(incremental(b"x", b"a"))
    one.limit_acknowledged()
    assert pairs(one.read(EMPTY_TABLE + b"\x82" + incremental(b"y", b"b"))) == [(b":method", b"GET"), (b"y", b"b")]
    assert table(one) == []
    assert pairs(one.read(incremental(b"y", b"b"))) == [(b"y", b"b")]
    assert pairs(one.read(EMPTY_TABLE + b"\x82")) == [(b":method", b"GET")]
    with pytest.raises(CompressionError, match="a table size of 1, over the limit of 0"):
        one.read(b"\x21\x82")


def test_the_acknowledgement_empties_the_table() -> None:
    """At once, not with the next block: a connection may idle from here on."""
    one = decoder()
    (line,) = one.read(incremental(b"x", b"a"))
    holders = sys.getrefcount(line)
    one.limit_acknowledged()
    assert sys.getrefcount(line) == holders - 1


@pytest.mark.parametrize("block", [b"", b"\x82", b"\xbe", b"\x21\x82", b"\x3f\xe1\x1f\x82", b"\x20\x21"])
def test_no_update_behind_the_acknowledgement(block: bytes) -> None:
    one = decoder()
    one.read(incremental(b"x", b"a"))
    one.limit_acknowledged()
    with pytest.raises(CompressionError):
        one.read(block)


def test_update_before_the_acknowledgement() -> None:
    """A peer that took it to 0 by itself has nothing to say then."""
    one = decoder()
    one.read(EMPTY_TABLE + b"\x82")
    one.limit_acknowledged()
    assert pairs(one.read(b"\x82")) == [(b":method", b"GET")]


def test_smaller_and_larger_again() -> None:
    """RFC 7541 section 4.2: both sizes are told, and the smaller one evicts."""
    one = decoder()
    for name in (b"a", b"b", b"c"):
        one.read(incremental(name, b"1"))  # 34 bytes each
    assert pairs(one.read(b"\x3f\x25\x82"))  # 68
    assert table(one) == [(b"c", b"1"), (b"b", b"1")]
    assert pairs(one.read(b"\x3f\x03\x3f\xe1\x1f\x82"))  # 34, then 4096
    assert table(one) == [(b"c", b"1")]
    for name in (b"d", b"e"):
        one.read(incremental(name, b"1"))
    assert [name for name, _ in table(one)] == [b"e", b"d", b"c"]
    assert pairs(one.read(EMPTY_TABLE * 3 + b"\x3f\xe1\x1f\x82"))  # more than two say no more
    assert table(one) == []


def test_an_entry_larger_than_the_table_empties_it() -> None:
    """RFC 7541 section 4.4."""
    one = decoder()
    assert one.read(b"\x3f\x25") == []  # 68
    one.read(incremental(b"a", b"1"))
    assert pairs(one.read(incremental(b"b", b"2" * 36))) == [(b"b", b"2" * 36)]
    assert table(one) == []
    one.read(incremental(b"b", b"2" * 35))
    assert table(one) == [(b"b", b"2" * 35)]


def test_a_name_of_the_entry_that_goes() -> None:
    """RFC 7541 section 4.4: the entry may be evicted by the one that is named by it."""
    one = decoder()
    assert one.read(b"\x3f\x25") == []
    one.read(incremental(b"name", b"1"))
    assert pairs(one.read(b"\x7e\x20" + b"2" * 32)) == [(b"name", b"2" * 32)]
    assert table(one) == [(b"name", b"2" * 32)]


# --- representations of ours ---


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b":authority", b"a", b"\x01\x01a"),
        (b":path", b"/x", b"\x04\x02/x"),
        (b":status", b"503", b"\x08\x03503"),
        (b"content-type", b"a", b"\x0f\x10\x01a"),
        (b"x", b"", b"\x00\x01x\x00"),
        (b"x", b"v" * 126, b"\x00\x01x\x7e" + b"v" * 126),
        (b"x", b"v" * 127, b"\x00\x01x\x7f\x00" + b"v" * 127),
        (b"x", b"v" * 255, b"\x00\x01x\x7f\x80\x01" + b"v" * 255),
        (b"n" * 1464, b"", b"\x00\x7f\xb9\x0a" + b"n" * 1464 + b"\x00"),
    ],
)
def test_literal(name: bytes, value: bytes, expected: bytes) -> None:
    assert literal(name, value) == expected
    assert literal(name, value, is_secret=True) == bytes([expected[0] + 0x10]) + expected[1:]


def test_representation() -> None:
    assert representation(b":status", b"200") == b"\x88"
    assert representation(b":method", b"POST") == b"\x83"
    assert representation(b":status", b"201") == b"\x08\x03201"
    assert representation(b":authority", b"") == b"\x81"
    assert representation(b"x", b"1") == b"\x00\x01x\x011"
