"""Ports for programs that insist on binding one themselves, without a moment in which another program can take it.

A port is held by a socket that is bound but does not listen. The kernel gives a held port to nobody who asks for any
port, and on Linux it lets one who asks for this very port have it, as long as both set SO_REUSEADDR, as servers do.
Elsewhere the port is let go at once; that another program takes it in that moment is possible, though not likely.

Handing over the socket itself would be simpler, but gRPC servers cannot take one.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

HOST: Final = "127.0.0.1"


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Free ports of the loopback address, all different, held until the end of the context."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for holder in sockets:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((HOST, 0))
        ports = [holder.getsockname()[1] for holder in sockets]
        if sys.platform != "linux":
            held.close()
        yield ports
