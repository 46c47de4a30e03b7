"""Listening sockets: opened before anything else is promised, closed so that nobody is lost.

Connections are accepted in one of two ways. Ordinarily uvloop's server does it, on a copy of the socket. It has two
faults: at a lack of descriptors libuv accepts and closes whatever waits, and turns round at full speed where even that
fails; and when it closes, the kernel resets what it had completed and nobody had accepted. So when files get short
(`Room.is_tight`), and at the end, the copy is closed and connections are accepted here, which costs 25 us more for
each: what finds no room waits in the kernel, and the socket is closed when its queue is empty.

Where several processes accept from one queue, each always does it here, one connection at a time (uvloop's server takes
all that wait), and only if it is its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from proxy.background import spawn
from proxy.net.descriptors import Room, Spares
from proxy.routing.names import Endpoint

# The kernel caps it at net.core.somaxconn. A burst of connections waits here while one loop turn is busy.
_BACKLOG: Final = 4096
# How soon to look again whether there is room: 20 attempts a second cost nothing, and nobody sees the delay.
_PAUSE_S: Final = 0.05
# How often to choose between the two ways; when a connection is accepted that is asked too.
_CHOICE_S: Final = 1.0
# How long another process has time to take what is its turn. Then one connection is taken all the same; if it still
# does not come, two, and so on up to this many.
_TURN_S: Final = 0.005
_MOST_AT_ONCE: Final = 64
# How long a handshake whose SYN came before `stop` may take to end: a round trip within a cluster, many times.
_HANDSHAKE_S: Final = 0.05

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
# Classic BPF over a TCP header: the flags' byte; of those SYN (2) and ACK (16); if SYN alone nothing is kept, else all.
_NO_NEW_CONNECTIONS: Final = b"".join(
    struct.pack("HBBI", *row)
    for row in ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 2), (6, 0, 0, 0), (6, 0, 0, 0xFFFFFFFF))
)

# The protocols of the data path are classes without a base, so that they can be compiled (`proxy.compiled`).
_Factory = Callable[[], asyncio.BaseProtocol]


class ListenError(Exception):
    """An address can't be listened on."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The sockets that a process listens on: for each `--listen`, for the admin pages, for `--health-listen`."""

    traffic: list[list[socket.socket]]
    admin: list[socket.socket]
    health: list[socket.socket]


class Turns(Protocol):
    """Who of several processes accepts."""

    def is_ours(self, starting: int) -> bool:
        """`starting`: accepted connections that their protocols do not know yet."""


class Listener:
    """Accepts on the sockets of one endpoint. `factory` makes a connection's protocol.

    `room`: for listeners that may be flooded. `spares`: descriptors that are given up for connections of this listener,
    for one that must be reachable; it accepts always itself. `turns`: where other processes have the sockets too.
    """

    __slots__ = (
        "_factory",
        "_has_ended",
        "_loop",
        "_paused",
        "_room",
        "_servers",
        "_sockets",
        "_spares",
        "_starting",
        "_taken_at_once",
        "_turns",
    )

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], object],
        *,
        room: Room | None = None,
        spares: Spares | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._sockets = list(sockets)
        self._factory = cast(_Factory, factory)
        self._room = room
        self._spares = spares
        self._turns = turns
        self._taken_at_once = 1
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []  # none: connections are accepted here
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._starting = 0  # connections accepted here that their protocols do not know yet
        self._has_ended = False
        self._read()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports that it really listens on."""
        return [(str(name[0]), int(name[1])) for name in (sock.getsockname() for sock in self._sockets)]

    # --- uvloop accepts ---

    async def run(self) -> None:
        """Chooses who accepts, until the end."""
        room = self._room if self._turns is None else None
        while room is not None and not self._has_ended:
            if room.is_tight:
                self._take_over()
            elif not self._servers:
                await self._hand_over()
            await asyncio.sleep(_CHOICE_S)

    async def _hand_over(self) -> None:
        try:
            for sock in self._sockets:
                copy = sock.dup()
                self._servers.append(await self._loop.create_server(self._accepted, sock=copy, backlog=_BACKLOG))
        except OSError:
            self._close_servers()
        else:
            for sock in self._sockets:
                self._stop_reading(sock)

    def _accepted(self) -> asyncio.BaseProtocol:
        if self._room is not None and self._room.is_tight:
            self._loop.call_soon(self._take_over)
        return self._factory()

    def _take_over(self) -> None:
        if self._servers:
            self._close_servers()
            self._read()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    # --- we accept ---

    def _read(self) -> None:
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept_in_turn, sock)

    def _stop_reading(self, sock: socket.socket) -> None:
        if (timer := self._paused.pop(sock, None)) is not None:
            timer.cancel()
        self._loop.remove_reader(sock)

    def _accept_in_turn(self, sock: socket.socket) -> None:
        if self._turns is None or self._turns.is_ours(self._starting):
            self._taken_at_once = 1
            self._accept(sock)
        else:
            self._loop.remove_reader(sock)
            self._paused[sock] = self._loop.call_later(_TURN_S, self._accept_all_the_same, sock)

    def _accept_all_the_same(self, sock: socket.socket) -> None:
        """Whoever's turn it was had time."""
        self._resume(sock)
        for _ in range(self._taken_at_once):
            if not self._accept(sock) or sock in self._paused:
                return
        self._taken_at_once = min(2 * self._taken_at_once, _MOST_AT_ONCE)

    def _accept(self, sock: socket.socket) -> bool:
        """Takes one connection; the others take their turn behind what is under way. False: the queue is empty."""
        if self._room is not None and not self._room.is_left:
            self._pause(sock)
            return True
        try:
            connection = sock.accept()[0]
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            # Out of descriptors or of memory, or what nobody thought of: never at full speed, never a line of log.
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._spares is None or not self._spares.give():
                self._pause(sock)
            return True
        self._starting += 1
        spawn(self._start(connection), "accept")
        return True

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:
            connection.close()
        finally:
            self._starting -= 1

    def _pause(self, sock: socket.socket) -> None:
        if sock not in self._paused:
            if self._room is not None:
                self._room.delayed()
            self._loop.remove_reader(sock)
            self._paused[sock] = self._loop.call_later(_PAUSE_S, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        del self._paused[sock]
        self._loop.add_reader(sock, self._accept_in_turn, sock)

    async def stop(self, limit_s: float) -> None:
        """Accepts all that has been begun, also what only the kernel knows, and nothing that is begun from now on.

        A filter drops what asks for a new connection, so that its sender asks again and finds the port closed, while
        handshakes that are under way end. Where the filter is refused there is a gap of some microseconds between the
        last look into the queue and its end. What finds no room within the limit is reset.
        """
        end_s = self._loop.time() + limit_s
        for sock in self._sockets:
            _refuse_new(sock)
        await asyncio.sleep(_HANDSHAKE_S)
        self._has_ended = True
        self._take_over()
        for sock in list(self._sockets):
            while self._accept(sock) and self._loop.time() < end_s:
                # A turn of the loop serves what was taken; where there is no room, room is made there.
                await asyncio.sleep(_PAUSE_S if sock in self._paused else 0)
            self._end(sock)
        while self._starting:
            await asyncio.sleep(0)

    def close(self) -> None:
        """At once: what waits is reset."""
        self._has_ended = True
        self._close_servers()
        for sock in list(self._sockets):
            self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        self._stop_reading(sock)
        self._sockets.remove(sock)
        sock.close()


async def stop_all(listeners: Iterable[Listener], limit_s: float) -> None:
    """`Listener.stop` of each, at once."""
    await asyncio.gather(*(listener.stop(limit_s) for listener in listeners))


def _refuse_new(sock: socket.socket) -> None:
    program = array("B", _NO_NEW_CONNECTIONS)
    option = struct.pack("HP", len(program) // 8, program.buffer_info()[0])  # struct sock_fprog: length, address
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


async def bind(endpoint: Endpoint) -> list[socket.socket]:
    """Sockets that listen on the endpoint, one for each address of its host; port 0 picks a free one.

    Raises: ListenError naming the address.
    """
    sockets: list[socket.socket] = []
    unknown: OSError | None = None
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                unknown = error  # without IPv6 localhost still has an IPv4 address
                continue
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the one before may still end
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
        if unknown is not None and not sockets:
            raise unknown
    except OSError as error:
        for sock in sockets:
            sock.close()
        # The numbers of a resolver's errors are negative.
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ListenError(f"cannot listen on {endpoint}: {text}") from None
    return sockets
