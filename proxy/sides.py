"""What an exchange talks to: the two sides of a request, the connections that there are, and what a listener shares.

The exchange does no I/O and knows no HTTP version; `net` implements these, once for each version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from proxy.codec.events import End, RequestHead, ResponseHead
from proxy.errors import Reason
from proxy.identity import Identities
from proxy.places import Places
from proxy.routing.decision import AS_IT_CAME
from proxy.routing.key import KeyReader
from proxy.routing.names import Endpoint
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.watch import Asked, Watch

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.preview.gateway import Gateway

# No HTTP/2 error code is known.
NO_CODE: Final = -1


class Downstream(Protocol):
    """The side that asked: one request's part of a downstream connection."""

    def send_interim(self, head: ResponseHead) -> None:
        """A 1xx head; the final one follows."""

    def send_head(self, head: ResponseHead, *, is_last: bool = False) -> None:
        """`is_last`: no other request can follow this one. Status 101 opens a tunnel."""

    def send_body(self, data: bytes) -> None: ...

    def send_end(self, end: End) -> None:
        """The response is complete; the exchange is over for this side, unless it is a tunnel's first end."""

    def flush(self) -> None:
        """What was sent goes out now; called once when the upstream has said all that it has to say for now."""

    def abort(self, code: int = NO_CODE) -> None:
        """The response can't be completed: the stream ends so that nobody takes it for complete.

        `code`: the HTTP/2 error code with which the upstream ended its stream.
        """

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def is_looped(self) -> bool:
        """The connection was made by this very proxy."""

    @property
    def peer(self) -> bytes:
        """The caller's address, as in `X-Forwarded-For`."""


class Upstream(Protocol):
    """The side that answers: one request's part of an upstream connection."""

    endpoint: Endpoint
    is_reused: bool
    active_at_s: float  # on the clock of `net`: when bytes last went either way

    def send_head(self, head: RequestHead, exchange: Exchange) -> None: ...

    def send_body(self, data: bytes) -> None: ...

    def send_end(self, end: End) -> None: ...

    def cancel(self) -> None:
        """Nobody wants the response any more."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class UpstreamPool(Protocol):
    """Connections to endpoints; which of several, and to which of its addresses, is the pool's choice."""

    def take(self, endpoints: Sequence[Endpoint], *, is_http2: bool) -> Upstream | None:
        """An idle connection that speaks this version, or room on a shared one; or None."""

    def connect(self, endpoints: Sequence[Endpoint], exchange: Exchange, *, is_http2: bool) -> None:
        """Makes a new connection, trying each address once. Calls `exchange.attempt_failed` for those that fail, and in
        the end `exchange.connected` or `exchange.connect_failed`."""


NOBODY_ASKS: Final = Asked()


@dataclass(frozen=True, slots=True)
class Port:
    """What all exchanges of one listener share."""

    places: Places
    identities: Identities
    reader: KeyReader
    pool: UpstreamPool
    metrics: Metrics
    failure_to_baseline: bool
    decision_field: bool
    appends_forwarded: bool = False
    baseline_version: int = AS_IT_CAME
    gateway: Gateway | None = None  # a router's, for hosts of previews
    watch: Watch | None = None
    asked: Asked = NOBODY_ASKS

    def refuse(self, reason: Reason, peer: bytes) -> None:
        """What was no request, so that no exchange tells of it."""
        self.metrics.refuse(reason)
        if self.watch is not None:
            self.watch.refused(reason, peer)
