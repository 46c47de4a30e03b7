"""Columns for people, and the words for times in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.times import parse_timestamp


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """A table without rules; no blanks at the ends of lines."""
    lines = [head, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(head))]
    return "\n".join(
        indent + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def ago(timestamp: object, now: datetime) -> str:
    """How long a time is past, or ahead, in one number: `3m`, `5h`."""
    time = parse_timestamp(timestamp) if isinstance(timestamp, str) else None
    if time is None:
        return "-"
    seconds = abs(int((now - time).total_seconds()))
    for unit, size, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def workload_name(baseline: object) -> str:
    """`{kind, namespace, name}` as `namespace/kind/name`."""
    if not isinstance(baseline, dict):
        return "-"
    return "/".join(str(baseline.get(field, "?")) for field in ("namespace", "kind", "name"))
