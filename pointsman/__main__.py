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
  explain     says where a request would go, and why, by a table file
  demo        starts a chain of services with sidecars and shows where requests go

`pointsman COMMAND --help` tells more, `pointsman --version` which version this is.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the result is the exit code: 0 fine, 2 bad arguments or configuration, 1 anything else."""
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
    "explain": _explain,
    "demo": _demo,
}


if __name__ == "__main__":
    sys.exit(main())
