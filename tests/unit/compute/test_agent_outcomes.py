"""What is said of a task, made from what its engine gave."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from compute_agent.agent.book import Held
from compute_agent.agent.endings import ending_of, exit_code_of
from compute_agent.agent.outcomes import clean, fault_of, of_fault, of_report
from compute_agent.engines.base import EngineFault, Report
from compute_agent.errors import ApiError, ClientError, UnreachableError
from compute_agent.wire import MAX_MESSAGE_BYTES, ErrorCode, TaskState

HELD = Held("a", 3)


@pytest.mark.parametrize(
    ("report", "state", "code"),
    [
        ({"status": "success", "result": "11\n1"}, "SUCCEEDED", None),
        ({"status": "success", "result": "nul\0"}, "FAILED", "ResultNotSerializable"),
        ({"status": "success", "result": "half \ud83d"}, "FAILED", "ResultNotSerializable"),
        ({"status": "success"}, "FAILED", "ResultNotSerializable"),
        ({"status": "failed", "code": "TaskTimeout", "message": "late"}, "FAILED", "TaskTimeout"),
        ({"status": "?"}, "LOST", "WorkerLost"),
        ({}, "LOST", "WorkerLost"),
    ],
)
def test_a_report_becomes_an_outcome(report: dict[str, Any], state: str, code: str | None) -> None:
    outcome = of_report(HELD, report)
    assert outcome is not None
    assert (outcome.task_id, outcome.fence, outcome.state) == ("a", 3, state)
    assert (outcome.error.code if outcome.error else None) == code


def test_a_worker_that_did_not_start_the_task_says_nothing_of_it() -> None:
    assert of_report(HELD, {"status": "revoked"}) is None


def test_details_that_are_not_json_are_left_out() -> None:
    outcome = of_report(HELD, {"status": "success", "result": "1", "details": {"pid": 1, "x": object(), "h": "a\0"}})
    assert outcome is not None
    assert outcome.details == {"pid": 1, "h": "a\\x00"}


def test_messages_are_text_that_the_service_takes() -> None:
    assert clean("a\0b") == "a\\x00b"
    assert clean("\ud83d") == "\\ud83d"
    long = clean("begin" + "é" * 100_000 + "end")
    assert len(long.encode()) <= MAX_MESSAGE_BYTES
    assert long.startswith("begin")
    assert long.endswith("end")


@pytest.mark.parametrize(
    ("code", "may_have_begun", "may_give_back", "state"),
    [
        (ErrorCode.WORKER_LOST, True, True, TaskState.LOST),
        (ErrorCode.ENGINE_FAILED, True, True, TaskState.LOST),
        (ErrorCode.WORKER_LOST, False, True, TaskState.QUEUED),
        (ErrorCode.WORKER_LOST, False, False, TaskState.FAILED),
        (ErrorCode.ENGINE_FAILED, False, True, TaskState.FAILED),
        (ErrorCode.RESOURCES_REFUSED, False, True, TaskState.FAILED),
    ],
)
def test_a_fault_becomes_an_outcome(
    code: ErrorCode, may_have_begun: bool, may_give_back: bool, state: TaskState
) -> None:
    outcome = of_fault(HELD, EngineFault(code, "why"), may_have_begun=may_have_begun, may_give_back=may_give_back)
    assert outcome.state is state
    assert "why" in str(outcome.error or outcome.details)


def test_an_engine_that_breaks_its_contract_counts_as_lost() -> None:
    future: Future[Report] = Future()
    future.set_exception(KeyError("x"))
    fault = fault_of(future)
    assert fault is not None
    assert (fault.code, fault.may_have_run) == (ErrorCode.ENGINE_LOST, True)


@pytest.mark.parametrize(
    ("error", "settles", "exit_code"),
    [
        (ApiError(409, "SESSION_ENDED", "x"), False, 69),
        (ApiError(404, "ENDPOINT_NOT_FOUND", "x"), False, 69),
        (ApiError(423, "ENDPOINT_LOCKED", "x"), True, 69),
        (ApiError(409, "ENDPOINT_STOPPED", "x"), True, 69),
        (ApiError(409, "STALE_CALL", "x"), None, 69),
        (ApiError(503, "AWAY", "x"), None, 75),
        (ApiError(401, "UNAUTHORIZED", "x"), None, 77),
        (ApiError(400, "REQUEST_MALFORMED", "x"), None, 65),
        (UnreachableError("x"), None, 75),
        (ClientError("x"), None, 70),
    ],
)
def test_answers_that_end_an_agent(error: ClientError, settles: bool | None, exit_code: int) -> None:
    ending = ending_of(error)
    assert (None if ending is None else ending.settles) is settles
    assert exit_code_of(error) == exit_code
