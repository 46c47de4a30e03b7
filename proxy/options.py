"""How options are read and shown: each is one row, an `Option`, which drives flag, variable, help and README alike.

- A flag is `--name value` or `--name=value`, never abbreviated. A switch takes no value (`--name`, or `--name=false`).
- Its variable is `POINTSMAN_NAME`. A repeatable option's values are separated by commas there, and only there. A flag
  beats its variable. An empty variable counts as unset, and so does one of the form `tcp://...`: Kubernetes injects
  `POINTSMAN_PORT=tcp://10.0.0.1:80` beside a Service named pointsman (SPEC 6). Other variables are not looked at.
- Nothing stops at the first fault: `read_options` returns them all, one line each, naming the flag or the variable.

`argparse` is not used because it exits at the first fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Option(Generic[T_co]):
    """One row. `default` is text, as a user would write it, so that help shows exactly what is read."""

    name: str
    metavar: str  # "" makes it a switch
    read: Callable[[str], T_co]  # raises ValueError("must be ..., is ...")
    text: str
    default: str | None = None
    default_text: str = ""  # what happens without a value, where `default` cannot say it
    why: str = ""  # the reason for the default
    unit: str = ""
    repeatable: bool = False
    required: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return "POINTSMAN_" + self.name.upper().replace("-", "_")


class Values:
    """What was read. A value that has a fault is None, so that it still counts and is not reported twice."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[object, ...]] = {}
        self._origins: dict[str, str] = {}

    def add(self, option: Option[object], origin: str, values: Iterable[object]) -> None:
        self._values[option.name] = tuple(values)
        self._origins[option.name] = origin

    def origin(self, option: Option[object]) -> str:
        """The flag or the variable that the values came from."""
        return self._origins.get(option.name, option.flag)

    def all(self, option: Option[T]) -> tuple[T | None, ...]:
        return cast("tuple[T | None, ...]", self._values.get(option.name, ()))

    def present(self, option: Option[T]) -> tuple[T, ...]:
        """The values without those that have faults."""
        return tuple(value for value in self.all(option) if value is not None)

    def optional(self, option: Option[T]) -> T | None:
        """The value of an option that may be left out and has no default."""
        return next(iter(self.present(option)), None)

    def one(self, option: Option[T]) -> T:
        """The value of a required or defaulted option; only once there are no faults."""
        return cast(T, self._values[option.name][-1])


def read_options(
    options: Sequence[Option[object]], argv: Sequence[str], environ: Mapping[str, str]
) -> tuple[Values, list[str]]:
    """Everything that flags, variables and defaults say, and everything that is wrong with it."""
    given, faults = _tokenize(options, argv)
    values = Values()
    for option in options:
        origin, texts = option.flag, given.get(option.name)
        if texts is None:
            origin, texts = option.variable, _from_variable(option, environ)
        if texts is None:
            if option.required:
                faults.append(f"{option.flag} (or {option.variable}) is required: {option.text}")
            origin, texts = option.flag, _split(option, option.default)
        if len(texts) > 1 and not option.repeatable:
            faults.append(f"{origin}: given {len(texts)} times, may be given once")
        read: list[object] = []
        for text in texts:
            try:
                read.append(None if text is None else option.read(text))
            except ValueError as error:
                faults.append(f"{origin}: {error}")
                read.append(None)
        values.add(option, origin, read)
    return values, faults


def _tokenize(
    options: Sequence[Option[object]], argv: Sequence[str]
) -> tuple[dict[str, Sequence[str | None]], list[str]]:
    """The texts of each flag by name, None for one whose value is missing; and the tokens that make no sense."""
    known = {option.flag: option for option in options}
    given: dict[str, list[str | None]] = {}
    faults: list[str] = []
    rest = deque(argv)
    while rest:
        token = rest.popleft()
        flag, equals, value = token.partition("=")
        option = known.get(flag)
        if option is None:
            faults.append(_unknown(flag, known) if token.startswith("-") else f"unexpected argument {token!r}")
            if token.startswith("-") and not equals and rest and not rest[0].startswith("-"):
                rest.popleft()  # an unknown flag's value is not one more fault
            continue
        texts = given.setdefault(option.name, [])
        if equals:
            texts.append(value)
        elif not option.metavar:
            texts.append("true")
        elif rest and not rest[0].startswith("--"):
            texts.append(rest.popleft())
        else:
            faults.append(f"{flag}: needs a value, {option.metavar}")
            texts.append(None)
    return dict(given), faults


def _unknown(flag: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # a cost for those who mistype only

    close = get_close_matches(flag, known, n=1, cutoff=0.75)
    return f"unknown flag {flag!r}" + (f" (did you mean {close[0]}?)" if close else "")


def _from_variable(option: Option[object], environ: Mapping[str, str]) -> Sequence[str] | None:
    text = environ.get(option.variable, "").strip()
    if not text or text.startswith("tcp://"):
        return None
    return _split(option, text)


def _split(option: Option[object], text: str | None) -> Sequence[str]:
    if text is None:
        return ()
    return [part.strip() for part in text.split(",")] if option.repeatable else [text]


# --- readers -------------------------------------------------------------------------------------------------------


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers in a range. Stricter than `int`, which takes `1_0`, ` 1` and digits of any script."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"must be a whole number in {low}-{high}, is {text!r}")
        if len(text) > 18 or not low <= int(text) <= high:
            raise ValueError(f"must be in {low}-{high}, is {text[:32]}")
        return int(text)

    return read


def seconds(low: float, high: float = 86400.0 * 7) -> Callable[[str], float]:
    """A reader of seconds, whole or decimal (`0.5`). The ceiling only catches milliseconds given by mistake."""

    def read(text: str) -> float:
        if not (text.isascii() and text.replace(".", "", 1).isdecimal()):
            raise ValueError(f"must be a number of seconds, at least {low:g}, is {text!r}")
        value = float(text)
        if not low <= value <= high:
            raise ValueError(f"must be in {low:g}-{high:g} seconds, is {text[:32]}")
        return value

    return read


def share(text: str) -> float:
    """A part of all, 0 to 1, whole or decimal."""
    if not (text.isascii() and text.replace(".", "", 1).isdecimal() and 0 <= float(text) <= 1):
        raise ValueError(f"must be a number from 0 to 1, is {text[:32]!r}")
    return float(text)


def choice(*words: str) -> Callable[[str], str]:
    """A reader of one of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}, is {text!r}")
        return text

    return read


def switch(text: str) -> bool:
    """On or off, in the spellings that people use in variables."""
    word = text.lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"must be true or false, is {text!r}")


def plain(text: str) -> str:
    """Any text but none."""
    if not text:
        raise ValueError("must not be empty")
    return text


# --- shown ---------------------------------------------------------------------------------------------------------


def asks_for_help(argv: Sequence[str]) -> bool:
    return "--help" in argv or "-h" in argv


def help_rows(options: Sequence[Option[object]]) -> str:
    """The options for `--help`: what each does, its default with the unit and the reason, its variable."""
    from textwrap import fill

    rows: list[str] = []
    for option in options:
        notes = (_default(option) + f" ({option.why})" * bool(option.why), option.variable)
        indent = " " * 6
        rows.append(f"  {option.flag} {option.metavar}".rstrip() + "  (repeatable)" * option.repeatable)
        for line in (option.text, "; ".join(notes)):
            rows.append(fill(line, 110, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(rows)


def markdown_rows(options: Sequence[Option[object]]) -> str:
    """The same as a Markdown table, for the README; the variables follow from the flags."""
    lines = ["| flag | what it does | default | why |", "|---|---|---|---|"]
    for option in options:
        flag = f"{option.flag} {option.metavar}".rstrip().replace("|", "\\|")
        default = _default(option).removeprefix("default ")
        lines.append(f"| `{flag}`{', repeatable' * option.repeatable} | {option.text} | {default} | {option.why} |")
    return "\n".join(lines) + "\n"


def _default(option: Option[object]) -> str:
    if option.required:
        return "required"
    return f"default {option.default_text or option.default or 'none'} {option.unit}".rstrip()
