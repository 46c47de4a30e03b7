"""Listening sockets: opened before anything else is promised, closed first at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final, cast

from proxy.routing.names import Endpoint

# The kernel caps it at net.core.somaxconn. A burst of connections waits here while one loop turn is busy.
_BACKLOG: Final = 4096
# The protocols of the data path are classes without a base, so that they can be compiled (`proxy.compiled`).
_Factory = Callable[[], asyncio.BaseProtocol]


class ListenError(Exception):
    """An address can't be listened on."""


async def listen(endpoint: Endpoint, factory: Callable[[], object]) -> asyncio.Server:
    """A server that accepts on `endpoint`; port 0 picks a free one. `factory` makes a connection's protocol.

    Raises: ListenError naming the address.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(cast(_Factory, factory), endpoint.host, endpoint.port, backlog=_BACKLOG)
    except OSError as error:
        # uvloop's own text names the address again; the numbers of a resolver's errors are negative.
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ListenError(f"cannot listen on {endpoint}: {text}") from None


def bound(server: asyncio.Server) -> list[tuple[str, int]]:
    """The addresses and ports that a server really listens on."""
    return [(str(name[0]), int(name[1])) for name in (sock.getsockname() for sock in server.sockets)]
