"""Agent, worker process, interchange and service killed under load, five times each.

Every task leaves a mark in a file of its own when it runs. Whatever is killed: no task is forgotten, none runs twice, a
task that succeeded ran once, and one that did not says what happened to it.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from compute_agent.sdk import Client, Executor, TaskLost
from tests.e2e.agent import AgentProcess
from tests.e2e.server import ServerProcess

KILLS = 5
TASKS = 150
#: The last task must be settled so long after the last kill; leases of the test run out in 20 seconds.
PATIENCE_S = 120.0
LEASES = {"FLOWS_COMPUTE_LEASE_MS": "20000", "FLOWS_COMPUTE_HEARTBEAT_MS": "2000"}
PARSL = {"engine": {"type": "GlobusComputeEngine", "max_workers_per_node": 2}}


class Site:
    """A server and an agent on Parsl with two workers, and the folder in which tasks leave their marks."""

    def __init__(self, place: Path) -> None:
        self.server = ServerProcess(place / "data", environ=LEASES)
        self.server.start()
        self.agent = AgentProcess(place / "agents", self.server, PARSL)
        self.agent.start()
        self.marks = place / "marks"
        self.marks.mkdir()

    def close(self) -> None:
        self.agent.close()
        self.server.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def leave_mark(folder: str, number: int) -> int:
    """Runs on the endpoint."""
    import os
    import time

    descriptor = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"x")
    os.close(descriptor)
    time.sleep(0.05)
    return number * number


def kill_agent(site: Site) -> None:
    site.agent.kill()
    site.agent.start()


def kill_worker(site: Site) -> None:
    workers = [one for one in site.agent.descendants("process_worker_pool") if not one.children()]
    if workers:
        _kill(random.choice(workers))


def kill_interchange(site: Site) -> None:
    for process in site.agent.descendants("interchange"):
        _kill(process)


def kill_service(site: Site) -> None:
    site.server.kill()
    site.server.start()


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    "kill", [kill_agent, kill_worker, kill_interchange, kill_service], ids=lambda one: one.__name__
)
def test_no_task_is_forgotten_or_runs_twice(kill: Callable[[Site], None], site: Site) -> None:
    with Client(data_dir=site.server.data_dir) as client:
        executor = Executor(site.agent.endpoint_id, client=client)
        executor.submit(leave_mark, str(site.marks), -1).result(PATIENCE_S)
        futures: list[Future[int]] = []
        for round_number in range(KILLS):
            share = range(round_number * TASKS // KILLS, (round_number + 1) * TASKS // KILLS)
            futures += [executor.submit(leave_mark, str(site.marks), number) for number in share]
            _wait_until_some_ran(futures[share.start :])
            kill(site)
        _, forgotten = wait(futures, PATIENCE_S)
        assert not forgotten, f"{len(forgotten)} tasks were never settled:\n{_log(site)}"
        # The endpoint is in order again afterwards.
        assert executor.submit(leave_mark, str(site.marks), -2).result(PATIENCE_S) == 4
        executor.shutdown()

    outcomes = Counter(_outcome(number, future) for number, future in enumerate(futures))
    runs = {int(path.name): path.stat().st_size for path in site.marks.iterdir()}
    assert [number for number, times in runs.items() if times > 1] == [], "these tasks ran twice"
    for number, future in enumerate(futures):
        if future.exception() is None:
            assert runs.get(number) == 1, f"task {number} succeeded without running"
    assert outcomes["succeeded"] > TASKS // 2, f"{outcomes}\n{_log(site)}"


def _wait_until_some_ran(futures: list[Future[int]]) -> None:
    """Until a few of them are done, so that the kill comes in the middle of things."""
    enough = threading.Semaphore(0)
    for future in futures:
        future.add_done_callback(lambda _: enough.release())
    for _ in range(len(futures) // 4):
        assert enough.acquire(timeout=PATIENCE_S), "no task came to an end"


def _outcome(number: int, future: Future[Any]) -> str:
    error = future.exception()
    if error is None:
        assert future.result() == number * number
        return "succeeded"
    assert isinstance(error, TaskLost), f"task {number} ended with {error!r}"
    assert str(error), "a lost task must say what happened"
    return "lost"


def _log(site: Site) -> str:
    return f"{site.agent.log.read_text()[-3000:]}\n{site.server.log.read_text()[-2000:]}"
