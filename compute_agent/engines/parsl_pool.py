"""One node's worker pool: Parsl's own, which notices the death of a worker at once and says how it died.

Parsl looks at its workers once per heartbeat, and reports neither signal nor exit code. A worker that is killed while
it waits for work may also hold the lock of the task queue, which stops all workers of the pool; the lock is freed.
"""

from __future__ import annotations

import logging
import pickle
import platform
import sys
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any, cast

import psutil
from parsl.app.errors import RemoteExceptionWrapper
from parsl.executors.high_throughput import process_worker_pool as parsl_pool
from parsl.log_utils import set_file_logger
from parsl.serialize import serialize

from . import processes
from .processes import WorkerDiedError

log = logging.getLogger("parsl.executors.high_throughput.process_worker_pool")

#: How often the pool looks whether it should stop, and whether the queue's lock is held by a dead worker.
_LOOK_S = 0.5
#: Tasks wait and a worker is idle: for this long only when the lock that it needs is lost.
_STUCK_S = 2.0
#: Before a worker that died idle is replaced, in case none can live here.
_PAUSE_S = 1.0
#: What functions have started and left gets SIGTERM, and SIGKILL after this time.
_LEFT_GRACE_S = 2.0


class Ledger:
    """Parsl's scheduler of tasks and results, with a list of the tasks that have no result yet. A second result of a
    task is dropped: it would end the agent's thread that takes results, and no task would ever be done again."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.unanswered: dict[int, None] = {}

    def put_task(self, task: Any) -> None:
        self.unanswered[task["task_id"]] = None
        self._scheduler.put_task(task)

    def get_result(self, *where: Any, **how: Any) -> bytes | None:
        """None, which Parsl skips, when there is nothing to be passed on."""
        packed: bytes | None = self._scheduler.get_result(*where, **how)
        message = {} if packed is None else pickle.loads(packed)  # noqa: S301 - from our own workers
        if message.get("type") == "result":
            try:
                del self.unanswered[message["task_id"]]
            except KeyError:
                log.warning("Dropped a second result of task %s", message["task_id"])
                return None
        return packed


class Pool(parsl_pool.Manager):
    """Parsl's manager of one node, with a watchdog of our own, and an end that takes along what functions started."""

    _left: list[psutil.Process]
    _ledger: Ledger

    def start(self) -> None:
        self._left = []
        self._missing: set[int] | None = None  # tasks that nobody seems to have
        self._missing_since = 0.0
        self._ledger = Ledger(self.task_scheduler)
        self.task_scheduler = cast(Any, self._ledger)
        super().start()
        processes.end(self._left, grace_s=_LEFT_GRACE_S)

    def worker_watchdog(self, procs: dict[int, Any]) -> None:
        try:
            self._watch(procs)
        except Exception:
            log.critical("The watchdog failed, so the pool ends: the agent settles its tasks", exc_info=True)
            self._stop_event.set()
        # Now, since nobody can say whose they were once the workers are ended, which Parsl does next.
        self._left = processes.with_descendants([one.pid for one in procs.values() if one.pid is not None])

    def _watch(self, procs: dict[int, Any]) -> None:
        in_doubt: Any = None  # the last worker that died, until every task is accounted for
        suspect = False  # a worker died idle: it may have had the lock
        stuck_since: float | None = None
        while not self._stop_event.is_set():
            connection.wait([one.sentinel for one in procs.values()], timeout=_LOOK_S)
            for worker_id, process in procs.items():
                if not process.is_alive():
                    in_doubt, self._missing = process, None
                    if not self._report_death(worker_id, process):
                        suspect = True
                        self._stop_event.wait(_PAUSE_S)
                    procs[worker_id] = self._start_worker(worker_id)
            if suspect:
                stuck_since = self._free_lost_lock(stuck_since)
            if in_doubt is not None and self._account_for_tasks(in_doubt):
                in_doubt = None

    def _report_death(self, worker_id: int, process: Any) -> bool:
        """Whether it had a task, which is then answered."""
        log.error("Worker %s (pid %s) died with exit code %s", worker_id, process.pid, process.exitcode)
        task = self._tasks_in_progress.pop(worker_id, None)
        if task is None:
            return False
        self._answer(task["task_id"], process)
        return True

    def _answer(self, task_id: int, process: Any) -> None:
        """Say that a worker's death took the task along."""
        try:
            raise WorkerDiedError(platform.node(), process.pid, process.exitcode)
        except WorkerDiedError:
            wrapped = serialize(RemoteExceptionWrapper(*sys.exc_info()))
        self.pending_result_queue.put(pickle.dumps({"type": "result", "task_id": task_id, "exception": wrapped}))

    def _account_for_tasks(self, dead: Any) -> bool:
        """After a death: a worker that died between taking a task and saying so took it along unseen; one that died
        while it wrote a result keeps all others from writing theirs. True when every task is accounted for."""
        if self.enable_mpi_mode or not self.pending_task_queue.empty():
            self._missing = None
            return self.enable_mpi_mode
        unanswered = set(self._ledger.unanswered.copy())
        missing = unanswered - {task["task_id"] for task in self._tasks_in_progress.values()}
        if self._missing is None:
            self._missing, self._missing_since = missing, time.monotonic()
        self._missing &= missing
        if self._missing and time.monotonic() - self._missing_since < _STUCK_S:
            return False
        if self._missing and not self._results_can_be_written():
            log.critical("A worker died while it wrote a result, so the pool ends: the agent settles its tasks")
            self._stop_event.set()
            return True
        for task_id in self._missing:
            log.error("Task %s was lost with a worker that had just taken it", task_id)
            self._answer(task_id, dead)
        return True

    def _results_can_be_written(self) -> bool:
        lock = cast(Any, self.pending_result_queue)._wlock
        if not lock.acquire(timeout=_STUCK_S):
            return False
        lock.release()
        return True

    def _free_lost_lock(self, stuck_since: float | None) -> float | None:
        """Since when tasks have been waiting although nobody works; None when that is not so."""
        if self._tasks_in_progress or self.pending_task_queue.empty():
            return None
        now = time.monotonic()
        if stuck_since is None:
            return now
        if now - stuck_since < _STUCK_S:
            return stuck_since
        log.error("Tasks wait and no worker takes one: freeing the queue's lock, which a dead worker held")
        try:
            cast(Any, self.pending_task_queue)._rlock.release()
        except ValueError:  # nobody held it: the workers are only slow
            log.info("The lock was free")
        return None


def run() -> None:
    """The pool that the command line describes, until it ends."""
    arguments = parsl_pool.get_arg_parser().parse_args()
    cast(Any, parsl_pool).args = arguments  # Parsl's manager reads its command line from there
    log_dir = f"{arguments.logdir}/block-{arguments.block_id}/{arguments.uid}"
    Path(log_dir).mkdir(parents=True, exist_ok=True)
    set_file_logger(f"{log_dir}/manager.log", level=logging.DEBUG if arguments.debug else logging.INFO)
    unlimited = arguments.max_workers_per_node == float("inf")
    try:
        Pool(
            port=arguments.port,
            addresses=arguments.addresses,
            address_probe_timeout=int(arguments.address_probe_timeout),
            uid=arguments.uid,
            block_id=arguments.block_id,
            cores_per_worker=float(arguments.cores_per_worker),
            mem_per_worker=_number(arguments.mem_per_worker),
            max_workers_per_node=arguments.max_workers_per_node if unlimited else int(arguments.max_workers_per_node),
            prefetch_capacity=int(arguments.prefetch_capacity),
            heartbeat_threshold=int(arguments.hb_threshold),
            heartbeat_period=int(arguments.hb_period),
            drain_period=None if arguments.drain_period == "None" else int(arguments.drain_period),
            poll_period=int(arguments.poll),
            cpu_affinity=arguments.cpu_affinity,
            enable_mpi_mode=arguments.enable_mpi_mode,
            mpi_launcher=arguments.mpi_launcher,
            available_accelerators=arguments.available_accelerators,
            cert_dir=None if arguments.cert_dir == "None" else arguments.cert_dir,
            log_config=None,
        ).start()
    except Exception:
        log.critical("The worker pool ends with an exception", exc_info=True)
        raise


def _number(text: str) -> float | None:
    return None if text == "None" else float(text)
