"""Times: aware UTC ``datetime`` inside, RFC 3339 with offset on the wire, integer microseconds in the database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_rfc3339(text: str) -> datetime:
    """Time of an RFC 3339 date-time with an offset, in UTC.

    Raises:
        ValueError: with a sentence that says what would be right.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?", text, re.ASCII):
            raise ValueError(f"the time {text!r} has no zone; add Z or an offset such as +02:00")
        raise ValueError(f"{text[:64]!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if second == 60:
        raise ValueError(f"{text!r}: leap seconds are not supported")
    fraction = (match[7] or "").ljust(6, "0")[:6]
    try:
        naive = datetime(year, month, day, hour, minute, second, int(fraction), tzinfo=UTC)
        return naive - _offset(match[8])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a date and time of the calendar: {error}") from error


def format_time(at: datetime) -> str:
    """RFC 3339 with microseconds and ``+00:00``, the form the Globus services use."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def to_us(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """Inverse of ``to_us``."""
    return _EPOCH + timedelta(microseconds=value)


def _offset(zone: str) -> timedelta:
    if zone in "Zz":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"the offset {zone} is out of range")
    size = timedelta(hours=hours, minutes=minutes)
    return size if zone[0] == "+" else -size
