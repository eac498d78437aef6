"""Options of the engines that run tasks on the agent's own host, by their published names."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..wire import ErrorCode
from .base import EngineFault, EngineTask, Report
from .options import OptionReader
from .slots import failed


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """``working_dir`` is where functions run, each in a directory of its own below it when ``run_in_sandbox`` is set;
    ``label`` and ``thread_name_prefix`` are accepted
    for configurations written for the hosted service, and change nothing."""

    workers: int
    working_dir: Path
    run_in_sandbox: bool
    start_markers: bool

    @classmethod
    def read(cls, where: str, options: Mapping[str, Any], *, run_dir: Path, workers: int) -> HostOptions:
        reader = OptionReader(where, options)
        per_node = reader.integer("max_workers_per_node", workers, least=1)
        read = cls(
            workers=reader.integer("max_workers", per_node, least=1),
            working_dir=run_dir.absolute() / reader.text("working_dir", "tasks_working_dir"),
            run_in_sandbox=reader.flag("run_in_sandbox", default=False),
            start_markers=reader.flag("start_markers", default=True),
        )
        reader.text("label")
        reader.text("thread_name_prefix")
        reader.finish()
        return read

    def placed(self, task: EngineTask) -> EngineTask:
        """The task with the directory and the marker that it gets here."""
        directory = Path(task.working_dir or self.working_dir)
        if self.run_in_sandbox:
            directory /= task.task_id
        return replace(task, working_dir=str(directory), marker=task.marker if self.start_markers else "")


def refuse_resources(task: EngineTask, engine: str) -> Future[Report] | None:
    """A future that has failed, for a task that asks for resources which no engine of one host can give."""
    if not task.resource_specification:
        return None
    names = ", ".join(sorted(task.resource_specification))
    message = (
        f"the {engine} engine runs every task on one worker of its host and takes no resource_specification ({names});"
        " leave it out, or use an endpoint with another engine"
    )
    return failed(EngineFault(ErrorCode.RESOURCES_REFUSED, message, may_have_run=False))
