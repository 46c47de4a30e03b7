"""The `baggage` header as a list of members: one grammar for the key reader and for explain.

Grammar (W3C Baggage section 3.3.1; SPEC 3 where it departs):

    baggage     = list-member *( OWS "," OWS list-member )      several lines are one list (RFC 9110 section 5.3)
    list-member = name OWS "=" OWS value OWS *( ";" property )
    name        = token
    value       = *( %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E )      printable, but no space " , ; \\

A member that breaks it is skipped alone; the others count. Empty members are skipped. Properties are never the value
and never break a member. Only space and tab are whitespace: Python's methods and classes that know more (\\v, \\x85,
\\xa0) would read another value than the service does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

OWS: Final = b" \t"
MAX_BYTES: Final = 8192  # W3C Baggage section 3.3.2: what every receiver must take

# Possessive (`*+`): what one part takes, no other part could, so giving it back only costs. Without, blanks round an
# empty value are divided in every possible way, and one request of 60 KB takes minutes.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
_VALUE: Final = rb"[!#-+\--:<-\[\]-~]*+"
_REST: Final = rb"[ \t]*+=[ \t]*+(" + _VALUE + rb")[ \t]*+(?:;[^,]*+)?"
_MEMBER: Final = re.compile(rb"(" + _TOKEN + rb")" + _REST)
_NAME: Final = re.compile(_TOKEN)


class Member(NamedTuple):
    """One list member as it stands. `fault` says why it is broken; then there is no value."""

    raw: bytes
    name: bytes
    value: bytes
    fault: str | None


def members(lines: Iterable[bytes]) -> Iterator[Member]:
    """Every member that is not empty, in order, broken ones too. Never raises."""
    for line in lines:
        for item in line.split(b","):
            raw = item.strip(OWS)
            if not raw:
                continue
            if match := _MEMBER.fullmatch(raw):
                yield Member(raw, match[1], match[2], None)
                continue
            name, equals, _ = raw.partition(b"=")
            name = name.strip(OWS)
            if not equals:
                fault = "it has no '='"
            elif not _NAME.fullmatch(name):
                fault = "its name is not a token"
            else:
                fault = "its value holds a character that must be percent-encoded"
            yield Member(raw, name, b"", fault)


class MemberFinder:
    """Finds the unbroken members of one name, without looking at the others.

    `rest` is the grammar of a member behind its name, with one group, the value.
    """

    __slots__ = ("_matches", "_name")

    def __init__(self, name: bytes, rest: bytes) -> None:
        self._name: Final = name
        literal = re.escape(name)
        # The name comes first, so that the engine searches for a plain string; what stands before it is looked at
        # afterwards. Attempts begin only behind a comma or whitespace, where the one before has ended: linear.
        self._matches: Final = re.compile(literal + rb"(?<![^, \t]" + literal + rb")" + rest + rb"(?=,|\Z)").finditer

    def values(self, lines: Iterable[bytes]) -> list[bytes]:
        """The raw values, in order. Cost: linear, about 1 us for a line that holds one."""
        values = []
        for line in lines:
            if not line.partition(self._name)[1]:
                continue
            previous = None
            for match in self._matches(line):
                start = match.start()
                # Whitespace before the name is the list's only if a comma, or nothing, stands before it.
                if (
                    start == 0
                    or line[start - 1] == _COMMA
                    or _begins_member(line, 0 if previous is None else previous.end(), start)
                ):
                    values.append(match[1])
                previous = match
        return values


_COMMA: Final = b","[0]


def _begins_member(line: bytes, since: int, start: int) -> bool:
    return not line[line.rfind(b",", since, start) + 1 : start].strip(OWS)


def finder(name: bytes) -> MemberFinder:
    """The finder of a name (a token) in `baggage`."""
    return MemberFinder(name, _REST)


def processed(value: bytes) -> bytes:
    """What an unbroken member's value means: percent-decoded, cut at the first `;`, trimmed of space, tab and `+`.

    Spec: SPEC 3. The cut and the `+` undo what OpenTelemetry's Python SDK makes of properties: it re-encodes `k=v;p=1`
    as `k=v%3Bp%3D1` and `k=v ;p=1` as `k=v+%3Bp%3D1`. A `%` without two hexadecimal digits stays as it is.
    A value longer than any header that must be carried (`MAX_BYTES`) is left as it is: it is no key either way, but for
    padding. Cost: linear.
    """
    if len(value) > MAX_BYTES:
        return value
    # A raw value holds no ';', and no '%' belongs to another's escape: cutting before decoding is the same.
    value = value.partition(b"%3B")[0].partition(b"%3b")[0]
    head, percent, _ = value.partition(b"%")
    return (_decoded(value) if percent else head).strip(b" \t+")


_DIGITS: Final = "0123456789abcdefABCDEF"
_ESCAPES: Final = {(high + low).encode(): bytes.fromhex(high + low) for high in _DIGITS for low in _DIGITS}


def _decoded(value: bytes) -> bytes:
    first, *others = value.split(b"%")
    pieces = [first]
    for piece in others:
        byte = _ESCAPES.get(piece[:2])
        pieces.append(b"%" + piece if byte is None else byte + piece[2:])
    return b"".join(pieces)


def joined_lines(lines: Sequence[bytes], limit: int = MAX_BYTES) -> bytes | None:
    """Several lines of a list header as one, in order and without empty members; None if that exceeds `limit` bytes.

    Spec: SPEC 4: some SDKs read only the first line. Members stay byte for byte as they are, whitespace between them
    included. Serves `tracestate` too. Cost: linear.
    """
    joined = b",".join([member for line in lines for member in line.split(b",") if member.strip(OWS)]).strip(OWS)
    return joined if len(joined) <= limit else None
