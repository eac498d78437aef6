"""What the end of a block means, in sentences: why it did not start, or why it took its tasks along.

Reads the output files of batch jobs, and nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus

#: The most of a job's output that goes into a message.
_TAIL_BYTES = 4096
#: Schedulers without accounting say only that a job is over, but Slurm writes the reason into the job's stderr.
_TIME_LIMIT = re.compile(r"DUE TO TIME LIMIT|exceeded.{0,40}walltime|TERM_RUNLIMIT", re.IGNORECASE)
_PREEMPTED = re.compile(r"DUE TO PREEMPTION", re.IGNORECASE)
_NODE_FAILURE = re.compile(r"DUE TO NODE FAILURE|NODE_FAIL", re.IGNORECASE)
_CANCELLED = re.compile(r"CANCELLED AT|TERM_OWNER|TERM_ADMIN", re.IGNORECASE)
_STEP_DAEMON = re.compile(r"^slurmstepd: .*", re.MULTILINE)
_NO_MEMORY = re.compile(r"oom.?kill|out of memory|TERM_MEMLIMIT", re.IGNORECASE)
#: Lines that Parsl's own launcher writes, which tell nobody anything.
_NOISE = re.compile(r"^(Found (cores|nodes) : .*|Launching worker: .*|All workers done|.*resource_tracker.*)$")
_LINE_CHARACTERS = 300
#: What shells add to the number of the signal that ended a command.
_SIGNALLED = 128


def start_failure(block: str, job_id: object, status: JobStatus) -> str:
    """Why a block ended before any of its workers came to the agent."""
    if job_id is None:
        reason = str(status.message or "the scheduler gave no reason")
        reason = reason.removeprefix(f"Failed to start block {block}: ")  # Parsl's words
        return f"the batch job was refused: {' '.join(reason.split())}"
    code = _exit_code(status)
    output = _output(status)
    said = f"; its output ends with:\n{output}" if output else "; it wrote nothing"
    return f"block {block} (job {job_id}) ended{code} before any of its workers reached the agent{said}"


def loss(host: str, job_id: object, status: JobStatus | None, *, silent_s: float, walltime: str) -> str:
    """Why a node that ran tasks is gone."""
    node = f"node {host}, of batch job {job_id}," if job_id is not None else f"node {host}"
    return f"{node} is lost: {_why(status, silent_s=silent_s, walltime=walltime)}"


def _why(status: JobStatus | None, *, silent_s: float, walltime: str) -> str:
    silent = (
        f"it has been silent for {silent_s:g} s while its batch job still runs (crash of the node, network, memory)"
    )
    if status is None:
        return silent
    stderr = _tail(status.stderr_path)
    living = status.state in (JobState.RUNNING, JobState.PENDING, JobState.HELD, JobState.UNKNOWN)
    if living:
        # A job counts as running until its last process is gone, and what functions wrote says nothing of it.
        stderr = "\n".join(_STEP_DAEMON.findall(stderr))
    if status.state == JobState.TIMEOUT or _TIME_LIMIT.search(stderr):
        limit = f" of {walltime}" if walltime else ""
        return (
            f"the batch job reached its walltime{limit}; ask for a longer one (provider.walltime), or for shorter tasks"
        )
    if status.state == JobState.SCALED_IN:
        return "the agent had ended the batch job because it was idle"
    for pattern, text in (
        (_PREEMPTED, "the batch job was preempted by another"),
        (_NODE_FAILURE, "the scheduler reports that the node failed"),
        (_NO_MEMORY, "memory ran out"),
    ):
        if pattern.search(stderr):
            return text
    if status.state == JobState.CANCELLED or _CANCELLED.search(stderr):
        by = ": killed from outside" if status.message == "Killed" else " by its owner or an administrator"
        return f"the batch job was cancelled{by}"
    if living:
        return silent
    code = _exit_code(status)
    output = _output(status)
    return f"the batch job ended{code}" + (f"; its output ends with:\n{output}" if output else "")


def _exit_code(status: JobStatus) -> str:
    if status.exit_code is None:
        return ""
    killed = f", which stands for signal {status.exit_code - _SIGNALLED}" if status.exit_code > _SIGNALLED else ""
    return f" with exit code {status.exit_code}{killed}"


def _output(status: Any) -> str:
    return _tail(status.stderr_path) or _tail(status.stdout_path)


def _tail(path: str | None) -> str:
    """The end of a file, without what launchers print; empty when there is none."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line[:_LINE_CHARACTERS] for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(lines).strip()
