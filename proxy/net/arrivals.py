"""Which port of the workload a captured connection is for: the kernel's word, checked, and remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final, Protocol

from proxy.net.addresses import DestinationPolicy, may_arrive
from proxy.net.connections import Connections
from proxy.net.original import original_destination
from proxy.net.pool import Pool
from proxy.places import Nowhere, Places
from proxy.routing.decision import NOT_CAPTURED_DECISION, NOT_LOCAL_DECISION
from proxy.routing.names import Endpoint
from proxy.sides import Port
from proxy.telemetry.metrics import Metrics

# So many are remembered whether they are in use or not: more than a workload has ports, times addresses.
_KNOWN: Final = 256
_SAY_AGAIN_S: Final = 600.0

_log = logging.getLogger(__name__)


class Captures(Protocol):
    """What stands behind captured ports (`modes.TransparentMode`)."""

    def captured(self, host: str, port: int) -> tuple[Places, Endpoint]:
        """Where requests arrive that were on their way to this address, and the application itself."""

    def forget(self, applications: Collection[Endpoint]) -> None:
        """Nobody uses these now."""


class Arrival:
    """Where a connection was going: `application` is none where it is for nothing of ours, and `port` refuses."""

    __slots__ = ("application", "number", "port")

    def __init__(self, port: Port, number: int = 0, application: Endpoint | None = None) -> None:
        self.port: Final = port
        self.number: Final = number
        self.application: Final = application


class Arrivals:
    """Shared by the listeners. `forgotten`: called when applications are out of use."""

    __slots__ = (
        "_captures",
        "_connections",
        "_destinations",
        "_forgotten",
        "_known",
        "_make_port",
        "_most",
        "_not_captured",
        "_not_local",
        "_said_s",
        "detect_timeout_s",
        "metrics",
        "pool",
    )

    def __init__(
        self,
        captures: Captures,
        make_port: Callable[[Places], Port],
        destinations: DestinationPolicy,
        connections: Connections,
        pool: Pool,
        metrics: Metrics,
        detect_timeout_s: float,
        forgotten: Callable[[], None],
    ) -> None:
        self._captures: Final = captures
        self._make_port: Final = make_port
        self._destinations: Final = destinations
        self._connections: Final = connections
        self.pool: Final = pool
        self.metrics: Final = metrics
        self.detect_timeout_s: Final = detect_timeout_s
        self._forgotten: Final = forgotten
        self._not_captured: Final = Arrival(make_port(Nowhere(NOT_CAPTURED_DECISION)))
        self._not_local: Final = Arrival(make_port(Nowhere(NOT_LOCAL_DECISION)))
        self._known: dict[tuple[str, int, str], Arrival] = {}
        self._most = _KNOWN
        self._said_s: dict[int, float] = {}

    def of(self, transport: asyncio.Transport) -> Arrival:
        """Where this connection was going."""
        here = transport.get_extra_info("sockname")
        original = original_destination(transport)
        if original is None or original == here[:2]:
            return self._not_captured
        # Where it was led is a part of it, since that is what tells who may call loopback.
        key = (*original, here[0])
        arrival = self._known.get(key)
        return arrival if arrival is not None else self._meet(key)

    def _meet(self, key: tuple[str, int, str]) -> Arrival:
        host, number, here = key
        if self._destinations.is_own(host, number):
            return self._not_captured
        if not may_arrive(host, here):
            return self._not_local
        if len(self._known) >= self._most:
            self._forget_unused()
        places, application = self._captures.captured(host, number)
        arrival = self._known[key] = Arrival(self._make_port(places), number, application)
        return arrival

    def _forget_unused(self) -> None:
        """Whoever calls one port after another must not fill the memory."""
        used = self._connections.ports()
        kept = {key: arrival for key, arrival in self._known.items() if id(arrival.port) in used}
        applications = {arrival.application for arrival in kept.values()}
        unused = {arrival.application for arrival in self._known.values()} - applications
        self._known = kept
        self._most = max(_KNOWN, 2 * len(kept))
        self._captures.forget([application for application in unused if application is not None])
        self._forgotten()

    def say_encrypted(self, number: int) -> None:
        """A line in a while, for each port."""
        now_s = self.pool.now_s
        if now_s - self._said_s.get(number, -_SAY_AGAIN_S) < _SAY_AGAIN_S:
            return
        if len(self._said_s) >= _KNOWN:
            self._said_s.clear()
        self._said_s[number] = now_s
        _log.warning(
            "port %d: TLS passes to the application as it is: encrypted, its requests cannot be routed to sandboxes"
            " (said again after %d minutes)",
            number,
            _SAY_AGAIN_S / 60,
        )
