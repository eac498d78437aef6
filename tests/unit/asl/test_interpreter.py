"""What ``step`` does with a whole run: order of fields, Catch, waiting, cancel, resume, limits, privacy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows_engine.asl.definition import parse
from flows_engine.asl.dialects import ASL, GLOBUS, UNION, Dialect
from flows_engine.asl.interpreter import FUEL, MAX_ENTRIES, step
from flows_engine.asl.run import (
    ActionRefused,
    ActionReported,
    ActionTimedOut,
    CancelAction,
    FireTimer,
    PollAction,
    ReleaseAction,
    RunCancelled,
    RunQuarantined,
    RunResumed,
    RunStarted,
    RunState,
    StartAction,
    Step,
    TimerFired,
    event_from_json,
    event_to_json,
)
from schemas.action import ActionStatus
from schemas.json_text import dumps, loads_trusted

AT = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://provider.example.org/do"
FLOW_ID = "11111111-2222-3333-4444-555555555555"


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def flow(dialect: Dialect = UNION, **states: dict[str, Any]) -> Any:
    return parse({"StartAt": next(iter(states)), "States": states}, dialect)


def action(**fields: Any) -> dict[str, Any]:
    return {"Type": "Action", "ActionUrl": URL, "Parameters": {}, "ResultPath": "$.r", "End": True} | fields


def begin(definition: Any, value: Any = None) -> Step:
    run = RunState(run_id="run", context={"flow_id": FLOW_ID, "run_id": "run"})
    return step(definition, run, RunStarted(at=AT, input={} if value is None else value))


def status(state: str, **extra: Any) -> ActionStatus:
    return ActionStatus.from_json({"action_id": "a1", "status": state, "details": {}} | extra)


def reported(state: str, *, token: str = "0:1", at: datetime = AT, **extra: Any) -> ActionReported:
    return ActionReported(at=at, token=token, url=URL, scope=None, run_as="User", status=status(state, **extra))


def codes(result: Step) -> list[str]:
    return [entry.code for entry in result.log]


def kinds(result: Step) -> list[type]:
    return [type(command) for command in result.commands]


def test_states_that_need_no_waiting_are_passed_in_one_step() -> None:
    definition = flow(
        A={"Type": "Pass", "Result": {"x": 1}, "ResultPath": "$.a", "Next": "B"},
        B={"Type": "ExpressionEval", "Parameters": {"y.=": "a.x + 1"}, "ResultPath": "$.b", "Next": "C"},
        C={"Type": "Choice", "Choices": [{"Variable": "$.b.y", "NumericEquals": 2, "Next": "D"}]},
        D={"Type": "Pass", "End": True},
    )
    result = begin(definition, {"in": True})
    assert result.run.status == "SUCCEEDED"
    assert result.run.root.output == {"in": True, "a": {"x": 1}, "b": {"y": 2}}
    assert result.commands == ()
    assert codes(result) == [
        "FlowStarted", "PassStarted", "PassCompleted", "ExpressionEvalStarted", "ExpressionEvalCompleted",
        "ChoiceStarted", "ChoiceCompleted", "PassStarted", "PassCompleted", "FlowSucceeded",
    ]  # fmt: skip
    assert result.details["output"] == result.run.root.output


def test_an_action_is_asked_for_with_its_computed_body_and_deadline() -> None:
    definition = flow(A=action(Parameters={"x.$": "$.v", "run.=": "`$._context.run_id`"}, WaitTime=60, RunAs="Flow"))
    (start,) = begin(definition, {"v": [1]}).commands
    assert start == StartAction(
        token="0:1", due=AT, deadline=later(60), url=URL, scope=None, run_as="Flow", body={"x": [1], "run": "run"}
    )


def test_an_actions_result_is_its_whole_status_with_the_states_name() -> None:
    started = begin(flow(A=action()))
    done = step(flow(A=action()), started.run, reported("SUCCEEDED", details={"n": 1}))
    assert done.run.root.output["r"] == {
        "action_id": "a1", "status": "SUCCEEDED", "details": {"n": 1}, "state_name": "A"
    }  # fmt: skip
    assert ReleaseAction in kinds(done)


def test_an_active_action_is_polled_until_its_deadline() -> None:
    definition = flow(A=action(WaitTime=60))
    polling = step(definition, begin(definition).run, reported("ACTIVE", at=later(1)))
    (poll,) = polling.commands
    assert isinstance(poll, PollAction)
    assert (poll.action_id, poll.deadline) == ("a1", later(60))
    late = step(definition, polling.run, ActionTimedOut(at=later(60), token="0:1", status=status("ACTIVE")))
    assert late.run.root.failure is not None
    assert late.run.root.failure.error == "ActionTimeout"
    assert CancelAction in kinds(late)


@pytest.mark.parametrize(
    ("raises", "end", "path"), [(True, "FAILED", None), (False, "SUCCEEDED", {"status": "FAILED"})]
)
def test_a_failed_action_fails_the_run_only_if_the_state_says_so(raises: bool, end: str, path: Any) -> None:
    definition = flow(A=action(ExceptionOnActionFailure=raises))
    result = step(definition, begin(definition).run, reported("FAILED", details={"code": "X"}))
    assert result.run.status == end
    if path:
        assert result.run.root.output["r"]["status"] == "FAILED"
    else:
        assert result.run.root.failure is not None
        assert result.run.root.failure.error == "ActionFailedException"
        assert json.loads(result.run.root.failure.cause or "")["details"] == {"code": "X"}


@pytest.mark.parametrize(
    ("names", "error", "caught"),
    [
        (["ActionUnableToRun"], "ActionUnableToRun", True),
        (["ActionTimeout"], "ActionUnableToRun", False),
        (["Other", "ActionUnableToRun"], "ActionUnableToRun", True),
        (["States.ALL"], "ActionUnableToRun", True),
        (["States.All"], "ActionUnableToRun", True),
        (["Endpoint"], "ActionUnableToRun", False),
    ],
)
def test_the_first_catcher_that_names_the_error_takes_it(names: list[str], error: str, caught: bool) -> None:
    catch = [{"ErrorEquals": names, "Next": "B", "ResultPath": "$.error"}]
    definition = flow(A=action(Catch=catch), B={"Type": "Pass", "End": True})
    refused = ActionRefused(at=AT, token="0:1", error=error, cause='{"code":"no"}')
    result = step(definition, begin(definition, {"k": 1}).run, refused)
    assert result.run.status == ("SUCCEEDED" if caught else "FAILED")
    if caught:
        assert result.run.root.output == {"k": 1, "error": {"Error": error, "Cause": '{"code":"no"}'}}
    assert "ActionFailed" in codes(result)


def test_without_a_result_path_a_catcher_replaces_the_runs_data() -> None:
    definition = flow(A=action(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "B"}]), B={"Type": "Pass", "End": True})
    result = step(
        definition, begin(definition, {"k": 1}).run, ActionRefused(at=AT, token="0:1", error="E", cause="why")
    )
    assert result.run.root.output == {"Error": "E", "Cause": "why"}


@pytest.mark.parametrize(("dialect", "end"), [(GLOBUS, "SUCCEEDED"), (UNION, "SUCCEEDED")])
def test_a_bad_path_is_caught_by_the_wildcard_in_the_globus_dialect(dialect: Dialect, end: str) -> None:
    definition = flow(
        dialect,
        A=action(
            Parameters={"x.$": "$.missing"}, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "B", "ResultPath": "$.e"}]
        ),
        B={"Type": "Pass", "End": True},
    )
    result = begin(definition)
    assert result.run.status == end
    assert result.run.root.output["e"]["Error"] == "States.Runtime"
    assert (
        "The path '$.missing' specified for the field 'x.$' could not be found" in result.run.root.output["e"]["Cause"]
    )


def test_an_event_for_a_state_entry_that_is_over_changes_nothing() -> None:
    definition = flow(A=action())
    done = step(definition, begin(definition).run, reported("SUCCEEDED")).run
    again = step(definition, done, reported("SUCCEEDED"))
    assert again.run == done
    assert again.log == ()
    assert again.commands == ()


def test_an_action_that_reports_itself_active_too_late_is_cancelled() -> None:
    definition = flow(A=action())
    cancelled = step(definition, begin(definition).run, RunCancelled(at=AT)).run
    late = step(definition, cancelled, reported("ACTIVE"))
    assert late.run == cancelled
    assert kinds(late) == [CancelAction]


def test_cancel_ends_the_run_failed_and_cancels_what_runs() -> None:
    definition = flow(A=action())
    polling = step(definition, begin(definition).run, reported("ACTIVE"))
    result = step(definition, polling.run, RunCancelled(at=AT))
    assert result.run.status == "FAILED"
    assert result.details["code"] == "FlowCanceled"
    assert kinds(result) == [CancelAction]
    assert result.dropped == ("0:1",)
    assert step(definition, result.run, RunCancelled(at=AT)).run == result.run


def test_an_inactive_action_makes_the_run_wait_for_a_person_and_resume_goes_on() -> None:
    definition = flow(A=action(WaitTime=60))
    details = {"code": "ConsentRequired", "description": "please consent", "required_scope": "dep"}
    waiting = step(definition, begin(definition).run, reported("INACTIVE", at=later(10), details=details))
    assert waiting.run.status == "INACTIVE"
    own = f"https://auth.globus.org/scopes/{FLOW_ID}/flow_{FLOW_ID.replace('-', '_')}_user"
    assert waiting.details["required_scope"] == f"{own}[dep]"
    assert waiting.details["action_statuses"][0]["state_name"] == "A"
    resumed = step(definition, waiting.run, RunResumed(at=later(1000)))
    assert resumed.run.status == "ACTIVE"
    (poll,) = resumed.commands
    assert isinstance(poll, PollAction)
    assert poll.wake
    assert poll.deadline == later(60 + 990)  # the time a person took does not count
    assert step(definition, resumed.run, reported("SUCCEEDED")).run.status == "SUCCEEDED"


def test_a_start_refused_for_a_missing_consent_is_made_after_the_resume() -> None:
    definition = flow(A=action())
    refused = ActionRefused(at=AT, token="0:1", error="ActionUnableToRun", cause="no consent", consent="scope")
    waiting = step(definition, begin(definition).run, refused)
    assert waiting.run.status == "INACTIVE"
    resumed = step(definition, waiting.run, RunResumed(at=AT))
    (start,) = resumed.commands
    assert isinstance(start, StartAction)
    assert start.token == "0:1"  # the same entry, so the same request_id


def test_resume_leaves_a_run_alone_that_is_not_inactive() -> None:
    definition = flow(A=action())
    started = begin(definition)
    assert step(definition, started.run, RunResumed(at=AT)).run == started.run


def test_a_run_set_aside_by_the_engine_is_inactive_until_resumed() -> None:
    definition = flow(A=action())
    aside = step(definition, begin(definition).run, RunQuarantined(at=AT, reason="again and again"))
    assert aside.run.status == "INACTIVE"
    assert aside.details["code"] == "EngineQuarantine"
    assert step(definition, aside.run, RunResumed(at=AT)).run.status == "ACTIVE"


def test_a_wait_is_a_timer() -> None:
    definition = flow(A={"Type": "Wait", "Seconds": 90, "Next": "B"}, B={"Type": "Pass", "End": True})
    waiting = begin(definition)
    assert waiting.commands == (FireTimer(token="0:1", due=later(90)),)
    assert step(definition, waiting.run, TimerFired(at=later(90), token="0:1")).run.status == "SUCCEEDED"


def test_a_loop_without_waiting_yields_its_worker_and_ends_at_the_limit() -> None:
    definition = flow(A={"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "Next": "A"})
    result = begin(definition)
    assert result.run.entered == FUEL
    rounds = 0
    while result.commands:
        (timer,) = result.commands
        assert isinstance(timer, FireTimer)
        result = step(definition, result.run, TimerFired(at=timer.due, token=timer.token))
        rounds += 1
    assert rounds >= MAX_ENTRIES / FUEL
    assert result.run.root.failure is not None
    assert result.run.root.failure.error == "RunHistoryLimit"
    assert timer.due > AT  # a tireless loop is made to pause


def test_data_over_the_limit_fails_and_names_the_largest_part() -> None:
    grow = {"Type": "ExpressionEval", "Parameters": {"big.$": "$.big", "more.$": "$.big"}, "ResultPath": "$.grown"}
    definition = flow(A=grow | {"End": True})
    result = begin(definition, {"big": "x" * 250_000})
    assert result.run.root.failure is not None
    assert result.run.root.failure.error == "States.DataLimitExceeded"
    assert "'grown' with 500" in (result.run.root.failure.cause or "")


def test_a_result_path_through_a_number_is_an_error_of_the_run() -> None:
    definition = flow(A={"Type": "Pass", "Result": 1, "ResultPath": "$.n.x", "End": True})
    result = begin(definition, {"n": 5})
    assert result.run.root.failure is not None
    assert result.run.root.failure.error == "States.ResultPathMatchFailure"


def test_private_values_never_enter_the_log() -> None:
    definition = flow(
        A=action(
            Parameters={"user": "u", "password.$": "$._private_secret", "__Private_Parameters": ["password"]},
        )
    )
    result = begin(definition, {"_private_secret": "canary-1", "_tokens": {"R": "canary-2"}, "seen": 1})
    assert result.commands[0].body == {"user": "u", "password": "canary-1"}  # type: ignore[union-attr]
    shown = dumps([entry.to_json() for entry in result.log]) + dumps(dict(result.details))
    assert "canary" not in shown
    assert '"user":"u"' in shown


def test_timeout_seconds_ends_the_whole_run_in_asl() -> None:
    document = {
        "StartAt": "W",
        "TimeoutSeconds": 5,
        "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}},
    }
    definition = parse(document, ASL)
    result = begin(definition)
    timeout = min(result.commands, key=lambda command: command.due)
    ended = step(definition, result.run, TimerFired(at=timeout.due, token=timeout.token))
    assert ended.run.root.failure is not None
    assert ended.run.root.failure.error == "States.Timeout"
    in_time = step(definition, result.run, TimerFired(at=later(4), token="0:1"))
    assert in_time.run.status == "SUCCEEDED"
    assert timeout.token in in_time.dropped


def test_states_and_events_survive_storage() -> None:
    definition = flow(A=action(), B={"Type": "Pass", "End": True})
    events = [RunStarted(at=AT, input={"é": 1.5}), reported("INACTIVE"), RunResumed(at=later(3)), reported("SUCCEEDED")]
    run = RunState(run_id="run", context={"flow_id": FLOW_ID})
    for event in events:
        again = event_from_json(loads_trusted(dumps(event_to_json(event))))
        assert again == event
        run = RunState.from_json(loads_trusted(dumps(run.to_json())))
        run = step(definition, run, again).run
    assert run.status == "SUCCEEDED"


def test_an_answer_stored_under_a_private_key_is_not_shown_in_the_log() -> None:
    definition = flow(A=action(ResultPath="$._private_login.answer"))
    result = step(definition, begin(definition).run, reported("SUCCEEDED", details={"token": "canary"}))
    assert result.run.root.output["_private_login"]["answer"]["details"] == {"token": "canary"}
    assert "canary" not in dumps([entry.to_json() for entry in result.log]) + dumps(dict(result.details))


def test_an_error_caught_under_a_private_key_is_not_shown_in_the_log() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "B", "ResultPath": "$._private_error"}]
    definition = flow(A=action(Catch=catch), B={"Type": "Pass", "End": True})
    refused = ActionRefused(at=AT, token="0:1", error="ActionUnableToRun", cause="canary")
    result = step(definition, begin(definition).run, refused)
    assert result.run.root.output["_private_error"]["Cause"] == "canary"
    assert "canary" not in dumps([entry.to_json() for entry in result.log]) + dumps(dict(result.details))
