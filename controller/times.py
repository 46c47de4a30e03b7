"""Timestamps and durations as documents write them.

Timestamps are RFC 3339 in UTC, `2026-11-25T10:00:00Z`, as Kubernetes writes them; a fraction of a second is kept, since
two objects may be made within one second and the older wins. Other offsets are read, never written.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

TIMESTAMP_RULE: Final = "a timestamp like 2026-11-25T10:00:00Z"
DURATION_RULE: Final = "a duration like 30m, 4h, 2d or 1w, at most a year"

# RFC 3339 section 5.6. Leap seconds are not read.
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,7})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MAX_DURATION_S: Final = 366 * 86400


def parse_timestamp(text: str) -> datetime | None:
    """The time in UTC, to the microsecond; None if the text is no timestamp."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, hours, minutes = match.group(7, 8, 9, 10)
    zone = UTC
    try:
        if sign:
            if int(minutes) > 59:
                return None
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        microsecond = int((fraction or "0")[:6].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def timestamp(time: datetime) -> str:
    """The text of a time in UTC."""
    return time.replace(tzinfo=None).isoformat() + "Z"


def parse_duration(text: str) -> timedelta | None:
    """One number and one unit; None if the text is no duration, or one of more than a year."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = int(match[1]) * _UNITS[match[2]]
    return timedelta(seconds=seconds) if seconds <= _MAX_DURATION_S else None
