"""Functions end to end: our Executor -> service -> agent -> Parsl, as processes, beside Parsl alone on the same machine.

No-op tasks, 2 workers, one local block, encrypted, on both sides. Bursts of ours and of Parsl take turns, so that both
meet the same load of the machine. Memory is the resident set of the server's and the agent's process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from compute_agent.sdk import Client, Executor
from tests.e2e.server import ServerProcess

from .raw_parsl import measure as measure_submit
from .raw_parsl import noop

BURST = 1_000
ROUNDS = 5
QUEUED = 20_000


def measure(database_url: str | None) -> dict[str, float]:
    figures: dict[str, float] = {}
    with _server(database_url) as server, _client(server) as client:
        endpoint = server.compute_endpoint()
        with Executor(endpoint, client=client) as executor:
            for name, value in measure_submit(lambda: executor.submit(noop), BURST, ROUNDS).items():
                figures[f"ours, {name}"] = value
            figures |= _queue(executor, server)
    for kind in ("dfk", "htex"):
        for name, value in _raw(kind).items():
            figures[f"Parsl alone ({kind}), {name}"] = value
    figures["ours / parsl.load, tasks/s"] = round(figures["ours, tasks/s"] / figures["Parsl alone (dfk), tasks/s"], 2)
    for name, value in figures.items():
        print(f"  {name:52} {value:>12,}")
    return figures


def _queue(executor: Executor, server: ServerProcess) -> dict[str, float]:
    """20,000 tasks at once: whether rate and memory hold while the queue is long."""
    processes = _processes(server)
    before = _memory_mib(processes)
    begun = time.perf_counter()
    futures = [executor.submit(noop) for _ in range(QUEUED)]
    rates, peak = [], before
    quarter = QUEUED // 4
    for part in range(4):
        at = time.perf_counter()
        _all_done(futures[part * quarter : (part + 1) * quarter])
        rates.append(quarter / (time.perf_counter() - at))
        peak = {name: max(value, peak[name]) for name, value in _memory_mib(processes).items()}
    return {
        f"ours, {QUEUED} queued, tasks/s": round(QUEUED / (time.perf_counter() - begun)),
        f"ours, {QUEUED} queued, slowest quarter / fastest": round(min(rates) / max(rates), 2),
        **{f"ours, {name} before, MiB": round(value) for name, value in before.items()},
        **{f"ours, {name} at most, MiB": round(value) for name, value in peak.items()},
    }


def _all_done(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.result()


def _processes(server: ServerProcess) -> dict[str, psutil.Process]:
    process = psutil.Process(server.pid)
    agent = next(one for one in process.children() if "compute_agent.agent.cli" in " ".join(one.cmdline()))
    return {"server": process, "agent": agent}


def _memory_mib(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: process.memory_info().rss / 2**20 for name, process in processes.items()}


def _raw(kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.raw_parsl", kind, str(BURST), str(ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def _server(database_url: str | None) -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        environ = {"FLOWS_COMPUTE_ENDPOINT": "parsl", "FLOWS_COMPUTE_WORKERS": "2"}
        server = ServerProcess(Path(folder) / "data", database_url=database_url, environ=environ)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _client(server: ServerProcess) -> Iterator[Client]:
    with Client(data_dir=server.data_dir) as client:
        yield client
