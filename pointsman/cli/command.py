"""One command: how its command line is read, and what its help says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pointsman.cli.exits import help_lines
from pointsman.cli.flags import shorts
from proxy.options import Option, Values, help_rows, read_options


@dataclass(frozen=True, slots=True)
class Command:
    """`run` is `module:function` within `pointsman.cli`, imported when it is called. `argument`: the one positional
    argument, or none; `choices`: what it may be. `is_local`: it speaks with no controller."""

    words: tuple[str, ...]
    summary: str
    run: str
    options: tuple[Option[object], ...]
    argument: str = ""
    choices: tuple[str, ...] = ()
    notes: str = ""
    is_local: bool = False

    @property
    def name(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Line:
    """What a command line says."""

    command: Command
    argument: str
    values: Values


def read_line(command: Command, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Line, list[str]]:
    """The command line as read, and everything that is wrong with it."""
    positional, rest = _split(command, argv)
    values, faults = read_options(command.options, rest, environ)
    if not command.argument:
        faults.extend(f"unexpected argument {text!r}" for text in positional)
    elif not positional:
        faults.append(f"{command.argument} is missing")
    elif len(positional) > 1:
        faults.extend(f"unexpected argument {text!r}" for text in positional[1:])
    if positional and command.choices and positional[0] not in command.choices:
        faults.append(f"{command.argument} must be {' or '.join(command.choices)}, is {positional[0]!r}")
    return Line(command, positional[0] if positional else "", values), faults


def _split(command: Command, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What belongs to no option, and the options in their long form."""
    takes_value: Final = {option.flag: bool(option.metavar) for option in command.options}
    short_forms: Final = shorts(command.options)
    positional: list[str] = []
    rest: list[str] = []
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if token == "--":
            positional.extend(tokens)
            break
        flag, equals, value = token.partition("=")
        if flag in short_forms:
            flag = short_forms[flag].flag
        if not token.startswith("-") or token == "-":
            positional.append(token)
            continue
        rest.append(flag + equals + value)
        if not equals and takes_value.get(flag, False) and tokens and not tokens[0].startswith("--"):
            rest.append(tokens.pop(0))
    return positional, rest


def help_text(command: Command) -> str:
    usage = f"usage: pointsman {command.name}" + (f" {command.argument}" if command.argument else "") + " [options]"
    short_forms = ", ".join(f"{short} is {option.flag}" for short, option in shorts(command.options).items())
    parts = [usage, command.summary[0].upper() + command.summary[1:] + "."]
    if command.notes:
        parts.append(command.notes)
    parts.append(help_rows(command.options) + (f"\n  {short_forms}" if short_forms else ""))
    parts.append(help_lines())
    return "\n\n".join(parts) + "\n"
