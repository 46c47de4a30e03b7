"""Upstream connections: idle ones by address, the last used first, and new ones.

`take` is the hot path: an endpoint's target, an address of it, an idle connection. Everything else (looking a name up,
connecting, trying the next address) happens in a task, `_connect`, which then tells the exchange.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from proxy import errors
from proxy.background import spawn
from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits
from proxy.config import Timeouts
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.net.addresses import is_address
from proxy.net.h2_upstream import H2Upstream, H2UpstreamStream
from proxy.net.outbox import Outbox
from proxy.net.targets import Address, Target, in_order, pick
from proxy.net.upstream import H1Upstream
from proxy.routing.names import Endpoint
from proxy.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from proxy.net.passing import PassedUpstream

_log = logging.getLogger(__name__)

# More idle connections than this to one address are of no use to one core.
_MAX_IDLE: Final = 512
TICK_S: Final = 1.0  # of the coarse clock
# After a look-up that brought nothing, and between two that failing connections call for.
_LOOK_UP_AGAIN_S: Final = 1.0


@dataclass(frozen=True)
class Network:
    """What the pool knows of the world. `look_up` gives a name's addresses and how long they hold, in seconds; OSError
    if nobody could tell. `is_refused`: whether an address (a literal) of an endpoint must not be connected to.
    `source`: the local address of connections to an endpoint, or None."""

    look_up: Callable[[str], Awaitable[tuple[list[str], float]]]
    is_refused: Callable[[str, Endpoint], bool]
    source: Callable[[Endpoint], str | None] = lambda endpoint: None


class Siblings(Protocol):
    """Other processes that serve the same listeners: their connections and ours are known to all of them."""

    def opened(self, local: object, remote: object) -> None: ...

    def lost(self, local: object, remote: object) -> None: ...

    def leads_here(self, peer: object, here: Sequence[object]) -> bool:
        """Whether a connection that came from `peer` to one of `here` was made by another of the processes."""


class Pool:
    """Implements `exchange.UpstreamPool`."""

    __slots__ = (
        "_all",
        "_kept",
        "_metrics",
        "_network",
        "_targets",
        "_timeouts",
        "h2_response_kinds",
        "limits",
        "now_s",
        "outbox",
        "own_ends",
        "response_kinds",
        "siblings",
    )

    def __init__(
        self,
        response_kinds: FieldKinds,
        h2_response_kinds: FieldKinds,
        limits: HeadLimits,
        timeouts: Timeouts,
        metrics: Metrics,
        network: Network,
        siblings: Siblings | None = None,
    ) -> None:
        self.siblings = siblings
        self.response_kinds = response_kinds
        self.h2_response_kinds = h2_response_kinds
        self.limits = limits
        self._timeouts = timeouts
        self._metrics = metrics
        self._network = network
        self._targets: dict[Endpoint, Target] = {}
        self._all: set[H1Upstream | H2Upstream | PassedUpstream] = set()
        self._kept: tuple[Collection[Endpoint], ...] | None = None  # None: everything
        self.own_ends: dict[object, list[object]] = {}  # of each local address, the remote ones
        loop = asyncio.get_running_loop()
        self.now_s = loop.time()
        self.outbox = Outbox(loop)

    # --- the hot path ---

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> H1Upstream | H2UpstreamStream | None:
        """An idle connection to one of the endpoints, or a stream of a shared one; or None: then `connect`."""
        if len(endpoints) == 1:
            target = self._targets.get(endpoints[0])
            if target is None:
                return None
            addresses = target.addresses
            if target.expires_s < self.now_s:
                self._look_up_once(target)  # until it is done those of last time serve
        else:
            addresses = self._addresses(endpoints)
        if not addresses:
            return None
        address = addresses[0] if len(addresses) == 1 else pick(addresses, self.now_s)
        if is_http2:
            for connection in address.shared:
                if connection.has_room:
                    return connection.open()
            return None
        if not address.idle:
            return None
        upstream = address.idle.pop()
        upstream.is_reused = True
        return upstream

    def put(self, upstream: H1Upstream) -> None:
        """A connection whose response is complete."""
        address = upstream.address
        if address.is_gone or upstream not in self._all or len(address.idle) >= _MAX_IDLE:
            upstream.close()
        else:
            address.idle.append(upstream)

    # --- making connections ---

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        """Connects in the background and tells the exchange."""
        spawn(self._connect(endpoints, exchange, is_http2), "connect")

    async def _connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, is_http2: bool) -> None:
        try:
            await self._look_up_new(endpoints)
            addresses = self._addresses(endpoints)
            if not addresses:
                exchange.attempt_failed(errors.SANDBOX_UNREACHABLE, endpoints[0])
            upstream = await self._open_one(addresses, exchange, is_http2)
            if upstream is None and await self._look_up_failing(endpoints):
                # Where a name stands for other addresses than before, those may answer.
                others = [address for address in self._addresses(endpoints) if address not in addresses]
                upstream = await self._open_one(others, exchange, is_http2)
        except BaseException:
            exchange.connect_failed(errors.INTERNAL_ERROR)  # whatever it is, the request must not hang
            raise
        if upstream is None:
            exchange.connect_failed()
        elif isinstance(upstream, H2Upstream):
            if not exchange.is_over:
                exchange.connected(upstream.open())
        elif exchange.is_over:
            self.put(upstream)
        else:
            exchange.connected(upstream)

    async def _open_one(
        self, addresses: Sequence[Address], exchange: Exchange, is_http2: bool
    ) -> H1Upstream | H2Upstream | None:
        """A connection to the first address that answers, each tried once; the exchange hears of those that do not.

        While others are left, a silent address gets half of the time limit.
        """
        limit_s = self._timeouts.connect_timeout_s
        left = in_order(addresses, self.now_s)
        while left and not exchange.is_over:
            address = left.pop(0)
            address_limit_s = limit_s / 2 if left else limit_s
            result: H1Upstream | H2Upstream | Reason
            if is_http2:
                result = await self._share(address, address_limit_s)
            else:
                upstream = H1Upstream(self, address)
                result = await self._open(upstream, address_limit_s) or upstream
            if not isinstance(result, Reason):
                return result
            exchange.attempt_failed(result, address.endpoint)
        return None

    async def open_plain(self, endpoint: Endpoint, make: Callable[[Address], PassedUpstream]) -> Reason | None:
        """A connection that the pool knows and hands to nobody else; or why there is none."""
        await self._look_up_new((endpoint,))
        failure = errors.SANDBOX_UNREACHABLE
        for address in in_order(self._addresses((endpoint,)), self.now_s):
            result = await self._open(make(address), self._timeouts.connect_timeout_s)
            if result is None:
                return None
            failure = result
        return failure

    async def _share(self, address: Address, limit_s: float) -> H2Upstream | Reason:
        """A connection with room for a stream. All who wait for one wait for the same."""
        while True:
            for connection in address.shared:
                if connection.has_room:
                    return connection
            opening = address.opening
            if opening is None or opening.done():
                address.opening = opening = spawn(self._open_shared(address, limit_s), "connect")
            result = await asyncio.shield(opening)
            if isinstance(result, Reason) or result.has_room:
                return result
            if result.is_going:
                return result.end_reason  # it closed as soon as it stood
            if not result.streams:
                return errors.UPSTREAM_REFUSED  # it takes no stream at all

    async def _open_shared(self, address: Address, limit_s: float) -> H2Upstream | Reason:
        connection = H2Upstream(self, address)
        return await self._open(connection, limit_s) or connection

    async def _open(self, upstream: H1Upstream | H2Upstream | PassedUpstream, limit_s: float) -> Reason | None:
        """Connects; or why it could not be done."""
        address, network = upstream.address, self._network
        endpoint = address.endpoint
        if network.is_refused(address.host, endpoint):
            _log.warning(
                "%s is refused: no connection is ever made to %s (--destination-allow)", endpoint, address.host
            )
            return errors.DESTINATION_REFUSED
        source = self.source(endpoint, address.host)
        loop = asyncio.get_running_loop()
        stands = False
        address.connections += 1
        try:
            async with asyncio.timeout(limit_s):
                # A protocol without asyncio's base class, so that it can be compiled (`proxy.compiled`).
                await loop.create_connection(  # type: ignore[type-var]
                    lambda: upstream,
                    address.host,
                    endpoint.port,
                    local_addr=(source, 0) if source is not None else None,
                )
                stands = True
                if isinstance(upstream, H2Upstream):
                    # As gRPC's own clients do: there are servers that end a connection with more streams than they
                    # take, and they say how many these are as soon as they have accepted it.
                    await upstream.ready
            return None
        except OSError as error:  # TimeoutError is one
            if stands and isinstance(upstream, H2Upstream):
                upstream.abort()
            elif upstream in self._all:
                self.lost(upstream)  # closed by the time limit just as it stood, of which uvloop says nothing
            if error.errno in (errno.EMFILE, errno.ENFILE):
                _log.error("no connection to %s: no more files may be open (ulimit -Hn)", endpoint)
                return errors.OUT_OF_FILES  # our own lack, nobody's failure
            address.failed(self.now_s, error.strerror or "no answer in time")
            return errors.SANDBOX_TIMEOUT if isinstance(error, TimeoutError) else errors.SANDBOX_UNREACHABLE
        finally:
            address.connections -= 1  # `opened` has counted it

    def source(self, endpoint: Endpoint, host: str) -> str | None:
        """The local address of a connection to an endpoint at `host` (a literal); one of IPv4 is none for IPv6."""
        source = self._network.source(endpoint)
        return source if source is not None and (":" in source) == (":" in host) else None

    # --- targets ---

    def _addresses(self, endpoints: Sequence[Endpoint]) -> list[Address]:
        """Of all that are known of these endpoints."""
        found: list[Address] = []
        for endpoint in endpoints:
            target = self._targets.get(endpoint)
            if target is not None:
                if target.expires_s < self.now_s:
                    self._look_up_once(target)  # until it is done those of last time serve
                found += target.addresses
        return found

    def _target(self, endpoint: Endpoint) -> Target:
        target = self._targets.get(endpoint)
        if target is None:
            # A route may go away under a request, which keeps its table: the connection serves it alone.
            is_gone = self._kept is not None and not any(endpoint in some for some in self._kept)
            target = Target(endpoint, is_literal=is_address(endpoint.host), is_gone=is_gone)
            self._targets[endpoint] = target
        return target

    async def _look_up_new(self, endpoints: Sequence[Endpoint]) -> None:
        """Looks up what was never looked up, all at once."""
        await self._look_up_all([target for target in map(self._target, endpoints) if not target.is_known])

    async def _look_up_failing(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether any of these is a name that was looked up again, since none of its addresses answers."""
        failing = [
            target
            for target in map(self._target, endpoints)
            if target.expires_s != inf and target.looked_up_s + _LOOK_UP_AGAIN_S <= asyncio.get_running_loop().time()
        ]
        await self._look_up_all(failing)
        return bool(failing)

    async def _look_up_all(self, targets: Sequence[Target]) -> None:
        """At once; whoever gives up waiting ends no look-up that others wait for."""
        if targets:
            await asyncio.gather(*(asyncio.shield(self._look_up_once(target)) for target in targets))

    def _look_up_once(self, target: Target) -> asyncio.Task[None]:
        """The look-up that is under way, or a new one: all requests that need it share it."""
        if target.look_up is None or target.look_up.done():
            target.look_up = spawn(self._look_up(target), f"looking up {target.endpoint.host}")
        return target.look_up

    async def _look_up(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        target.looked_up_s = loop.time()
        try:
            async with asyncio.timeout(self._timeouts.connect_timeout_s):
                hosts, ttl_s = await self._network.look_up(target.endpoint.host)
            target.found(hosts, loop.time() + ttl_s)
        except OSError as error:
            why = error.strerror or str(error) or "no answer in time"
            _log.warning("no address of %s is found (--dns-server): %s", target.endpoint.host, why)
            # Nobody could tell, so what was known is kept; a name that was never known counts as one without addresses.
            target.found([address.host for address in target.addresses], loop.time() + _LOOK_UP_AGAIN_S)

    # --- keeping track ---

    def opened(self, upstream: H1Upstream | H2Upstream | PassedUpstream, transport: asyncio.Transport) -> None:
        upstream.ends = self.add_own(transport)
        self._all.add(upstream)
        upstream.address.connections += 1
        if isinstance(upstream, H2Upstream) and not upstream.address.is_gone:
            upstream.address.shared.append(upstream)

    def add_own(self, transport: asyncio.Transport) -> tuple[object, object]:
        """Notes a connection that is ours, and counts it; its ends."""
        ends = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.own_ends.setdefault(ends[0], []).append(ends[1])
        if self.siblings is not None:
            self.siblings.opened(*ends)
        self._metrics.upstream_connections += 1
        self._metrics.upstream_connections_total += 1
        return ends

    def remove_own(self, ends: tuple[object, object]) -> None:
        """It is no more."""
        local, remote = ends
        if self.siblings is not None:
            self.siblings.lost(local, remote)
        remotes = self.own_ends[local]
        remotes.remove(remote)
        if not remotes:
            del self.own_ends[local]
        self._metrics.upstream_connections -= 1

    def lost(self, upstream: H1Upstream | H2Upstream | PassedUpstream) -> None:
        self.remove_own(upstream.ends)
        self._all.discard(upstream)
        upstream.address.connections -= 1
        if isinstance(upstream, H2Upstream):
            self.forget_shared(upstream)
        elif isinstance(upstream, H1Upstream):
            self.forget(upstream)

    def forget(self, upstream: H1Upstream) -> None:
        """It ends, though it is not lost yet: if it is idle nobody may get it any more."""
        if upstream in upstream.address.idle:
            upstream.address.idle.remove(upstream)

    def forget_shared(self, upstream: H2Upstream) -> None:
        """It opens no more streams."""
        if upstream in upstream.address.shared:
            upstream.address.shared.remove(upstream)

    def keep_only(self, *endpoints: Collection[Endpoint]) -> None:
        """Connections to other endpoints close, those in use after what they do: their routes are gone, and nothing may
        reach them again. The collections are kept, not copied: there may be 100,000 endpoints."""
        self._kept = endpoints
        for target in list(self._targets.values()):
            if target.is_gone or not any(target.endpoint in some for some in endpoints):
                self._targets.pop(target.endpoint).leave()

    def check_time(self, now_s: float) -> None:
        """Called about once a second: sets the clock, closes what was idle or silent for too long."""
        self.now_s = now_s
        timeouts = self._timeouts
        response_timeout_s = timeouts.response_timeout_s and timeouts.response_timeout_s + TICK_S  # as in `run_clock`
        for upstream in list(self._all):
            upstream.check_time(now_s, timeouts.upstream_idle_timeout_s, response_timeout_s)

    def close(self) -> None:
        """Ends every connection."""
        for upstream in list(self._all):
            upstream.close()
