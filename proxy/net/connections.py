"""What all downstream connections of a process share: limits, the coarse clock, and who is connected.

The clock is one number, set about once a second by `run_clock`, which also asks every connection whether it waited too
long. A timer per connection or per request would cost more than the request's routing; timeouts of seconds need none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Protocol

from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits
from proxy.config import Timeouts
from proxy.net.original import original_destination
from proxy.net.pool import TICK_S, Pool
from proxy.sides import Port
from proxy.telemetry.metrics import Metrics

_GRACE_S: Final = 0.25
_HELD_UP_S: Final = 2 * TICK_S


class Connection(Protocol):
    """A downstream connection, of any HTTP version, or one that may be none."""

    @property
    def port(self) -> Port:
        """What it is for."""

    def check_time(self, now_s: float) -> None: ...

    def drain(self, idle_since_s: float) -> None: ...

    def cut(self) -> None: ...


class Tunnel(Protocol):
    """A connection, or a stream of one, that turned into a tunnel."""

    def end_unrouted_tunnel(self, within_s: float) -> None: ...


def _leads_here(remotes: Sequence[object], transport: asyncio.Transport) -> bool:
    """Whether a connection to one of `remotes` may be the one that has arrived here.

    On loopback the addresses tell, also the one before a REDIRECT (iptables). Elsewhere a balancer may have changed
    them unseen, so there the benefit of the doubt goes to stopping a loop.
    """
    here = _here(transport)
    return any(_host_and_port(remote) in here or not _is_loopback(remote) for remote in remotes)


def _here(transport: asyncio.Transport) -> tuple[object, object]:
    """Where a connection has arrived, and where it was going."""
    return _host_and_port(transport.get_extra_info("sockname")), original_destination(transport)


def _host_and_port(address: object) -> object:
    """Without what an IPv6 address has beside them."""
    return address[:2] if isinstance(address, tuple) else address


def _is_loopback(address: object) -> bool:
    return isinstance(address, tuple) and ip_address(address[0].partition("%")[0]).is_loopback


class Connections:
    """The downstream connections of one process."""

    __slots__ = (
        "_all",
        "_max_connections",
        "_metrics",
        "_pool",
        "_tunnels",
        "_tunnels_end_within_s",
        "h2_request_kinds",
        "is_draining",
        "limits",
        "max_streams",
        "now_s",
        "outbox",
        "request_kinds",
        "timeouts",
    )

    def __init__(
        self,
        request_kinds: FieldKinds,
        h2_request_kinds: FieldKinds,
        limits: HeadLimits,
        max_connections: int,
        max_streams: int,
        timeouts: Timeouts,
        pool: Pool,
        metrics: Metrics,
    ) -> None:
        self._max_connections = max_connections
        self.max_streams = max_streams  # of one HTTP/2 connection
        self.request_kinds = request_kinds
        self.h2_request_kinds = h2_request_kinds
        self.limits = limits
        self.timeouts = timeouts
        self.is_draining = False
        self.now_s = pool.now_s
        self.outbox = pool.outbox
        self._pool = pool
        self._metrics = metrics
        self._all: set[Connection] = set()
        self._tunnels: set[Tunnel] = set()
        self._tunnels_end_within_s = 0.0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def has_room(self) -> bool:
        """For one more."""
        return len(self._all) < self._max_connections

    def ports(self) -> set[int]:
        """What they all are for: the ids of their ports. Cost: 0.1 us for each."""
        return {id(connection.port) for connection in self._all}

    def add(self, connection: Connection) -> bool:
        """Whether there is room for it; if not, it must end."""
        self._all.add(connection)
        self._metrics.downstream_connections += 1
        self._metrics.downstream_connections_total += 1
        return len(self._all) <= self._max_connections

    def remove(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._metrics.downstream_connections -= 1

    def replace(self, connection: Connection, successor: Connection) -> None:
        """The same connection, which turned out to speak another version."""
        self._all.discard(connection)
        self._all.add(successor)

    def is_own(self, transport: asyncio.Transport) -> bool:
        """Whether this very process, or a sibling, is the peer: led back to itself, it would spin (SPEC 4).

        The peer's address alone does not tell: the kernel gives one local port to several connections if they lead to
        different places, so a caller on this machine may come from the port that one of ours came from.
        """
        peer = transport.get_extra_info("peername")
        remotes = self._pool.own_ends.get(peer)
        if remotes is not None and _leads_here(remotes, transport):
            return True
        siblings = self._pool.siblings
        return siblings is not None and siblings.leads_here(peer, _here(transport))

    def add_tunnel(self, tunnel: Tunnel) -> None:
        self._tunnels.add(tunnel)
        self._metrics.tunnels = len(self._tunnels)
        tunnel.end_unrouted_tunnel(self._tunnels_end_within_s)  # the table may have changed since its request

    def remove_tunnel(self, tunnel: Tunnel) -> None:
        self._tunnels.discard(tunnel)
        self._metrics.tunnels = len(self._tunnels)

    def table_swapped(self, within_s: float) -> None:
        """Tunnels that the new table no longer leads where they go end within so many seconds."""
        self._tunnels_end_within_s = within_s
        for tunnel in list(self._tunnels):
            tunnel.end_unrouted_tunnel(within_s)

    async def run_clock(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - self.now_s > _HELD_UP_S:
                # SIGSTOP, a throttled or a moved machine: what peers sent meanwhile is read before time is counted.
                self.now_s = self._pool.now_s = loop.time()
                await asyncio.sleep(TICK_S)
            self.now_s = now_s = loop.time()
            self._pool.check_time(now_s)
            # What was noted by the clock may have happened up to a tick later; nothing ends before its time.
            for connection in list(self._all):
                connection.check_time(now_s - TICK_S)
            await asyncio.sleep(TICK_S)
            self._metrics.loop_lag.observe(max(loop.time() - now_s - TICK_S, 0.0))

    async def drain(self, limit_s: float) -> bool:
        """Ends every connection after what it is doing; after `limit_s` it is cut. True: nothing had to be."""
        loop = asyncio.get_running_loop()
        self.is_draining = True
        began_s = self.now_s = loop.time()
        while self._all and self.now_s < began_s + limit_s:
            # A connection that was used just now may have a request under way to us: it gets a moment to arrive, and is
            # answered with `Connection: close`. Activity from before is known by the coarse clock only.
            is_over = self.now_s > began_s + _GRACE_S
            idle_since_s = self.now_s - _GRACE_S if is_over else began_s - TICK_S - _GRACE_S
            for connection in list(self._all):
                connection.drain(idle_since_s)
            await asyncio.sleep(0.01)
            self.now_s = loop.time()
        is_clean = not self._all
        for connection in list(self._all):
            connection.cut()
        return is_clean
