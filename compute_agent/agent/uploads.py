"""Uploads: outcomes go to the journal and then to the service, all that are there in one batch each.

A batch that the service cannot take is taken apart, so that one outcome never holds up the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from ..errors import ApiError, ClientError
from ..wire import MIB, ErrorCode, Outcome, TaskState
from .backoff import Backoff
from .book import Held
from .desk import Desk
from .endings import ending_of
from .journal import JournalFull
from .outcomes import failed
from .service_link import Receipt, ServiceLink, is_passing

log = logging.getLogger(__name__)

_MOST_OUTCOMES = 500
_MOST_BYTES = 8 * MIB
#: With so many unfinished tasks an outcome waits so long for others.
_MANY = 8
_GATHER_S = 0.01
#: Statuses that say that this very body cannot be taken.
_REFUSED_BODY = frozenset({400, 413, 422})


class Uploader:
    """``announce_after_s`` is how long a task must run before the service is told that it does, so that short ones cost
    no call."""

    def __init__(self, desk: Desk, link: ServiceLink, *, announce_after_s: float = 0.25) -> None:
        self._desk = desk
        self._link = link
        self._announce_after_s = announce_after_s
        self._backoff = Backoff()
        self._is_closing = False
        self._retry_now = threading.Event()
        self._thread = threading.Thread(target=desk.watched(self._run), name="uploads", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, *, within_s: float) -> bool:
        """Upload what there is and end; False when the time did not suffice (the journal keeps the rest)."""
        with self._desk.lock:
            self._is_closing = True
            self._desk.outgoing.notify_all()
        self._retry_now.set()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._wait():
            self._gather()
            with self._desk.lock:
                outcomes = self._desk.book.unsent(most=_MOST_OUTCOMES, most_bytes=_MOST_BYTES)
                running = self._desk.book.announce()
            self._record(outcomes)
            try:
                self._send(running, outcomes)
            except ClientError as error:
                with self._desk.lock:
                    self._desk.book.announce_again(running)
                if (ending := ending_of(error)) is not None:
                    self._desk.end(ending)
                    if not ending.settles:
                        return
                self._pause(error)
            else:
                self._backoff.reset()

    def _gather(self) -> None:
        """While many tasks are under way, a call carries the outcomes of some milliseconds: it costs as much as many."""
        if self._desk.book.unfinished >= _MANY:
            self._retry_now.wait(_GATHER_S)

    def _wait(self) -> bool:
        """Until there is something to say; False when the agent ends and there is nothing more."""
        desk, due = self._desk, 0.0
        with desk.lock:
            if desk.ending is not None and not desk.ending.settles:
                return False
            while not desk.book.has_unsent:
                if self._is_closing:
                    return False
                if not desk.book.has_unannounced:
                    due = 0.0
                    desk.is_uploader_idle = True
                    desk.outgoing.wait()
                    desk.is_uploader_idle = False
                    continue
                now = time.monotonic()
                due = due or now + self._announce_after_s
                if now >= due:
                    return True
                desk.outgoing.wait(due - now)
        return True

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes to the journal, and let go of the start markers of tasks that a worker has finished.

        On a full disk they go up all the same: the service's disk is as good as this one.
        """
        with self._desk.lock:
            new = self._desk.book.unrecorded(outcomes)
        if not new:
            return
        try:
            self._desk.journal.record(new)
        except JournalFull as error:
            self._desk.disk_is_full(error)
            return
        with self._desk.lock:
            self._desk.book.recorded(new)
        for one in new:
            if one.state in (TaskState.SUCCEEDED, TaskState.FAILED):
                self._desk.markers.finished(Held(one.task_id, one.fence))

    def _send(self, running: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        try:
            receipt = self._link.report(running=running, outcomes=outcomes)
        except ApiError as error:
            if error.status not in _REFUSED_BODY or not outcomes:
                raise
            self._take_apart(outcomes, error)
            return
        self._settle(outcomes, receipt)

    def _take_apart(self, outcomes: Sequence[Outcome], error: ApiError) -> None:
        if len(outcomes) > 1:
            half = len(outcomes) // 2
            self._send([], outcomes[:half])
            self._send([], outcomes[half:])
            return
        (one,) = outcomes
        held = Held(one.task_id, one.fence)
        log.error("the service cannot take an outcome", extra={"task": one.task_id, "reason": str(error)})
        if one.state is TaskState.FAILED and one.details.get("refused"):
            self._settle(outcomes, Receipt([], {one.task_id: str(error)}))
            return
        is_large = error.status == 413
        code = ErrorCode.MAX_RESULT_SIZE_EXCEEDED if is_large else ErrorCode.RESULT_NOT_SERIALIZABLE
        plain = failed(held, code, f"result could not be sent: the service refused it: {error.detail}")
        with self._desk.lock:
            self._desk.book.replace(
                Outcome(
                    task_id=one.task_id,
                    fence=one.fence,
                    state=plain.state,
                    error=plain.error,
                    details={"refused": True},
                )
            )

    def _settle(self, outcomes: Sequence[Outcome], receipt: Receipt) -> None:
        with self._desk.lock:
            settled = self._desk.book.settle(outcomes, receipt.accepted, receipt.refused)
        self._desk.forget(settled)
        for task_id, reason in receipt.refused.items():
            level = logging.INFO if "was cancelled" in reason else logging.WARNING  # cancelling is nobody's fault
            log.log(level, "the service does not take an outcome", extra={"task": task_id, "reason": reason})
        if outcomes:
            log.info("outcomes uploaded", extra={"tasks": [f"{one.task_id}={one.state}" for one in outcomes]})
        if len(settled) < len(outcomes):
            with self._desk.lock:
                is_left = any(one in outcomes for one in self._desk.book.unsent(most=1, most_bytes=1))
            if is_left:
                raise ClientError("the service did not say what it made of some outcomes")

    def _pause(self, error: ClientError) -> None:
        pause_s = self._backoff.next_s()
        level = logging.WARNING if is_passing(error) else logging.ERROR
        if self._backoff.failures in (1, 5) or self._backoff.failures % 60 == 0:
            log.log(level, "outcomes cannot be uploaded; they are kept", extra={"reason": str(error)})
        self._retry_now.wait(pause_s)
        self._retry_now.clear()
