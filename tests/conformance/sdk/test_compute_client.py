"""``globus_sdk.ComputeClientV2`` and ``ComputeClientV3``, unmodified, do against this server what they were made for.

Every method is called; a test lists them. The agent is played by the test, over HTTP like any agent.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import globus_sdk
import pytest
from globus_sdk.gare import to_gare

from tests.conformance.sdk.conftest import client_app
from tests.conformance.sdk.server import Server

#: What an official client packs: a function of one argument, and the arguments.
FUNCTION_CODE = "24\nst\ndouble:def double(x):"
ARGUMENTS = "6\n11\n[2]5\n11\n{}"
CALLED = {
    "ComputeClientV2": {
        "get_version",
        "get_result_amqp_url",
        "register_endpoint",
        "get_endpoint",
        "get_endpoint_status",
        "get_endpoints",
        "delete_endpoint",
        "lock_endpoint",
        "register_function",
        "get_function",
        "delete_function",
        "get_task",
        "get_task_batch",
        "get_task_group",
        "submit",
    },
    "ComputeClientV3": {
        "register_endpoint",
        "update_endpoint",
        "lock_endpoint",
        "get_endpoint_allowlist",
        "register_function",
        "submit",
    },
}

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


@pytest.fixture
def v2(app: globus_sdk.ClientApp) -> Iterator[globus_sdk.ComputeClientV2]:
    with globus_sdk.ComputeClientV2(app=app) as client:
        yield client


@pytest.fixture
def v3(app: globus_sdk.ClientApp) -> Iterator[globus_sdk.ComputeClientV3]:
    with globus_sdk.ComputeClientV3(app=app) as client:
        yield client


@pytest.fixture
def strangers_v2(server: Server, environment: None) -> Iterator[globus_sdk.ComputeClientV2]:
    with client_app(server.stranger) as app, globus_sdk.ComputeClientV2(app=app) as client:
        yield client


def function_document(**members: Any) -> dict[str, Any]:
    """As the official SDK sends it."""
    meta = {"python_version": "3.11.9", "sdk_version": "4.19.0", "serde_identifier": "01"}
    return {"function_name": "double", "function_code": FUNCTION_CODE, "serialized": True, "meta": meta, **members}


def endpoint_document(**members: Any) -> dict[str, Any]:
    """As the official agent sends it."""
    metadata = {
        "endpoint_version": "4.19.0",
        "python_version": "3.11.9",
        "hostname": "node1",
        "local_user": "ada",
        "endpoint_config": "display_name: lab",
        "user_config_template": "engine: {type: ThreadPoolEngine}",
        "user_config_schema": {"type": "object"},
    }
    return {"endpoint_name": "lab", "multi_user": False, "metadata": metadata, **members}


class Agent:
    """An agent that has begun a session and does what the test says."""

    def __init__(self, client: globus_sdk.ComputeClientV3, registration: Any) -> None:
        self._client = client
        self._path = f"/v3/endpoints/{registration['endpoint_id']}"
        self._session = registration["session"]["number"]
        self._received = 0

    def call(self, name: str, **members: Any) -> Any:
        return self._client.post(f"{self._path}/{name}", data={"session": self._session, **members}).data

    def lease(self, limit: int = 10) -> Any:
        work = self.call("lease", call=next(_CALLS), limit=limit, wait=20, received=self._received, functions_known=[])
        self._received = work["batch"]
        return work

    def report(self, *outcomes: dict[str, Any]) -> Any:
        return self.call("report", running=[], outcomes=list(outcomes))


def succeeded(task: dict[str, Any], result: str) -> dict[str, Any]:
    return {"task_id": task["task_id"], "fence": task["fence"], "state": "SUCCEEDED", "result": result}


def failed(task: dict[str, Any], message: str) -> dict[str, Any]:
    error = {"code": "RemoteExecutionError", "message": message}
    return {"task_id": task["task_id"], "fence": task["fence"], "state": "FAILED", "error": error}


def test_every_method_of_the_clients_is_accounted_for() -> None:
    for client in (globus_sdk.ComputeClientV2, globus_sdk.ComputeClientV3):
        methods = {
            name
            for name, member in vars(client).items()
            if callable(member) and not name.startswith("_") and not isinstance(member, type)
        }
        assert methods == CALLED[client.__name__]


def test_the_version_is_told_to_everybody(server: Server, v2: globus_sdk.ComputeClientV2) -> None:
    assert isinstance(v2.get_version().data, str)
    everything = v2.get_version(service="all").data
    assert everything["api"] == v2.get_version().data
    assert {"min_sdk_version", "min_ep_version", "min_endpoint_version"} <= everything.keys()


def test_where_there_is_no_broker_the_answer_says_what_is_instead(v2: globus_sdk.ComputeClientV2) -> None:
    with pytest.raises(globus_sdk.ComputeAPIError) as caught:
        v2.get_result_amqp_url()
    assert (caught.value.http_status, caught.value.code) == (501, "NOT_IMPLEMENTED")
    assert "/v3/task_groups/<id>/results" in str(caught.value.message)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_function_lives_from_registration_to_delete(
    version: str, v2: globus_sdk.ComputeClientV2, v3: globus_sdk.ComputeClientV3
) -> None:
    client = v2 if version == "v2" else v3
    function_id = client.register_function(function_document(description="twice")).data["function_uuid"]
    document = v2.get_function(function_id).data
    assert document["function_uuid"] == function_id
    assert (document["function_name"], document["description"]) == ("double", "twice")
    assert document["metadata"]["python_version"] == "3.11.9"
    assert "def double" in document["function_code"]

    assert v2.delete_function(function_id).data == {"result": 302}
    with pytest.raises(globus_sdk.ComputeAPIError) as caught:
        v2.get_function(function_id)
    assert (caught.value.http_status, caught.value.code) == (404, "FUNCTION_NOT_FOUND")


def test_an_endpoint_lives_from_registration_to_delete(
    v2: globus_sdk.ComputeClientV2, v3: globus_sdk.ComputeClientV3
) -> None:
    made = v3.register_endpoint(endpoint_document(display_name="The lab")).data
    endpoint_id = made["endpoint_id"]
    assert v3.update_endpoint(endpoint_id, endpoint_document(display_name="Lab 2")).data["endpoint_id"] == endpoint_id
    document = v2.get_endpoint(endpoint_id).data
    assert (document["uuid"], document["name"], document["display_name"]) == (endpoint_id, "lab", "Lab 2")
    assert document["hostname"] == "node1"
    assert v2.get_endpoint_status(endpoint_id).data["status"] == "online"
    for role in ({}, {"role": "owner"}, {"role": "any"}):
        listed = {one["uuid"]: one for one in v2.get_endpoints(**role).data}
        assert listed[endpoint_id]["display_name"] == "Lab 2"
    assert v3.get_endpoint_allowlist(endpoint_id).data == {
        "endpoint_id": endpoint_id,
        "restricted": False,
        "functions": [],
    }
    assert v2.delete_endpoint(endpoint_id).data == {"result": 302}
    with pytest.raises(globus_sdk.ComputeAPIError) as caught:
        v2.get_endpoint_status(endpoint_id)
    assert (caught.value.http_status, caught.value.code) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_locked_endpoint_stops_and_does_not_come_back_for_a_while(
    version: str, v2: globus_sdk.ComputeClientV2, v3: globus_sdk.ComputeClientV3
) -> None:
    made = v2.register_endpoint(endpoint_document()).data
    endpoint_id, agent = made["endpoint_id"], Agent(v3, made)
    locked = (v2 if version == "v2" else v3).lock_endpoint(endpoint_id).data
    assert locked["endpoint_id"] == endpoint_id
    assert datetime.fromisoformat(locked["lock_expiration_timestamp"])
    assert agent.call("heartbeat", held=[], running=[], status={})["stop"] is True
    with pytest.raises(globus_sdk.ComputeAPIError) as caught:
        v2.register_endpoint(endpoint_document(endpoint_uuid=endpoint_id))
    assert (caught.value.http_status, caught.value.code) == (423, "ENDPOINT_LOCKED")


def test_tasks_go_to_the_agent_and_their_results_come_back(
    v2: globus_sdk.ComputeClientV2, v3: globus_sdk.ComputeClientV3
) -> None:
    function_id = v3.register_function(function_document()).data["function_uuid"]
    made = v3.register_endpoint(endpoint_document()).data
    agent = Agent(v3, made)
    answer = v3.submit(made["endpoint_id"], {"create_queue": False, "tasks": {function_id: [ARGUMENTS] * 3}}).data
    group_id, task_ids = answer["task_group_id"], answer["tasks"][function_id]
    assert answer["endpoint_id"] == made["endpoint_id"]
    assert uuid.UUID(answer["request_id"])
    assert v2.get_task(task_ids[0]).data["status"] == "waiting-for-ep"

    work = agent.lease()
    assert [one["task_id"] for one in work["tasks"]] == task_ids
    assert {one["payload"] for one in work["tasks"]} == {ARGUMENTS}
    assert [one["function_id"] for one in work["functions"]] == [function_id]
    assert v2.get_task(task_ids[0]).data["status"] == "waiting-for-nodes"
    first, second, third = work["tasks"]
    agent.report(succeeded(first, "1\n4"), failed(second, "Traceback: no"))

    done = v2.get_task(task_ids[0]).data
    assert (done["status"], done["result"]) == ("success", "1\n4")
    assert float(done["completion_t"]) > 0
    batch = v2.get_task_batch(task_ids).data
    assert batch["response"] == "batch"
    assert {name: one["status"] for name, one in batch["results"].items()} == {
        task_ids[0]: "success",
        task_ids[1]: "failed",
        task_ids[2]: "waiting-for-nodes",
    }
    assert "Traceback: no" in batch["results"][task_ids[1]]["exception"]
    group = v2.get_task_group(group_id).data
    assert group["taskgroup_id"] == group_id
    assert [one["id"] for one in group["tasks"]] == task_ids
    agent.report(succeeded(third, "1\n5"))
    assert v2.get_task_batch([task_ids[2]]).data["results"][task_ids[2]]["result"] == "1\n5"


def test_a_submission_of_version_two_keeps_its_order(
    v2: globus_sdk.ComputeClientV2, v3: globus_sdk.ComputeClientV3
) -> None:
    one, other = (v2.register_function(function_document()).data["function_uuid"] for _ in range(2))
    places = [v3.register_endpoint(endpoint_document()).data for _ in range(2)]
    here, there = (place["endpoint_id"] for place in places)
    tasks = [[one, here, "a"], [other, there, "b"], [other, here, "c"], [one, here, "d"]]
    answer = v2.submit({"tasks": tasks}).data
    assert answer["response"] == "success"
    ids = [result["task_uuid"] for result in answer["results"]]
    assert [result["status"] for result in answer["results"]] == ["success"] * 4
    group = v2.get_task_group(answer["task_group_id"]).data
    assert {task["id"] for task in group["tasks"]} == set(ids)
    leased = {task["task_id"]: task["payload"] for place in places for task in Agent(v3, place).lease()["tasks"]}
    assert [leased[identifier] for identifier in ids] == ["a", "b", "c", "d"]


def test_others_do_not_see_what_is_not_theirs(
    v3: globus_sdk.ComputeClientV3, strangers_v2: globus_sdk.ComputeClientV2
) -> None:
    function_id = v3.register_function(function_document()).data["function_uuid"]
    endpoint_id = v3.register_endpoint(endpoint_document()).data["endpoint_id"]
    for look, code in (
        (lambda: strangers_v2.get_function(function_id), "FUNCTION_NOT_FOUND"),
        (lambda: strangers_v2.get_endpoint(endpoint_id), "ENDPOINT_NOT_FOUND"),
        (lambda: strangers_v2.get_task(uuid.uuid4()), "TASK_NOT_FOUND"),
        (lambda: strangers_v2.get_task_group(uuid.uuid4()), "TASK_GROUP_NOT_FOUND"),
    ):
        with pytest.raises(globus_sdk.ComputeAPIError) as caught:
            look()
        assert (caught.value.http_status, caught.value.code) == (404, code)
        assert caught.value.message


def test_an_error_is_read_by_the_client_as_it_was_meant(v3: globus_sdk.ComputeClientV3) -> None:
    with pytest.raises(globus_sdk.ComputeAPIError) as caught:
        v3.post("/v3/functions", data="{", encoding="text", headers={"Content-Type": "application/json"})
    error = caught.value
    assert (error.http_status, error.code) == (400, "REQUEST_MALFORMED")
    assert error.raw_json is not None
    assert error.raw_json["status"] == "Failed"
    assert "not JSON" in str(error.message)


def test_a_token_for_another_service_is_refused_with_what_it_lacks(
    app: globus_sdk.ClientApp, flows: globus_sdk.FlowsClient
) -> None:
    authorizer = app.get_authorizer(flows.resource_server)
    with (
        globus_sdk.ComputeClientV3(authorizer=authorizer) as client,
        pytest.raises(globus_sdk.ComputeAPIError) as caught,
    ):
        client.register_function(function_document())
    gare = to_gare(caught.value)
    assert caught.value.http_status == 403
    assert gare is not None
    assert gare.authorization_parameters.required_scopes == [str(globus_sdk.ComputeClientV3.scopes.all)]
