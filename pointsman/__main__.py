"""`pointsman COMMAND ...`: finds the command and hands over the rest of the arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

_HELP: Final = """\
usage: pointsman COMMAND ...

Routes test traffic to sandboxes by the routing key in W3C baggage or tracestate.

  proxy       the sidecar: stands before a workload and routes its requests
  controller  sandboxes in, routing table out: a folder of files and a REST API
  sandbox     apply, list, get, delete, wait (until one is live everywhere), traffic, verify (that it was tested)
  routegroup  the same for several sandboxes under one key
  proxies     lists the attached proxies, and whether they are up to date
  explain     says where a request would go, and why, by a table file or by the controller
  doctor      says what is wrong with a proxy, a controller or this machine, and where a routing key is lost
  istio       writes the Istio manifests that sandboxes ask for, from files
  completion  prints the completion of these commands for a shell
  demo        starts a chain of services with sidecars and shows where requests go

`pointsman COMMAND --help` tells more, `pointsman --version` which version this is.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the result is the exit code: 0 fine, 2 bad arguments or configuration, 1 anything else; the
    commands on objects have more (`pointsman.cli.exits`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        (sys.stdout if arguments else sys.stderr).write(_HELP)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        sys.stdout.write(f"pointsman {_version()}\n")
        return 0
    command = _COMMANDS.get(arguments[0])
    if command is None:
        sys.stderr.write(f"pointsman: unknown command {arguments[0]!r} ({', '.join(_COMMANDS)}; --help)\n")
        return 2
    return command(arguments[1:])


def _proxy(argv: Sequence[str]) -> int:
    from proxy.__main__ import main as proxy_main

    return proxy_main(argv)


def _controller(argv: Sequence[str]) -> int:
    from controller.__main__ import main as controller_main

    return controller_main(argv)


def _explain(argv: Sequence[str]) -> int:
    from pointsman.explain import main as explain_main

    return explain_main(argv)


def _controlled(word: str) -> Callable[[Sequence[str]], int]:
    """A command of `pointsman.cli`: the word alone, or followed by another."""

    def run(argv: Sequence[str]) -> int:
        from pointsman.cli.commands import COMMANDS, group_help
        from pointsman.cli.run import run as run_command

        words = (word, *argv[:1])
        for command in COMMANDS:
            if command.words == words[: len(command.words)]:
                return run_command(command, argv[len(command.words) - 1 :])
        if not argv or argv[0] in ("--help", "-h", "help"):
            (sys.stdout if argv else sys.stderr).write(group_help(word))
            return 0 if argv else 2
        verbs = ", ".join(command.words[1] for command in COMMANDS if command.words[0] == word)
        sys.stderr.write(f"pointsman {word}: unknown command {argv[0]!r} ({verbs}; --help)\n")
        return 2

    return run


def _completion(argv: Sequence[str]) -> int:
    from pointsman.cli.completion import main as completion_main

    return completion_main(argv)


def _doctor(argv: Sequence[str]) -> int:
    from pointsman.doctor.command import main as doctor_main

    return doctor_main(argv)


def _demo(argv: Sequence[str]) -> int:
    """The demo belongs to the source tree: it needs the services of `demo/`, which are not installed."""
    import os
    from pathlib import Path

    root = Path(__file__).resolve().parent.parent
    if not (root / "demo" / "__main__.py").is_file():
        sys.stderr.write("pointsman demo: is in the source tree only: clone the project and run `make demo`\n")
        return 2
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "demo", *argv])  # in our place, so that signals reach it


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pointsman")
    except PackageNotFoundError:
        return "(not installed)"


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "proxy": _proxy,
    "controller": _controller,
    "sandbox": _controlled("sandbox"),
    "routegroup": _controlled("routegroup"),
    "proxies": _controlled("proxies"),
    "explain": _explain,
    "doctor": _doctor,
    "istio": _controlled("istio"),
    "completion": _completion,
    "demo": _demo,
}
COMMAND_WORDS: Final = tuple(_COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
