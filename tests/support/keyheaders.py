"""Routing headers made at random, biased to where two readings could part: near misses of names and of the key, blanks,
empty members, several lines, properties as they are sent and as OpenTelemetry folds them, both headers at once.

`Maker.defined()` stays where a mesh must decide as the proxy does: members of the key's names are well-formed and hold
no percent-encoded characters but the folded properties' `;`. `Maker.wild()` does not. No key is encoded in either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from proxy.routing.key import KeyReader

_BLANKS = ("", "", "", "", " ", "\t", " \t ")
_OTHER_NAMES = ("user", "s", "sd", "sd-", "sd-r", "sd-strict", "congo", "rojo@sd", "!#$%&'*+-.^_`|~09Az")
_PLUS = ("", "", "", "", "+", "++")
_PADDING = (*_PLUS, "%20", "%09", "%2B", "%2b+", "%20%20")
_PROPERTIES = ("", "", "", ";p=1", ";p", ";", " ;\tp = 1", ";sd-routing-key=other", ';"q"; a b')
_FOLDED = ("", "", "", "%3Bp%3D1", "+%3Bp%3D1", "%3b", "++%3B%zz", "%3Bsd-sandbox=other")
# Breaks a member of baggage, wherever it stands in a value.
_BAD = ('"', "\\", "a b", "\xc3\xa9", "\x80")


class Headers(NamedTuple):
    """The lines of both headers, in order."""

    baggage: tuple[bytes, ...]
    tracestate: tuple[bytes, ...]

    def key(self, reader: KeyReader) -> str | None:
        key = reader.read(self.baggage, self.tracestate).key
        return None if key is None else key.decode("ascii")

    def lines_agree(self, reader: KeyReader) -> bool:
        """Whether the lines of each header that have a member of the key's names say the same, read alone. If not, only
        their order decides, which a proxy that looks at each line alone can't know (Envoy since 1.39.0)."""
        alone = (
            [reader.read([line], ()) for line in self.baggage],
            [reader.read((), [line]) for line in self.tracestate],
        )
        return all(len({one.key for one in readings if one.name is not None}) <= 1 for readings in alone)

    @property
    def is_utf8(self) -> bool:
        try:
            b",".join((*self.baggage, *self.tracestate)).decode()
        except UnicodeDecodeError:
            return False
        return True

    def fields(self) -> list[tuple[bytes, bytes]]:
        return [
            *((b"baggage", line) for line in self.baggage),
            *((b"tracestate", line) for line in self.tracestate),
        ]


@dataclass
class Maker:
    """Makes headers that name one of the keys, or nearly."""

    random: Random
    names: Sequence[str]
    keys: Sequence[str]

    def defined(self) -> Headers:
        return self._headers(broken=False)

    def wild(self) -> Headers:
        return self._headers(broken=True)

    def _headers(self, *, broken: bool) -> Headers:
        random = self.random
        key = random.choice(self.keys)
        baggage = tuple(self._line(self._baggage_member, key, broken) for _ in range(random.choice((0, 1, 1, 1, 2, 3))))
        states = tuple(self._line(self._state_member, key, broken) for _ in range(random.choice((0, 0, 1, 1, 2))))
        return Headers(baggage, states)

    def _line(self, member: Callable[[str, bool], str], key: str, broken: bool) -> bytes:
        count = self.random.choice((0, 1, 1, 2, 2, 3, 5))
        members = []
        for _ in range(count):
            roll = self.random.random()
            if roll < 0.08:
                members.append(self.random.choice(_BLANKS))
            elif roll < 0.12:  # no "="
                members.append(self._name())
            else:
                members.append(member(key, broken))
        # A field's value is trimmed before anybody reads it (RFC 9110 section 5.5).
        return ",".join(members).strip(" \t").encode("latin-1")

    def _baggage_member(self, key: str, broken: bool) -> str:
        pick = self.random.choice
        name = self._name()
        padding = _PADDING if broken else _PLUS
        value = pick(padding) + self._value(key) + pick(padding) + pick(_FOLDED)
        if (broken or name not in self.names) and self.random.random() < 0.2:
            at = self.random.randint(0, len(value))
            value = value[:at] + pick(_BAD) + value[at:]
        blanks = [pick(_BLANKS) for _ in range(4)]
        return f"{blanks[0]}{name}{blanks[1]}={blanks[2]}{value}{blanks[3]}{pick(_PROPERTIES)}"

    def _state_member(self, key: str, broken: bool) -> str:
        pick = self.random.choice
        value = self._value(key) + pick(("", "", "", "", "%3Bp%3D1", ";p=1", " ", "=", "+"))
        name = self._name()
        if broken and self.random.random() < 0.2:
            name, value = pick(((name + " ", value), (name, " " + value), (name, value + pick(_BAD))))
        return f"{pick(_BLANKS)}{name}={value}{pick(_BLANKS)}"

    def _name(self) -> str:
        name = self.random.choice(self.names)
        roll = self.random.random()
        if roll < 0.55:
            return name
        if roll < 0.75:
            return self.random.choice(_OTHER_NAMES)
        cut = self.random.randint(0, len(name))
        return self.random.choice(
            (name[:cut] or "a", name + "x", "x" + name, name[:cut] + "x" + name[cut:], name.upper(), name + "." + name)
        )

    def _value(self, key: str) -> str:
        roll = self.random.random()
        if roll < 0.6:
            return key
        if roll < 0.7:
            return self.random.choice(self.keys)
        cut = self.random.randint(0, len(key))
        others = ("", "0", "other", "%zz", key[:cut], key + "x", "x" + key, key[:cut] + "x" + key[cut:])
        return self.random.choice(
            (*others, key.swapcase(), f"{key}-x", f"x.{key}", f"a={key}", f"{self.names[0]}={key}")
        )
