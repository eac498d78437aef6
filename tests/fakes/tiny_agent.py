"""The smallest agent: it leases from the service in the same process, runs each task in its own thread, and reports.

For tests of what stands before the service. It keeps no journal, so it is no model of what an agent must survive.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any

from compute_agent.engines.base import EngineTask
from compute_agent.engines.worker import request, run_task
from compute_agent.service.compute import ComputeService
from compute_agent.wire import Assignment, FunctionCode, Outcome, TaskError, TaskState
from schemas.errors import ServiceError
from schemas.principals import Caller

_WAIT_S = 1.0
_AT_ONCE = 100

#: Numbers of lease calls, which rise within a session.
_CALLS = itertools.count(1)


class TinyAgent:
    """Registers at once. ``step`` works off what is there; ``start`` does so until ``stop``."""

    def __init__(self, service: ComputeService, owner: Caller, **registration: Any) -> None:
        self._service = service
        self._owner = owner
        answer = service.register_endpoint(owner, {"endpoint_name": "tiny", **registration}, None)
        self.endpoint_id: str = answer["endpoint_id"]
        self._session: int = answer["session"]["number"]
        self._batch = 0
        self._functions: dict[str, FunctionCode] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self, *, wait_s: float = 0.0) -> int:
        """Lease, run, report; how many tasks that was."""
        assignments = self.lease(wait_s=wait_s)
        if assignments:
            self.report([self._outcome(one) for one in assignments])
        return len(assignments)

    def lease(self, *, wait_s: float = 0.0) -> list[Assignment]:
        answer = self._service.lease(
            self._owner,
            self.endpoint_id,
            {
                "session": self._session,
                "call": next(_CALLS),
                "limit": _AT_ONCE,
                "wait": wait_s,
                "received": self._batch,
                "functions_known": list(self._functions),
            },
        )
        self._batch = answer["batch"]
        for document in answer["functions"]:
            self._functions[document["function_id"]] = FunctionCode.from_json(document)
        return [Assignment.from_json(document) for document in answer["tasks"]]

    def report(self, outcomes: list[Outcome]) -> None:
        body = {"session": self._session, "running": [], "outcomes": [one.to_json() for one in outcomes]}
        self._service.report(self._owner, self.endpoint_id, body)

    def leave(self) -> None:
        self._service.leave(self._owner, self.endpoint_id, {"session": self._session})

    def start(self) -> TinyAgent:
        self._thread = threading.Thread(target=self._work, name="tiny-agent", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """The thread notices when the lease call returns."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10 * _WAIT_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step(wait_s=_WAIT_S)
            except ServiceError as error:
                if error.code == "SESSION_ENDED":
                    return
                raise

    def _outcome(self, task: Assignment) -> Outcome:
        engine_task = EngineTask(task_id=task.task_id, function=self._functions[task.function_id], payload=task.payload)
        report = run_task(request(engine_task))
        if report["status"] == "success":
            return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.SUCCEEDED, result=report["result"])
        error = TaskError(report["code"], report["message"])
        return Outcome(task_id=task.task_id, fence=task.fence, state=TaskState.FAILED, error=error)
