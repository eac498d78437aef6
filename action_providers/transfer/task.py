"""The Transfer task document that transfer and delete actions show, and the counting behind it.

Source of the members: Transfer API, "Task document". A task's id is its action's id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from schemas.json_text import Json
from schemas.times import format_time

from ..provider import Action, Work
from .access import Collection
from .faults import Kind, TransferError

#: Skipped errors that are kept with their path; beyond that they are only counted.
MAX_SKIPPED_ERRORS = 100

_ECHOED: dict[str, Json] = {
    "sync_level": None,
    "verify_checksum": True,
    "preserve_timestamp": False,
    "encrypt_data": False,
    "delete_destination_extra": False,
    "skip_source_errors": False,
    "fail_on_quota_errors": False,
    "recursive_symlinks": "ignore",
    "filter_rules": None,
    "source_local_user": None,
    "destination_local_user": None,
}


@dataclass(slots=True)
class Counters:
    """What has been done so far. Mutable: it lives for one turn of work and is kept as JSON between turns."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    files_transferred: int = 0
    files_skipped: int = 0
    bytes_transferred: int = 0
    bytes_checksummed: int = 0
    faults: int = 0
    succeeded: int = 0
    skipped: int = 0
    skipped_errors: list[dict[str, Json]] = field(default_factory=list)

    @classmethod
    def from_json(cls, document: Mapping[str, Json] | None) -> Counters:
        known = {one.name for one in fields(cls)}
        return cls(**{key: value for key, value in (document or {}).items() if key in known})

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    def skip(self, error: Mapping[str, Json]) -> None:
        """Count a source error that does not end the task."""
        self.skipped += 1
        self.faults += 1
        if len(self.skipped_errors) < MAX_SKIPPED_ERRORS:
            self.skipped_errors.append(dict(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the document says that does not change: the action and the collections it works on."""

    action: Action
    kind: Literal["TRANSFER", "DELETE"]
    source: Collection
    target: Collection | None = None
    deadline: datetime | None = None

    def active(self, counters: Counters, now: datetime) -> dict[str, Json]:
        return self._document("ACTIVE", counters, now)

    def succeeded(self, counters: Counters, now: datetime) -> dict[str, Json]:
        return self._document("SUCCEEDED", counters, now)

    def failed(self, counters: Counters, now: datetime, *, code: str, description: str) -> dict[str, Json]:
        """``code`` and ``description`` stand at the root too, where a flow's author looks for them."""
        error = {"code": code, "description": description}
        document = self._document("FAILED", counters, now)
        return document | {
            **error,
            "fatal_error": error,
            "nice_status": code,
            "nice_status_short_description": code.replace("_", " ").lower(),
            "nice_status_details": description,
            "is_ok": False,
            "subtasks_failed": 1,
        }

    def _document(self, status: str, counters: Counters, now: datetime) -> dict[str, Json]:
        body = self.action.body
        active = status == "ACTIVE"
        elapsed_s = max((now - self.action.started_at).total_seconds(), 0.001)
        found = counters.files + counters.directories + counters.symlinks
        return {
            "DATA_TYPE": "task",
            "task_id": self.action.action_id,
            "type": self.kind,
            "status": status,
            "label": body.get("label") or self.action.label or f"For action id {self.action.action_id}",
            "owner_id": self.action.caller.identity_id,
            "owner_string": self.action.caller.username,
            "username": self.action.caller.username,
            "request_time": format_time(self.action.started_at),
            "completion_time": None if active else format_time(now),
            "deadline": format_time(self.deadline) if self.deadline else None,
            **_side("source", self.source),
            **_side("destination", self.target),
            "is_ok": True if active else None,
            "is_paused": False,
            "nice_status": "OK" if active else None,
            "nice_status_short_description": "OK" if active else None,
            "nice_status_details": None,
            "nice_status_expires_in": None,
            "fatal_error": None,
            "canceled_by_admin": None,
            "canceled_by_admin_message": None,
            "faults": counters.faults,
            "files": counters.files,
            "directories": counters.directories,
            "symlinks": counters.symlinks,
            "files_skipped": counters.files_skipped,
            "files_transferred": counters.files_transferred,
            "bytes_transferred": counters.bytes_transferred,
            "bytes_checksummed": counters.bytes_checksummed,
            "effective_bytes_per_second": int(counters.bytes_transferred / elapsed_s),
            "subtasks_total": found,
            "subtasks_succeeded": counters.succeeded,
            "subtasks_pending": max(found - counters.succeeded - counters.skipped, 0) if active else 0,
            "subtasks_retrying": 0,
            "subtasks_failed": 0,
            "subtasks_canceled": 0,
            "subtasks_expired": 0,
            "subtasks_skipped_errors": counters.skipped,
            "skipped_errors": [dict(one) for one in counters.skipped_errors],
            "event_list": [],
            "history_deleted": False,
            "command": "flows-engine",
            **({key: body.get(key, default) for key, default in _ECHOED.items()} if self.kind == "TRANSFER" else {}),
        }


class Progress:
    """Publishes the document while work goes on, at most every ``interval_s``, and watches the deadline.

    ``tick`` is called often. It raises ``Stop`` when the action is no longer ours, so it must be called before
    anything that cannot be undone.
    """

    def __init__(
        self,
        task: Task,
        counters: Counters,
        work: Work,
        *,
        interval_s: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.task = task
        self.counters = counters
        self._work = work
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._started = self._reported = monotonic()

    @property
    def elapsed_s(self) -> float:
        return self._monotonic() - self._started

    def now(self) -> datetime:
        """The time of the turn's begin, moved on by a clock that never jumps."""
        return self._work.now + timedelta(seconds=self.elapsed_s)

    def tick(self) -> None:
        at = self._monotonic()
        if at - self._reported < self._interval_s:
            return
        self._reported = at
        now = self.now()
        deadline = self.task.deadline
        if deadline is not None and now >= deadline:
            raise TransferError(
                Kind.DEADLINE,
                f"the deadline {format_time(deadline)} passed before the task was done; what was done stays done",
            )
        self._work.report(self.task.active(self.counters, now))


def refused(fault: TransferError, **members: Any) -> dict[str, Json]:
    """Details of a synchronous operation that failed: ``{"code", "description", ...}``."""
    return {"code": fault.operation_code, "description": fault.description, **members}


def _side(side: str, collection: Collection | None) -> dict[str, Json]:
    return {
        f"{side}_endpoint": collection.collection_id if collection else None,
        f"{side}_endpoint_id": collection.collection_id if collection else None,
        f"{side}_endpoint_display_name": collection.display_name if collection else None,
    }
