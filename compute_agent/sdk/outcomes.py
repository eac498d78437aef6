"""Task documents of the service, read: whether a task has ended, and its value or what kept it from having one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any

from schemas.json_text import Json

from .. import serialize
from ..wire import ErrorCode, TaskState
from .errors import TaskPending, TaskUnknownError, failure

#: What the hosted service calls the states; it has no more final ones.
_PUBLISHED_FINAL = {"success": TaskState.SUCCEEDED, "failed": TaskState.FAILED}


def final_state(document: Mapping[str, Any]) -> TaskState | None:
    """The state the task ended in, None while it has not."""
    try:
        state = TaskState(document["state"])
    except (KeyError, ValueError):
        return _PUBLISHED_FINAL.get(str(document.get("status")))
    return state if state.is_final else None


def is_waiting(document: Mapping[str, Any]) -> bool:
    """Whether the task has not begun: it waits at the service, or was given to an agent that has not started it."""
    return document.get("state") in (TaskState.QUEUED, TaskState.LEASED)


def is_unknown(document: Mapping[str, Any]) -> bool:
    """Whether this stands, in an answer about many tasks, for an id that the service does not know."""
    return document.get("state") is None and document.get("reason") == "TASK_NOT_FOUND"


def value_of(document: Mapping[str, Any], *, allow_pickle: bool) -> object:
    """The result of a task.

    Raises:
        TaskPending: it has not ended.
        TaskUnknownError: the service does not know it (any more).
        TaskFailed: it ended without a result.
        CancelledError: it was cancelled.
        PickleRefused: its result is pickled, and ``allow_pickle`` is not set.
        DeserializationError: its result cannot be read.
    """
    task_id = str(document.get("task_id", ""))
    if is_unknown(document):
        raise TaskUnknownError(_error(document)[1])
    state = final_state(document)
    if state is None:
        raise TaskPending(task_id, str(document.get("state") or document.get("status") or "unknown"))
    if state is TaskState.CANCELLED:
        raise CancelledError(f"task {task_id} was cancelled")
    if state is not TaskState.SUCCEEDED:
        raise failure(*_error(document), task_id, state)
    try:
        return serialize.load_data(document["result"], allow_pickle=allow_pickle)
    except serialize.PickleRefused as refused:
        raise serialize.PickleRefused(
            f"task {task_id}: {refused}; allow_pickle=True may be given to Executor, to Client, or to Client.get_result, "
            "and the task need not run again"
        ) from None


def report(document: Mapping[str, Any], *, allow_pickle: bool) -> dict[str, Any]:
    """The document with ``pending``, and with the decoded ``result`` or an exception object as ``exception``."""
    seen: dict[str, Any] = {**document, "pending": final_state(document) is None}
    raw: Json = seen.pop("result", None)
    seen.pop("exception", None)
    if seen["pending"]:
        return seen
    try:
        seen["result"] = value_of({**document, "result": raw}, allow_pickle=allow_pickle)
    except Exception as error:  # noqa: BLE001 - unpickling runs whatever it likes; the document says how it went
        seen["exception"] = error
    return seen


def _error(document: Mapping[str, Any]) -> tuple[str, str]:
    error = document.get("error")
    if isinstance(error, Mapping):
        return str(error.get("code") or ErrorCode.REMOTE_EXECUTION_ERROR), str(error.get("message") or "")
    text = document.get("exception") or "the service gave no reason"
    return ErrorCode.REMOTE_EXECUTION_ERROR, str(text)
