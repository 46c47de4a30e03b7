"""The routing key's grammar as regular expressions, in RE2's syntax, each matched against a whole header value.

A value is one line of the header, or all lines joined by ",": Envoy joined them before 1.39.0, and matches each alone
since (changelogs/1.39.0.yaml, `match_headers_individually`). Either is a list of members, matched as

    last occurrence     ( anything "," )? MEMBER ( "," OTHER )*
    first occurrence    ( OTHER "," )* MEMBER ( "," anything )?

where OTHER is a member of another name, one without "=" or an empty one. RE2 has no lookahead, so "another name" is
spelt out as a trie: a character that is not the name's next one, or that one and then the rest. Grammar and meaning of
members: `proxy.routing.baggage`, `proxy.routing.tracestate`.

Cost: RE2 runs each as a DFA, one step per byte; nothing here is counted or captured. Istio limits their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_OWS: Final = r"[ \t]*"
_BEFORE: Final = r"(?:.*,)?" + _OWS
_NO_EQUALS: Final = r"[^,=]*"  # an empty member, or one broken for want of "="
_VALUE: Final = r"[!#-+\--:<-\[\]-~]*"  # W3C Baggage section 3.3.1
# What is trimmed of a decoded value (SPEC 3), as far as it stands there unencoded.
_PADDING: Final = r"\+*"
# Properties, as they were sent, or as OpenTelemetry's Python SDK folds them into the value.
_FOLDED: Final = rf"(?:%3[Bb]{_VALUE})?"
_PROPERTIES: Final = r"(?:;[^,]*)?"

_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


def literal(text: str) -> str:
    """A pattern for the text itself: Python's `re.escape` would escape more than RE2 needs and a length limit likes."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def baggage_key(names: Sequence[str], key: str) -> str:
    """A `baggage` whose key is this one: by the first name that is there, by its last member."""
    value = rf"{_OWS}={_OWS}{_PADDING}{literal(key)}{_PADDING}{_FOLDED}{_OWS}{_PROPERTIES}"
    alternatives = []
    for index, name in enumerate(names):
        before = rf"(?:{_other(names[:index], blanks=True)},)*{_OWS}" if index else _BEFORE
        after = rf"(?:,{_other(names[: index + 1], blanks=True)})*"
        alternatives.append(before + literal(name) + value + after)
    return "|".join(alternatives)


def baggage_last(name: str, key: str) -> str:
    """A `baggage` whose last member of this name holds the key."""
    return baggage_key((name,), key)


def baggage_names(names: Iterable[str]) -> str:
    """A `baggage` with an unbroken member of one of these names."""
    return rf"{_BEFORE}(?:{_any(names)}){_OWS}={_OWS}{_VALUE}{_OWS}(?:[;,].*)?"


def tracestate_key(names: Sequence[str], key: str) -> str:
    """A `tracestate` whose key is this one: by the first name that is there, by its first member."""
    alternatives = []
    for index, name in enumerate(names):
        before = rf"(?:{_other(names[: index + 1], blanks=False)},)*{_OWS}"
        after = rf"(?:,{_other(names[:index], blanks=False)})*" if index else "(?:,.*)?"
        alternatives.append(before + literal(name) + "=" + literal(key) + _OWS + after)
    return "|".join(alternatives)


def tracestate_first(name: str, key: str) -> str:
    """A `tracestate` whose first member of this name holds the key."""
    return tracestate_key((name,), key)


def tracestate_names(names: Iterable[str]) -> str:
    """A `tracestate` with a member of one of these names."""
    return rf"{_BEFORE}(?:{_any(names)})=.*"


def carries(names: Iterable[str]) -> str:
    """Either header, if it may hold a member of one of these names, broken or not. Never misses one."""
    return rf"{_BEFORE}(?:{_any(names)}){_OWS}=.*"


def hop(workload: str) -> str:
    """A `pointsman-hop` that lists the workload, with or without a parameter."""
    return rf"{_BEFORE}{literal(workload)}{_OWS}(?:[;,].*)?"


def loose(names: Iterable[str], key: str) -> str:
    """The form that teams with Istio use today (SPEC 8)."""
    return rf"^.*\b({_any(names)})\s*=[^,]*\b{literal(key)}\b.*$"


def _any(names: Iterable[str]) -> str:
    return "|".join(literal(name) for name in names)


def _other(names: Sequence[str], *, blanks: bool) -> str:
    """A member of another name than these, or without "=". `blanks`: they may stand between name and "="."""
    return rf"(?:{_NO_EQUALS}|{_OWS}{_mismatch(names, blanks, first=True)}[^,]*)"


def _mismatch(rests: Sequence[str], blanks: bool, *, first: bool = False) -> str:
    """What none of the names goes on with, as far as the character that tells."""
    following = "".join(dict.fromkeys(rest[0] for rest in rests if rest))
    not_these = re.sub(r"[\^\-]", r"\\\g<0>", following)
    if "" not in rests:
        alternatives = [rf"[^{not_these} \t,]" if first else f"[^{not_these},]"]
    elif not blanks:
        alternatives = [f"[^{not_these}=,]"]
    elif not following:
        alternatives = [_OWS + r"[^= \t,]"]
    else:  # a longer name begins like this one
        alternatives = [rf"[^{not_these}= \t,]", r"[ \t]+[^= \t,]"]
    for character in following:
        inner = _mismatch([rest[1:] for rest in rests if rest[:1] == character], blanks)
        alternatives.append(literal(character) + inner)
    return alternatives[0] if len(alternatives) == 1 else f"(?:{'|'.join(alternatives)})"
