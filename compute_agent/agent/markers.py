"""Start markers: whoever makes a task's file first, worker or agent, decides whether the task starts.

A worker makes it before it runs the function, and leaves its report in it afterwards. The agent makes it to keep a task
from starting that it cancels or gives back, and to learn whether one that was lost had begun. Files that the agent made
stay until no worker can ask any more.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from schemas.json_text import loads_trusted

from ..engines.base import Report
from .book import Held

log = logging.getLogger(__name__)

_BY_AGENT = b"kept from starting by the agent\n"
#: A worker that outlived its agent does not ask for a marker after so long.
_OLD_S = 7 * 24 * 3600.0


class Markers:
    """``is_used`` is False when the configuration switches markers off: then every task may have begun."""

    def __init__(self, directory: Path, *, is_used: bool = True) -> None:
        self._directory = directory
        self.is_used = is_used
        self._taken: set[Held] = set()
        self._lock = threading.Lock()
        if is_used:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, held: Held) -> str:
        """What the engine's task carries; empty when markers are not used."""
        return str(self._directory / held.marker_name) if self.is_used else ""

    def take(self, held: Held) -> bool:
        """Keep the task from starting. False when it has begun, or when that cannot be ruled out."""
        if not self.is_used:
            return False
        with self._lock:
            try:
                descriptor = os.open(self.path(held), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_BY_AGENT)
            except FileExistsError:
                return held in self._taken or self._was_taken(held)
            except OSError as error:
                log.warning("a start marker cannot be made", extra={"task": held.task_id, "reason": str(error)})
                return False
            self._taken.add(held)
            return True

    def report(self, held: Held) -> Report | None:
        """What a worker left in the marker when it was done, in case the report itself was lost on the way."""
        try:
            text = Path(self.path(held)).read_bytes() if self.is_used else b""
            report = loads_trusted(text) if text.startswith(b"{") else None
        except (OSError, ValueError):  # gone, or not written to its end
            return None
        return report if isinstance(report, dict) else None

    def finished(self, held: Held) -> None:
        """The worker has reported what became of the task, and that is on disk."""
        if self.is_used and held not in self._taken:
            self._remove(held)

    def revoked(self, held: Held) -> bool:
        """A worker found a marker and did not start the task; it will not ask again. Whether the marker was the agent's,
        so that no other worker has started the task either."""
        with self._lock:  # the agent may be making it at this moment
            if held not in self._taken:
                return False
            self._taken.discard(held)
        self._remove(held)
        return True

    def sweep(self) -> None:
        """Remove what sessions long past left behind."""
        if not self.is_used:
            return
        oldest = time.time() - _OLD_S
        with os.scandir(self._directory) as found:
            for one in found:
                if one.stat(follow_symlinks=False).st_mtime < oldest:
                    Path(one.path).unlink(missing_ok=True)

    def _was_taken(self, held: Held) -> bool:
        """Whether the agent of an earlier session made the marker."""
        try:
            return Path(self.path(held)).read_bytes() == _BY_AGENT
        except OSError:
            return False

    def _remove(self, held: Held) -> None:
        try:
            os.unlink(self._directory / held.marker_name)  # noqa: PTH108 - one of two calls per task: no Path objects
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("a start marker cannot be removed", extra={"task": held.task_id, "reason": str(error)})
