"""How long to wait before asking a provider again. Pure: the same seed gives the same delay, so that a restarted
worker, a test and a simulation agree; different seeds (a command's id) spread out, so that a crowd does not return as
one."""

from __future__ import annotations

import hashlib
from datetime import timedelta

RETRY_CAP_S = 60.0
RETRY_AFTER_CAP_S = 900.0
POLL_CAP_S = 60.0


def retry_delay(attempt: int, retry_after_s: float | None, seed: str) -> timedelta:
    """Delay after the ``attempt``-th unknown outcome (from 0): full jitter under 1 s * 2**attempt, at most 60 s, on top
    of what the provider asked for (at most 15 minutes)."""
    spread_s = _grown(1.0, 2.0, attempt, RETRY_CAP_S) * _fraction(f"retry:{seed}:{attempt}")
    asked_s = min(max(retry_after_s or 0.0, 0.0), RETRY_AFTER_CAP_S)
    return timedelta(seconds=asked_s + spread_s)


def poll_delay(polls: int, pushes: bool, seed: str) -> timedelta:
    """Delay before poll number ``polls`` (from 0) of an ACTIVE action: 1 s growing by half to 60 s, +-20 %. A provider
    that wakes us is looked at soon, in case it was quick, and then hardly ever."""
    delay_s = _grown(0.05, 3.0, polls, POLL_CAP_S) if pushes else _grown(1.0, 1.5, polls, POLL_CAP_S)
    return timedelta(seconds=delay_s * (0.8 + 0.4 * _fraction(f"poll:{seed}:{polls}")))


def _grown(first_s: float, factor: float, times: int, cap_s: float) -> float:
    return min(first_s * factor ** min(max(times, 0), 64), cap_s)


def _fraction(seed: str) -> float:
    """A number in [0, 1) that only depends on the seed."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48
