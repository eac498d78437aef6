"""Ending processes with everything they started, so that nothing of a task or a worker stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

import psutil


class WorkerDiedError(Exception):
    """A worker process ended while it ran a task. Travels pickled from the node to the agent."""

    def __init__(self, hostname: str, pid: int, exit_code: int | None) -> None:
        super().__init__(hostname, pid, exit_code)
        self.hostname = hostname
        self.pid = pid
        self.exit_code = exit_code


def with_descendants(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes that still live, and all that come from them; to be asked before any of them is ended."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in [process, *process.children(recursive=True)]:
                found[one.pid] = one
    return list(found.values())


def members_of_group(group: int) -> list[int]:
    """Process ids of a process group."""
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group:
                members.append(pid)
    return members


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> None:
    """SIGTERM to all, and SIGKILL to those that are there after ``grace_s``."""
    living = list(processes)
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.terminate()
    _, stubborn = psutil.wait_procs(living, timeout=grace_s)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5.0)


def ending(exit_code: int | None) -> str:
    """How a process ended, in words: ``was killed by signal 9 (SIGKILL)``, ``ended with exit code 3``."""
    if exit_code is None:
        return "ended"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {-exit_code} ({name})"
