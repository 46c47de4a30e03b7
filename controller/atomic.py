"""Writes a file so that after a crash at any point there is either the old one or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import Final

# No reader of a folder takes such a file; a crash may leave one behind.
TEMPORARY: Final = ".pointsman-tmp-"


def write_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Puts the content at the path: temporary file, fsync, rename, fsync of the folder. A symlink keeps its place, and
    a file that exists its mode.

    Raises: OSError.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode & 0o777
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(folder)


def remove_file(path: str) -> None:
    """Raises: OSError."""
    os.unlink(path)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str) -> None:
    """The temporary files that writers who were killed left behind. Nobody else may be writing."""
    for name in os.listdir(folder):
        if name.startswith(TEMPORARY):
            os.unlink(os.path.join(folder, name))
