"""The worker pool accounts for every task when a worker has died: with real queues, and no workers."""

from __future__ import annotations

import multiprocessing
import pickle
import queue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from parsl.executors.high_throughput.mpi_resource_management import TaskScheduler

from compute_agent.engines import parsl_pool
from compute_agent.engines.parsl_pool import Ledger, Pool

DEAD = SimpleNamespace(pid=1, exitcode=-9)


class IdlePool(Pool):
    """A pool that is connected to nothing."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.enable_mpi_mode = False
        self.pending_task_queue = context.Queue()
        self.pending_result_queue = context.Queue()
        self._tasks_in_progress = cast(Any, {})
        self._stop_event = cast(Any, multiprocessing.Event())
        self._ledger = Ledger(TaskScheduler(self.pending_task_queue, self.pending_result_queue))
        self._missing = None

    def give(self, task_id: int) -> None:
        self._ledger.put_task({"task_id": task_id})

    def account(self) -> bool:
        return self._account_for_tasks(DEAD)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> IdlePool:
    monkeypatch.setattr(parsl_pool, "_STUCK_S", 0.05)
    return IdlePool()


def until_accounted(pool: IdlePool) -> None:
    for _ in range(1_000_000):
        if pool.account():
            return
    raise AssertionError("the pool never came to an end")


def result(task_id: int) -> bytes:
    return pickle.dumps({"type": "result", "task_id": task_id, "result": b""})


def test_a_task_that_a_worker_took_along_unseen_is_answered(pool: IdlePool) -> None:
    pool.give(1)
    assert pool.pending_task_queue.get(timeout=5) == {"task_id": 1}  # and then it is killed
    until_accounted(pool)
    message = pickle.loads(pool._ledger.get_result(timeout=5) or b"")
    assert message["task_id"] == 1
    assert "exception" in message


def test_a_task_that_another_worker_has_or_that_waits_is_not_answered(pool: IdlePool) -> None:
    pool.give(1)
    pool._tasks_in_progress[0] = pool.pending_task_queue.get(timeout=5)
    until_accounted(pool)
    pool.give(2)
    waited = pool.pending_task_queue.get(timeout=5)
    pool.pending_task_queue.put(waited)
    while pool.pending_task_queue.empty():
        pass
    assert not pool.account()
    with pytest.raises(queue.Empty):
        pool._ledger.get_result(timeout=0.01)


def test_the_pool_ends_when_a_worker_died_while_it_wrote_a_result(pool: IdlePool) -> None:
    pool.give(1)
    pool.pending_task_queue.get(timeout=5)
    cast(Any, pool.pending_result_queue)._wlock.acquire()
    until_accounted(pool)
    assert pool._stop_event.is_set()


def test_a_second_result_of_a_task_is_dropped(pool: IdlePool) -> None:
    """Parsl's thread at the agent would end with it."""
    pool.give(1)
    pool.pending_result_queue.put(result(1))
    pool.pending_result_queue.put(result(1))
    assert pool._ledger.get_result(timeout=5) == result(1)
    assert pool._ledger.get_result(timeout=5) is None
