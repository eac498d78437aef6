"""Futures of functions that run in batch jobs: real server, real agent, real Slurm, the SDK.

Whatever ends a job, the future says which job it was and what became of it; ``on_loss="requeue"`` outlives it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute_agent.sdk import Client, Executor, TaskLost
from tests.e2e.agent import AgentProcess
from tests.e2e.server import ServerProcess
from tests.slurm import PARTITION, SlurmCluster

pytestmark = pytest.mark.early

TASKS = 100
WALLTIME = "00:07:00"
#: A job starts in 3 to 5 s on an idle machine; its end by walltime takes up to 30 s more.
PATIENCE_S = 60.0
WALLTIME_PATIENCE_S = 100.0

CONFIG = {
    "engine": {
        "type": "GlobusComputeEngine",
        "address": "127.0.0.1",
        "max_workers_per_node": 2,
        # The thresholds for silent nodes are those of every cluster: a job that ended is noticed without them.
        "job_status_kwargs": {"strategy_period": 1},
        "provider": {
            "type": "SlurmProvider",
            "partition": PARTITION,
            "init_blocks": 0,
            "min_blocks": 0,
            "max_blocks": 1,
            "walltime": WALLTIME,
            "exclusive": False,
            "worker_init": f"export PATH={Path(sys.executable).parent}:$PATH",
        },
    }
}


def job_and(number: int) -> list[Any]:
    """Runs on the endpoint, as all functions here."""
    import os

    return [os.environ.get("SLURM_JOB_ID"), number]


def never_end(folder: str) -> None:
    import os
    import threading
    from pathlib import Path

    Path(folder, os.environ["SLURM_JOB_ID"]).touch()
    threading.Event().wait()


def end_in_the_second_job(folder: str) -> list[str]:
    """The jobs that it ran in, in order; in the first of them it never ends."""
    import os
    import threading
    from pathlib import Path

    job_id = os.environ["SLURM_JOB_ID"]
    with Path(folder, "jobs").open("a") as file:
        file.write(f"{job_id}\n")
    jobs = Path(folder, "jobs").read_text().split()
    if len(jobs) == 1:
        threading.Event().wait()
    return jobs


class Site:
    """Server, cluster, an agent for it, and an executor for the agent's endpoint."""

    def __init__(self, place: Path, cluster: SlurmCluster) -> None:
        self.cluster = cluster
        self.server = ServerProcess(place / "data")
        self.agent: AgentProcess | None = None
        try:
            self.server.start()
            self.agent = AgentProcess(place / "agents", self.server, CONFIG, environ=cluster.environment)
            self.agent.start()
            self.client = Client(data_dir=self.server.data_dir)
            self.executor = Executor(self.agent.endpoint_id, client=self.client)
        except BaseException:
            self.close_processes()
            raise

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.client.close()
        self.close_processes()

    def close_processes(self) -> None:
        if self.agent is not None:
            self.agent.close()
        self.server.close()

    def wait_for(self, path: Path) -> None:
        self.cluster.wait_until(path.exists, f"a task that makes {path.name}", timeout_s=PATIENCE_S)

    def running_job(self) -> str:
        (job_id,) = (job for job, state in self.cluster.jobs().items() if state == "RUNNING")
        return job_id


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, slurm: SlurmCluster) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("slurm-site"), slurm)
    yield made
    made.close()


def test_every_one_of_100_tasks_runs_in_a_slurm_job_and_comes_back(site: Site) -> None:
    futures = [site.executor.submit(job_and, number) for number in range(TASKS)]

    answers = [future.result(PATIENCE_S) for future in futures]

    assert [number for _, number in answers] == list(range(TASKS))
    assert {site.cluster.job(job_id)["Partition"] for job_id, _ in answers} == {PARTITION}


def test_a_cancelled_job_loses_its_task_in_words_and_a_requeued_one_runs_in_the_next_job(
    site: Site, tmp_path: Path
) -> None:
    lost = site.executor.submit(never_end, str(tmp_path))
    again = site.executor.submit_to_registered_function(
        site.client.register_function(end_in_the_second_job, on_loss="requeue"), (str(tmp_path),)
    )
    site.wait_for(tmp_path / "jobs")
    job_id = site.running_job()
    site.wait_for(tmp_path / job_id)

    site.cluster.cancel(job_id)

    assert_lost(lost.exception(PATIENCE_S), job_id, "the batch job was cancelled")
    first, second = again.result(PATIENCE_S)
    assert first == job_id != second
    assert second in site.cluster.jobs()


def test_a_job_that_reaches_its_walltime_loses_its_task_in_words(site: Site, tmp_path: Path) -> None:
    lost = site.executor.submit(never_end, str(tmp_path))
    site.cluster.wait_until(lambda: any(tmp_path.iterdir()), "start of the task", timeout_s=PATIENCE_S)
    job_id = site.running_job()

    site.cluster.end_walltime(job_id)

    error = lost.exception(WALLTIME_PATIENCE_S)
    assert site.cluster.job(job_id)["JobState"] == "TIMEOUT"
    assert_lost(error, job_id, f"reached its walltime of {WALLTIME}")


def assert_lost(error: BaseException | None, job_id: str, words: str) -> None:
    assert isinstance(error, TaskLost), error
    assert re.search(rf"\bjob {job_id}\b", str(error)), error
    assert words in str(error)
