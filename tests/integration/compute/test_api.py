"""The Compute API over the real service and database: its description, requests that wait, version two, our own faults."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from compute_agent.service import tables
from compute_agent.service.api import create_blueprint
from compute_agent.service.compute import ComputeService
from flows_engine.store.db import SqlDatabase
from schemas.principals import Caller
from schemas.scopes import COMPUTE_SCOPE
from tests.fakes.authorizer import FakeAuthorizer, person
from tests.fakes.clock import VirtualClock

ADA, BOB = person("ada"), person("bob")
#: A wait that no test sees the end of.
LONG_S = 20
SHORT_S = 5.0

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


class Api:
    """The API as two people call it; ``waiting`` requests may wait at a time."""

    def __init__(self, database: SqlDatabase, *, waiting: int = 8) -> None:
        tables.metadata.create_all(database.engine)
        self.database = database
        self.service = ComputeService(database, VirtualClock())
        authorizer = FakeAuthorizer()
        self._tokens = {one.urn: authorizer.token(one, (COMPUTE_SCOPE,), "funcx_service") for one in (ADA, BOB)}
        self.app = Flask("compute")
        self.app.register_blueprint(create_blueprint(self.service, authorizer, waiting=waiting))

    def send(self, method: str, path: str, body: Any = None, *, who: Caller = ADA) -> TestResponse:
        headers = {"Authorization": f"Bearer {self._tokens[who.urn]}"}
        return self.app.test_client().open(f"/compute{path}", method=method, json=body, headers=headers)

    def call(self, method: str, path: str, body: Any = None, *, who: Caller = ADA, status: int = 200) -> Any:
        answer = self.send(method, path, body, who=who)
        assert answer.status_code == status, answer.text
        return answer.json

    def function(self) -> str:
        body = {"function_name": "f", "function_code": "def f(x):\n    return x\n", "serialized": False}
        return str(self.call("POST", "/v3/functions", body)["function_uuid"])

    def endpoint(self, **members: Any) -> Endpoint:
        made = self.call("POST", "/v3/endpoints", {"endpoint_name": "lab", **members})
        return Endpoint(self, made["endpoint_id"], made["session"]["number"])


class Endpoint:
    """An endpoint whose agent the test plays."""

    def __init__(self, api: Api, endpoint_id: str, session: int) -> None:
        self.id = endpoint_id
        self._api = api
        self._session = session
        self._received = 0

    def submit(self, function_id: str, *payloads: str, **members: Any) -> Any:
        body = {"tasks": {function_id: list(payloads)}, **members}
        return self._api.call("POST", f"/v3/endpoints/{self.id}/submit", body)

    def lease_answer(self, wait_s: float) -> TestResponse:
        body = {
            "session": self._session,
            "call": next(_CALLS),
            "limit": 10,
            "wait": wait_s,
            "received": self._received,
            "functions_known": [],
        }
        return self._api.send("POST", f"/v3/endpoints/{self.id}/lease", body)

    def lease(self, wait_s: float = 0) -> Any:
        answer = self.lease_answer(wait_s)
        assert answer.status_code == 200, answer.text
        self._received = answer.json["batch"]
        return answer.json

    def succeed(self, task: Any, result: str) -> Any:
        outcome = {"task_id": task["task_id"], "fence": task["fence"], "state": "SUCCEEDED", "result": result}
        body = {"session": self._session, "running": [], "outcomes": [outcome]}
        return self._api.call("POST", f"/v3/endpoints/{self.id}/report", body)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    made = SqlDatabase(f"sqlite:///{tmp_path / 'compute.db'}")
    yield made
    made.dispose()


@pytest.fixture
def api(database: SqlDatabase) -> Api:
    return Api(database)


@pytest.fixture
def threads(api: Api) -> Iterator[ThreadPoolExecutor]:
    """Where requests wait; whatever becomes of the test, they end."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        api.service.news.close()


def until(condition: Any, *, within_s: float = SHORT_S) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        threading.Event().wait(0.005)


def listeners(api: Api) -> int:
    return sum(len(one) for one in api.service.news._listeners.values())


# -- description


def test_every_route_is_described_and_every_description_is_a_route(api: Api) -> None:
    document = api.call("GET", "/openapi.json")
    methods = {"get", "put", "post", "delete", "patch"}
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method in methods
    }
    routes = {
        (method, re.sub(r"<([^>]+)>", r"{\1}", rule.rule.removeprefix("/compute")))
        for rule in api.app.url_map.iter_rules()
        if rule.rule.startswith(("/compute/v2/", "/compute/v3/"))
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert described == routes


def test_every_reference_in_the_document_leads_somewhere(api: Api) -> None:
    answer = api.send("GET", "/openapi.json")
    references = set(re.findall(r'"\$ref":\s*"#/([^"]+)"', answer.text))
    assert references
    for reference in references:
        place = answer.json
        for part in reference.split("/"):
            place = place[part]
    items = [item for path in answer.json["paths"].values() for item in path.values() if isinstance(item, dict)]
    names = [item["operationId"] for item in items]
    assert len(names) == len(set(names))


def test_the_page_loads_everything_from_this_server(api: Api) -> None:
    page = api.send("GET", "/docs/")
    assert '"url": "/compute/openapi.json"' in page.text
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert source.startswith("/compute/docs/"), source


# -- requests that wait


def test_a_lease_that_waits_is_answered_at_once_when_a_task_comes(api: Api, threads: ThreadPoolExecutor) -> None:
    endpoint, function = api.endpoint(), api.function()
    waiting = threads.submit(endpoint.lease, LONG_S)
    until(lambda: listeners(api) == 1)
    submitted = endpoint.submit(function, "a")
    work = waiting.result(SHORT_S)
    assert [one["task_id"] for one in work["tasks"]] == submitted["tasks"][function]


def test_whoever_waits_for_results_is_answered_at_once_when_one_comes(api: Api, threads: ThreadPoolExecutor) -> None:
    endpoint, function = api.endpoint(), api.function()
    submitted = endpoint.submit(function, "a", "b")
    path = f"/v3/task_groups/{submitted['task_group_id']}/results"
    first, second = endpoint.lease()["tasks"]
    waiting = threads.submit(api.call, "GET", f"{path}?wait={LONG_S}")
    until(lambda: listeners(api) == 1)
    endpoint.succeed(first, "r1")
    found = waiting.result(SHORT_S)
    assert [(one["task_id"], one["result"]) for one in found["results"]] == [(first["task_id"], "r1")]
    assert found["unfinished"] == 1
    endpoint.succeed(second, "r2")
    found = api.call("GET", f"{path}?wait={LONG_S}&after={found['marker']}")
    assert [one["result"] for one in found["results"]] == ["r2"]
    began = time.monotonic()
    assert api.call("GET", f"{path}?wait={LONG_S}&after={found['marker']}")["results"] == []
    assert time.monotonic() - began < SHORT_S, "nothing is left to wait for"


def test_when_every_place_is_taken_the_others_are_asked_to_come_again(
    database: SqlDatabase, api: Api, threads: ThreadPoolExecutor
) -> None:
    api = Api(database, waiting=1)
    endpoint, other, function = api.endpoint(), api.endpoint(), api.function()
    group = other.submit(function, "a")["task_group_id"]
    waiting = threads.submit(endpoint.lease_answer, LONG_S)
    until(lambda: listeners(api) == 1)
    other.lease()
    for answer in (other.lease_answer(LONG_S), api.send("GET", f"/v3/task_groups/{group}/results?wait={LONG_S}")):
        assert answer.status_code == 200
        assert answer.headers["Retry-After"] == "1"
        assert answer.json["retry_after_s"] == 1
    assert "Retry-After" not in api.send("GET", f"/v3/task_groups/{group}/results").headers, "nobody wanted to wait"
    endpoint.submit(function, "b")
    assert "Retry-After" not in waiting.result(SHORT_S).headers
    other.submit(function, "c")
    answer = other.lease_answer(LONG_S)
    assert len(answer.json["tasks"]) >= 1
    assert "Retry-After" not in answer.headers


def test_when_the_server_stops_nobody_waits_any_longer(api: Api, threads: ThreadPoolExecutor) -> None:
    endpoint, function = api.endpoint(), api.function()
    group = api.endpoint().submit(function, "a")["task_group_id"]
    lease = threads.submit(endpoint.lease, LONG_S)
    results = threads.submit(api.call, "GET", f"/v3/task_groups/{group}/results?wait={LONG_S}")
    until(lambda: listeners(api) == 2)
    api.service.news.close()
    assert lease.result(SHORT_S)["tasks"] == []
    assert results.result(SHORT_S)["results"] == []
    began = time.monotonic()
    endpoint.lease(LONG_S)
    assert time.monotonic() - began < SHORT_S, "nor does who comes later"


# -- version two


def test_what_one_endpoint_refuses_does_not_hinder_the_others(api: Api) -> None:
    function, here, gone = api.function(), api.endpoint(), api.endpoint()
    api.call("DELETE", f"/v2/endpoints/{gone.id}")
    tasks = [[function, gone.id, "a"], [function, here.id, "b"], [function, gone.id, "c"]]
    answer = api.call("POST", "/v2/submit", {"tasks": tasks}, status=207)
    assert [one["status"] for one in answer["results"]] == ["failed", "success", "failed"]
    assert [one["http_status_code"] for one in answer["results"]] == [404, 200, 404]
    assert gone.id in answer["results"][0]["reason"]
    assert [one["payload"] for one in here.lease()["tasks"]] == ["b"]
    refused = api.call("POST", "/v2/submit", {"tasks": tasks[:1]}, status=404)
    assert refused["code"] == "ENDPOINT_NOT_FOUND"


@pytest.mark.parametrize("tasks", [None, {}, [], [[]], [["a", "b"]], [["a", "b", 3]], ["abc"]])
def test_a_submission_that_is_not_of_version_two_is_told_what_is(api: Api, tasks: Any) -> None:
    answer = api.call("POST", "/v2/submit", {"tasks": tasks}, status=422)
    assert answer["code"] == "SEMANTICALLY_INVALID"
    assert "[function id, endpoint id, packed arguments]" in answer["reason"]


# -- size, faults


def test_many_mebibytes_go_there_and_come_back_as_they_were(api: Api) -> None:
    endpoint, function = api.endpoint(), api.function()
    payload = '{"a": ["é\\n"]}' * 500_000
    group = endpoint.submit(function, payload)["task_group_id"]
    (task,) = endpoint.lease()["tasks"]
    assert task["payload"] == payload
    assert endpoint.succeed(task, payload)["accepted"] == [task["task_id"]]
    (result,) = api.call("GET", f"/v3/task_groups/{group}/results")["results"]
    assert result["result"] == payload


def test_our_own_fault_tells_no_more_than_that_and_where_to_ask(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with api.database.begin() as tx:
        tables.endpoints.drop(tx)
    answer = api.call("GET", "/v2/endpoints", status=500)
    assert (answer["status"], answer["code"], answer["http_status_code"]) == ("Failed", "INTERNAL_ERROR", 500)
    assert "endpoints" not in answer["reason"]
    assert answer["debug_id"] in [getattr(record, "debug_id", "") for record in caplog.records]


def test_a_result_that_cannot_be_kept_does_not_keep_the_others_from_being_reported(api: Api) -> None:
    endpoint, function = api.endpoint(), api.function()
    endpoint.submit(function, "a", "b")
    good, bad = endpoint.lease()["tasks"]
    outcomes = [
        {"task_id": task["task_id"], "fence": task["fence"], "state": "SUCCEEDED", "result": result}
        for task, result in ((good, "r"), (bad, "a\0b"))
    ]
    api.call("POST", f"/v3/endpoints/{endpoint.id}/report", {"session": 1, "running": [], "outcomes": outcomes})
    assert api.call("GET", f"/v2/tasks/{good['task_id']}")["result"] == "r"
    lost = api.call("GET", f"/v2/tasks/{bad['task_id']}")
    assert lost["error"]["code"] == "ResultNotSerializable"
    assert "NUL character" in lost["exception"]
