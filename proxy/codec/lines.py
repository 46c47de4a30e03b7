"""The few changes that a proxy makes to a head's lines (SPEC 4); off the common path."""

from __future__ import annotations


def with_one_line(lines: list[bytes], name: bytes, value: bytes) -> list[bytes]:
    """The head with all lines of a list field `name` (lowercase) as one with this value, at the first one's place."""
    result = [lines[0]]
    is_first = True
    for line in lines[1:]:
        spelled = line.partition(b":")[0]
        if spelled.lower() != name:
            result.append(line)
        elif is_first:
            is_first = False
            result.append(spelled + b": " + value)
    return result


def replace_host(lines: list[bytes], authority: bytes) -> list[bytes]:
    """The head with this Host, at the old one's place; first of all fields where there was none."""
    kept = [line for line in lines[1:] if line.partition(b":")[0].lower() != b"host"]
    return [lines[0], b"Host: " + authority, *kept]
