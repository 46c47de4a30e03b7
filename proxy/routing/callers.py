"""Who calls, as far as a mesh proxy in front of us says, and whether that caller may call a host.

With a router in between, what is called sees the router's identity in place of the caller's (fan-in), so the router
must know who may call whom: `callers` of a `services` entry.

An identity is a SPIFFE id. Istio writes it without its scheme, `cluster.local/ns/hotrod/sa/frontend`, and so do
`callers`; `spiffe://` before it is read as well. A caller's `*` stands for any text, at the beginning or at the end, or
alone for whoever has an identity; as principals in Istio's AuthorizationPolicy (its reference: exact, prefix, suffix
and presence match).

The identity comes in `x-forwarded-client-cert`. Envoy appends to it what the peer's certificate said (its reference,
"HTTP header manipulation": elements are separated by commas, their parts by semicolons; values that hold such
characters are quoted), so only the last element is the word of the proxy in front of us; those before it are hearsay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

CALLER_RULE: Final = "an identity like cluster.local/ns/NAMESPACE/sa/ACCOUNT, one * at its beginning or end, or *"
IDENTITY_FIELD: Final = b"x-forwarded-client-cert"
_SCHEME: Final = "spiffe://"
# SPIFFE-ID, sections 2.1-2.3: a trust domain and a path, at most 2048 bytes.
_IDENTITY: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_CALLER: Final = re.compile(r"\*|\*?[A-Za-z0-9._/-]+|[A-Za-z0-9._/-]+\*")
_MAX_IDENTITY: Final = 2048
# `Key=value` or `Key="value"`, where `\` takes the meaning off the next character
_PART: Final = re.compile(rb'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))\s*')


def is_caller(text: str) -> bool:
    """Whether it can stand in `callers`."""
    return len(text) <= _MAX_IDENTITY and _CALLER.fullmatch(text.removeprefix(_SCHEME)) is not None


class Callers:
    """Those that may call. No one, if the list is empty."""

    __slots__ = ("_any", "_exact", "_prefixes", "_suffixes", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts: Final = tuple(texts)
        bare = [text.removeprefix(_SCHEME) for text in texts]
        self._any: Final = "*" in bare
        self._exact: Final = frozenset(text for text in bare if "*" not in text)
        self._prefixes: Final = tuple(text[:-1] for text in bare if text.endswith("*") and text != "*")
        self._suffixes: Final = tuple(text[1:] for text in bare if text.startswith("*") and text != "*")

    def include(self, identity: str | None) -> bool:
        """None: nobody knows who it is."""
        return identity is not None and (
            identity in self._exact
            or self._any
            or identity.startswith(self._prefixes)
            or identity.endswith(self._suffixes)
        )


def identity_of(values: Iterable[bytes]) -> str | None:
    """The identity, without its scheme, that `x-forwarded-client-cert` names last, by its lines in order; None if there
    is none, or none that can be told: two in one certificate are no SPIFFE identity (X509-SVID, section 2)."""
    found: list[bytes] = []
    pos, line = 0, b",".join(values)
    while True:
        match = _PART.match(line, pos)
        if match is None:
            return None
        if match[1].lower() == b"uri":
            found.append(match[3] if match[2] is None else re.sub(rb"\\(.)", rb"\1", match[2]))
        pos = match.end()
        if pos == len(line):
            break
        if line[pos : pos + 1] == b",":
            found.clear()
        elif line[pos : pos + 1] != b";":
            return None
        pos += 1
    if len(found) != 1:
        return None
    scheme, identity = found[0][: len(_SCHEME)], found[0][len(_SCHEME) :].decode("ascii", "replace")
    if scheme != _SCHEME.encode() or len(identity) > _MAX_IDENTITY or not _IDENTITY.fullmatch(identity):
        return None
    return identity
