"""Header blocks that break RFC 7541, and odd ones that do not. Each row's name begins with the section that rules it.

Our settings, with whatever table size they announce, are acknowledged, and the encoder's table has size 0.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.http2_row import Row, answered, connection
from tests.support.http2 import (
    SIZE_0,
    Code,
    block,
    continuation,
    data,
    head,
    headers,
    indexed,
    integer,
    literal,
    post,
    string,
)

HEAD: Final = head("/")
INDEXED: Final = indexed(2) + indexed(6) + indexed(4) + literal(b":authority", b"location")  # GET http /


def _bad(name: str, tail: bytes) -> Row:
    return connection(name, Code.COMPRESSION_ERROR, headers(5, HEAD + tail, end=True))


def _served(name: str, block: bytes) -> Row:
    return answered(name, 200, headers(5, block, end=True))


def _huffman(coded: bytes) -> bytes:
    """A field with a value that is coded so."""
    return b"\x00" + string(b"x-a") + integer(len(coded), 7, 0x80) + coded


BLOCKS: Final[tuple[Row, ...]] = (
    # --- integers ---
    _bad("5.1: an integer that does not end", b"\xff"),
    _bad("5.1: an integer that goes on and on", b"\xff" + b"\x80" * 100 + b"\x01"),
    _bad("5.1: an index above 2^32", integer(2**40, 7, 0x80)),
    _bad("5.1: a length above 2^64", b"\x00" + string(b"x-a") + integer(2**70, 7)),
    # --- strings ---
    _bad("5.2: a name longer than its block", b"\x00\x05x-a"),
    _bad("5.2: a value longer than its block", b"\x00\x03x-a\x05b"),
    _bad("5.2: a name without a value", b"\x00\x03x-a"),
    _bad("5.2: a representation of one byte", b"\x00"),
    _bad("5.2: Huffman padding of a byte", _huffman(b"\x1f\xff")),
    _bad("5.2: Huffman padding of zeros", _huffman(b"\x18")),
    _bad("5.2: nothing but Huffman padding", _huffman(b"\xff")),
    _bad("5.2: Huffman EOS", _huffman(b"\xff\xff\xff\xff")),
    _bad("5.2: a Huffman code that breaks off", _huffman(b"\xff\xc0")),
    _served("5.2: Huffman padding of ones", HEAD + _huffman(b"\x1f")),
    _served("5.2: an empty Huffman string", HEAD + _huffman(b"")),
    # --- indices ---
    _bad("6.1: index 0", indexed(0)),
    _bad("6.1: an index above the tables", indexed(62)),
    _bad("6.1: an index far above the tables", indexed(70000)),
    _bad("2.3.3: a name's index above the tables", integer(62, 4) + string(b"1")),
    _bad("2.3.3: a name's index above the tables, with indexing", integer(62, 6, 0x40) + string(b"1")),
    _bad("2.3.3: a name's index above the tables, never indexed", integer(62, 4, 0x10) + string(b"1")),
    _bad("4.4: an entry that does not fit is not there", literal(b"x-a", b"1", first=0x40) + indexed(62)),
    _served("6.1: fields of the static table", INDEXED),
    _served("6.2.1: indexing that has no room", HEAD + literal(b"x-a", b"1", first=0x40)),
    _served("6.2.1: a name's index with indexing", INDEXED + integer(58, 6, 0x40) + string(b"agent")),
    _served("6.2.3: never indexed", HEAD + literal(b"x-a", b"1", first=0x10)),
    # --- table sizes ---
    _bad("6.3: a table size above the settings", integer(1 << 20, 5, 0x20)),
    connection(
        "6.3: a table size above the settings, first",
        Code.COMPRESSION_ERROR,
        headers(5, integer(1 << 20, 5, 0x20) + HEAD, end=True),
    ),
    _bad("4.2: a table size behind a field", SIZE_0),
    connection(
        "4.2: a table size inside a head", Code.COMPRESSION_ERROR, headers(5, INDEXED[:2] + SIZE_0 + INDEXED[2:])
    ),
    _served("6.3: a table size in each block", SIZE_0 + HEAD),
    _served("4.2: two table sizes", SIZE_0 + SIZE_0 + HEAD),
    # --- wherever a block stands ---
    connection(
        "4.3 of RFC 9113: a bad block in a CONTINUATION",
        Code.COMPRESSION_ERROR,
        headers(5, HEAD, whole=False),
        continuation(5, indexed(0)),
    ),
    connection(
        "4.3 of RFC 9113: a bad block in trailers",
        Code.COMPRESSION_ERROR,
        post(5),
        data(5, b"x"),
        headers(5, indexed(0), end=True),
    ),
    connection(
        "4.3 of RFC 9113: a bad block in a malformed request",
        Code.COMPRESSION_ERROR,
        headers(5, block(("X-A", "1")) + indexed(0), end=True),
    ),
    connection(
        "4.3 of RFC 9113: a bad block on a stream that was reset for its first",
        Code.COMPRESSION_ERROR,
        headers(5, head("/", ("X-A", "1"))),
        headers(5, indexed(0), end=True),
    ),
)
