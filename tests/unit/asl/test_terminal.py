"""Fail and Succeed: how a run ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flows_engine.asl.context import machine_context
from flows_engine.asl.dialects import ASL
from flows_engine.asl.errors import EvaluationError
from flows_engine.asl.run import Branch, StateError
from flows_engine.asl.scope import Scope
from flows_engine.asl.states.base import Context, Done
from flows_engine.asl.states.terminal import Fail, Succeed

AT = datetime(2026, 7, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def context(data: Any) -> Context:
    machine = machine_context({"StateMachine": {"Name": "m"}}, state_name="End", entered_at=AT, retry_count=0)
    return Context(
        at=AT, branch=Branch(id="0", state="End", input=data), value=data, scope=Scope(data, machine=machine)
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, StateError(None, None)),
        ({"Error": "Own"}, StateError("Own", None)),
        ({"Error": "Own", "Cause": "because"}, StateError("Own", "because")),
        ({"ErrorPath": "$.e", "CausePath": "$.c"}, StateError("from data", "why")),
        ({"Error": "$.e", "CausePath": "$$.State.Name"}, StateError("$.e", "End")),
        ({"ErrorPath": "$$.StateMachine.Name"}, StateError("m", None)),
        ({"CausePath": "$$.State.EnteredTime"}, StateError(None, "2026-07-01T12:00:00.250Z")),
    ],
)
def test_fail_ends_with_its_error_and_cause(body: dict[str, Any], expected: StateError) -> None:
    assert Fail("End", {"Type": "Fail", **body}, ASL).enter(context({"e": "from data", "c": "why"})) == expected


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "null"), (True, "true or false"), (1, "a number"), ([], "an array"), ({}, "an object")]
)
def test_an_error_path_must_lead_to_a_string(value: Any, kind: str) -> None:
    with pytest.raises(EvaluationError, match=f"ErrorPath must lead to a string, not to {kind}") as caught:
        Fail("End", {"Type": "Fail", "ErrorPath": "$.e"}, ASL).enter(context({"e": value}))
    assert caught.value.error == "States.Runtime"


def test_a_cause_path_to_nothing_is_an_error_of_the_run() -> None:
    with pytest.raises(EvaluationError):
        Fail("End", {"Type": "Fail", "CausePath": "$.absent"}, ASL).enter(context({}))


def test_succeed_ends_with_its_input() -> None:
    assert Succeed("End", {"Type": "Succeed"}, ASL).enter(context({"x": 1})) == Done({"x": 1})
