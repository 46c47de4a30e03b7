"""What is the matter with baselines, names and clocks, of whomever. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pointsman.doctor.facts import BaselineFacts, NameFacts
from pointsman.doctor.findings import Finding, fine, note, problem, unknown, warning

# A Date has whole seconds. `verify --since` moves a time by what it knows of the difference; people reading logs don't.
_SKEW_S: Final = 2.0
_GREAT_SKEW_S: Final = 60.0


def of_baseline(subject: str, facts: BaselineFacts) -> Iterator[Finding]:
    check, spoken = "baseline", facts.spoken
    if spoken.unreachable:
        yield problem(
            check,
            subject,
            f"the baseline {facts.address} can't be connected to: {spoken.unreachable}",
            "start the application, or correct --baseline to the address that it listens on",
        )
        return
    if spoken.tls and not spoken.http1 and not spoken.http2:
        yield problem(
            check,
            subject,
            f"the baseline {facts.address} speaks TLS, which the proxy does not",
            "let the application serve plain HTTP on a port for the proxy, or leave this port out",
        )
        return
    speaks = " and ".join(
        name for name, is_so in (("HTTP/1.1", spoken.http1), ("HTTP/2 without TLS", spoken.http2)) if is_so
    )
    if not speaks:
        yield problem(
            check,
            subject,
            f"the baseline {facts.address} accepts connections, and answers neither HTTP/1.1 nor HTTP/2",
            "see whether the application hangs, or speaks another protocol on this port",
        )
    elif facts.configured == "http" and not spoken.http1:
        yield problem(
            check,
            subject,
            f"the baseline {facts.address} speaks {speaks} only, and --baseline-protocol says http",
            "say --baseline-protocol http2, or auto",
        )
    elif facts.configured == "http2" and not spoken.http2:
        yield problem(
            check,
            subject,
            f"the baseline {facts.address} speaks {speaks} only, and --baseline-protocol says http2",
            "say --baseline-protocol http, or auto",
        )
    elif facts.configured == "auto" and not spoken.http1:
        yield fine(check, subject, f"the baseline {facts.address} speaks {speaks}")
        yield note(
            check,
            subject,
            f"callers that speak HTTP/1.1 get 502 from the baseline {facts.address}; --baseline-protocol http2 would"
            " translate",
        )
    else:
        yield fine(check, subject, f"the baseline {facts.address} speaks {speaks}")


def of_names(subject: str, names: list[NameFacts]) -> Iterator[Finding]:
    for facts in names:
        if facts.error:
            yield problem(
                "names",
                subject,
                f"{facts.name} ({facts.what}) can't be looked up: {facts.server} does not answer ({facts.error})",
                "see whether the name server can be reached from here, or name another one by --dns-server",
            )
        elif not facts.addresses:
            yield problem(
                "names",
                subject,
                f"{facts.name} ({facts.what}) does not exist, says {facts.server}",
                "correct the name, or make the Service that it stands for",
            )
    good = sum(1 for facts in names if facts.addresses)
    if good:
        yield fine("names", subject, f"{good} of {len(names)} names resolve")


def of_clock(subject: str, ahead_s: float | None, vague_s: float) -> Iterator[Finding]:
    """`ahead_s`: the controller's clock before ours."""
    check = "clock"
    if ahead_s is None:
        yield unknown(check, subject, "it sends no Date, so clocks can't be compared", "compare `date -u` on both")
        return
    off_s = max(abs(ahead_s) - vague_s, 0.0)
    word = "behind" if ahead_s > 0 else "ahead of"
    if off_s >= _GREAT_SKEW_S:
        yield problem(
            check,
            subject,
            f"the clock of this machine is {off_s:.0f} s {word} the controller's: expiry and `--since` would be wrong",
            "set the clock by NTP (chronyc tracking, timedatectl)",
        )
    elif off_s >= _SKEW_S:
        yield warning(
            check,
            subject,
            f"the clock of this machine is {off_s:.0f} s {word} the controller's",
            "set the clock by NTP (chronyc tracking, timedatectl)",
        )
    else:
        yield fine(check, subject, "its clock and this machine's agree within 2 s")
