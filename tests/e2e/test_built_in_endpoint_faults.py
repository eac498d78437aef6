"""The server with its built-in endpoint, ended under load: killed, and asked to stop.

Its agent is a process of its own, which stops in order when the server is gone. Whatever was submitted is settled after
the next start: nothing is forgotten, nothing runs twice, and what had not begun is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import psutil
import pytest

from compute_agent.sdk import Client, Executor, TaskLost
from tests.e2e.server import ServerProcess

ROUNDS = 3
TASKS = 60
PATIENCE_S = 90.0
SETTINGS = {
    "FLOWS_COMPUTE_ENDPOINT": "process",
    "FLOWS_COMPUTE_WORKERS": "2",
    "FLOWS_COMPUTE_LEASE_MS": "20000",
    "FLOWS_COMPUTE_HEARTBEAT_MS": "2000",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path / "data", environ=SETTINGS)
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


def kill_server(server: ServerProcess) -> None:
    server.kill()


def stop_server(server: ServerProcess) -> None:
    assert server.stop() == 0, server.log.read_text()[-3000:]


def kill_agent(server: ServerProcess) -> None:
    """The server starts another."""
    for child in psutil.Process(server.pid).children():
        if "compute_agent.agent.cli" in child.cmdline():
            child.kill()


@pytest.mark.parametrize("end", [kill_server, stop_server, kill_agent], ids=lambda one: one.__name__)
def test_what_the_built_in_endpoint_was_given_is_settled_after_the_next_start(
    end: Callable[[ServerProcess], None], server: ServerProcess, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    server.start()
    endpoint_id = server.compute_endpoint()
    futures: list[Future[int]] = []
    with Client(data_dir=server.data_dir) as client:
        executor = Executor(endpoint_id, client=client)
        for round_number in range(ROUNDS):
            first = round_number * TASKS
            futures += [executor.submit(leave_mark, str(marks), number) for number in range(first, first + TASKS)]
            _wait_until_some_ran(futures[first:])
            end(server)
            if not server.is_up:
                server.start()
            assert server.compute_endpoint() == endpoint_id
        _, forgotten = wait(futures, PATIENCE_S)
        assert not forgotten, f"{len(forgotten)} tasks were never settled:\n{server.log.read_text()[-3000:]}"
        executor.shutdown()

    runs = {int(path.name): path.stat().st_size for path in marks.iterdir()}
    assert [number for number, times in runs.items() if times > 1] == [], "these tasks ran twice"
    for number, future in enumerate(futures):
        error = future.exception()
        if error is None:
            assert (future.result(), runs.get(number)) == (number * number, 1)
        else:
            assert isinstance(error, TaskLost)
            assert number in runs, f"task {number} never began and was lost all the same: {error}"


def _wait_until_some_ran(futures: list[Future[int]]) -> None:
    enough = threading.Semaphore(0)
    for future in futures:
        future.add_done_callback(lambda _: enough.release())
    for _ in range(len(futures) // 4):
        assert enough.acquire(timeout=PATIENCE_S), "no task came to an end"
