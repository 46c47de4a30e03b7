"""Our reading of HPACK beside the `hpack` library's: what its encoder writes, both decoders read alike, and so they do
with blocks that were spoiled: the same lines or a fault of the compression. The library does not read names and values;
what is malformed to us, it takes.
"""

from __future__ import annotations

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.fields import http2_request_kinds
from proxy.codec.h2.hpack import CompressionError, Decoder, MalformedError, literal, representation
from tests.support.hpack import WIDE, Fields, pairs

QUICK = settings(deadline=None, max_examples=200, derandomize=True)
THOROUGH = settings(QUICK, max_examples=1000)

KINDS = http2_request_kinds(errors.BAD_REQUEST)

NAMES = st.one_of(
    st.sampled_from(
        [b":path", b":authority", b":method", b"user-agent", b"baggage", b"content-type", b"cookie", b"x-a"]
    ),
    st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9a-z]{1,40}", fullmatch=True),
)
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"/", b"GET", b"application/grpc", b"1" * 126, b"2" * 127, b"3" * 128, b"4" * 3000, b"5" * 5000]
    ),
    st.from_regex(rb"(?:[!-~\x80-\xff](?:[ -~\t\x80-\xff]*[!-~\x80-\xff])?)?", fullmatch=True),
)
Head = list[tuple[bytes, bytes, bool]]  # the last: whether it is never indexed
HEADS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12)
SIZES = st.lists(st.sampled_from([0, 31, 40, 100, 500, 4095, 4096]), max_size=3)


def resize(encoder: hpack.Encoder, sizes: list[int]) -> None:
    for size in sizes:
        if size != encoder.header_table_size:  # else it forgets to say what was set before
            encoder.header_table_size = size


def theirs() -> hpack.Decoder:
    return hpack.Decoder(max_header_list_size=10**9)


def their_reading(one: hpack.Decoder, block: bytes) -> Fields | None:
    """None: a fault of the compression."""
    try:
        return [(bytes(name), bytes(value)) for name, value in one.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


def our_reading(one: Decoder, block: bytes) -> Fields | str | None:
    try:
        return pairs(one.read(block))
    except CompressionError:
        return None
    except MalformedError:
        return "malformed"


@settings(THOROUGH)
@given(st.lists(st.tuples(HEADS, st.booleans(), SIZES), min_size=1, max_size=6))
def test_what_their_encoder_writes(heads: list[tuple[Head, bool, list[int]]]) -> None:
    encoder, ours, other = hpack.Encoder(), Decoder(KINDS, WIDE), theirs()
    for head, is_huffman, sizes in heads:
        resize(encoder, sizes)
        block = encoder.encode(head, huffman=is_huffman)
        expected = [(name, value) for name, value, _ in head]
        lines = ours.read(block)
        assert pairs(lines) == expected
        assert their_reading(other, block) == expected
        alone = hpack.Decoder(max_header_list_size=10**9)
        alone.header_table_size = 0
        assert their_reading(alone, b"\x20" + b"".join(line.raw for line in lines)) == expected


@settings(QUICK)
@given(HEADS, HEADS)
def test_encoder_that_takes_our_limit(first: Head, second: Head) -> None:
    """As a peer does that acknowledges our SETTINGS between two heads."""
    encoder, ours = hpack.Encoder(), Decoder(KINDS, WIDE)
    assert pairs(ours.read(encoder.encode(first))) == [(name, value) for name, value, _ in first]
    encoder.header_table_size = 0
    ours.limit_acknowledged()
    for _ in range(2):
        assert pairs(ours.read(encoder.encode(second))) == [(name, value) for name, value, _ in second]


@settings(QUICK)
@given(HEADS)
def test_what_we_write(head: Head) -> None:
    block = b"".join(
        literal(name, value, is_secret=True) if is_secret else representation(name, value)
        for name, value, is_secret in head
    )
    read = theirs().decode(block, raw=True)
    assert [(name, value, not field.indexable) for field in read for name, value in [field]] == [
        (name, value, is_secret) for name, value, is_secret in head
    ]


@st.composite
def spoiled(draw: st.DrawFn) -> list[bytes]:
    """Blocks of one encoder, of which some octets were changed, put in or taken out."""
    encoder = hpack.Encoder()
    blocks = []
    for head, is_huffman, sizes in draw(st.lists(st.tuples(HEADS, st.booleans(), SIZES), min_size=1, max_size=3)):
        resize(encoder, sizes)
        block = encoder.encode(head, huffman=is_huffman)
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, min(len(block), 60)))
            until = place + draw(st.sampled_from([0, 1, 1, 2]))
            block = block[:place] + draw(st.binary(max_size=2)) + block[until:]
        blocks.append(block)
    return blocks


@settings(THOROUGH)
@given(spoiled())
def test_spoiled_blocks(blocks: list[bytes]) -> None:
    ours, other = Decoder(KINDS, WIDE), theirs()
    for block in blocks:
        our, their = our_reading(ours, block), their_reading(other, block)
        if our == "malformed":
            assert their is not None
        else:
            assert our == their
        if our is None:
            return
