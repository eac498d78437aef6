"""Engine on Parsl's HighThroughputExecutor: workers on this machine, or on the nodes of batch jobs (*blocks*).

A supervisor thread owns the current ``ExecutorLife`` and is the only one that asks, scales and replaces it. When the
interchange dies, or no block can be started, the tasks of that life fail with an ``EngineFault`` that says why, and the
next task finds a new life, after a pause that grows with every failure.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from ..wire import ErrorCode
from . import blocks, parsl_task, processes
from .base import EngineFault, EngineInfo, EngineTask, Report
from .executor import FAILED_TO_START, GONE, ExecutorLife, TookNothing
from .htex_options import ParslOptions
from .processes import WorkerDiedError
from .slots import capacity_for, failed
from .worker import request

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
#: So many failures in a row, and the engine reports a problem.
_MANY_FAILURES = 5
#: A life that lasted this long was a good one, whatever ended it.
_GOOD_LIFE_S = 60.0
#: Directories of earlier lives that are kept for their logs.
_KEPT_LIVES = 5
#: How often the interchange is asked whether a node has come while one is expected.
_EXPECTING_S = 1.0
#: The longest that a command of a scheduler, in which the supervisor may be, keeps the engine from stopping.
_SUPERVISOR_END_S = 60.0
#: Results that arrived before the interchange died are taken before its tasks are given up.
_LAST_RESULTS_S = 0.3


class TaskFuture(Future[Report]):
    """``cancel`` takes the task's start marker, and so keeps a task from starting wherever it waits."""

    def __init__(self, task: EngineTask) -> None:
        super().__init__()
        self.task = task

    def cancel(self) -> bool:
        if self.done() or not self.task.marker:
            return self.cancelled()
        try:
            os.close(os.open(self.task.marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError:  # a worker has it, or nobody can say
            return False
        return super().cancel()


class ParslEngine:
    """Type ``parsl``, also ``GlobusComputeEngine`` and ``HighThroughputEngine``."""

    def __init__(self, options: Mapping[str, Any], *, run_dir: Path) -> None:
        self._run_dir = run_dir.absolute()
        self._options = ParslOptions.read(options, run_dir=self._run_dir)
        self.start_markers = self._options.start_markers
        self._lock = threading.RLock()  # a task may be answered while it is handed over
        self._wake = threading.Event()
        self._stopping = False
        self._life: ExecutorLife | None = None
        self._open: dict[TaskFuture, ExecutorLife | None] = {}
        self._waiting: dict[TaskFuture, bytes] = {}
        self._lost: list[tuple[ExecutorLife, TaskFuture, ManagerLost]] = []
        self._judged: set[str] = set()
        self._failures = 0
        self._not_before = 0.0
        self._problem = ""
        self._supervisor = threading.Thread(target=self._supervise, name="parsl-supervisor", daemon=True)

    # The contract

    def start(self) -> None:
        self._begin_life()
        self._supervisor.start()

    def submit(self, task: EngineTask) -> Future[Report]:
        if (fault := _refused_resources(task)) is not None:
            return failed(fault)
        future = TaskFuture(task)
        try:
            buffer = orjson.dumps(request(self._placed(task)))
        except TypeError as error:
            message = f"the task cannot be sent to a worker: {error}"
            return failed(EngineFault(ErrorCode.COULD_NOT_EXECUTE, message, may_have_run=False))
        with self._lock:
            if self._stopping:
                return failed(_stopped(may_have_run=False))
            life = self._life
            self._open[future] = None
            if life is None or not self._hand_over(life, future, buffer):
                self._waiting[future] = buffer
        if life is None or not life.has_blocks:
            self._wake.set()
        return future

    def capacity(self) -> int:
        return capacity_for(self._workers() or 1)

    def info(self) -> EngineInfo:
        life = self._life
        managers = [] if life is None else life.managers
        workers = sum(one["worker_count"] for one in managers)
        on_nodes = sum(one["tasks"] for one in managers)
        with self._lock:
            outstanding = len(self._open)
        return EngineInfo(
            engine_type="parsl",
            provider_type=self._options.provider_type,
            total_workers=workers,
            idle_workers=max(0, workers - on_nodes),
            pending_tasks=max(0, outstanding - min(workers, on_nodes)),
            outstanding_tasks=outstanding,
            managers=len(managers),
            blocks={} if life is None else _living_blocks(life),
            problem=self._problem,
        )

    def stop(self, *, grace_s: float = 10.0) -> None:
        with self._lock:
            self._stopping = True
        self._wake.set()
        if self._supervisor.is_alive():
            self._supervisor.join(_SUPERVISOR_END_S)
        life, self._life = self._life, None
        if life is not None:
            life.end(grace_s=grace_s)
        with self._lock:
            left = list(self._open)
        self._fail(left, lambda future: _stopped(may_have_run=future not in self._waiting))

    # Tasks

    def _placed(self, task: EngineTask) -> EngineTask:
        directory = Path(task.working_dir or self._options.working_dir)
        if self._options.run_in_sandbox:
            directory /= task.task_id
        return replace(task, working_dir=str(directory), marker=task.marker if self.start_markers else "")

    def _hand_over(self, life: ExecutorLife, future: TaskFuture, buffer: bytes) -> bool:
        """Give a task to Parsl; False when this life takes none. Called with the lock held: the socket needs it."""
        if life.trouble is not None:
            return False
        context: dict[str, Any] = {"task_executor": {"f": parsl_task.PATH}}
        if future.task.resource_specification:
            context["resource_spec"] = dict(future.task.resource_specification)
        self._open[future] = life
        # Parsl's future is ours alone: cancelling one stops the thread that takes Parsl's results.
        try:
            answer = life.submit_payload(context, buffer)
        except TookNothing:
            self._open[future] = None
            return False
        answer.add_done_callback(partial(self._answered, life, future))
        return True

    def _answered(self, life: ExecutorLife, future: TaskFuture, answer: Future[Report]) -> None:
        """Called in Parsl's result thread."""
        error = answer.exception()
        if error is None:
            report = answer.result()
            if self._forget(future) and future.set_running_or_notify_cancel():
                future.set_result(report)
        elif isinstance(error, ManagerLost):
            with self._lock:
                self._lost.append((life, future, error))
            self._wake.set()
        else:
            self._fail([future], lambda _: _worker_fault(error))

    def _fail(self, futures: Iterable[TaskFuture], fault: Any) -> None:
        for future in futures:
            reason = fault(future)
            if self._forget(future) and future.set_running_or_notify_cancel():
                future.set_exception(reason)

    def _forget(self, future: TaskFuture) -> bool:
        """Whether the caller is the one who settles it."""
        with self._lock:
            self._waiting.pop(future, None)
            if future not in self._open:
                return False
            del self._open[future]
            return True

    def _workers(self) -> int:
        life = self._life
        per_node = self._options.workers_per_node
        if not per_node and life is not None:
            per_node = max([int(life.workers_per_node), *(one["worker_count"] for one in life.managers)])
        return per_node * self._options.most_nodes

    # The supervisor

    def _supervise(self) -> None:
        while not self._stopping:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._look()
            except Exception:  # the supervisor is what keeps the engine from falling silent: it must go on
                log.exception("the supervisor of the Parsl engine met an error and goes on")

    def _pause_s(self) -> float:
        if self._life is None and self._waiting:
            return max(0.0, self._not_before - time.monotonic())
        if self._life is not None and self._life.active_blocks and not self._life.managers:
            return min(_EXPECTING_S, self._options.strategy_period_s)
        return self._options.strategy_period_s

    def _look(self) -> None:
        life = self._life
        if life is None:
            if self._waiting and time.monotonic() >= self._not_before:
                self._try_life()
            return
        if life.trouble is None:
            life.look(ask_scheduler=bool(self._lost))
            self._explain_lost()
            # Judged before other blocks take the place of those that failed, and again for those that were refused.
            if self._blocks_are_good(life):
                life.scale()
                self._blocks_are_good(life)
        if life.trouble is not None:
            self._bury(life)

    def _try_life(self) -> None:
        try:
            self._begin_life()
        except EngineFault as fault:
            self._count_failure(str(fault))
            if self._failures >= _MANY_FAILURES:
                self._fail(list(self._waiting), lambda _, fault=fault: fault)

    def _begin_life(self) -> None:
        """Raises EngineFault."""
        try:
            run_dir = _next_directory(self._run_dir, self._options.label)
            life = ExecutorLife(self._options, run_dir=run_dir, wake=self._wake.set)
        except OSError as error:
            message = f"the Parsl executor cannot be prepared in {self._run_dir}: {error}"
            raise EngineFault(ErrorCode.ENGINE_FAILED, message, may_have_run=False) from error
        try:
            life.start()
        except Exception as error:
            life.end(grace_s=2.0)
            message = f"the Parsl executor does not start: {error}; see {run_dir} for its logs"
            raise EngineFault(ErrorCode.ENGINE_FAILED, message, may_have_run=False) from error
        self._judged.clear()
        with self._lock:
            self._life = life
            waiting, self._waiting = self._waiting, {}
            for future, buffer in waiting.items():
                if future.cancelled():
                    self._open.pop(future, None)
                elif not self._hand_over(life, future, buffer):
                    self._waiting[future] = buffer
        self._wake.set()

    def _bury(self, life: ExecutorLife) -> None:
        """The interchange is dead, or gave up."""
        threading.Event().wait(_LAST_RESULTS_S)
        code = life.interchange_exit_code
        how = processes.ending(code) if code is not None else f"failed: {life.trouble}"
        text = f"Parsl's interchange, which hands tasks to workers, {how}; logs are in {life.run_dir}"
        if time.monotonic() - life.began > _GOOD_LIFE_S:
            self._failures = 0
        self._count_failure(text)
        # A node may have come, and begun tasks, since the interchange was last asked.
        self._end_life(life, EngineFault(ErrorCode.ENGINE_LOST, text))

    def _end_life(self, life: ExecutorLife, fault: EngineFault) -> None:
        """Tasks are failed after their workers are gone, so that none of them runs twice."""
        with self._lock:
            self._life = None
        life.end(grace_s=2.0)
        with self._lock:
            theirs = [future for future, owner in self._open.items() if owner is life]
            self._lost.clear()
        self._fail(theirs, lambda _: EngineFault(fault.code, str(fault), may_have_run=fault.may_have_run))

    def _count_failure(self, text: str) -> None:
        self._failures += 1
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._failures - 1))
        self._not_before = time.monotonic() + pause
        log.error("%s; trying again in %g s", text, pause)
        if self._failures >= _MANY_FAILURES:
            self._problem = f"{self._failures} failures in a row, the last: {text}"

    # Blocks

    def _blocks_are_good(self, life: ExecutorLife) -> bool:
        """Blocks that ended before any worker came: a pause; and when nothing else is there, the end of this life."""
        if life.managers:
            self._failures, self._problem = 0, ""
        status = dict(life.status_facade)
        bad = [
            block
            for block, now in status.items()
            if now.state in FAILED_TO_START and block not in life.blocks_seen and block not in self._judged
        ]
        if not bad:
            return True
        self._judged.update(bad)
        text = blocks.start_failure(bad[-1], life.blocks_to_job_id.get(bad[-1]), status[bad[-1]])
        if life.managers or life.active_blocks:
            self._count_failure(text)
            life.hold_scale_out_until = self._not_before
            self._problem = text
            return True
        self._count_failure(text)
        self._problem = text
        fault = EngineFault(ErrorCode.ENGINE_FAILED, _no_worker(text), may_have_run=life.had_nodes)
        self._end_life(life, fault)
        return False

    def _explain_lost(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, []
        for life, future, error in lost:
            block = life.block_of_manager.get(error.manager_id.decode())
            if block is None and len(life.blocks_seen) == 1:
                (block,) = life.blocks_seen
            status = life.ended.get(block) or life.status_facade.get(block) if block is not None else None
            text = blocks.loss(
                error.hostname,
                None if block is None else life.blocks_to_job_id.get(block),
                status,
                silent_s=life.heartbeat_threshold,
                walltime=str(getattr(life.blocks_from, "walltime", "")),
            )
            self._fail([future], lambda _, text=text: EngineFault(ErrorCode.NODE_LOST, text))


def _refused_resources(task: EngineTask) -> EngineFault | None:
    for key, value in task.resource_specification.items():
        if key != "priority":
            message = f'resource_specification: this engine knows "priority" alone, not "{key}"'
        elif isinstance(value, bool) or not isinstance(value, int | float):
            message = f"resource_specification.priority: {value!r} must be a number; lower runs first"
        else:
            continue
        return EngineFault(ErrorCode.RESOURCES_REFUSED, message, may_have_run=False)
    return None


def _worker_fault(error: BaseException) -> EngineFault:
    """What an exception means that came instead of a report; ``run_task`` itself never raises."""
    if isinstance(error, WorkerDiedError):
        ending = processes.ending(error.exit_code)
        return EngineFault(
            ErrorCode.WORKER_LOST,
            f"the worker process that ran the task (pid {error.pid} on {error.hostname}) {ending}."
            " If it was killed from outside, memory may have run out: see the kernel's log (dmesg)."
            " If it crashed, look for native code that the function calls",
        )
    if isinstance(error, WorkerLost):
        return EngineFault(ErrorCode.WORKER_LOST, f"the worker process that ran the task is lost: {error}")
    if isinstance(error, BadStateException):
        return EngineFault(ErrorCode.ENGINE_FAILED, f"the Parsl executor gave up: {error}")
    if isinstance(error, ImportError):
        return EngineFault(
            ErrorCode.ENGINE_FAILED,
            f'workers cannot load this package ({error}); install "flows-engine[agent]" in the environment of'
            " provider.worker_init, in the agent's version",
            may_have_run=False,
        )
    return EngineFault(ErrorCode.ENGINE_FAILED, f"the worker failed: {type(error).__name__}: {error}")


def _no_worker(text: str) -> str:
    return f"no worker could be started for the task: {text}"


def _stopped(*, may_have_run: bool) -> EngineFault:
    return EngineFault(
        ErrorCode.ENGINE_LOST, "the engine was stopped before the task was done", may_have_run=may_have_run
    )


def _living_blocks(life: ExecutorLife) -> dict[str, str]:
    return {
        # Schedulers are asked seldom; a node that has come knows better.
        str(life.blocks_to_job_id.get(block, block)): "RUNNING" if block in life.blocks_seen else status.status_name
        for block, status in dict(life.status_facade).items()
        if status.state not in GONE
    }


def _next_directory(run_dir: Path, label: str) -> Path:
    """A new directory for one life; of earlier ones the last few stay, for their logs."""
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    earlier = sorted(run_dir.glob(f"{label}-[0-9]*"), key=lambda one: int(one.name.rpartition("-")[2]))
    for old in earlier[:-_KEPT_LIVES]:
        with contextlib.suppress(OSError):
            shutil.rmtree(old)
    number = int(earlier[-1].name.rpartition("-")[2]) + 1 if earlier else 1
    directory = run_dir / f"{label}-{number}"
    directory.mkdir(mode=0o700)
    return directory
