"""The controller, and the command line that people and agents use it by: the demo does nothing that they could not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.ports import HOST
from demo.processes import clean_environ
from demo.topology import NAMESPACE

NAME: Final = "controller"
NOT_SO: Final = 3  # `pointsman sandbox verify`: it is not as it should be
_ROOT: Final = Path(__file__).resolve().parent.parent
_LIMIT_S: Final = 30


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was run: what was typed, what it printed and how it ended."""

    command: str
    output: str
    code: int


@dataclass(frozen=True, slots=True)
class Controller:
    port: int
    folder: Path  # of the objects

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def arguments(self) -> list[str]:
        """What follows `python -m controller`. Everything runs on this machine, so sandboxes may be on loopback."""
        return [
            *("--source", f"dir:{self.folder}", "--listen", self.address),
            *("--destination-allow", f"{HOST}/32"),
        ]

    def run(self, *arguments: str) -> Done:
        """`pointsman ARGUMENTS`, with this controller and the demo's namespace."""
        settings = {"POINTSMAN_CONTROLLER": self.url, "POINTSMAN_NAMESPACE": NAMESPACE}
        done = subprocess.run(
            [sys.executable, "-m", "pointsman", *arguments],
            cwd=_ROOT,
            env=clean_environ() | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        return Done(" ".join(["pointsman", *_shown(arguments)]), done.stdout, done.returncode)


def _shown(arguments: tuple[str, ...]) -> Iterator[str]:
    """Without the folder, which is long and gone when the demo is over."""
    for argument in arguments:
        yield Path(argument).name if argument.startswith("/") else argument
