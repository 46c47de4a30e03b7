"""Sockets to listen on, bound before anything else begins, so that a taken port is a fault at the start."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import suppress

from proxy.routing.names import Endpoint

_BACKLOG = 1024  # a thousand proxies dial again at once after our restart


class ListenError(Exception):
    """The address can't be listened on; the text says why."""


async def bind(endpoint: Endpoint) -> list[socket.socket]:
    """One listening socket for each address of the host; with port 0 they share the port that the system chose.

    Raises: ListenError.
    """
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    port = endpoint.port
    try:
        found = await loop.getaddrinfo(
            endpoint.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address[0], port, *address[2:]))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
            port = listening.getsockname()[1]
    except OSError as error:
        for listening in sockets:
            listening.close()
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ListenError(f"{endpoint} can't be listened on: {why}") from None
    return sockets


def lift_file_limit() -> None:
    """The soft limit of open files becomes what the system grants: a usual one is 1024, and each proxy is a file."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # "unlimited" may be more than the kernel can do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def url_of(listening: socket.socket, *, is_tls: bool) -> str:
    host, port = listening.getsockname()[:2]
    shown = Endpoint(host, port)
    return f"{'https' if is_tls else 'http'}://{shown}"
