"""Field blocks read: the RFC's examples, every fault, the limits."""

from __future__ import annotations

import tracemalloc

import pytest
from hpack.table import HeaderTable

from proxy.codec import fields
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h2.hpack import CompressionError, MalformedError, TooLargeError, literal
from tests.support.hpack import Fields, decoder, incremental, pairs, response_decoder, table

# --- RFC 7541 Appendix C: (block, fields, table behind it) ---

AUTHORITY = (b":authority", b"www.example.com")
CACHE = (b"cache-control", b"no-cache")
CUSTOM = (b"custom-key", b"custom-value")
REQUESTS: list[tuple[Fields, Fields]] = [
    ([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), AUTHORITY], [AUTHORITY]),
    ([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), AUTHORITY, CACHE], [CACHE, AUTHORITY]),
    (
        [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), AUTHORITY, CUSTOM],
        [CUSTOM, CACHE, AUTHORITY],
    ),
]
C3 = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
]
C4 = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
]
PRIVATE = (b"cache-control", b"private")
DATE_21 = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
DATE_22 = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
LOCATION = (b"location", b"https://www.example.com")
GZIP = (b"content-encoding", b"gzip")
SET_COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
RESPONSES: list[tuple[Fields, Fields]] = [
    ([(b":status", b"302"), PRIVATE, DATE_21, LOCATION], [LOCATION, DATE_21, PRIVATE, (b":status", b"302")]),
    ([(b":status", b"307"), PRIVATE, DATE_21, LOCATION], [(b":status", b"307"), LOCATION, DATE_21, PRIVATE]),
    ([(b":status", b"200"), PRIVATE, DATE_22, LOCATION, GZIP, SET_COOKIE], [SET_COOKIE, GZIP, DATE_22]),
]
C5 = [
    "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e"
    "1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "4803 3330 37c1 c0bf",
    "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d"
    "4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572"
    "7369 6f6e 3d31",
]
C6 = [
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b"
    "97c8 e9ae 82ae 43d3",
    "4883 640e ffc1 c0bf",
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf"
    "cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
]


@pytest.mark.parametrize(
    ("block", "field", "entries"),
    [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            (b"custom-key", b"custom-header"),
            [(b"custom-key", b"custom-header")],
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", (b":path", b"/sample/path"), []),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", (b"password", b"secret"), []),
        ("82", (b":method", b"GET"), []),
    ],
)
def test_one_representation(block: str, field: tuple[bytes, bytes], entries: Fields) -> None:
    """C.2. All of them stand alone, so they are kept as they are."""
    one = decoder()
    (line,) = one.read(bytes.fromhex(block))
    assert (line.name, line.value) == field
    assert line.raw == bytes.fromhex(block)
    assert table(one) == entries


@pytest.mark.parametrize("blocks", [C3, C4])
def test_requests(blocks: list[str]) -> None:
    one = decoder()
    for block, (expected, entries) in zip(blocks, REQUESTS, strict=True):
        assert pairs(one.read(bytes.fromhex(block))) == expected
        assert table(one) == entries


@pytest.mark.parametrize("blocks", [C5, C6])
def test_responses_with_eviction(blocks: list[str]) -> None:
    one = response_decoder()
    assert one.read(b"\x3f\xe1\x01") == []  # a table of 256, as Appendix C has it
    for block, (expected, entries) in zip(blocks, RESPONSES, strict=True):
        assert pairs(one.read(bytes.fromhex(block))) == expected
        assert table(one) == entries


def test_every_static_entry() -> None:
    request, response = decoder(), response_decoder()
    for index, entry in enumerate(HeaderTable.STATIC_TABLE, 1):
        one = response if entry[0] == b":status" else request
        assert pairs(one.read(bytes([0x80 + index]))) == [entry]


# --- faults of the compression ---

# The text that says what is wrong: {what it is: the block}.
COMPRESSION_FAULTS = {
    "index 0": {
        "index 0": "80",
    },
    "behind the table": {
        "an index behind an empty table": "be",
        "an index behind the table, of several octets": "ff 00",
        "a name's index behind the table, with indexing": "7e 01 61",
        "a name's index behind the table, without": "0f 2f 01 61",
    },
    "ends inside": {
        "an integer without an end": "ff",
        "an integer without an end, of several octets": "ff 80 80",
        "a name without a value": "00 01 61",
        "an index without a value": "04",
        "a literal's first octet alone": "40",
        "a name that is longer than the block": "00 05 61 62",
    },
    "too many octets": {
        "an integer of six octets behind the first": "0f 90 80 80 80 80 00 01 61",
    },
    r"over 2\^31-1": {
        "an integer over 2^31-1": "0f f1 ff ff ff 07 01 61",
        "a length over 2^31-1": "00 7f 81 ff ff ff 07",
    },
    "longer than its field block": {
        "a value that is longer than the block": "00 01 61 02 62",
        "a value that is longer than the block, in Huffman code": "00 01 61 82 1f",
        "a value much longer than the block": "00 01 61 7f ff ff ff ff 06",
    },
    "update behind a field": {
        "a table size update behind a field": "82 20",
        "a table size update behind two fields and an update": "20 82 84 20",
    },
    "Huffman": {
        "an EOS in a value": "00 01 61 84 ff ff ff ff",
        "an EOS in a name": "00 84 ff ff ff ff 01 61",
        "padding of zeros": "00 01 61 81 00",
        "padding of more than seven bits": "00 01 61 82 1f ff",
        "padding of zeros in a name": "00 81 00 01 61",
    },
}


@pytest.mark.parametrize(
    ("text", "block"),
    [
        pytest.param(text, block, id=name)
        for text, blocks in COMPRESSION_FAULTS.items()
        for name, block in blocks.items()
    ],
)
@pytest.mark.parametrize("before", ["", "82 86 84", "00 01 41 01 61"], ids=["alone", "behind fields", "behind an A"])
def test_compression_fault(text: str, block: str, before: str) -> None:
    """Alone and behind fields; it counts more than a fault of the stream before it."""
    one = decoder()
    with pytest.raises(CompressionError, match=text):
        one.read(bytes.fromhex(before) + bytes.fromhex(block))


def test_table_size_over_the_limit() -> None:
    """4096 is what the protocol starts with."""
    assert pairs(decoder().read(b"\x3f\xe1\x1f\x82")) == [(b":method", b"GET")]
    for block, text in (("3f e2 1f", "4097, over the limit of 4096"), ("3f e1 ff ff ff 07", r"over 2\^31-1")):
        with pytest.raises(CompressionError, match=text):
            decoder().read(bytes.fromhex(block))


def test_the_largest_integers() -> None:
    one = decoder()
    with pytest.raises(CompressionError, match="behind the table"):  # and not the integer
        one.read(bytes.fromhex("ff 80 ff ff ff 07"))
    assert pairs(one.read(bytes.fromhex("0f 8f 80 80 80 00 01 61"))) == [(b"content-range", b"a")]


def test_cut_anywhere() -> None:
    """The start of a good block is a block of fewer whole lines, or no block."""
    whole = b"".join(
        [
            b"\x82",
            b"\x86",
            b"\x04\x0c/sample/path",
            incremental(b"x-first", b"one"),
            b"\x41\x8c\xf1\xe3\xc2\xe5\xf2:k\xa0\xab\x90\xf4\xff",
            b"\xbf",
            b"\x0f\x30\x03two",
            b"\x10\x08password\x06secret",
            b"\x00\x05large\x7f\x49" + b"v" * 200,
        ]
    )
    expected = pairs(decoder().read(whole))
    assert len(expected) == 9
    lengths = set()
    for cut in range(len(whole)):
        try:
            lines = pairs(decoder().read(whole[:cut]))
        except CompressionError:
            continue
        assert lines == expected[: len(lines)]
        lengths.add(len(lines))
    assert lengths == set(range(9))


# --- faults of the message ---

MALFORMED = {
    "an empty name": (b"", b"a"),
    "a capital": (b"Baggage", b"a"),
    "a capital within": (b"x-fOo", b"a"),
    "a blank in a name": (b"x y", b"a"),
    "a colon in a name": (b"x:y", b"a"),
    "a NUL in a name": (b"x\0", b"a"),
    "a line end in a name": (b"x\r\ny", b"a"),
    "an 8-bit name": (b"x\xe9", b"a"),
    "an unknown pseudo-header field": (b":host", b"a"),
    "a lone colon": (b":", b"a"),
    "a response's pseudo-header field": (b":status", b"200"),
    "a pseudo-header field with a capital": (b":Path", b"/"),
    "a NUL": (b"x", b"a\0b"),
    "a CR": (b"x", b"a\rb"),
    "an LF": (b"x", b"a\nb"),
    "a line end": (b"x", b"a\r\nb: c"),
    "an ESC": (b"x", b"\x1b[0m"),
    "a DEL": (b"x", b"a\x7f"),
    "a control in a known field": (b"baggage", b"a\x01"),
    "a blank before": (b"x", b" a"),
    "a blank behind": (b"x", b"a "),
    "a tab before": (b"x", b"\ta"),
    "a tab behind": (b"x", b"a\t"),
    "a blank alone": (b"x", b" "),
    "a line end in a path": (b":path", b"/ HTTP/1.1\r\nx: y"),
    "a blank behind a repeating value": (b"user-agent", b"a "),
}
GOOD = {
    "an empty value": (b"x", b""),
    "a tab within": (b"x", b"a\tb"),
    "a blank within": (b"x", b"a b"),
    "8-bit text": (b"x", b"\x80\xffa\xe4"),
    "all of a token": (b"!#$%&'*+-.^_`|~09az", b"a"),
    "every printable character": (b"x", bytes(range(0x21, 0x7F))),
}


@pytest.mark.parametrize("field", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(field: tuple[bytes, bytes]) -> None:
    """Every time, and the table is right behind it: it has the field, which is no better from there."""
    one = decoder()
    for _ in range(2):
        with pytest.raises(MalformedError):
            one.read(b"\x82" + literal(*field) + b"\x84")
    with pytest.raises(MalformedError):
        one.read(b"\x82" + incremental(*field) + incremental(b"x-good", b"1"))
    assert pairs(one.read(b"\xbe")) == [(b"x-good", b"1")]
    with pytest.raises(MalformedError):
        one.read(b"\xbf")
    if field[0] == b"x":
        assert pairs(one.read(b"\x7f\x00\x01a")) == [(b"x", b"a")]
    else:
        with pytest.raises(CompressionError):
            one.read(b"\xc0")


@pytest.mark.parametrize("field", GOOD.values(), ids=GOOD.keys())
def test_not_malformed(field: tuple[bytes, bytes]) -> None:
    assert pairs(decoder().read(incremental(*field))) == [field]


def test_what_is_malformed_is_named() -> None:
    with pytest.raises(MalformedError, match="control character or a blank at its ends, of b'x-a'"):
        decoder().read(literal(b"x-a", b"\0") + literal(b"X-B", b"b"))
    with pytest.raises(MalformedError, match="capitals: b'X-B'"):
        decoder().read(literal(b"X-B", b"b") + literal(b"x-a", b"\0"))


def test_response_names() -> None:
    one = response_decoder()
    assert [line.kind for line in one.read(b"\x88")] == [fields.PSEUDO_STATUS]
    for block in (b"\x82", b"\x84", b"\x86", b"\x01\x01a"):
        with pytest.raises(MalformedError):
            one.read(block)


# --- limits ---


def test_limit_of_bytes() -> None:
    """Counted as in HTTP/1.1, `name: value` and a line end; the line that reaches the limit is still good."""
    limits = HeadLimits(max_bytes=len(b"x: 1\r\ny: 22\r\n"))
    block = literal(b"x", b"1") + literal(b"y", b"22")
    assert len(decoder(limits).read(block)) == 2
    with pytest.raises(TooLargeError, match="over 13 bytes"):
        decoder(limits).read(literal(b"x", b"1") + literal(b"y", b"222"))
    with pytest.raises(TooLargeError, match="over 13 bytes"):
        decoder(limits).read(block + b"\x82")


def test_limit_of_fields() -> None:
    one = decoder(HeadLimits(max_fields=3))
    assert len(one.read(b"\x82\x84\x86")) == 3
    with pytest.raises(TooLargeError, match="more than 3 fields"):
        one.read(b"\x82\x84\x86\x90")


def test_behind_the_limit_the_table_is_right() -> None:
    one = decoder(HeadLimits(max_bytes=50))
    first = incremental(b"x-first", b"a" * 100)
    with pytest.raises(TooLargeError):
        one.read(first + incremental(b"x-second", b"b") + b"\x00\x01a\x01b" + b"\x7f\x00\x01c" + b"\x41\x01d" + b"\x82")
    with pytest.raises(TooLargeError):
        one.read(b"\xc1")
    assert pairs(one.read(b"\xbe\xbf\xc0")) == [(b":authority", b"d"), (b"x-first", b"c"), (b"x-second", b"b")]


@pytest.mark.parametrize("fault", ["80", "ff", "00 01 61 02 62", "7f 70 01 61", "82 20", "0f 70 01 61"])
def test_compression_faults_behind_the_limit(fault: str) -> None:
    with pytest.raises(CompressionError):
        decoder(HeadLimits(max_bytes=10)).read(literal(b"x", b"a" * 100) + bytes.fromhex(fault))


def test_behind_the_limit_only_what_enters_the_table_is_read() -> None:
    """The others are stepped over, as the wrong padding shows that is not seen there."""
    start = literal(b"x", b"a" * 100)
    with pytest.raises(TooLargeError):
        decoder(HeadLimits(max_bytes=10)).read(start + b"\x00\x01a\x81\x00")
    with pytest.raises(CompressionError):
        decoder(HeadLimits(max_bytes=10)).read(start + b"\x40\x01a\x81\x00")


@pytest.mark.parametrize("repeated", [b"\xbe", b"\x0f\x2f\x00", b"\x1f\x2f\x01a"], ids=["line", "name", "secret"])
def test_bomb(repeated: bytes) -> None:
    """CHECKLIST 31: an entry of 4 KB, named 16,000 times, is 64 MB to whoever keeps them."""
    one = decoder()
    one.read(b"\x40\x7f\x81\x1e" + b"x" * 3968 + b"\x01a")
    block = repeated * 16_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            one.read(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert len(table(one)) == 1
