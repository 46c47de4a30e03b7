"""nghttp2's programs: `nghttpd` as an origin, `nghttp` and `h2load` as clients. Tests skip where one is missing."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import until


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"no {name} (Debian: nghttp2-client, nghttp2-server)")
    return found


@contextlib.contextmanager
def nghttpd(folder: Path, *flags: str) -> Iterator[int]:
    """Serves the folder over HTTP/2 by prior knowledge; the port. Bodies of POST come back."""
    binary = program("nghttpd")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [binary, "--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", str(folder), *flags, str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or accepts(port), "nghttpd is up")
        assert process.poll() is None, "nghttpd did not start"
        yield port
    finally:
        process.kill()
        process.wait()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Loaded:
    """What h2load counted."""

    succeeded: int
    statuses: dict[str, int]
    body_bytes: int
    text: str


def h2load(url: str, *flags: str, requests: int, clients: int = 4, streams: int = 50) -> Loaded:
    """So many requests, each connection with so many streams at once."""
    command = [program("h2load"), "-n", str(requests), "-c", str(clients), "-m", str(streams), *flags, url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    succeeded = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", ended.stdout)
    statuses = re.search(r"status codes: (.*)", ended.stdout)
    body = re.search(r"\((\d+)\) data", ended.stdout)
    if not (succeeded and statuses and body):
        pytest.fail(f"h2load said: {ended.stdout}")
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (\dxx)", statuses[1])}
    return Loaded(int(succeeded[1]), counts, int(body[1]), ended.stdout)


def nghttp(url: str, *flags: str) -> str:
    """What it says of every frame, and the body."""
    command = [program("nghttp"), "-v", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
