"""A queue and a fixed number of threads, each of which sees one task at a time to its end.

The threads are daemons: a function that never returns must not keep the agent from exiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

from ..wire import ErrorCode
from .base import EngineFault, EngineTask, Report

Run = Callable[[int, EngineTask], Report]
_Item = tuple[Future[Report], EngineTask] | None

#: How many tasks are held beyond those that run: what workers eat up while the next lease is on its way.
SPARE_TASKS = 64


def capacity_for(workers: int) -> int:
    """Twice the workers for long tasks; never fewer than ``SPARE_TASKS`` in reserve, for short ones."""
    return max(2 * workers, workers + SPARE_TASKS)


def failed(fault: EngineFault) -> Future[Report]:
    future: Future[Report] = Future()
    future.set_exception(fault)
    return future


class Slots:
    """``run(slot, task)`` gives the report or raises ``EngineFault``; it is called in the slot's own thread."""

    def __init__(self, count: int, run: Run, *, name: str) -> None:
        self._run = run
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._lock = threading.Lock()
        self._open: dict[Future[Report], EngineTask] = {}
        self._running = 0
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"{name}-{slot}", daemon=True)
            for slot in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, task: EngineTask) -> Future[Report]:
        future: Future[Report] = Future()
        with self._lock:
            if self._stopped:
                return failed(_stopped(may_have_run=False))
            self._open[future] = task
        self._queue.put((future, task))
        return future

    def counts(self) -> tuple[int, int]:
        """Tasks that run, and tasks that wait."""
        with self._lock:
            return self._running, max(0, len(self._open) - self._running)

    def stop(self) -> None:
        """Fail every open future, and let the threads go when they come back."""
        with self._lock:
            self._stopped = True
            open_futures = list(self._open)
        for future in open_futures:
            began = future.running()
            self._settle(future, _stopped(may_have_run=began))
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_s)

    def _serve(self, slot: int) -> None:
        while (item := self._queue.get()) is not None:
            future, task = item
            if not self._begin(future):
                continue
            outcome = self._outcome(slot, task)
            with self._lock:
                self._running -= 1
            self._settle(future, outcome)

    def _begin(self, future: Future[Report]) -> bool:
        with self._lock:
            if future not in self._open:
                return False  # settled by ``stop``
            if not future.set_running_or_notify_cancel():
                del self._open[future]
                return False
            self._running += 1
            return True

    def _outcome(self, slot: int, task: EngineTask) -> Report | EngineFault:
        try:
            return self._run(slot, task)
        except EngineFault as fault:
            return fault
        except Exception as error:  # noqa: BLE001 - whatever it is, the slot lives on and the future is settled
            return EngineFault(ErrorCode.ENGINE_FAILED, f"the engine failed: {type(error).__name__}: {error}")

    def _settle(self, future: Future[Report], outcome: Report | EngineFault) -> None:
        if not self._forget(future):
            return
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, EngineFault):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _forget(self, future: Future[Report]) -> bool:
        """Whether the caller is the one who settles it."""
        with self._lock:
            return self._open.pop(future, None) is not None


def _stopped(*, may_have_run: bool) -> EngineFault:
    what = "while the task ran" if may_have_run else "before any worker had the task"
    return EngineFault(ErrorCode.ENGINE_LOST, f"the engine was stopped {what}", may_have_run=may_have_run)
