"""Captured connections on fake transports, with a real pool and a real table."""

from __future__ import annotations

from proxy import errors
from proxy.codec.fields import http2_request_kinds, request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.config import PortSettings, SidecarSettings
from proxy.identity import Identities
from proxy.modes import TransparentMode
from proxy.net.addresses import DestinationPolicy
from proxy.net.arrivals import Arrivals
from proxy.net.captured import Captured
from proxy.net.connections import Connections
from proxy.places import Places
from proxy.routing.decision import Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.sides import Port
from proxy.tables import TableHolder
from proxy.telemetry.metrics import Metrics
from tests.support.net import TIMEOUTS, new_pool
from tests.support.transport import FakeTransport

LISTENER = ("127.0.0.1", 16006)
APPLICATION = ("127.0.0.1", 8081)
CALLER = ("127.0.0.1", 40000)
DETECT_S = 0.1


class CapturedScript:
    """A transparent sidecar without sockets; needs a running loop (the `loop` fixture)."""

    def __init__(self, *named: tuple[int, Endpoint], max_connections: int = 10) -> None:
        self.metrics = Metrics()
        self.pool = new_pool(metrics=self.metrics)
        self.connections = Connections(
            request_kinds(errors.BAD_REQUEST),
            http2_request_kinds(errors.BAD_REQUEST),
            HeadLimits(),
            max_connections,
            100,
            TIMEOUTS,
            self.pool,
            self.metrics,
        )
        workload = Workload("hotrod", "Deployment", "location")
        ports = tuple(PortSettings(baseline, number) for number, baseline in named)
        self.tables = TableHolder(workload, "table.yaml")
        self.mode = TransparentMode(SidecarSettings(workload, ports, DETECT_S), Policy(), self.tables, None)
        self.destinations = DestinationPolicy(self.mode.own_baselines)
        self.destinations.add_own([LISTENER])
        self.forgotten = 0
        self.arrivals = Arrivals(
            self.mode,
            self._port_of,
            self.destinations,
            self.connections,
            self.pool,
            self.metrics,
            DETECT_S,
            self._forget,
        )

    def _port_of(self, places: Places) -> Port:
        return Port(
            places=places,
            identities=Identities(),
            reader=KeyReader(KeySettings()),
            pool=self.pool,
            metrics=self.metrics,
            failure_to_baseline=False,
            decision_field=True,
        )

    def _forget(self) -> None:
        self.forgotten += 1

    def accept(
        self, original: tuple[str, int] | None = APPLICATION, peer: object = CALLER, own: object = LISTENER
    ) -> FakeTransport:
        """A connection that was on its way to `original`."""
        return FakeTransport(Captured(self.arrivals, self.connections), peer=peer, own=own, original=original)

    @property
    def is_quiet(self) -> bool:
        """Nothing is left of any connection."""
        metrics = self.metrics
        counts = metrics.downstream_connections, metrics.upstream_connections, metrics.passed_connections
        return counts == (0, 0, 0) and not len(self.connections) and not self.pool.own_ends
