"""Engine of threads inside the agent: no isolation, no start-up time. For tests, and for functions that only wait.

The working directory belongs to the whole process, so only shell commands run in the one that is configured. A function
that crashes the interpreter takes the agent with it, and a running one cannot be stopped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from .base import EngineInfo, EngineTask, Report
from .host_options import HostOptions, refuse_resources
from .slots import Slots, capacity_for
from .worker import request, run_task


class ThreadEngine:
    """Type ``thread``, also ``ThreadPoolEngine``."""

    def __init__(self, options: Mapping[str, Any], *, run_dir: Path) -> None:
        workers = min(32, (os.cpu_count() or 1) + 4)
        self._options = HostOptions.read("the thread engine", options, run_dir=run_dir, workers=workers)
        self.start_markers = self._options.start_markers
        self._slots = Slots(self._options.workers, self._run, name="task")

    def start(self) -> None:
        self._slots.start()

    def submit(self, task: EngineTask) -> Future[Report]:
        return refuse_resources(task, "thread") or self._slots.submit(task)

    def capacity(self) -> int:
        return capacity_for(self._options.workers)

    def info(self) -> EngineInfo:
        running, waiting = self._slots.counts()
        return EngineInfo(
            engine_type="thread",
            total_workers=self._options.workers,
            idle_workers=self._options.workers - running,
            pending_tasks=waiting,
            outstanding_tasks=running + waiting,
            managers=1,
        )

    def stop(self, *, grace_s: float = 10.0) -> None:  # noqa: ARG002 - a thread cannot be stopped, so nothing waits
        self._slots.stop()

    def _run(self, slot: int, task: EngineTask) -> Report:  # noqa: ARG002 - one thread is as good as another
        return run_task(request(self._options.placed(task)))
