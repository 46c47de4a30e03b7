"""Network namespaces: a pod with a sidecar's rules in it, and a neighbour from whom it is called.

    neighbour 10.77.0.1, fd77::1  ----veth----  pod 10.77.0.2, fd77::2

A test's sockets are in the namespace of the thread that makes them, at that moment (`Namespace.inside`), so that it can
play the caller, the application and whoever looks at the admin pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CAPTURE = Path(__file__).parents[2] / "manifests" / "capture" / "capture.sh"
NEIGHBOUR, POD = "10.77.0.1", "10.77.0.2"
NEIGHBOUR6, POD6 = "fd77::1", "fd77::2"
UID = 16006  # of the proxy
LISTEN = 16006

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


class Namespace:
    """One network namespace, until `close`."""

    def __init__(self, name: str) -> None:
        self.name = f"pm{os.getpid()}-{next(_numbers)}-{name}"
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command that is to run there; it becomes the command, and keeps its process id."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    def run(self, *command: str) -> str:
        """What it printed."""
        return run(*self.prefix, *command)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes are there."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as there:
            _set_namespace(there.fileno())
            try:
                yield
            finally:
                _set_namespace(before.fileno())

    def close(self) -> None:
        run("ip", "netns", "del", self.name)


class Pod(Namespace):
    """A pod's namespace, and its neighbour's."""

    def __init__(self) -> None:
        super().__init__("pod")
        self.neighbour = Namespace("neighbour")
        self.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", self.neighbour.name)
        for namespace, link, *addresses in (
            (self.neighbour, "eth1", NEIGHBOUR, NEIGHBOUR6),
            (self, "eth0", POD, POD6),
        ):
            for address in addresses:
                length = ("64", "nodad") if ":" in address else ("24",)
                namespace.run("ip", "addr", "add", f"{address}/{length[0]}", "dev", link, *length[1:])
            namespace.run("ip", "link", "set", link, "up")

    def capture(self, *arguments: str) -> str:
        """`capture.sh`, as an init container runs it."""
        return self.run(str(CAPTURE), *arguments)

    def close(self) -> None:
        super().close()
        self.neighbour.close()

    @property
    def proxy_prefix(self) -> tuple[str, ...]:
        """Before a proxy's command: there, as its own user, with no right over networks (but that to read this folder,
        wherever it is)."""
        return (
            *self.prefix,
            *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"),
            *("--bounding-set=-all,+dac_read_search", "--inh-caps=-all,+dac_read_search"),
            "--ambient-caps=-all,+dac_read_search",
        )


def run(*command: str) -> str:
    """What the command printed; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def what_is_missing() -> str | None:
    """Why there can be no such tests here; None: there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    for tool in ("ip", "nsenter", "setpriv", "iptables", "ip6tables"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian: iproute2, util-linux, iptables)"
    try:
        pod = Pod()
    except AssertionError as error:
        return f"no network namespaces here: {error}"
    try:
        pod.capture("apply", "--ports", "80")
        pod.run("ip6tables", "-t", "nat", "-S", "POINTSMAN_IN")
    except AssertionError as error:
        return f"no rules of iptables here: {error}"
    finally:
        pod.close()
    return None


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Sockets that this thread makes are this user's."""
    "a".encode("idna")  # whatever is imported for that can be read now
    before = _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(before)


def connect(address: str, port: int, timeout_s: float = 10.0) -> socket.socket:
    """A connection from the namespace that the thread is in."""
    return socket.create_connection((address, port), timeout_s)
