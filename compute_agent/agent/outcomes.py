"""What became of a task, made from what its future gave: a worker's report, or the fault of an engine that lost it."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from typing import Any

from schemas.json_text import dumps

from ..engines.base import EngineFault, Report
from ..wire import MAX_MESSAGE_BYTES, ErrorCode, FunctionCode, Outcome, TaskError, TaskState
from .book import Held

#: Faults that would only come again if the task were given to another worker of this endpoint.
_FINAL_FAULTS = frozenset({ErrorCode.ENGINE_FAILED, ErrorCode.RESOURCES_REFUSED, ErrorCode.COULD_NOT_EXECUTE})


def failed(held: Held, code: str, message: str) -> Outcome:
    return _with_error(held, TaskState.FAILED, code, message)


def lost(held: Held, code: str, message: str) -> Outcome:
    return _with_error(held, TaskState.LOST, code, message)


def cancelled(held: Held) -> Outcome:
    return _with_error(held, TaskState.CANCELLED, ErrorCode.CANCELLED, "the task was cancelled")


def given_back(held: Held, reason: str) -> Outcome:
    """The task did not begin; the service may give it to anybody."""
    return Outcome(task_id=held.task_id, fence=held.fence, state=TaskState.QUEUED, details={"reason": clean(reason)})


def of_report(held: Held, report: Report) -> Outcome | None:
    """None when the worker did not run the function, because the start marker was there already."""
    details = _details(report.get("details"))
    match report.get("status"):
        case "success":
            result = report.get("result")
            if not isinstance(result, str) or not is_clean(result):
                return failed(
                    held, ErrorCode.RESULT_NOT_SERIALIZABLE, "result could not be sent: it is not text of JSON"
                )
            return Outcome(
                task_id=held.task_id, fence=held.fence, state=TaskState.SUCCEEDED, result=result, details=details
            )
        case "failed":
            error = TaskError(clean(str(report.get("code"))), clean(str(report.get("message"))))
            return Outcome(task_id=held.task_id, fence=held.fence, state=TaskState.FAILED, error=error, details=details)
        case "revoked":
            return None
    return lost(held, ErrorCode.WORKER_LOST, "the worker's report has no status that is known; see the endpoint's log")


def of_fault(held: Held, fault: EngineFault, *, may_have_begun: bool, may_give_back: bool) -> Outcome:
    """What is said of a task that its engine lost. A task that did not begin is given back, unless that was tried."""
    if may_have_begun:
        return lost(held, fault.code, str(fault))
    if fault.code in _FINAL_FAULTS or not may_give_back:
        return failed(held, fault.code, str(fault))
    return given_back(held, str(fault))


def fault_of(future: Future[Report]) -> EngineFault | None:
    """Why the future has no report, or None when it has one."""
    if future.cancelled():
        return EngineFault(ErrorCode.CANCELLED, "the task was taken back from the engine")
    error = future.exception()
    if error is None or isinstance(error, EngineFault):
        return error
    return EngineFault(ErrorCode.ENGINE_LOST, f"the engine failed: {type(error).__name__}: {error}")


def has_right_hash(function: FunctionCode) -> bool:
    return hashlib.sha256(function.code.encode()).hexdigest() == function.sha256


def is_clean(text: str) -> bool:
    """Whether the service's strict JSON takes the text."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)


def clean(text: str) -> str:
    """The text as the service's strict JSON takes it; too long ones keep their beginning and end."""
    if not is_clean(text):
        text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    half = MAX_MESSAGE_BYTES // 8  # a character may take four bytes
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text


def _with_error(held: Held, state: TaskState, code: str, message: str) -> Outcome:
    error = TaskError(str(code), clean(message))
    return Outcome(task_id=held.task_id, fence=held.fence, state=state, error=error)


def _details(value: Any) -> dict[str, Any]:
    """Facts of the execution. They come from a worker, so what is not JSON is left out."""
    if not isinstance(value, dict):
        return {}
    details: dict[str, Any] = {}
    for name, fact in value.items():
        if isinstance(fact, str):
            fact = clean(fact)
        try:
            dumps({name: fact})
        except TypeError:
            continue
        details[str(name)] = fact
    return details
