"""The routing key of one request: which header, which member and which occurrence decide. Spec: SPEC 3.

Rules:

- `baggage`, then `tracestate`, then the configured plain headers; within one header the earlier name wins.
- The first name found decides, even if its value is no key: there is no falling through.
- A name that stands more than once: in `baggage` the last counts (as OpenTelemetry's SDKs resolve it), in `tracestate`
  the first (the newest). Two different values are ambiguous. Two different values of a plain header are no key.
- `sd-strict` in `baggage` or `tracestate`, with any value but empty and `0`, makes the request strict.

This runs for every request. A request without the bytes of any name that is looked for costs one substring search per
line and gets a shared constant: names match exactly and undecoded, so bytes that are not there cannot match. Only
members that hold such bytes are parsed. Cost is linear in the lines and independent of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.routing.baggage import OWS, processed
from proxy.routing.baggage import finder as baggage_finder
from proxy.routing.names import is_routing_key, is_token
from proxy.routing.tracestate import finder as tracestate_finder

STRICT_NAME: Final = b"sd-strict"
DEFAULT_NAMES: Final = (b"sd-routing-key", b"sd-sandbox")
_NOT_STRICT: Final = (b"", b"0")
_COMMA: Final = b","[0]


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Where keys are looked for: member names and plain headers (lowercase), each in order of precedence.

    Raises: ValueError if a name is no token, stands twice or is taken.
    """

    names: tuple[bytes, ...] = DEFAULT_NAMES
    headers: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("at least one key name is needed")
        for name in (*self.names, *self.headers):
            if not is_token(name):
                raise ValueError(f"a key name must be a token, is {ascii(name)[1:]}")
        for names in (self.names, self.headers):
            if len(set(names)) != len(names):
                raise ValueError("a key name stands twice")
        if STRICT_NAME in self.names:
            raise ValueError(f"{STRICT_NAME.decode()} has a meaning of its own")
        for header in self.headers:
            if header != header.lower():
                raise ValueError(f"a key header is given in lowercase, is {ascii(header)[1:]}")
            if header in (b"baggage", b"tracestate"):
                raise ValueError(f"{header.decode()} is read for its members, not whole")


class KeyReading:
    """What the headers say. At most one of `key` and `invalid`; neither: no key was sent.

    `header`, `name` and `value` (raw) are what decided, for explain; None where nothing was found. `name` is the
    member's; for a plain header it is None.
    """

    __slots__ = ("ambiguous", "header", "invalid", "key", "name", "strict", "value")

    def __init__(
        self,
        key: bytes | None,
        invalid: bool,
        ambiguous: bool,
        strict: bool,
        header: str | None,
        name: bytes | None,
        value: bytes | None,
    ) -> None:
        self.key = key
        self.invalid = invalid
        self.ambiguous = ambiguous
        self.strict = strict
        self.header = header
        self.name = name
        self.value = value


NO_READING: Final = KeyReading(None, False, False, False, None, None, None)
_STRICT_NO_READING: Final = KeyReading(None, False, False, True, None, None, None)


class KeyReader:
    """Reads keys under one set of settings."""

    __slots__ = ("_finders", "_first_name", "_headers", "_needles", "_strict_finders", "settings")

    def __init__(self, settings: KeySettings) -> None:
        self.settings: Final = settings
        self._first_name: Final = settings.names[0]
        self._finders: Final = tuple((name, baggage_finder(name), tracestate_finder(name)) for name in settings.names)
        self._strict_finders: Final = (baggage_finder(STRICT_NAME), tracestate_finder(STRICT_NAME))
        self._headers: Final = tuple((header, header.decode("ascii")) for header in settings.headers)
        wanted = [*settings.names, STRICT_NAME]
        common = _common_prefix(wanted)  # the default names begin alike: one search rejects them all
        self._needles: Final = (common,) if len(common) > 1 else tuple(wanted)

    def read(
        self,
        baggage: Sequence[bytes],
        tracestate: Sequence[bytes],
        key_fields: Sequence[tuple[bytes, bytes]] = (),
    ) -> KeyReading:
        """The reading of a request's routing fields.

        The lines are the fields' values, `key_fields` the (lowercase name, value) of the configured plain headers, each
        in order of arrival. Never raises.
        """
        # `line.partition(needle)[1]` is `needle in line` at a third of the cost: CPython's `in` tries bytes as an
        # integer first and drops the exception.
        for line in baggage:
            for needle in self._needles:
                if line.partition(needle)[1]:
                    return self._read_members(baggage, tracestate, key_fields)
        for line in tracestate:
            for needle in self._needles:
                if line.partition(needle)[1]:
                    return self._read_members(baggage, tracestate, key_fields)
        return self._read_key_fields(key_fields, False) if key_fields else NO_READING

    def _read_members(
        self,
        baggage: Sequence[bytes],
        tracestate: Sequence[bytes],
        key_fields: Sequence[tuple[bytes, bytes]],
    ) -> KeyReading:
        strict = False
        for line in (*baggage, *tracestate):
            if line.partition(STRICT_NAME)[1]:
                strict = self._is_strict(baggage, tracestate)
                break
        if len(baggage) == 1:
            # A shortcut for nearly every tagged request: the first name stands once, as `name=key` and nothing else.
            name = self._first_name
            before, found, rest = baggage[0].partition(name)
            if found and (not before or before[-1] == _COMMA):
                member, _, after = rest.partition(b",")
                if member[:1] == b"=" and not after.partition(name)[1]:
                    value = member[1:]
                    if is_routing_key(value):
                        return KeyReading(value, False, False, strict, "baggage", name, value)
        for name, in_baggage, _ in self._finders:
            values = in_baggage.values(baggage)
            if values:
                value = values[-1]
                meaning = processed(value)
                ambiguous = len(values) > 1 and any(processed(other) != meaning for other in set(values))
                return _found("baggage", name, value, meaning, ambiguous, strict)
        for name, _, in_tracestate in self._finders:
            values = in_tracestate.values(tracestate)
            if values:
                value = values[0]
                ambiguous = len(set(values)) > 1
                return _found("tracestate", name, value, value, ambiguous, strict)
        return self._read_key_fields(key_fields, strict)

    def _is_strict(self, baggage: Sequence[bytes], tracestate: Sequence[bytes]) -> bool:
        """Whether a member `sd-strict` stands in either header, at any place, with a value that means yes."""
        in_baggage, in_tracestate = self._strict_finders
        return any(processed(value) not in _NOT_STRICT for value in set(in_baggage.values(baggage))) or any(
            value not in _NOT_STRICT for value in set(in_tracestate.values(tracestate))
        )

    def _read_key_fields(self, key_fields: Sequence[tuple[bytes, bytes]], strict: bool) -> KeyReading:
        """The first configured header that is there decides. Its whole value is the key."""
        for header, text in self._headers:
            values = [value.strip(OWS) for name, value in key_fields if name == header]
            if values:
                reading = _found(text, None, values[-1], values[-1], False, strict)
                if any(value != values[0] for value in values):
                    reading.key, reading.invalid = None, True
                return reading
        return _STRICT_NO_READING if strict else NO_READING


def _found(header: str, name: bytes | None, value: bytes, meaning: bytes, ambiguous: bool, strict: bool) -> KeyReading:
    if is_routing_key(meaning):
        return KeyReading(meaning, False, ambiguous, strict, header, name, value)
    return KeyReading(None, True, ambiguous, strict, header, name, value)


def _common_prefix(names: list[bytes]) -> bytes:
    first, last = min(names), max(names)
    length = 0
    while length < len(first) and first[length] == last[length]:
        length += 1
    return first[:length]
