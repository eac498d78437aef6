"""From submission to result, on every database."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import event, func, select

from compute_agent.framing import unpack_code
from compute_agent.service.tables import payloads, tasks
from compute_agent.wire import MAX_MESSAGE_BYTES, MAX_RESULT_BYTES, Outcome, TaskState
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from schemas.principals import Caller
from tests.conformance.compute.service_world import (
    ALICE,
    SOURCE,
    Agent,
    World,
    failed,
    given_back,
    lost,
    succeeded,
)


@pytest.fixture
def world(database: SqlDatabase) -> World:
    return World(database)


def test_a_task_goes_to_the_agent_and_its_result_comes_back(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (task_id,) = world.submit(
        agent.endpoint_id, function_id, user_endpoint_config={"nodes": 2}, resource_specification={"num_nodes": 1}
    )
    assert world.service.get_task(ALICE, task_id)["status"] == "waiting-for-ep"
    (task,) = agent.lease()
    assert (task.task_id, task.fence, task.function_id, task.owner) == (task_id, 1, function_id, ALICE.urn)
    assert (task.user_endpoint_config, task.resource_specification) == ({"nodes": 2}, {"num_nodes": 1})
    (code,) = agent.last["functions"]
    assert unpack_code(code["code"]) == f"st\nadd:{SOURCE}"
    assert world.service.get_task(ALICE, task_id)["status"] == "waiting-for-nodes"
    agent.report(running=[task_id])
    assert world.service.get_task(ALICE, task_id)["status"] == "running"
    world.clock.advance(2)
    outcome = Outcome(
        task_id=task_id,
        fence=1,
        state=TaskState.SUCCEEDED,
        result="11\n3",
        details={"started_at": 1.5, "ended_at": 2.5},
    )
    assert agent.report(outcome) == {"accepted": [task_id], "refused": {}}
    document = world.service.get_task(ALICE, task_id)
    assert (document["status"], document["result"], document["error"]) == ("success", "11\n3", None)
    assert document["completion_t"] == "1767225602.000000"
    assert document["details"]["task_transitions"]["execution-start"] == 1.5
    assert world.finished == [group_id]
    with world.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(payloads)) == 0


def test_the_answer_to_a_submission_has_the_order_of_the_request(world: World) -> None:
    agent, first, second = Agent(world), world.function(), world.function()
    wanted = {second: ["11\n[2]", "11\n[0]", "11\n[1]"], first: ["11\n[9]"]}
    answer = world.service.submit(ALICE, agent.endpoint_id, {"tasks": wanted, "create_queue": True})
    assert list(answer["tasks"]) == [second, first]
    payload_of = {task.task_id: task.payload for task in agent.lease()}
    assert {name: [payload_of[one] for one in ids] for name, ids in answer["tasks"].items()} == wanted
    assert all(uuid.UUID(answer[name]) for name in ("request_id", "task_group_id", "endpoint_id"))


def test_the_oldest_task_leaves_first_whoever_submitted_it(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    order = [world.submit(agent.endpoint_id, function_id)[1][0] for _ in range(5)]
    assert [task.task_id for task in agent.lease(2)] == order[:2]
    assert [task.task_id for task in agent.lease(5)] == order[2:]


def test_a_function_that_the_agent_knows_is_not_sent_again(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    world.submit(agent.endpoint_id, function_id, 3)
    agent.lease(2)
    assert [one["function_id"] for one in agent.last["functions"]] == [function_id]
    agent.lease(2, functions_known=[function_id])
    assert agent.last["functions"] == []


def test_an_answer_to_lease_holds_no_more_bytes_than_can_be_sent(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    big = "x" * (9 * 1024 * 1024)
    for _ in range(3):
        world.service.submit(ALICE, agent.endpoint_id, {"tasks": {function_id: [big]}})
    assert [len(agent.lease()) for _ in range(4)] == [1, 1, 1, 0]


def test_a_repeated_submission_makes_no_second_task(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    body = {"tasks": {function_id: ["11\n[1]"]}, "submission_id": str(uuid.uuid4())}
    first = world.service.submit(ALICE, agent.endpoint_id, body)
    assert world.service.submit(ALICE, agent.endpoint_id, body) == first
    assert len(agent.lease()) == 1
    with pytest.raises(ServiceError) as caught:
        world.service.submit(ALICE, agent.endpoint_id, {**body, "tasks": {function_id: ["11\n[2]"]}})
    assert (caught.value.status, caught.value.code) == (409, "SUBMISSION_ID_REUSED")


def test_a_repeated_submission_is_answered_whatever_has_happened_since(database: SqlDatabase) -> None:
    """Its tasks count against the quota already, and the endpoint may have been stopped or deleted."""
    world = World(database, max_unfinished_tasks=1)
    agent, function_id = Agent(world), world.function()
    body = {"tasks": {function_id: ["11\n[1]"]}, "submission_id": str(uuid.uuid4())}
    first = world.service.submit(ALICE, agent.endpoint_id, body)
    assert world.service.submit(ALICE, agent.endpoint_id, body) == first
    agent.leave()
    assert world.service.submit(ALICE, agent.endpoint_id, body) == first
    world.service.delete_endpoint(ALICE, agent.endpoint_id)
    assert world.service.submit(ALICE, agent.endpoint_id, body) == first


def test_a_batch_of_ids_brings_no_more_bytes_of_results_than_asked_for_but_one_result(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, task_ids = world.submit(agent.endpoint_id, function_id, 4)
    small, large, other, last = agent.lease()
    agent.report(succeeded(small), succeeded(large, f'11\n"{"x" * 500}"'), succeeded(other), succeeded(last))
    asked, answers = list(task_ids), []
    while asked:
        answers.append(list(world.service.get_tasks(ALICE, asked, most_bytes=100)))
        asked = [one for one in asked if one not in answers[-1]]
    assert answers == [[small.task_id], [large.task_id], [other.task_id, last.task_id]]


def test_results_come_in_the_order_of_finishing_and_none_twice(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, task_ids = world.submit(agent.endpoint_id, function_id, 4)
    leased = {task.task_id: task for task in agent.lease()}
    order = [task_ids[2], task_ids[0], task_ids[3]]
    for task_id in order:
        agent.report(succeeded(leased[task_id]))
    page = world.service.results(ALICE, group_id, after=0, limit=2)
    assert ([one["task_id"] for one in page["results"]], page["unfinished"]) == (order[:2], 1)
    page = world.service.results(ALICE, group_id, after=page["marker"], limit=2)
    assert [one["task_id"] for one in page["results"]] == order[2:]
    again = world.service.results(ALICE, group_id, after=page["marker"])
    assert again == {"results": [], "marker": page["marker"], "unfinished": 1}


@pytest.mark.parametrize(
    ("outcome", "status", "code", "text"),
    [
        (failed, "failed", "RemoteExecutionError", "ZeroDivisionError"),
        (lost, "failed", "WorkerLost", "the worker died"),
        (
            lambda task: succeeded(task, "x" * (MAX_RESULT_BYTES + 1)),
            "failed",
            "MaxResultSizeExceeded",
            "10485761 bytes",
        ),
        (lambda task: succeeded(task, "a\0b"), "failed", "ResultNotSerializable", "NUL"),
        (lambda task: failed(task, "é" * MAX_MESSAGE_BYTES), "failed", "RemoteExecutionError", "characters left out"),
    ],
    ids=["raised", "lost", "too large", "NUL in result", "long traceback"],
)
def test_a_task_that_failed_says_why(world: World, outcome, status: str, code: str, text: str) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    (task,) = agent.lease()
    assert agent.report(outcome(task))["accepted"] == [task_id]
    document = world.service.get_task(ALICE, task_id)
    assert (document["status"], document["error"]["code"]) == (status, code)
    assert text in document["exception"]
    assert len(document["exception"].encode()) <= MAX_MESSAGE_BYTES


def test_the_first_outcome_stands_and_its_repetition_is_accepted(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    (task,) = agent.lease()
    for _ in range(2):
        assert agent.report(succeeded(task)) == {"accepted": [task_id], "refused": {}}
    assert list(agent.report(failed(task))["refused"]) == [task_id]
    assert world.state(task_id) == "SUCCEEDED"
    assert world.service.results(ALICE, world.finished[0])["unfinished"] == 0


def test_what_is_given_back_is_leased_again_and_the_old_fence_is_not_believed(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    (old,) = agent.lease()
    agent.report(given_back(old))
    assert world.state(task_id) == "QUEUED"
    (new,) = agent.lease()
    assert new.fence > old.fence
    assert list(agent.report(succeeded(old))["refused"]) == [task_id]
    assert agent.report(given_back(old))["accepted"] == [task_id]
    assert world.state(task_id) == "LEASED"
    assert agent.report(succeeded(new))["accepted"] == [task_id]


def test_a_lost_task_is_queued_again_as_often_as_its_function_allows(world: World) -> None:
    agent = Agent(world)
    function_id = world.function(meta={"on_loss": "requeue"}, max_requeues=2)
    group_id, (task_id,) = world.submit(agent.endpoint_id, function_id)
    for _ in range(2):
        (task,) = agent.lease()
        assert task.on_loss == "requeue"
        agent.report(lost(task))
        assert world.state(task_id) == "QUEUED"
    (task,) = agent.lease()
    agent.report(lost(task))
    document = world.service.get_task(ALICE, task_id)
    assert (document["state"], document["error"]["code"]) == ("LOST", "WorkerLost")
    assert "queued again 2 times" in document["exception"]
    assert world.finished == [group_id]


def test_one_outcome_that_cannot_be_read_does_not_keep_back_the_others(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (good, bad) = world.submit(agent.endpoint_id, function_id, 2)
    first, _ = agent.lease()
    body = {
        "session": agent.session,
        "outcomes": [{"task_id": bad, "fence": 1, "state": "DONE"}, succeeded(first).to_json()],
    }
    answer = world.service.report(ALICE, agent.endpoint_id, body)
    assert answer["accepted"] == [good]
    assert "DONE" in answer["refused"][bad]


def test_a_batch_of_ids_is_answered_even_where_one_is_unknown(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    nobody = str(uuid.uuid4())
    documents = world.service.get_tasks(ALICE, [task_id, nobody])
    assert documents[task_id]["status"] == "waiting-for-ep"
    assert (documents[nobody]["status"], documents[nobody]["reason"]) == ("failed", "TASK_NOT_FOUND")


def test_lists_are_paged_newest_first(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, task_ids = world.submit(agent.endpoint_id, function_id, 5)
    seen, marker = [], None
    while True:
        page = world.service.list_tasks(ALICE, marker=marker, limit=2)
        seen += [one["task_id"] for one in page["tasks"]]
        if (marker := page["marker"]) is None:
            break
    assert seen == task_ids[::-1]
    (task,) = agent.lease(1)
    leased = world.service.list_tasks(ALICE, state="LEASED", endpoint_id=agent.endpoint_id)
    assert [one["task_id"] for one in leased["tasks"]] == [task.task_id]
    functions = world.service.list_functions(ALICE, limit=10)
    assert [one["function_uuid"] for one in functions["functions"]] == [function_id]


def test_a_linked_identity_sees_the_tasks_of_the_other(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (task_id,) = world.submit(agent.endpoint_id, function_id)
    linked = Caller(identity_id=str(uuid.uuid4()), username="a", identities=frozenset({ALICE.identity_id}))
    assert world.service.get_task(linked, task_id)["task_id"] == task_id
    assert world.service.get_task_group(linked, group_id)["tasks"][0]["id"] == task_id


def test_the_code_of_a_deleted_function_is_kept_while_a_task_needs_it(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    _, (task_id,) = world.submit(agent.endpoint_id, function_id)
    assert world.service.delete_function(ALICE, function_id) == {"result": 302}
    world.service.sweep()
    (task,) = agent.lease()
    assert agent.last["functions"][0]["code"] != ""
    agent.report(succeeded(task))
    assert world.service.sweep() == 1
    assert world.service.get_task(ALICE, task_id)["function_id"] == function_id


def test_many_tasks_take_no_more_statements_than_one(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    world.submit(agent.endpoint_id, function_id)  # the user's row is made once
    statements: list[str] = []

    @event.listens_for(world.db.engine, "before_cursor_execute")
    def _count(_connection, _cursor, statement: str, *_rest) -> None:
        statements.append(statement)

    def cost(action) -> int:
        statements.clear()
        action()
        return len(statements)

    def round_trip(count: int) -> list[int]:
        leased: list = []
        submitting = cost(lambda: world.submit(agent.endpoint_id, function_id, count))
        leasing = cost(lambda: leased.extend(agent.lease(count)))
        reporting = cost(lambda: agent.report(*map(succeeded, leased)))
        assert len(leased) == count
        return [submitting, leasing, reporting]

    agent.report(*map(succeeded, agent.lease()))
    few, many = round_trip(2), round_trip(500)
    assert many == few
    with world.db.read() as tx:
        assert tx.scalar(select(func.count()).where(tasks.c.state == "SUCCEEDED")) == 503
