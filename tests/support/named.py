"""Tests that are named in tables and documents, as "path::name", and whether they exist."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Names:
    """The ids of tests: those of this session, and of files that it does not run whole what pytest collects there."""

    def __init__(self, session: pytest.Session) -> None:
        self._ids = dict.fromkeys(item.nodeid for item in session.items)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those that name no test. A name may be an id, one without parameters, or end in `*`: all that begin so."""
        unknown = self._unknown(list(names))
        paths = {name.partition("::")[0] for name in unknown}
        self._ids |= dict.fromkeys(_collected(tuple(sorted(path for path in paths if (ROOT / path).is_file()))))
        return self._unknown(unknown)

    def _unknown(self, names: list[str]) -> list[str]:
        functions = {each.partition("[")[0] for each in self._ids}
        return [
            name
            for name in names
            if name not in functions
            and name not in self._ids
            and not (name.endswith("*") and any(each.startswith(name[:-1]) for each in self._ids))
        ]


@functools.cache
def _collected(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        return ()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return tuple(line for line in done.stdout.splitlines() if "::" in line)
