"""Parsl alone, without a service: ``python -m benchmarks.raw_parsl [dfk|htex] COUNT ROUNDS`` prints one JSON line.

``dfk`` is ``parsl.load`` and ``python_app``, the way programs use Parsl; ``htex`` is the executor's own ``submit``. Both
with the executor that our endpoint uses: one local block, 2 workers, encrypted.
"""

from __future__ import annotations

import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

ROUND_TRIPS = 200


def noop() -> None:
    return None


def main() -> None:
    kind, count, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="raw-parsl-") as folder:
        programs = Path(sys.executable).parent
        executor = HighThroughputExecutor(
            label="raw",
            address="127.0.0.1",
            max_workers_per_node=2,
            encrypted=True,
            provider=LocalProvider(
                init_blocks=1,
                min_blocks=1,
                max_blocks=1,
                worker_init=f"export PATH={shlex.quote(str(programs))}:$PATH",
            ),
            interchange_launch_cmd=[str(programs / "interchange.py")],
        )
        dfk = parsl.load(Config(run_dir=folder, executors=[executor], strategy="none"))
        app = parsl.python_app(noop)

        def submit() -> Future[Any]:
            future: Future[Any] = app() if kind == "dfk" else executor.submit(noop, {})
            return future

        try:
            print(json.dumps(measure(submit, count, rounds)))
        finally:
            dfk.cleanup()
            parsl.clear()


def measure(submit: Callable[[], Future[Any]], count: int, rounds: int) -> dict[str, float]:
    """Round trips one after the other, then ``rounds`` bursts of ``count`` tasks; the medians."""
    submit().result()
    trips = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter()
        submit().result()
        trips.append(time.perf_counter() - begun)
    rates = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for future in [submit() for _ in range(count)]:
            future.result()
        rates.append(count / (time.perf_counter() - begun))
    return {
        "p50 ms": round(statistics.median(trips) * 1e3, 2),
        "p99 ms": round(statistics.quantiles(trips, n=100)[98] * 1e3, 2),
        "tasks/s": round(statistics.median(rates)),
    }


if __name__ == "__main__":
    main()
