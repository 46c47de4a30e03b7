"""The targets by name. One is imported when it is used, so that atheris can instrument what it imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

NAMES = ("request", "response", "key", "table", "forwarding", "explain", "http2")
FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"


class Target(Protocol):
    """A module of this folder."""

    SCRAPS: Sequence[bytes]  # pieces that matter to its grammar
    seeds: Callable[[], Iterable[bytes]]  # inputs to begin with, from the tables of other tests
    check: Callable[[bytes], None]  # fails, by any exception, if the input shows a bug


def target(name: str) -> Target:
    return cast(Target, import_module(f"tests.fuzz.{name}"))


def kept(name: str) -> dict[str, bytes]:
    """The target's kept corpus: file name -> input."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}
