"""The contract of an engine: it takes tasks and gives futures, and says what it can do.

An engine keeps nothing on disk that matters: the agent's journal holds every task before ``submit``. An engine that can
no longer know what became of a task says so by failing its future with an ``EngineFault``; it never leaves one open for
ever. Whether the task had begun is told by its start marker, a file that ``worker`` makes, exclusively, before it runs
the function: whoever makes it first, worker or agent, decides whether the task starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from schemas.json_text import Json

from ..wire import ErrorCode, FunctionCode

#: Entry point group of engines.
GROUP = "compute_agent.engines"


class EngineConfigError(Exception):
    """The ``engine`` block of a configuration cannot be used. The text names the key, its value and what is allowed."""


class EngineFault(Exception):
    """An engine lost a task, or cannot run any. ``code`` goes into the task's error, the text is its message.

    ``may_have_run`` is False only when the engine knows that the task was never given to a worker.
    """

    def __init__(self, code: ErrorCode, message: str, *, may_have_run: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.may_have_run = may_have_run


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTask:
    """One task for an engine. ``marker`` is the path of its start marker, empty when markers are switched off;
    ``timeout_s`` is how long the function may run, 0 for ever."""

    task_id: str
    function: FunctionCode
    payload: str
    marker: str = ""
    max_result_bytes: int = 10 * 1024 * 1024
    timeout_s: float = 0.0
    working_dir: str = ""
    resource_specification: Mapping[str, Json] = field(default_factory=dict)


#: What a task's future gives; made by ``worker.run_task``, made of JSON types alone so that it crosses any boundary:
#: ``{"status": "success", "result": text, "details": {...}}``,
#: ``{"status": "failed", "code": ErrorCode, "message": text, "details": {...}}``, or
#: ``{"status": "revoked"}``: the start marker was there already, so the function was not run.
Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine says of itself, for status reports. Counts are of this moment; ``problem`` is a sentence when the
    engine cannot run anything at present, such as a batch job that the scheduler refused."""

    engine_type: str
    provider_type: str = ""
    total_workers: int = 0
    idle_workers: int = 0
    pending_tasks: int = 0
    outstanding_tasks: int = 0
    managers: int = 0
    blocks: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def to_json(self) -> dict[str, Json]:
        return {
            "engine_type": self.engine_type,
            "provider_type": self.provider_type,
            "total_workers": self.total_workers,
            "idle_workers": self.idle_workers,
            "pending_tasks": self.pending_tasks,
            "outstanding_tasks": self.outstanding_tasks,
            "managers": self.managers,
            "blocks": dict(self.blocks),
            "problem": self.problem,
        }


class Engine(Protocol):
    """One engine. Made by ``Class(options, run_dir=...)`` where ``options`` is the ``engine`` block without ``type``.

    The constructor checks every option and raises ``EngineConfigError``; it starts nothing.
    """

    def __init__(self, options: Mapping[str, Any], *, run_dir: Path) -> None: ...

    def start(self) -> None:
        """Become ready to take tasks; nodes may still be on their way. May take seconds.

        Raises:
            EngineFault: it cannot be started; the text says why and what to change.
        """

    def submit(self, task: EngineTask) -> Future[Report]:
        """Hand a task over. Returns at once; never raises for one task: its future fails with an ``EngineFault``.

        ``Future.cancel`` keeps a task that no worker has from starting where the engine can do that.
        """

    def capacity(self) -> int:
        """How many unfinished tasks the engine wants to hold at most: enough to keep its workers busy, no more, since
        tasks that wait at the service can still go elsewhere and survive this machine."""

    def info(self) -> EngineInfo: ...

    def stop(self, *, grace_s: float = 10.0) -> None:
        """End all processes and batch jobs. Futures that are still open fail with an ``EngineFault``. May be repeated."""
