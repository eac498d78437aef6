"""How long to wait before a call is made again: longer each time, never in step with other agents."""

from __future__ import annotations

import random

_FIRST_S = 0.25
_LONGEST_S = 10.0


class Backoff:
    """Starts anew after ``reset``."""

    def __init__(self, *, first_s: float = _FIRST_S, longest_s: float = _LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._random = random.Random()  # noqa: S311 - jitter guards nothing
        self.reset()

    def reset(self) -> None:
        self._next_s = self._first_s
        self.failures = 0

    def next_s(self) -> float:
        """The pause before the next try."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        self.failures += 1
        return pause_s * self._random.uniform(0.5, 1.0)
