"""What the service refuses, with which code, and a sentence that says what would be right."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from compute_agent.service.requests import MAX_TASKS
from compute_agent.wire import MAX_FUNCTION_BYTES, MAX_PAYLOAD_BYTES
from flows_engine.store.db import SqlDatabase
from schemas.errors import ServiceError
from schemas.principals import group_urn
from tests.conformance.compute.service_world import ALICE, BOB, SOURCE, Agent, World, person, succeeded

NOBODY = str(uuid.UUID(int=1))
GROUP = str(uuid.UUID(int=2))
MIB = "x" * 2**20


@pytest.fixture
def world(database: SqlDatabase) -> World:
    return World(database, max_unfinished_tasks=5, max_functions=3, max_endpoints=2)


def refused(call) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        call()
    assert isinstance(caught.value.detail, str)
    return caught.value


def function(**members: Any) -> dict[str, Any]:
    return {"function_name": "add", "function_code": SOURCE, "serialized": False, **members}


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        ([], 400, "REQUEST_MALFORMED", "must be a JSON object"),
        ({}, 400, "REQUEST_MALFORMED", "'function_name'"),
        (function(function_code=7), 400, "REQUEST_MALFORMED", "'function_code'"),
        (function(function_code="a\0b", serialized=True), 400, "REQUEST_MALFORMED", "NUL"),
        (function(function_code="a\ud800", serialized=True), 400, "REQUEST_MALFORMED", "surrogate"),
        (function(function_code="def f(:"), 422, "SEMANTICALLY_INVALID", "not Python"),
        (
            function(function_code="x" * (MAX_FUNCTION_BYTES + 1), serialized=True),
            413,
            "FUNCTION_TOO_LARGE",
            "10485760",
        ),
        (function(public="yes"), 400, "REQUEST_MALFORMED", "true or false"),
        (function(group="readers"), 400, "INVALID_UUID", "'group'"),
        (function(meta={"on_loss": "maybe"}), 400, "REQUEST_MALFORMED", "report, requeue"),
        (function(max_requeues=99), 400, "REQUEST_MALFORMED", "from 0 to 3"),
        (function(ha_endpoint_id=NOBODY), 422, "SEMANTICALLY_INVALID", "cannot enforce"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(world: World, body: Any, status: int, code: str, text: str) -> None:
    error = refused(lambda: world.service.register_function(ALICE, body))
    assert (error.status, error.code) == (status, code)
    assert text in error.detail


@pytest.mark.parametrize(
    ("members", "status", "code", "text"),
    [
        ({"endpoint_name": None}, 400, "REQUEST_MALFORMED", "'endpoint_name'"),
        ({"users": ["alice"]}, 422, "SEMANTICALLY_INVALID", "urn:globus:auth:identity:<uuid>"),
        ({"users": 7}, 400, "REQUEST_MALFORMED", "'users'"),
        ({"allowed_functions": ["add"]}, 400, "INVALID_UUID", "'allowed_functions'"),
        ({"metadata": []}, 400, "REQUEST_MALFORMED", "'metadata'"),
        ({"agent": {"held": {"1": 1}}}, 400, "INVALID_UUID", "'held'"),
        ({"authentication_policy": NOBODY}, 422, "SEMANTICALLY_INVALID", "cannot enforce"),
    ],
)
def test_an_endpoint_that_cannot_be_registered_is_refused(
    world: World, members: dict[str, Any], status: int, code: str, text: str
) -> None:
    error = refused(lambda: Agent(world, **members))
    assert (error.status, error.code) == (status, code)
    assert text in error.detail


@pytest.mark.parametrize(
    ("members", "status", "code", "text"),
    [
        ({"tasks": None}, 400, "REQUEST_MALFORMED", "'tasks'"),
        ({"tasks": {}}, 400, "REQUEST_MALFORMED", "'tasks'"),
        ({"tasks": {"add": ["x"]}}, 400, "INVALID_UUID", "'add'"),
        ({"tasks": {NOBODY: "x"}}, 400, "REQUEST_MALFORMED", "list of packed arguments"),
        ({"tasks": {NOBODY: []}}, 400, "REQUEST_MALFORMED", "no task"),
        ({"tasks": {NOBODY: [{}]}}, 400, "REQUEST_MALFORMED", "task 0 of function"),
        ({"tasks": {NOBODY: ["a\0"]}}, 400, "REQUEST_MALFORMED", "NUL"),
        ({"tasks": {NOBODY: ["x"]}}, 404, "FUNCTION_NOT_FOUND", NOBODY),
        ({"tasks": {NOBODY: [""] * (MAX_TASKS + 1)}}, 400, "REQUEST_MALFORMED", "several submissions"),
        ({"tasks": {NOBODY: ["x" * (MAX_PAYLOAD_BYTES + 1)]}}, 413, "TASK_PAYLOAD_TOO_LARGE", "10485760"),
        ({"tasks": {NOBODY: [MIB] * 11}}, 413, "TASK_PAYLOAD_TOO_LARGE", "together"),
        ({"user_endpoint_config": []}, 400, "REQUEST_MALFORMED", "'user_endpoint_config'"),
        ({"task_group_id": "mine"}, 400, "INVALID_UUID", "'task_group_id'"),
    ],
)
def test_a_submission_that_cannot_be_run_is_refused(
    world: World, members: dict[str, Any], status: int, code: str, text: str
) -> None:
    agent, function_id = Agent(world), world.function()
    body = {"tasks": {function_id: ["x"]}, **members}
    error = refused(lambda: world.service.submit(ALICE, agent.endpoint_id, body))
    assert (error.status, error.code) == (status, code)
    assert text in error.detail
    assert agent.lease() == []


def test_a_limit_is_named_and_the_way_out(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    world.submit(agent.endpoint_id, function_id, 4)
    error = refused(lambda: world.submit(agent.endpoint_id, function_id, 2))
    assert (error.status, error.code) == (429, "QUOTA_EXCEEDED")
    assert "4 unfinished tasks" in error.detail
    assert "limit of 5" in error.detail
    agent.report(succeeded(agent.lease()[0]))
    world.submit(agent.endpoint_id, function_id, 2)
    error = refused(lambda: [world.function() for _ in range(3)])
    assert (error.status, "delete some" in error.detail) == (429, True)
    error = refused(lambda: [Agent(world) for _ in range(2)])
    assert (error.status, "delete some" in error.detail) == (429, True)


def test_strangers_see_no_function_group_task_or_endpoint(world: World) -> None:
    agent, function_id = Agent(world), world.function()
    group_id, (task_id,) = world.submit(agent.endpoint_id, function_id)
    service = world.service
    for call, code in [
        (lambda: service.get_function(BOB, function_id), "FUNCTION_NOT_FOUND"),
        (lambda: service.delete_function(BOB, function_id), "FUNCTION_NOT_FOUND"),
        (lambda: service.get_endpoint(BOB, agent.endpoint_id), "ENDPOINT_NOT_FOUND"),
        (lambda: service.delete_endpoint(BOB, agent.endpoint_id), "ENDPOINT_NOT_FOUND"),
        (lambda: service.lease(BOB, agent.endpoint_id, {"session": agent.session, "call": 1}), "ENDPOINT_NOT_FOUND"),
        (lambda: world.submit(agent.endpoint_id, function_id, caller=BOB), "ENDPOINT_NOT_FOUND"),
        (lambda: service.get_task(BOB, task_id), "TASK_NOT_FOUND"),
        (lambda: service.cancel_tasks(BOB, [task_id]), "TASK_NOT_FOUND"),
        (lambda: service.results(BOB, group_id), "TASK_GROUP_NOT_FOUND"),
        (lambda: service.cancel_group(BOB, group_id), "TASK_GROUP_NOT_FOUND"),
    ]:
        error = refused(call)
        assert (error.status, error.code) == (404, code)
    assert service.get_tasks(BOB, [task_id])[task_id]["reason"] == "TASK_NOT_FOUND"
    assert service.list_tasks(BOB)["tasks"] == service.list_endpoints(BOB, "any") == []
    error = refused(lambda: Agent(world, agent.endpoint_id, BOB))
    assert (error.status, error.code) == (403, "ENDPOINT_ACCESS_FORBIDDEN")
    world.state(task_id)


def test_users_of_an_endpoint_submit_to_it_and_do_nothing_else(world: World) -> None:
    agent, function_id = Agent(world, users=[BOB.urn]), world.function(public=True)
    world.submit(agent.endpoint_id, function_id, caller=BOB)
    assert agent.lease()[0].owner == BOB.urn
    assert [one["uuid"] for one in world.service.list_endpoints(BOB, "any")] == [agent.endpoint_id]
    assert "users" not in world.service.get_endpoint(BOB, agent.endpoint_id)
    for call in (
        lambda: world.service.delete_endpoint(BOB, agent.endpoint_id),
        lambda: world.service.lock_endpoint(BOB, agent.endpoint_id),
        lambda: world.service.heartbeat(BOB, agent.endpoint_id, {"session": agent.session}),
    ):
        error = refused(call)
        assert (error.status, error.code) == (403, "ENDPOINT_ACCESS_FORBIDDEN")


def test_a_public_endpoint_is_seen_and_does_not_take_tasks_of_everybody(world: World) -> None:
    agent, function_id = Agent(world, public=True), world.function(public=True)
    assert world.service.get_endpoint(BOB, agent.endpoint_id)["public"] is True
    error = refused(lambda: world.submit(agent.endpoint_id, function_id, caller=BOB))
    assert (error.status, error.code) == (403, "ENDPOINT_ACCESS_FORBIDDEN")


def test_a_function_is_run_by_its_group_and_deleted_by_its_owner(world: World) -> None:
    agent, function_id = Agent(world, users=["all_authenticated_users"]), world.function(group=GROUP)
    member = person("carol", groups=frozenset({GROUP}))
    assert group_urn(GROUP) in member.principals
    world.submit(agent.endpoint_id, function_id, caller=member)
    assert refused(lambda: world.submit(agent.endpoint_id, function_id, caller=BOB)).code == "FUNCTION_NOT_FOUND"
    error = refused(lambda: world.service.delete_function(member, function_id))
    assert (error.status, error.code) == (403, "FUNCTION_ACCESS_FORBIDDEN")


def test_an_endpoint_with_a_list_of_functions_runs_no_other(world: World) -> None:
    allowed, other = world.function(), world.function()
    agent = Agent(world, allowed_functions=[allowed])
    world.submit(agent.endpoint_id, allowed)
    error = refused(lambda: world.submit(agent.endpoint_id, other))
    assert (error.status, error.code) == (403, "FUNCTION_NOT_PERMITTED")
    assert world.service.allowed_functions(ALICE, agent.endpoint_id) == {
        "endpoint_id": agent.endpoint_id,
        "restricted": True,
        "functions": [allowed],
    }


def test_nobody_adds_tasks_to_the_group_of_another(world: World) -> None:
    agent, function_id = Agent(world, users=[BOB.urn]), world.function(public=True)
    group_id, _ = world.submit(agent.endpoint_id, function_id)
    error = refused(lambda: world.submit(agent.endpoint_id, function_id, caller=BOB, task_group_id=group_id))
    assert (error.status, error.code) == (403, "TASK_GROUP_ACCESS_FORBIDDEN")
    assert world.submit(agent.endpoint_id, function_id, task_group_id=group_id)[0] == group_id
    assert world.service.results(ALICE, group_id)["unfinished"] == 2


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("lease", {"limit": -1}),
        ("lease", {"limit": "all"}),
        ("lease", {"wait": "long"}),
        ("lease", {"session": True}),
        ("lease", {"session": None}),
        ("heartbeat", {"status": []}),
        ("heartbeat", {"held": {}}),
        ("report", {"outcomes": {}}),
        ("report", {"outcomes": ["done"]}),
        ("leave", {"session": "1"}),
    ],
)
def test_a_malformed_call_of_an_agent_is_refused(world: World, call: str, body: dict[str, Any]) -> None:
    agent = Agent(world)
    body = {"session": agent.session, **body}
    error = refused(lambda: getattr(world.service, call)(ALICE, agent.endpoint_id, body))
    assert (error.status, error.code) == (400, "REQUEST_MALFORMED")


def test_an_id_that_is_no_uuid_is_named(world: World) -> None:
    for call in (world.service.get_task, world.service.get_function, world.service.get_endpoint, world.service.results):
        error = refused(lambda call=call: call(ALICE, "latest"))
        assert (error.status, error.code, error.extra) == (400, "INVALID_UUID", {"error_args": ["latest"]})
