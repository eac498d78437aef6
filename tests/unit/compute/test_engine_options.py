"""Every option of an ``engine`` block is taken as meant, or refused with its name, its value and what would be right."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import parsl.launchers
import parsl.providers
import pytest
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider, SlurmProvider

from compute_agent.engines import blocks, containers, processes
from compute_agent.engines.base import EngineConfigError
from compute_agent.engines.catalog import engine_types, make_engine
from compute_agent.engines.htex import ParslEngine
from compute_agent.engines.htex_options import ParslOptions
from compute_agent.engines.parsl_parts import make_launcher, make_provider
from compute_agent.engines.process import ProcessEngine
from compute_agent.engines.thread import ThreadEngine

SLURM = {"type": "SlurmProvider", "partition": "debug", "max_blocks": 4, "nodes_per_block": 2}


def options(**given: Any) -> ParslOptions:
    return ParslOptions.read(given, run_dir=Path("/run/engine"))


def refusal(block: Any) -> str:
    with pytest.raises(EngineConfigError) as raised:
        make_engine(block, run_dir=Path("/run/engine"))
    return str(raised.value)


# The catalog


@pytest.mark.parametrize(
    ("name", "engine_class"),
    [
        ("thread", ThreadEngine),
        ("ThreadPoolEngine", ThreadEngine),
        ("process", ProcessEngine),
        ("ProcessPoolEngine", ProcessEngine),
        ("parsl", ParslEngine),
        ("GlobusComputeEngine", ParslEngine),
        ("HighThroughputEngine", ParslEngine),
    ],
)
def test_an_engine_is_found_by_our_name_and_by_the_published_one(name: str, engine_class: type, tmp_path: Path) -> None:
    assert isinstance(make_engine({"type": name}, run_dir=tmp_path), engine_class)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "ThreadPolEngine"}, ['"ThreadPolEngine"', 'did you mean "ThreadPoolEngine"?', *engine_types()]),
        ({"type": "slurm"}, ['"slurm"', *engine_types()]),
        ({"type": "GlobusMPIEngine"}, ['no engine "GlobusMPIEngine"', 'use "GlobusComputeEngine"', "SimpleLauncher"]),
        ({}, ["engine.type", "missing", "GlobusComputeEngine"]),
        ({"type": 3}, ["engine.type", "3"]),
        (["thread"], ["engine", "block"]),
        ({"type": "thread", "max_worker": 3}, ['"max_worker"', 'did you mean "max_workers"?']),
        ({"type": "thread", "max_workers": 0}, ["max_workers", "0", "1 or more"]),
        ({"type": "process", "max_workers": "two"}, ["max_workers", "'two'", "whole number"]),
        ({"type": "process", "run_in_sandbox": "yes"}, ["run_in_sandbox", "'yes'", "true or false"]),
        (
            {"type": "parsl", "max_worker_per_node": 3},
            ['"max_worker_per_node"', 'did you mean "max_workers_per_node"?'],
        ),
        ({"type": "parsl", "heartbeat_period": 30, "heartbeat_threshold": 20}, ["heartbeat_threshold", "20", "30"]),
        ({"type": "parsl", "worker_ports": [55000, 54000]}, ["worker_ports", "lower first"]),
        ({"type": "parsl", "cpu_affinity": "all"}, ["cpu_affinity", "'all'", "block-reverse"]),
        ({"type": "parsl", "strategy": "simpel"}, ["strategy", "'simpel'", 'did you mean "simple"?']),
        ({"type": "parsl", "job_status_kwargs": {"idle": 3}}, ['"idle"', "max_idletime"]),
        ({"type": "parsl", "job_status_kwargs": 3}, ["job_status_kwargs", "max_idletime"]),
        ({"type": "parsl", "label": "../x"}, ["label", "'../x'"]),
        ({"type": "parsl", "manager_selector": {"type": "Best"}}, ["manager_selector", "RandomManagerSelector"]),
        ({"type": "parsl", "available_accelerators": "cuda"}, ["available_accelerators", "'cuda'", "list"]),
        ({"type": "parsl", "container_type": "dokcer"}, ["container_type", 'did you mean "docker"?']),
        ({"type": "parsl", "container_uri": "image"}, ["container_type", "apptainer"]),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named_with_what_would_be_right(block: Any, words: list[str]) -> None:
    text = refusal(block)

    assert [word for word in words if word not in text] == []


def test_a_directory_that_parsl_cannot_carry_is_refused() -> None:
    with pytest.raises(EngineConfigError, match="my runs"):
        ParslOptions.read({}, run_dir=Path("/my runs/engine"))


# Defaults


def test_defaults_of_the_parsl_engine_suit_one_machine() -> None:
    read = options()

    assert isinstance(read.make_provider(), LocalProvider)
    assert read.workers_per_node == os.cpu_count()
    assert read.executor["address"] == "127.0.0.1"
    assert read.executor["encrypted"] is True
    assert read.executor["launch_cmd"].startswith(f"{sys.executable} -P -m compute_agent.engines.parsl_node ")
    assert read.executor["interchange_launch_cmd"][0] == sys.executable


def test_on_a_cluster_nodes_find_the_agent_at_any_address_and_hold_no_more_than_they_run() -> None:
    read = options(provider=SLURM, max_workers_per_node=8)

    assert read.executor["address"] is None
    assert read.executor["prefetch_capacity"] == 0
    assert (read.most_nodes, read.workers_per_node) == (8, 8)
    assert (read.executor["heartbeat_period"], read.executor["heartbeat_threshold"]) == (30, 120)


def test_as_many_workers_as_configured_start_on_the_own_host_whatever_it_has() -> None:
    cores = os.cpu_count() or 1

    assert options(max_workers_per_node=4 * cores).executor["cores_per_worker"] == 0.25


def test_worker_init_may_bring_an_environment_of_its_own() -> None:
    read = options(provider={"type": "LocalProvider", "worker_init": "conda activate mine"})

    assert read.executor["launch_cmd"].startswith("$(dirname $(command -v process_worker_pool.py || echo ")


def test_capacity_is_twice_the_workers_and_never_less_than_what_short_tasks_need(tmp_path: Path) -> None:
    few = make_engine({"type": "parsl", "max_workers_per_node": 2}, run_dir=tmp_path)
    many = make_engine({"type": "parsl", "max_workers_per_node": 100, "provider": SLURM}, run_dir=tmp_path)

    assert (few.capacity(), many.capacity()) == (66, 1600)


# Providers and launchers

REQUIRED: dict[str, dict[str, Any]] = {
    "AWSProvider": {"image_id": "ami-1", "key_name": "key"},
    "AzureProvider": {"vm_reference": {"publisher": "p", "offer": "o", "sku": "s", "version": "latest"}},
    "GoogleCloudProvider": {
        "project_id": "p",
        "key_file": "/none",
        "region": "r",
        "os_project": "o",
        "os_family": "f",
    },
    "KubernetesProvider": {"image": "python:3.11"},
}
CLOUDS = sorted(REQUIRED)
LIBRARIES = {
    "AWSProvider": "boto3",
    "AzureProvider": "msrestazure",
    "GoogleCloudProvider": "googleapiclient",
    "KubernetesProvider": "kubernetes",
}
SCHEDULERS = sorted({*parsl.providers.__all__} - {*CLOUDS})


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_provider_of_a_scheduler_can_be_made_with_a_launcher(name: str) -> None:
    block = {"type": name, "max_blocks": 3, "launcher": {"type": "SimpleLauncher"}, "worker_init": "module load x"}

    made = make_provider(block)

    assert (made.max_blocks, type(made.launcher).__name__) == (3, "SimpleLauncher")


@pytest.mark.parametrize("name", CLOUDS)
def test_a_provider_of_a_cloud_whose_library_is_missing_says_what_to_install(name: str) -> None:
    if importlib.util.find_spec(LIBRARIES[name]) is not None:
        pytest.skip(f"{LIBRARIES[name]} is installed, and {name} would call its cloud")

    with pytest.raises(EngineConfigError, match=rf"{name} needs the library {LIBRARIES[name]}.*pip install"):
        make_provider({"type": name, **REQUIRED[name]})


@pytest.mark.parametrize("name", sorted({*parsl.launchers.__all__}))
def test_every_launcher_can_be_made(name: str) -> None:
    needed = {"prepend": "time"} if name == "WrappedLauncher" else {}

    assert type(make_launcher({"type": name, **needed})).__name__ == name


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            {"type": "SlurmProvider", "particion": "x"},
            ["SlurmProvider", '"particion"', 'did you mean "partition"?', "qos"],
        ),
        ({"type": "SlurmProvidr"}, ['"SlurmProvidr"', 'did you mean "SlurmProvider"?', "LocalProvider"]),
        ({"partition": "x"}, ["type", "SlurmProvider"]),
        ("SlurmProvider", ["block", "type"]),
        ({"type": "SlurmProvider", "partition": 3}, ["engine.provider.partition", "3", "str"]),
        ({"type": "SlurmProvider", "walltime": 600}, ["engine.provider.walltime", "600", "quotes"]),
        ({"type": "SlurmProvider", "walltime": "10 minutes"}, ["walltime", "'10 minutes'", "HH:MM:SS"]),
        ({"type": "SlurmProvider", "walltime": "00:00:30"}, ["walltime", "'00:00:30'", "SlurmProvider", '"00:01:00"']),
        ({"type": "LSFProvider", "walltime": "0:00:59"}, ["walltime", "'0:00:59'", "LSFProvider", '"00:01:00"']),
        ({"type": "PBSProProvider", "walltime": "00:00:00"}, ["walltime", "'00:00:00'", '"00:00:01"']),
        ({"type": "SlurmProvider", "max_blocks": 0}, ["max_blocks", "0", "1 or more"]),
        ({"type": "LocalProvider", "max_blocks": "3"}, ["max_blocks", "'3'"]),
        ({"type": "LocalProvider", "parallelism": "all"}, ["parallelism", "'all'"]),
        ({"type": "LocalProvider", "worker_init": ["a"]}, ["worker_init", "['a']"]),
        ({"type": "LocalProvider", "init_blocks": 2}, ["init_blocks", "2", "max_blocks", "1"]),
        ({"type": "LocalProvider", "channel": {"type": "SSHChannel"}}, ["channel"]),
        ({"type": "SlurmProvider", "launcher": {"type": "SrunLauncer"}}, ["launcher", 'did you mean "SrunLauncher"?']),
        (
            {"type": "SlurmProvider", "launcher": {"type": "SrunLauncher", "override": "-n1"}},
            ['"override"', "overrides"],
        ),
        ({"type": "KubernetesProvider"}, ["image", "must be given"]),
    ],
    ids=str,
)
def test_a_provider_that_cannot_be_made_says_which_option_and_what_is_right(block: Any, words: list[str]) -> None:
    with pytest.raises(EngineConfigError) as raised:
        make_provider(block)

    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(("name", "walltime"), [("SlurmProvider", "00:01:00"), ("PBSProProvider", "00:00:30")])
def test_the_least_walltime_is_what_the_scheduler_can_count(name: str, walltime: str) -> None:
    assert make_provider({"type": name, "walltime": walltime}).walltime == walltime


def test_every_option_of_the_slurm_provider_can_be_given() -> None:
    parameters = inspect.signature(SlurmProvider.__init__).parameters
    given = {name: one.default for name, one in parameters.items() if name not in ("self", "launcher")}

    assert make_provider({"type": "SlurmProvider", **given}).label == "slurm"


# Containers


@pytest.mark.parametrize(
    ("kind", "given", "right"),
    [
        ("docker", "", "docker run --rm --init --network=host --volume /run:/run python:3.11 WORK"),
        (
            "podman",
            "--network none -e A=1",
            "podman run --rm --init --volume /run:/run --network none -e A=1 python:3.11 WORK",
        ),
        ("podman-hpc", "", "podman-hpc run --rm --init --network=host --volume /run:/run python:3.11 WORK"),
        ("apptainer", "--nv", "apptainer exec --bind /run:/run --nv python:3.11 WORK"),
        ("singularity", "", "singularity exec --bind /run:/run python:3.11 WORK"),
        ("custom", "shifter --volume={EXECUTOR_RUNDIR}:/r {EXECUTOR_LAUNCH_CMD}", "shifter --volume=/run:/r WORK"),
    ],
)
def test_workers_start_in_the_container(kind: str, given: str, right: str) -> None:
    assert containers.contained("WORK", kind=kind, uri="python:3.11", options=given, run_dir="/run") == right


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"container_type": "docker"}, "container_uri"),
        ({"container_type": "custom", "container_cmd_options": "shifter"}, "{EXECUTOR_LAUNCH_CMD}"),
    ],
)
def test_a_container_without_what_it_needs_is_refused(given: dict[str, str], word: str) -> None:
    with pytest.raises(EngineConfigError, match=word.replace("{", r"\{")):
        options(**given)


def test_a_container_command_that_is_not_on_path_is_refused_where_blocks_run_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EngineConfigError, match=r'no command "apptainer".*install apptainer'):
        options(container_type="apptainer", container_uri="image.sif")
    assert options(container_type="apptainer", container_uri="image.sif", provider=SLURM)


# What ends of blocks and workers are called


@pytest.mark.parametrize(
    ("state", "stderr", "words"),
    [
        (JobState.TIMEOUT, "", ["walltime of 00:10:00"]),
        (
            JobState.COMPLETED,
            "slurmstepd: error: *** JOB 7 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***",
            ["walltime"],
        ),
        (JobState.COMPLETED, "slurmstepd: error: *** JOB 7 CANCELLED AT 2026-01-01 ***", ["cancelled"]),
        (JobState.COMPLETED, "*** JOB 7 CANCELLED AT 2026-01-01 DUE TO PREEMPTION ***", ["preempted"]),
        (JobState.FAILED, "slurmstepd: error: Detected 1 oom_kill event", ["memory ran out"]),
        (JobState.FAILED, "bus error", ["exit code 1", "bus error"]),
        (JobState.CANCELLED, "", ["cancelled"]),
        (JobState.RUNNING, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01 ***", ["cancelled"]),
        (JobState.RUNNING, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", ["walltime"]),
        (JobState.RUNNING, "a function prints: out of memory, CANCELLED AT 9", ["silent for 120 s"]),
        (JobState.RUNNING, "", ["silent for 120 s"]),
        (None, "", ["silent for 120 s"]),
    ],
    ids=str,
)
def test_the_loss_of_a_node_is_explained(state: JobState | None, stderr: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text(stderr)
    status = None if state is None else JobStatus(state, exit_code=1, stderr_path=str(tmp_path / "stderr"))

    text = blocks.loss("n1", "7", status, silent_s=120, walltime="00:10:00")

    assert [word for word in ["node n1", "job 7", *words] if word not in text] == []


def test_a_block_that_was_refused_is_told_in_the_words_of_the_scheduler() -> None:
    status = JobStatus(JobState.MISSING, message="Failed to start block 0: sbatch: error:\ninvalid partition")

    text = blocks.start_failure("0", None, status)

    assert text == "the batch job was refused: sbatch: error: invalid partition"


def test_a_block_that_did_not_come_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text("Found cores : 2\nLaunching worker: 1\nline: docker: command not found\n")
    status = JobStatus(JobState.MISSING, exit_code=127, stderr_path=str(tmp_path / "stderr"))

    text = blocks.start_failure("0", "7", status)

    assert "exit code 127" in text
    assert text.endswith("ends with:\nline: docker: command not found")


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-9, "was killed by signal 9 (SIGKILL)"),
        (None, "ended"),
    ],
)
def test_the_end_of_a_process_has_words(exit_code: int | None, words: str) -> None:
    assert processes.ending(exit_code) == words
