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
    host = b"Host: " + authority
    replaced = [host if line.partition(b":")[0].lower() == b"host" else line for line in lines]
    return replaced if host in replaced else [lines[0], host, *lines[1:]]


def with_forwarded(lines: list[bytes], peer: bytes) -> list[bytes]:
    """The head with the caller's address at the end of `X-Forwarded-For`, and `X-Forwarded-Proto` if it has none."""
    values: list[bytes] = []
    has_proto = False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"x-forwarded-for":
            values.append(value.strip(b" \t"))
        elif name.lower() == b"x-forwarded-proto":
            has_proto = True
    value = b", ".join([*filter(None, values), peer])
    if values:
        result = with_one_line(lines, b"x-forwarded-for", value)
    else:
        result = [*lines, b"X-Forwarded-For: " + value]
    return result if has_proto else [*result, b"X-Forwarded-Proto: http"]
