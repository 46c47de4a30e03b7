"""The frames that we write, byte by byte."""

from __future__ import annotations

import pytest

from proxy.codec.h2 import frames


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (frames.frame_header(0, 0, 0, 0), "000000 00 00 00000000"),
        (frames.frame_header(0x123456, 9, 0x2D, 2**31 - 1), "123456 09 2d 7fffffff"),
        (frames.settings(), "000000 04 00 00000000"),
        (frames.settings((4, 65536), (8, 1)), "00000c 04 00 00000000 0004 00010000 0008 00000001"),
        (frames.SETTINGS_ACK, "000000 04 01 00000000"),
        (frames.ping(b"12345678"), "000008 06 00 00000000 3132333435363738"),
        (frames.ping(b"12345678", is_ack=True), "000008 06 01 00000000 3132333435363738"),
        (frames.goaway(5, 11), "000008 07 00 00000000 00000005 0000000b"),
        (frames.goaway(2**31 - 1, 0, "why"), "00000b 07 00 00000000 7fffffff 00000000 776879"),
        (frames.rst_stream(3, 8), "000004 03 00 00000003 00000008"),
        (frames.window_update(0, 2**31 - 1), "000004 08 00 00000000 7fffffff"),
    ],
)
def test_written(written: bytes, expected: str) -> None:
    assert written == bytes.fromhex(expected)


def test_what_a_goaway_says_is_short_and_ascii() -> None:
    assert frames.goaway(0, 1, "é" + "x" * 300)[17:] == b"\\xe9" + b"x" * 196


def test_settings_are_read_in_order_with_duplicates() -> None:
    pairs = [(4, 1), (0xFFFF, 2**32 - 1), (4, 2)]
    assert frames.settings_pairs(frames.settings(*pairs)[9:]) == pairs


def test_words() -> None:
    assert frames.word(b"\x80\x00\x00\x01") == 2**31 + 1
    assert frames.word(b"abcd\0\0\0\x07", 4) == 7
