"""What the doctor says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pointsman.cli.exits import FINE, NOT_SO, OTHER


class Severity(Enum):
    PROBLEM = "problem"  # requests fail, or go where they should not
    UNKNOWN = "unknown"  # it could not be seen
    WARNING = "warning"  # it works, and may not for long, or not for all
    NOTE = "note"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check`: what was looked at, a stable word. `subject`: of whom. `found` and `todo`: a sentence each."""

    severity: Severity
    check: str
    subject: str
    found: str
    todo: str = ""

    def document(self) -> dict[str, str]:
        return {
            "severity": self.severity.value,
            "check": self.check,
            "subject": self.subject,
            "found": self.found,
            "todo": self.todo,
        }


def problem(check: str, subject: str, found: str, todo: str) -> Finding:
    return Finding(Severity.PROBLEM, check, subject, found, todo)


def warning(check: str, subject: str, found: str, todo: str) -> Finding:
    return Finding(Severity.WARNING, check, subject, found, todo)


def unknown(check: str, subject: str, found: str, todo: str) -> Finding:
    return Finding(Severity.UNKNOWN, check, subject, found, todo)


def note(check: str, subject: str, found: str) -> Finding:
    return Finding(Severity.NOTE, check, subject, found)


def fine(check: str, subject: str, found: str) -> Finding:
    return Finding(Severity.FINE, check, subject, found)


_VERDICTS: Final = {FINE: "healthy", NOT_SO: "not healthy", OTHER: "can't tell"}


def exit_code(findings: Sequence[Finding]) -> int:
    """Warnings are no illness; a problem is one, whatever else could not be seen."""
    severities = {finding.severity for finding in findings}
    if Severity.PROBLEM in severities:
        return NOT_SO
    return OTHER if Severity.UNKNOWN in severities or not findings else FINE


def document(findings: Sequence[Finding]) -> dict[str, object]:
    code = exit_code(findings)
    return {
        "verdict": _VERDICTS[code],
        "exitCode": code,
        "findings": [finding.document() for finding in in_order(findings)],
    }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, else as they were found."""
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))


def text(findings: Sequence[Finding]) -> str:
    """For people: a line for what is fine, two for what is not."""
    lines = []
    for finding in in_order(findings):
        lines.append(f"{finding.severity.value:<8} {finding.subject}: {finding.found}")
        if finding.todo:
            lines.append(f"         -> {finding.todo}")
    counts = [
        f"{sum(finding.severity is severity for finding in findings)} {severity.value}"
        for severity in Severity
        if any(finding.severity is severity for finding in findings)
    ]
    lines.append(f"{_VERDICTS[exit_code(findings)]}: {', '.join(counts) or 'nothing was looked at'}")
    return "\n".join(lines)
