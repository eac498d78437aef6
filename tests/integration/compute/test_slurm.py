"""The Parsl engine on a real Slurm: refused, failing, idle, waiting and orphaned jobs.

What becomes of tasks whose job ends is told by ``tests/e2e/test_slurm_endpoint.py``.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_agent import serialize
from compute_agent.engines.base import EngineFault, EngineTask, Report
from compute_agent.engines.catalog import make_engine
from compute_agent.engines.htex import ParslEngine
from compute_agent.wire import ErrorCode, FunctionCode
from tests.slurm import PARTITION, SHORT_PARTITION, SlurmCluster

pytestmark = pytest.mark.early

ROOT = Path(__file__).parents[3]
#: A block starts in 3 to 5 s on an idle machine.
BLOCK_START_S = 60.0
IDLE_S = 2.0
SILENT_S = 4

#: An engine with a task that runs for ever, in a process that can be killed.
ENGINE_PROCESS = """
import sys, threading
from pathlib import Path
from tests.integration.compute.test_slurm import Bench, never_end

bench = Bench(Path(sys.argv[1]))
_, marker = bench.submit(never_end)
while not marker.exists():
    threading.Event().wait(0.05)
print("runs", flush=True)
threading.Event().wait()
"""


def job_and(number: int) -> list[Any]:
    return [os.environ.get("SLURM_JOB_ID"), number]


def never_end() -> None:
    threading.Event().wait()


class Bench:
    """An engine on the cluster, and tasks for it."""

    def __init__(self, folder: Path, **provider: Any) -> None:
        self.markers = folder / "markers"
        self.markers.mkdir()
        self.engine = ParslEngine(_options(**provider), run_dir=folder)
        self.engine.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> tuple[Future[Report], Path]:
        """The future of a task, and its start marker."""
        task_id = str(uuid.uuid4())
        marker = self.markers / task_id
        code = serialize.dump_function(function)
        task = EngineTask(
            task_id=task_id,
            function=FunctionCode(
                function_id=str(uuid.uuid4()),
                name=function.__name__,
                code=code,
                sha256=hashlib.sha256(code.encode()).hexdigest(),
            ),
            payload=serialize.dump_arguments(arguments, {}),
            marker=str(marker),
        )
        return self.engine.submit(task), marker

    def where(self) -> str:
        """Id of the job that a task runs in."""
        job_id: str = _value(self.submit(job_and, 0)[0])[0]
        return job_id

    def running_task(self, cluster: SlurmCluster) -> tuple[Future[Report], str]:
        """The future of a task that has begun and never ends, and the id of its job."""
        future, marker = self.submit(never_end)
        cluster.wait_until(marker.exists, "start of the task", timeout_s=BLOCK_START_S)
        (job_id,) = cluster.jobs()
        return future, job_id


def _options(**provider: Any) -> dict[str, Any]:
    python = Path(sys.executable).parent
    return {
        "max_workers_per_node": 2,
        "address": "127.0.0.1",
        "heartbeat_period": 1,
        "heartbeat_threshold": SILENT_S,
        "job_status_kwargs": {"max_idletime": IDLE_S, "strategy_period": 0.5},
        "provider": {
            "type": "SlurmProvider",
            "partition": PARTITION,
            "init_blocks": 0,
            "min_blocks": 0,
            "max_blocks": 1,
            "walltime": "00:10:00",
            "exclusive": False,
            "worker_init": f"export PATH={python}:$PATH",
            **provider,
        },
    }


def _value(future: Future[Report]) -> Any:
    report = future.result(timeout=BLOCK_START_S)
    assert report["status"] == "success", report
    return serialize.load_data(report["result"], allow_pickle=False)


@pytest.fixture(autouse=True)
def _environment(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def start(slurm: SlurmCluster, tmp_path: Path, _environment: None) -> Iterator[Callable[..., Bench]]:
    """Start an engine; the keywords are options of its provider."""
    started: list[Bench] = []

    def start_one(**provider: Any) -> Bench:
        started.append(Bench(tmp_path, **provider))
        return started[-1]

    yield start_one
    for bench in started:
        bench.engine.stop(grace_s=5)
    slurm.wait_until(lambda: not slurm.jobs(), "end of the engine's jobs", timeout_s=60)


def test_the_configuration_of_the_documentation_is_accepted(tmp_path: Path):
    page = (ROOT / "docs" / "compute-slurm.md").read_text()
    blocks = [yaml.safe_load(text)["engine"] for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    whole, *additions = blocks
    for block in [whole, *({**whole, **addition} for addition in additions)]:
        engine = make_engine(block, run_dir=tmp_path)
        assert engine.info().provider_type == "SlurmProvider"


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        pytest.param({"partition": "nosuch"}, "Invalid partition name specified", id="unknown partition"),
        pytest.param(
            {"partition": SHORT_PARTITION, "walltime": "10:00:00"},
            "Requested time limit is invalid",
            id="too long a walltime",
        ),
    ],
)
def test_a_task_for_which_sbatch_refuses_a_job_fails_with_the_words_of_sbatch(
    start: Callable[..., Bench], provider: dict[str, Any], words: str
):
    bench = start(**provider)
    fault = bench.submit(job_and, 1)[0].exception(timeout=30)
    assert isinstance(fault, EngineFault), fault
    assert fault.code == ErrorCode.ENGINE_FAILED
    assert "the batch job was refused: sbatch: error: " in str(fault)
    assert words in str(fault)
    assert not fault.may_have_run
    assert words in bench.engine.info().problem


def test_a_job_whose_environment_has_no_worker_says_what_the_job_wrote(start: Callable[..., Bench]):
    bench = start(worker_init="echo 'module: no such module: python/3.99' >&2; exit 3")
    fault = bench.submit(job_and, 1)[0].exception(timeout=BLOCK_START_S)
    assert isinstance(fault, EngineFault), fault
    assert fault.code == ErrorCode.ENGINE_FAILED
    assert "no such module: python/3.99" in str(fault)
    assert not fault.may_have_run


def test_an_idle_job_ends_and_a_new_task_gets_a_new_one(start: Callable[..., Bench], slurm: SlurmCluster):
    bench = start()
    job_id = bench.where()
    slurm.wait_until(lambda: bench.engine.info().blocks == {job_id: "RUNNING"}, "the engine to tell of its job")
    slurm.wait_until(lambda: not slurm.jobs(), "end of the idle job", timeout_s=IDLE_S + 60)
    assert bench.where() != job_id


def test_a_task_waits_while_its_job_waits_in_the_queue(start: Callable[..., Bench], slurm: SlurmCluster):
    bench = start(scheduler_options="#SBATCH --hold")
    future, _ = bench.submit(job_and, 1)
    slurm.wait_until(lambda: "PENDING" in slurm.jobs().values(), "a job in the queue")
    (job_id,) = slurm.jobs()
    slurm.wait_until(lambda: bench.engine.info().blocks == {job_id: "PENDING"}, "the engine to tell of its job")
    assert not future.done()
    slurm.run("scontrol", "release", job_id)
    assert _value(future) == [job_id, 1]


def test_tasks_run_under_srun(start: Callable[..., Bench], slurm: SlurmCluster):
    bench = start(launcher={"type": "SrunLauncher"})
    assert bench.where() in slurm.jobs()


def test_a_stopped_engine_leaves_no_job_and_no_open_task(start: Callable[..., Bench], slurm: SlurmCluster):
    bench = start()
    future, _ = bench.running_task(slurm)
    bench.engine.stop(grace_s=1)
    fault = future.exception(timeout=5)
    assert isinstance(fault, EngineFault), fault
    slurm.wait_until(lambda: not slurm.jobs(), "end of the engine's job")


def test_the_jobs_of_a_killed_engine_end(slurm: SlurmCluster, tmp_path: Path):
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE_PROCESS, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | slurm.environment | {"PYTHONPATH": str(ROOT)},
    )
    with engine:
        try:
            assert engine.stdout is not None
            assert engine.stdout.readline() == "runs\n"
            assert "RUNNING" in slurm.jobs().values()
        finally:
            engine.kill()
    slurm.wait_until(lambda: not slurm.jobs(), "end of the jobs that nobody owns", timeout_s=SILENT_S + 60)
