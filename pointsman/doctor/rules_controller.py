"""What is the matter with a controller, and with the proxies that it knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pointsman.doctor.facts import ControllerFacts
from pointsman.doctor.findings import Finding, fine, note, problem, unknown
from pointsman.doctor.rules_common import of_clock

_SHOWN: Final = 10


def of_controller(facts: ControllerFacts) -> Iterator[Finding]:
    yield from of_reached(facts)
    if facts.unreachable:
        return
    subject = f"controller {facts.url}"
    for place, faults in facts.faults[:_SHOWN]:
        yield problem(
            "store",
            subject,
            f"{place} can't be read: {'; '.join(faults[:3])}",
            "correct the file; until then its objects are missing or in an older state",
        )
    yield from _proxies(subject, facts)
    for refused in facts.refused:
        yield unknown("allowed", subject, refused, "name a file with a token that may read all: --token-file")


def of_reached(facts: ControllerFacts) -> Iterator[Finding]:
    """What whoever reaches it sees."""
    subject = f"controller {facts.url}"
    if facts.unreachable:
        yield problem(
            "reachable",
            subject,
            f"it can't be reached: {facts.unreachable}",
            "start it, or correct the URL; proxies keep their last table meanwhile, and hear of no change",
        )
        return
    if facts.status != 200:
        yield problem(
            "ready",
            subject,
            f"it is not ready: {facts.ready_text.removeprefix('not ready: ').strip()}",
            "wait until its store is read, else see its log",
        )
    elif "but" in facts.ready_text:
        yield problem(
            "store",
            subject,
            f"its store has a fault: {facts.ready_text.partition('but ')[2].strip()}",
            "see that its folder and --state-dir can be written and the disk is not full",
        )
    else:
        yield fine("ready", subject, "it is ready")
    yield from of_clock(subject, facts.ahead_s, facts.vague_s)


def _proxies(subject: str, facts: ControllerFacts) -> Iterator[Finding]:
    current = 0
    for proxy in facts.proxies:
        name = f"proxy {proxy.get('id')} of {proxy.get('workload') or 'all services (router)'}"
        faults = proxy.get("faults")
        if proxy.get("isConnected") is not True:
            yield problem(
                "proxies",
                subject,
                f"{name} is missing since {proxy.get('since')}: it went without a goodbye",
                "see whether its pod runs and reaches the controller; who is gone for good is forgotten in 10 minutes",
            )
        elif isinstance(faults, list) and faults:
            yield problem(
                "proxies",
                subject,
                f"{name} refuses routes: {'; '.join(map(str, faults[:3]))}",
                "correct the sandbox, or take the same release for proxy and controller",
            )
        elif proxy.get("isCurrent") is not True:
            yield problem(
                "proxies",
                subject,
                f"{name} is behind: it has table {proxy.get('tableVersion')}",
                "see whether its process is stopped or starved of CPU",
            )
        else:
            current += 1
    if current:
        yield fine("proxies", subject, f"{current} of {len(facts.proxies)} proxies are up to date")
    elif not facts.proxies and not facts.refused:
        yield note("proxies", subject, "no proxy is attached")
