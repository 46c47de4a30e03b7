"""The workers of a running proxy, as the system sees them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.client import Client, connected, get
from tests.support.origin import Origin
from tests.support.proxy import PORT, Proxy, run_proxy
from tests.support.waiting import until

TWO = ("--workers", "2")


@contextlib.contextmanager
def run_workers(
    tmp_path: Path,
    *baselines: int | str,
    count: int = 2,
    flags: tuple[str, ...] = (),
    document: Mapping[str, object] | None = None,
    workload_ports: tuple[int, ...] = (PORT,),
    prefix: tuple[str, ...] = (),
    controller: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:
    """A proxy with so many workers, once all of them are ready."""
    with run_proxy(
        tmp_path,
        *baselines,
        flags=("--workers", str(count), *flags),
        document=document,
        workload_ports=workload_ports,
        prefix=prefix,
        controller=controller,
        environ=environ,
    ) as proxy:
        until(lambda: proxy.page("/readyz")[0] == 200, "all workers", within_s=15)
        yield proxy


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


class Held:
    """An origin that answers when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.origin = Origin("held", lambda _: (self.go.wait(20), (200, [], b"late"))[1])


def one_at_each(proxy: Proxy, stack: contextlib.ExitStack) -> dict[int, Client]:
    """A connection to each worker."""
    found: dict[int, Client] = {}
    for _ in range(20):
        client = stack.enter_context(connected(proxy.port))
        until(partial(served_by, proxy, client), "its worker")
        found.setdefault(served_by(proxy, client), client)
        if len(found) == 2:
            return found
    raise AssertionError("one worker takes all")


def asking_each(proxy: Proxy, stack: contextlib.ExitStack, held: Held) -> dict[int, Client]:
    """The same, with a request under way."""
    clients = one_at_each(proxy, stack)
    for client in clients.values():
        client.send(get())
    until(lambda: len(held.origin.requests) == 2, "both requests at the origin")
    return clients


def said(proxy: Proxy, text: str) -> list[str]:
    """Lines on stderr that hold this."""
    return [line for line in proxy.lines if text in line]
