"""Where a mark was lost on its way through services, by what their proxies noted. Pure.

A hop is called by the one whose request was under way all the time that its own was: the innermost, if there are
several. Where there is none (it was called later, or clocks differ) the one that began last before it is taken. So, of
two calls that one service makes at once, the longer may be taken for the caller of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pointsman.doctor.facts import Hop, ProbeFacts
from pointsman.doctor.findings import Finding, fine, note, problem, unknown, warning

_CHECK: Final = "propagation"
_BY_HAND: Final = "let {service} pass it on (OpenTelemetry's propagators tracecontext,baggage do)"
_TODO_BAGGAGE: Final = "send keys in tracestate beside a traceparent, or " + _BY_HAND
_TODO_BOTH: Final = "instrument {service} with OpenTelemetry (propagators tracecontext,baggage), its server and client"


def of_probe(facts: ProbeFacts) -> Iterator[Finding]:
    subject = facts.url
    if facts.error:
        yield problem(
            _CHECK,
            subject,
            f"the marked request got no answer: {facts.error}",
            "see whether the URL is right and what is behind it runs",
        )
    elif facts.status >= 400:
        yield warning(
            _CHECK,
            subject,
            f"the marked request got {facts.status}, so it may not have gone all the way",
            "name a URL that answers GET with 200",
        )
    for why in facts.silent:
        yield unknown(
            _CHECK, subject, f"a proxy does not tell what it saw: {why}", "see --admin and --admin-token-file"
        )
    if not facts.hops:
        if facts.asked and not facts.error:
            yield problem(
                _CHECK,
                subject,
                "no proxy that was asked saw the request: not even the first",
                "send it to a proxy's --listen address, and name the proxies on its way by --admin",
            )
        return
    hops = sorted(facts.hops, key=lambda hop: (hop.began_s, -hop.ended_s))
    lost = list(_lost(subject, hops))
    yield from lost
    way = ", ".join(f"{hop.workload} ({_came(hop)})" for hop in hops)
    tell = note if lost else fine
    yield tell(_CHECK, subject, f"the mark's way: {way}")
    if idle := [proxy for proxy in facts.asked if all(hop.proxy != proxy for hop in facts.hops)]:
        yield note(
            _CHECK,
            subject,
            f"saw nothing of it: {', '.join(idle)}; they were not called, or whoever calls them passes on no header",
        )


def _lost(subject: str, hops: Sequence[Hop]) -> Iterator[Finding]:
    for index, hop in enumerate(hops):
        caller = caller_of(hop, hops[:index])
        had_baggage = caller is None or caller.in_baggage
        had_tracestate = caller is None or caller.in_tracestate
        lost_baggage, lost_tracestate = had_baggage and not hop.in_baggage, had_tracestate and not hop.in_tracestate
        where = f"{caller.workload} and {hop.workload}" if caller else f"{subject} and {hop.workload}, the first hop"
        service = caller.workload if caller is not None else "what stands before the first proxy"
        if (lost_baggage or lost_tracestate) and not hop.in_baggage and not hop.in_tracestate:
            yield problem(
                _CHECK,
                subject,
                f"the key is lost between {where}: neither baggage nor tracestate came on",
                _TODO_BOTH.format(service=service),
            )
        elif lost_baggage:
            yield problem(
                _CHECK,
                subject,
                f"baggage is lost between {where}; tracestate came on",
                _TODO_BAGGAGE.format(service=service),
            )
        elif lost_tracestate:
            yield warning(
                _CHECK,
                subject,
                f"tracestate is lost between {where}; baggage came on",
                "send keys in baggage, or " + _BY_HAND.format(service=service),
            )


def caller_of(hop: Hop, before: Sequence[Hop]) -> Hop | None:
    """Of those that began before it, in order."""
    around = [other for other in before if other.ended_s >= hop.ended_s]
    if around:
        return around[-1]
    return before[-1] if before else None


def _came(hop: Hop) -> str:
    found = [name for name, came in (("baggage", hop.in_baggage), ("tracestate", hop.in_tracestate)) if came]
    return " and ".join(found) or "neither"
