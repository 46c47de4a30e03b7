"""Reads plain values strictly and collects what is wrong: each reading method is `(value, path) -> the value, or None`.

Nothing stops at the first fault. Every fault begins with the path of the value, like
`spec.local[0].mappings[1].port: must be an integer in 1-65535, is 70000`; unknown fields are faults. A value that is
missing was reported by `fields`, so the methods pass over `MISSING`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Final, NamedTuple, TypeVar

from controller.times import TIMESTAMP_RULE, parse_timestamp
from proxy.routing.faults import excerpt

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

MAX_ENTRIES: Final = 256  # of one list or object: no sandbox is larger, and a fault in it can be found by eye
MAX_TEXT: Final = 65536  # of one string: a patch is the longest
MAX_DEPTH: Final = 24  # of values that are passed on as they are, as patches


class _Missing:
    """Stands for the value of a field that is not there."""


MISSING: Final = _Missing()


class Fields(NamedTuple):
    """The fields of an object."""

    required: frozenset[str]
    all: frozenset[str]


def named(required: str, optional: str = "") -> Fields:
    names = frozenset(required.split())
    return Fields(names, names | frozenset(optional.split()))


class Reader:
    """The faults of one document."""

    __slots__ = ("faults",)

    def __init__(self) -> None:
        self.faults: Final[list[str]] = []

    def fault(self, path: str, text: str) -> None:
        self.faults.append(f"{path or 'document'}: {text}")

    def wrong(self, path: str, rule: str, value: object) -> None:
        # YAML reads a name like 123 as a number, one like true as a boolean.
        hint = ": quote it" if rule == "must be a string" and isinstance(value, bool | int | float) else ""
        self.fault(path, f"{rule}{hint}, is {excerpt(value)}")

    # --- collections ---

    def fields(self, value: object, path: str, known: Fields) -> Mapping[str, object] | None:
        """The value if it is an object; missing and unknown fields are faults of their own."""
        if not isinstance(value, dict):
            if value is not MISSING:
                self.wrong(path, "must be an object", value)
            return None
        present = value.keys()
        if not present <= known.all:
            for name in value:
                if name not in known.all:
                    self.fault(join(path, name), "unknown field")
        if not present >= known.required:
            self.faults.extend(f"{join(path, name)}: missing" for name in sorted(known.required - present))
        return value

    def entries(
        self,
        found: Mapping[str, object],
        name: str,
        path: str,
        read: Callable[[object, str], T | None],
        *,
        at_least: int = 0,
    ) -> list[T | None]:
        """Each entry of a field as read, None where it has faults, so that places stay true."""
        value = found.get(name, MISSING)
        path = join(path, name)
        if not isinstance(value, list):
            if value is not MISSING:
                self.wrong(path, "must be a list", value)
            return []
        if not at_least <= len(value) <= MAX_ENTRIES:
            self.fault(path, f"must hold {at_least}-{MAX_ENTRIES} entries, holds {len(value)}")
            return []
        return [read(entry, f"{path}[{index}]") for index, entry in enumerate(value)]

    def text_map(
        self,
        value: object,
        path: str,
        key: Callable[[str], bool],
        key_rule: str,
        text: Callable[[str], bool],
        rule: str,
    ) -> dict[str, str]:
        """An object whose fields the user names, e.g. labels."""
        if value is MISSING:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, "must be an object", value)
            return {}
        if len(value) > MAX_ENTRIES:
            self.fault(path, f"must hold at most {MAX_ENTRIES} fields, holds {len(value)}")
            return {}
        result: dict[str, str] = {}
        for name, entry in value.items():
            if not isinstance(name, str) or not key(name):
                self.wrong(join(path, name), f"the name must be {key_rule}", name)
                continue
            read = self.text(entry, join(path, name), text, rule)
            if read is not None:
                result[name] = read
        return result

    def unique(self, values: Sequence[H | None], path: str, what: Callable[[H], str], place: str = "") -> None:
        """A fault for each value that stood before. `place` is the field that holds it, as `.port`."""
        places: dict[H, int] = {}
        for index, value in enumerate(values):
            if value is None:
                continue
            first = places.setdefault(value, index)
            if first != index:
                self.fault(f"{path}[{index}]{place}", f"{what(value)} stands in {path}[{first}] already")

    # --- values ---

    def text(self, value: object, path: str, holds: Callable[[str], bool], rule: str) -> str | None:
        if isinstance(value, str):
            if holds(value):
                return value
            self.wrong(path, f"must be {rule}", value)
        elif value is not MISSING:
            self.wrong(path, "must be a string", value)
        return None

    def choice(self, value: object, path: str, choices: tuple[str, ...]) -> str | None:
        if isinstance(value, str) and value in choices:
            return value
        if value is not MISSING:
            self.wrong(path, f"must be {' or '.join(choices)}", value)
        return None

    def whole(self, value: object, path: str, low: int, high: int) -> int | None:
        if type(value) is int and low <= value <= high:  # not isinstance: True is no number here
            return value
        if value is not MISSING:
            self.wrong(path, f"must be an integer in {low}-{high}", value)
        return None

    def time(self, value: object, path: str) -> datetime | None:
        if value is None:
            return None  # as Kubernetes writes a creationTimestamp that is not set
        read = self.text(value, path, lambda text: parse_timestamp(text) is not None, TIMESTAMP_RULE)
        return parse_timestamp(read) if read is not None else None

    def plain(self, value: object, path: str, depth: int = 0) -> bool:
        """Whether a value that is passed on as it is could be written as JSON and YAML."""
        if depth > MAX_DEPTH:
            self.fault(path, f"must be nested at most {MAX_DEPTH} deep")
            return False
        if isinstance(value, dict):
            for name, entry in value.items():
                if not isinstance(name, str) or not is_text(name):
                    self.wrong(join(path, name), "the name must be text", name)
                    return False
                if not self.plain(entry, join(path, name), depth + 1):
                    return False
            return True
        if isinstance(value, list):
            return all(self.plain(entry, f"{path}[{index}]", depth + 1) for index, entry in enumerate(value))
        if isinstance(value, str):
            return self.text(value, path, is_text, TEXT_RULE) is not None
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, int) and abs(value) < 1 << 63:
            return True
        if isinstance(value, float) and isfinite(value):
            return True
        self.wrong(path, "must be a plain value", value)
        return False


TEXT_RULE: Final = f"at most {MAX_TEXT} characters of text"


def is_text(text: str) -> bool:
    """Whether it can stand in a file: no NUL, no half of a surrogate pair."""
    if len(text) > MAX_TEXT or "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def join(path: str, name: object) -> str:
    """The path of a field: bare if its name is a plain word."""
    shown = (
        name if isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= 60 else excerpt(name)
    )
    return f"{path}.{shown}" if path else shown
