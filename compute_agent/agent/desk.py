"""The book as the agent's threads share it, together with what must agree with it: journal, start markers, futures.

One lock guards the book. It is never held while anything waits: no file is synced, no call made, no engine asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ..engines.base import EngineFault, Report
from ..wire import Assignment, ErrorCode, Outcome, TaskError
from .book import Book, Held, Phase
from .journal import Journal, JournalFull
from .markers import Markers
from .outcomes import cancelled, fault_of, given_back, lost, of_fault, of_report

log = logging.getLogger(__name__)

#: After so many times one task is not given back again but fails with the reason.
_MOST_GIVEN_BACK = 10
_REMEMBERED = 10_000
#: Most characters of a task's error in the log.
_MOST_LOGGED = 2_000
#: Exit code of a fault of this program (EX_SOFTWARE of sysexits.h).
_SOFTWARE = 70
_STOPPING = "the endpoint is being stopped"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the agent ends. ``settles`` is False when what it holds is not its own any more."""

    reason: str
    exit_code: int = 0
    settles: bool = True


class Desk:
    """``outgoing`` is notified when there is something to upload, ``room`` when more may be leased or the agent ends."""

    def __init__(self, journal: Journal, markers: Markers) -> None:
        self.book = Book()
        self.journal = journal
        self.markers = markers
        self.lock = threading.Lock()
        self.outgoing = threading.Condition(self.lock)
        self.room = threading.Condition(self.lock)
        self.ended = threading.Event()
        self.hurry = threading.Event()
        self.changed = threading.Event()
        self.ending: Ending | None = None
        #: Why nothing can be leased at present, for the endpoint's status.
        self.trouble = ""
        #: Set by the uploader while it waits for anything at all.
        self.is_uploader_idle = False
        self._futures: dict[Held, Future[Report]] = {}
        self._faults: dict[str, int] = {}
        self._unremoved: list[Held] = []

    # threads and their end

    def watched(self, run: Callable[[], None]) -> Callable[[], None]:
        """The same for a thread's target, except that a fault of ours there stops the agent rather than leaving it half
        alive."""

        def guarded() -> None:
            try:
                run()
            except Exception as error:  # whatever it is, it must not go unnoticed
                log.exception("a part of the agent failed", extra={"part": threading.current_thread().name})
                self.end(Ending(f"a part of the agent failed: {type(error).__name__}: {error}", _SOFTWARE))

        return guarded

    def end(self, ending: Ending) -> None:
        """The agent is to end; the first reason counts. A second wish to stop makes it hurry."""
        with self.lock:
            if self.ending is not None:
                self.hurry.set()
            self.ending = self.ending or ending
            self.room.notify_all()
            self.outgoing.notify_all()
        self.ended.set()
        self.changed.set()

    def disk_is_full(self, error: JournalFull) -> None:
        """Lease nothing until there is room."""
        with self.lock:
            was_known, self.trouble = bool(self.trouble), str(error)
            self.room.notify_all()
        if not was_known:
            log.error("the disk takes nothing; no more tasks are leased until it does", extra={"reason": str(error)})
            self.changed.set()

    def disk_has_room(self) -> None:
        with self.lock:
            self.trouble = ""
        self.forget([])
        self.changed.set()
        log.info("the disk has room again; tasks are leased")

    # what comes from the service

    def accept(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Take leased tasks: those that are returned are in the journal and may be given to an engine."""
        with self.lock:
            taken = self.book.take(assignments)
            if self.ending is not None:
                self._give_back_new(taken.new, _STOPPING)
                return []
        if taken.superseded:
            log.warning(
                "tasks were leased anew; their earlier executions are dropped", extra={"tasks": taken.superseded}
            )
            self.drop(taken.superseded)
        if not taken.new:
            return []
        try:
            self.journal.add(taken.new)
        except JournalFull as error:
            with self.lock:
                self._give_back_new(taken.new, str(error))
            ids = [one.task_id for one in taken.new]
            log.warning("tasks are given back; they wait at the service", extra={"tasks": ids, "reason": str(error)})
            self.disk_is_full(error)
            return []
        with self.lock:
            self.book.journaled(taken.new)
        return list(taken.new)

    def cancel(self, task_ids: Iterable[str]) -> None:
        """Keep tasks from starting that were cancelled. One that runs is left to run: nobody waits for it."""
        with self.lock:
            touched = self.book.cancelling(task_ids)
        for held in touched:
            if self._withdraw(held, cancelled(held)):
                log.info("task cancelled", extra={"task": held.task_id})
            elif not self.markers.is_used:  # whether it began cannot be told, and nobody wants its result
                self.finish(cancelled(held))
                self._cancel_future(held)

    def unknown(self, held: Iterable[Held]) -> None:
        """Let go of tasks that the service took from this agent."""
        with self.lock:
            gone = self.book.unknown(held)
            self.room.notify_all()
        if gone:
            log.warning("the service has taken tasks from this agent", extra={"tasks": [one.task_id for one in gone]})
            self.drop(gone)

    def drop(self, gone: Iterable[Held]) -> None:
        """Whatever comes of these tasks is of no use: keep them from starting, and forget them on disk."""
        gone = list(gone)
        for held in gone:
            self.markers.take(held)
            self._cancel_future(held)
        self.forget(gone)

    # what comes from engines

    def may_submit(self, held: Held) -> bool:
        with self.lock:
            return self.ending is None and self.book.submit(held)

    def submitted(self, held: Held, future: Future[Report]) -> None:
        with self.lock:
            self._futures[held] = future
            if self.is_uploader_idle:
                self.outgoing.notify()

    def done(self, held: Held, future: Future[Report]) -> None:
        """A task's future is done; called by threads of engines."""
        self._futures.pop(held, None)
        fault = fault_of(future)
        if fault is not None:
            self.fault(held, fault)
            return
        report = future.result()
        outcome = of_report(held, report)
        if outcome is not None:
            if self.finish(outcome) and outcome.error is not None:
                _log_failure(outcome.task_id, outcome.error)
            return
        if self.markers.revoked(held):
            self.finish(given_back(held, "the agent kept the task from starting"))  # unless it has said why already
            return
        text = "the task had begun on a worker that was lost, so it was not begun again"
        self.finish(lost(held, ErrorCode.WORKER_LOST, text))

    def fault(self, held: Held, fault: EngineFault) -> None:
        """An engine lost a task, or could not be started for it."""
        with self.lock:
            if self.book.phase(held) is None or self._is_over():
                return
            is_stopping = self.ending is not None
            often = self._faults.get(held.task_id, 0)
        may_have_begun = fault.may_have_run and not self.markers.take(held)
        if may_have_begun and (report := self.markers.report(held)) is not None:
            outcome = of_report(held, report)
            if outcome is not None and self.finish(outcome):
                log.info("a report was found in the start marker", extra={"task": held.task_id, "code": fault.code})
            return
        if is_stopping and may_have_begun:
            fault = EngineFault(ErrorCode.AGENT_LOST, "the endpoint was stopped while the task ran")
        may_give_back = is_stopping or often < _MOST_GIVEN_BACK
        outcome = of_fault(held, fault, may_have_begun=may_have_begun, may_give_back=may_give_back)
        if self.finish(outcome):
            with self.lock:
                self._count_fault(held.task_id)
            log.warning(
                "engine fault",
                extra={"task": held.task_id, "code": fault.code, "state": outcome.state, "reason": fault},
            )

    def finish(self, outcome: Outcome) -> bool:
        """Note what became of a task; False when that is known already."""
        with self.lock:
            if self._is_over() or not self.book.finish(outcome):
                return False
            self.outgoing.notify()
            self.room.notify()
            return True

    # what the uploader has dealt with

    def forget(self, held: Iterable[Held]) -> None:
        """Remove tasks from the journal; what the disk does not take now is removed with the next ones."""
        with self.lock:
            gone, self._unremoved = [*self._unremoved, *held], []
        if not gone:
            return
        try:
            self.journal.remove(gone)
        except JournalFull as error:
            with self.lock:
                self._unremoved = [*gone, *self._unremoved]
            self.disk_is_full(error)

    # stopping

    def give_back(self) -> int:
        """Give back everything that has not begun; returns how many tasks run on."""
        with self.lock:
            open_tasks = self.book.open()
        for held in open_tasks:
            self._withdraw(held, given_back(held, _STOPPING))
        with self.lock:
            return self.book.unfinished

    def lose_open(self, message: str) -> None:
        """Say of everything without an outcome that it was lost."""
        with self.lock:
            open_tasks = self.book.open()
        for held in open_tasks:
            self.finish(lost(held, ErrorCode.AGENT_LOST, message))

    def _is_over(self) -> bool:
        """Whether what is held is not this agent's any more, so that nothing may be said of it; the lock is held."""
        return self.ending is not None and not self.ending.settles

    def _withdraw(self, held: Held, outcome: Outcome) -> bool:
        """Give an outcome to a task that has not begun and, from now on, cannot. False when it may have begun."""
        with self.lock:
            if self.book.phase(held) in (Phase.ACCEPTED, Phase.WAITING):
                self.outgoing.notify()
                self.room.notify()
                return self.book.finish(outcome)
            if self.book.phase(held) is not Phase.SUBMITTED:
                return False
        if not self.markers.take(held) or not self.finish(outcome):
            return False
        self._cancel_future(held)
        return True

    def _cancel_future(self, held: Held) -> None:
        if (future := self._futures.get(held)) is not None:
            future.cancel()

    def _give_back_new(self, assignments: Iterable[Assignment], reason: str) -> None:
        for one in assignments:
            self.book.finish(given_back(Held(one.task_id, one.fence), reason))
        self.outgoing.notify()
        self.room.notify_all()

    def _count_fault(self, task_id: str) -> None:
        self._faults[task_id] = self._faults.pop(task_id, 0) + 1
        while len(self._faults) > _REMEMBERED:
            del self._faults[next(iter(self._faults))]


def _log_failure(task_id: str, error: TaskError) -> None:
    """Why a task failed. What a function itself raised is its user's: that it did is all that is said."""
    if error.code == ErrorCode.REMOTE_EXECUTION_ERROR:
        log.info("the function raised an exception", extra={"task": task_id, "code": error.code})
    else:
        reason = error.message[:_MOST_LOGGED]
        log.warning("task failed", extra={"task": task_id, "code": error.code, "reason": reason})
