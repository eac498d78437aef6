"""The real clock. Tests pass a virtual one to the same constructors."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Wall time of this process, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)
