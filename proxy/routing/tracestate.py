"""The `tracestate` header as a list of members: one grammar for the key reader and for explain.

Grammar (W3C Trace Context section 3.3.1; SPEC 3 where it departs):

    tracestate  = list-member *( OWS "," OWS list-member )      several lines are one list
    list-member = name "=" value                                no whitespace round "="

Values are raw: neither decoded nor cut, and not checked, since a value that is no key is reported as such. A name with
whitespace behind it is another name. What the W3C makes of the whole header (without a valid `traceparent` it must not
be parsed, a second member of one name spoils it) does not matter here: the key is looked for, the trace is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from proxy.routing.baggage import OWS, Member, MemberFinder

# The value ends before the whitespace that trims the member, and may hold some inside.
_REST: Final = rb"=([^,]*[^, \t]|)[ \t]*"


def members(lines: Iterable[bytes]) -> Iterator[Member]:
    """Every member that is not empty, in order, broken ones too. Never raises."""
    for line in lines:
        for item in line.split(b","):
            raw = item.strip(OWS)
            if raw:
                name, equals, value = raw.partition(b"=")
                if not equals:
                    yield Member(raw, name, b"", "it has no '='")
                elif name != name.strip(OWS):
                    yield Member(raw, name.strip(OWS), b"", "whitespace before its '='")
                else:
                    yield Member(raw, name, value, None)


def finder(name: bytes) -> MemberFinder:
    """The finder of a name (a token) in `tracestate`."""
    return MemberFinder(name, _REST)
