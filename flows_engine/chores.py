"""What must be done now and then: forget what has expired, settle what nobody settles. Each chore is one short transaction
and may fail alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """``do`` is called at the start and then ``every_s`` seconds."""

    name: str
    do: Callable[[], object]
    every_s: float = 3600.0


class Chores:
    """Does every chore in its turn, in a thread of its own."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def do_all(self) -> None:
        """Every chore once."""
        for chore in self._chores:
            _do(chore)

    def _run(self) -> None:
        due = [time.monotonic()] * len(self._chores)
        while self._chores and not self._stopping.wait(max(0.0, min(due) - time.monotonic())):
            for number, chore in enumerate(self._chores):
                if due[number] <= time.monotonic():
                    _do(chore)
                    due[number] = time.monotonic() + chore.every_s


def _do(chore: Chore) -> None:
    """A chore that fails is logged and does not hinder the others."""
    try:
        chore.do()
    except Exception:
        log.exception("the chore %r failed; it is tried again in %g seconds", chore.name, chore.every_s)
