"""Callers that were looked up a moment ago, so that a burst of requests with one token reads the database once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.principals import Caller

#: A token revoked through another process is refused after this time at the latest.
MAX_AGE = timedelta(seconds=30)
_MAX_CALLERS = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    until: datetime


class RecentCallers:
    """Callers by token digest, for at most ``age`` and never beyond the token's end. Safe to share between threads."""

    def __init__(self, age: timedelta) -> None:
        if age > MAX_AGE:
            raise ValueError(f"callers may be kept for at most {MAX_AGE.total_seconds():.0f} s, not {age}")
        self._age = age
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """Read it before looking a caller up; ``keep`` refuses what was looked up before the last ``clear``."""
        return self._generation

    def get(self, digest: str, *, now: datetime) -> Caller | None:
        entry = self._entries.get(digest)
        return entry.caller if entry is not None and now < entry.until else None

    def keep(self, digest: str, caller: Caller, *, expires_at: datetime, now: datetime, generation: int) -> None:
        if not self._age:
            return
        with self._lock:
            if generation != self._generation:
                return  # something was revoked since the caller was read: it may have been this token
            if len(self._entries) >= _MAX_CALLERS:
                self._entries.clear()
            self._entries[digest] = _Entry(caller, min(now + self._age, expires_at))

    def clear(self) -> None:
        """Forget everybody, because a token, an identity or a group may have changed."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
