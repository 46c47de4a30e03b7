"""`pointsman completion bash|zsh|fish`: a script that completes commands, options and their words, and the names of
objects by asking the controller.

The scripts hold no table of their own: they ask `pointsman completion words -- WORD...` for what may follow, so they
never grow old. That costs one start of the program per completion, which is fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from pointsman.cli.command import Command
from pointsman.cli.commands import COMMANDS
from pointsman.cli.exits import FINE, INVALID
from pointsman.cli.flags import FILE, NAMESPACE, shorts
from proxy.options import Option, asks_for_help

_BASH: Final = """\
# bash: source <(pointsman completion bash)
_pointsman() {
    local IFS=$'\\n' cur="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($(compgen -W "$(pointsman completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur"))
}
complete -o default -F _pointsman pointsman
"""

_ZSH: Final = """\
#compdef pointsman
# zsh: source <(pointsman completion zsh)
_pointsman() {
    local -a found
    found=("${(@f)$(pointsman completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[*]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
if [[ "$funcstack[1]" = _pointsman ]]; then _pointsman "$@"; else compdef _pointsman pointsman; fi
"""

_FISH: Final = """\
# fish: pointsman completion fish | source
function __pointsman_words
    set -l words (commandline -opc) (commandline -ct)
    pointsman completion words -- $words[2..-1] 2>/dev/null
end
complete -c pointsman -a '(__pointsman_words)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_HELP: Final = """\
usage: pointsman completion bash|zsh|fish

Prints a script that completes commands, options and names of objects:

  bash  source <(pointsman completion bash)
  zsh   source <(pointsman completion zsh)
  fish  pointsman completion fish | source

Exit codes: 0 printed, 2 bad arguments.
"""


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["words"]:
        for word in following(argv[2:]):
            sys.stdout.write(f"{word}\n")
        return FINE
    if asks_for_help(argv):
        sys.stdout.write(_HELP)
        return FINE
    if len(argv) != 1 or argv[0] not in SCRIPTS:
        sys.stderr.write(f"pointsman completion: needs one of {', '.join(SCRIPTS)}\n")
        return INVALID
    sys.stdout.write(SCRIPTS[argv[0]])
    return FINE


def following(words: Sequence[str]) -> Iterator[str]:
    """What may stand in place of the last word, which may be empty or begun. Nothing: a file, or anything."""
    before, begun = list(words[:-1]), words[-1] if words else ""
    command = _command(before)
    if command is None:
        yield from (word for word in _words(before) if word.startswith(begun))
        return
    said = before[len(command.words) :]
    option = _option(command, said[-1]) if said else None
    if option is not None and option.metavar:
        yield from (value for value in _values(command, option, said) if value.startswith(begun))
    elif begun.startswith("-"):
        yield from (each.flag for each in command.options if each.flag.startswith(begun))
    elif command.argument:
        yield from (name for name in command.choices or _names(command, said) if name.startswith(begun))


def _command(words: Sequence[str]) -> Command | None:
    return next((row for row in COMMANDS if list(row.words) == list(words[: len(row.words)])), None)


def _words(before: Sequence[str]) -> list[str]:
    from pointsman.__main__ import COMMAND_WORDS

    if not before:
        return list(COMMAND_WORDS)
    if list(before) == ["completion"]:
        return list(SCRIPTS)
    return [row.words[1] for row in COMMANDS if len(row.words) > 1 and [row.words[0]] == list(before)]


def _option(command: Command, word: str) -> Option[object] | None:
    return shorts(command.options).get(word) or next((row for row in command.options if row.flag == word), None)


def _values(command: Command, option: Option[object], said: Sequence[str]) -> list[str]:
    if option is NAMESPACE:
        return sorted({namespace for namespace, _ in _objects(command, said)})
    words = option.metavar.split("|")
    return words if len(words) > 1 and option.name != FILE.name else []


def _names(command: Command, said: Sequence[str]) -> list[str]:
    from pointsman.cli.command import read_line
    from pointsman.cli.flags import DEFAULT_NAMESPACE

    line, _ = read_line(command, said, os.environ)
    namespace = line.values.optional(NAMESPACE) or DEFAULT_NAMESPACE
    return sorted(name for found, name in _objects(command, said) if found == namespace)


def _objects(command: Command, said: Sequence[str]) -> list[tuple[str, str]]:
    """(namespace, name) of the objects of this kind; none if the controller can't be asked."""
    from pointsman.cli.command import read_line
    from pointsman.cli.objects import KINDS, entries, list_path, text_at
    from pointsman.cli.run import connected
    from pointsman.client import ClientError

    kind = KINDS.get(command.words[0])
    line, _ = read_line(command, [word for word in said if word], os.environ)
    if kind is None:
        return []
    try:
        with connected(line.values) as client:
            document = client.call("GET", list_path(kind, None), timeout_s=2.0).document
    except (ClientError, ValueError, TypeError):
        return []
    return [
        (text_at(entry, "metadata", "namespace"), text_at(entry, "metadata", "name"))
        for entry in entries(document, "items")
    ]
