"""Decoders for tests, and what they hold."""

from __future__ import annotations

from proxy import errors
from proxy.codec.fields import FieldKinds, http2_request_kinds, http2_response_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h2.hpack import CompressionError, Decoder, FieldLine

Fields = list[tuple[bytes, bytes]]

KEY_HEADERS = (b"x-key",)
WIDE = HeadLimits(max_bytes=10**6, max_fields=10**6)
EMPTY_TABLE = b"\x20"


def kinds() -> FieldKinds:
    return http2_request_kinds(errors.BAD_REQUEST, KEY_HEADERS)


def decoder(limits: HeadLimits | None = None) -> Decoder:
    return Decoder(kinds(), limits or HeadLimits())


def response_decoder() -> Decoder:
    return Decoder(http2_response_kinds(errors.UPSTREAM_INVALID), HeadLimits())


def pairs(lines: list[FieldLine]) -> Fields:
    return [(line.name, line.value) for line in lines]


def table(of: Decoder) -> Fields:
    """Its dynamic table, newest first, by asking for every index up to the end."""
    entries: Fields = []
    while True:
        index = 62 + len(entries)
        try:
            entries += pairs(of.read(bytes([0x80 + index])))
        except CompressionError:
            return entries


def incremental(name: bytes, value: bytes) -> bytes:
    """A literal with incremental indexing, of short strings."""
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value
