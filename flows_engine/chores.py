"""What must be done now and then: forget what has expired. Each chore is one short transaction and may fail alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

_EVERY_S = 3600.0


class Chores:
    """Does every chore when it starts and then once an hour, in a thread of its own."""

    def __init__(self, chores: Mapping[str, Callable[[], object]]) -> None:
        self._chores = dict(chores)
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
        """Every chore once; one that fails is logged and does not hinder the others."""
        for name, chore in self._chores.items():
            try:
                chore()
            except Exception:
                log.exception("the chore %r failed; it is tried again in an hour", name)

    def _run(self) -> None:
        self.do_all()
        while not self._stopping.wait(_EVERY_S):
            self.do_all()
