"""The Huffman code of RFC 7541: every symbol behind every remainder of bits, and every wrong end."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from proxy.codec.h2 import huffman

encode = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode

EOS = (0x3FFFFFFF, 30)


def packed(*codes: tuple[int, int]) -> bytes:
    """Codes (bits, how many) behind each other; at the end, zeros up to a whole octet."""
    bits = "".join(f"{code:0{length}b}" for code, length in codes if length)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def ones(count: int) -> tuple[int, int]:
    return (1 << count) - 1, count


@pytest.mark.parametrize("symbol", range(256))
def test_symbol(symbol: int) -> None:
    # Eight zeros behind each other start the symbol at all eight places of an octet: a zero has five bits.
    for before in range(8):
        text = b"0" * before + bytes([symbol]) + b"0" + bytes([symbol, symbol])
        assert huffman.decode(encode(text)) == text


def test_nothing() -> None:
    assert huffman.decode(b"") == b""


@pytest.mark.parametrize("zeros", range(8))
def test_padding(zeros: int) -> None:
    """Behind so many zeros of five bits each, an octet lacks 0 to 7 bits."""
    codes = [(0, 5)] * zeros
    lack = -5 * zeros % 8
    assert huffman.decode(packed(*codes, ones(lack))) == b"0" * zeros
    for wrong in {ones(lack)[0] - 1, 0} if lack else ():
        if wrong == 0 and lack >= 5:
            continue  # one more zero
        with pytest.raises(ValueError, match="wrong padding"):
            huffman.decode(packed(*codes, (wrong, lack)))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\xff",
        packed((0, 5), ones(11)),
        packed((0x1C, 6), ones(10)),
        packed((0x15, 6), (0x15, 6), ones(12)),
    ],
)
def test_padding_of_more_than_seven_bits(data: bytes) -> None:
    with pytest.raises(ValueError, match="wrong padding"):
        huffman.decode(data)


@pytest.mark.parametrize("before", range(8))
@pytest.mark.parametrize("after", [(), ((0, 5),), ((0, 5),) * 9, (EOS,), (ones(7),)])
def test_eos(before: int, after: tuple[tuple[int, int], ...]) -> None:
    """Nothing behind it makes it good again."""
    used = before * 5 + 30 + sum(length for _, length in after)
    data = packed(*[(0, 5)] * before, EOS, *after, ones(-used % 8))
    with pytest.raises(ValueError, match="EOS"):
        huffman.decode(data)
