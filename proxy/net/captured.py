"""A connection that iptables led here instead of to the application (`--transparent`): HTTP is served, all else passes.

**Where it was going** is the kernel's word (`net.original`): the port is the workload's port, whose mappings apply, and
address and port are the baseline. So one listener serves every port of the pod. A connection that was not captured (its
original destination is the listener itself) is refused, 421 `not_captured`: nobody knows what it is for. So is one that
was on its way to an address that is not this machine's (`arrivals`, 421 `not_local`).

**The application is reached at the address that the caller used**, the pod's own, not at 127.0.0.1: what listens on
that address or on all is found as without the proxy, in IPv4 and IPv6; what listens on loopback alone (debug and admin
ports) stays as closed to others as it was, unless `--baseline` names it for its port; and no connection comes from
127.0.0.1, which applications like to trust: it comes from `--upstream-source` (127.0.0.6, as in Istio), else from the
pod's own address. It starts in this network namespace, so rules in PREROUTING do not see it, and those in OUTPUT skip
our uid.

**What it speaks** tell its first bytes (`codec.firstbytes`), as soon as they are certain; a request waits for nothing:

    DETECTING  --HTTP-->                 H1Downstream takes over, which also takes HTTP/2
               --TLS, other bytes-->     PASSING
               --silent for --detect-timeout--> SILENT: the application is connected to, since it may speak first
    SILENT     --the application speaks-->      PASSING (MySQL, SMTP, FTP); but HTTP/2's SETTINGS mean HTTP
               --HTTP-->                 H1Downstream: as long as the application has said nothing, requests are routed
               --other bytes, an end-->  PASSING

Bytes that may still become a request and are followed by a pause are one, if they begin with a method that everybody
uses (`GE`): a lost packet must not lead past a sandbox; then --head-timeout counts. Otherwise they pass (`ruok`).

**PASSING**: bytes both ways, each end by itself, resets as resets, no limit of time. A drain waits for it until
--drain-timeout, since nobody knows what would be cut; then it is reset.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from proxy import errors
from proxy.background import spawn
from proxy.codec.firstbytes import HTTP, TLS, UNDECIDED, first_bytes, is_http_begun
from proxy.errors import Reason
from proxy.net.arrivals import Arrival, Arrivals
from proxy.net.connections import Connections
from proxy.net.downstream import H1Downstream
from proxy.net.passing import PassedUpstream, keep_alive, reset
from proxy.sides import Port

# The ways to pass, as metrics call them.
PASSED_TLS: Final = "tls"
PASSED_OTHER: Final = "other"
PASSED_SERVER_FIRST: Final = "server_first"
PASSED_SILENT: Final = "silent"

_OF_BASELINE: Final = {
    errors.SANDBOX_UNREACHABLE: errors.BASELINE_UNREACHABLE,
    errors.SANDBOX_TIMEOUT: errors.BASELINE_TIMEOUT,
}
_SETTINGS_FRAME: Final = 4
_FRAME_HEADER_BYTES: Final = 9


class Captured:
    """One captured connection, until HTTP is certain, or to its end."""

    __slots__ = (
        "_arrival",
        "_arrivals",
        "_connections",
        "_has_ended",
        "_has_upstream_ended",
        "_held",
        "_is_joined",
        "_is_over",
        "_is_passing",
        "_is_reaching_out",
        "_since_s",
        "_timer",
        "_transport",
        "_upstream",
    )

    _arrival: Arrival
    _transport: asyncio.Transport

    def __init__(self, arrivals: Arrivals, connections: Connections) -> None:
        self._arrivals = arrivals
        self._connections = connections
        self._since_s = connections.now_s
        self._held = b""  # what came before it was certain what it is
        self._timer: asyncio.TimerHandle | None = None
        self._upstream: PassedUpstream | None = None
        self._is_reaching_out = False  # to the application, or has
        self._is_passing = False
        self._is_joined = False  # passing, and the application is connected
        self._has_ended = False  # the client has
        self._has_upstream_ended = False
        self._is_over = False

    @property
    def port(self) -> Port:
        return self._arrival.port

    # --- from the client ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class
        self._arrival = self._arrivals.of(self._transport)
        if self._arrival.application is None or not self._connections.has_room:
            self._refuse()
            return
        self._connections.add(self)
        self._start_timer()

    def _refuse(self) -> None:
        """In HTTP, for those who understand it."""
        self._is_over = True
        successor = H1Downstream(self._arrival.port, self._connections)
        self._transport.set_protocol(cast(asyncio.BaseProtocol, successor))
        successor.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._is_joined:
            if self._upstream is not None:
                self._upstream.transport.write(data)
            return
        is_first = not self._held
        held = self._held = self._held + data
        if self._is_passing:
            return  # read just before it was paused
        verdict = first_bytes(held)
        if verdict == HTTP:
            self._turn_to_http()
        elif verdict != UNDECIDED:
            self._pass(PASSED_TLS if verdict == TLS else PASSED_OTHER)
        elif is_first:
            self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self._arrivals.detect_timeout_s, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if not self._held:
            self._reach_out()
        elif is_http_begun(self._held):
            self._turn_to_http()
        else:
            self._pass(PASSED_OTHER)

    def eof_received(self) -> bool:
        """The client said all that it has to say; it may still listen."""
        self._has_ended = True
        if self._is_joined:
            self._end_upstream()
        elif self._held and is_http_begun(self._held):
            return self._turn_to_http().eof_received()
        elif not self._is_passing:
            self._pass(PASSED_OTHER if self._held else PASSED_SILENT)
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._is_over = True
        self._connections.remove(self)
        if self._is_passing:
            self._arrivals.metrics.passed_connections -= 1
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        if self._has_ended and self._has_upstream_ended:
            upstream.leave()
        else:
            upstream.reset()

    def pause_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream is not None and not self._has_upstream_ended:  # what has ended is never read again
            self._upstream.transport.resume_reading()

    # --- HTTP ---

    def _turn_to_http(self) -> H1Downstream:
        """Another protocol takes the transport over, with what has come."""
        self._stop_timer()
        self._is_over = True
        if self._is_reaching_out:
            self._arrivals.metrics.late_http_connections += 1
        if self._upstream is not None:
            self._upstream.leave()
        successor = H1Downstream(self._arrival.port, self._connections)
        self._connections.replace(self, successor)
        self._transport.set_protocol(cast(asyncio.BaseProtocol, successor))
        successor.take_over(self._transport, self._held)
        return successor

    # --- passing ---

    def _pass(self, how: str) -> None:
        """From here on nothing is looked at."""
        self._stop_timer()
        self._is_passing = True
        metrics = self._arrivals.metrics
        metrics.passed(self._arrival.number, how)
        metrics.passed_connections += 1
        if how == PASSED_TLS:
            self._arrivals.say_encrypted(self._arrival.number)
        if self._upstream is not None:
            self._join(self._upstream)
            return
        self._transport.pause_reading()
        self._reach_out()

    def _reach_out(self) -> None:
        """To the application. Only now is it certain that the other end, if it is ours, is known as ours."""
        if self._is_reaching_out:
            return
        self._is_reaching_out = True
        if self._connections.is_own(self._transport):
            self._arrivals.metrics.refuse(errors.LOOP)
            self._reset()
        else:
            spawn(self._connect(), "connect")

    async def _connect(self) -> None:
        application = self._arrival.application
        assert application is not None
        pool = self._arrivals.pool
        failure: Reason | None = errors.INTERNAL_ERROR  # whatever it is, the client must not hang
        try:
            failure = await pool.open_plain(application, lambda address: PassedUpstream(pool, address, self))
        finally:
            if failure is not None and not self._is_over:
                self._arrivals.metrics.passing_failed(_OF_BASELINE.get(failure, failure))
                self._reset()

    def connected(self, upstream: PassedUpstream) -> None:
        if self._is_over:
            upstream.leave()
            return
        self._upstream = upstream
        if self._is_passing:
            self._join(upstream)

    def _join(self, upstream: PassedUpstream) -> None:
        self._is_joined = True
        keep_alive(self._transport)
        keep_alive(upstream.transport)
        if not self._has_ended:
            self._transport.resume_reading()
        held, self._held = self._held, b""
        if held:
            upstream.transport.write(held)
        if self._has_ended:
            self._end_upstream()

    def _end_upstream(self) -> None:
        if self._upstream is None:
            return
        if self._has_upstream_ended:
            self._close(self._upstream)
        else:
            self._upstream.transport.write_eof()

    def _close(self, upstream: PassedUpstream) -> None:
        """Both have ended: what is buffered goes out first."""
        upstream.transport.close()
        self._transport.close()

    # --- from the application ---

    def application_said(self, data: bytes) -> None:
        if not self._is_passing:
            if _is_http2(data):
                self._turn_to_http()
                return
            self._pass(PASSED_SERVER_FIRST)
        self._transport.write(data)

    def application_ended(self) -> None:
        self._has_upstream_ended = True
        if not self._is_passing:
            self._pass(PASSED_SILENT)
        if self._has_ended and self._upstream is not None:
            self._close(self._upstream)
        else:
            self._transport.write_eof()

    def application_lost(self) -> None:
        self._upstream = None
        if not (self._has_ended and self._has_upstream_ended):
            self._reset()

    def application_is_full(self) -> None:
        self._transport.pause_reading()

    def application_is_free(self) -> None:
        if not self._has_ended:
            self._transport.resume_reading()

    # --- the end ---

    def _reset(self) -> None:
        """Both sides."""
        self._stop_timer()
        if self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            upstream.reset()
        reset(self._transport)

    def check_time(self, now_s: float) -> None:
        """It has its own timer while it waits, and no limit afterwards."""

    def drain(self, idle_since_s: float) -> None:
        """Ends if nobody has said anything; what passes ends by itself, or is cut."""
        if not self._is_passing and not self._held and self._since_s < idle_since_s:
            self._stop_timer()
            if self._upstream is not None:
                self._upstream.leave()
                self._upstream = None
            self._is_over = True
            self._transport.close()

    def cut(self) -> None:
        """The drain's time is over."""
        self._reset()


def _is_http2(data: bytes) -> bool:
    """Whether a server that speaks first speaks HTTP/2: a SETTINGS frame, of the whole connection, opens it (RFC 9113
    section 3.4). Its client must speak first all the same, so nobody waits for this frame."""
    return len(data) >= _FRAME_HEADER_BYTES and data[3] == _SETTINGS_FRAME and data[4:9] == bytes(5) and data[0] == 0
