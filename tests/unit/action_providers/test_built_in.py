"""Hello World, expression evaluation, and how providers are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from action_providers.expression_eval import ExpressionEval
from action_providers.hello_world import HelloWorld
from action_providers.provider import Action, Failed, Outcome, Succeeded
from action_providers.registry import built_in, by_path, discover
from schemas.json_text import Json
from tests.fakes.clock import VirtualClock
from tests.unit.action_providers.scripted import ALICE, Lab, Scripted


def add(expression: str, arguments: Mapping[str, Json]) -> Json:
    """A language with one sentence: names joined by plus."""
    try:
        return sum(arguments[name.strip()] for name in expression.split("+"))
    except KeyError as error:
        raise ValueError(f"no value named {error.args[0]!r}") from error


def evaluated(body: Any, clock: VirtualClock) -> Outcome:
    action = Action(action_id="a", body=body, caller=ALICE, label=None, started_at=clock.now())
    return ExpressionEval(add).run(action, clock.now())


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"expression": "a + b", "arguments": {"a": 1, "b": 2}}, {"result": 3}),
        ({"expression": "a", "arguments": {"a": 1}, "result_path": "$.sums.first"}, {"sums": {"first": 1}}),
        ({"expression": "a", "arguments": {"a": 1}, "result_path": "sums.first"}, {"sums": {"first": 1}}),
        (
            {
                "expressions": [
                    {"expression": "a", "arguments": {"a": 1}},
                    {"expression": "a", "arguments": {"a": 2}, "result_path": "other"},
                    {"expression": "a", "arguments": {"a": 3}},
                ]
            },
            {"result": 3, "other": 2},
        ),
    ],
)
def test_values_are_placed_at_their_result_paths(body: Any, details: Any, clock: VirtualClock) -> None:
    assert evaluated(body, clock) == Succeeded(details)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"expression": "a + c", "arguments": {"a": 1}}, "no value named 'c'"),
        ({"expression": "a", "arguments": {"a": 1}, "result_path": "$.a["}, "names joined by dots"),
        (
            {
                "expressions": [
                    {"expression": "a", "arguments": {"a": 1}},
                    {"expression": "a", "arguments": {"a": 1}, "result_path": "result.x"},
                ]
            },
            "leads through 'result'",
        ),
    ],
)
def test_what_cannot_be_evaluated_fails_with_the_reason(body: Any, sentence: str, clock: VirtualClock) -> None:
    outcome = evaluated(body, clock)

    assert isinstance(outcome, Failed)
    assert sentence in outcome.details["description"]


def test_hello_world_greets_at_once(lab: Lab) -> None:
    assert lab.run({"echo_string": "hi"}, path="hello_world")["details"] == {"Hello": "World", "hello": "hi"}
    assert lab.run({}, path="hello_world", request_id="2")["details"] == {"Hello": "World"}


def test_hello_world_sleeps_as_long_as_asked(lab: Lab, clock: VirtualClock) -> None:
    action_id = lab.run({"sleep_time": 10}, path="hello_world", waiter="w")["action_id"]
    clock.advance(9.9)
    lab.background.work_off()
    assert lab.status(action_id, path="hello_world")["status"] == "ACTIVE"

    clock.advance(0.1)
    lab.background.work_off()
    assert lab.status(action_id, path="hello_world")["status"] == "SUCCEEDED"
    assert lab.wakes == ["w"]


def test_hello_world_waits_for_the_consent_it_was_told_to_need(lab: Lab) -> None:
    document = lab.run({"required_dependent_scope": "deep"}, path="hello_world")
    assert (document["status"], document["details"]["code"]) == ("INACTIVE", "ConsentRequired")
    assert document["details"]["required_scope"] == "deep"

    still = lab.actions.resume("hello_world", document["action_id"], ALICE)
    assert still["status"] == "INACTIVE"
    richer = replace(ALICE, scopes=frozenset({"deep"}))
    assert lab.actions.resume("hello_world", document["action_id"], richer)["status"] == "SUCCEEDED"


def test_built_in_providers_are_served_under_their_paths() -> None:
    assert set(by_path(built_in(evaluate=add))) == {"hello_world", "expression_eval"}


def test_two_providers_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="HelloWorld and HelloWorld both have the path 'hello_world'"):
        by_path([HelloWorld(), HelloWorld()])


@pytest.mark.parametrize("path", ["", "/x", "X", "a/../b", "a/run", "a b"])
def test_a_path_that_cannot_be_served_is_refused(path: str, clock: VirtualClock) -> None:
    provider = Scripted(clock)
    provider.description = replace(Scripted.description, path=path)  # type: ignore[misc] - one broken instance

    with pytest.raises(ValueError, match="cannot be served"):
        by_path([provider])


def test_entry_points_are_loaded_and_broken_ones_reported_by_name() -> None:
    points = [
        EntryPoint("hello", "action_providers.hello_world:HelloWorld", "action_providers"),
        EntryPoint("missing", "no_such_package:Tool", "action_providers"),
        EntryPoint("wrong", "json:JSONDecoder", "action_providers"),
    ]
    found = discover(points)

    assert [type(one) for one in found.providers] == [HelloWorld]
    assert [problem.name for problem in found.problems] == ["missing", "wrong"]
    assert "no_such_package" in str(found.problems[0])
    assert "not a subclass" in str(found.problems[1])
