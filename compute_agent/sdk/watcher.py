"""Waits for the results of one task group, and ends the futures of its tasks.

One thread, alive while futures are open and a moment longer, holds one long poll. The service numbers what ends, so
nothing is asked for twice and nothing is missed: a result that comes before the program knows the task's id, because
the answer to the submission is still on its way, is kept until it does.

While the service is away futures stay open and asking goes on, at growing distance.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import ApiError, ClientError
from ..wire import TaskState
from . import outcomes
from .errors import TaskUnknownError
from .futures import ComputeFuture

log = logging.getLogger(__name__)

_LINGER_S = 10.0
#: With so many open futures the next results are asked for after so long: an answer costs as much as many results.
_MANY = 8
_GATHER_S = 0.01
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 20.0
#: A poll that brings nothing in less time than this was not held open.
_HELD_S = 0.5
_LONGEST_PAUSE_BETWEEN_SHORT_POLLS_S = 1.0
#: Refusals that pass: too many requests, a server or proxy in trouble.
_PASSING = frozenset({408, 425, 429})


class ResultSource(Protocol):
    """What of the client is used here."""

    def next_results(self, task_group_id: str, after: int) -> dict[str, Any]: ...

    def task_documents(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]: ...


class GroupWatcher:
    """Made by ``Client.watcher``. May be used by several threads."""

    def __init__(
        self, source: ResultSource, task_group_id: str, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._source = source
        self._task_group_id = task_group_id
        self._pause = pause
        self._state = threading.Condition()
        self._open: dict[str, list[ComputeFuture[Any]]] = {}
        self._early: dict[str, Mapping[str, Any]] = {}
        self._submissions = 0
        self._marker = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While a submission is under way, results of tasks that nobody knows yet are kept."""
        with self._state:
            self._submissions += 1
        try:
            yield
        finally:
            with self._state:
                self._submissions -= 1
                if not self._submissions:
                    self._early.clear()

    def follow(self, futures: Mapping[str, ComputeFuture[Any]]) -> None:
        """End each future when its task ends."""
        with self._state:
            early = []
            for task_id, future in futures.items():
                if task_id in self._early:
                    early.append((future, self._early[task_id]))
                else:
                    self._open.setdefault(task_id, []).append(future)
            if self._open:
                if self._thread is None or not self._thread.is_alive():
                    name = f"compute results {self._task_group_id}"
                    self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
                    self._thread.start()
                self._state.notify()
        for future, document in early:
            end(future, document)

    def settle(self, task_ids: Sequence[str]) -> None:
        """Ask for these tasks by their ids, and end the futures of those that have ended."""
        for task_id, document in self._source.task_documents(task_ids).items():
            if outcomes.final_state(document) is not None:
                self._settle(task_id, document)

    def _watch(self) -> None:
        troubles = _Troubles(self._task_group_id, self._pause)
        while self._has_work():
            try:
                self._poll(troubles)
            except ClientError as error:
                if _is_final(error):
                    self._fail_all(error)
                else:
                    troubles.wait(error)
            except Exception as error:
                log.exception("results of task group %s cannot be read", self._task_group_id)
                unreadable = ClientError(f"the results of task group {self._task_group_id} cannot be read: {error!r}")
                unreadable.__cause__ = error
                self._fail_all(unreadable)

    def _poll(self, troubles: _Troubles) -> None:
        with self._state:
            expected = list(self._open)
        began = time.monotonic()
        answer = self._source.next_results(self._task_group_id, self._marker)
        self._take(answer)
        if answer["results"]:
            troubles.over()
            if len(self._open) >= _MANY:
                self._pause(_GATHER_S)
        else:
            self._nothing_came(answer, expected, time.monotonic() - began, troubles)

    def _has_work(self) -> bool:
        """Wait for open futures; False, and the thread is over, when there are none for a while."""
        with self._state:
            if not self._open and not self._state.wait_for(lambda: bool(self._open), _LINGER_S):
                self._thread = None
                return False
            return True

    def _take(self, answer: Mapping[str, Any]) -> None:
        ended = []
        with self._state:
            for document in answer["results"]:
                task_id = document["task_id"]
                futures = self._open.pop(task_id, None)
                if futures is not None:
                    ended.append((futures, document))
                elif self._submissions:
                    self._early[task_id] = document
            self._marker = max(self._marker, answer["marker"])
        for futures, document in ended:
            for future in futures:
                end(future, document)

    def _nothing_came(
        self, answer: Mapping[str, Any], expected: Sequence[str], took_s: float, troubles: _Troubles
    ) -> None:
        if not answer["unfinished"]:
            # Nothing will come: what is still open ended before the marker, or is no task of this group.
            with self._state:
                missed = [task_id for task_id in expected if task_id in self._open]
            if missed:
                self.settle(missed)
                self._give_up(missed)
        elif "retry_after_s" in answer:
            self._pause(min(float(answer["retry_after_s"]), _LONGEST_PAUSE_S))
        elif took_s < _HELD_S:
            troubles.pause(_LONGEST_PAUSE_BETWEEN_SHORT_POLLS_S)
            return
        troubles.over()

    def _settle(self, task_id: str, document: Mapping[str, Any]) -> None:
        with self._state:
            futures = self._open.pop(task_id, [])
        for future in futures:
            end(future, document)

    def _give_up(self, task_ids: Sequence[str]) -> None:
        with self._state:
            lost = [(task_id, self._open.pop(task_id, [])) for task_id in task_ids]
        for task_id, futures in lost:
            for future in futures:
                where = f"among the unfinished tasks of task group {self._task_group_id}"
                future.end_exception(TaskUnknownError(f"task {task_id} has not ended, and is not {where} either"))

    def _fail_all(self, error: Exception) -> None:
        with self._state:
            futures = [future for some in self._open.values() for future in some]
            self._open.clear()
        for future in futures:
            future.end_exception(error)


class _Troubles:
    """Pauses that grow, and one line in the log for as long as they last."""

    def __init__(self, task_group_id: str, pause: Callable[[float], None]) -> None:
        self._task_group_id = task_group_id
        self._pause = pause
        self._next_s = _FIRST_PAUSE_S
        self._is_known = False

    def wait(self, error: ClientError) -> None:
        if not self._is_known:
            self._is_known = True
            log.warning(
                "no results of task group %s for now, their futures stay open and asking goes on: %s",
                self._task_group_id,
                error,
            )
        self.pause()

    def pause(self, longest_s: float = _LONGEST_PAUSE_S) -> None:
        self._next_s = min(self._next_s, longest_s)
        self._pause(self._next_s)
        self._next_s = min(2 * self._next_s, longest_s)

    def over(self) -> None:
        if self._is_known:
            log.info("results of task group %s come again", self._task_group_id)
        self._is_known, self._next_s = False, _FIRST_PAUSE_S


def end(future: ComputeFuture[Any], document: Mapping[str, Any]) -> None:
    """End a future as its task ended."""
    if outcomes.final_state(document) is TaskState.CANCELLED:
        future.end_cancelled()
        return
    try:
        value = outcomes.value_of(document, allow_pickle=future.allow_pickle)
    except BaseException as error:  # noqa: BLE001 - a task's failure, or whatever unpickling runs into
        future.end_exception(error)
    else:
        future.end_result(value)


def _is_final(error: ClientError) -> bool:
    """Whether asking again is of no use: the service refuses this caller or this task group."""
    if not isinstance(error, ApiError) or error.code == "UNKNOWN_ANSWER":  # a proxy's words, not the service's
        return False
    return 400 <= error.status < 500 and error.status not in _PASSING
