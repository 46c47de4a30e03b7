"""What counts as HTTP/2: the server's own settings, as its first frame."""

from __future__ import annotations

import pytest

from pointsman.doctor.speaking import _begins_with_settings


@pytest.mark.parametrize(
    ("data", "is_http2"),
    [
        (b"\0\0\0\x04\0\0\0\0\0", True),
        (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", True),
        (b"\0\0\0\x04\x01\0\0\0\0", False),  # acknowledges ours, and tells none
        (b"\0\0\0\x04\0\0\0\0\x01", False),  # of a stream
        (b"\0\0\x08\x07\0\0\0\0\0", False),  # GOAWAY
        (b"\0\0\0\x04\0\0\0\0", False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (b"", False),
    ],
)
def test_settings(data: bytes, is_http2: bool) -> None:
    assert _begins_with_settings(data) is is_http2
