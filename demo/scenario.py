"""What the demo sends, and what must come of it: the rows of SPEC 4 that a user meets first, as data.

A step holds if every hop was answered by whom it should be, for the reason it should be, with the key in the header
that it was sent in, if nobody else was asked, and if the witnesses of each hop agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from demo.hops import NO_KEY, NOBODY, Hop, Journey
from demo.topology import BASELINE, BEHIND, ENTRY, FIRST, PENDING, SECOND, UNKNOWN_KEY, Sandbox, chain

_TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    headers: Mapping[str, str]
    status: int
    hops: tuple[Hop, ...]
    proves: str
    says: str = ""  # stands in the answer

    def faults(self, journey: Journey) -> list[str]:
        """What is not as it should be."""
        return [*self._differences(journey), *journey.doubts]

    def _differences(self, journey: Journey) -> Iterator[str]:
        if journey.status != self.status:
            yield f"the answer is {journey.status}, should be {self.status}"
        if self.says not in journey.result:
            yield f"the answer does not say {self.says}: {journey.result}"
        came, should = ({hop.service: hop for hop in hops} for hops in (journey.hops, self.hops))
        for service in came | should:
            if came.get(service) != should.get(service):
                yield f"{service}: {_told(came.get(service))}; should be: {_told(should.get(service))}"


def _told(hop: Hop | None) -> str:
    return f"answered by {hop.answered_by}, why {hop.why}, key {hop.arrived}" if hop else "not asked"


def _served(reason: str, key: str = NO_KEY, sandbox: Sandbox | None = None) -> tuple[Hop, ...]:
    """A request that travels the whole chain: to the baseline for this reason, to the sandbox at its one service."""
    return tuple(
        Hop(depth, service, sandbox.name, "route", key)
        if sandbox and service == sandbox.fork_of
        else Hop(depth, service, BASELINE, reason, key)
        for depth, service in chain()
    )


def _stopped(reason: str, key: str, sandbox: Sandbox) -> tuple[Hop, ...]:
    """A request that the sidecar of the forked service answers, so that nobody behind it is asked."""
    behind = {service for _, service in chain(sandbox.fork_of)}
    return tuple(
        Hop(hop.depth, hop.service, NOBODY, reason, NO_KEY) if hop.service == sandbox.fork_of else hop
        for hop in _served("not_forked", key)
        if hop.service not in behind - {sandbox.fork_of}
    )


def _refused(reason: str) -> tuple[Hop, ...]:
    """A request that the first sidecar answers itself."""
    return (Hop(0, ENTRY, NOBODY, reason, NO_KEY),)


def _baggage(key: str, *more: str) -> dict[str, str]:
    return {"baggage": ",".join((f"sd-routing-key={key}", *more))}


def _tracestate(key: str) -> dict[str, str]:
    """Instrumented services pass tracestate on only beside a traceparent (W3C Trace Context 3.3)."""
    return {"traceparent": _TRACEPARENT, "tracestate": f"sd-routing-key={key}"}


# With FIRST in the table.
BEFORE: Final = (
    Step(
        "no key",
        {},
        200,
        _served("no_key"),
        "Without a key, the baseline answers at every hop.",
    ),
    Step(
        f"the key of sandbox {FIRST.name}, in baggage",
        _baggage(FIRST.routing_key),
        200,
        _served("not_forked", f"baggage: {FIRST.routing_key}", FIRST),
        f"With its key in baggage, {FIRST.name} answers at one hop of five, the third in a row, and the baseline at "
        "the other four. That hop is a gRPC call, with baggage in its metadata. The services passed the key on by "
        "OpenTelemetry alone.",
    ),
    Step(
        f"the key of sandbox {FIRST.name}, in tracestate",
        _tracestate(FIRST.routing_key),
        200,
        _served("not_forked", f"tracestate: {FIRST.routing_key}", FIRST),
        "A key in tracestate does the same.",
    ),
    Step(
        f"the key of sandbox {BEHIND.name}, in baggage",
        _baggage(BEHIND.routing_key),
        200,
        _served("not_forked", f"baggage: {BEHIND.routing_key}", BEHIND),
        f"A key goes through a gRPC service too: {BEHIND.name} answers at the hop after it, an HTTP/1.1 request.",
    ),
    Step(
        f"the key of sandbox {PENDING.name}, which is not ready",
        _baggage(PENDING.routing_key),
        502,
        _stopped("no_destination", f"baggage: {PENDING.routing_key}", PENDING),
        "A sandbox that does not answer is an error, never silently the baseline. The gRPC caller got its sidecar's "
        "503 as the status UNAVAILABLE.",
        says="UNAVAILABLE: pointsman: no_destination",
    ),
    Step(
        "a key that no sandbox has",
        _baggage(UNKNOWN_KEY),
        200,
        _served("unknown_key", f"baggage: {UNKNOWN_KEY}"),
        "A key that no sandbox has leads to the baseline, and every sidecar counts it.",
    ),
    Step(
        "the same key, strict",
        _baggage(UNKNOWN_KEY, "sd-strict=1"),
        424,
        _refused("unknown_key"),
        "A strict request with such a key fails at the first sidecar: no service is asked, no test passes by mistake.",
    ),
)

# With SECOND in the table, and FIRST out of it.
AFTER: Final = (
    Step(
        f"the new key, of sandbox {SECOND.name}, in baggage",
        _baggage(SECOND.routing_key),
        200,
        _served("not_forked", f"baggage: {SECOND.routing_key}", SECOND),
        f"A key that the table got while everything ran leads to {SECOND.name}. Nothing was restarted.",
    ),
    Step(
        f"the old key, of sandbox {FIRST.name}, now gone",
        _baggage(FIRST.routing_key),
        424,
        _refused("gone_key"),
        "A key that left the table is refused, instead of testing the baseline unnoticed.",
    ),
)
