"""Upstream connections: idle ones by endpoint, the last used first, and new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from proxy import errors
from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits
from proxy.config import Timeouts
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.net.addresses import is_address
from proxy.net.background import spawn
from proxy.net.upstream import H1Upstream
from proxy.routing.names import Endpoint
from proxy.telemetry.metrics import Metrics

# More idle connections than this to one endpoint are of no use to one core.
_MAX_IDLE: Final = 512
TICK_S: Final = 1.0  # of the coarse clock


class Pool:
    """Implements `exchange.UpstreamPool`."""

    __slots__ = (
        "_all",
        "_idle",
        "_is_refused",
        "_kept",
        "_metrics",
        "_timeouts",
        "limits",
        "now_s",
        "own_ends",
        "response_kinds",
    )

    def __init__(
        self,
        response_kinds: FieldKinds,
        limits: HeadLimits,
        timeouts: Timeouts,
        metrics: Metrics,
        is_refused: Callable[[str, int], bool],
    ) -> None:
        self.response_kinds = response_kinds
        self.limits = limits
        self._timeouts = timeouts
        self._metrics = metrics
        self._is_refused = is_refused
        self._idle: dict[Endpoint, list[H1Upstream]] = {}
        self._kept: tuple[Collection[Endpoint], ...] | None = None  # None: all
        self._all: set[H1Upstream] = set()
        self.own_ends: dict[object, list[object]] = {}  # local address -> the remote ones of connections from there
        self.now_s = asyncio.get_running_loop().time()

    # --- the hot path ---

    def take(self, endpoint: Endpoint) -> H1Upstream | None:
        """The connection to `endpoint` that went idle last, or None."""
        idle = self._idle.get(endpoint)
        if not idle:
            return None
        upstream = idle.pop()
        upstream.is_reused = True
        return upstream

    def put(self, upstream: H1Upstream) -> None:
        """A connection whose response is complete."""
        endpoint = upstream.endpoint
        idle = self._idle.get(endpoint)
        if idle is None:
            if self._kept is not None and not any(endpoint in some for some in self._kept):
                upstream.close()  # its route went away under its last request
                return
            idle = self._idle[endpoint] = []
        if len(idle) < _MAX_IDLE:
            idle.append(upstream)
        else:
            upstream.close()

    # --- making connections ---

    def connect(self, endpoint: Endpoint, exchange: Exchange) -> None:
        """Connects in the background and tells the exchange."""
        spawn(self._connect(endpoint, exchange), "connect")

    async def _connect(self, endpoint: Endpoint, exchange: Exchange) -> None:
        try:
            upstream = await self._open(endpoint)
        except BaseException:
            exchange.connect_failed(errors.INTERNAL_ERROR)  # whatever it is, the request must not hang
            raise
        if isinstance(upstream, Reason):
            exchange.connect_failed(upstream)
        elif exchange.is_over:
            self.put(upstream)
        else:
            exchange.connected(upstream)

    async def _open(self, endpoint: Endpoint) -> H1Upstream | Reason:
        """A connection to the first address of the endpoint that answers, or why there is none.

        The look-up and each address have the time limit for themselves, so that a silent address does not hide others.
        """
        loop = asyncio.get_running_loop()
        limit_s = self._timeouts.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                addresses = await _addresses(endpoint)
        except TimeoutError:
            return errors.SANDBOX_TIMEOUT
        except OSError:
            return errors.SANDBOX_UNREACHABLE  # the name has no address
        reason = errors.SANDBOX_UNREACHABLE
        for address in addresses:
            if self._is_refused(address, endpoint.port):
                reason = errors.DESTINATION_REFUSED
                continue
            try:
                async with asyncio.timeout(limit_s):
                    # A protocol without asyncio's base class, so that it can be compiled (`proxy.compiled`).
                    _, upstream = await loop.create_connection(  # type: ignore[type-var]
                        lambda: H1Upstream(self, endpoint), address, endpoint.port
                    )
                return upstream
            except TimeoutError:
                reason = errors.SANDBOX_TIMEOUT
            except OSError:
                reason = errors.SANDBOX_UNREACHABLE
        return reason

    # --- keeping track ---

    def opened(self, upstream: H1Upstream, transport: asyncio.Transport) -> None:
        upstream.ends = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.own_ends.setdefault(upstream.ends[0], []).append(upstream.ends[1])
        self._all.add(upstream)
        self._metrics.upstream_connections += 1
        self._metrics.upstream_connections_total += 1

    def lost(self, upstream: H1Upstream) -> None:
        local, remote = upstream.ends
        remotes = self.own_ends[local]
        remotes.remove(remote)
        if not remotes:
            del self.own_ends[local]
        self._all.discard(upstream)
        self._metrics.upstream_connections -= 1
        self.forget(upstream)

    def forget(self, upstream: H1Upstream) -> None:
        """It ends, though it is not lost yet: if it is idle nobody may get it any more."""
        idle = self._idle.get(upstream.endpoint)
        if idle is not None and upstream in idle:
            idle.remove(upstream)
            if not idle:
                del self._idle[upstream.endpoint]

    def keep_only(self, *endpoints: Collection[Endpoint]) -> None:
        """Connections to other endpoints close, those in use after what they do: their routes are gone, and nothing may
        reach them again. The collections are kept, not copied: there may be 100,000 endpoints."""
        self._kept = endpoints
        for endpoint in [endpoint for endpoint in self._idle if not any(endpoint in some for some in endpoints)]:
            for upstream in self._idle.pop(endpoint):
                upstream.close()

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


async def _addresses(endpoint: Endpoint) -> list[str]:
    """The endpoint's addresses; a literal costs no look-up."""
    if is_address(endpoint.host):
        return [endpoint.host]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
