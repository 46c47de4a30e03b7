"""The key of a request, read slowly and plainly, and pieces of headers that are worth reading."""

from __future__ import annotations

from proxy.routing import baggage, tracestate
from proxy.routing.baggage import processed
from proxy.routing.key import KeyReading
from proxy.routing.names import is_routing_key

# Pieces that matter to the grammar, in any order: far more often a near miss than random bytes are.
PIECES = [b",", b"=", b";", b" ", b"\t", b"%", b"+", b'"', b"\\", b"\x85", b"\xa0", b"\x0b", b"\x00", b"\xc3\xa4"]
PIECES += [
    b"sd-routing-key",
    b"sd-sandbox",
    b"sd-strict",
    b"k",
    b"key",
    b"a.key",
    b"sd-routing-key=abc",
    b"k=v",
    b",k=",
]
PIECES += [b"abc", b"0", b"1", b"%61", b"%3B", b"%3b", b"%2", b"-", b"x", b"a" * 63]


def parts(reading: KeyReading) -> tuple[object, ...]:
    names = ("ambiguous", "header", "invalid", "key", "name", "strict", "value")
    return tuple(getattr(reading, name) for name in names)


def plain_reading(
    lines: list[bytes],
    states: list[bytes],
    names: tuple[bytes, ...],
    key_fields: list[tuple[bytes, bytes]] | tuple[()] = (),
    headers: tuple[bytes, ...] = (),
) -> tuple[bytes | None, bool, bool, bool]:
    """(key, invalid, ambiguous, strict) by SPEC 3 as it stands, member by member: what all shortcuts must come to."""
    found = [member for member in baggage.members(lines) if member.fault is None]
    raw = [member for member in tracestate.members(states) if member.fault is None]
    strict = any(m.name == b"sd-strict" and processed(m.value) not in (b"", b"0") for m in found)
    strict = strict or any(m.name == b"sd-strict" and m.value not in (b"", b"0") for m in raw)
    for name in names:
        if values := [processed(m.value) for m in found if m.name == name]:
            return verdict(values[-1], values, strict)
    for name in names:
        if values := [m.value for m in raw if m.name == name]:
            return verdict(values[0], values, strict)
    for header in headers:
        if whole := [value.strip(b" \t") for name, value in key_fields if name == header]:
            key = whole[0] if len(set(whole)) == 1 and is_routing_key(whole[0]) else None
            return key, key is None, False, strict
    return None, False, False, strict


def verdict(value: bytes, values: list[bytes], strict: bool) -> tuple[bytes | None, bool, bool, bool]:
    is_key = is_routing_key(value)
    return (value if is_key else None), not is_key, len(set(values)) > 1, strict
