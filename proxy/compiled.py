"""Compiled forms of the hot path's modules, where they were built: the same files, by mypyc, at 0.7 of the CPU.

`make compile` puts them into `proxy/_compiled`, beside a digest of the sources they were made from. They are used only
while that digest is true: after any change to the sources, without them, or with POINTSMAN_PURE_PYTHON set, the
sources run as they are. So there is never a second implementation, and never a stale one.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent
FOLDER: Final = _PACKAGE / "_compiled"
DIGEST_FILE: Final = FOLDER / "sources.digest"
# The one library that holds all compiled code; the modules' own files only point into it.
GROUP: Final = "pointsman"

# What runs for every request. Everything they import is in the digest too, since constants are compiled in.
MODULES: Final = (
    "proxy.answers",
    "proxy.codec.edits",
    "proxy.codec.events",
    "proxy.codec.fields",
    "proxy.codec.h1.reader",
    "proxy.codec.h1.request",
    "proxy.codec.h1.response",
    "proxy.codec.h1.writer",
    "proxy.codec.h2.connection",
    "proxy.codec.h2.frames",
    "proxy.codec.h2.heads",
    "proxy.codec.h2.hpack",
    "proxy.codec.h2.huffman",
    "proxy.codec.h2.output",
    "proxy.codec.h2.stream",
    "proxy.codec.translate",
    "proxy.errors",
    "proxy.exchange",
    "proxy.identity",
    "proxy.net.connections",
    "proxy.net.downstream",
    "proxy.net.h2_downstream",
    "proxy.net.h2_transport",
    "proxy.net.h2_upstream",
    "proxy.net.outbox",
    "proxy.net.pool",
    "proxy.net.targets",
    "proxy.net.upstream",
    "proxy.places",
    "proxy.routing.authority",
    "proxy.routing.baggage",
    "proxy.routing.callers",
    "proxy.routing.decision",
    "proxy.routing.digest",
    "proxy.routing.key",
    "proxy.routing.names",
    "proxy.routing.tracestate",
    "proxy.routing.view",
    "proxy.sides",
    "proxy.telemetry.access_log",
    "proxy.telemetry.exemplars",
    "proxy.telemetry.lines",
    "proxy.telemetry.metrics",
    "proxy.telemetry.record",
    "proxy.telemetry.traffic",
    "proxy.telemetry.watch",
    "proxy.watched",
)


class _Finder:
    """Finds the compiled form of a module before the import system finds its source."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._paths = {name: str(folder / f"{name}{suffix}") for name in (*MODULES, f"{GROUP}__mypyc")}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        file = self._paths.get(name)
        if file is None:
            return None
        return ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)


def sources_digest() -> str:
    """Of every source file of the package, its path and content. About 1 ms."""
    digest = hashlib.blake2b()
    package = str(_PACKAGE)
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", FOLDER.name))
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb", buffering=0) as file:
                    content = file.read()
                digest.update(f"{path[len(package) :]} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()


def use() -> bool:
    """Makes later imports of `MODULES` take the compiled forms, if there are any that fit. Says whether."""
    # Read here and not by `proxy.config`, which is imported after this.
    if os.environ.get("POINTSMAN_PURE_PYTHON", "") not in ("", "0"):
        return False
    suffix = EXTENSION_SUFFIXES[0]  # names interpreter, version and platform
    if not (FOLDER / f"{GROUP}__mypyc{suffix}").exists():
        return False
    try:
        if DIGEST_FILE.read_text() != sources_digest():
            return False
    except OSError:
        return False
    sys.meta_path.insert(0, _Finder(FOLDER, suffix))
    return True


IS_USED: Final = use()
