"""Estimates pi from a bag of 1,000 tasks that know nothing of each other.

    .venv/bin/python examples/functions/pi/pi.py

Every task throws darts at a square and counts those inside the circle. With ``ENDPOINT`` set to an endpoint's id the
same program runs there; without, on the endpoint that comes with the server.
"""

from __future__ import annotations

import os
import sys
import time

from rich.progress import track

from compute_agent.sdk import Executor

TASKS = 1_000
DARTS = 2_000


def hits(seed: int, darts: int) -> int:
    """Runs on the endpoint: it brings its imports along."""
    import random

    chance = random.Random(seed)  # noqa: S311 - a simulation
    return sum(chance.random() ** 2 + chance.random() ** 2 <= 1 for _ in range(darts))


def main() -> int:
    began = time.monotonic()
    with Executor(os.environ.get("ENDPOINT")) as executor:
        counts = executor.map(hits, range(TASKS), [DARTS] * TASKS)
        inside = sum(track(counts, description=f"{TASKS} tasks", total=TASKS))
    estimate = 4 * inside / (TASKS * DARTS)
    print(f"pi is about {estimate:.5f}, from {TASKS} tasks in {time.monotonic() - began:.1f} s")
    return 0 if abs(estimate - 3.14159) < 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
