"""Bodies of the Compute providers become submissions, and finished tasks become outcomes: no service, no database."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from action_providers.carrier import MAX_DETAILS_BYTES
from action_providers.compute.calls import Call, Order, order_v2, order_v3, submissions
from action_providers.compute.documents import INPUT_SCHEMA_V2, INPUT_SCHEMA_V3, MAX_TASKS, adapt_v2
from action_providers.compute.results import outcome, room_for
from action_providers.provider import Failed, Succeeded
from compute_agent.framing import join, json_data, pack, pack_json_arguments, read_json, unpack
from compute_agent.serialize import dump_data
from flows_engine.asl.input_schema import check_input, check_schema
from schemas.json_text import dumps, size_bytes

ACTION = "0195a000-0000-7000-8000-000000000001"
E1, E2, F1, F2 = (f"{digit}0000000-0000-4000-8000-000000000000" for digit in "1234")
HEAD = {"task_group_id": ACTION}


# What may be asked for


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ({"endpoint": E1, "function": F1}, [Call(endpoint_id=E1, function_id=F1)]),
        (
            {"endpoint": E1, "function": F1, "args": [1, "a"], "kwargs": {"b": None}},
            [Call(endpoint_id=E1, function_id=F1, args=[1, "a"], kwargs={"b": None})],
        ),
        ({"endpoint": E1, "func": F1, "payload": {"a": 1}}, [Call(endpoint_id=E1, function_id=F1, kwargs={"a": 1})]),
        ({"endpoint": E1, "function": F1, "args": "one"}, [Call(endpoint_id=E1, function_id=F1, args=["one"])]),
        (
            {"tasks": [{"endpoint": E1, "func": F1, "payload": {"a": 1}}, {"endpoint": E2, "function": F2, "args": 7}]},
            [
                Call(endpoint_id=E1, function_id=F1, kwargs={"a": 1}),
                Call(endpoint_id=E2, function_id=F2, args=[7]),
            ],
        ),
        (
            {"endpoint": E1, "function": F1, "tasks": [{"endpoint": E2, "function": F2}]},
            [Call(endpoint_id=E1, function_id=F1), Call(endpoint_id=E2, function_id=F2)],
        ),
        ({"endpoint": E1.upper(), "function": F1.upper()}, [Call(endpoint_id=E1, function_id=F1)]),
    ],
)
def test_every_published_form_of_version_2_is_read(body: dict[str, Any], calls: list[Call]) -> None:
    adapted = adapt_v2(body)

    assert check_input(INPUT_SCHEMA_V2, adapted) == []
    assert order_v2(adapted).calls == tuple(calls)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "'endpoint' is a required property"),
        ({"endpoint": E1}, "'function' is a required property"),
        ({"function": F1}, "'endpoint' is a required property"),
        ({"endpoint": "cluster", "function": F1}, "'cluster' is not a 'uuid'"),
        ({"tasks": []}, "[] should be non-empty"),
        ({"tasks": [{"endpoint": E1}]}, "'function' is a required property"),
        ({"tasks": [{"function": F1}]}, "'endpoint' is a required property"),
        ({"endpoint": E1, "function": F1, "kwargs": [1]}, "[1] is not of type 'object'"),
        ({"endpoint": E1, "function": F1, "kwargs": {}, "payload": {}}, "False schema does not allow {}"),
        ({"endpoint": E1, "function": F1, "colour": 1}, "'colour' was unexpected"),
        ("text", "'text' is not of type 'object'"),
    ],
)
def test_what_version_2_cannot_mean_is_refused(body: Any, complaint: str) -> None:
    problems = check_input(INPUT_SCHEMA_V2, adapt_v2(body))

    assert complaint in " ".join(problem.msg for problem in problems)


@pytest.mark.parametrize(
    "body",
    [
        {"endpoint": E1, "function": F1},
        {"endpoint_id": E1, "tasks": []},
        {"endpoint_id": E1, "tasks": [{"function_id": F1, "args": 3}]},
        {"endpoint_id": E1, "tasks": [{"function_id": F1}] * (MAX_TASKS + 1)},
    ],
)
def test_what_version_3_cannot_mean_is_refused(body: dict[str, Any]) -> None:
    assert check_input(INPUT_SCHEMA_V3, body) != []


def test_both_schemas_are_ones_that_everybody_can_read() -> None:
    assert [check_schema(one) for one in (INPUT_SCHEMA_V2, INPUT_SCHEMA_V3)] == [[], []]


# What is submitted


def test_each_endpoint_is_sent_one_submission_and_the_answer_finds_its_way_back() -> None:
    functions = [(E1, F1), (E2, F1), (E1, F2), (E1, F1)]
    calls = tuple(
        Call(endpoint_id=endpoint, function_id=function, args=[n]) for n, (endpoint, function) in enumerate(functions)
    )

    first, second = submissions(Order(calls=calls), ACTION)

    assert (first.endpoint_id, second.endpoint_id) == (E1, E2)
    assert first.body["tasks"] == {
        F1: [pack_json_arguments([0], {}), pack_json_arguments([3], {})],
        F2: [pack_json_arguments([2], {})],
    }
    assert dict(first.task_ids({"tasks": {F2: ["c"], F1: ["a", "b"]}})) == {0: "a", 3: "b", 2: "c"}
    assert dict(second.task_ids({"tasks": {F1: ["d"]}})) == {1: "d"}


def test_submissions_of_one_action_are_the_same_every_time_and_those_of_two_are_not() -> None:
    order = Order(calls=(Call(endpoint_id=E1, function_id=F1), Call(endpoint_id=E2, function_id=F1)))

    once, again = submissions(order, ACTION), submissions(order, ACTION)
    other = submissions(order, str(uuid.uuid4()))

    assert once == again
    ids = [one.body["submission_id"] for one in (*once, *other)]
    assert len(set(ids)) == 4
    assert {one.body["task_group_id"] for one in once} == {ACTION}


def test_version_3_passes_on_what_the_endpoint_and_the_caller_want() -> None:
    body = {
        "endpoint_id": E1,
        "tasks": [{"function_id": F1, "args": [1], "kwargs": {"x": [True]}}],
        "task_group_id": F2,
        "user_endpoint_config": {"account": "a"},
        "resource_specification": {"num_nodes": 2},
        "create_queue": True,
    }
    assert check_input(INPUT_SCHEMA_V3, body) == []

    [submission] = submissions(order_v3(body), ACTION)

    packed = submission.body["tasks"][F1][0]
    assert [read_json(one) for one in unpack(packed)] == [[1], {"x": [True]}]
    assert {name: submission.body.get(name) for name in body} == {
        "endpoint_id": None,
        "tasks": {F1: [packed]},
        "task_group_id": F2,
        "user_endpoint_config": {"account": "a"},
        "resource_specification": {"num_nodes": 2},
        "create_queue": None,
    }


# What comes of it


def succeeded(result: str, task_id: str = "t-1") -> dict[str, Any]:
    return {"task_id": task_id, "status": "success", "function_id": F1, "result": result, "error": None}


def failed(code: str, message: str, task_id: str = "t-2") -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {"task_id": task_id, "status": "failed", "function_id": F2, "exception": message, "error": error}


def name_of(function_id: str) -> str:
    return f"the function {'sum' if function_id == F1 else 'mean'}"


def test_results_stand_in_the_order_of_the_calls() -> None:
    tasks = [succeeded(json_data([1]), "a"), succeeded(pack([json_data("x")]), "b")]

    assert outcome(tasks, HEAD, name_of) == Succeeded(
        {
            "task_group_id": ACTION,
            "result": [[1], "x"],
            "results": [{"task_id": "a", "output": [1]}, {"task_id": "b", "output": "x"}],
        }
    )


def test_one_failed_task_fails_the_action_and_the_other_results_are_kept() -> None:
    traceback = "Traceback (most recent call last):\n  File 'f'\nValueError: no data\n"
    tasks = [succeeded(json_data(1), "a"), failed("RemoteExecutionError", traceback, "b")]

    assert outcome(tasks, HEAD, name_of) == Failed(
        {
            "task_group_id": ACTION,
            "code": "RemoteExecutionError",
            "description": "1 of 2 tasks failed; the first, number 1, of the function mean ended with "
            "RemoteExecutionError: ValueError: no data",
            "results": [
                {"task_id": "a", "output": 1},
                {"task_id": "b", "code": "RemoteExecutionError", "exception": traceback},
            ],
        }
    )


class OfTheirOwn:
    """A value that only pickle can carry."""


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (join("c0", "gASV"), "ResultNotJson", "its result is no JSON (a pickled value"),
        (join("00", "gASV"), "ResultNotJson", "its result is no JSON (a value pickled by dill"),
        (join("j1", dumps({"$": "bytes", "v": "AA=="})), "ResultNotJson", "its result cannot enter a flow"),
        (json_data("nul \0"), "ResultNotJson", "NUL character"),
        (join("11", '"\\ud800"'), "ResultNotJson", "lone surrogate"),
        (join("11", "[" * 200 + "]" * 200), "ResultNotJson", "nested more than 64 levels"),
        (join("11", "[" * 100_000 + "]" * 100_000), "ResultNotJson", "cannot enter a flow"),
        (join("11", "{"), "ResultNotJson", "cannot enter a flow"),
        ("", "ResultNotJson", "is no JSON"),
        (json_data("x" * room_for(1)), "ResultTooLarge", "Write large data to a file"),
    ],
)
def test_a_result_that_cannot_enter_a_flow_fails_in_words(result: str, code: str, words: str) -> None:
    ended = outcome([succeeded(result)], HEAD, name_of)

    assert isinstance(ended, Failed)
    assert ended.details["code"] == code
    assert ended.details["description"].startswith(f"The task of the function sum ended with {code}: ")
    assert words in ended.details["description"]


@pytest.mark.parametrize(
    ("value", "output"),
    [((1, 2), [1, 2]), ({"a": {3}}, {"a": [3]}), ("x" * 300_000, "x" * 300_000), (None, None), (1.5, 1.5)],
)
def test_python_values_become_what_json_has_for_them(value: object, output: object) -> None:
    ended = outcome([succeeded(dump_data(value))], HEAD, name_of)

    assert isinstance(ended, Succeeded)
    assert ended.details["result"] == [output]


def test_results_that_are_too_large_together_fail_with_the_limit() -> None:
    half = json_data("x" * (room_for(3) // 2))

    ended = outcome([succeeded(half)] * 3, HEAD, name_of)

    assert isinstance(ended, Failed)
    assert ended.details["code"] == "ResultTooLarge"
    assert str(room_for(3)) in ended.details["description"]


@pytest.mark.parametrize("message", ["line\n" * 13_000, "\N{SNOWMAN}" * 60_000, "\0" * 60_000])
@pytest.mark.parametrize("successes", [0, 100])
@pytest.mark.parametrize("failures", [1, 700, MAX_TASKS - 100])
def test_details_of_many_errors_and_large_results_fit_an_action(message: str, successes: int, failures: int) -> None:
    large = [succeeded(json_data("x" * 100_000))] * successes

    ended = outcome([*large, *[failed("RemoteExecutionError", message)] * failures], HEAD, name_of)

    assert size_bytes(ended.details) < MAX_DETAILS_BYTES
    results = ended.details["results"]
    assert all(one["code"] == "RemoteExecutionError" for one in results[successes:])
    assert len(results[successes]["exception"]) > 290


@pytest.mark.parametrize("count", [1, 100, MAX_TASKS])
def test_details_of_results_that_just_fit_fit_an_action(count: int) -> None:
    tasks = [succeeded(json_data("x" * (room_for(count) // count - 10)), ACTION)] * count

    ended = outcome(tasks, HEAD, name_of)

    assert isinstance(ended, Succeeded)
    assert size_bytes(ended.details) < MAX_DETAILS_BYTES
