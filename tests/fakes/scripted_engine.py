"""An engine that holds tasks until the test says what becomes of them; it makes start markers as real workers do."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from compute_agent.engines.base import EngineFault, EngineInfo, EngineTask, Report
from compute_agent.wire import ErrorCode

PATIENCE_S = 15.0


class ScriptedEngine:
    """``begin`` does what a worker does first, ``succeed`` what it does last."""

    def __init__(self, options: Mapping[str, Any], *, run_dir: Path) -> None:
        self.options = dict(options)
        self.size = int(options.get("size", 100))
        self.tasks: dict[str, EngineTask] = {}
        self.futures: dict[str, Future[Report]] = {}
        self.order: list[str] = []
        self.may_start = threading.Event()
        self.may_start.set()
        self.start_fault: EngineFault | None = None
        self.stopped = threading.Event()
        self._changed = threading.Condition()

    def start(self) -> None:
        assert self.may_start.wait(PATIENCE_S)
        if self.start_fault is not None:
            raise self.start_fault

    def submit(self, task: EngineTask) -> Future[Report]:
        future: Future[Report] = Future()
        with self._changed:
            self.tasks[task.task_id] = task
            self.futures[task.task_id] = future
            self.order.append(task.task_id)
            self._changed.notify_all()
        return future

    def capacity(self) -> int:
        return self.size

    def info(self) -> EngineInfo:
        return EngineInfo(engine_type="scripted", total_workers=3)

    def stop(self, *, grace_s: float = 10.0) -> None:
        self.stopped.set()
        for future in self.futures.values():
            if not future.done():
                future.set_exception(EngineFault(ErrorCode.ENGINE_LOST, "the engine was stopped"))

    def wait_for(self, task_id: str) -> EngineTask:
        with self._changed:
            assert self._changed.wait_for(lambda: task_id in self.tasks, PATIENCE_S), f"{task_id} was not submitted"
            return self.tasks[task_id]

    def begin(self, task_id: str) -> bool:
        """Make the start marker; when it is there, say so and be done with the task."""
        task = self.wait_for(task_id)
        try:
            Path(task.marker).touch(exist_ok=False)
        except FileExistsError:
            if not self.futures[task_id].done():
                self.futures[task_id].set_result({"status": "revoked"})
            return False
        return True

    def succeed(self, task_id: str, result: str = "11\n1") -> None:
        self.wait_for(task_id)
        self.futures[task_id].set_result({"status": "success", "result": result, "details": {"pid": 1}})

    def fault(self, task_id: str, code: ErrorCode, text: str = "scripted", *, may_have_run: bool = True) -> None:
        self.wait_for(task_id)
        self.futures[task_id].set_exception(EngineFault(code, text, may_have_run=may_have_run))
