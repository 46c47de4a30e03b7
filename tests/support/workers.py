"""The workers of a running proxy, as the system sees them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from tests.support.client import Client
from tests.support.proxy import Proxy
from tests.support.waiting import until

TWO = ("--workers", "2")


def workers(proxy: Proxy) -> dict[int, int]:
    """Their processes by their numbers, of those that answer."""
    found = proxy.state()["workers"]
    assert isinstance(found, list)
    return {each["worker"]: each["process"] for each in found}


def states(proxy: Proxy) -> list[dict[str, Any]]:
    found = proxy.state()["workers"]
    assert isinstance(found, list)
    return found


def children(process: int) -> list[int]:
    """Of a process, also when it has no page to ask."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def served_by(proxy: Proxy, client: Client) -> int:
    """The number of the worker that has accepted this connection; 0 if none has yet."""
    own, far = client.socket.getsockname(), client.socket.getpeername()
    inode = _inode(far, own)
    for number, process in workers(proxy).items():
        for fd in os.listdir(f"/proc/{process}/fd"):
            try:
                if os.readlink(f"/proc/{process}/fd/{fd}") == f"socket:[{inode}]":
                    return number
            except FileNotFoundError:
                continue
    return 0


def _inode(local: tuple[str, int], remote: tuple[str, int]) -> str:
    wanted = [f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}" for host, port in (local, remote)]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1:3] == wanted:
            return columns[9]
    raise AssertionError(f"the system knows no connection {local} - {remote}")


def is_listened_on(port: int) -> bool:
    """Found out without a connection, which might be one too many."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def kill(proxy: Proxy, number: int, *, wait: bool = True) -> None:
    """Kills a worker; returns when another one is in its place, ready."""
    process = workers(proxy)[number]
    os.kill(process, signal.SIGKILL)
    if wait:
        until(lambda: not is_running(process), "its death")
        until(lambda: proxy.page("/readyz")[0] == 200 and workers(proxy).get(number) != process, "its replacement")


def set_table_everywhere(proxy: Proxy, document: dict[str, object]) -> None:
    """Returns when every worker has it."""
    proxy.set_table(document, wait=False)
    until(lambda: {state.get("version") for state in states(proxy)} == {document["version"]}, "the table everywhere")
