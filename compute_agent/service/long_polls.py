"""Places for requests that wait: a server has a fixed number of threads, and not all of them may wait at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: When a client that found no place should ask again.
RETRY_AFTER_S = 1


class Places:
    """As many requests as there are places wait at a time; the others are answered at once."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number) if number else None

    @contextmanager
    def take(self, wait_s: float) -> Iterator[float]:
        """How long the request may wait: ``wait_s``, or 0 when no place is free."""
        if not wait_s or self._free is None or not self._free.acquire(blocking=False):
            yield 0.0
            return
        try:
            yield wait_s
        finally:
            self._free.release()
