"""Pass: which value it produces."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flows_engine.asl.dialects import ASL
from flows_engine.asl.run import Branch
from flows_engine.asl.scope import Scope
from flows_engine.asl.states.base import Context, Done
from flows_engine.asl.states.pass_ import Pass


def enter(body: dict[str, Any], *, value: Any) -> Any:
    data = {"raw": True}
    context = Context(
        at=datetime(2026, 7, 1, tzinfo=UTC),
        branch=Branch(id="0", state="P", input=data),
        value=value,
        scope=Scope(data),
    )
    return Pass("P", {"Type": "Pass", "End": True, **body}, ASL).enter(context)


@pytest.mark.parametrize(
    "result",
    [{"a": 1}, "text", 0, False, None, [], {"path.$": "$.raw", "expression.=": "1 + 1", "deep": [{"x.$": "$"}]}],
)
def test_a_result_is_taken_literally(result: Any) -> None:
    assert enter({"Result": result}, value={"from": "Parameters"}) == Done(result)


@pytest.mark.parametrize("value", [{"from": "Parameters"}, [], None, 0])
def test_without_a_result_the_effective_input_goes_on(value: Any) -> None:
    assert enter({}, value=value) == Done(value)
