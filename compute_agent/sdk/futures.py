"""The future of one task.

It stays pending, as ``concurrent.futures`` understands it, until the task has ended, so that it can be cancelled at any
time: before it was sent here, afterwards at the service. Whoever ends it first wins; what comes later is dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TypeVar

from ..errors import ClientError

log = logging.getLogger(__name__)

T = TypeVar("T")


class ComputeFuture(Future[T]):
    """``task_id`` is None until the service has taken the task; ``task_group_id`` likewise.

    ``cancel_at_service`` cancels a task and says whether it is cancelled now.
    """

    def __init__(self, cancel_at_service: Callable[[str], bool], *, allow_pickle: bool = False) -> None:
        super().__init__()
        self.task_id: str | None = None
        self.task_group_id: str | None = None
        self.allow_pickle = allow_pickle
        self._cancel_at_service = cancel_at_service
        self._notice = threading.Lock()

    def running(self) -> bool:
        """Whether the service has the task and it has not ended; it may still wait there for its endpoint."""
        return self.task_id is not None and not self.done()

    def result(self, timeout: float | None = None) -> T:
        try:
            return super().result(timeout)
        except TimeoutError as error:
            raise self._timed_out(error, timeout) from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            return super().exception(timeout)
        except TimeoutError as error:
            raise self._timed_out(error, timeout) from None

    def cancel(self) -> bool:
        """Cancel the task wherever it is; False when it has ended, or the service cannot be asked (which is logged).

        A function that is being run at that moment may go on for a while, but its result is dropped.
        """
        if self.done():
            return self.cancelled()
        task_id = self.task_id
        if task_id is None:
            cancelled = self.end_cancelled()
            if cancelled and self.task_id is not None:  # the service took it in this very moment
                self._asked(self.task_id)
            return cancelled
        return self._asked(task_id) and self.end_cancelled()

    def _timed_out(self, error: TimeoutError, timeout: float | None) -> TimeoutError:
        """With words for a wait that was too short; a ``TimeoutError`` of the task itself stays as it is."""
        if error.args or timeout is None:
            return error
        what = f"task {self.task_id} has not ended" if self.task_id else "the service has not taken the task"
        return TimeoutError(
            f"{what} within {timeout:g} s; its future stays open and may be asked again. Client.get_endpoint_status tells "
            "whether its endpoint is online, cancel() ends the task"
        )

    def _asked(self, task_id: str) -> bool:
        try:
            return self._cancel_at_service(task_id)
        except ClientError as error:
            log.warning("task %s could not be cancelled: %s", task_id, error)
            return False

    # Called by the room, not by users

    def begin(self, task_id: str, task_group_id: str) -> bool:
        """The service took the task; False when it was cancelled meanwhile, which the service is then to be told."""
        self.task_group_id = task_group_id
        self.task_id = task_id
        return not self.cancelled()

    def end_cancelled(self) -> bool:
        """Whether it is cancelled, now or before."""
        if not super().cancel():
            return False
        if self._notice.acquire(blocking=False):  # once: it wakes who waits in wait() and as_completed()
            self.set_running_or_notify_cancel()
        return True

    def end_result(self, value: T) -> None:
        try:
            self.set_result(value)
        except InvalidStateError:
            return  # it was cancelled, or has ended already

    def end_exception(self, error: BaseException) -> None:
        try:
            self.set_exception(error)
        except InvalidStateError:
            return
