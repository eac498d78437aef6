"""The client against a service in memory: published names and shapes, results decoded, refusals as exceptions."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest

from compute_agent import framing, serialize
from compute_agent.sdk import (
    Client,
    FramingError,
    PickleRefused,
    ShellFunction,
    TaskFailed,
    TaskLost,
    TaskPending,
    TaskUnknownError,
)
from compute_agent.wire import TaskState
from tests.unit.compute.sdk_service import ENDPOINT, ComputeInMemory


def add(left: int, right: int = 0) -> int:
    return left + right


@pytest.fixture
def service() -> ComputeInMemory:
    return ComputeInMemory()


@pytest.fixture
def client(service: ComputeInMemory) -> Client:
    return service.client()


def test_a_function_is_registered_in_the_published_shape(service: ComputeInMemory, client: Client) -> None:
    function_id = client.register_function(add, description="adds", group="g", public=True, on_loss="requeue")
    body = service.functions[function_id]
    assert body["function_name"] == "add"
    assert body["serialized"] is True
    assert {name: body[name] for name in ("description", "group", "public", "on_loss")} == {
        "description": "adds",
        "group": "g",
        "public": True,
        "on_loss": "requeue",
    }
    [code] = framing.unpack(body["function_code"])
    assert framing.python_version_of(code) == body["meta"]["python_version"]
    assert serialize.load_function(code)(1, right=2) == 3


def test_only_what_was_given_is_sent(service: ComputeInMemory, client: Client) -> None:
    body = service.functions[client.register_function(add)]
    assert set(body) == {"function_name", "function_code", "serialized", "meta"}


def test_a_shell_function_is_registered_without_pickle(service: ComputeInMemory, client: Client) -> None:
    body = service.functions[client.register_function(ShellFunction("echo {word}", name="say"))]
    [code] = framing.unpack(body["function_code"])
    assert framing.split(code)[0] == "sh"
    assert not framing.is_pickle(code)


def test_source_code_that_is_no_python_is_refused_here(client: Client) -> None:
    with pytest.raises(FramingError):
        client.register_source_code("def f(:\n", "f")


def test_run_submits_one_call(service: ComputeInMemory, client: Client) -> None:
    function_id = client.register_function(add)
    task_id = client.run(1, right=2, endpoint_id=ENDPOINT, function_id=function_id)
    assert serialize.load_arguments(service.payloads[task_id][1]) == ((1,), {"right": 2})


def test_a_batch_is_sent_in_one_request_and_under_one_id(service: ComputeInMemory, client: Client) -> None:
    function_id = client.register_function(add)
    batch = client.create_batch(user_endpoint_config={"account": "a"})
    for number in range(3):
        batch.add(function_id, (number,), {"right": 1})
    answers = [client.batch_run(ENDPOINT, batch) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(batch) == len(service.tasks) == 3
    assert service.submissions[0]["user_endpoint_config"] == {"account": "a"}


@pytest.fixture
def task_id(client: Client) -> str:
    return client.run(1, endpoint_id=ENDPOINT, function_id=client.register_function(add))


def test_a_result_that_is_not_there_yet_is_pending(client: Client, task_id: str) -> None:
    with pytest.raises(TaskPending, match="QUEUED"):
        client.get_result(task_id)
    assert client.get_task(task_id)["pending"] is True


def test_results_are_decoded(service: ComputeInMemory, client: Client, task_id: str) -> None:
    service.succeed(task_id, {"a": (1, 2)})
    assert client.get_result(task_id) == {"a": (1, 2)}
    assert client.get_task(task_id)["result"] == {"a": (1, 2)}
    assert client.get_task(task_id)["pending"] is False


def test_a_published_document_without_state_is_understood(
    service: ComputeInMemory, client: Client, task_id: str
) -> None:
    service.end(task_id, "SUCCEEDED", result="11\n[1]")
    del service.tasks[task_id]["state"]
    assert client.get_result(task_id) == [1]


@pytest.mark.parametrize(
    ("state", "error"), [("FAILED", TaskFailed), ("LOST", TaskLost), ("CANCELLED", CancelledError)]
)
def test_a_task_without_result_raises(
    service: ComputeInMemory, client: Client, task_id: str, state: str, error: type[Exception]
) -> None:
    service.fail(task_id, "WorkerLost", "gone", state)
    with pytest.raises(error):
        client.get_result(task_id)
    assert isinstance(client.get_batch_result([task_id])[task_id]["exception"], error)


def test_an_unknown_task_among_many_is_told_apart(service: ComputeInMemory, client: Client, task_id: str) -> None:
    found = client.get_batch_result([task_id, "gone"])
    assert found[task_id]["pending"] is True
    assert isinstance(found["gone"]["exception"], TaskUnknownError)


def test_a_pickled_result_needs_consent(service: ComputeInMemory, client: Client, task_id: str) -> None:
    service.succeed(task_id, add)
    with pytest.raises(PickleRefused, match=task_id):
        client.get_result(task_id)
    assert isinstance(client.get_task(task_id)["exception"], PickleRefused)
    assert client.get_result(task_id, allow_pickle=True)(1, 2) == 3
    assert service.client(allow_pickle=True).get_result(task_id)(1, 2) == 3


def test_cancel_says_what_became_of_each(service: ComputeInMemory, client: Client, task_id: str) -> None:
    other = client.run(1, endpoint_id=ENDPOINT, function_id=client.register_function(add))
    service.succeed(other, 1)
    assert client.cancel([task_id, other]) == {task_id: TaskState.CANCELLED, other: TaskState.SUCCEEDED}


def test_many_ids_are_asked_for_in_portions(service: ComputeInMemory, client: Client) -> None:
    assert len(client.get_batch_result([str(number) for number in range(450)])) == 450
    assert service.count("batch_status") == 3


def test_ids_that_an_answer_had_no_room_for_are_asked_for_again(service: ComputeInMemory, client: Client) -> None:
    service.most_in_batch = 40
    assert len(client.get_batch_result([str(number) for number in range(100)])) == 100
    assert service.count("batch_status") == 3


def test_lists_go_on_over_their_pages(client: Client, task_id: str) -> None:
    function_id = client.register_function(add)
    others = [client.run(1, endpoint_id=ENDPOINT, function_id=function_id) for _ in range(2)]
    assert [one["task_id"] for one in client.list_tasks(state=TaskState.QUEUED)] == [task_id, *others]


def test_a_deleted_function_is_registered_anew_when_it_is_used(service: ComputeInMemory, client: Client) -> None:
    first, _ = client.registered(add)
    client.delete_function(first)
    second, _ = client.registered(add)
    assert first != second
