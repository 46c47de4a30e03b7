"""What an exchange talks to, as a script: events go in, the calls that come out are recorded as lines of text.

`Script` holds one exchange with its downstream, pool and upstreams. These check what their interfaces promise (nothing
is sent after the end, one final head, body only behind a head), so that any test that uses them checks it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from proxy import errors
from proxy.codec.events import END, NO_BODY, End, RequestHead, ResponseHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.translate import trailer_lines
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.identity import Identities
from proxy.places import OnePlace, Place, sidecar_place
from proxy.routing.decision import AS_IT_CAME, Decider, Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, RoutingTable
from proxy.sides import NO_CODE, Port
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.watch import Watch
from proxy.watched import new_exchange

WORKLOAD = Workload("hotrod", "Deployment", "location")
PORT = 8081
BASELINE = Endpoint("base", 1)
SANDBOX = Endpoint("box", 1)
SANDBOX_2 = Endpoint("box", 2)
TAGGED = "baggage: sd-routing-key=key"
HOP = b"pointsman-hop: hotrod/Deployment/location"
_KINDS = request_kinds(errors.BAD_REQUEST)


def request_head(*lines: str, method: str = "GET", version: str = "1.1", host: str = "location") -> RequestHead:
    """A head as the codec makes it."""
    reader = RequestReader(_KINDS, HeadLimits())
    start = [f"{method} / HTTP/{version}", *([f"Host: {host}"] if host else []), *lines]
    reader.receive("\r\n".join([*start, "", ""]).encode())
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


def response_head(status: int = 200, body: int = 2) -> ResponseHead:
    return ResponseHead(status, [b"HTTP/1.1 %d x" % status], body, True)


def route_table(*destinations: Endpoint, port: int = PORT, authority: str = "preserve") -> RoutingTable:
    """A table where `key` leads to the sandbox `pr-1`, which is at these destinations."""
    mapping = Mapping(port, None, authority, destinations)
    return RoutingTable("1", [Route("key", "pr-1", WORKLOAD, (mapping,))], live_keys=[b"alive"], gone_keys=[b"gone"])


def sidecar(table: RoutingTable | None, policy: Policy | None = None, port: int = PORT) -> Place:
    """Where requests for the workload arrive, by this table."""
    place = sidecar_place(WORKLOAD, port, BASELINE, Decider(WORKLOAD, policy or Policy()))
    place.view = None if table is None else table.view(WORKLOAD)
    return place


class RecordingDownstream:
    """`exchange.Downstream`."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls
        self.is_looped = False
        self.peer = b"192.0.2.9"
        self.head: ResponseHead | None = None  # the final one
        self.is_last = False
        self.body = b""
        self.trailers: list[bytes] = []
        self.end = END
        self.abort_code = 0
        self.is_over = False
        self.has_ended = False
        self.is_aborted = False
        self.pauses = 0
        self.on_resume: Callable[[], None] = lambda: None

    def send_interim(self, head: ResponseHead) -> None:
        assert not self.is_over
        assert self.head is None, "an interim head behind the final one"
        self._calls.append(f"down.interim {head.status}")

    def send_head(self, head: ResponseHead, *, is_last: bool = False) -> None:
        assert not self.is_over
        assert self.head is None, "a second final head"
        self.head = head
        self.is_last = is_last
        self._calls.append(f"down.head {head.status}" + " last" * is_last)

    def send_body(self, data: bytes) -> None:
        assert not self.is_over
        assert self.head is not None, "body before a head"
        assert data, "an empty piece would end a chunked body"
        self.body += data
        self._calls.append("down.body")

    def send_end(self, end: End) -> None:
        assert not self.is_over
        assert self.head is not None, "the end before a head"
        self.is_over = self.head.status != 101 or self.has_ended  # a tunnel ends in two steps, or in one
        self.has_ended = True
        self.trailers = trailer_lines(end)
        self.end = end
        self._calls.append("down.end")

    def flush(self) -> None:
        assert not self.is_over
        self._calls.append("down.flush")

    def abort(self, code: int = -1) -> None:
        assert not self.is_over
        self.is_over = self.is_aborted = True
        self.abort_code = code
        self._calls.append("down.abort")

    def pause_reading(self) -> None:
        self.pauses += 1
        self._calls.append("down.pause")

    def resume_reading(self) -> None:
        assert self.pauses, "resumed more often than paused"
        self.pauses -= 1
        self._calls.append("down.resume")
        self.on_resume()

    def values(self, name: bytes) -> list[str]:
        """The values of a field of the final head."""
        assert self.head is not None
        if self.head.is_http2:
            return [field.value.decode() for field in self.head.fields if field.name == name]
        fields = (line.partition(b": ") for line in self.head.lines[1:])
        return [value.decode() for spelled, _, value in fields if spelled.lower() == name]

    @property
    def decision(self) -> str:
        (value,) = self.values(b"pointsman-decision")
        return value

    @property
    def proxy_status(self) -> str:
        (value,) = self.values(b"proxy-status")
        return value


class RecordingUpstream:
    """`exchange.Upstream`."""

    def __init__(self, calls: list[str], used: list[RecordingUpstream], endpoint: Endpoint) -> None:
        self._calls = calls
        self._used = used
        self._name = f"up({endpoint})"
        self.endpoint = endpoint
        self.is_reused = False
        self.active_at_s = 7.0
        self.lines: list[bytes] = []  # of a head in HTTP/1.1's form
        self.fields: list[tuple[bytes, bytes]] = []  # of one in HTTP/2's
        self.body = b""
        self.trailers: list[bytes] = []
        self.has_request = False  # a head was sent, and nothing ended it yet
        self.is_request_complete = False
        self.is_cancelled = False
        self.pauses = 0
        self.on_body: Callable[[], None] = lambda: None

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        assert not self.has_request
        assert not self.is_cancelled
        self._used.append(self)
        self.has_request = True
        self.is_request_complete = head.body == NO_BODY
        self.lines = list(head.lines)
        self.fields = [(field.name, field.value) for field in head.fields]
        self._calls.append(f"{self._name}.head")

    def send_body(self, data: bytes) -> None:
        assert self.has_request
        assert not self.is_request_complete
        self.body += data
        self._calls.append(f"{self._name}.body")
        self.on_body()

    def send_end(self, end: End) -> None:
        assert self.has_request
        assert not self.is_request_complete
        self.is_request_complete = True
        self.trailers = trailer_lines(end)
        self._calls.append(f"{self._name}.end")

    def cancel(self) -> None:
        assert self.has_request, "cancelled what had ended"
        self.has_request = False
        self.is_cancelled = True
        self._calls.append(f"{self._name}.cancel")

    def pause_reading(self) -> None:
        self.pauses += 1
        self._calls.append(f"{self._name}.pause")

    def resume_reading(self) -> None:
        self.pauses -= 1
        self._calls.append(f"{self._name}.resume")


class RecordingPool:
    """`exchange.UpstreamPool`: idle connections as the test lays them in; new ones stay pending."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls
        self.idle: dict[Endpoint, list[RecordingUpstream]] = {}
        self.pending: list[list[Endpoint]] = []  # for each connection that is being made, whom it has still to try
        self.versions: list[int] = []  # of all that was asked for, in order

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> RecordingUpstream | None:
        self.versions.append(2 if is_http2 else 1)
        for endpoint in endpoints:
            idle = self.idle.get(endpoint)
            if idle:
                upstream = idle.pop()
                upstream.is_reused = True
                return upstream
        return None

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        self.versions.append(2 if is_http2 else 1)
        self.pending.append(list(endpoints))
        self._calls.append(f"connect {endpoints[0]}")


@dataclass
class Script:
    """One exchange and what it talks to. Events are methods; each gives the calls that it led to."""

    table: RoutingTable | None = field(default_factory=lambda: route_table(SANDBOX))
    failure_to_baseline: bool = False
    decision_field: bool = True
    idle: Iterable[Endpoint] = ()
    policy: Policy = field(default_factory=Policy)
    baseline_version: int = AS_IT_CAME
    appends_forwarded: bool = False
    is_looped: bool = False
    watch: Watch | None = None
    place: Place | None = None  # where its request arrives, if not at the sidecar of `table`

    def __post_init__(self) -> None:
        self.calls: list[str] = []
        self.used: list[RecordingUpstream] = []  # that got a request, in order
        self.metrics = Metrics()
        self.pool = RecordingPool(self.calls)
        for endpoint in self.idle:
            self.pool.idle.setdefault(endpoint, []).append(self._upstream(endpoint))
        self.down = RecordingDownstream(self.calls)
        self.down.is_looped = self.is_looped
        if self.place is None:
            self.place = sidecar(self.table, self.policy)
        self.port = Port(
            places=OnePlace(self.place),
            identities=Identities(),
            reader=KeyReader(KeySettings()),
            pool=self.pool,
            metrics=self.metrics,
            failure_to_baseline=self.failure_to_baseline,
            decision_field=self.decision_field,
            appends_forwarded=self.appends_forwarded,
            baseline_version=self.baseline_version,
            watch=self.watch,
        )

    @property
    def up(self) -> RecordingUpstream:
        """The upstream that was used last."""
        return self.used[-1]

    def start(self, head: RequestHead) -> list[str]:
        self.exchange = new_exchange(self.port, self.down, head)
        return self._after(self.exchange.start)

    def connected(self) -> list[str]:
        """The oldest pending connection stands."""
        upstream = self._upstream(self.pool.pending.pop(0)[0])
        return self._after(lambda: self.exchange.connected(upstream))

    def connect_failed(self, reason: Reason = errors.SANDBOX_UNREACHABLE) -> list[str]:
        """The oldest pending one is refused, or silent; the next is tried, as a pool does."""
        return self._after(lambda: self._attempt_failed(reason))

    def _attempt_failed(self, reason: Reason) -> None:
        left = self.pool.pending[0]
        if not self.exchange.is_over:
            self.exchange.attempt_failed(reason, left.pop(0))
        if left and not self.exchange.is_over:
            self.calls.append(f"connect {left[0]}")
            return
        self.pool.pending.pop(0)
        self.exchange.connect_failed()

    def request_body(self, data: bytes = b"ab") -> list[str]:
        return self._after(lambda: self.exchange.request_body(data))

    def request_end(self, end: End = END) -> list[str]:
        return self._after(lambda: self.exchange.request_end(end))

    def response_head(self, status: int = 200, body: int = 2) -> list[str]:
        return self._after(lambda: self.exchange.response_head(response_head(status, body)))

    def response_body(self, data: bytes = b"ok") -> list[str]:
        return self._after(lambda: self.exchange.response_body(data))

    def response_end(self, end: End = END) -> list[str]:
        self.up.has_request = False
        return self._after(lambda: self.exchange.response_end(end))

    def upstream_failed(self, reason: Reason, code: int = NO_CODE) -> list[str]:
        self.up.has_request = False
        return self._after(lambda: self.exchange.upstream_failed(reason, code))

    def does(self, event: Callable[[], None]) -> list[str]:
        """Any other event."""
        return self._after(event)

    def _upstream(self, endpoint: Endpoint) -> RecordingUpstream:
        return RecordingUpstream(self.calls, self.used, endpoint)

    def _after(self, event: Callable[[], None]) -> list[str]:
        before = len(self.calls)
        event()
        return self.calls[before:]

    def assert_finished(self, reason: Reason, status: int) -> None:
        """Counted once, so, and over."""
        kind = "none" if reason.name == "loop" else self.exchange.decision.kind
        assert self.finishes == [(kind, reason.name, min(status // 100, 5))]
        assert self.exchange.is_over
        sent = self.down.head.status if self.down.head is not None else 0
        assert (self.exchange.reason, sent) == (reason, status)

    @property
    def finishes(self) -> list[tuple[str, str, int]]:
        """(kind, reason's name, status class) of each exchange that was counted."""
        return [
            (kind, name, status_class)
            for kind, _, name, status_class, count in self.metrics.requests()
            for _ in range(count)
        ]
