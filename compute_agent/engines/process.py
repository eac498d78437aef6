"""Engine of worker processes on the agent's host: one process per worker, one task at a time in each.

A worker that dies takes its own task with it and no other, and is replaced. Agent and worker talk over a socket pair in
JSON; a worker whose agent is gone sees the end of it and exits.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from ..wire import ErrorCode
from . import processes
from .base import EngineFault, EngineInfo, EngineTask, Report
from .host_options import HostOptions, refuse_resources
from .slots import Slots, capacity_for
from .worker import request

#: How often a silent worker is looked at. Its death closes the socket, which is noticed at once, unless a process that
#: the function forked still holds it open.
_LOOK_S = 1.0
_EXIT_S = 5.0


class ProcessEngine:
    """Type ``process``, also ``ProcessPoolEngine``."""

    def __init__(self, options: Mapping[str, Any], *, run_dir: Path) -> None:
        self._options = HostOptions.read("the process engine", options, run_dir=run_dir, workers=os.cpu_count() or 1)
        self.start_markers = self._options.start_markers
        self._run_dir = run_dir.absolute()
        self._slots = Slots(self._options.workers, self._run, name="worker-of")
        self._workers: dict[int, _Worker] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def start(self) -> None:
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._slots.start()

    def submit(self, task: EngineTask) -> Future[Report]:
        return refuse_resources(task, "process") or self._slots.submit(task)

    def capacity(self) -> int:
        return capacity_for(self._options.workers)

    def info(self) -> EngineInfo:
        running, waiting = self._slots.counts()
        return EngineInfo(
            engine_type="process",
            total_workers=self._options.workers,
            idle_workers=self._options.workers - running,
            pending_tasks=waiting,
            outstanding_tasks=running + waiting,
            managers=1,
        )

    def stop(self, *, grace_s: float = 10.0) -> None:
        with self._lock:
            self._stopping = True
            workers = list(self._workers.values())
        self._slots.stop()
        processes.end(processes.with_descendants([one.pid for one in workers]), grace_s=min(grace_s, 2.0))
        self._slots.join(_EXIT_S)
        with self._lock:
            # Those that died busy were closed by the thread that used them; a connection must not be closed twice.
            workers = list(self._workers.values())
            self._workers.clear()
        for one in workers:
            one.close()

    def _run(self, slot: int, task: EngineTask) -> Report:
        worker = self._worker(slot)
        try:
            return worker.run(self._options.placed(task))
        except _WorkerDiedError as death:
            with self._lock:
                self._workers.pop(slot, None)
            worker.close()
            raise EngineFault(ErrorCode.WORKER_LOST, _loss(worker.pid, str(death))) from death

    def _worker(self, slot: int) -> _Worker:
        with self._lock:
            worker = self._workers.get(slot)
            if self._stopping:
                raise EngineFault(ErrorCode.ENGINE_LOST, "the engine was stopped", may_have_run=False)
            if worker is None or not worker.is_alive:
                if worker is not None:
                    worker.close()
                worker = self._workers[slot] = _start_worker(self._run_dir / f"worker-{slot}.log")
            return worker


def _loss(pid: int, ending: str) -> str:
    return (
        f"the worker process that ran the task (pid {pid}) {ending}."
        " If it was killed from outside, memory may have run out: see the kernel's log (dmesg)."
        " If it crashed, look for native code that the function calls"
    )


class _WorkerDiedError(Exception):
    """The text says how."""


class _Worker:
    """One worker process, as its slot's thread sees it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self._process = process
        self._connection = connection

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, task: EngineTask) -> Report:
        """Raises ``_WorkerDiedError``."""
        try:
            self._connection.send_bytes(orjson.dumps(request(task)))
            while not self._connection.poll(_LOOK_S):
                if not self.is_alive and not self._connection.poll(0):
                    raise _WorkerDiedError(self._ending())
            report: Report = orjson.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise _WorkerDiedError(self._ending()) from error
        return report

    def close(self) -> None:
        self._connection.close()

    def _ending(self) -> str:
        try:
            return processes.ending(self._process.wait(_EXIT_S))
        except subprocess.TimeoutExpired:
            return "closed its connection to the agent"


def _start_worker(log_path: Path) -> _Worker:
    ours, theirs = socket.socketpair()
    try:
        with theirs, log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [sys.executable, "-P", "-m", "compute_agent.engines.process_worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at the agent's terminal is the agent's to act on
            )
    except OSError as error:
        ours.close()
        message = f"no worker process could be started: {error}"
        raise EngineFault(ErrorCode.ENGINE_FAILED, message, may_have_run=False) from error
    return _Worker(process, Connection(ours.detach()))
