"""A compute service on a database, with people, an endpoint and its agent, for tests of the service."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

from compute_agent.framing import pack_json_arguments
from compute_agent.service.compute import ComputeService
from compute_agent.service.settings import ComputeSettings
from compute_agent.service.tables import metadata
from compute_agent.wire import Assignment, Outcome, TaskError, TaskState
from flows_engine.store.db import SqlDatabase
from schemas.json_text import dumps, loads_trusted
from schemas.principals import Caller
from tests.fakes.clock import VirtualClock

SOURCE = "def add(a, b):\n    return a + b\n"

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


def person(name: str, **members: Any) -> Caller:
    return Caller(identity_id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), username=f"{name}@example.org", **members)


ALICE, BOB = person("alice"), person("bob")


class Agent:
    """Speaks as an agent does, over JSON."""

    def __init__(self, world: World, endpoint_id: str | None = None, caller: Caller = ALICE, **said: Any) -> None:
        self.service = world.service
        self.caller = caller
        body = {"endpoint_name": "laptop", **said}
        answer = _over_the_wire(self.service.register_endpoint(caller, body, endpoint_id))
        self.endpoint_id: str = answer["endpoint_id"]
        self.session: int = answer["session"]["number"]
        self.received = 0
        self.last: dict[str, Any] = {}

    def lease(self, limit: int = 1000, *, hears: bool = True, wait: float = 0, **body: Any) -> list[Assignment]:
        """``hears`` False: the answer is lost on the way."""
        call = {
            "session": self.session,
            "call": next(_CALLS),
            "limit": limit,
            "wait": wait,
            "received": self.received,
            **body,
        }
        answer = _over_the_wire(self.service.lease(self.caller, self.endpoint_id, call))
        if hears:
            self.received = answer["batch"]
            self.last = answer
        return [Assignment.from_json(one) for one in answer["tasks"]] if hears else []

    def report(self, *outcomes: Outcome, running: Sequence[str] = ()) -> dict[str, Any]:
        body = {
            "session": self.session,
            "running": list(running),
            "outcomes": [outcome.to_json() for outcome in outcomes],
        }
        return _over_the_wire(self.service.report(self.caller, self.endpoint_id, _over_the_wire(body)))

    def heartbeat(self, held: Sequence[str] = (), **status: Any) -> dict[str, Any]:
        body = {"session": self.session, "held": list(held), "status": status}
        return _over_the_wire(self.service.heartbeat(self.caller, self.endpoint_id, body))

    def leave(self) -> None:
        self.service.leave(self.caller, self.endpoint_id, {"session": self.session, "received": self.received})


class World:
    def __init__(self, database: SqlDatabase, **settings: Any) -> None:
        metadata.create_all(database.engine)
        self.db = database
        self.clock = VirtualClock()
        self.finished: list[str] = []
        self.service = ComputeService(
            database, self.clock, settings=ComputeSettings(**settings), finished=self.finished.extend
        )

    def function(self, caller: Caller = ALICE, **body: Any) -> str:
        document = {"function_name": "add", "function_code": SOURCE, "serialized": False, **body}
        return str(self.service.register_function(caller, document)["function_uuid"])

    def submit(
        self, endpoint_id: str, function_id: str, count: int = 1, *, caller: Caller = ALICE, **body: Any
    ) -> tuple[str, list[str]]:
        """The group and the tasks."""
        payloads = [pack_json_arguments([i, 1], {}) for i in range(count)]
        answer = self.service.submit(caller, endpoint_id, {"tasks": {function_id: payloads}, **body})
        return str(answer["task_group_id"]), list(answer["tasks"][function_id])

    def state(self, task_id: str, caller: Caller = ALICE) -> str:
        return str(self.service.get_task(caller, task_id)["state"])


def succeeded(task: Assignment, result: str = "11\n1") -> Outcome:
    return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.SUCCEEDED, result=result)


def failed(task: Assignment, message: str = "ZeroDivisionError") -> Outcome:
    error = TaskError("RemoteExecutionError", message)
    return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.FAILED, error=error)


def lost(task: Assignment) -> Outcome:
    error = TaskError("WorkerLost", "the worker died")
    return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.LOST, error=error)


def given_back(task: Assignment) -> Outcome:
    return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.QUEUED)


def _over_the_wire(document: Any) -> Any:
    return loads_trusted(dumps(document))
