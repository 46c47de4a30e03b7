from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.times import parse_duration, parse_timestamp, timestamp


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25t10:00:00z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T10:00:00.5Z", "2026-11-25T10:00:00.500000Z"),
        ("2026-11-25T10:00:00.123456789Z", "2026-11-25T10:00:00.123456Z"),
        ("2026-11-25T10:00:00+02:30", "2026-11-25T07:30:00Z"),
        ("2026-11-25T10:00:00-00:30", "2026-11-25T10:30:00Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
    ],
)
def test_timestamps(text: str, written: str) -> None:
    time = parse_timestamp(text)
    assert time is not None
    assert time.tzinfo is UTC
    assert timestamp(time) == written
    assert parse_timestamp(written) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-25",
        "2026-11-25T10:00:00",
        "2026-11-25 10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-25T24:00:00Z",
        "2026-11-25T10:00:60Z",
        "2026-11-25T10:00:00+25:00",
        "2026-11-25T10:00:00+01:60",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-25T10:00:00Z\n",
        "\u0662026-11-25T10:00:00Z",
    ],
)
def test_no_timestamps(text: str) -> None:
    assert parse_timestamp(text) is None


def test_timestamps_of_now() -> None:
    now = datetime.now(UTC)
    assert parse_timestamp(timestamp(now)) == now


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("30m", timedelta(minutes=30)),
        ("4h", timedelta(hours=4)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("366d", timedelta(days=366)),
        *[(text, None) for text in ("367d", "99999999w", "0h", "-1h", "1", "h", "1h30m", "1.5h", " 1h", "1h\n", "")],
    ],
)
def test_durations(text: str, duration: timedelta | None) -> None:
    assert parse_duration(text) == duration
