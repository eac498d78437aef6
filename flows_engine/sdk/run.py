"""A run, as a handle: look at it, wait for its end, follow its log, steer it.

Waiting asks the service again and again: after 50 ms first, then ever less often up to once a second, and at once more
often when something has happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from compute_agent.errors import ClientError
from flows_engine import policy
from schemas.json_text import Json
from schemas.scopes import flow_scope

if TYPE_CHECKING:
    from compute_agent.connection import Http

#: Statuses that nothing changes any more.
FINAL = frozenset({"SUCCEEDED", "FAILED", "ENDED"})

_FIRST_POLL_S = 0.05
_LONGEST_POLL_S = 1.0
_LOG_PAGE = 100

OnEvent = Callable[[dict[str, Json]], None]


class RunNotFinishedError(ClientError):
    """The time given to ``wait`` has passed; the run goes on."""


class Run:
    """``document`` is the run as the service last showed it."""

    def __init__(self, http: Http, document: dict[str, Json], *, pause: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._pause = pause
        self.document = document

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.status}>"

    @property
    def run_id(self) -> str:
        return str(self.document["run_id"])

    @property
    def flow_id(self) -> str:
        return str(self.document["flow_id"])

    @property
    def status(self) -> str:
        """``ACTIVE``, ``INACTIVE`` (waits for somebody), ``SUCCEEDED``, ``FAILED`` (cancelled runs, too) or ``ENDED``."""
        return str(self.document["status"])

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def output(self) -> Json:
        """The data the run ended with; None unless it has succeeded."""
        return self.details.get("output") if self.status == "SUCCEEDED" else None

    @property
    def details(self) -> dict[str, Json]:
        """What the service says about the status: ``code``, ``description`` and more."""
        details = self.document.get("details")
        return details if isinstance(details, dict) else {}

    def refresh(self) -> Run:
        """Ask the service how the run stands."""
        self.document = self._call("GET", "")
        return self

    def log(self, *, newest_first: bool = False) -> Iterator[dict[str, Json]]:
        """Entries of the log: ``{"time", "code", "description", "details"}``."""
        query: dict[str, Json] = {"limit": _LOG_PAGE, "reverse_order": newest_first}
        while True:
            page = self._call("GET", "/log", query=query)
            yield from page["entries"]
            if not page.get("has_next_page"):
                return
            query = {"marker": page["marker"]}

    def wait(self, timeout_s: float | None = None, on_event: OnEvent | None = None) -> Run:
        """Wait until the run has ended, or stands still until somebody acts (INACTIVE).

        ``on_event`` is called with every entry of the log, those from before included.

        Raises:
            RunNotFinishedError: ``timeout_s`` has passed first.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        reader = _LogReader(self)
        poll_s = _FIRST_POLL_S
        while True:
            before = self.status
            self.refresh()
            news = reader.new_entries() if on_event is not None else []
            for entry in news:
                assert on_event is not None
                on_event(entry)
            if self.is_final or self.status == "INACTIVE":
                return self
            poll_s = _FIRST_POLL_S if news or self.status != before else min(poll_s * 1.5, _LONGEST_POLL_S)
            if deadline is not None and time.monotonic() + poll_s > deadline:
                raise RunNotFinishedError(f"the run {self.run_id} is still {self.status} after {timeout_s:g} s")
            self._pause(poll_s)

    def cancel(self) -> Run:
        """End the run; one that has ended stays as it is."""
        self.document = self._call("POST", "/cancel", repeatable=True)
        return self

    def resume(self) -> Run:
        """Let an INACTIVE run go on."""
        self.document = self._call("POST", "/resume", scope=flow_scope(self.flow_id), repeatable=True)
        return self

    def release(self) -> dict[str, Json]:
        """Remove the run, which must have ended, and its log; gives its last document."""
        return self._call("POST", "/release")

    def update(self, **changes: Json) -> Run:
        """Change ``label``, ``tags``, ``run_managers`` or ``run_monitors``."""
        self.document = self._call("PUT", "", body=changes, repeatable=True)
        return self

    def _call(
        self,
        method: str,
        path: str,
        *,
        scope: str = policy.ALL,
        query: dict[str, Json] | None = None,
        body: Json = None,
        repeatable: bool = False,
    ) -> dict[str, Json]:
        document: dict[str, Json] = self._http.call(
            method,
            f"/flows/runs/{quote(self.run_id, safe='')}{path}",
            scope=scope,
            query=query,
            body=body,
            repeatable=repeatable,
        )
        return document

    def _log_page(self, marker: str | None) -> dict[str, Json]:
        return self._call("GET", "/log", query={"limit": _LOG_PAGE} if marker is None else {"marker": marker})


class _LogReader:
    """Reads a log that grows. A marker is only given for a full page, so the last page is read again and again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._marker: str | None = None
        self._seen = 0

    def new_entries(self) -> list[dict[str, Json]]:
        """Entries since the last call, oldest first."""
        found: list[dict[str, Json]] = []
        while True:
            page = self._run._log_page(self._marker)
            found += page["entries"][self._seen :]
            if not page.get("has_next_page"):
                self._seen = len(page["entries"])
                return found
            self._marker, self._seen = page["marker"], 0
