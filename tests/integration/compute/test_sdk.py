"""The SDK against the real service, API and database; the tasks run in the real worker function, in a thread."""

from __future__ import annotations

import concurrent.futures
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, as_completed
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from compute_agent.engines import worker
from compute_agent.engines.base import EngineTask
from compute_agent.sdk import (
    ApiError,
    Client,
    ComputeFuture,
    Executor,
    PickleRefused,
    PythonVersionWarning,
    ShellFunction,
    TaskFailed,
    TaskLost,
    TaskPending,
    TaskUnknownError,
)
from compute_agent.service import tables
from compute_agent.service.api import create_blueprint
from compute_agent.service.compute import ComputeService
from compute_agent.wire import Assignment, FunctionCode, Outcome, TaskError, TaskState
from flows_engine.sdk.transport import WsgiTransport
from flows_engine.store.db import SqlDatabase
from schemas.scopes import COMPUTE_SCOPE
from tests.fakes.authorizer import FakeAuthorizer, person
from tests.fakes.clock import VirtualClock

ADA, BOB = person("ada"), person("bob")
URL = "http://127.0.0.1:8765"
PATIENCE_S = 15.0
VERSION = ".".join(map(str, sys.version_info[:3]))

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


class House:
    """The service behind its API, and clients of it."""

    def __init__(self, database: SqlDatabase) -> None:
        tables.metadata.create_all(database.engine)
        self.service = ComputeService(database, VirtualClock())
        authorizer = FakeAuthorizer()
        self._tokens = {one.urn: authorizer.token(one, (COMPUTE_SCOPE,), "funcx_service") for one in (ADA, BOB)}
        app = Flask("compute")
        app.register_blueprint(create_blueprint(self.service, authorizer))
        self._transport = WsgiTransport(app)

    def client(self, who: Any = ADA, **options: Any) -> Client:
        return Client(URL, token=self._tokens[who.urn], transport=self._transport, **options)


class Agent:
    """An endpoint of Ada's that runs what it leases, one task at a time, between ``start`` and ``stop``."""

    def __init__(self, service: ComputeService, *, python_version: str = VERSION, **members: Any) -> None:
        metadata = {"python_version": python_version}
        body = {"endpoint_name": "lab", "metadata": metadata, **members}
        made = service.register_endpoint(ADA, body, None)
        self.id = str(made["endpoint_id"])
        self.lost: set[str] = set()
        self._service = service
        self._session = made["session"]["number"]
        self._received = 0
        self._functions: dict[str, FunctionCode] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(PATIENCE_S)

    def lease(self, wait_s: float = 0) -> list[Assignment]:
        known = list(self._functions)
        body = {"session": self._session, "call": next(_CALLS), "limit": 10, "wait": wait_s, "received": self._received}
        answer = self._service.lease(ADA, self.id, {**body, "functions_known": known})
        self._received = answer["batch"]
        for document in answer["functions"]:
            function = FunctionCode.from_json(document)
            self._functions[function.function_id] = function
        return [Assignment.from_json(one) for one in answer["tasks"]]

    def report(self, *outcomes: Outcome) -> None:
        body = {"session": self._session, "running": [], "outcomes": [one.to_json() for one in outcomes]}
        self._service.report(ADA, self.id, body)

    def execute(self, assignment: Assignment) -> Outcome:
        task = EngineTask(
            task_id=assignment.task_id,
            function=self._functions[assignment.function_id],
            payload=assignment.payload,
        )
        told = worker.run_task(worker.request(task))
        succeeded = told["status"] == "success"
        return Outcome(
            task_id=assignment.task_id,
            fence=assignment.fence,
            state=TaskState.SUCCEEDED if succeeded else TaskState.FAILED,
            result=told.get("result"),
            error=None if succeeded else TaskError(told["code"], told["message"]),
            details=told["details"],
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.report(*[self.execute(one) for one in self.lease(0.2)])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'compute.db'}")
    yield House(database)
    database.dispose()


@pytest.fixture
def idle(house: House) -> Agent:
    """An endpoint whose agent leases when the test does."""
    return Agent(house.service)


@pytest.fixture
def agent(house: House, idle: Agent) -> Iterator[Agent]:
    """An endpoint whose agent is at work."""
    idle.start()
    yield idle
    idle.stop()


def until_submitted(futures: list[ComputeFuture[Any]]) -> list[ComputeFuture[Any]]:
    deadline = time.monotonic() + PATIENCE_S
    while not all(one.task_id for one in futures):
        assert time.monotonic() < deadline, "the service did not take them"
        concurrent.futures.wait(futures, 0.002)
    return futures


def square(number: int) -> int:
    return number * number


def test_functions_run_and_their_results_come_back(house: House, agent: Agent) -> None:
    with Executor(client=house.client()) as executor:
        assert executor.endpoint_id == agent.id
        futures = [executor.submit(square, number) for number in range(50)]
        assert sum(one.result(PATIENCE_S) for one in as_completed(futures, PATIENCE_S)) == sum(n * n for n in range(50))
        assert list(executor.map(square, range(10))) == [n * n for n in range(10)]


def test_values_come_back_as_they_are_and_pickles_only_by_consent(house: House, agent: Agent) -> None:
    def twice(value: object) -> tuple[object, object]:
        return value, {value}

    def maker() -> object:
        class Thing:
            size = 3

        return Thing()

    with Executor(agent.id, client=house.client()) as executor:
        assert executor.submit(twice, (1, b"x")).result(PATIENCE_S) == ((1, b"x"), {(1, b"x")})
        refused = executor.submit(maker)
        with pytest.raises(PickleRefused):
            refused.result(PATIENCE_S)
        assert executor.client.get_result(refused.task_id or "", allow_pickle=True).size == 3


def test_a_remote_failure_reads_like_a_local_one(house: House, agent: Agent) -> None:
    def outer(divisor: int) -> float:
        return 1 / divisor

    with Executor(agent.id, client=house.client()) as executor, pytest.raises(ZeroDivisionError) as caught:
        executor.submit(outer, 0).result(PATIENCE_S)
    text = str(caught.value)
    assert isinstance(caught.value, TaskFailed)
    assert text.startswith("Traceback (most recent call last):")
    assert "return 1 / divisor" in text
    assert text.endswith("ZeroDivisionError: division by zero")


def test_source_code_and_shell_commands_run(house: House, agent: Agent) -> None:
    with Executor(agent.id, client=house.client()) as executor:
        function_id = executor.register_source_code("def greet(name):\n    return f'Hello, {name}'\n", "greet")
        assert executor.submit_to_registered_function(function_id, ["Ada"]).result(PATIENCE_S) == "Hello, Ada"
        done = executor.submit(ShellFunction("echo {word}; exit 3"), word="hi").result(PATIENCE_S)
        assert (done.returncode, done.stdout.strip()) == (3, "hi")


def test_a_submission_under_one_id_is_answered_with_the_same_tasks(house: House, idle: Agent) -> None:
    client = house.client()
    batch = client.create_batch()
    batch.add(client.register_function(square), (1,))
    assert client.batch_run(idle.id, batch)["tasks"] == client.batch_run(idle.id, batch)["tasks"]
    assert len(list(client.list_tasks(state=TaskState.QUEUED))) == 1


@pytest.mark.parametrize("leased", [False, True])
def test_cancel_reaches_the_service(house: House, idle: Agent, leased: bool) -> None:
    executor = Executor(idle.id, client=house.client())
    futures = [executor.submit(square, 1)]
    assignments = idle.lease(PATIENCE_S) if leased else []
    [future] = until_submitted(futures)
    assert future.running()
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    executor.shutdown()  # waits for nothing
    idle.report(*map(idle.execute, assignments))
    assert [one["state"] for one in executor.client.list_tasks()] == ["CANCELLED"]


def test_a_lost_task_is_told_apart(house: House, idle: Agent) -> None:
    with Executor(idle.id, client=house.client()) as executor:
        future = executor.submit(square, 1)
        [assignment] = idle.lease(PATIENCE_S)
        error = TaskError("WorkerLost", "the process died")
        idle.report(Outcome(task_id=assignment.task_id, fence=assignment.fence, state=TaskState.LOST, error=error))
        with pytest.raises(TaskLost, match="the process died"):
            future.result(PATIENCE_S)


def test_tasks_of_an_earlier_program_are_found_again(house: House, idle: Agent) -> None:
    first = Executor(idle.id, client=house.client())
    futures = [first.submit(square, number) for number in range(3)]
    assignments: list[Assignment] = []
    while len(assignments) < 3:
        assignments += idle.lease(PATIENCE_S)
    idle.report(idle.execute(assignments[0]))
    futures[0].result(PATIENCE_S)
    later = Executor(idle.id, client=house.client())
    again = later.reload_tasks(first.task_group_id)
    idle.report(*map(idle.execute, assignments[1:]))
    assert [one.result(PATIENCE_S) for one in again] == [0, 1, 4]
    assert [one.task_id for one in again] == [one.task_id for one in futures]


def test_refusals_end_futures_with_the_reason_of_the_service(house: House, idle: Agent) -> None:
    house.client().stop_endpoint(idle.id)
    executor = Executor(idle.id, client=house.client())
    with pytest.raises(ApiError) as caught:
        executor.submit(square, 1).result(PATIENCE_S)
    assert (caught.value.status, caught.value.code) == (409, "ENDPOINT_STOPPED")


def test_a_foreign_endpoint_is_refused(house: House, idle: Agent) -> None:
    executor = Executor(idle.id, client=house.client(BOB))
    with pytest.raises(ApiError) as caught:
        executor.submit(square, 1).result(PATIENCE_S)
    assert caught.value.status == 404


def test_the_endpoints_python_is_compared(house: House) -> None:
    other = Agent(house.service, python_version="3.8.18")
    executor = Executor(other.id, client=house.client())
    with pytest.warns(PythonVersionWarning, match=r"3\.8\.18"):
        executor.submit(square, 1).cancel()


def test_the_client_speaks_the_documents_of_the_service(house: House, idle: Agent) -> None:
    client = house.client()
    function_id = client.register_function(square, description="n * n", on_loss="requeue", name="sq")
    assert client.get_function(function_id)["function_name"] == "sq"
    assert [one["function_uuid"] for one in client.list_functions()] == [function_id]
    assert [one["uuid"] for one in client.get_endpoints()] == [idle.id]
    assert client.get_endpoint_status(idle.id)["status"] in ("online", "offline")
    assert client.get_allowed_functions(idle.id)["restricted"] is False
    task_id = client.run(3, endpoint_id=idle.id, function_id=function_id)
    with pytest.raises(TaskPending):
        client.get_result(task_id)
    [assignment] = idle.lease(PATIENCE_S)
    idle.report(idle.execute(assignment))
    assert client.get_result(task_id) == 9
    unknown = "22222222-0000-4000-8000-000000000001"
    found = client.get_batch_result([task_id, unknown])
    assert found[task_id]["result"] == 9
    assert isinstance(found[unknown]["exception"], TaskUnknownError)
    assert client.cancel(task_id) == {task_id: TaskState.SUCCEEDED}
    client.delete_function(function_id)
    with pytest.raises(ApiError):
        client.get_function(function_id)
    client.delete_endpoint(idle.id)
    assert client.get_endpoints() == []
