"""One connection on a fake transport, and what stands behind it: `DownstreamScript` and `UpstreamScript`.

Both need a running loop (the `loop` fixture), because the pool reads its clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy import errors
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_CLOSE, End, RequestHead, ResponseHead
from proxy.codec.fields import http2_request_kinds, http2_response_kinds, request_kinds, response_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.config import Timeouts
from proxy.exchange import Exchange
from proxy.identity import Identities
from proxy.net.connections import Connections
from proxy.net.downstream import H1Downstream
from proxy.net.pool import Network, Pool
from proxy.net.targets import Address
from proxy.net.upstream import H1Upstream
from proxy.places import OnePlace
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint
from proxy.sides import Port
from proxy.telemetry.metrics import Metrics
from tests.support.exchange import (
    BASELINE,
    SANDBOX,
    RecordingUpstream,
    Script,
    request_head,
    route_table,
    sidecar,
)
from tests.support.loop import FakeLoop
from tests.support.transport import FakeTransport

# Each limit differs, so that no test passes because of another's.
TIMEOUTS = Timeouts(
    connect_timeout_s=5,
    response_timeout_s=20,
    head_timeout_s=10,
    idle_timeout_s=60,
    upstream_idle_timeout_s=40,
    stream_idle_timeout_s=30,
    tunnel_idle_timeout_s=90,
)


def new_pool(
    timeouts: Timeouts = TIMEOUTS,
    metrics: Metrics | None = None,
    is_refused: Callable[[str, Endpoint], bool] = lambda host, endpoint: False,
) -> Pool:
    network = Network(look_up, is_refused)
    kinds = response_kinds(errors.UPSTREAM_INVALID)
    return Pool(
        kinds, http2_response_kinds(errors.UPSTREAM_INVALID), HeadLimits(), timeouts, metrics or Metrics(), network
    )


async def look_up(host: str) -> tuple[list[str], float]:
    """As the fake loop's names say; they hold for a minute."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeLoop)
    loop.looked_up.append(host)
    if (found := loop.names.get(host)) is None:
        raise OSError(f"nobody knows {host}")
    return found, 60.0


class AnsweringUpstream(RecordingUpstream):
    """An upstream of a downstream's test: it answers when it is told to."""

    def __init__(self, calls: list[str], used: list[RecordingUpstream], endpoint: Endpoint) -> None:
        super().__init__(calls, used, endpoint)
        self.active_at_s = 0.0  # silent

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        super().send_head(head, exchange)
        self.exchange = exchange

    @property
    def target(self) -> str:
        target = self.lines[0].split(b" ")[1] if self.lines else dict(self.fields)[b":path"]
        return target.decode()

    def head(self, body: int = 2, status: int = 200) -> None:
        """`body`: its length, or how it is framed otherwise."""
        framing = {CHUNKED: [b"Transfer-Encoding: chunked"], UNTIL_CLOSE: []}
        lines = framing[body] if body < NO_BODY else [b"Content-Length: %d" % body]
        self.exchange.response_head(ResponseHead(status, [b"HTTP/1.1 %d OK" % status, *lines], body, True))

    def end(self, *trailers: bytes) -> None:
        self.has_request = False
        self.exchange.response_end(End(list(trailers)))

    def answer(self, body: bytes = b"ok") -> None:
        """The whole of it, and the connection is free."""
        self.head(len(body))
        if body:
            self.exchange.response_body(body)
        self.end()


@dataclass
class AnsweringPool:
    """Has always an idle connection, or with `is_connecting` never one."""

    calls: list[str]
    used: list[RecordingUpstream]
    is_connecting: bool = False
    pending: list[tuple[Endpoint, Exchange]] = field(default_factory=list)

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> AnsweringUpstream | None:
        return None if self.is_connecting else AnsweringUpstream(self.calls, self.used, endpoints[0])

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        self.pending.append((endpoints[0], exchange))

    def connected(self) -> None:
        endpoint, exchange = self.pending.pop(0)
        exchange.connected(AnsweringUpstream(self.calls, self.used, endpoint))


class DownstreamScript:
    """A downstream connection with real exchanges, and upstreams that the test plays."""

    def __init__(
        self,
        *,
        timeouts: Timeouts = TIMEOUTS,
        max_connections: int = 10,
        limits: HeadLimits | None = None,
        decision_field: bool = False,
    ) -> None:
        self.calls: list[str] = []
        self.used: list[AnsweringUpstream] = []
        self.metrics = Metrics()
        self.pool = AnsweringPool(self.calls, self.used)  # type: ignore[arg-type]
        self.upstream_pool = new_pool(timeouts, self.metrics)
        self.connections = Connections(
            request_kinds(errors.BAD_REQUEST),
            http2_request_kinds(errors.BAD_REQUEST),
            limits or HeadLimits(),
            max_connections,
            100,
            timeouts,
            self.upstream_pool,
            self.metrics,
        )
        self.port = Port(
            places=OnePlace(sidecar(route_table(SANDBOX))),
            identities=Identities(),
            reader=KeyReader(KeySettings()),
            pool=self.pool,
            metrics=self.metrics,
            failure_to_baseline=False,
            decision_field=decision_field,
        )
        self.protocol, self.transport = self.accept()

    def accept(self, peer: object = ("192.0.2.1", 40000)) -> tuple[H1Downstream, FakeTransport]:
        """Another connection."""
        protocol = H1Downstream(self.port, self.connections)
        return protocol, FakeTransport(protocol, peer=peer)

    def receive(self, *pieces: bytes) -> None:
        self.transport.receive(*pieces)

    @property
    def up(self) -> AnsweringUpstream:
        """The upstream that was used last."""
        return self.used[-1]

    @property
    def targets(self) -> list[str]:
        """Of the requests that went upstream."""
        return [upstream.target for upstream in self.used]

    def wait(self, seconds: float) -> None:
        """So much time passes, and then the clock looks."""
        self.connections.now_s += seconds
        self.transport.get_protocol().check_time(self.connections.now_s)

    def take_status(self) -> int:
        """The status of the one answer that was written since, 0 if there was none."""
        data = self.transport.take()
        assert data.count(b"HTTP/1.1 ") <= 1
        return int(data[9:12]) if data else 0


class UpstreamScript:
    """An upstream connection of a real pool, with a real exchange whose downstream is recorded (`Script`)."""

    def __init__(self, *lines: str, method: str = "GET", pool: Pool | None = None) -> None:
        self.pool = pool or new_pool()
        self.upstream = H1Upstream(self.pool, Address(BASELINE, "10.0.0.9"))
        self.transport = FakeTransport(self.upstream)
        self.script = Script()
        self.start(*lines, method=method)

    def start(self, *lines: str, method: str = "GET") -> None:
        """The next request, of another downstream, over the same connection."""
        self.script = Script()
        self.script.start(request_head(*lines, method=method))
        self.script.pool.pending.clear()
        self.script.exchange.connected(self.upstream)

    def reuse(self, *lines: str, method: str = "GET") -> None:
        assert self.is_idle, "not in the pool"
        self.start(*lines, method=method)

    def receive(self, *pieces: bytes) -> list[str]:
        """The calls downstream that it led to."""
        return self.script.does(lambda: self.transport.receive(*pieces))

    def receive_eof(self) -> list[str]:
        return self.script.does(self.transport.receive_eof)

    def lose(self, error: Exception | None = None) -> list[str]:
        return self.script.does(lambda: self.transport.lose(error))

    @property
    def is_idle(self) -> bool:
        """Whether the pool would hand it out; afterwards it is taken."""
        idle = self.upstream.address.idle
        if self.upstream not in idle:
            return False
        idle.remove(self.upstream)
        self.upstream.is_reused = True
        return True
