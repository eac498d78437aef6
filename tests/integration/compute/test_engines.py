"""Every engine keeps the contract of ``compute_agent.engines.base``; the Parsl engine survives what can break under it.

Nothing is stood in for: real processes, real Parsl, real signals. Functions that must wait do so on a FIFO.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import psutil
import pytest

from compute_agent import serialize
from compute_agent.engines.base import Engine, EngineFault, EngineTask
from compute_agent.engines.catalog import make_engine
from compute_agent.wire import ErrorCode, FunctionCode

ENGINES: dict[str, dict[str, Any]] = {
    "thread": {"type": "ThreadPoolEngine", "max_workers": 2},
    "process": {"type": "ProcessPoolEngine", "max_workers": 2},
    "parsl": {"type": "GlobusComputeEngine", "max_workers_per_node": 2},
}
#: For tests of what the loss of a node or of the agent does: noticed within seconds.
QUICK = {"heartbeat_period": 1, "heartbeat_threshold": 6, "strategy_period": 0.5}
WAIT_S = 60.0

_numbers = itertools.count(1)


def double(number: int) -> int:
    return 2 * number


def fail(text: str) -> None:
    raise ValueError(text)


def own_pid() -> int:
    return os.getpid()


def wait_on(fifo: str) -> str:
    with open(fifo) as file:
        return file.read()


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    os._exit(code)


def where() -> str:
    return os.getcwd()


def start_children(pids: str, fifo: str) -> None:
    """A child in the worker's session, and one in a session of its own."""
    children = [subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"], start_new_session=True)]
    with open(pids, "w") as file:
        file.write(" ".join(str(child.pid) for child in children))
    with open(fifo) as file:
        file.read()


def task(function: Callable[..., Any], *arguments: Any, marker: Path | str = "", **fields: Any) -> EngineTask:
    code = serialize.dump_function(function)
    return EngineTask(
        task_id=f"task-{next(_numbers)}",
        function=FunctionCode(
            function_id=function.__name__,
            name=function.__name__,
            code=code,
            sha256=hashlib.sha256(code.encode()).hexdigest(),
            python_version=platform.python_version(),
        ),
        payload=serialize.dump_arguments(arguments, {}),
        marker=str(marker),
        **fields,
    )


def value(report: dict[str, Any]) -> Any:
    assert report["status"] == "success", report
    return serialize.load_data(report["result"], allow_pickle=False)


def run(engine: Engine, function: Callable[..., Any], *arguments: Any) -> Any:
    return value(engine.submit(task(function, *arguments)).result(WAIT_S))


def fault(future: Any) -> EngineFault:
    error = future.exception(WAIT_S)
    assert isinstance(error, EngineFault), future.result()
    return error


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = make_engine(ENGINES[request.param], run_dir=tmp_path_factory.mktemp(request.param))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def isolated(engine: Engine) -> Engine:
    """An engine whose functions run in processes of their own."""
    if engine.info().engine_type == "thread":
        pytest.skip("threads share the process of the agent")
    return engine


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Makes an engine of its own for a test, and stops it afterwards."""
    engines: list[Engine] = []

    def start(kind: str, **options: Any) -> Engine:
        engines.append(make_engine({**ENGINES[kind], **options}, run_dir=tmp_path / "run"))
        engines[-1].start()
        return engines[-1]

    yield start
    for one in engines:
        one.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[], Path]:
    """Makes FIFOs: a function that reads one waits until it is written."""

    def make() -> Path:
        path = tmp_path / f"gate-{next(_numbers)}"
        os.mkfifo(path)
        return path

    return make


Gate = Callable[[], Path]


# Every engine


def test_a_function_gives_its_result(engine: Engine) -> None:
    assert run(engine, double, 21) == 42


def test_an_exception_is_a_report_and_not_a_fault(engine: Engine) -> None:
    report = engine.submit(task(fail, "no such luck")).result(WAIT_S)

    assert (report["status"], report["code"]) == ("failed", ErrorCode.REMOTE_EXECUTION_ERROR)
    assert "ValueError: no such luck" in report["message"]


def test_every_one_of_many_tasks_is_answered_with_its_own_result(engine: Engine) -> None:
    futures = [engine.submit(task(double, number)) for number in range(300)]

    assert [value(future.result(WAIT_S)) for future in futures] == [2 * number for number in range(300)]


def test_a_task_whose_marker_was_taken_is_not_run(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    assert engine.submit(task(double, 1, marker=tmp_path / "taken")).result(WAIT_S) == {"status": "revoked"}


def test_the_worker_takes_the_marker(engine: Engine, tmp_path: Path) -> None:
    engine.submit(task(double, 1, marker=tmp_path / "free")).result(WAIT_S)

    assert (tmp_path / "free").exists()


def test_a_cancelled_task_that_waits_never_starts(engine: Engine, gate: Gate, tmp_path: Path) -> None:
    gates = [gate(), gate()]
    running = [engine.submit(task(wait_on, str(one))) for one in gates]
    waiting = engine.submit(task(double, 1, marker=tmp_path / "marker"))

    assert waiting.cancel()
    for one in gates:
        one.write_text("go")
    assert [value(future.result(WAIT_S)) for future in running] == ["go", "go"]
    assert run(engine, double, 2) == 4
    assert waiting.cancelled()


def test_a_task_that_asks_for_resources_is_refused_with_what_is_wrong(engine: Engine) -> None:
    error = fault(engine.submit(task(double, 1, resource_specification={"num_nodes": 2})))

    assert (error.code, error.may_have_run) == (ErrorCode.RESOURCES_REFUSED, False)
    assert "num_nodes" in str(error)


def test_an_engine_says_what_it_has_and_takes_more_than_its_workers_can_run(engine: Engine) -> None:
    run(engine, double, 1)
    info = engine.info()

    assert (info.problem, info.outstanding_tasks, info.pending_tasks) == ("", 0, 0)
    assert engine.capacity() > 2


@pytest.mark.parametrize("kind", ENGINES)
def test_stop_fails_what_is_open_and_what_comes_later(kind: str, started: Callable[..., Engine], gate: Gate) -> None:
    engine = started(kind)
    run(engine, double, 1)
    gates = [gate(), gate()]
    running = [engine.submit(task(wait_on, str(one))) for one in gates]
    waiting = engine.submit(task(double, 1))
    # Both functions have begun once somebody reads.
    descriptors = [os.open(one, os.O_WRONLY) for one in gates]

    engine.stop(grace_s=1.0)
    engine.stop(grace_s=1.0)

    for future in (*running, waiting):
        assert fault(future).code == ErrorCode.ENGINE_LOST
    late = fault(engine.submit(task(double, 1)))
    assert (late.code, late.may_have_run) == (ErrorCode.ENGINE_LOST, False)
    for descriptor in descriptors:
        os.close(descriptor)


# Engines with processes


def test_a_killed_worker_loses_its_own_task_and_no_other(isolated: Engine, gate: Gate) -> None:
    survivor_gate = gate()
    survivor = isolated.submit(task(wait_on, str(survivor_gate)))
    killed = isolated.submit(task(die, int(signal.SIGKILL)))

    error = fault(killed)
    assert (error.code, error.may_have_run) == (ErrorCode.WORKER_LOST, True)
    assert "killed by signal 9 (SIGKILL)" in str(error)
    survivor_gate.write_text("still here")
    assert value(survivor.result(WAIT_S)) == "still here"
    assert run(isolated, double, 3) == 6


def test_a_worker_that_exits_is_told_with_its_exit_code(isolated: Engine) -> None:
    error = fault(isolated.submit(task(leave, 7)))

    assert error.code == ErrorCode.WORKER_LOST
    assert "exit code 7" in str(error)


def test_workers_killed_while_idle_are_replaced(isolated: Engine) -> None:
    pids = {run(isolated, own_pid) for _ in range(20)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    # A worker may be dead without anybody having noticed, so one task each may be lost, but none may hang.
    for future in [isolated.submit(task(own_pid)) for _ in range(4)]:
        error = future.exception(WAIT_S)
        assert error is None or getattr(error, "code", None) == ErrorCode.WORKER_LOST
    assert run(isolated, own_pid) not in pids


@pytest.mark.parametrize("kind", ["process", "parsl"])
def test_functions_run_in_the_working_directory_or_in_one_of_their_own(
    kind: str, started: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = started(kind, working_dir=str(tmp_path / "work"), run_in_sandbox=True)
    one = task(where)

    assert value(engine.submit(one).result(WAIT_S)) == str(tmp_path / "work" / one.task_id)


@pytest.mark.parametrize("kind", ["process", "parsl"])
def test_stop_leaves_no_process_behind(kind: str, started: Callable[..., Engine], gate: Gate, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    engine = started(kind)
    busy = gate()
    engine.submit(task(start_children, str(tmp_path / "pids"), str(busy)))
    descriptor = os.open(busy, os.O_WRONLY)
    grandchildren = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    ours = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]

    engine.stop(grace_s=1.0)

    _, left = psutil.wait_procs([*ours, *grandchildren], timeout=10)
    os.close(descriptor)
    assert left == []


# Parsl


def test_nothing_need_be_on_path(started: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    assert run(started("parsl"), double, 4) == 8


def test_a_dead_interchange_fails_its_tasks_and_is_replaced(started: Callable[..., Engine], gate: Gate) -> None:
    engine = started("parsl")
    busy = gate()
    running = engine.submit(task(wait_on, str(busy)))
    descriptor = os.open(busy, os.O_WRONLY)
    interchange = [one for one in psutil.Process().children() if "interchange" in " ".join(one.cmdline())][-1]

    interchange.kill()

    error = fault(running)
    os.close(descriptor)
    assert (error.code, error.may_have_run) == (ErrorCode.ENGINE_LOST, True)
    assert "SIGKILL" in str(error)
    assert run(engine, double, 5) == 10


def test_tasks_that_are_handed_to_a_dead_interchange_stop_nobody(started: Callable[..., Engine]) -> None:
    """Its death is noticed a moment after the first of them; until then nobody takes what is sent to it."""
    engine = started("parsl")
    run(engine, double, 1)
    interchange = [one for one in psutil.Process().children() if "interchange" in " ".join(one.cmdline())][-1]

    interchange.kill()
    futures = [engine.submit(task(double, number)) for number in range(200)]

    done, open_futures = wait(futures, WAIT_S)
    assert not open_futures
    assert all(isinstance(one.exception(), EngineFault | None) for one in done)
    assert run(engine, double, 5) == 10


def test_a_lost_node_is_told_at_once_with_what_became_of_its_block(started: Callable[..., Engine], gate: Gate) -> None:
    # Its connection tells before its heartbeats are missed.
    engine = started("parsl", strategy_period=0.5, heartbeat_threshold=int(10 * WAIT_S))
    worker = psutil.Process(run(engine, own_pid))
    busy = gate()
    running = engine.submit(task(wait_on, str(busy)))
    descriptor = os.open(busy, os.O_WRONLY)

    pool = worker.parent()
    assert pool is not None
    pool.kill()

    error = fault(running)
    os.close(descriptor)
    assert (error.code, error.may_have_run) == (ErrorCode.NODE_LOST, True)
    assert platform.node() in str(error)
    assert "exit code" in str(error)
    assert run(engine, double, 6) == 12


def test_a_block_that_cannot_start_fails_the_tasks_with_its_output(started: Callable[..., Engine]) -> None:
    worker_init = "echo 'module: no such module' >&2; exit 3"
    engine = started("parsl", strategy_period=0.2, provider={"type": "LocalProvider", "worker_init": worker_init})

    for _ in range(2):  # the engine goes on, and says so again
        error = fault(engine.submit(task(double, 1)))
        assert (error.code, error.may_have_run) == (ErrorCode.ENGINE_FAILED, False)
        assert "module: no such module" in str(error)
        assert "exit code 3" in str(error)
    assert "no such module" in engine.info().problem


def test_a_scheduler_that_is_not_there_fails_the_tasks_with_its_words(started: Callable[..., Engine]) -> None:
    engine = started("parsl", strategy_period=0.2, provider={"type": "PBSProProvider"}, address="127.0.0.1")

    error = fault(engine.submit(task(double, 1)))

    assert (error.code, error.may_have_run) == (ErrorCode.ENGINE_FAILED, False)
    assert "qsub" in str(error)


def test_idle_blocks_end_and_new_tasks_get_new_ones(started: Callable[..., Engine]) -> None:
    engine = started("parsl", strategy_period=0.2, job_status_kwargs={"max_idletime": 0.5})
    worker = psutil.Process(run(engine, own_pid))

    _, left = psutil.wait_procs([worker], timeout=30)

    assert left == []
    assert run(engine, own_pid) != worker.pid


#: A launcher that goes on when the pool has ended, as a job does whose other nodes live.
LASTING = {"type": "WrappedLauncher", "prepend": "sh -c '\"$@\"; sleep 60' sh"}


def test_a_node_without_a_connection_is_waited_for_while_its_block_lives(
    started: Callable[..., Engine], gate: Gate
) -> None:
    engine = started("parsl", **QUICK, provider={"type": "LocalProvider", "launcher": LASTING})
    worker = psutil.Process(run(engine, own_pid))
    busy = gate()
    running = engine.submit(task(wait_on, str(busy)))
    descriptor = os.open(busy, os.O_WRONLY)
    pool = worker.parent()
    assert pool is not None

    pool.kill()

    error = fault(running)
    os.close(descriptor)
    assert error.code == ErrorCode.NODE_LOST
    assert "silent for 6 s while its batch job still runs" in str(error)


AGENT = """
import sys
from pathlib import Path
from compute_agent.engines.catalog import make_engine

from tests.integration.compute.test_engines import start_children, task

engine = make_engine({options!r}, run_dir=Path({run_dir!r}))
engine.start()
engine.submit(task(start_children, {pids!r}, {fifo!r}))
with open({fifo!r}, "w"):  # waits for the function to read, which it does once it has written the file
    print("runs", flush=True)
    sys.stdin.read()
"""


def test_everything_that_a_killed_agent_has_started_ends_by_itself(tmp_path: Path, gate: Gate) -> None:
    """Interchange, pool, workers, a function that never ends, and what it has started."""
    names = {"run_dir": str(tmp_path / "run"), "pids": str(tmp_path / "pids"), "fifo": str(gate())}
    script = AGENT.format(options={**ENGINES["parsl"], **QUICK}, **names)
    agent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert agent.stdout is not None
    assert agent.stdout.readline() == "runs\n"
    everything = psutil.Process(agent.pid).children(recursive=True)
    everything += [
        one for one in psutil.process_iter() if str(tmp_path) in " ".join(_command(one)) and one not in everything
    ]
    grandchildren = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    assert len(everything) > 3

    agent.kill()
    agent.communicate()

    _, left = psutil.wait_procs([*everything, *grandchildren], timeout=40)
    assert left == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
